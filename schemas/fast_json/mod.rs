//! Requests at the speed of memory: a second decoder for the flat JSON objects that requests are.
//!
//! It reads what producers write in practice, and answers `None` to all else: escapes, nesting, `null`, fractions where
//! integers are due, a field that is there twice or missing, values out of their bounds, whatever is no JSON. Then
//! serde_json decides, which stays the only one to say what a request is and why something is none. So there is one
//! rule to hold: *`Some` only where serde_json gives the same request*. `tests/fast_json.rs` and the fuzz target
//! `request` hold it.
//!
//! * [`walk`] goes from field to field, in any order and with any white space. It expects the field that followed last
//!   time, so that a name is one comparison of 16 bytes; a wrong guess costs time, never the result.
//! * [`scan`] finds the end of a string: the first byte of a block that is a quote, a backslash, a control character or
//!   no ASCII. There is one function a machine; what the walk does with it is the same code everywhere.
//! * [`number`] reads eight digits at a time. [`fields`] holds what was read, checks it, and makes a request of it.
//!
//! # Decision
//! Medians on one core of a 2.3 GHz Xeon of 2023, payloads of 225 bytes, ns an event:
//!
//! | | from memory | from the cache |
//! |---|---|---|
//! | serde_json | 390 | 380 |
//! | portable | 88 | 86 |
//! | AVX2 | 72 | 68 |
//! | AVX2, moved into an [`Event`](crate::Event) | 78 | 77 |
//! | reading the bytes, no more | 20 | 5 |
//!
//! * AVX-512, 64 bytes a block, is left out: it took 76. Strings are shorter than 32 bytes, and its masks take longer
//!   to reach a register. NEON is compiled, and was neither run nor measured.
//! * Two passes, first a table of all quotes and then a walk over it, were no faster (AVX2 76, without AVX2 130), and
//!   bounded in length.
//! * The last cycles: profiles show them behind the mask of each string, for its end says where the next name begins:
//!   load, compare, mask to register, count, about 20 cycles, seven strings an event. A tenth goes into writing the
//!   request, which is 232 bytes.
//! * The limit of memory is the last line, 11 GB/s here: 50 million events a second.
//!
//! # Safety
//! 1. [`walk::window`] reads `N` bytes at `at` only if `at + N` is within the payload; any bytes are a `[u8; N]`.
//! 2. The loads of [`scan`] read a whole array by reference; none of them needs alignment.
//! 3. Functions with machine features are called for a [`Scan`] of their kind only, and [`Scan`] has a private field:
//!    its values come from [`Scan::available`] and [`Scan::best`], which ask the machine first.
//! 4. A string is made without a check of its UTF-8 only if every byte of it was found to be ASCII: each block up to
//!    the closing quote had no stop in it, and a byte that is no ASCII is a stop. Its bounds are in order and within
//!    the payload: the quote was found at or after its start, and read.
#![expect(unsafe_code, reason = "loads of whole blocks and strings known to be ASCII; see the safety part")]

mod fields;
mod number;
mod scan;
mod walk;

use crate::{MAX_PAYLOAD_BYTES, Request};
use fields::Fields;
use walk::{FOLLOWERS, Followers, walk};

/// No request within its bounds is shorter, and no block is longer.
const SHORTEST: usize = 64;

/// A way to scan strings that this machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scan(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Eight bytes at a time, on any machine.
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "aarch64")]
    Neon,
}

impl Scan {
    /// The fastest way.
    #[inline]
    pub fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("bmi1") && is_x86_feature_detected!("bmi2") {
            return Self(Kind::Avx2);
        }
        #[cfg(target_arch = "aarch64")]
        if std::arch::is_aarch64_feature_detected!("neon") {
            return Self(Kind::Neon);
        }
        Self(Kind::Portable)
    }

    /// Every way.
    pub fn available() -> Vec<Self> {
        let mut all = vec![Self(Kind::Portable), Self::best()];
        all.dedup();
        all
    }
}

/// A request within its bounds, or `None`: ask [`Event::decode`](crate::Event::decode), which knows all of JSON, and
/// why a payload is no request. This is the hot path of it, for callers that can do without an event.
///
/// ```
/// use evenkeel_schemas::decode_request;
/// let payload = br#"{"event_time_us":1795246458716866,"service":"checkout","status":200,"latency_us":1234}"#;
/// assert_eq!(decode_request(payload).map(|request| request.latency_us), Some(1234));
/// assert_eq!(decode_request(b"not json"), None);
/// ```
#[inline(always)]
pub fn decode_request(payload: &[u8]) -> Option<Request<'_>> {
    decode_request_by(Scan::best(), payload)
}

/// As [`decode_request`], with a given way to scan.
#[inline(always)]
pub fn decode_request_by(scan: Scan, payload: &[u8]) -> Option<Request<'_>> {
    if !(SHORTEST..=MAX_PAYLOAD_BYTES).contains(&payload.len()) {
        return None;
    }
    let mut fields = Fields::default();
    FOLLOWERS.with(|followers| match scan.0 {
        Kind::Portable => portable(payload, &mut fields, followers),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: point 3.
        Kind::Avx2 => unsafe { avx2(payload, &mut fields, followers) },
        #[cfg(target_arch = "aarch64")]
        // SAFETY: point 3.
        Kind::Neon => unsafe { neon(payload, &mut fields, followers) },
    })?;
    fields.request()
}

fn portable<'a>(payload: &'a [u8], fields: &mut Fields<'a>, followers: &Followers) -> Option<()> {
    walk::<8, 8>(payload, fields, followers, scan::portable)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,bmi2")]
fn avx2<'a>(payload: &'a [u8], fields: &mut Fields<'a>, followers: &Followers) -> Option<()> {
    walk::<32, 1>(payload, fields, followers, |block| scan::avx2(block))
}

#[cfg(target_arch = "aarch64")]
#[target_feature(enable = "neon")]
fn neon<'a>(payload: &'a [u8], fields: &mut Fields<'a>, followers: &Followers) -> Option<()> {
    walk::<16, 4>(payload, fields, followers, |block| scan::neon(block))
}
