//! Slow leaks: does what a gauge never falls below rise, for hours, to its limit?
//!
//! # Decision
//! Half-hour minima, not samples: a collector's saw-tooth has low points, and only what they do is a leak. Their trend
//! is robust (Theil and Sen's slope, Mann and Kendall's test without the largest step), so that neither a restart nor
//! another level is a trend. Where there is a
//! yesterday, the differences to it are looked at, so that the morning is no leak; a leak older than a day is one by
//! which every half-hour is above yesterday's. It is said when yesterday, the difference, and its rise reach the limit.

use crate::Judgement;
use crate::days::{Days, Keep, along, mann_kendall_tenths, median, theil_sen};
use crate::limits::LeakLimits;
use serde::{Deserialize, Serialize};

/// Minima are taken over half an hour; the two days that are kept are 96 of them.
const SLOT_S: i64 = 1_800;

/// A trend is taken over the last twelve hours, or the last six where only they rise.
const POINTS: usize = 24;
const POINTS_SHORT: usize = 12;

/// The minima and maxima of two days.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leak {
    minima: Days,
    maxima: Days,
}

impl Default for Leak {
    fn default() -> Self {
        Self { minima: Days::new(SLOT_S, Keep::Minimum), maxima: Days::new(SLOT_S, Keep::Maximum) }
    }
}

/// What is said of a gauge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeakJudgement {
    /// The answer.
    pub judgement: Judgement,
    /// How fast it leaks, thousandths of its unit an hour; 0 if it does not.
    pub slope_milli_per_hour: i64,
    /// When it reaches its limit, h, if within the horizon.
    pub hours_to_limit: Option<i64>,
    /// How sure the rise is, standard deviations of Mann and Kendall's statistic, in tenths.
    pub deviations_tenths: i64,
}

/// A trend of the last points.
struct Rise {
    /// Thousandths of the gauge's (thousandths of a) unit a slot, not below none.
    slope: i64,
    deviations_tenths: i64,
}

impl Rise {
    fn of(points: &[(i64, i64)]) -> Self {
        let slope = theil_sen(points).unwrap_or(0).max(0);
        Self { slope, deviations_tenths: mann_kendall_tenths(&without_step(points)) }
    }

    fn is_sure(&self, limits: &LeakLimits) -> bool {
        self.slope > 0 && self.deviations_tenths >= limits.deviations_tenths
    }
}

/// Without the largest rise from one point to the next: another level is a step, and one step is no leak.
fn without_step(points: &[(i64, i64)]) -> Vec<(i64, i64)> {
    let rises = points.windows(2).map(|pair| pair[1].1 - pair[0].1);
    let (at, step) = rises.enumerate().max_by_key(|(_, rise)| *rise).unwrap_or((0, 0));
    let lowered = |(index, (slot, value)): (usize, &(i64, i64))| (*slot, value - if index > at { step } else { 0 });
    points.iter().enumerate().map(lowered).collect()
}

/// The rise of the longest window that is sure; with the points of it.
fn rise_of<'a>(points: &'a [(i64, i64)], limits: &LeakLimits) -> (Rise, &'a [(i64, i64)]) {
    let last = |count: usize| &points[points.len().saturating_sub(count)..];
    let (long, short) = (Rise::of(last(POINTS)), Rise::of(last(POINTS_SHORT)));
    if !long.is_sure(limits) && short.is_sure(limits) { (short, last(POINTS_SHORT)) } else { (long, last(POINTS)) }
}

impl Leak {
    /// Takes in a sample; returns whether a half-hour ended, so that there is something to judge.
    pub fn take(&mut self, at_us: i64, value_milli: i64) -> bool {
        self.maxima.take(at_us, value_milli);
        self.minima.take(at_us, value_milli)
    }

