//! The next hour of a gauge: will it pass its limit?
//!
//! # Decision
//! Seasonal naive with drift (Hyndman & Athanasopoulos, *Forecasting: Principles and Practice*, § 5.2): what there was
//! yesterday, plus by how much today is above it, plus how fast that grows (Theil and Sen's slope over two hours). The
//! band is what the same forecast, made from the slots before, would have missed by (split-conformal: Vovk et al.,
//! *Algorithmic Learning in a Random World*): no distribution is assumed, and a gauge that is hard to foresee holds itself
//! back. It fires when the *lower* edge passes the limit, since an action that was not needed costs trust.

use crate::Judgement;
use crate::days::{Days, Keep, along, median, theil_sen};
use crate::limits::ForecastLimits;
use serde::{Deserialize, Serialize};

/// Slots are ten minutes, as the mean of their samples; the two days that are kept are 288 of them.
const SLOT_S: i64 = 600;

/// Slots of the slope: two hours; of the level: half an hour.
const SLOPE: usize = 12;
const LEVEL: usize = 3;

/// Trials the band is taken from at most: twelve hours.
const TRIALS: usize = 72;

/// Slots that are forecast at most: an hour.
const AHEAD: usize = 6;

/// Two days of a gauge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forecast(Days);

impl Default for Forecast {
    fn default() -> Self {
        Self(Days::new(SLOT_S, Keep::Mean))
    }
}

/// What a slot to come will hold, in thousandths of the gauge's unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Band {
    /// The forecast.
    pub value_milli: i64,
    /// The band's lower edge.
    pub low_milli: i64,
    /// And its upper.
    pub high_milli: i64,
}

/// A line to go on along: its slope, thousandths a slot, and its last points.
struct Line {
    slope: i64,
    last: Vec<(i64, i64)>,
}

impl Line {
    /// The median of where the last points lead to.
    fn at(&self, slot: i64) -> Option<i64> {
        median(self.last.iter().map(|(from, value)| value + along(self.slope, slot - from)).collect())
    }
}

impl Forecast {
    /// Takes in a sample; returns whether a slot ended, so that there is something to judge.
    pub fn take(&mut self, at_us: i64, value_milli: i64) -> bool {
        self.0.take(at_us, value_milli)
    }

    /// A slot `before` the open one without its season; without a yesterday it is as it is.
    fn flat(&self, before: usize, seasonal: bool) -> Option<i64> {
        if seasonal { self.0.above_yesterday(before) } else { self.0.before(before) }
    }

    /// The line through the slots up to the one `origin` before the open one: its slope, and its last slots.
    fn line(&self, origin: usize, seasonal: bool) -> Option<Line> {
        let points = (origin..origin + SLOPE).rev();
        let points: Vec<_> = points.filter_map(|slot| Some((-(slot as i64), self.flat(slot, seasonal)?))).collect();
        if points.len() < SLOPE / 2 {
            return None;
        }
        let slope = theil_sen(&points)?;
        Some(Line { slope, last: points[points.len().saturating_sub(LEVEL)..].to_vec() })
    }

    /// The next slots, the first of them the open one; empty without enough trials to tell how good the forecast is.
    pub fn next(&self, limits: &ForecastLimits) -> Vec<Band> {
        let yesterdays = (1..=SLOPE).filter(|slot| self.0.above_yesterday(*slot).is_some()).count();
        let seasonal = yesterdays >= SLOPE / 2;
        let lead_slots = limits.lead_slots.clamp(1, AHEAD);
        let lines: Vec<_> = (1..=TRIALS + lead_slots).map(|origin| self.line(origin, seasonal)).collect();
        (1..=lead_slots).map_while(|ahead| self.band(ahead, seasonal, &lines, limits)).collect()
    }

    fn band(&self, ahead: usize, seasonal: bool, lines: &[Option<Line>], limits: &ForecastLimits) -> Option<Band> {
        let base = if seasonal { self.0.yesterday_of(ahead)? } else { 0 };
        let drift = |slot: i64| lines[(slot + ahead as i64 - 1) as usize].as_ref()?.at(-slot);
        let value_milli = base + drift(1 - ahead as i64)?;
        let miss = |slot: usize| Some((self.flat(slot, seasonal)? - drift(slot as i64)?).abs());
        let mut misses: Vec<i64> = (1..=TRIALS).filter_map(miss).collect();
        if misses.len() < limits.min_trials.max(1) {
            return None;
        }
        misses.sort_unstable();
        // The ⌈(n + 1) · share⌉-th smallest, as split-conformal intervals have it.
        let rank = ((misses.len() as i64 + 1) * limits.band_percent.clamp(1, 100) + 99) / 100;
        let miss = misses[(rank as usize).clamp(1, misses.len()) - 1];
        Some(Band { value_milli, low_milli: value_milli - miss, high_milli: value_milli + miss })
    }

    /// The mean of the last slot that ended.
    pub fn last_milli(&self) -> Option<i64> {
        self.0.before(1)
    }
}

/// Judges the last value and the slots to come against a limit; with it, how many slots ahead the breach is.
///
/// ```
/// use evenkeel_detectors::{Forecast, ForecastLimits, judge_forecast};
/// let (mut forecast, limits) = (Forecast::default(), ForecastLimits::default());
/// (0..36).for_each(|slot| {
///     forecast.take(slot * 600_000_000, 10_000 * slot);
/// });
/// let (judgement, ahead) = judge_forecast(forecast.last_milli(), &forecast.next(&limits), 380_000);
/// assert_eq!((judgement.reason, ahead), ("breach_foreseen", Some(4)), "at 340 now, 10 more in each slot");
/// ```
pub fn judge_forecast(last_milli: Option<i64>, next: &[Band], limit_milli: i64) -> (Judgement, Option<usize>) {
    let first = |passes: &dyn Fn(&Band) -> bool| next.iter().position(passes).map(|index| index + 1);
    if last_milli.is_some_and(|last| last >= limit_milli) {
        return (Judgement::held("above_limit_already", true), None);
    }
    if next.is_empty() {
        return (Judgement::held("too_short", false), None);
    }
    match (first(&|band| band.low_milli >= limit_milli), first(&|band| band.value_milli >= limit_milli)) {
        (Some(ahead), _) => (Judgement::fires("breach_foreseen"), Some(ahead)),
        (None, Some(ahead)) => (Judgement::held("uncertain", true), Some(ahead)),
        (None, None) => (Judgement::held("within_limit", false), None),
    }
}
