//! Latencies of one key in one open tick, as many as there are.
//!
//! # Decision
//! The first [`FEW`] are a list of buckets, more are a histogram: of 100,000 keys most count a dozen requests a second,
//! and a histogram each would be two kilobytes that no cache holds.

use evenkeel_schemas::{Histogram, Tally};

/// So many latencies are a list, more a histogram.
const FEW: usize = 64;

/// Latencies by bucket.
#[derive(Clone, Debug, Default)]
pub(crate) struct Open {
    few: Vec<u16>,
    many: Histogram,
    are_many: bool,
}

impl Open {
    /// Counts latencies in these buckets.
    pub fn count(&mut self, buckets: impl ExactSizeIterator<Item = u16>) {
        if !self.are_many && self.few.len() + buckets.len() <= FEW {
            self.few.extend(buckets);
        } else {
            // Once, when the list grows too long, it moves.
            self.are_many = true;
            self.few.drain(..).for_each(|bucket| self.many.add(bucket, 1));
            buckets.for_each(|bucket| self.many.add(bucket, 1));
        }
    }

    /// Moves all of them to a tally's histogram; keeps the memory.
    pub fn drain(&mut self, tally: &mut Tally) {
        self.few.drain(..).for_each(|bucket| tally.histogram.add(bucket, 1));
        self.many.iter().for_each(|(bucket, count)| tally.histogram.add(bucket, count));
        self.many.clear();
        self.are_many = false;
    }
}
