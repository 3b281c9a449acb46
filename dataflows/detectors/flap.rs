//! What fires again and again within a while flaps.
//!
//! # Decision
//! By counting fires within a time, not by a decaying penalty (RFC 2439): "five times within the hour" can be told to
//! whoever was paged, a penalty of 3,000 cannot.

use crate::limits::FlapLimits;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Most fires that are remembered, whatever the limits say.
pub const MOST_FIRES: usize = 64;

/// The last fires of something.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flap {
    /// When it fired, µs, ascending.
    fired_us: VecDeque<i64>,
}

impl Flap {
    /// It fires: how often it did within the time, this one counted, if that is more than the limit.
    ///
    /// ```
    /// use evenkeel_detectors::{Flap, FlapLimits};
    /// let (mut flap, limits) = (Flap::default(), FlapLimits { max_fires: 2, within_s: 3_600, ..FlapLimits::default() });
    /// let minute_us = 60_000_000;
    /// assert_eq!([1, 2, 3].map(|at| flap.fire(at * minute_us, &limits)), [None, None, Some(3)]);
    /// assert_eq!(flap.fire(61 * minute_us, &limits), Some(3), "the first is an hour ago");
    /// assert_eq!(flap.fire(200 * minute_us, &limits), None);
    /// ```
    pub fn fire(&mut self, at_us: i64, limits: &FlapLimits) -> Option<usize> {
        self.fired_us.push_back(at_us);
        self.fired_us.retain(|fired_us| at_us.saturating_sub(*fired_us) < limits.within_s * 1_000_000);
        self.fired_us.drain(..self.fired_us.len().saturating_sub(MOST_FIRES));
        let fires = self.fired_us.len();
        (fires > limits.max_fires.clamp(1, MOST_FIRES - 1)).then_some(fires)
    }

    /// Whether none of its fires counts any more.
    pub fn is_over(&self, now_us: i64, limits: &FlapLimits) -> bool {
        self.fired_us.back().is_none_or(|last_us| now_us.saturating_sub(*last_us) >= limits.within_s * 1_000_000)
    }
}
