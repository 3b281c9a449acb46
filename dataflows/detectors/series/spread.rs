//! How far values usually are from what was expected: a running mean of absolute deviations, deaf to outliers.

use super::bits;
use serde::{Deserialize, Serialize};

/// Deviations seen before any is cut.
const TRUSTED_AFTER: u32 = 10;
/// A deviation counts for at most so many times the mean.
const CUT: f64 = 5.0;
/// A score in units of the mean is at most this, so that what follows stays finite.
const MOST: f64 = 1e6;

/// The mean absolute deviation `m`: `m += (min(|d|, 5 m) − m) / min(n, memory)` for the `n`th deviation `d`; the first
/// ten are not cut, nor is one after none but zeros.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    #[serde(with = "bits")]
    mean: f64,
    seen: u32,
    memory: u32,
}

impl Spread {
    /// Remembers about `memory` deviations.
    pub fn new(memory: u32) -> Self {
        Self { mean: 0.0, seen: 0, memory }
    }

    /// The mean absolute deviation; 0 before the first one.
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// Deviations seen, at most the memory.
    pub fn seen(&self) -> u32 {
        self.seen
    }

    /// Takes in a deviation.
    pub fn push(&mut self, deviation: f64) {
        let size = deviation.abs();
        let trusted = self.seen > TRUSTED_AFTER && self.mean > 0.0;
        let size = if trusted { size.min(CUT * self.mean) } else { size };
        self.seen = (self.seen + 1).min(self.memory);
        self.mean += (size - self.mean) / f64::from(self.seen);
    }
}

/// `|deviation|` in units of `scale`, at most a million: what differs at all from what never did is as far off as can be.
pub fn in_units(deviation: f64, scale: f64) -> f64 {
    if deviation == 0.0 { 0.0 } else { (deviation.abs() / scale).min(MOST) }
}
