//! What one key counted in one open tick.
//!
//! # Decision
//! The first [`FEW`] latencies are a list of buckets, more are a histogram: of 100,000 keys most count a dozen requests
//! a second, and a histogram each would be two kilobytes that no cache holds.

use evenkeel_schemas::{Histogram, Tally, bucket_of};

/// So many latencies are a list, more a histogram.
const FEW: usize = 64;

/// Requests of one key in one open tick.
#[derive(Clone, Debug, Default)]
pub(crate) struct Open {
    pub requests: i64,
    pub errors: i64,
    latency_sum_us: i64,
    few: Vec<u16>,
    many: Histogram,
}

impl Open {
    /// Counts requests with these latencies, some of which were errors.
    pub fn count(&mut self, latencies_us: &[u32], errors: u32) {
        self.requests += latencies_us.len() as i64;
        self.errors += i64::from(errors);
        self.latency_sum_us += latencies_us.iter().map(|latency_us| i64::from(*latency_us)).sum::<i64>();
        let buckets = latencies_us.iter().map(|latency_us| bucket_of(u64::from(*latency_us)));
        if self.requests <= FEW as i64 {
            self.few.extend(buckets);
        } else {
            // Once, when the list grows too long, it moves.
            self.few.drain(..).for_each(|bucket| self.many.add(bucket, 1));
            buckets.for_each(|bucket| self.many.add(bucket, 1));
        }
    }

    /// Adds all of it to a tally.
    pub fn add_to(&self, tally: &mut Tally) {
        tally.requests += self.requests;
        tally.errors += self.errors;
        tally.latency_sum_us += self.latency_sum_us;
        self.few.iter().for_each(|bucket| tally.histogram.add(*bucket, 1));
        self.many.iter().for_each(|(bucket, count)| tally.histogram.add(bucket, count));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_and_many_count_the_same() {
        let latencies_us = (0..200u32).map(|n| n * n * 37 % 90_000).collect::<Vec<_>>();
        for cut in [0, 1, 63, 64, 65, 199] {
            let (mut open, mut whole, mut tally) = (Open::default(), Tally::default(), Tally::default());
            open.count(&latencies_us[..cut], 0);
            open.count(&latencies_us[cut..], 3);
            open.add_to(&mut whole);
            latencies_us.iter().enumerate().for_each(|(n, latency_us)| tally.count(*latency_us, n < 3));
            assert_eq!(whole, tally, "cut at {cut}");
        }
    }
}
