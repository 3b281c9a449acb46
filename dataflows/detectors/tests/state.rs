//! What the rules remember: flapping, levels, gaps; and that all of it is bounded and survives a restart.
#![expect(clippy::unwrap_used, reason = "tests")]

use evenkeel_detectors::{Canary, CanaryLimits, Detection, Flap, FlapLimits, Forecast, ForecastLimits, Leak};
use evenkeel_detectors::{LeakLimits, MissingLimits, MissingPolicy, Share, judge_latency};
use evenkeel_detectors::{judge_forecast, judge_missing};
use evenkeel_schemas::{Statistics, Tally};
use proptest::prelude::*;
use serde::{Serialize, de::DeserializeOwned};

const MINUTE_US: i64 = 60_000_000;

#[test]
fn more_than_four_fires_an_hour_flap() {
    let (mut flap, limits) = (Flap::default(), FlapLimits::default());
    let mut fires = |minutes: &[i64]| -> Vec<Option<usize>> {
        minutes.iter().map(|at| flap.fire(at * MINUTE_US, &limits)).collect()
    };
    assert_eq!(fires(&[0, 10, 20, 30, 59]), [None, None, None, None, Some(5)]);
    assert_eq!(fires(&[60]), [Some(5)], "the first is an hour ago");
    assert_eq!(fires(&[150, 166, 182, 198, 214, 230]), [None; 6], "every 16 minutes");
    assert!(flap.is_over(290 * MINUTE_US, &limits) && !flap.is_over(289 * MINUTE_US, &limits));
}

/// What the last hour itself does: minutes until twice the latency is no longer above it.
#[test]
fn a_rolling_hour_takes_half_of_it_for_a_step_in_latency() {
    let minute = |times: u32| {
        let mut tally = Tally::default();
        (0..1_000).for_each(|at| tally.count((1_500 + at) * times, false));
        tally
    };
    let limits = Detection::default();
    let exceeds = |minutes: &usize| {
        let mut hour = Tally::default();
        (0..60 - minutes).for_each(|_| hour.add(&minute(1), 1));
        (0..*minutes).for_each(|_| hour.add(&minute(2), 1));
        judge_latency(&Statistics::from(&minute(2)), &Statistics::from(&hour), &limits).exceeds
    };
    let usual = (0..=60).find(|minutes| !exceeds(minutes));
    println!("twice the latency is the last hour's usual after {usual:?} min");
    assert!(usual.is_some_and(|minutes| (5..=31).contains(&minutes)), "{usual:?}");
}

