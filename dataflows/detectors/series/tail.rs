//! Turns scores of any scale into improbabilities, so that those of several detectors add.
//!
//! Peaks over a threshold (Siffer, Fouque, Termier, Largouët: Anomaly Detection in Streams with Extreme Value Theory,
//! KDD 2017): above a high quantile `u` of the scores, excesses follow a generalised Pareto distribution, so that
//! `P(score > x) = 0.02 (1 + ξ(x − u)/σ)^(−1/ξ)`.
//!
//! # Decision
//! The quantile is tracked by steps in proportion to itself (scores have no unit), ξ and σ come from two running
//! moments (the paper maximises a likelihood): no list of peaks to keep. ξ is held within [0, 0.4]: a tail that ends
//! would make what lies past its end impossible, and moments know nothing of heavier ones. An excess counts for at most
//! ten times the mean, so that an anomaly does not teach the tail that anomalies are usual. Four excesses of half the
//! quantile are assumed before there are real ones.

use super::bits;
use serde::{Deserialize, Serialize};

/// The quantile past which the tail begins.
const QUANTILE: f64 = 0.98;
/// Share of itself by which the quantile moves at a step, once it has settled.
const STEP: f64 = 0.05;
/// Excesses remembered.
const MEMORY: u32 = 150;
/// Excesses assumed before there are any.
const ASSUMED: f64 = 4.0;
/// Heaviest tail.
const HEAVIEST: f64 = 0.4;
/// An excess counts for at most so many times the mean.
const CUT: f64 = 10.0;
/// The quantile is at least this.
const LEAST: f64 = 0.01;
/// `−log10` of the share of scores past the quantile.
const DECADES_AT_QUANTILE: f64 = 1.698_970_004_336_018_8;
/// What a score at the quantile is given from below: there the distribution is not modelled, and a fair share is enough
/// to order rows by.
const DECADES_BELOW: f64 = 0.5;
/// No score is more improbable than one in 10^12.
const MOST_DECADES: f64 = 12.0;

/// The running tail of one detector's scores.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tail {
    /// The quantile; 0 before the first score.
    #[serde(with = "bits")]
    quantile: f64,
    /// Mean of the excesses.
    #[serde(with = "bits")]
    mean: f64,
    /// Mean of their squares.
    #[serde(with = "bits")]
    square: f64,
    /// Excesses seen, at most [`MEMORY`].
    excesses: u32,
    /// Scores seen, as long as the first steps are wider.
    seen: u32,
}

impl Default for Tail {
    fn default() -> Self {
        Self { quantile: 0.0, mean: 0.0, square: 0.0, excesses: 0, seen: 0 }
    }
}

impl Tail {
    /// The score that two in a hundred pass.
    pub fn quantile(&self) -> f64 {
        self.quantile
    }

    /// `−log10` of the probability of a score this large, at most 12; at or below the quantile a number up to 0.5. The score,
    /// finite and not negative, is taken in afterwards.
    pub fn next(&mut self, score: f64) -> f64 {
        self.seen = self.seen.saturating_add(1);
        if self.seen == 1 {
            self.quantile = score.max(LEAST);
        }
        let step = STEP.max(2.0 / (f64::from(self.seen) + 1.0));
        if score > self.quantile {
            let decades = self.decades(score - self.quantile);
            self.take(score - self.quantile);
            self.quantile *= 1.0 + step * QUANTILE;
            decades
        } else {
            let decades = score / self.quantile * DECADES_BELOW;
            self.quantile = (self.quantile * (1.0 - step * (1.0 - QUANTILE))).max(LEAST);
            decades
        }
    }

    /// First and second moment of the excesses, the assumed ones with them.
    fn moments(&self) -> (f64, f64) {
        let (assumed, seen) = (0.5 * self.quantile, f64::from(self.excesses));
        let blend = |own: f64, prior: f64| (own * seen + ASSUMED * prior) / (seen + ASSUMED);
        (blend(self.mean, assumed), blend(self.square, 2.0 * assumed * assumed))
    }

    fn decades(&self, excess: f64) -> f64 {
        let (mean, square) = self.moments();
        let ratio = mean * mean / (square - mean * mean).max(1e-12 * mean * mean);
        let shape = (0.5 * (1.0 - ratio)).clamp(0.0, HEAVIEST);
        let beyond = if shape < 1e-6 {
            excess / mean / std::f64::consts::LN_10
        } else {
            libm::log10(1.0 + shape * excess / (0.5 * mean * (ratio + 1.0))) / shape
        };
        (DECADES_AT_QUANTILE + beyond).min(MOST_DECADES)
    }

    fn take(&mut self, excess: f64) {
        let excess = excess.min(CUT * self.moments().0);
        self.excesses = (self.excesses + 1).min(MEMORY);
        let share = 1.0 / f64::from(self.excesses);
        self.mean += share * (excess - self.mean);
        self.square += share * (excess * excess - self.square);
    }
}
