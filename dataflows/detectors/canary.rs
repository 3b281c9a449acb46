//! Is a version worse than the others of its service? A sequential test that may be looked at every minute.
//!
//! Two sides, the canary's requests and the others', each with a share of errors. The hypothesis to be refuted: the
//! canary's share is not above the others'. The evidence is an e-value: a non-negative number whose expectation is at
//! most 1 while the hypothesis holds, at whatever moment one looks, so it reaches `1 / alpha` with a chance of at most
//! `alpha`, ever (Ville's inequality; Ramdas et al., "Game-theoretic statistics and safe anytime-valid inference", 2023).
//!
//! # Decision
//! Not a mixture SPRT on totals, whose guarantee is void when the shares change with the hour: the e-variable of Turner,
//! Ly and Grünwald ("Generic E-variables for exact sequential k-sample tests that allow for optional stopping", 2024) for
//! each minute as a block. With `a` and `b` for the shares of the alternative and `p` for their mean, weighted by the
//! requests of either side, it is `∏ a/p · ∏ (1−a)/(1−p) · ∏ b/p · ∏ (1−b)/(1−p)` over errors and successes. It only needs
//! both sides to be alike *within* the minute; a bad hour for all is none for the canary. `b` is what the others did in
//! the minutes before, `a` is above it by each of [`EXTRA_PER_MILLE`], one product each, averaged.
//!
//! A regression may also come late (a cache fills, a flag is turned on). So each product is a mixture over the minute it
//! begins with, minute `t` of weight `1 / t(t+1)`: what a good day has spoken for a version is spent by that, not by
//! hundreds of nats. The mixture is one number: `R ← (R + 1 / t(t+1)) · S`.
//!
//! Logarithms are `libm`'s, which are the same on every platform; what is kept are whole nano-nats, rounded down.

use crate::limits::CanaryLimits;
use crate::{Judgement, Share};
use serde::{Deserialize, Serialize};

/// How much above the others' share the canary's may be, per mille of requests: the alternatives that are tried.
pub const EXTRA_PER_MILLE: [i64; 5] = [3, 10, 30, 100, 300];

/// A nat in nano-nats.
const NAT: f64 = 1e9;

/// Recent counts are kept in parts of one; a minute takes away a 16th of them.
const PARTS: i64 = 1 << 10;
const MEMORY_MINUTES: i64 = 16;

/// One side's counts, fading with a mean age of 16 minutes; in 1,024ths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Faded {
    errors: i64,
    requests: i64,
}

impl Faded {
    /// Stays below 2^55: at most 16 times 2^40 requests of 2^10 parts, and a bit.
    fn take(&mut self, minute: Share) {
        self.errors += minute.errors * PARTS - self.errors / MEMORY_MINUTES;
        self.requests += minute.requests * PARTS - self.requests / MEMORY_MINUTES;
    }
}

/// What is known of a version against the others; two sides and five numbers, whatever has been seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Canary {
    /// Minutes that were weighed.
    minutes: u32,
    canary: Faded,
    others: Faded,
    /// The logarithm of each alternative's mixture, nano-nats.
    evidence: [i64; EXTRA_PER_MILLE.len()],
}

impl Canary {
    /// Takes in a minute: of the canary's requests and of the others', how many failed.
    ///
    /// For latency an "error" is a request above the others' 90th percentile (or median) of the minutes *before*: the
    /// bound must not come from the requests it is held against. A minute in which a side has no requests says nothing;
    /// the first minute is only learned from.
    pub fn take(&mut self, canary: Share, others: Share, limits: &CanaryLimits) {
        let (canary, others) = (canary.bounded(), others.bounded());
        if canary.requests == 0 || others.requests == 0 {
            return;
        }
        if self.others.requests > 0 {
            self.minutes = self.minutes.saturating_add(1);
            let (base, minute) = (self.base(), f64::from(self.minutes));
            let start = -libm::log(minute) - libm::log1p(minute);
            for (mixture, extra_per_mille) in self.evidence.iter_mut().zip(EXTRA_PER_MILLE) {
                let alternative = (base + extra_per_mille as f64 / 1000.0).min((1.0 + base) / 2.0);
                let step = block(canary, others, alternative, base) * 100.0 / limits.dispersion_percent.max(100) as f64;
                let held = if self.minutes == 1 { f64::NEG_INFINITY } else { *mixture as f64 / NAT };
                // A hundred thousand nats are more than any alpha asks for, and within what is kept.
                *mixture = libm::floor((log_sum(&[held, start]) + step).clamp(-1e5, 1e5) * NAT) as i64;
            }
        }
        self.canary.take(canary);
        self.others.take(others);
    }

