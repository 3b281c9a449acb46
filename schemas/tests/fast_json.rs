//! The fast decoder of requests says what serde_json says, or nothing: on goldens and all their neighbours, on strings
//! around the borders of blocks, and on objects of any order, spacing, spelling and fault. Each way to scan is tried.
#![expect(clippy::unwrap_used, reason = "tests")]

use evenkeel_schemas::*;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

const AT: Coordinates = Coordinates { topic: Topic::Requests, partition: 3, offset: 17 };

const FULL: &str = include_str!("../golden/request.v1.json");

/// The bytes that mean something to a parser of JSON, their neighbours, and parts of UTF-8.
const NASTY: &[u8] = b"\"\\{}[]:, \t\n\r\0\x1f!/09-+.eEntf\x7f\x80\xbf\xc3\xe2\xf0\xff";

/// Holds the fast decoder to the slow one; whether it was the fast one that decided.
fn is_fast(payload: &[u8]) -> bool {
    let slow = Event::decode_by_serde(AT, payload);
    if Encoding::of(payload) == Encoding::Json {
        assert_eq!(Event::decode(AT, payload), slow, "{:?}", String::from_utf8_lossy(payload));
    } else {
        assert!(matches!(slow, Event::Rejected(_)), "{:?}", String::from_utf8_lossy(payload));
    }
    let fast = Scan::available().into_iter().map(|scan| {
        let request = decode_request_by(scan, payload)?;
        assert_eq!(Event::Request(request), slow, "{scan:?}: {:?}", String::from_utf8_lossy(payload));
        Some(())
    });
    let fast = fast.collect::<Vec<_>>();
    assert!(fast.iter().all(|other| *other == fast[0]), "not all agree: {:?}", String::from_utf8_lossy(payload));
    fast[0].is_some()
}

#[test]
fn this_machine_has_more_than_one_way() {
    let ways = Scan::available();
    println!("{ways:?}");
    let has_more = cfg!(target_arch = "aarch64") || cfg!(target_arch = "x86_64") && ways.len() > 1;
    assert_eq!(ways.len(), if has_more { 2 } else { 1 });
    assert_eq!(ways.last(), Some(&Scan::best()));
}

#[test]
fn what_producers_write_is_fast() {
    let spaced = FULL.replace(":", ": ").replace(",\"", ", \"");
    let pretty = FULL.replace(",\"", ",\r\n\t\"").replacen('{', "{ ", 1).replace("\"}", "\" } \n");
    let unknown = FULL.replacen('{', "{\"a\":\"b\",\"c\":null,\"d\":-1.5e+3,\"\":true,\"\u{e9}\":\"\u{1f980}\",", 1);
    let unicode = FULL.replace("checkout", "caf\u{e9} \u{1f980}");
    let short = r#"{"event_time_us":1795246458716866,"service":"s","status":200,"latency_us":0}"#;
    for payload in [FULL, &spaced, &pretty, &unknown, &unicode, short] {
        // The second time, the order of the fields is known.
        assert!(is_fast(payload.as_bytes()) && is_fast(payload.as_bytes()), "{payload}");
    }
}

