//! When a new level is the usual one: what holds long enough is accepted, and no longer an anomaly.
//!
//! # Decision
//! A rolling baseline accepts a new level by itself once half of it is new, half an hour for a window of one; one that
//! leaves anomalies out never would. Here it is said when: [`accept_min`](crate::ShiftLimits::accept_min) minutes of one
//! level, its largest value at most [`spread_percent`](crate::ShiftLimits::spread_percent) of its smallest. What wanders
//! further starts anew, so that a fault that grows by as much within the time is never usual.

use crate::limits::ShiftLimits;
use serde::{Deserialize, Serialize};

/// The level a key has while it is anomalous; four numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LevelShift {
    held: Option<Held>,
}

/// Since when a level holds, and within which values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Held {
    since_us: i64,
    newest_us: i64,
    lowest: i64,
    highest: i64,
}

impl LevelShift {
    /// Takes in the value of an anomalous key, µs of latency or errors per million; returns the level, as (lowest,
    /// highest), once it is the usual one, and forgets it. Values that are older than the newest are left out.
    ///
    /// ```
    /// use evenkeel_detectors::{LevelShift, ShiftLimits};
    /// let (mut shift, limits) = (LevelShift::default(), ShiftLimits::default());
    /// let accepted = (0..).find_map(|minute| shift.take(minute * 60_000_000, 4_000 + minute % 7, &limits).map(|_| minute));
    /// assert_eq!(accepted, Some(60));
    /// ```
    pub fn take(&mut self, at_us: i64, value: i64, limits: &ShiftLimits) -> Option<(i64, i64)> {
        let fresh = Held { since_us: at_us, newest_us: at_us, lowest: value, highest: value };
        let held = self.held.unwrap_or(fresh);
        if at_us < held.newest_us {
            return None;
        }
        let wider = Held { newest_us: at_us, lowest: held.lowest.min(value), highest: held.highest.max(value), ..held };
        let holds = i128::from(wider.highest) * 100 <= i128::from(wider.lowest) * i128::from(limits.spread_percent);
        let held = if holds { wider } else { fresh };
        let usual = at_us.saturating_sub(held.since_us) >= limits.accept_min * 60_000_000;
        self.held = (!usual).then_some(held);
        usual.then_some((held.lowest, held.highest))
    }

    /// The key is as it was: there is no new level.
    pub fn clear(&mut self) {
        self.held = None;
    }
}