    /// The others' share as the minutes before tell it; never 0 or 1, as half an error in fifty requests is added.
    fn base(&self) -> f64 {
        let parts = PARTS as f64;
        (self.others.errors as f64 + 0.5 * parts) / (self.others.requests as f64 + 50.0 * parts)
    }

    /// The logarithm of the e-value, nano-nats: 0 says nothing, 6.9 nats are one in a thousand.
    pub fn evidence_nano_nats(&self) -> i64 {
        // What has not begun yet is worth what it was given: the weights from here on sum to 1 / (t + 1).
        let waiting = -libm::log1p(f64::from(self.minutes));
        let begun = self.evidence.iter().map(|mixture| *mixture as f64 / NAT);
        let count = libm::log(EXTRA_PER_MILLE.len() as f64);
        let all: Vec<f64> = match self.minutes {
            0 => return 0,
            _ => begun.map(|mixture| mixture - count).chain([waiting]).collect(),
        };
        libm::floor(log_sum(&all) * NAT) as i64
    }

    /// How many minutes were weighed, and how many requests of the canary they hold, faded.
    pub fn weighed(&self) -> (u32, i64) {
        (self.minutes, self.canary.requests / PARTS)
    }

    /// How much the canary's share is above the others' of late, per million of requests; `None` if a side has
    /// no requests.
    pub fn extra_per_million(&self) -> Option<i64> {
        let share =
            |side: &Faded| (side.requests > 0).then(|| i128::from(side.errors) * 1_000_000 / i128::from(side.requests));
        i64::try_from(share(&self.canary)? - share(&self.others)?).ok()
    }

    /// Judges the version: it fires when the evidence reaches `1 / alpha` *and* the difference matters.
    ///
    /// ```
    /// use evenkeel_detectors::{Canary, Share};
    /// # let limits = evenkeel_detectors::CanaryLimits::default();
    /// let mut canary = Canary::default();
    /// let minute = |errors, requests| Share { errors, requests };
    /// (0..4).for_each(|_| canary.take(minute(24, 600), minute(54, 5_400), &limits));
    /// assert_eq!(canary.judge(&limits).reason, "regressed", "4 % where the others have 1 %");
    /// ```
    pub fn judge(&self, limits: &CanaryLimits) -> Judgement {
        let Some(extra) = self.extra_per_million() else {
            return Judgement::held("no_traffic", false);
        };
        let alpha = limits.alpha_per_million.clamp(1, 1_000_000) as f64 / 1e6;
        if self.evidence_nano_nats() < libm::ceil(-libm::log(alpha) * NAT) as i64 {
            Judgement::held("no_evidence", false)
        } else if extra < limits.margin_per_mille * 1000 {
            Judgement::held("small_effect", true)
        } else {
            Judgement::fires("regressed")
        }
    }
}

/// The logarithm of a minute's e-variable for the shares `a` of the canary and `b` of the others, nats.
fn block(canary: Share, others: Share, a: f64, b: f64) -> f64 {
    let (count_a, count_b) = (canary.requests as f64, others.requests as f64);
    let mean = (count_a * a + count_b * b) / (count_a + count_b);
    let side = |share: f64, Share { errors, requests }: Share| {
        let (good, bad) = ((requests - errors) as f64, errors as f64);
        bad * libm::log(share / mean) + good * libm::log1p((mean - share) / (1.0 - mean))
    };
    side(a, canary) + side(b, others)
}

/// The logarithm of the sum of numbers given by their logarithms, of which one is finite.
fn log_sum(logarithms: &[f64]) -> f64 {
    let largest = logarithms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    largest + libm::log(logarithms.iter().map(|logarithm| libm::exp(logarithm - largest)).sum())
}
