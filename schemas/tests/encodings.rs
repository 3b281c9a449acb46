//! Requests in Protocol Buffers, Avro and Arrow: golden bytes that Google's protobuf, fastavro, PyArrow and Polars wrote
//! (`tests/encodings.py --golden`), the same requests as JSON, and any bytes at all.
#![expect(clippy::unwrap_used, reason = "tests")]

use evenkeel_schemas::*;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

const AT: Coordinates = Coordinates { topic: Topic::Requests, partition: 3, offset: 17 };

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.trim_end().as_bytes().chunks(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// What a record holds: by row, the request or the rejection. Holds what is true of any bytes.
fn decode(payload: &[u8]) -> Vec<(Option<u32>, Result<Request<'_>, Rejection>)> {
    let mut found = Vec::new();
    decode_requests(AT, payload, &mut |row, request| found.push((row, request)));
    assert!(found.len() <= MAX_BATCH_ROWS as usize);
    for (number, (row, request)) in found.iter().enumerate() {
        assert!(row.is_none() && found.len() == 1 || *row == Some(number as u32));
        match request {
            Ok(request) => {
                assert!(!request.service.is_empty() && request.service.len() <= 256 && request.node.len() <= 256);
                assert!((100..1000).contains(&request.status) && request.latency_us <= MAX_LATENCY_US);
            }
            Err(rejection) => {
                assert_eq!(rejection.at, AT);
                assert!(!rejection.detail.is_empty() && rejection.detail.chars().count() <= 200);
                assert_eq!(row.is_some(), rejection.detail.starts_with("row "), "{rejection:?}");
            }
        }
    }
    if found.first().is_none_or(|(row, _)| row.is_none()) && Encoding::of(payload) != Encoding::Arrow {
        let event = match found[0].1.clone() {
            Ok(request) => Event::Request(request),
            Err(rejection) => Event::Rejected(rejection),
        };
        assert_eq!(Event::decode(AT, payload), event);
    }
    found
}

fn requests(payload: &[u8]) -> Vec<Request<'_>> {
    decode(payload).into_iter().map(|(_, request)| request.unwrap()).collect()
}

#[track_caller]
fn refused(payload: &[u8]) -> (Reason, String) {
    match decode(payload).as_slice() {
        [(None, Err(rejection))] => (rejection.reason, rejection.detail.clone()),
        other => panic!("{other:?}"),
    }
}

fn json(text: &str) -> Request<'_> {
    serde_json::from_str(text).unwrap()
}

const FULL: &str = include_str!("../golden/request.v1.json");
const MINIMAL: &str = include_str!("../golden/request-minimal.v1.json");

const GOLDEN: [(&str, &str); 4] = [
    (FULL, include_str!("../golden/request-protobuf.v1.hex")),
    (MINIMAL, include_str!("../golden/request-minimal-protobuf.v1.hex")),
    (FULL, include_str!("../golden/request-avro.v1.hex")),
    (MINIMAL, include_str!("../golden/request-minimal-avro.v1.hex")),
];

const BATCHES: [&str; 2] =
    [include_str!("../golden/requests-pyarrow.v1.hex"), include_str!("../golden/requests-polars.v1.hex")];

#[test]
fn what_peers_wrote_decodes() {
    for (text, hex) in GOLDEN {
        assert_eq!(requests(&unhex(hex)), [json(text)]);
    }
    for hex in BATCHES {
        assert_eq!(requests(&unhex(hex)), [json(FULL), json(MINIMAL)]);
    }
}

#[test]
fn what_is_written_here_is_what_peers_write() {
    for (number, (text, hex)) in GOLDEN.into_iter().enumerate() {
        let (mut out, write) = (Vec::new(), if number < 2 { write_protobuf } else { write_avro });
        write(&mut out, &json(text));
        assert_eq!(out, unhex(hex));
    }
}

/// The type and number of each field in `request.proto`.
fn proto_fields() -> Vec<(String, u32)> {
    let fields = REQUEST_PROTO.lines().filter_map(|line| {
        let (field, number) = line.trim().strip_suffix(';')?.split_once(" = ")?;
        let kind = field.trim_start_matches("optional ").split(' ').next()?.to_owned();
        Some((kind, number.parse().ok()?))
    });
    fields.collect()
}

