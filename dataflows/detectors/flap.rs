//! A key that fires and clears all the time is said once, as flapping, until it is calm.
//!
//! # Decision
//! By counting fires within a time, not by a decaying penalty (RFC 2439): "five times within the hour" can be told to
//! whoever was paged, a penalty of 3,000 cannot.

use crate::limits::FlapLimits;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Most fires that are remembered, whatever the limits say.
pub const MOST_FIRES: usize = 64;

/// The last fires of a key, and whether it is said to flap.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flap {
    /// When it fired, µs, ascending; at most one more than the limit.
    fired_us: VecDeque<i64>,
    firing: bool,
    changed_us: i64,
    flapping: bool,
}

/// What is to be said of a key that changed, or did not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlapTurn {
    /// Nothing changed.
    Unchanged,
    /// The fire or the clear is to be said.
    Say,
    /// It flaps: that is to be said now, instead of the fire.
    Flapping,
    /// It flaps, and that was said.
    Suppressed,
    /// It no longer flaps; what it is now is to be said.
    Calm {
        /// Whether it fires.
        firing: bool,
    },
}

impl Flap {
    /// Whether it is said to flap.
    pub fn is_flapping(&self) -> bool {
        self.flapping
    }

    /// Takes in whether the key fires at `at_us`; to be asked now and then though nothing changes, or it never calms.
    ///
    /// ```
    /// use evenkeel_detectors::{Flap, FlapLimits, FlapTurn};
    /// let (mut flap, limits) = (Flap::default(), FlapLimits { max_fires: 1, ..FlapLimits::default() });
    /// let minute_us = 60_000_000;
    /// assert_eq!(flap.turn(minute_us, true, &limits), FlapTurn::Say);
    /// assert_eq!(flap.turn(2 * minute_us, false, &limits), FlapTurn::Say);
    /// assert_eq!(flap.turn(3 * minute_us, true, &limits), FlapTurn::Flapping);
    /// assert_eq!(flap.turn(4 * minute_us, false, &limits), FlapTurn::Suppressed);
    /// assert_eq!(flap.turn(34 * minute_us, false, &limits), FlapTurn::Calm { firing: false });
    /// ```
    pub fn turn(&mut self, at_us: i64, firing: bool, limits: &FlapLimits) -> FlapTurn {
        let changed = firing != self.firing;
        let calm = self.flapping && at_us.saturating_sub(self.changed_us) >= limits.calm_s * 1_000_000;
        if calm {
            // What is said with it includes the change that came just now; what was counted is done with.
            (self.flapping, self.firing) = (false, firing);
            self.fired_us.clear();
            return FlapTurn::Calm { firing };
        }
        if !changed {
            return FlapTurn::Unchanged;
        }
        (self.firing, self.changed_us) = (firing, at_us);
        if self.flapping {
            return FlapTurn::Suppressed;
        }
        if firing && self.count(at_us, limits) > limits.max_fires.clamp(1, MOST_FIRES - 1) {
            self.flapping = true;
            return FlapTurn::Flapping;
        }
        FlapTurn::Say
    }

    /// Adds a fire, and counts those within the time.
    fn count(&mut self, at_us: i64, limits: &FlapLimits) -> usize {
        self.fired_us.push_back(at_us);
        self.fired_us.retain(|fired_us| at_us.saturating_sub(*fired_us) < limits.within_s * 1_000_000);
        self.fired_us.drain(..self.fired_us.len().saturating_sub(MOST_FIRES));
        self.fired_us.len()
    }
}
