//! A log-linear latency histogram that is an abelian group: integer counts per bucket, added and taken away exactly.
//!
//! Buckets: values below 64 µs have one each; above, 64 to every power of two, so the bucket's middle is off by at most
//! 1/128 < 0.79 % (the layout of HdrHistogram and of DDSketch with linear interpolation).
//!
//! # Decision
//! Up to [`FEW`] counts are a list: most windows of 100,000 keys hold a few dozen. More are an array of the range of
//! buckets between the lowest and the highest seen, in two bytes each until one needs more: latencies of one key span
//! two or three powers of two, so this is half a kilobyte where the full array of wide counts is 16 KB, and adding stays
//! one index away.
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
#[derive(Clone, Debug)]
pub struct Histogram(Counts);

/// Most counts in a list.
const FEW: usize = 96;

#[derive(Clone, Debug)]
enum Counts {
    /// Buckets and their counts, none of them zero, ascending.
    Few(Vec<(u16, i16)>),
    /// Contiguous buckets from the first one on, in two bytes each …
    Narrow(u16, Vec<i16>),
    /// … or in eight, once one of them needs more.
    Wide(u16, Vec<i64>),
}

impl Default for Histogram {
    fn default() -> Self {
        Self(Counts::Few(Vec::new()))
    }
}

impl Histogram {
    /// Adds `count`, which may be negative, to a bucket.
    ///
    /// # Panics
    /// If `bucket` is not below [`BUCKETS`].
    #[inline]
    pub fn add(&mut self, bucket: u16, count: i64) {
        if let Counts::Narrow(first, counts) = &mut self.0
            && let Some(place) = counts.get_mut(usize::from(bucket.wrapping_sub(*first)))
            && let Some(sum) = narrow_sum(*place, count)
        {
            *place = sum;
            return;
        }
        self.add_anywhere(bucket, count);
    }

    fn add_anywhere(&mut self, bucket: u16, count: i64) {
        assert!(bucket < BUCKETS, "bucket_of never exceeds BUCKETS");
        match &mut self.0 {
            Counts::Few(few) => {
                if !add_to_list(few, bucket, count) {
                    let few = std::mem::take(few);
                    self.0 = Counts::Narrow(bucket, Vec::new());
                    few.into_iter().for_each(|(bucket, count)| self.add(bucket, i64::from(count)));
                    self.add(bucket, count);
                }
            }
            Counts::Narrow(first, counts) => {
                let at = reach(first, counts, bucket);
                match narrow_sum(counts[at], count) {
                    Some(sum) => counts[at] = sum,
                    None => {
                        self.0 = Counts::Wide(*first, counts.iter().map(|count| i64::from(*count)).collect());
                        self.add_anywhere(bucket, count);
                    }
                }
            }
            Counts::Wide(first, counts) => {
                let at = reach(first, counts, bucket);
                counts[at] = counts[at].wrapping_add(count);
            }
        }
    }

    /// Buckets with a count other than zero, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (u16, i64)> + '_ {
        let (mut few, mut narrow, mut wide) = ([].as_slice(), (0, [].as_slice()), (0, [].as_slice()));
        match &self.0 {
            Counts::Few(counts) => few = counts.as_slice(),
            Counts::Narrow(first, counts) => narrow = (*first, counts.as_slice()),
            Counts::Wide(first, counts) => wide = (*first, counts.as_slice()),
        }
        let few = few.iter().map(|(bucket, count)| (*bucket, i64::from(*count)));
        few.chain(not_zero(narrow.0, narrow.1)).chain(not_zero(wide.0, wide.1))
    }

    /// The value below or at which `per_mille` of the counts lie, µs; `None` if nothing is counted.
    ///
    /// The rank is `⌈n·q⌉` (nearest-rank definition), the value the middle of the bucket that holds it.
    pub fn quantile(&self, per_mille: u32) -> Option<u64> {
        self.quantiles([per_mille]).map(|[value]| value)
    }

    /// Several quantiles in one pass; `per_mille` must ascend.
    pub fn quantiles<const N: usize>(&self, per_mille: [u32; N]) -> Option<[u64; N]> {
        let buckets = match &self.0 {
            Counts::Few(few) => {
                let total = few.iter().map(|(_, count)| i64::from(*count)).sum();
                let mut ranks = Ranks::new(total, per_mille)?;
                few.iter().for_each(|(bucket, count)| ranks.pass(*bucket, i64::from(*count)));
                ranks.buckets
            }
            Counts::Narrow(first, counts) => buckets(*first, counts, per_mille)?,
            Counts::Wide(first, counts) => buckets(*first, counts, per_mille)?,
        };
        Some(buckets.map(value_of))
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
        match &mut self.0 {
            Counts::Few(few) => few.clear(),
            Counts::Narrow(_, counts) => counts.clear(),
            Counts::Wide(..) => *self = Self::default(),
        }
    }

    /// The range of buckets held, for tests of the bound.
    pub fn range(&self) -> Range<u16> {
        match &self.0 {
            Counts::Few(few) => few.first().map_or(0..0, |(first, _)| *first..few[few.len() - 1].0 + 1),
            Counts::Narrow(first, counts) => *first..*first + counts.len() as u16,
            Counts::Wide(first, counts) => *first..*first + counts.len() as u16,
        }
    }
}