#[test]
fn first_bytes_say_the_encoding() {
    let wire = |kind: &str| match kind {
        "sfixed64" => 1,
        "uint32" => 0,
        "fixed32" => 5,
        "string" => 2,
        other => panic!("{other}"),
    };
    let tags = proto_fields().into_iter().map(|(kind, number)| (number << 3 | wire(&kind)) as u8).collect::<Vec<_>>();
    assert_eq!(tags.len(), 12);
    for first in 0..=255u8 {
        let due = match first {
            b'{' | b'[' | b' ' | b'\t' | b'\n' | b'\r' => Encoding::Json,
            0 => Encoding::Confluent,
            0xff => Encoding::Arrow,
            0xc3 => Encoding::Avro,
            tag if tags.contains(&tag) => Encoding::Protobuf,
            _ => Encoding::Unknown,
        };
        let rest = if first == 0xc3 { [1, 1, 1] } else { [0xff; 3] };
        assert_eq!(Encoding::of(&[&[first][..], &rest].concat()), due, "{first:02x}");
        let known = [0x09, 0x0a, 0x0d, 0x20, 0x7b, 0x5b, 0x00, 0xc3, 0xff];
        assert!(!(known.contains(&first) && tags.contains(&first)), "{first:02x} has two meanings");
    }
    assert_eq!((Encoding::of(b""), Encoding::of(b"\xff\xff\xff")), (Encoding::Json, Encoding::Unknown));
    assert_eq!(Encoding::of(b"\xc3\x02"), Encoding::Unknown);
}

#[test]
fn what_is_not_read_says_what_to_do() {
    for (payload, reason, says) in [
        (&b"\0\0\0\x01\x02rest"[..], Reason::UnknownSchema, "schema 258 of a Confluent registry"),
        (b"\0", Reason::UnknownSchema, "no Confluent schema id"),
        (b"ARROW1\0\0", Reason::UnknownEncoding, "write the stream format"),
        (b"Obj\x01....", Reason::UnknownEncoding, "write single objects"),
        (b"\xef\xbb\xbf{}", Reason::UnknownEncoding, "byte order mark"),
        (b"\x28\xb5\x2f\xfd....", Reason::UnknownEncoding, "let the Kafka client compress"),
        (b"GET / HTTP/1.1", Reason::UnknownEncoding, "begins with 47 45 54 20"),
        (b"", Reason::NotJson, "EOF"),
        (b"\xff\xff\xff\xff", Reason::NotArrow, "no message"),
    ] {
        let (found, detail) = refused(payload);
        assert!(found == reason && detail.contains(says), "{found:?} {detail}");
    }
    let huge = [&unhex(GOLDEN[0].1)[..], &vec![0x7a; MAX_PAYLOAD_BYTES]].concat();
    assert_eq!(refused(&huge).0, Reason::TooLarge);
    let huge = [&unhex(BATCHES[0])[..], &vec![0xff; MAX_PAYLOAD_BYTES]].concat();
    assert_eq!(refused(&huge).0, Reason::TooLarge);
}

#[test]
fn fields_of_protobuf_come_in_any_order_and_the_last_one_wins() {
    let golden = unhex(GOLDEN[1].1);
    let with = |more: &[u8]| [&golden[..], more].concat();
    let same = json(MINIMAL);
    for unknown in [
        &[0xa2, 0x06, 2, 0xff, 0xff][..],   // field 100, bytes
        &[0x70, 0xff, 0x7f],                // field 14, a varint
        &[0x71, 1, 2, 3, 4, 5, 6, 7, 8],    // field 14, 64 bits
        &[0x75, 1, 2, 3, 4],                // field 14, 32 bits
        &[0x73, 0x10, 1, 0x1b, 0x1c, 0x74], // field 14, a group with a field and a group in it
        &[0x12, 1, b'x'],                   // event_time_us as a string
        &[0x1a, 1, b'x', 0x20, 9, 0x28, 1], // status, latency_us and service with other wire types
        &[0x30, 1],                         // route as a varint, and below as 64 and 32 bits
        &[0x31, 1, 2, 3, 4, 5, 6, 7, 8],
        &[0x2d, 1, b'x', 3, 4],
    ] {
        assert_eq!(requests(&with(unknown)), std::slice::from_ref(&same), "{unknown:02x?}");
        assert_eq!(
            requests(&[&golden[..9], unknown, &golden[9..]].concat()),
            std::slice::from_ref(&same),
            "{unknown:02x?}"
        );
    }
    let last = with(&[0x2a, 1, b'b', 0x18, 0xf7, 0x03, 0x25, 1, 0, 0, 0, 0x98, 0x80, 0x00, 0x90, 0x03]);
    assert_eq!(requests(&last), [Request { service: "b".into(), status: 400, latency_us: 1, ..same.clone() }]);
    let reversed = [&golden[17..], &golden[12..17], &golden[9..12], &golden[..9]].concat();
    assert_eq!(requests(&reversed), [same]);
}

