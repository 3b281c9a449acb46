//! Is a value where none was before? A map of visited levels, on a grid that folds when the range grows.
//!
//! 1. The first 30 values only find the range; if there is none yet, the first value that differs is as new as can be.
//! 2. Then 64 cells are laid over it, with a quarter of it to spare on either side.
//! 3. While a value falls outside, the grid folds: two cells become one, visited if either was, and the half that is free
//!    lies where it is needed.
//! 4. The score is the distance to the nearest visited cell as a share of the range so far.
//! 5. The cell is visited from now on, and with it those within 3 % of the range (one or two).
//!
//! # Decision
//! A grid keeps its meaning when the range grows: re-levelling against a running minimum and maximum is far worse.
//! Levels say more than transitions between them (a map of levels for each previous level costs 64 times the state,
//! scores 4 points less on the open half of the Numenta benchmark and alerts as often). Finer grids (128 and 256 cells)
//! alert more, and find no more.

use super::bits;
use serde::{Deserialize, Serialize};

/// Values before there is a grid.
const WARM_UP: u32 = 30;
/// Cells of the grid.
const CELLS: u32 = u64::BITS;
/// What the first grid spares on either side, as a share of the range.
const MARGIN: f64 = 0.25;
/// What a visit visits on either side, as a share of the range.
const REACH: f64 = 0.03;
/// A range that grew by so many foldings at once has forgotten every cell but one.
const MOST_FOLDINGS: u32 = 2_200;

/// The map of visited levels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Visited {
    #[serde(with = "bits")]
    least: f64,
    #[serde(with = "bits")]
    most: f64,
    /// Lower edge of the lowest cell.
    #[serde(with = "bits")]
    from: f64,
    /// Height of a cell; 0 before there is a grid.
    #[serde(with = "bits")]
    step: f64,
    /// One bit a cell, the lowest cell lowest; 1 where it was visited.
    cells: u64,
    /// Values seen, at most [`WARM_UP`].
    seen: u32,
}

impl Default for Visited {
    fn default() -> Self {
        Self { least: f64::INFINITY, most: f64::NEG_INFINITY, from: 0.0, step: 0.0, cells: 0, seen: 0 }
    }
}

impl Visited {
    /// The largest value so far less the smallest; 0 before there are two.
    pub fn range(&self) -> f64 {
        (self.most - self.least).max(0.0)
    }

    /// The score of a finite value, in [0, 1]; the value is taken in afterwards.
    pub fn next(&mut self, value: f64) -> f64 {
        let (flat, usual) = (self.seen >= WARM_UP && self.range() == 0.0, self.least);
        self.seen = (self.seen + 1).min(WARM_UP);
        (self.least, self.most) = (self.least.min(value), self.most.max(value));
        if self.step == 0.0 {
            self.lay_grid();
        }
        if self.step > 0.0 && flat {
            self.visit(self.cell(usual), 0);
        }
        if self.step == 0.0 {
            return 0.0;
        }
        self.fold_until_in(value);
        let cell = self.cell(value);
        let range = (self.range() / self.step).max(1.0);
        let score = (f64::from(self.distance(cell)) / range).min(1.0);
        self.visit(cell, (REACH * range + 0.5) as u32);
        score
    }

    fn lay_grid(&mut self) {
        if self.seen >= WARM_UP && self.range() > 0.0 {
            self.from = self.least - MARGIN * self.range();
            self.step = (1.0 + 2.0 * MARGIN) * self.range() / f64::from(CELLS - 1);
        }
    }

    fn fold_until_in(&mut self, value: f64) {
        for _ in 0..MOST_FOLDINGS {
            let height = f64::from(CELLS) * self.step;
            if value >= self.from && value < self.from + height {
                break;
            }
            let below = value < self.from;
            self.from -= if below { height } else { 0.0 };
            self.cells = fold(self.cells) << if below { CELLS / 2 } else { 0 };
            self.step *= 2.0;
        }
    }

    fn cell(&self, value: f64) -> u32 {
        (((value - self.from) / self.step).max(0.0) as u32).min(CELLS - 1)
    }

    /// Cells from `cell` to the nearest visited one; 0 if none is.
    fn distance(&self, cell: u32) -> u32 {
        let (below, above) = (self.cells << (CELLS - 1 - cell), self.cells >> cell);
        match (below, above) {
            (0, 0) => 0,
            _ => below.leading_zeros().min(above.trailing_zeros()),
        }
    }

    fn visit(&mut self, cell: u32, reach: u32) {
        let (low, high) = (cell.saturating_sub(reach), (cell + reach).min(CELLS - 1));
        self.cells |= (u64::MAX >> (CELLS - 1 - (high - low))) << low;
    }
}

/// Two cells become one, visited if either was; the upper half is free.
fn fold(cells: u64) -> u64 {
    (0..CELLS / 2).fold(0, |folded, pair| folded | u64::from(cells >> (2 * pair) & 3 != 0) << pair)
}
