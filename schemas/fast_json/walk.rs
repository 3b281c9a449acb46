//! From field to field of a flat object.

use super::fields::{FIELDS, Fields, HEADS, INTEGERS, field_of};
use super::{number, scan};
use std::cell::Cell;

/// For each field, and last for the start of the object, the known field that followed it last time.
pub(super) type Followers = [Cell<u8>; FIELDS + 1];

thread_local! {
    /// Guesses, which have no say in the result: a name that is not the one expected is looked up.
    pub(super) static FOLLOWERS: Followers = const { [const { Cell::new(0) }; FIELDS + 1] };
}

/// Reads the whole payload into `fields`. `stops` makes a mask of the bytes that end plain text, with so many `BITS`
/// for each of the `N` bytes of a block (see [`scan`]).
#[inline(always)]
pub(super) fn walk<'a, const N: usize, const BITS: usize>(
    payload: &'a [u8],
    fields: &mut Fields<'a>,
    followers: &Followers,
    stops: impl Fn(&[u8; N]) -> u64 + Copy,
) -> Option<()> {
    let mut at = step_over(payload, skip_space(payload, 0), b'{')?;
    let (mut seen, mut previous) = (0u32, FIELDS);
    loop {
        let expected = usize::from(followers[previous].get());
        let head = &HEADS[expected];
        let mut field = expected;
        if window(payload, at).is_some_and(|bytes| head.reaches_value(bytes)) {
            at += head.length;
        } else {
            at = skip_space(payload, at);
            match window(payload, at).and_then(|bytes| head.reaches_colon(bytes)) {
                Some(length) => at += length,
                None => (field, at) = name(payload, at)?,
            }
            at = skip_space(payload, at);
            if field == FIELDS {
                at = skip_value(payload, at)?;
                match separator(payload, &mut at)? {
                    b',' => continue,
                    _ => break,
                }
            }
            followers[previous].set(field as u8);
            if field >= INTEGERS {
                at = step_over(payload, at, b'"')?;
            }
        }
        if seen >> field & 1 != 0 {
            return None;
        }
        seen |= 1 << field;
        previous = field;
        if field < INTEGERS {
            at = skip_space(payload, at);
            let (value, digits) = number::integer(payload, at)?;
            fields.set_integer(field, value);
            at += digits;
        } else {
            let (text, end) = string::<N, BITS>(payload, at, stops)?;
            fields.set_string(field, text);
            at = end;
        }
        if payload.get(at) == Some(&b',') {
            at += 1;
        } else if separator(payload, &mut at)? != b',' {
            break;
        }
    }
    (skip_space(payload, at) == payload.len() && fields.are_whole(seen)).then_some(())
}

/// The `N` bytes from `at` on, if there are so many.
#[inline(always)]
pub(super) fn window<const N: usize>(payload: &[u8], at: usize) -> Option<&[u8; N]> {
    let last = payload.len().checked_sub(N)?;
    // SAFETY: point 1.
    (at <= last).then(|| unsafe { &*payload.as_ptr().add(at).cast::<[u8; N]>() })
}

#[inline(always)]
fn skip_space(payload: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\t' | b'\n' | b'\r') = payload.get(at) {
        at += 1;
    }
    at
}

#[inline(always)]
fn step_over(payload: &[u8], at: usize, due: u8) -> Option<usize> {
    (payload.get(at) == Some(&due)).then_some(at + 1)
}

/// Steps over what stands after a value, and says which it was: a comma or the object's end.
#[inline(always)]
fn separator(payload: &[u8], at: &mut usize) -> Option<u8> {
    let place = skip_space(payload, *at);
    *at = place + 1;
    payload.get(place).copied().filter(|byte| matches!(byte, b',' | b'}'))
}

/// The string that begins at `from`, after its quote, and where the byte after its closing quote is.
#[inline(always)]
fn string<const N: usize, const BITS: usize>(
    payload: &[u8],
    from: usize,
    stops: impl Fn(&[u8; N]) -> u64,
) -> Option<(&str, usize)> {
    let mut at = from;
    let stop = loop {
        if let Some(block) = window(payload, at) {
            match stops(block) {
                0 => at += N,
                mask => break at + mask.trailing_zeros() as usize / BITS,
            }
        } else {
            // The last block of the payload, less what of it is before `at`.
            let (before, block) = payload.split_last_chunk()?;
            match stops(block).checked_shr(((at - before.len()) * BITS) as u32)? {
                0 => return None,
                mask => break at + mask.trailing_zeros() as usize / BITS,
            }
        }
    };
    match payload.get(stop)? {
        // SAFETY: point 4.
        b'"' => Some((unsafe { std::str::from_utf8_unchecked(payload.get_unchecked(from..stop)) }, stop + 1)),
        0x80.. => unicode(payload, from, stop),
        _ => None,
    }
}

/// As [`string`], byte by byte, once there is something at `at` that is no ASCII.
#[cold]
#[inline(never)]
fn unicode(payload: &[u8], from: usize, at: usize) -> Option<(&str, usize)> {
    let stop = at + payload[at..].iter().position(|byte| matches!(byte, b'"' | b'\\' | ..b' '))?;
    let end = step_over(payload, stop, b'"')?;
    Some((std::str::from_utf8(&payload[from..stop]).ok()?, end))
}

/// As [`string`], from its quote on, wherever speed is no matter.
fn any_string(payload: &[u8], at: usize) -> Option<(&str, usize)> {
    string::<8, 8>(payload, step_over(payload, at, b'"')?, scan::portable)
}

/// The field whose name is at `at`, and where the byte after its colon is.
#[cold]
#[inline(never)]
fn name(payload: &[u8], at: usize) -> Option<(usize, usize)> {
    let (name, end) = any_string(payload, at)?;
    Some((field_of(name), step_over(payload, skip_space(payload, end), b':')?))
}

/// Where the byte after the value of an unknown field is; nothing nested.
#[cold]
#[inline(never)]
fn skip_value(payload: &[u8], at: usize) -> Option<usize> {
    let rest = payload.get(at..)?;
    let length = match rest.first()? {
        b'"' => return Some(any_string(payload, at)?.1),
        b't' if rest.starts_with(b"true") => 4,
        b'n' if rest.starts_with(b"null") => 4,
        b'f' if rest.starts_with(b"false") => 5,
        _ => number::length(rest)?,
    };
    Some(at + length)
}
