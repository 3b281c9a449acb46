//! The detectors together: how unusual a value is, whether that is worth an alert, why, and what was expected.

use super::{DayProfile, Level, Refractory, Shape, Tail, Visited, bits};
use serde::{Deserialize, Serialize};

/// Values of which the slow mean speaks.
const SLOW: f64 = 32.0;
/// Improbability, in decades, of a score of one half.
const EVEN_DECADES: f64 = 5.0;
/// Improbability, in decades, from which a shape is worth an alert.
const SHAPE_DECADES: f64 = 3.5;
/// Share of its size that the improbability of the strongest shape loses with each value: half of it in 2,000.
const SHAPE_FORGETS: f64 = 0.000_35;
/// Novelty is worth an alert as long as at most one in so many values was novel.
const RARE: u64 = 10;
/// Values before any alert: at first everything is new.
const LEARNING: u64 = 200;
/// Values larger than this are not taken for values.
const LARGEST: f64 = 1e150;

/// Why a value was not taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// Not a number, infinite, or larger than 10^150: missing.
    NotANumber,
    /// Its time is not after that of the value before.
    OutOfOrder,
}

/// What contributed most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Nothing is unusual.
    Usual,
    /// Far from the values just before.
    Level,
    /// Unlike this time of day.
    Season,
    /// The last values together are unlike any before.
    Shape,
    /// A level that was never visited before.
    NewLevel,
    /// A mean of the last values that was never visited before: a slow change.
    NewMean,
}

impl Reason {
    /// The reason code.
    pub fn name(self) -> &'static str {
        match self {
            Self::Usual => "usual",
            Self::Level => "level",
            Self::Season => "season",
            Self::Shape => "shape",
            Self::NewLevel => "new_level",
            Self::NewMean => "new_mean",
        }
    }
}

/// What is said of one value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Assessment {
    /// How unusual the value is, in [0, 1]: `d / (d + 5)`, where 10^−d is the product of three tail probabilities; one
    /// half at one in 100,000.
    pub score: f64,
    /// 0, or an alert and its strength in [0.5, 1].
    pub alert: f64,
    /// What contributed most to the alert, else to the score.
    pub reason: Reason,
    /// What was expected, from the values before alone: the day's profile once it is known, else the median of the last
    /// values.
    pub expected: f64,
    /// Lower edge of the band that 98 in 100 values fell into lately.
    pub low: f64,
    /// Its upper edge.
    pub high: f64,
}

/// A level map, and how often it saw something new.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Novelty {
    visited: Visited,
    novel: u64,
}

impl Novelty {
    /// The strength of an alert, in (0.5, 1], or 0; `seen` values were seen before.
    fn next(&mut self, value: f64, seen: u64) -> f64 {
        let distance = self.visited.next(value);
        if distance == 0.0 {
            return 0.0;
        }
        self.novel += 1;
        if self.novel * RARE <= seen + 1 { 0.5 + 0.5 * distance } else { 0.0 }
    }
}

/// All detectors of one series.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Series {
    last_at_s: Option<i64>,
    seen: u64,
    skipped: u64,
    level: Level,
    level_tail: Tail,
    day: DayProfile,
    day_tail: Tail,
    shape: Shape,
    shape_tail: Tail,
    /// The largest improbability of a shape, in decades, as far as it is remembered.
    #[serde(with = "bits")]
    strongest_shape: f64,
    #[serde(with = "bits")]
    slow_mean: f64,
    levels: Novelty,
    means: Novelty,
    refractory: Refractory,
}

impl Series {
    /// Values taken in.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// Values not taken in.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Bytes of state, those on the heap with it.
    pub fn state_bytes(&self) -> usize {
        size_of::<Self>() + self.level.heap_bytes() + self.day.heap_bytes() + self.shape.heap_bytes()
    }

    /// Assesses a value by those before it, and takes it in. Gaps between times are no anomaly here. What is unusable
    /// is counted and changes nothing else.
    pub fn next(&mut self, at_s: i64, value: f64) -> Result<Assessment, Unusable> {
        if value.is_nan() || value.abs() > LARGEST {
            self.skipped += 1;
            return Err(Unusable::NotANumber);
        }
        if self.last_at_s.is_some_and(|last| at_s <= last) {
            self.skipped += 1;
            return Err(Unusable::OutOfOrder);
        }
        self.last_at_s = Some(at_s);
        let (expected, half) = self.expect(at_s, value);
        // 1. What was never seen before. The range of the level map is the unit of shapes.
        let alerts = self.novelty(value);
        // 2. How unusual each detector finds the value, in decades.
        let decades = [
            (Reason::Level, self.level_tail.next(self.level.next(value))),
            (Reason::Season, self.day_tail.next(self.day.next(at_s, value))),
            (Reason::Shape, self.shape_tail.next(self.shape.next(value, self.levels.visited.range()))),
        ];
        // 3. The strongest alert, unless there was one just now.
        let (cause, strength) = most([alerts[0], alerts[1], (Reason::Shape, self.shape_alert(decades[2].1))]);
        let alert = if self.seen < LEARNING { 0.0 } else { self.refractory.next(strength) };
        self.seen += 1;
        let sum: f64 = decades.iter().map(|(_, decades)| decades).sum();
        let reason = if alert > 0.0 { cause } else { most(decades.map(unusual)).0 };
        let (low, high) = (expected - half, expected + half);
        Ok(Assessment { score: sum / (sum + EVEN_DECADES), alert, reason, expected, low, high })
    }

    /// What is expected, and half the height of its band.
    fn expect(&self, at_s: i64, value: f64) -> (f64, f64) {
        match (self.day.expect(at_s), self.level.median()) {
            (Some(day), _) => (day.value, day.scale * self.day_tail.quantile()),
            (None, Some(median)) => (median, self.level.scale() * self.level_tail.quantile()),
            (None, None) => (value, 0.0),
        }
    }

    fn novelty(&mut self, value: f64) -> [(Reason, f64); 2] {
        self.slow_mean = if self.seen == 0 { value } else { self.slow_mean + (value - self.slow_mean) / SLOW };
        let level = self.levels.next(value, self.seen);
        [(Reason::NewLevel, level), (Reason::NewMean, self.means.next(self.slow_mean, self.seen))]
    }

    /// The strength of an alert for a shape more improbable than any that is remembered.
    fn shape_alert(&mut self, decades: f64) -> f64 {
        self.strongest_shape -= SHAPE_FORGETS * self.strongest_shape;
        if decades <= self.strongest_shape {
            return 0.0;
        }
        self.strongest_shape = decades;
        if decades >= SHAPE_DECADES { decades / (decades + SHAPE_DECADES) } else { 0.0 }
    }
}

/// A contribution that is worth naming: one past its tail's quantile.
fn unusual((reason, decades): (Reason, f64)) -> (Reason, f64) {
    if decades > 1.0 { (reason, decades) } else { (Reason::Usual, 0.0) }
}

/// The first of the strongest; [`Reason::Usual`] if all are 0.
fn most(contributions: [(Reason, f64); 3]) -> (Reason, f64) {
    let stronger = |best: (Reason, f64), next: (Reason, f64)| if next.1 > best.1 { next } else { best };
    contributions.into_iter().fold((Reason::Usual, 0.0), stronger)
}