    /// Judges the gauge against its limit.
    ///
    /// ```
    /// use evenkeel_detectors::{Leak, LeakLimits};
    /// let mut leak = Leak::default();
    /// (0..20).for_each(|slot| {
    ///     leak.take(slot * 1_800_000_000, 500_000 + slot * 20_000);
    /// });
    /// let found = leak.judge(1_000_000, &LeakLimits::default());
    /// assert_eq!((found.judgement.reason, found.slope_milli_per_hour), ("rising_steadily", 40_000));
    /// assert_eq!(found.hours_to_limit, Some(3), "at 860 now, and 40 an hour");
    /// ```
    pub fn judge(&self, limit_milli: i64, limits: &LeakLimits) -> LeakJudgement {
        let points = |value: &dyn Fn(usize) -> Option<i64>, most: usize| -> Vec<(i64, i64)> {
            (1..=most).rev().filter_map(|slot| Some((-(slot as i64), value(slot)?))).collect()
        };
        let lows = points(&|slot| self.minima.before(slot), POINTS);
        let none = |judgement| LeakJudgement {
            judgement,
            slope_milli_per_hour: 0,
            hours_to_limit: None,
            deviations_tenths: 0,
        };
        if lows.len() < limits.min_points.max(2) {
            return none(Judgement::held("too_short", false));
        }
        let above = points(&|slot| self.minima.above_yesterday(slot), self.minima.day());
        let seasonal = above.len() >= limits.min_points;
        let (rise, fitted) = rise_of(if seasonal { &above } else { &lows }, limits);
        let daily =
            above.len() >= POINTS && above.iter().filter(|(_, value)| *value > 0).count() * 10 >= above.len() * 9;
        if !rise.is_sure(limits) && !daily {
            return none(Judgement::held(self.level(&lows, limit_milli, limits), false));
        }
        let slots = self.slots_to_limit(fitted, seasonal, &rise, limit_milli, limits);
        let hours = slots.map(|slots| slots * SLOT_S / 3_600);
        let by_day = median(above.iter().map(|(_, value)| *value).collect()).unwrap_or(0) / 24;
        let slope_milli_per_hour = if rise.is_sure(limits) { along(rise.slope, 3_600 / SLOT_S) } else { by_day };
        let judgement = match hours {
            None => Judgement::held("far_from_limit", true),
            Some(hours) if !seasonal && hours > limits.urgent_h => Judgement::held("no_season_yet", true),
            Some(_) if rise.is_sure(limits) => Judgement::fires("rising_steadily"),
            Some(_) => Judgement::fires("rising_daily"),
        };
        LeakJudgement {
            judgement,
            slope_milli_per_hour,
            hours_to_limit: hours,
            deviations_tenths: rise.deviations_tenths,
        }
    }

    /// Why there is nothing to say.
    fn level(&self, lows: &[(i64, i64)], limit_milli: i64, limits: &LeakLimits) -> &'static str {
        if rise_of(lows, limits).0.is_sure(limits) {
            return "within_season";
        }
        let swing = |slot| Some(self.maxima.before(slot)? - self.minima.before(slot)?);
        let swing = median((1..=POINTS).filter_map(swing).collect()).unwrap_or(0);
        let share = i128::from(swing) * 1000 >= i128::from(limit_milli) * i128::from(limits.saw_tooth_per_mille);
        if share { "saw_tooth" } else { "level" }
    }

    /// After how many slots the limit is reached: yesterday's value (or none), the fitted difference, and its rise.
    fn slots_to_limit(
        &self,
        points: &[(i64, i64)],
        seasonal: bool,
        rise: &Rise,
        limit_milli: i64,
        limits: &LeakLimits,
    ) -> Option<i64> {
        let now = median(points.iter().map(|(slot, value)| value + along(rise.slope, -slot)).collect())?;
        let horizon = (limits.horizon_h.clamp(1, 24) * 3_600 / SLOT_S) as usize;
        let reaches = |ahead: &usize| {
            let base = if seasonal { self.minima.yesterday_of(*ahead) } else { Some(0) };
            base.is_some_and(|base| base + now + along(rise.slope, *ahead as i64) >= limit_milli)
        };
        (1..=horizon).find(reaches).map(|ahead| ahead as i64)
    }
}
