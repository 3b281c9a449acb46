//! Requests as Avro single objects: a view of one object of `request.avsc`.
//!
//! By the specification (<https://avro.apache.org/docs/1.12.0/specification/>, "Single-object encoding" and "Schema
//! fingerprints"): two marker bytes, the CRC-64-AVRO fingerprint of the schema's Parsing Canonical Form, lowest byte
//! first, then the fields in the order of the schema: `int` and `long` as zigzag varints, `string` as a `long` and so
//! many bytes of UTF-8. A second version of the schema would have a second fingerprint here.

use super::{Parts, Texts};
use crate::event::Refusal;
use crate::varint::unzigzag;
use crate::{Reason, read_varint};

/// What a single object begins with.
pub(crate) const MARK: [u8; 2] = [0xc3, 0x01];

/// The Parsing Canonical Form of `request.avsc`; `tests/encodings.rs` derives it from the file.
pub(crate) const CANONICAL: &str = concat!(
    r#"{"name":"evenkeel.v1.Request","type":"record","fields":[{"name":"event_time_us","type":"long"},"#,
    r#"{"name":"status","type":"int"},{"name":"latency_us","type":"long"},{"name":"service","type":"string"},"#,
    r#"{"name":"route","type":"string"},{"name":"method","type":"string"},{"name":"node","type":"string"},"#,
    r#"{"name":"region","type":"string"},{"name":"version","type":"string"},{"name":"tenant","type":"string"},"#,
    r#"{"name":"trace_id","type":"string"},{"name":"upstream","type":"string"}]}"#
);

/// The fingerprint of `request.avsc`.
pub(crate) const FINGERPRINT: u64 = rabin(CANONICAL.as_bytes());

/// What every object begins with: marker and fingerprint.
const HEAD: [u8; 10] = {
    let fingerprint = FINGERPRINT.to_le_bytes();
    let mut head = [MARK[0], MARK[1], 0, 0, 0, 0, 0, 0, 0, 0];
    let mut at = 0;
    while at < fingerprint.len() {
        head[2 + at] = fingerprint[at];
        at += 1;
    }
    head
};

/// CRC-64-AVRO, bit by bit, as the specification has it.
pub(crate) const fn rabin(bytes: &[u8]) -> u64 {
    const EMPTY: u64 = 0xc15d_213a_a4d7_a795;
    let (mut fingerprint, mut at) = (EMPTY, 0);
    while at < bytes.len() {
        let (mut row, mut bit) = ((fingerprint ^ bytes[at] as u64) & 0xff, 0);
        while bit < 8 {
            row = (row >> 1) ^ (EMPTY & (row & 1).wrapping_neg());
            bit += 1;
        }
        fingerprint = (fingerprint >> 8) ^ row;
        at += 1;
    }
    fingerprint
}

/// Reads a single object, which begins with [`MARK`].
#[inline(never)]
pub(super) fn read<'a>(payload: &'a [u8], parts: &mut Parts<'a>) -> Result<(), Refusal> {
    let Some(body) = payload.strip_prefix(&HEAD) else { return Err(other_schema(payload)) };
    fields(body, parts).map_err(broken)
}

#[cold]
fn other_schema(payload: &[u8]) -> Refusal {
    match payload.get(2..10).and_then(|bytes| bytes.try_into().ok()) {
        Some(found) => {
            let found = u64::from_le_bytes(found);
            let what = format!("fingerprint {found:016x}; that of request.avsc is {FINGERPRINT:016x}");
            Refusal(Reason::UnknownSchema, what)
        }
        None => Refusal(Reason::NotAvro, "cut off in its fingerprint".to_owned()),
    }
}

#[cold]
fn broken(field: &str) -> Refusal {
    Refusal(Reason::NotAvro, field.to_owned())
}

/// The fields of an object, or which of them does not end within it or is no UTF-8.
#[inline(always)]
fn fields<'a>(body: &'a [u8], parts: &mut Parts<'a>) -> Result<(), &'static str> {
    let mut rest = body;
    parts.event_time_us = long(&mut rest).ok_or("event_time_us")?;
    parts.status = long(&mut rest).ok_or("status")?;
    parts.latency_us = long(&mut rest).ok_or("latency_us")?;
    let texts = Texts::new(rest);
    let (all, mut at) = (rest, 0);
    for (field, name) in super::STRING_NAMES.into_iter().enumerate() {
        let length = match all.get(at) {
            // One byte is a length of up to 63; an odd one is negative.
            Some(byte) if byte & 0x81 == 0 => {
                at += 1;
                usize::from(byte >> 1)
            }
            _ => long_length(all, &mut at).ok_or(name)?,
        };
        let end = at.checked_add(length).ok_or(name)?;
        parts.strings[field] = texts.get(at, end).ok_or(name)?;
        at = end;
    }
    if at != all.len() {
        return Err("bytes after the last field");
    }
    parts.seen = Parts::ALL;
    Ok(())
}

#[inline(always)]
fn long(rest: &mut &[u8]) -> Option<i64> {
    // Eight bytes at a time: the first whose highest bit is not set is the last one.
    if let Some((word, _)) = rest.split_first_chunk().map(|(word, rest)| (u64::from_le_bytes(*word), rest)) {
        let last = !word & HIGHS;
        if last != 0 {
            *rest = &rest[last.trailing_zeros() as usize / 8 + 1..];
            return Some(unzigzag(sevens(word & (last ^ (last - 1)) & !HIGHS)));
        }
    }
    read_varint(rest).map(unzigzag)
}

/// The highest bit of each byte.
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// The number that eight bytes of seven bits are: pairs, pairs of pairs, and both halves.
#[inline(always)]
fn sevens(word: u64) -> u64 {
    let pairs = word & 0x007f_007f_007f_007f | (word & 0x7f00_7f00_7f00_7f00) >> 1;
    let fours = pairs & 0x0000_3fff_0000_3fff | (pairs & 0x3fff_0000_3fff_0000) >> 2;
    fours & 0x0fff_ffff | (fours & 0x0fff_ffff_0000_0000) >> 4
}

#[cold]
#[inline(never)]
fn long_length(all: &[u8], at: &mut usize) -> Option<usize> {
    let mut rest = all.get(*at..)?;
    let length = usize::try_from(long(&mut rest)?).ok()?;
    *at = all.len() - rest.len();
    Some(length)
}
