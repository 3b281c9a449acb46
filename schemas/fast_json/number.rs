//! Numbers: integers of up to 16 digits by value, all others by length.

use super::walk::window;

/// A one in each byte.
pub(super) const ONES: u64 = u64::MAX / 255;

/// The highest bit of each byte.
pub(super) const HIGHS: u64 = ONES << 7;

const POWERS: [u64; 9] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];

/// The first 16 digits of the integer at `at`, and how many there are: no sign, no leading zero.
#[inline(always)]
pub(super) fn integer(payload: &[u8], at: usize) -> Option<(u64, usize)> {
    let (first, second) = match window(payload, at) {
        Some(bytes) => words(bytes),
        None => words(&tail(payload, at)),
    };
    let (count, starts_with_zero) = (digits(first), first as u8 == 0);
    if count < 8 {
        let is_plain = count == 1 || (count > 1 && !starts_with_zero);
        return is_plain.then(|| (value(first << (64 - 8 * count)), count));
    }
    if starts_with_zero {
        return None;
    }
    let more = digits(second);
    let low = if more == 0 { 0 } else { value(second << (64 - 8 * more)) };
    Some((value(first) * POWERS[more] + low, 8 + more))
}

/// Two words of eight bytes, less `'0'` each.
#[inline(always)]
fn words(bytes: &[u8; 16]) -> (u64, u64) {
    let both = u128::from_le_bytes(*bytes);
    (both as u64 ^ (ONES * 0x30), (both >> 64) as u64 ^ (ONES * 0x30))
}

/// What is left of a payload from `at` on, then zeros.
#[cold]
fn tail(payload: &[u8], at: usize) -> [u8; 16] {
    let mut padded = [0; 16];
    padded.iter_mut().zip(&payload[at..]).for_each(|(padded, byte)| *padded = *byte);
    padded
}

/// How many bytes, less `'0'`, are digits before the first that is none. A carry spoils bytes after that one only.
#[inline(always)]
fn digits(word: u64) -> usize {
    let none = (word.wrapping_add(ONES * 0x76) | word) & HIGHS;
    none.trailing_zeros() as usize / 8
}

/// The value of eight digits, the first one in the lowest byte: pairs, then all four pairs in two multiplications.
#[inline(always)]
fn value(digits: u64) -> u64 {
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8);
    let even = (pairs & 0x0000_00ff_0000_00ff).wrapping_mul(0x000f_4240_0000_0064);
    let odd = ((pairs >> 16) & 0x0000_00ff_0000_00ff).wrapping_mul(0x0000_2710_0000_0001);
    even.wrapping_add(odd) >> 32
}

/// How long the number at the start of `bytes` is, by the grammar of JSON.
pub(super) fn length(bytes: &[u8]) -> Option<usize> {
    let is = |at: usize, any: &[u8]| bytes.get(at).is_some_and(|byte| any.contains(byte));
    let digits = |from: usize| {
        let count = bytes.get(from..)?.iter().take_while(|byte| byte.is_ascii_digit()).count();
        (count > 0).then_some(from + count)
    };
    let start = usize::from(is(0, b"-"));
    let mut end = digits(start)?;
    if is(start, b"0") && end > start + 1 {
        return None;
    }
    if is(end, b".") {
        end = digits(end + 1)?;
    }
    if is(end, b"eE") {
        end = digits(end + 1 + usize::from(is(end + 1, b"+-")))?;
    }
    Some(end)
}