/// A sum in two bytes, if it fits.
#[inline]
fn narrow_sum(sum: i16, count: i64) -> Option<i16> {
    i16::try_from(i64::from(sum).wrapping_add(count)).ok()
}

/// Adds to a list; says whether there was room.
fn add_to_list(few: &mut Vec<(u16, i16)>, bucket: u16, count: i64) -> bool {
    match few.binary_search_by_key(&bucket, |(bucket, _)| *bucket) {
        Ok(at) => match narrow_sum(few[at].1, count) {
            Some(0) => drop(few.remove(at)),
            Some(sum) => few[at].1 = sum,
            None => return false,
        },
        Err(at) => match narrow_sum(0, count) {
            Some(0) => {}
            Some(count) if few.len() < FEW => few.insert(at, (bucket, count)),
            _ => return false,
        },
    }
    true
}

/// Where the count of a bucket lies among those from the first one on; makes room for it.
fn reach<T: Copy + Default>(first: &mut u16, counts: &mut Vec<T>, bucket: u16) -> usize {
    if counts.is_empty() {
        *first = bucket;
    }
    if bucket < *first {
        // Eight buckets to spare: a falling minimum shall not move the array at every step.
        let low = bucket.saturating_sub(8);
        counts.splice(0..0, std::iter::repeat_n(T::default(), usize::from(*first - low)));
        *first = low;
    }
    let at = usize::from(bucket - *first);
    if at >= counts.len() {
        counts.resize(at + 1, T::default());
    }
    at
}

/// So many counts are looked at together.
const STRIDE: usize = 16;

/// Buckets from the first one on whose count is not zero, ascending.
fn not_zero<T: Copy + Into<i64>>(first: u16, counts: &[T]) -> impl Iterator<Item = (u16, i64)> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        while let Some(&count) = counts.get(at) {
            at += 1;
            if count.into() != 0 {
                return Some((first + (at - 1) as u16, count.into()));
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

/// Which buckets hold which ranks.
struct Ranks<const N: usize> {
    ranks: [i64; N],
    buckets: [u16; N],
    next: usize,
    seen: i64,
}

impl<const N: usize> Ranks<N> {
    /// `None` if nothing is counted.
    fn new(total: i64, per_mille: [u32; N]) -> Option<Self> {
        let ranks = per_mille.map(|q| ((total as i128 * i128::from(q) + 999) / 1000).max(1) as i64);
        (total > 0).then_some(Self { ranks, buckets: [0; N], next: 0, seen: 0 })
    }

    fn pass(&mut self, bucket: u16, count: i64) {
        self.seen = self.seen.wrapping_add(count);
        while count != 0 && self.next < N && self.seen >= self.ranks[self.next] {
            self.buckets[self.next] = bucket;
            self.next += 1;
        }
    }
}

/// Which buckets hold the ranks; `None` if nothing is counted.
fn buckets<T: Copy + Into<i64>, const N: usize>(first: u16, counts: &[T], per_mille: [u32; N]) -> Option<[u16; N]> {
    let total = counts.iter().fold(0i64, |sum, count| sum.wrapping_add((*count).into()));
    let mut ranks = Ranks::new(total, per_mille)?;
    for (stride, counts) in counts.chunks(STRIDE).enumerate() {
        // Most buckets hold no quantile: many at a time, unless one is negative, for then a rank may lie amid them.
        let add = |(sum, signs): (i64, i64), count: &T| (sum.wrapping_add((*count).into()), signs | (*count).into());
        let (sum, signs) = counts.iter().fold((0, 0), add);
        let after = ranks.seen.wrapping_add(sum);
        let Some(rank) = ranks.ranks.get(ranks.next) else { break };
        if signs >= 0 && after >= ranks.seen && after < *rank {
            ranks.seen = after;
            continue;
        }
        let from = first + (stride * STRIDE) as u16;
        counts.iter().zip(from..).for_each(|(count, bucket)| ranks.pass(bucket, (*count).into()));
    }
    Some(ranks.buckets)
}

impl PartialEq for Histogram {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Histogram {}
