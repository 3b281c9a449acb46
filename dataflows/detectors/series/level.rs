//! Is a value far from those just before it?

use super::bits;
use super::spread::{Spread, in_units};
use serde::{Deserialize, Serialize};

/// Values of which the median is taken.
const WINDOW: usize = 20;
/// Values before anything is said.
const WARM_UP: usize = 8;
/// Deviations of which the spread speaks.
const MEMORY: u32 = 2_000;

/// The distance of a value to the median of the 20 values before it, in units of what that distance usually is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Level {
    /// The window, oldest at `oldest`.
    #[serde(with = "bits::list")]
    ring: Vec<f64>,
    /// The window in order of size.
    #[serde(with = "bits::list")]
    sorted: Vec<f64>,
    oldest: usize,
    spread: Spread,
}

impl Default for Level {
    fn default() -> Self {
        let empty = || Vec::with_capacity(WINDOW);
        Self { ring: empty(), sorted: empty(), oldest: 0, spread: Spread::new(MEMORY) }
    }
}

impl Level {
    /// The median of the window (of an even number, the upper one), if there is any value.
    pub fn median(&self) -> Option<f64> {
        self.sorted.get(self.sorted.len() / 2).copied()
    }

    /// Bytes held on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        (self.ring.capacity() + self.sorted.capacity()) * size_of::<f64>()
    }

    /// What the distance to the median usually is.
    pub fn scale(&self) -> f64 {
        self.spread.mean()
    }

    /// The score of a finite value, which is taken in afterwards.
    pub fn next(&mut self, value: f64) -> f64 {
        let (warm, median) = (self.ring.len() >= WARM_UP, self.median());
        self.push(value);
        let Some(median) = median.filter(|_| warm) else { return 0.0 };
        let score = in_units(value - median, self.spread.mean());
        self.spread.push(value - median);
        score
    }

    fn push(&mut self, value: f64) {
        if self.ring.len() < WINDOW {
            self.ring.push(value);
        } else {
            let leaves = std::mem::replace(&mut self.ring[self.oldest], value);
            self.oldest = (self.oldest + 1) % WINDOW;
            self.sorted.remove(self.sorted.partition_point(|held| *held < leaves));
        }
        self.sorted.insert(self.sorted.partition_point(|held| *held < value), value);
    }
}
