//! Two days of a gauge in slots: what the slow rules look back at, and the robust statistics they do it with.

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

const DAY_S: i64 = 86_400;

/// What a slot keeps of its samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Keep {
    /// The smallest.
    Minimum,
    /// The largest.
    Maximum,
    /// Their mean, rounded down.
    Mean,
}

/// The slots of two days, and the one that is open; one without samples is `None`. At the bound the oldest is let go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Days {
    slot_s: i64,
    keep: Keep,
    /// The open slot, counted from the epoch.
    newest: i64,
    /// Its samples so far: how many, and their sum, least or largest.
    samples: i64,
    value: i64,
    closed: VecDeque<Option<i64>>,
}

impl Days {
    pub(crate) fn new(slot_s: i64, keep: Keep) -> Self {
        Self { slot_s, keep, newest: i64::MIN, samples: 0, value: 0, closed: VecDeque::new() }
    }

    /// Slots of a day.
    pub(crate) fn day(&self) -> usize {
        usize::try_from(DAY_S / self.slot_s).expect("a slot is a part of a day")
    }

    /// Takes in a sample; returns whether it opened a slot, so that there is something new to judge. Samples older than
    /// the open slot are left out. Values are held within ±2^50.
    pub(crate) fn take(&mut self, at_us: i64, value_milli: i64) -> bool {
        let value = value_milli.clamp(-(1 << 50), 1 << 50);
        let slot = at_us.div_euclid(self.slot_s * 1_000_000);
        let opens = slot > self.newest;
        if slot < self.newest {
            return false;
        }
        if opens {
            self.open(slot);
        }
        self.value = match self.keep {
            _ if self.samples == 0 => value,
            Keep::Minimum => self.value.min(value),
            Keep::Maximum => self.value.max(value),
            Keep::Mean => self.value.saturating_add(value),
        };
        self.samples += 1;
        opens
    }

    /// Closes what is open, and the slots in between, which have no samples.
    fn open(&mut self, slot: i64) {
        let bound = 2 * self.day();
        if self.newest != i64::MIN {
            let divisor = if self.keep == Keep::Mean { self.samples.max(1) } else { 1 };
            self.closed.push_back((self.samples > 0).then(|| self.value.div_euclid(divisor)));
            let gap = usize::try_from(slot.saturating_sub(self.newest) - 1).unwrap_or(bound).min(bound);
            self.closed.extend(std::iter::repeat_n(None, gap));
        }
        self.closed.drain(..self.closed.len().saturating_sub(bound));
        (self.newest, self.samples, self.value) = (slot, 0, 0);
    }

    /// The closed slot `slots` before the open one, from 1.
    pub(crate) fn before(&self, slots: usize) -> Option<i64> {
        let index = self.closed.len().checked_sub(slots)?;
        self.closed.get(index).copied().flatten()
    }

    /// How much it is above what it was a day earlier.
    pub(crate) fn above_yesterday(&self, slots: usize) -> Option<i64> {
        Some(self.before(slots)? - self.before(slots + self.day())?)
    }

    /// What there was a day before a slot that is to come: `ahead` is 1 for the open one, and at most a day.
    pub(crate) fn yesterday_of(&self, ahead: usize) -> Option<i64> {
        self.before(self.day() + 1 - ahead)
    }
}

/// The median; of an even number of values the mean of the two in the middle, rounded down.
pub(crate) fn median(mut values: Vec<i64>) -> Option<i64> {
    values.sort_unstable();
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    Some(if values.len().is_multiple_of(2) { (values[middle - 1] + upper).div_euclid(2) } else { upper })
}

/// A line through points (slot, value): the Theil–Sen slope, thousandths of the value's unit a slot; `None` if there
/// are not two slots.
///
/// The median of all pairwise slopes (Sen, "Estimates of the regression coefficient based on Kendall's tau", 1968): up
/// to 29 % of the points may be anything.
pub(crate) fn theil_sen(points: &[(i64, i64)]) -> Option<i64> {
    let pairs =
        points.iter().enumerate().flat_map(|(at, first)| points[at + 1..].iter().map(move |second| (first, second)));
    let slopes = pairs.filter(|(first, second)| first.0 != second.0);
    median(slopes.map(|(first, second)| ((second.1 - first.1) * 1000).div_euclid(second.0 - first.0)).collect())
}

/// How far a slope of so many thousandths leads in so many slots; held within ±2^60, so that sums of it do not overflow.
pub(crate) fn along(slope: i64, slots: i64) -> i64 {
    let far = i128::from(slope) * i128::from(slots) / 1000;
    i64::try_from(far.clamp(-(1 << 60), 1 << 60)).expect("it was just held within that")
}

/// Mann and Kendall's test for a rise, standard deviations in tenths, negative for a fall: points are (slot, value) with
/// slots ascending.
///
/// `S` counts the pairs that rise less those that fall; its variance is `n(n−1)(2n+5) / 18`, less the like for each group
/// of equal values (Kendall, *Rank Correlation Methods*, 1975).
pub(crate) fn mann_kendall_tenths(points: &[(i64, i64)]) -> i64 {
    let mut values: Vec<i64> = points.iter().map(|(_, value)| *value).collect();
    let rises =
        |(at, first): (usize, &i64)| -> i64 { values[at + 1..].iter().map(|later| (later - first).signum()).sum() };
    let excess: i64 = values.iter().enumerate().map(rises).sum();
    values.sort_unstable();
    let term = |count: i64| count * (count - 1) * (2 * count + 5);
    let ties: i64 = values.chunk_by(|a, b| a == b).map(|tied| term(tied.len() as i64)).sum();
    let variance_18 = term(values.len() as i64) - ties;
    if variance_18 == 0 {
        return 0;
    }
    let corrected = (excess.abs() - 1).max(0);
    excess.signum() * (corrected * corrected * 1800 / variance_18).isqrt()
}