#[test]
fn every_answer_about_a_gap_has_its_reason() {
    use MissingPolicy::{Alarm, Hold, Zero};
    let limits = MissingLimits::default();
    let table = [
        (Zero, Some(7), 0, Some(7), false, false, "present"),
        (Zero, Some(7), 1, Some(0), false, false, "counted_as_zero"),
        (Hold, Some(7), 60, Some(7), false, false, "held"),
        (Hold, Some(7), 61, None, false, true, "unknown"),
        (Alarm, Some(7), 2, None, false, true, "late"),
        (Alarm, Some(7), 3, None, true, true, "missing_data"),
        (Alarm, None, 3, None, false, false, "never_seen"),
    ];
    for (policy, last, missed, value, fires, exceeds, reason) in table {
        let answer = judge_missing(policy, last, missed, &limits);
        let judgement = answer.judgement;
        let seen = (answer.value, judgement.fires, judgement.exceeds, judgement.reason);
        assert_eq!(seen, (value, fires, exceeds, reason), "{policy:?} {last:?} {missed}");
    }
    assert_eq!(serde_json::to_string(&[Zero, Hold, Alarm]).unwrap(), r#"["zero","hold","alarm"]"#);
}

fn restarted<T: Serialize + DeserializeOwned>(state: &T) -> T {
    serde_json::from_str(&serde_json::to_string(state).unwrap()).unwrap()
}

fn share((requests, errors): (i64, i64)) -> Share {
    Share { errors, requests }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A state that was written and read at any moment goes on as the one that was not.
    #[test]
    fn a_restart_changes_nothing(
        samples in prop::collection::vec((0i64..3_000, any::<i32>()), 1..300),
        minutes in prop::collection::vec(((0i64..500, 0i64..20), (0i64..5_000, 0i64..50)), 1..100),
        at in 0usize..100,
    ) {
        let limits = CanaryLimits::default();
        let (mut whole, mut broken) = (Canary::default(), Canary::default());
        for (index, (canary, others)) in minutes.iter().enumerate() {
            broken = if index == at { restarted(&broken) } else { broken };
            whole.take(share(*canary), share(*others), &limits);
            broken.take(share(*canary), share(*others), &limits);
            prop_assert_eq!(&whole, &broken);
            prop_assert_eq!(whole.evidence_nano_nats(), broken.evidence_nano_nats());
        }
        let (mut leak, mut forecast, mut flap) = (Leak::default(), Forecast::default(), Flap::default());
        let mut at_us = 0;
        for (step_s, value) in &samples {
            at_us += step_s * 1_000_000;
            leak.take(at_us, i64::from(*value));
            forecast.take(at_us, i64::from(*value));
            flap.fire(at_us, &FlapLimits::default());
        }
        prop_assert_eq!(restarted(&leak), leak.clone());
        prop_assert_eq!(restarted(&forecast), forecast);
        prop_assert_eq!(restarted(&flap), flap);
    }

    /// Whatever comes, in whatever order: an answer, and no more memory than the bound.
    #[test]
    fn any_samples_have_an_answer(samples in prop::collection::vec((any::<i64>(), any::<i64>()), 1..60), limit in any::<i64>()) {
        let (mut leak, mut forecast, mut flap) = (Leak::default(), Forecast::default(), Flap::default());
        let mut canary = Canary::default();
        for (at_us, value) in samples {
            leak.take(at_us, value);
            forecast.take(at_us, value);
            flap.fire(at_us, &FlapLimits::default());
            canary.take(share((at_us, value)), share((value, at_us)), &CanaryLimits::default());
            canary.judge(&CanaryLimits::default());
            leak.judge(limit, &LeakLimits::default());
            judge_forecast(forecast.last_milli(), &forecast.next(&ForecastLimits::default()), limit);
        }
        prop_assert!(serde_json::to_string(&leak).unwrap().len() < 2 * 96 * 20 + 300);
        prop_assert!(serde_json::to_string(&forecast).unwrap().len() < 288 * 20 + 300);
        prop_assert!(serde_json::to_string(&flap).unwrap().len() < 64 * 21 + 200);
        prop_assert!(serde_json::to_string(&canary).unwrap().len() < 500);
    }

    /// The slope is the median of all pairwise ones, and the test is Mann and Kendall's: both from their definitions.
    #[test]
    fn a_trend_is_what_the_definitions_say(rise in 0i64..30_000, noise in prop::collection::vec(0i64..40_000, 24)) {
        let mut leak = Leak::default();
        let values: Vec<i64> = noise.iter().enumerate().map(|(at, noise)| 100_000 + rise * at as i64 + noise).collect();
        for (at, value) in values.iter().chain([&0]).enumerate() {
            leak.take(at as i64 * 1_800_000_000, *value);
        }
        let found = leak.judge(1 << 40, &LeakLimits::default());
        let (slope, deviations) = by_definition(&values);
        if found.judgement.reason == "far_from_limit" && deviations >= 3.6 {
            prop_assert!((found.slope_milli_per_hour as f64 - 2.0 * slope).abs() <= 1.0, "{found:?} {slope}");
            prop_assert_eq!(found.deviations_tenths, (deviations * 10.0 + 1e-9).floor() as i64);
        }
        prop_assert_eq!(deviations >= 3.6, deviations >= 3.6 && found.judgement.exceeds);
    }
}

/// Theil and Sen's slope of the values, and Mann and Kendall's deviations without the largest step, in floating point.
fn by_definition(values: &[i64]) -> (f64, f64) {
    let pairs = |values: &[f64]| -> Vec<(f64, f64)> {
        let count = values.len();
        let every = (0..count).flat_map(|first| (first + 1..count).map(move |second| (first, second)));
        every.map(|(first, second)| (values[second] - values[first], (second - first) as f64)).collect()
    };
    let values: Vec<f64> = values.iter().map(|value| *value as f64).collect();
    let mut slopes: Vec<f64> = pairs(&values).iter().map(|(rise, run)| rise / run).collect();
    slopes.sort_by(f64::total_cmp);
    let middle = slopes.len() / 2;
    let step_at =
        (1..values.len()).rev().max_by(|a, b| (values[*a] - values[*a - 1]).total_cmp(&(values[*b] - values[*b - 1])));
    let step_at = step_at.unwrap();
    let step = values[step_at] - values[step_at - 1];
    let lowered: Vec<f64> = (0..values.len()).map(|at| values[at] - if at >= step_at { step } else { 0.0 }).collect();
    let excess: f64 = pairs(&lowered).iter().map(|(rise, _)| if *rise == 0.0 { 0.0 } else { rise.signum() }).sum();
    let count = values.len() as f64;
    // One pair of equal values, the two at the step.
    let ties = 2.0 * 1.0 * 9.0;
    let variance = (count * (count - 1.0) * (2.0 * count + 5.0) - ties) / 18.0;
    ((slopes[middle - 1] + slopes[middle]) / 2.0, excess.signum() * (excess.abs() - 1.0).max(0.0) / variance.sqrt())
}
