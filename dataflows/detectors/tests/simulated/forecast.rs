//! Ramps over a day's tide: which breaches are foreseen, how long before, and how often none follows.

use crate::random::Random;
use evenkeel_detectors::{Forecast, ForecastLimits, judge_forecast};

const DAY_SLOTS: i64 = 144;
const SLOT_US: i64 = 600_000_000;
const LIMIT: f64 = 1_000.0;

/// A load once in ten minutes: 500 with a tide of 200, and noise that lasts (autoregressive, 0.6).
struct Load {
    random: Random,
    noise: f64,
    judged_from: i64,
    forecast: Forecast,
}

impl Load {
    fn new(seed: u64, judged_from: i64) -> Self {
        Self { random: Random(seed), noise: 0.0, judged_from, forecast: Forecast::default() }
    }

    /// The value of a slot; and whether a breach is foreseen before it.
    fn slot(&mut self, at: i64, more: f64) -> (f64, bool) {
        self.noise = 0.6 * self.noise + 10.0 * self.random.normal();
        let value = 500.0 + 200.0 * (std::f64::consts::TAU * at as f64 / DAY_SLOTS as f64).sin() + self.noise + more;
        self.forecast.take(at * SLOT_US, (value * 1_000.0) as i64);
        if at < self.judged_from {
            return (value, false);
        }
        let next = self.forecast.next(&ForecastLimits::default());
        let (judgement, _) = judge_forecast(self.forecast.last_milli(), &next, (LIMIT * 1_000.0) as i64);
        (value, judgement.fires)
    }
}

/// Slots between the first word and the breach of a ramp that takes so many slots from the tide to the limit.
fn lead(seed: u64, ramp_slots: i64) -> Option<i64> {
    let start = 3 * DAY_SLOTS + (seed as i64 * 11) % DAY_SLOTS;
    let mut load = Load::new(seed, start - 36);
    let tide = |at: i64| 500.0 + 200.0 * (std::f64::consts::TAU * at as f64 / DAY_SLOTS as f64).sin();
    let a_slot = (LIMIT - tide(start + ramp_slots)) / ramp_slots as f64;
    let mut said = None;
    for at in 0..start + 3 * ramp_slots {
        let (value, foreseen) = load.slot(at, a_slot * (at - start).max(0) as f64);
        if value >= LIMIT {
            return said.map(|since| at - since);
        }
        said = said.or(foreseen.then_some(at));
        assert!(said.is_none_or(|since| since >= start), "seed {seed}: foreseen before it began");
    }
    None
}

#[test]
fn ramps_are_foreseen() {
    println!("hours to the limit  foreseen  lead min: p10, p50, p90");
    for (ramp_slots, at_least) in [(6, 20), (12, 90), (24, 75), (36, 60)] {
        let mut leads: Vec<i64> = (0..100).filter_map(|seed| lead(seed, ramp_slots)).collect();
        leads.sort_unstable();
        let count = leads.len();
        let minutes = |share: usize| leads.get(count * share / 100).map_or(0, |slots| slots * 10);
        println!(
            "{:>18}  {count:>4}/100  {:>13} {:>4} {:>4}",
            ramp_slots as f64 / 6.0,
            minutes(10),
            minutes(50),
            minutes(90)
        );
        assert!(count >= at_least, "{count} of 100 ramps of {ramp_slots} slots");
    }
}

#[test]
fn weeks_without_a_breach() {
    // The limit is 300 above the tide's height; a lift brings it nearer. A slot's noise has a deviation of 12.
    for (lift, at_most) in [(0.0, 0), (200.0, 0), (250.0, 20)] {
        let (mut said, mut breached) = (0, 0);
        for seed in 0..20 {
            let mut load = Load::new(900 + seed, 2 * DAY_SLOTS);
            for at in 0..9 * DAY_SLOTS {
                let (value, foreseen) = load.slot(at, lift);
                (said, breached) = (said + u32::from(foreseen), breached + u32::from(value >= LIMIT));
            }
        }
        println!(
            "peak {} below the limit: {said} slots foresaw a breach in 20 weeks, {breached} breached",
            300.0 - lift
        );
        assert!(said <= at_most, "{said} at {lift}");
    }
}