#[test]
fn malformed_protobuf_says_where() {
    let golden = unhex(GOLDEN[1].1);
    for (more, says) in [
        (&[0x06][..], "a tag without a field"),
        (&[0x76], "a tag of no wire type"),
        (&[0x74], "the end of a group that never began"),
        (&[0x73, 0x7c], "the end of a group that never began"),
        (&[0x73], "a varint that does not end"),
        (&[0x32, 0x05, b'a'], "a length beyond the end"),
        (&[0x32, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], "a length beyond the end"),
        (&[0x32, 0x02, 0xc3, 0x28], "a string of no UTF-8"),
        (&[0x18], "a varint that does not end"),
        (&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f], "a varint that does not end"),
        (&[0x11, 1, 2], "a number cut off"),
        (&[0xf5, 0xff, 0xff, 0xff, 0x1f, 0, 0, 0, 0], "a tag without a field"),
    ] {
        let (reason, detail) = refused(&[&golden[..], more].concat());
        assert!(reason == Reason::NotProtobuf && detail.starts_with(says), "{more:02x?}: {reason:?} {detail}");
    }
    let deep = [&golden[..], &[0x73; 2000]].concat();
    assert_eq!(refused(&deep), (Reason::NotProtobuf, format!("groups too deep at byte {}", golden.len() + 100)));
    let missing = [
        (&golden[9..], "event_time_us"),
        (&[&golden[..9], &golden[12..]].concat(), "status"),
        (&[&golden[..12], &golden[17..]].concat(), "latency_us"),
        (&golden[..17], "service"),
    ];
    for (payload, field) in missing {
        assert_eq!(refused(payload), (Reason::WrongShape, format!("missing field `{field}`")));
    }
    for (more, reason, detail) in [
        (&[0x18, 0xc8, 0x81, 0x04][..], Reason::OutOfRange, "status"),
        (&[0x18, 0xc8, 0x81, 0x80, 0x80, 0x10], Reason::OutOfRange, "status"),
        (&[0x25, 0xff, 0xff, 0xff, 0xff], Reason::OutOfRange, "latency_us"),
        (&[0x2a, 0], Reason::OutOfRange, "service is empty"),
        (&[0x11, 0, 0, 0, 0, 0, 0, 0, 0x80], Reason::TimeTooOld, "event_time_us -9223372036854775808"),
    ] {
        assert_eq!(refused(&[&golden[..], more].concat()), (reason, detail.to_owned()));
    }
}

#[test]
fn malformed_avro_names_its_field() {
    let golden = unhex(GOLDEN[3].1);
    let changed = |at: usize, byte: u8| {
        let mut payload = golden.clone();
        payload[at] = byte;
        payload
    };
    // After ten bytes of head come eight of time, two each of status and latency, and the length of service.
    let service = 22;
    assert_eq!(usize::from(golden[service]) / 2, "caf\u{e9} \"zwei\"".len());
    for (payload, detail) in [
        ([&golden[..], &[0]].concat(), "bytes after the last field"),
        (golden[..8].to_vec(), "cut off in its fingerprint"),
        (golden[..14].to_vec(), "event_time_us"),
        (changed(service, 0x01), "service"),
        (changed(service, 0x7e), "service"),
        (changed(service + 4, b'('), "service"),
        (changed(golden.len() - 1, 0x02), "upstream"),
    ] {
        assert_eq!(refused(&payload), (Reason::NotAvro, detail.to_owned()));
    }
}

