//! Is the shape of the last values like none before it?
//!
//! # Decision
//! Of four values the one farthest from a moving mean is kept: a peak survives, and a window of six spans twenty-four
//! values. The score is the mean distance to the two nearest of the windows in the last 500 kept values that share none
//! with it, as a share of the range seen so far; one near twin may be an earlier anomaly. The ring is kept in 32 bits
//! relative to the first value, so that a large offset costs no digits.

use super::bits;
use serde::{Deserialize, Serialize};

/// Values of which one is kept.
const DOWN_SAMPLING: u8 = 4;
/// Kept values in a window.
const WINDOW: usize = 6;
/// Kept values remembered.
const HISTORY: usize = 500;
/// Earlier windows before anything is said.
const WARM_UP: usize = 8;
/// Share by which the moving mean follows.
const MEAN_SHARE: f64 = 0.05;
/// Kept values are at most this, so that sums of distances stay finite.
const MOST: f64 = 1e37;

/// The distance of the last window to the two nearest earlier ones.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shape {
    /// Kept values less the first value, oldest first; at most [`HISTORY`].
    #[serde(with = "bits::short_list")]
    history: Vec<f32>,
    #[serde(with = "bits")]
    first: f64,
    #[serde(with = "bits")]
    mean: f64,
    /// Of those seen since one was kept, the one farthest from the mean, and how far that is.
    #[serde(with = "bits")]
    farthest: f64,
    #[serde(with = "bits")]
    distance: f64,
    /// Values since one was kept.
    since: u8,
    started: bool,
}

impl Default for Shape {
    fn default() -> Self {
        let history = Vec::with_capacity(HISTORY);
        Self { history, first: 0.0, mean: 0.0, farthest: 0.0, distance: -1.0, since: 0, started: false }
    }
}

impl Shape {
    /// Bytes held on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        self.history.capacity() * size_of::<f32>()
    }

    /// The score of a finite value, when `range` is the largest value so far less the smallest; 0 for those after which
    /// no window ends.
    pub fn next(&mut self, value: f64, range: f64) -> f64 {
        if !self.started {
            (self.started, self.first, self.mean) = (true, value, value);
        }
        let distance = (value - self.mean).abs();
        self.mean += MEAN_SHARE * (value - self.mean);
        if distance > self.distance {
            (self.distance, self.farthest) = (distance, value);
        }
        self.since += 1;
        if self.since < DOWN_SAMPLING {
            return 0.0;
        }
        (self.since, self.distance) = (0, -1.0);
        if self.history.len() == HISTORY {
            self.history.remove(0);
        }
        self.history.push((self.farthest - self.first).clamp(-MOST, MOST) as f32);
        if range > 0.0 { (self.nearest() / range).min(1.0) } else { 0.0 }
    }

    /// The mean distance per value of the last window to the two nearest earlier windows; 0 if there are too few.
    fn nearest(&self) -> f64 {
        let (earlier, window) = self.history.split_at(self.history.len().saturating_sub(WINDOW));
        let windows = (earlier.len() + 1).saturating_sub(WINDOW);
        if windows < WARM_UP {
            return 0.0;
        }
        // Summed value by value over all windows: every sum has a fixed order, and the inner loop is one the compiler does in lanes.
        let mut sums = [0f32; HISTORY];
        for (offset, value) in window.iter().enumerate() {
            for (sum, held) in sums[..windows].iter_mut().zip(&earlier[offset..]) {
                *sum += (held - value).abs();
            }
        }
        let (mut first, mut second) = (f32::MAX, f32::MAX);
        for sum in &sums[..windows] {
            second = second.min(sum.max(first));
            first = first.min(*sum);
        }
        f64::from(first + second) / (2 * WINDOW) as f64
    }
}
