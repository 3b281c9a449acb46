//! What a key counted: an abelian group, so that windows, late data and exclusions are additions and subtractions.
//!
//! # Decision
//! Every member counts modulo 2^64. Real counts never come near; and so the group has no edge at which bytes from
//! elsewhere could panic, and what was added can be taken away whatever came in between.

use crate::varint::{unzigzag, zigzag};
use crate::{Histogram, bucket_of, read_varint, write_varint};

/// Requests, errors, latency sum and latency histogram of a key over some span of event time.
///
/// Every member is an integer that adds and subtracts exactly; the zero tally is [`Tally::default`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Requests counted.
    pub requests: i64,
    /// Those of them that were server errors.
    pub errors: i64,
    /// Sum of their latencies, µs.
    pub latency_sum_us: i64,
    /// Their latencies.
    pub histogram: Histogram,
}

impl Tally {
    /// Counts one request.
    #[inline]
    pub fn count(&mut self, latency_us: u32, is_error: bool) {
        self.add_counts([1, i64::from(is_error), i64::from(latency_us)], 1);
        self.histogram.add(bucket_of(u64::from(latency_us)), 1);
    }

    /// Forgets everything, keeps the memory.
    pub fn clear(&mut self) {
        (self.requests, self.errors, self.latency_sum_us) = (0, 0, 0);
        self.histogram.clear();
    }

    /// Adds `other` `sign` times; −1 takes it away.
    pub fn add(&mut self, other: &Self, sign: i64) {
        self.add_counts([other.requests, other.errors, other.latency_sum_us], sign);
        other.histogram.iter().for_each(|(bucket, count)| self.histogram.add(bucket, sign.wrapping_mul(count)));
    }

    #[inline]
    fn add_counts(&mut self, [requests, errors, latency_sum_us]: [i64; 3], sign: i64) {
        self.requests = self.requests.wrapping_add(sign.wrapping_mul(requests));
        self.errors = self.errors.wrapping_add(sign.wrapping_mul(errors));
        self.latency_sum_us = self.latency_sum_us.wrapping_add(sign.wrapping_mul(latency_sum_us));
    }

    /// Whether this is the zero of the group.
    pub fn is_zero(&self) -> bool {
        self.requests == 0 && self.errors == 0 && self.latency_sum_us == 0 && self.histogram.is_zero()
    }

    /// The mean latency, µs, rounded towards zero; 0 without requests.
    pub fn mean_us(&self) -> i64 {
        self.latency_sum_us.checked_div(self.requests).unwrap_or(0)
    }

    /// Appends the tally's bytes: zigzag varints of requests, errors and latency sum, the number of buckets as a varint,
    /// then the buckets that are not zero, ascending, most of them in one byte.
    ///
    /// A bucket's byte holds in its upper half how many buckets were left out before it, up to 14; 15 means that a varint
    /// follows with how many more than 15. Its lower half holds the count, 1 to 15; 0 means that a zigzag varint follows
    /// with the count.
    pub fn encode(&self, out: &mut Vec<u8>) {
        for value in [self.requests, self.errors, self.latency_sum_us] {
            write_varint(out, zigzag(value));
        }
        write_varint(out, self.histogram.iter().count() as u64);
        let mut next = 0;
        for (bucket, count) in self.histogram.iter() {
            let (skipped, small) = (bucket - next, if (1..=15).contains(&count) { count as u8 } else { 0 });
            next = bucket + 1;
            out.push((skipped.min(15) as u8) << 4 | small);
            if skipped >= 15 {
                write_varint(out, u64::from(skipped - 15));
            }
            if small == 0 {
                write_varint(out, zigzag(count));
            }
        }
    }

    /// Adds the tally that [`Tally::encode`] wrote, `sign` times; `None` if the bytes are not one whole tally (what was
    /// added until then stays added).
    #[must_use]
    pub fn add_encoded(&mut self, bytes: &mut &[u8], sign: i64) -> Option<()> {
        let mut next = || read_varint(bytes).map(unzigzag);
        self.add_counts([next()?, next()?, next()?], sign);
        let buckets = read_varint(bytes)?;
        let mut next = 0u64;
        for _ in 0..buckets {
            let (&byte, rest) = bytes.split_first()?;
            *bytes = rest;
            let more = if byte >> 4 == 15 { read_varint(bytes)? } else { 0 };
            let bucket = (next + u64::from(byte >> 4)).checked_add(more)?;
            let known = u16::try_from(bucket).ok().filter(|bucket| *bucket < crate::BUCKETS)?;
            let small = i64::from(byte & 15);
            let count = if small > 0 { small } else { unzigzag(read_varint(bytes)?) };
            self.histogram.add(known, sign.wrapping_mul(count));
            next = bucket + 1;
        }
        Some(())
    }
}
