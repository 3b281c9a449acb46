//! A canary of a tenth of a service of 100 requests a second, over seeded runs.

use crate::random::Random;
use evenkeel_detectors::{Canary, CanaryLimits, Share};

const WEEK_MINUTES: i64 = 7 * 24 * 60;

/// A service: 600 requests of the canary and 5,400 of the others a minute; one in a thousand fails, three with the tide.
struct Service {
    random: Random,
    canary: Canary,
    limits: CanaryLimits,
}

impl Service {
    fn new(seed: u64, dispersion_percent: i64) -> Self {
        let limits = CanaryLimits { dispersion_percent, ..CanaryLimits::default() };
        Self { random: Random(seed), canary: Canary::default(), limits }
    }

    /// Minute `at`, with so much more of the canary's requests failing.
    fn minute(&mut self, at: i64, extra: f64) {
        let base = 0.002 + 0.001 * (std::f64::consts::TAU * at as f64 / 1_440.0).sin();
        let share = |errors, requests| Share { errors, requests };
        let canary = share(self.random.binomial(600, base + extra), 600);
        let others = share(self.random.binomial(5_400, base), 5_400);
        self.canary.take(canary, others, &self.limits);
    }

    /// The minute after `onset` in which it fires, of `minutes` with a regression.
    fn found_after(&mut self, onset: i64, minutes: i64, extra: f64) -> Option<i64> {
        (0..onset).for_each(|at| self.minute(at, 0.0));
        (onset..onset + minutes).find_map(|at| {
            self.minute(at, extra);
            self.canary.judge(&self.limits).fires.then_some(at - onset + 1)
        })
    }
}

/// How many of `runs` reach `1 / alpha` at any minute of a week without a regression, and how many fire.
fn false_alarms(runs: u64, dispersion_percent: i64) -> (u64, u64) {
    let (mut reached, mut fired) = (0, 0);
    for seed in 0..runs {
        let mut service = Service::new(0xCA0A + seed, dispersion_percent);
        let (mut evidence, mut fires) = (false, false);
        for at in 0..WEEK_MINUTES {
            service.minute(at, 0.0);
            let judgement = service.canary.judge(&service.limits);
            (evidence, fires) = (evidence | judgement.exceeds, fires | judgement.fires);
        }
        (reached, fired) = (reached + u64::from(evidence), fired + u64::from(fires));
    }
    (reached, fired)
}

#[test]
fn two_thousand_weeks_without_a_regression() {
    let (reached, fired) = false_alarms(2_000, 100);
    println!("evidence of 1000 in {reached} of 2,000 weeks, fired in {fired}; at most 2 are expected by alpha");
    // More than 6 of 2,000 at a chance of 1 in 1,000 each has a chance below one in two hundred.
    assert!(reached <= 6, "{reached}");
    assert!(fired <= reached);
}

#[test]
fn the_time_to_detection_by_effect_and_onset() {
    println!("extra errors  onset      dispersion 1: p50, p90 min   2 (default): p50, p90 min");
    // Extra errors, onset in minutes, and within how many minutes nine of ten runs must be found by default.
    let table =
        [(0.01, 0, 25), (0.02, 0, 9), (0.03, 0, 6), (0.1, 0, 2), (0.01, 1_440, 20), (0.03, 1_440, 6), (0.1, 1_440, 3)];
    for (extra, onset, within) in table {
        let times = |dispersion| -> Vec<i64> {
            let found =
                |seed: u64| Service::new(0xBEE + seed, dispersion).found_after(onset, 600, extra).unwrap_or(i64::MAX);
            let mut times: Vec<i64> = (0..200).map(found).collect();
            times.sort_unstable();
            times
        };
        let (plain, clumped) = (times(100), times(200));
        println!(
            "{extra:>12}  {onset:>5}  {:>16} {:>5}  {:>20} {:>5}",
            plain[100], plain[180], clumped[100], clumped[180]
        );
        assert!(clumped[180] <= within, "{extra} after {onset} min: {} min, for nine of ten", clumped[180]);
    }
}

/// Errors that come in threes, three times as rarely: the evidence is divided by what they are assumed to be.
#[test]
fn clumps_are_divided_out() {
    let alarms = |dispersion_percent| {
        let runs = (0..200).filter(|seed| {
            let mut service = Service::new(0xC1 + seed, dispersion_percent);
            (0..2_880).any(|_| {
                let errors = 3 * service.random.binomial(200, 0.01);
                let others = 3 * service.random.binomial(1_800, 0.01);
                let share = |errors, requests| Share { errors, requests };
                service.canary.take(share(errors, 600), share(others, 5_400), &service.limits);
                service.canary.judge(&service.limits).exceeds
            })
        });
        runs.count()
    };
    let (independent, clumped) = (alarms(100), alarms(300));
    println!("errors in threes: evidence in {independent} of 200 runs if taken as independent, in {clumped} if not");
    assert!(clumped <= 2 && independent > clumped, "{independent}, {clumped}");
}
