//! One configuration at every rate: drops are found, steady weeks are quiet.

use crate::random::Random;
use evenkeel_detectors::{TrafficLimits, Volume, judge_traffic};
use std::collections::VecDeque;

const WEEK_MINUTES: i64 = 7 * 24 * 60;
const DAY_MINUTES: usize = 24 * 60;

/// Requests of minute `at`: `rate` a second with a day's tide of half of it.
fn expected(rate: f64, at: i64) -> f64 {
    60.0 * rate * (1.0 + 0.5 * (std::f64::consts::TAU * at as f64 / DAY_MINUTES as f64).sin())
}

/// The minutes of a week in which the rule fires, and those in which it is only held back.
fn week(rate: f64, dispersion: f64, seed: u64, cut: impl Fn(i64) -> f64) -> (Vec<i64>, i64) {
    let (mut random, limits) = (Random(seed), TrafficLimits::default());
    let (mut minutes, mut fired, mut held) = (VecDeque::new(), Vec::new(), 0);
    for at in 0..WEEK_MINUTES {
        let seen = random.count(expected(rate, at) * cut(at), dispersion);
        let ago = |from: usize, to: usize| -> i64 { minutes.iter().rev().skip(from).take(to - from).sum() };
        if minutes.len() >= 60 {
            let usual = Volume { requests: ago(0, 60), span_s: 3_600 };
            let yesterday = Volume { requests: ago(DAY_MINUTES - 31, DAY_MINUTES + 29), span_s: 3_600 };
            let season = (minutes.len() >= DAY_MINUTES + 29).then_some(yesterday);
            let judgement = judge_traffic(Volume { requests: seen, span_s: 60 }, usual, season, &limits);
            fired.extend(judgement.fires.then_some(at));
            held += i64::from(judgement.exceeds && !judgement.fires);
        }
        minutes.push_back(seen);
        if minutes.len() > DAY_MINUTES + 40 {
            minutes.pop_front();
        }
    }
    (fired, held)
}

#[test]
fn steady_weeks_are_quiet_at_any_rate() {
    for rate in [0.2, 1.0, 15.0, 200.0, 2_000.0] {
        for dispersion in [1.0, 2.0] {
            let weeks = (0..20).map(|seed| week(rate, dispersion, 77 + seed, |_| 1.0));
            let (alarms, held) = weeks.fold((0, 0), |(alarms, held), (fired, h)| (alarms + fired.len(), held + h));
            println!("{rate} requests/s, dispersion {dispersion}: {alarms} alarms, {held} held back in 20 weeks");
            assert_eq!(alarms, 0, "{rate} requests/s, dispersion {dispersion}");
        }
    }
}

#[test]
fn a_drop_by_two_fifths_is_found_at_fifteen_and_at_two_thousand() {
    for rate in [15.0, 200.0, 2_000.0] {
        for dispersion in [1.0, 2.0] {
            let mut first_minute = 0;
            for seed in 0..100 {
                let from = 2 * DAY_MINUTES as i64 + 37 * seed as i64;
                let cut = |at| if (from..from + 30).contains(&at) { 0.6 } else { 1.0 };
                let (fired, _) = week(rate, dispersion, 1_000 + seed, cut);
                let near = |at: &i64| (from..from + 30).contains(at);
                assert!(fired.iter().all(near), "{rate} requests/s, seed {seed}: {fired:?} for a drop at {from}");
                let found = fired.first().expect("a drop for half an hour is found");
                assert!(found - from < 5, "{rate} requests/s, seed {seed}: after {} min", found - from);
                first_minute += i64::from(*found == from);
            }
            println!("{rate} requests/s, dispersion {dispersion}: 100 of 100, {first_minute} in the first minute");
            assert!(first_minute >= 90, "{rate} requests/s, dispersion {dispersion}: {first_minute}");
        }
    }
}
