//! The encodings of a request event. The first bytes of a record on the topic of requests say which one it is:
//!
//! | first bytes | encoding | decoded by |
//! |---|---|---|
//! | `{` or white space of JSON; `[`; none at all | JSON, one request | [`fast_json`](crate::decode_request), then serde_json |
//! | `FF FF FF FF` | an Arrow IPC stream, many requests | [`arrow`] |
//! | `C3 01` | Avro, a single object of `request.avsc` | [`avro`] |
//! | `00` | the wire format of Confluent's registry | nobody: rejected, for its schema is not in it |
//! | the tag of a known field of `request.proto` | Protocol Buffers, one request | [`protobuf`] |
//!
//! Everything else is rejected. The rows cannot be confused: no tag of a known field is a first byte of another row
//! (`tests/encodings.rs` tries all 256), and FF, C3 and 00 begin no JSON.
//!
//! Each decoder is a view: it is total (any bytes are requests or rejections), strings are slices of the payload, and
//! the bounds are those of JSON. A record with one request allocates nothing; a batch a few lists, whatever its rows.
//!
//! # Decision
//! * Strings are checked as UTF-8 together where they lie together: `request.proto` and `request.avsc` put them after
//!   the numbers, so that everything behind the first of them is text, tags and lengths below 128 included, and one
//!   check does for all. Slicing at boundaries of characters then is safe Rust (see [`Texts`]).
//! * CPU time on a loaded core of a 2.3 GHz Xeon of 2023, ns an event (`benches/decode.rs`, `cpu_ns`): JSON 82,
//!   Protocol Buffers 58, Avro 59, Arrow with 100 a record 72, with 1,000 a record 43, serde_json 495. A stream costs 2 µs
//!   before its first row: below ten requests a record the other encodings are faster.
//! * No library: prost and apache-avro make owned values (a third, and a tenth, of the speed); the readers of arrow-rs
//!   panic on some hostile bytes and take microseconds a record. What the contract needs of each format is small.

pub(crate) mod arrow;
pub(crate) mod avro;
mod parts;
pub(crate) mod protobuf;
mod texts;
mod write;

pub use write::{write_avro, write_protobuf};

use crate::event::{Refusal, decode_json};
use crate::{Coordinates, MAX_PAYLOAD_BYTES, Reason, Rejection, Request, decode_request};
use parts::{Parts, STRING_NAMES};
use texts::Texts;

/// How a record on the topic of requests is encoded, by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Encoding {
    /// One request as a JSON object.
    Json,
    /// One request as Protocol Buffers.
    Protobuf,
    /// One request as an Avro single object.
    Avro,
    /// Many requests as an Arrow IPC stream.
    Arrow,
    /// Something in the wire format of Confluent's registry, which is not read.
    Confluent,
    /// None of these.
    Unknown,
}

/// What a first byte says, for each of them.
static FIRST: [Encoding; 256] = {
    let mut first = [Encoding::Unknown; 256];
    let mut at = 0;
    while at < protobuf::TAGS.len() {
        first[protobuf::TAGS[at] as usize] = Encoding::Protobuf;
        at += 1;
    }
    let json = b"{[ \t\n\r";
    let mut at = 0;
    while at < json.len() {
        first[json[at] as usize] = Encoding::Json;
        at += 1;
    }
    first[arrow::MARK[0] as usize] = Encoding::Arrow;
    first[avro::MARK[0] as usize] = Encoding::Avro;
    first[0] = Encoding::Confluent;
    first
};

impl Encoding {
    /// The encoding that a payload claims to be in.
    ///
    /// ```
    /// use evenkeel_schemas::Encoding;
    /// assert_eq!(Encoding::of(b"{}"), Encoding::Json);
    /// assert_eq!(Encoding::of(&[0xC3, 0x01]), Encoding::Avro);
    /// assert_eq!(Encoding::of(b"GET / HTTP/1.1"), Encoding::Unknown);
    /// ```
    #[inline]
    pub fn of(payload: &[u8]) -> Self {
        let Some(first) = payload.first() else { return Self::Json };
        match FIRST[usize::from(*first)] {
            Self::Arrow if !payload.starts_with(&arrow::MARK) => Self::Unknown,
            Self::Avro if !payload.starts_with(&avro::MARK) => Self::Unknown,
            known => known,
        }
    }
}

