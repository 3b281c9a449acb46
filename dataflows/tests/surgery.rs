//! Law L5: a baseline with an interval excluded equals one in which the interval never happened; and maintenance is held
//! back, and leaves nothing behind.

mod common;
#[path = "common/world.rs"]
mod world;

use common::{Dice, START_US, digest};
use evenkeel_dataflows::{Changes, TICK_US};
use evenkeel_schemas::{Dataset, Decision, Detector, Verdict};
use proptest::prelude::*;
use std::ops::Range;
use world::{World, calm, order, verdicts};

fn widened(interval: &Range<i64>, slot_s: i64) -> Range<i64> {
    interval.start.div_euclid(slot_s) * slot_s..((interval.end - 1).div_euclid(slot_s) + 1) * slot_s
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// Whenever the order comes, before, in, or after the interval: what the anomaly at the end is measured against is
    /// what it would be had nobody asked for anything in the interval.
    #[test]
    fn an_excluded_interval_never_happened(
        start in 130i64..700, length in 1i64..200, given in 100i64..900, maintenance in any::<bool>(),
    ) {
        let interval = start..start + length;
        let name = if maintenance { "maintenance" } else { "exclude_from_baseline" };
        let strange = |second: i64, dice: &mut Dice, within: &Range<i64>| match second {
            1_000.. => calm(dice).into_iter().map(|(latency_us, _)| (latency_us * 9, dice.below(3) == 0)).collect(),
            _ if within.contains(&second) => {
                calm(dice).into_iter().map(|(latency_us, _)| (latency_us * 5, dice.below(4) == 0)).collect()
            }
            _ => calm(dice),
        };
        let inside = interval.clone();
        let with = World {
            seconds: 1_030,
            epoch_s: 1,
            requests: Box::new(move |second, dice| strange(second, dice, &inside)),
            orders: vec![order(name, given, &interval)],
            ..World::default()
        };
        let gone = widened(&interval, 60);
        let never = World {
            seconds: 1_030,
            epoch_s: 1,
            requests: Box::new(move |second, dice| {
                if gone.contains(&second) { Vec::new() } else { strange(second, dice, &(0..0)) }
            }),
            ..World::default()
        };
        let (with, never) = (verdicts(&with.run(1), 1_000), verdicts(&never.run(1), 1_000));
        prop_assert!(never.iter().any(|verdict| verdict.decision == Decision::Fire && verdict.detector == Detector::Latency));
        // The evidence has the numbers of the baseline.
        prop_assert_eq!(with, never);
    }
}

#[test]
fn maintenance_is_held_back_with_its_reason() {
    let interval = 300..420;
    let world = World {
        seconds: 900,
        epoch_s: 1,
        requests: Box::new(|second, dice| match second {
            300..420 => calm(dice).into_iter().map(|(latency_us, _)| (latency_us * 9, dice.below(3) > 0)).collect(),
            _ => calm(dice),
        }),
        orders: vec![order("maintenance", 250, &interval)],
        ..World::default()
    };
    let changes = world.run(1);
    let said = verdicts(&changes, 0);
    assert_eq!(said.iter().filter(|verdict| verdict.decision == Decision::Fire).count(), 0, "{said:#?}");
    for detector in [Detector::ErrorRate, Detector::Latency] {
        let held = |verdict: &Verdict| verdict.detector == detector && verdict.decision == Decision::Hold;
        assert!(said.iter().any(|verdict| held(verdict) && verdict.reason == "maintenance"), "{said:#?}");
    }
    let incidents = changes.iter().flat_map(|changes| &changes.outputs);
    assert_eq!(incidents.filter(|output| output.dataset == Dataset::Incidents).count(), 0);
    assert_eq!(digest(&changes), digest(&world.run(2)), "L1");
}

const DAY_S: i64 = 86_400;

/// A job at two every night makes everything slow for twenty minutes, a little earlier or later.
fn nightly(seconds: i64, orders: Vec<(i64, String)>) -> World {
    let requests = |second: i64, dice: &mut Dice| {
        let (night, second_of_day) = (second / DAY_S, second % DAY_S);
        let begins = 2 * 3_600 + [0, 400, -500, 300, 0][night as usize % 5];
        if !(3_600..3 * 3_600).contains(&second_of_day) || second % 2 == 0 {
            return Vec::new();
        }
        let slow = if (begins..begins + 1_200).contains(&second_of_day) { 6 } else { 1 };
        (0..4).map(|_| ((2_000 + dice.below(3_000)) * slow, false)).collect()
    };
    World { seconds, epoch_s: 5, requests: Box::new(requests), orders, ..World::default() }
}

fn fires_by_night(changes: &[Changes]) -> Vec<(i64, &'static str)> {
    let verdicts = verdicts(changes, 0).into_iter().filter(|verdict| verdict.detector == Detector::Latency);
    let mut nights = verdicts
        .filter_map(|verdict| {
            let night = (verdict.at_us - START_US) / TICK_US / DAY_S;
            match (verdict.decision, verdict.reason.as_str()) {
                (Decision::Fire, _) => Some((night, "fire")),
                (Decision::Hold, "usual_at_this_time") => Some((night, "usual")),
                _ => None,
            }
        })
        .collect::<Vec<_>>();
    nights.dedup();
    nights
}

#[test]
fn a_nightly_job_is_usual_from_its_third_night_on() {
    let changes = nightly(3 * DAY_S + DAY_S / 8, Vec::new()).run(1);
    assert_eq!(fires_by_night(&changes), [(0, "fire"), (1, "fire"), (2, "usual"), (3, "usual")]);
    // What was excluded is no precedent: it is as if the second night's job had never run.
    let second = DAY_S + 6_000..DAY_S + 9_000;
    let changes = nightly(3 * DAY_S + DAY_S / 8, vec![order("exclude_from_baseline", 2 * DAY_S, &second)]).run(2);
    assert_eq!(fires_by_night(&changes), [(0, "fire"), (1, "fire"), (2, "fire"), (3, "usual")]);
}
