//! Where plain text stops: at a quote, a backslash, a control character, or a byte that is no ASCII.
//!
//! Each function makes a mask of a block: for byte `i` the bits from `BITS · i` on, as many as it has bits a byte, of
//! which the highest or all are set if the byte is a stop, and none if it is not.

use super::number::{HIGHS, ONES};

/// 8 bits a byte.
#[inline(always)]
pub(super) fn portable(block: &[u8; 8]) -> u64 {
    let bytes = u64::from_le_bytes(*block);
    // Of each byte the lower seven bits; a sum with them cannot carry into the next byte.
    let low = bytes & !HIGHS;
    let no_quote = (low ^ (ONES * u64::from(b'"'))) + !HIGHS;
    let no_backslash = (low ^ (ONES * u64::from(b'\\'))) + !HIGHS;
    let no_control = low + ONES * 0x60;
    (!(no_quote & no_backslash & no_control) | bytes) & HIGHS
}

/// 1 bit a byte.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
#[inline]
pub(super) fn avx2(block: &[u8; 32]) -> u64 {
    use std::arch::x86_64::*;
    // SAFETY: point 2.
    let bytes = unsafe { _mm256_loadu_si256(block.as_ptr().cast()) };
    // As signed numbers, what is no ASCII is negative, so this finds control characters too.
    let no_text = _mm256_cmpgt_epi8(_mm256_set1_epi8(0x20), bytes);
    let quote = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(b'"' as i8));
    let backslash = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(b'\\' as i8));
    let stops = _mm256_or_si256(_mm256_or_si256(quote, backslash), no_text);
    u64::from(_mm256_movemask_epi8(stops).cast_unsigned())
}

/// 4 bits a byte.
#[cfg(target_arch = "aarch64")]
#[target_feature(enable = "neon")]
#[inline]
pub(super) fn neon(block: &[u8; 16]) -> u64 {
    use std::arch::aarch64::*;
    // SAFETY: point 2.
    let bytes = unsafe { vld1q_u8(block.as_ptr()) };
    // As signed numbers, what is no ASCII is negative, so this finds control characters too.
    let no_text = vcltq_s8(vreinterpretq_s8_u8(bytes), vdupq_n_s8(0x20));
    let quote = vceqq_u8(bytes, vdupq_n_u8(b'"'));
    let backslash = vceqq_u8(bytes, vdupq_n_u8(b'\\'));
    let stops = vorrq_u8(vorrq_u8(quote, backslash), no_text);
    // Each pair of bytes is shifted by four bits and cut to one byte: a half of it for each.
    let halves = vshrn_n_u16::<4>(vreinterpretq_u16_u8(stops));
    vget_lane_u64::<0>(vreinterpret_u64_u8(halves))
}