/// Passes on every request that the record at `at` holds, in order: the request or why there is none, and for a batch
/// the number of its row. Total; a record that holds no request at all and is no empty batch passes on one rejection.
///
/// A malformed batch is one rejection and nothing else: its rows are passed on once all of it was found to be sound.
///
/// ```
/// use evenkeel_schemas::{Coordinates, Topic, decode_requests};
/// let at = Coordinates { topic: Topic::Requests, partition: 0, offset: 7 };
/// let payload = br#"{"event_time_us":1795246458716866,"service":"checkout","status":200,"latency_us":1234}"#;
/// let mut latencies = Vec::new();
/// decode_requests(at, payload, &mut |_row, request| latencies.extend(request.map(|it| it.latency_us)));
/// assert_eq!(latencies, [1234]);
/// ```
#[inline]
pub fn decode_requests<'a>(
    at: Coordinates,
    payload: &'a [u8],
    each: &mut impl FnMut(Option<u32>, Result<Request<'a>, Rejection>),
) {
    let encoding = Encoding::of(payload);
    if encoding == Encoding::Json {
        if let Some(request) = decode_request(payload) {
            return each(None, Ok(request));
        }
    } else if encoding == Encoding::Arrow && payload.len() <= MAX_PAYLOAD_BYTES {
        match arrow::decode(payload) {
            Ok(batch) => {
                batch.each(|row, found| each(Some(row), found.map_err(|fault| fault.rejection(at, row))));
            }
            Err(refusal) => each(None, Err(refusal.rejection(at, payload))),
        }
        return;
    } else if let Some(request) = view(encoding, payload) {
        return each(None, Ok(request));
    }
    each(None, decode_slowly(encoding, payload).map_err(|refusal| refusal.rejection(at, payload)));
}

/// The one request of a record in an encoding that has a view; `None`: ask [`decode_slowly`].
#[inline(always)]
pub(crate) fn view(encoding: Encoding, payload: &[u8]) -> Option<Request<'_>> {
    let mut parts = Parts::default();
    read(encoding, payload, &mut parts).ok()?;
    parts.request()
}

#[inline(always)]
fn read<'a>(encoding: Encoding, payload: &'a [u8], parts: &mut Parts<'a>) -> Result<(), Refusal> {
    if payload.len() > MAX_PAYLOAD_BYTES {
        return Err(Refusal(Reason::TooLarge, format!("{} bytes", payload.len())));
    }
    match encoding {
        Encoding::Protobuf => protobuf::read(payload, parts),
        Encoding::Avro => avro::read(payload, parts),
        _ => Err(none(encoding, payload)),
    }
}

/// As [`view`], but says why there is no request, and knows all of JSON.
#[cold]
#[inline(never)]
pub(crate) fn decode_slowly(encoding: Encoding, payload: &[u8]) -> Result<Request<'_>, Refusal> {
    if encoding == Encoding::Json && payload.len() <= MAX_PAYLOAD_BYTES {
        return decode_json(payload);
    }
    let mut parts = Parts::default();
    read(encoding, payload, &mut parts)?;
    parts.request().ok_or_else(|| parts.refusal())
}

/// Why a record in an encoding without a view is no request.
#[cold]
fn none(encoding: Encoding, payload: &[u8]) -> Refusal {
    match encoding {
        Encoding::Confluent => confluent(payload),
        Encoding::Arrow => Refusal(Reason::WrongShape, "a batch where one request is expected".to_owned()),
        _ => unknown(payload),
    }
}

/// Schemas of Confluent's wire format are in a registry, which is not asked: a replay would not be a function of the
/// log any more.
#[cold]
fn confluent(payload: &[u8]) -> Refusal {
    let what = match payload.get(1..5).and_then(|id| id.try_into().ok()) {
        Some(id) => format!("schema {} of a Confluent registry", u32::from_be_bytes(id)),
        None => "a zero byte, and no Confluent schema id after it".to_owned(),
    };
    let what = format!(
        "{what}: no registry is asked; write Avro single objects (C3 01 and fingerprint {:016x}) or JSON",
        avro::FINGERPRINT
    );
    Refusal(Reason::UnknownSchema, what)
}

#[cold]
fn unknown(payload: &[u8]) -> Refusal {
    let what = match payload {
        [b'A', b'R', b'R', b'O', b'W', b'1', ..] => "an Arrow file: write the stream format".to_owned(),
        [b'O', b'b', b'j', 1, ..] => "an Avro container file: write single objects".to_owned(),
        [0xef, 0xbb, 0xbf, ..] => "a byte order mark: write JSON without it".to_owned(),
        [0x1f, 0x8b, ..] | [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            "compressed by its producer's code: let the Kafka client compress".to_owned()
        }
        _ => {
            let head = payload.iter().take(4).map(|byte| format!(" {byte:02x}")).collect::<String>();
            format!("no JSON, Protocol Buffers, Avro single object or Arrow stream begins with{head}")
        }
    };
    Refusal(Reason::UnknownEncoding, what)
}
