//! A log-linear latency histogram that is an abelian group: integer counts per bucket, added and taken away exactly.
//!
//! Buckets: values below 64 µs have one each; above, 64 to every power of two, so the bucket's middle is off by at most
//! 1/128 < 0.79 % (the layout of HdrHistogram and of DDSketch with linear interpolation).
//!
//! # Decision
//! Only the range of buckets between the lowest and the highest seen is held: latencies of one key span two or three
//! powers of two, so this is 1–2 KB where the full array is 16 KB, and adding stays one index away.
//! Counts are integers modulo 2^64: a group for any bytes that come in, and no sum can panic.

use std::ops::Range;

/// Number of buckets; the last one takes everything from 2^36 µs (19 h) on.
pub const BUCKETS: u16 = 64 + 30 * 64;

/// The bucket of a value in µs.
#[inline]
pub fn bucket_of(value_us: u64) -> u16 {
    if value_us < 64 {
        return value_us as u16;
    }
    let power = 63 - value_us.leading_zeros();
    if power >= 36 {
        return BUCKETS - 1;
    }
    (64 + (power - 6) * 64) as u16 + ((value_us >> (power - 6)) & 63) as u16
}

/// The middle of a bucket, µs; that of the last one for numbers that are no bucket.
pub fn value_of(bucket: u16) -> u64 {
    let bucket = bucket.min(BUCKETS - 1);
    if bucket < 64 {
        return u64::from(bucket);
    }
    let (power, step) = ((bucket - 64) / 64, u64::from((bucket - 64) % 64));
    ((64 + step) << power) + (1 << power) / 2
}

/// Signed counts per bucket.
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    first: u16,
    counts: Vec<i64>,
}

impl Histogram {
    /// Adds `count`, which may be negative, to a bucket.
    ///
    /// # Panics
    /// If `bucket` is not below [`BUCKETS`].
    #[inline]
    pub fn add(&mut self, bucket: u16, count: i64) {
        let at = usize::from(bucket.wrapping_sub(self.first));
        if at >= self.counts.len() {
            return self.widen_and_add(bucket, count);
        }
        self.counts[at] = self.counts[at].wrapping_add(count);
    }

    #[cold]
    fn widen_and_add(&mut self, bucket: u16, count: i64) {
        assert!(bucket < BUCKETS, "bucket_of never exceeds BUCKETS");
        if self.counts.is_empty() {
            self.first = bucket;
        }
        if bucket < self.first {
            // Eight buckets to spare: a falling minimum shall not move the array at every step.
            let first = bucket.saturating_sub(8);
            self.counts.splice(0..0, std::iter::repeat_n(0, usize::from(self.first - first)));
            self.first = first;
        }
        let at = usize::from(bucket - self.first);
        if at >= self.counts.len() {
            self.counts.resize(at + 1, 0);
        }
        self.counts[at] = self.counts[at].wrapping_add(count);
    }

    /// Buckets with a count other than zero, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (u16, i64)> + '_ {
        let mut at = 0;
        std::iter::from_fn(move || {
            while let Some(&count) = self.counts.get(at) {
                at += 1;
                if count != 0 {
                    return Some((self.first + (at - 1) as u16, count));
                }
                // Of most keys most buckets are zero: eight at a time.
                while self.counts[at..]
                    .first_chunk::<8>()
                    .is_some_and(|eight| eight.iter().fold(0, |any, n| any | n) == 0)
                {
                    at += 8;
                }
            }
            None
        })
    }

    /// The value below or at which `per_mille` of the counts lie, µs; `None` if nothing is counted.
    ///
    /// The rank is `⌈n·q⌉` (nearest-rank definition), the value the middle of the bucket that holds it.
    pub fn quantile(&self, per_mille: u32) -> Option<u64> {
        self.quantiles([per_mille]).map(|[value]| value)
    }

    /// Several quantiles in one pass; `per_mille` must ascend.
    pub fn quantiles<const N: usize>(&self, per_mille: [u32; N]) -> Option<[u64; N]> {
        let total = self.counts.iter().fold(0i64, |sum, count| sum.wrapping_add(*count));
        if total <= 0 {
            return None;
        }
        let ranks = per_mille.map(|q| ((total as i128 * i128::from(q) + 999) / 1000).max(1) as i64);
        let (mut values, mut next, mut seen) = ([0; N], 0, 0i64);
        for (eight, counts) in self.counts.chunks(8).enumerate() {
            // Most buckets hold no quantile: eight at a time, unless one is negative, for then a rank may lie amid them.
            let (sum, signs) =
                counts.iter().fold((0i64, 0), |(sum, signs), count| (sum.wrapping_add(*count), signs | count));
            let after = seen.wrapping_add(sum);
            if signs >= 0 && after >= seen && ranks.get(next).is_none_or(|rank| after < *rank) {
                seen = after;
                continue;
            }
            for (at, count) in counts.iter().enumerate() {
                seen = seen.wrapping_add(*count);
                while *count != 0 && next < N && seen >= ranks[next] {
                    values[next] = value_of(self.first + (eight * 8 + at) as u16);
                    next += 1;
                }
            }
        }
        Some(values)
    }

    /// The counts of `self` less those of `other`.
    pub fn minus(&self, other: &Self) -> Self {
        let mut difference = self.clone();
        other.iter().for_each(|(bucket, count)| difference.add(bucket, count.wrapping_neg()));
        difference
    }

    /// Whether nothing is counted.
    pub fn is_zero(&self) -> bool {
        self.counts.iter().all(|count| *count == 0)
    }

    /// Forgets counts and range, keeps the memory.
    pub fn clear(&mut self) {
        self.counts.clear();
    }

    /// Bytes held on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.counts.capacity() * size_of::<i64>()
    }

    /// The range of buckets held, for tests of the bound.
    pub fn range(&self) -> Range<u16> {
        self.first..self.first + self.counts.len() as u16
    }
}

impl PartialEq for Histogram {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Histogram {}