/// Holds [`decode`] on every part of a payload that begins with it, and with every byte as every other byte.
fn survives(payload: &[u8]) -> [usize; 2] {
    let [mut good, mut bad] = [0; 2];
    let mut count = |payload: &[u8]| {
        let is_good = decode(payload).iter().all(|(_, request)| request.is_ok());
        *(if is_good { &mut good } else { &mut bad }) += 1;
    };
    for length in 0..payload.len() {
        count(&payload[..length]);
    }
    for at in 0..payload.len() {
        let mut payload = payload.to_vec();
        for byte in 0..=255 {
            payload[at] = byte;
            count(&payload);
        }
        let word = at..(at + 8).min(payload.len());
        for byte in [0x00, 0x7f, 0x80, 0xff] {
            payload[word.clone()].fill(byte);
            count(&payload);
        }
    }
    [good, bad]
}

#[test]
fn every_cut_and_every_byte_of_one_request_is_survived() {
    for (_, hex) in GOLDEN {
        let [good, bad] = survives(&unhex(hex));
        assert!(good > 100 && bad > 1_000, "{good} {bad}");
    }
}

#[test]
fn every_cut_and_every_byte_of_a_batch_is_survived() {
    for hex in BATCHES {
        let [good, bad] = survives(&unhex(hex));
        assert!(good > 1_000 && bad > 10_000, "{good} {bad}");
    }
}

/// Seeds are printed with a failure; nothing is written to disk.
fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[ -~]{0,30}", 1 => ".{0,60}", 1 => "[a-z]{50,80}", 1 => "[a-z]{120,260}", 4 => Just(String::new())]
}

fn request() -> impl Strategy<Value = Request<'static>> {
    let time = prop_oneof![8 => 946_684_800_000_000i64..3_000_000_000_000_000, 1 => any::<i64>(), 1 => 0i64..=1];
    let status = prop_oneof![8 => 100u16..1000, 1 => any::<u16>()];
    let latency = prop_oneof![4 => 0u32..5_000, 2 => 0..=MAX_LATENCY_US, 1 => any::<u32>()];
    (time, status, latency, vec(text(), 9)).prop_map(|(event_time_us, status, latency_us, texts)| {
        let mut texts = texts.into_iter().map(std::borrow::Cow::Owned);
        let mut text = || texts.next().unwrap();
        Request {
            event_time_us,
            service: text(),
            route: text(),
            method: text(),
            status,
            latency_us,
            node: text(),
            region: text(),
            version: text(),
            tenant: text(),
            trace_id: text(),
            upstream: text(),
        }
    })
}

/// What JSON says of a request: itself, or the reason that it is none.
fn verdict(payload: &[u8]) -> Result<Request<'_>, (Reason, String)> {
    let mut found = decode(payload);
    assert_eq!(found.len(), 1);
    found.remove(0).1.map_err(|rejection| (rejection.reason, rejection.detail))
}

const BEGINNINGS: &[&[u8]] = &[b"\xff\xff\xff\xff", b"\xc3\x01", b"\x11", b"\x2a", b"\0", b""];

proptest! {
    #![proptest_config(cases(20_000))]

    #[test]
    fn every_encoding_says_the_same(request in request()) {
        let (json, mut protobuf, mut avro) = (serde_json::to_vec(&request).unwrap(), Vec::new(), Vec::new());
        write_protobuf(&mut protobuf, &request);
        write_avro(&mut avro, &request);
        prop_assert_eq!(verdict(&json), verdict(&avro));
        match verdict(&protobuf) {
            // An empty service is not written, and so missing.
            Err((Reason::WrongShape, _)) => prop_assert!(verdict(&json).is_err() && request.service.is_empty()),
            found => prop_assert_eq!(verdict(&json), found),
        }
    }

    #[test]
    fn mutants_are_requests_or_rejections(
        which in 0usize..6,
        changes in vec((any::<Index>(), any::<u8>(), 0u8..4), 1..6),
    ) {
        let mut payload = unhex([GOLDEN[0].1, GOLDEN[1].1, GOLDEN[2].1, GOLDEN[3].1, BATCHES[0], BATCHES[1]][which]);
        for (at, byte, change) in changes {
            let at = at.index(payload.len());
            match change {
                0 => payload[at] = byte,
                1 => payload.insert(at, byte),
                2 => payload[at] ^= 1 << (byte % 8),
                _ => drop(payload.remove(at)),
            }
        }
        decode(&payload);
    }

    #[test]
    fn any_bytes_after_a_known_beginning_are_requests_or_rejections(
        head in select(BEGINNINGS),
        tail in vec(any::<u8>(), 0..200),
    ) {
        decode(&[head, &tail].concat());
    }
}
