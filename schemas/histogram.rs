//! A log-linear latency histogram that is an abelian group: integer counts per bucket, added and taken away exactly.
//!
//! Buckets: values below 64 µs have one each; above, 64 to every power of two, so the bucket's middle is off by at most
//! 1/128 < 0.79 % (the layout of HdrHistogram and of DDSketch with linear interpolation).
//!
//! # Decision
//! Only the range of buckets between the lowest and the highest seen is held: latencies of one key span two or three
//! powers of two; and a count has two bytes until one of them needs more. So this is 256 to 512 bytes where the full array
//! of wide counts is 16 KB, and adding stays one index away.
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
    counts: Counts,
}

/// Counts of contiguous buckets: in two bytes each, until one of them needs more.
#[derive(Clone, Debug)]
enum Counts {
    Narrow(Vec<i16>),
    Wide(Vec<i64>),
}

impl Default for Counts {
    fn default() -> Self {
        Self::Narrow(Vec::new())
    }
}

/// Does the same with counts of either width.
macro_rules! with {
    ($counts:expr, $name:ident => $does:expr) => {
        match $counts {
            Counts::Narrow($name) => $does,
            Counts::Wide($name) => $does,
        }
    };
}

impl Histogram {
    /// Adds `count`, which may be negative, to a bucket.
    ///
    /// # Panics
    /// If `bucket` is not below [`BUCKETS`].
    #[inline]
    pub fn add(&mut self, bucket: u16, count: i64) {
        let at = usize::from(bucket.wrapping_sub(self.first));
        if let Counts::Narrow(counts) = &mut self.counts
            && let Some(place) = counts.get_mut(at)
            && let Ok(sum) = i16::try_from(i64::from(*place).wrapping_add(count))
        {
            *place = sum;
            return;
        }
        self.add_anywhere(bucket, count);
    }

    fn add_anywhere(&mut self, bucket: u16, count: i64) {
        let at = self.reach(bucket);
        if let Counts::Narrow(counts) = &mut self.counts {
            match i16::try_from(i64::from(counts[at]).wrapping_add(count)) {
                Ok(sum) => counts[at] = sum,
                Err(_) => self.counts = Counts::Wide(counts.iter().map(|count| i64::from(*count)).collect()),
            }
        }
        if let Counts::Wide(counts) = &mut self.counts {
            counts[at] = counts[at].wrapping_add(count);
        }
    }

    /// Where a bucket's count lies; makes room for it.
    fn reach(&mut self, bucket: u16) -> usize {
        assert!(bucket < BUCKETS, "bucket_of never exceeds BUCKETS");
        let held = with!(&self.counts, counts => counts.len());
        if held == 0 {
            self.first = bucket;
        }
        if bucket < self.first {
            // Eight buckets to spare: a falling minimum shall not move the array at every step.
            let first = bucket.saturating_sub(8);
            let more = usize::from(self.first - first);
            with!(&mut self.counts, counts => drop(counts.splice(0..0, std::iter::repeat_n(0, more))));
            self.first = first;
        }
        let at = usize::from(bucket - self.first);
        if at >= held {
            with!(&mut self.counts, counts => counts.resize(counts.len().max(at + 1), 0));
        }
        at
    }

    /// Buckets with a count other than zero, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (u16, i64)> + '_ {
        let (narrow, wide) = match &self.counts {
            Counts::Narrow(counts) => (counts.as_slice(), [].as_slice()),
            Counts::Wide(counts) => ([].as_slice(), counts.as_slice()),
        };
        let place = |(at, count)| (self.first + at as u16, count);
        not_zero(narrow).map(place).chain(not_zero(wide).map(place))
    }

    /// The value below or at which `per_mille` of the counts lie, µs; `None` if nothing is counted.
    ///
    /// The rank is `⌈n·q⌉` (nearest-rank definition), the value the middle of the bucket that holds it.
    pub fn quantile(&self, per_mille: u32) -> Option<u64> {
        self.quantiles([per_mille]).map(|[value]| value)
    }

    /// Several quantiles in one pass; `per_mille` must ascend.
    pub fn quantiles<const N: usize>(&self, per_mille: [u32; N]) -> Option<[u64; N]> {
        let places = with!(&self.counts, counts => places(counts, per_mille))?;
        Some(places.map(|at| value_of(self.first + at)))
    }

    /// The counts of `self` less those of `other`.
    pub fn minus(&self, other: &Self) -> Self {
        let mut difference = self.clone();
        other.iter().for_each(|(bucket, count)| difference.add(bucket, count.wrapping_neg()));
        difference
    }

    /// Whether nothing is counted.
    pub fn is_zero(&self) -> bool {
        self.iter().next().is_none()
    }

    /// Forgets counts and range, keeps the memory.
    pub fn clear(&mut self) {
        match &mut self.counts {
            Counts::Narrow(counts) => counts.clear(),
            Counts::Wide(_) => self.counts = Counts::default(),
        }
    }

    /// The range of buckets held, for tests of the bound.
    pub fn range(&self) -> Range<u16> {
        self.first..self.first + with!(&self.counts, counts => counts.len()) as u16
    }
}

/// So many counts are looked at together.
const STRIDE: usize = 16;

/// Counts other than zero and where they are, ascending.
fn not_zero<T: Copy + Into<i64>>(counts: &[T]) -> impl Iterator<Item = (usize, i64)> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        while let Some(&count) = counts.get(at) {
            at += 1;
            if count.into() != 0 {
                return Some((at - 1, count.into()));
            }
            // Of most keys most buckets are zero.
            let zero = |some: &[T; STRIDE]| some.iter().fold(0, |any, count| any | (*count).into()) == 0;
            while counts[at..].first_chunk().is_some_and(zero) {
                at += STRIDE;
            }
        }
        None
    })
}

/// Where the ranks lie; `None` if nothing is counted.
fn places<T: Copy + Into<i64>, const N: usize>(counts: &[T], per_mille: [u32; N]) -> Option<[u16; N]> {
    let total = counts.iter().fold(0i64, |sum, count| sum.wrapping_add((*count).into()));
    if total <= 0 {
        return None;
    }
    let ranks = per_mille.map(|q| ((total as i128 * i128::from(q) + 999) / 1000).max(1) as i64);
    let (mut places, mut next, mut seen) = ([0; N], 0, 0i64);
    for (stride, counts) in counts.chunks(STRIDE).enumerate() {
        // Most buckets hold no quantile: many at a time, unless one is negative, for then a rank may lie amid them.
        let add = |(sum, signs): (i64, i64), count: &T| (sum.wrapping_add((*count).into()), signs | (*count).into());
        let (sum, signs) = counts.iter().fold((0, 0), add);
        let after = seen.wrapping_add(sum);
        if signs >= 0 && after >= seen && ranks.get(next).is_none_or(|rank| after < *rank) {
            seen = after;
            continue;
        }
        for (at, count) in counts.iter().enumerate() {
            let count: i64 = (*count).into();
            seen = seen.wrapping_add(count);
            while count != 0 && next < N && seen >= ranks[next] {
                places[next] = (stride * STRIDE + at) as u16;
                next += 1;
            }
        }
        if next == N {
            break;
        }
    }
    Some(places)
}

impl PartialEq for Histogram {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Histogram {}
