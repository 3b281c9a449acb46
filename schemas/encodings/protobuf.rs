//! Requests as Protocol Buffers: a view of one message of `request.proto`.
//!
//! By the encoding guide (<https://protobuf.dev/programming-guides/encoding/>): fields in any order, the last one of a
//! number wins, what is unknown is skipped, groups too, and a known number with another wire type counts as unknown.
//! Where it leaves a choice, the stricter one: a number that does not fit its type is rejected and not cut, and strings
//! are UTF-8.

use super::{Parts, Texts};
use crate::event::Refusal;
use crate::{Reason, read_varint};

/// The tags of the known fields, in the order of their numbers: three integers, then the strings.
pub(crate) const TAGS: [u8; 12] = {
    let [mut tags, mut field] = [[0; 12], [0; 12]];
    // Wire types: 1 is 64 bits, 0 a varint, 5 is 32 bits, 2 a length and so many bytes.
    let wire = [1, 0, 5, 2, 2, 2, 2, 2, 2, 2, 2, 2];
    let mut at = 0;
    while at < tags.len() {
        field[at] = at as u8 + 2;
        tags[at] = field[at] << 3 | wire[at];
        at += 1;
    }
    tags
};

const TIME: u64 = TAGS[0] as u64;
const STATUS: u64 = TAGS[1] as u64;
const LATENCY: u64 = TAGS[2] as u64;
const SERVICE: u64 = TAGS[3] as u64;
const UPSTREAM: u64 = TAGS[11] as u64;

/// The wire type of strings.
const LENGTH: u64 = 2;

/// Groups within groups that are skipped; the limit of other decoders is 100.
const DEEPEST: u32 = 100;

/// Reads a message.
#[inline(never)]
pub(super) fn read<'a>(payload: &'a [u8], parts: &mut Parts<'a>) -> Result<(), Refusal> {
    fields(payload, parts).map_err(refusal)
}

/// Where a payload ceases to be a message, and why.
struct Broken(usize, &'static str);

#[cold]
fn refusal(Broken(at, what): Broken) -> Refusal {
    Refusal(Reason::NotProtobuf, format!("{what} at byte {at}"))
}

#[inline(always)]
fn fields<'a>(payload: &'a [u8], parts: &mut Parts<'a>) -> Result<(), Broken> {
    let (mut at, mut texts) = (0, None);
    while at < payload.len() {
        let begins = at;
        let tag = varint(payload, &mut at)?;
        match tag {
            TIME => {
                parts.event_time_us = i64::from_le_bytes(*fixed(payload, &mut at)?);
                parts.seen |= Parts::TIME;
            }
            STATUS => {
                parts.status = i64::try_from(varint(payload, &mut at)?).unwrap_or(i64::MAX);
                parts.seen |= Parts::STATUS;
            }
            LATENCY => {
                parts.latency_us = i64::from(u32::from_le_bytes(*fixed(payload, &mut at)?));
                parts.seen |= Parts::LATENCY;
            }
            SERVICE..=UPSTREAM if tag & 7 == LENGTH => {
                let length = varint(payload, &mut at)?;
                let (base, texts) = texts.get_or_insert_with(|| (at, Texts::new(&payload[at..])));
                let end = end(payload, at, length)?;
                let field = ((tag - SERVICE) >> 3) as usize;
                parts.strings[field] = texts.get(at - *base, end - *base).ok_or(Broken(at, "a string of no UTF-8"))?;
                parts.seen |= u8::from(field == 0) * Parts::SERVICE;
                at = end;
            }
            _ => at = skip(payload, at, begins, tag, 0)?,
        }
    }
    Ok(())
}

/// Takes a varint off the bytes at `at`.
#[inline(always)]
fn varint(payload: &[u8], at: &mut usize) -> Result<u64, Broken> {
    match payload.get(*at) {
        Some(byte) if *byte < 0x80 => {
            *at += 1;
            Ok(u64::from(*byte))
        }
        _ => long_varint(payload, at),
    }
}

#[inline]
fn long_varint(payload: &[u8], at: &mut usize) -> Result<u64, Broken> {
    let mut rest = payload.get(*at..).unwrap_or_default();
    let value = read_varint(&mut rest).ok_or(Broken(*at, "a varint that does not end"))?;
    *at = payload.len() - rest.len();
    Ok(value)
}

/// Takes `N` bytes off those at `at`.
#[inline(always)]
fn fixed<'a, const N: usize>(payload: &'a [u8], at: &mut usize) -> Result<&'a [u8; N], Broken> {
    let bytes = payload.get(*at..).and_then(|rest| rest.first_chunk()).ok_or(Broken(*at, "a number cut off"))?;
    *at += N;
    Ok(bytes)
}

/// Where `length` bytes from `at` on end.
#[inline(always)]
fn end(payload: &[u8], at: usize, length: u64) -> Result<usize, Broken> {
    let end = usize::try_from(length).ok().and_then(|length| at.checked_add(length));
    end.filter(|end| *end <= payload.len()).ok_or(Broken(at, "a length beyond the end"))
}

/// Where the value of an unknown field ends, whose tag lies at `begins` and ends at `at`.
#[cold]
#[inline(never)]
fn skip(payload: &[u8], mut at: usize, begins: usize, tag: u64, depth: u32) -> Result<usize, Broken> {
    if tag >> 3 == 0 || tag > u64::from(u32::MAX) {
        return Err(Broken(begins, "a tag without a field"));
    }
    match tag & 7 {
        0 => drop(varint(payload, &mut at)?),
        1 => drop(fixed::<8>(payload, &mut at)?),
        LENGTH => {
            let length = varint(payload, &mut at)?;
            at = end(payload, at, length)?;
        }
        3 if depth < DEEPEST => loop {
            let begins = at;
            let inner = varint(payload, &mut at)?;
            if inner == tag + 1 {
                break;
            }
            at = skip(payload, at, begins, inner, depth + 1)?;
        },
        3 => return Err(Broken(begins, "groups too deep")),
        4 => return Err(Broken(begins, "the end of a group that never began")),
        5 => drop(fixed::<4>(payload, &mut at)?),
        _ => return Err(Broken(begins, "a tag of no wire type")),
    }
    Ok(at)
}