#[test]
fn what_is_unusual_is_left_to_serde() {
    for (from, to) in [
        ("checkout", r"caf\u00e9"),
        ("\"status\"", r#""st\u0061tus""#),
        ("503", "503.0"),
        ("503", "5e2"),
        ("503", "0503"),
        ("503", "+503"),
        ("503", "-0"),
        ("503", "65736"),
        ("503", "99"),
        ("503", "\"503\""),
        ("1234", "4294967296"),
        ("1234", "3600000001"),
        ("1234", "4294968530"),
        ("1795246458716866", "-1795246458716866"),
        ("1795246458716866", "17952464587168660"),
        ("1795246458716866", "01795246458716866"),
        ("1795246458716866", "946684799999999"),
        ("\"t7\"", "null"),
        ("\"t7\"", "[]"),
        ("\"t7\"", "\"t7\",\"tenant\":\"t7\""),
        ("\"tenant\"", "\"node\""),
        ("\"service\"", "\"Service\""),
        ("\"checkout\"", "\"\""),
        ("{\"event", "[\"event"),
        ("\"db\"}", "\"db\"}}"),
        ("\"db\"}", "\"db\",}"),
        ("\"db\"}", "\"db\"} x"),
        ("\"db\"}", "\"db"),
    ] {
        let payload = FULL.replacen(from, to, 1);
        assert!(payload != FULL && !is_fast(payload.as_bytes()), "{payload}");
    }
    let names = FULL.replace("eu-1", &"x".repeat(257));
    assert!(!is_fast(names.as_bytes()) && is_fast(names.replacen('x', "", 1).as_bytes()));
}

#[test]
fn every_byte_becomes_every_nasty_byte() {
    let spaced = FULL.replace(":", " : ").replace(",", " , ");
    let minimal = include_str!("../golden/request-minimal.v1.json");
    let unknown = r#"{"x":-10.25e-3,"status":200,"y":"z","latency_us":12,"t":true,"service":"a","event_time_us":1795246458716866,"n":null}"#;
    let unicode = FULL.replacen("checkout", "caf\u{e9} \u{1f980}", 1);
    for golden in [FULL, &spaced, minimal, unknown, &unicode] {
        for at in 0..golden.len() {
            for byte in NASTY {
                let mut payload = golden.as_bytes().to_vec();
                payload[at] = *byte;
                is_fast(&payload);
                payload.insert(at, *byte);
                is_fast(&payload);
            }
            is_fast(&golden.as_bytes()[..at]);
            is_fast(&golden.as_bytes()[at..]);
        }
    }
}

#[test]
fn strings_end_anywhere_in_a_block() {
    for length in 0..=260 {
        let text = "x".repeat(length);
        for last in ["}", "\"}", ",\"status\":200}", ",\"version\":\"1.4.2\"}"] {
            let status = if last.contains("status") { "" } else { "\"status\":200," };
            let payload =
                format!(r#"{{{status}"event_time_us":1795246458716866,"latency_us":12,"service":"a{text}"{last}"#);
            assert_eq!(is_fast(payload.as_bytes()), last != "\"}" && length < 256, "{payload}");
            // The same with a byte in the string that has a say, and cut off after it.
            let start = payload.len() - last.len() - 1 - length;
            for at in start..start + length {
                for byte in [b'\\', b'\n', b'"', 0xc3, 0x80] {
                    let mut payload = payload.clone().into_bytes();
                    payload[at] = byte;
                    is_fast(&payload);
                    if length % 16 == 3 {
                        is_fast(&payload[..=at]);
                        is_fast(&payload[..at]);
                    }
                }
            }
        }
    }
}

#[test]
fn a_string_that_never_ends_is_no_loop() {
    let head = r#"{"event_time_us":1795246458716866,"status":200,"latency_us":12,"service":""#;
    for length in 0..200 {
        assert!(!is_fast(format!("{head}{}", "x".repeat(length)).as_bytes()));
        assert!(!is_fast(format!("{head}s\",\"{}", "x".repeat(length)).as_bytes()));
    }
}

#[test]
fn integers_of_every_length() {
    for field in ["event_time_us", "status", "latency_us", "unknown"] {
        for digits in 0..24usize {
            for lead in ["", "-", "0", "1", "9", "-1", "00"] {
                for tail in ["", ".5", "e3", ".", "E+2", "e", "x", " "] {
                    let number = format!("{lead}{}{tail}", &"795246458716866795246458716866"[..digits]);
                    let known = [("event_time_us", "1795246458716866"), ("status", "200"), ("latency_us", "12")];
                    let others = known.iter().filter(|(name, _)| *name != field);
                    let others = others.map(|(name, value)| format!("\"{name}\":{value},")).collect::<String>();
                    is_fast(format!(r#"{{"service":"s","route":"/pay",{others}"{field}":{number}}}"#).as_bytes());
                    is_fast(format!(r#"{{"{field}":{number},{others}"service":"s","route":"/pay"}}"#).as_bytes());
                }
            }
        }
    }
}

/// Seeds are printed with a failure; nothing is written to disk.
fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

const INTEGERS: [&str; 3] = ["event_time_us", "status", "latency_us"];
const STRINGS: [&str; 9] =
    ["service", "route", "method", "node", "region", "version", "tenant", "trace_id", "upstream"];

fn space() -> impl Strategy<Value = String> {
    prop_oneof![6 => Just(String::new()), 2 => Just(" ".to_owned()), 1 => "[ \t\n\r]{0,40}"]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => "[ !#-\\[\\]-~]{0,40}",
        1 => "[a-z]{0,280}",
        1 => "[a-z\u{80}-\u{7ff}\u{e000}-\u{ffff}\u{10000}-\u{1ffff}]{0,40}",
        1 => select(&["\\n", "\\u00e9", "\\\"", "\\ud800", "\t", "\0", "\\", "\\x"][..]).prop_map(str::to_owned),
    ]
}

/// A value as JSON: mostly one that fits the field.
fn value(field: &'static str) -> BoxedStrategy<String> {
    let string = text().prop_map(|text| format!("\"{text}\""));
    let number = prop_oneof![
        any::<i64>().prop_map(|number| number.to_string()),
        any::<u16>().prop_map(|number| number.to_string()),
        any::<f64>().prop_map(|number| format!("{number:?}")),
        "-?0?[0-9]{0,20}(\\.[0-9]{0,3})?([eE][+-]?[0-9]{0,3})?",
    ];
    let other = select(&["null", "true", "false", "[]", "{}", "{\"a\":[1]}", "nul", ""][..]).prop_map(str::to_owned);
    match field {
        "event_time_us" => prop_oneof![40 => 946_684_800_000_000i64..3_000_000_000_000_000, 1 => any::<i64>()]
            .prop_map(|time| time.to_string())
            .boxed(),
        "status" => prop_oneof![40 => 100u32..1000, 1 => any::<u32>()].prop_map(|status| status.to_string()).boxed(),
        "latency_us" => prop_oneof![20 => 0u64..1 << 32, 20 => 0u64..5_000, 1 => any::<u64>()]
            .prop_map(|latency| latency.to_string())
            .boxed(),
        "unknown" => prop_oneof![4 => string, 4 => number, 3 => other].boxed(),
        _ => prop_oneof![60 => string, 1 => number, 1 => other].boxed(),
    }
}

/// An object: its fields in any order, some left out, some twice, some unknown, with space wherever JSON allows it.
fn object() -> impl Strategy<Value = Vec<u8>> {
    let field = |name: &'static str| (Just(name.to_owned()), value(name));
    let needed = INTEGERS.into_iter().chain(["service"]).map(field).collect::<Vec<_>>();
    let names = prop_oneof![20 => select(&STRINGS[1..]), 1 => select(&STRINGS[..]), 1 => select(&INTEGERS[..])];
    let optional = vec(names.prop_flat_map(field), 0..6);
    let unknown_names = prop_oneof![
        8 => "[a-z_]{0,20}",
        1 => text(),
        1 => select(&["statu\\u0073", "event_time_u", "event_time_us_", "Node", "status "][..]).prop_map(str::to_owned),
    ];
    let unknown = vec((unknown_names, value("unknown")), 0..3);
    let spaces = prop_oneof![1 => Just(vec![String::new()]), 1 => Just(vec![" ".to_owned()]), 2 => vec(space(), 1..9)];
    let drop = prop_oneof![30 => Just(None), 1 => any::<Index>().prop_map(Some)];
    let fields = (needed, optional, unknown).prop_map(|(needed, optional, unknown)| {
        let mut fields = needed;
        for field in optional {
            // A field that is there twice is no request; a few of them are enough.
            if field.1.len() % 16 == 0 || !fields.iter().any(|(name, _)| *name == field.0) {
                fields.push(field);
            }
        }
        fields.extend(unknown);
        fields
    });
    (fields.prop_shuffle(), spaces, drop).prop_map(|(mut fields, spaces, drop)| {
        if let Some(drop) = drop {
            fields.remove(drop.index(fields.len()));
        }
        let mut spaces = spaces.iter().cycle();
        let mut space = || spaces.next().unwrap().clone();
        let mut json = format!("{}{{", space());
        for (number, (name, value)) in fields.iter().enumerate() {
            let comma = if number > 0 { "," } else { "" };
            json += &[comma, &space(), "\"", name, "\"", &space(), ":", &space(), value, &space()].concat();
        }
        (json + "}" + &space()).into_bytes()
    })
}

proptest! {
    #![proptest_config(cases(60_000))]

    #[test]
    fn objects_decode_alike(payload in object()) {
        is_fast(&payload);
    }

    #[test]
    fn broken_objects_decode_alike(
        payload in object(),
        changes in vec((any::<Index>(), select(NASTY), 0u8..3), 1..4),
    ) {
        let mut payload = payload;
        for (at, byte, change) in changes {
            let at = at.index(payload.len());
            match change {
                0 => payload[at] = byte,
                1 => payload.insert(at, byte),
                _ => drop(payload.remove(at)),
            }
        }
        is_fast(&payload);
    }
}

#[test]
fn enough_objects_are_fast() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let payloads = (0..4_000).map(|_| object().new_tree(&mut runner).unwrap().current());
    let fast = payloads.filter(|payload| is_fast(payload)).count();
    println!("{fast} of 4,000 were fast");
    assert!((800..3_600).contains(&fast), "{fast}: too few or too many to find out anything");
}
