//! What is judged by the minute: error budgets, versions, gauges that leak or will reach their limit, signals.

mod common;
#[path = "common/world.rs"]
mod world;

use common::{Dice, START_US, assert_same, digest, resume, run};
use evenkeel_dataflows::detectors::{MissingLimits, MissingPolicy};
use evenkeel_dataflows::{Changes, Detection, Resume, TICK_US, Tuning};
use evenkeel_schemas::{Decision, Detector, Dimension, Verdict};
use world::{World, all_verdicts, calm, order};

/// Fires and clears of a detector: minute, decision, reason.
fn edges(changes: &[Changes], detector: Detector) -> Vec<(i64, Decision, String)> {
    let edges = of(changes, detector).into_iter().filter(|it| it.decision != Decision::Hold);
    edges.map(|it| ((it.at_us - START_US) / TICK_US / 60, it.decision, it.reason)).collect()
}

fn of(changes: &[Changes], detector: Detector) -> Vec<Verdict> {
    all_verdicts(changes).into_iter().filter(|it| it.detector == detector).collect()
}

#[test]
fn a_budget_that_burns_is_said_and_ends() {
    let requests = |second: i64, dice: &mut Dice| {
        let share = if (1_200..2_400).contains(&second) { 15 } else { 5_000 };
        (0..25).map(|_| (2_000 + dice.below(3_000), dice.below(share) == 0)).collect()
    };
    let objectives = [("*".to_owned(), 999_000)].into();
    let tuning = Tuning { objectives, ..Tuning::default() };
    let world = World { seconds: 3_600, epoch_s: 5, requests: Box::new(requests), tuning, ..World::default() };
    let edges = edges(&world.run(1), Detector::BudgetBurn);
    let [(fired, Decision::Fire, reason), (cleared, Decision::Clear, _)] = edges.as_slice() else {
        panic!("{edges:?}")
    };
    assert_eq!(reason, "burn_fast");
    assert!((22..32).contains(fired) && (40..50).contains(cleared), "{edges:?}");
}

/// Version 2 has so many more errors in a thousand.
fn versions(extra_per_mille: u64) -> World {
    let requests = move |second: i64, dice: &mut Dice| {
        let rest = |n: u64, dice: &mut Dice| {
            let extra = if n == 0 && second >= 900 { extra_per_mille } else { 0 };
            (2_000 + dice.below(3_000), dice.below(1_000) < 3 + extra)
        };
        (0..20).map(|n| rest(n % 10, dice)).collect()
    };
    World { seconds: 5_400, epoch_s: 5, requests: Box::new(requests), versions: true, ..World::default() }
}

#[test]
fn a_worse_version_is_found_and_an_equal_one_is_not() {
    let found = of(&versions(100).run(1), Detector::Canary);
    let first = found.iter().find(|verdict| verdict.decision == Decision::Fire).expect("ten in a hundred are found");
    assert_eq!((first.key.get(Dimension::Version), first.reason.as_str()), (Some("2"), "regressed"));
    let minute = (first.at_us - START_US) / TICK_US / 60;
    assert!((16..25).contains(&minute), "{first:?}");
    let equal = of(&versions(0).run(1), Detector::Canary);
    assert!(equal.iter().all(|verdict| verdict.decision == Decision::Hold), "{equal:?}");
}

fn gauge(seconds: i64, gauge: impl Fn(i64) -> f64 + 'static) -> World {
    let requests = |second: i64, dice: &mut Dice| if second % 600 == 0 { calm(dice) } else { Vec::new() };
    World { seconds, epoch_s: 5, requests: Box::new(requests), gauge: Some(Box::new(gauge)), ..World::default() }
}

#[test]
fn a_leak_is_found_hours_before_the_limit() {
    let sway = |second: i64| f64::from((second / 20 % 7) as i32);
    let world = gauge(8 * 3_600, move |second| 300.0 + second as f64 / 3_600.0 * 60.0 + sway(second));
    let changes = world.run(1);
    let leaks = edges(&changes, Detector::Leak);
    let Some((fired, Decision::Fire, reason)) = leaks.first() else { panic!("{leaks:?}") };
    assert!(reason == "rising_steadily" && *fired < 8 * 60, "{leaks:?}");
    let steady = gauge(8 * 3_600, move |second| 500.0 + sway(second)).run(1);
    assert_eq!(edges(&steady, Detector::Leak), []);
    assert_eq!(edges(&steady, Detector::Forecast), []);
}

#[test]
fn a_pool_that_dips_above_the_watch_line_is_said_once_and_ends_if_it_stays_there() {
    // Full from the tenth sample on, a little less for `dip` samples, full again, empty from the 70th on.
    let said = |dip: i64| {
        let shown = move |second: i64| match second / 20 {
            at if (20..20 + dip).contains(&at) => 800.0,
            10..70 => 960.0,
            _ => 300.0,
        };
        let edges = edges(&gauge(80 * 20, shown).run(1), Detector::Saturation);
        edges.into_iter().map(|(_, decision, _)| decision).collect::<Vec<_>>()
    };
    let once = [Decision::Fire, Decision::Clear];
    assert_eq!(said(8), once);
    assert_eq!(said(35), [once, once].concat());
}

#[test]
fn a_signal_is_recorded_and_pages_only_if_it_is_named() {
    let jump = |second: i64| if second < 6 * 3_600 { 200.0 + f64::from((second / 20 % 5) as i32) } else { 420.0 };
    let recorded = of(&gauge(7 * 3_600, jump).run(1), Detector::Signal);
    let memory = |verdict: &&Verdict| verdict.evidence.starts_with("memory.used_mib 420");
    assert_eq!(recorded.iter().find(memory).map(|verdict| verdict.decision), Some(Decision::Hold), "{recorded:?}");
    let detection = Detection { paging_signals: vec!["memory.used_mib".to_owned()], ..Detection::default() };
    let tuning = Tuning { detection, ..Tuning::default() };
    let said = of(&World { tuning, ..gauge(7 * 3_600, jump) }.run(1), Detector::Signal);
    assert_eq!(said.iter().find(memory).map(|verdict| verdict.decision), Some(Decision::Fire), "{said:?}");
}

/// A gauge that says nothing for half an hour after six, by what that means.
fn fallen_silent(policy: Option<MissingPolicy>) -> World {
    let feeds = policy.map(|policy| ("memory.used_mib".to_owned(), policy)).into_iter().collect();
    let missing = MissingLimits { feeds, ..MissingLimits::default() };
    let sway = |second: i64| f64::from((second / 20 % 5) as i32);
    let shown = move |second: i64| if (21_600..23_400).contains(&second) { f64::NAN } else { 300.0 + sway(second) };
    let tuning = Tuning { detection: Detection { missing, ..Detection::default() }, ..Tuning::default() };
    World { tuning, ..gauge(25_200, shown) }
}

#[test]
fn a_feed_that_falls_silent_is_what_was_said_of_it() {
    let said = |policy| edges(&fallen_silent(policy).run(1), Detector::Signal);
    let [(fired, Decision::Fire, why), (cleared, Decision::Clear, reason)] = &said(Some(MissingPolicy::Alarm))[..]
    else {
        panic!("{:?}", said(Some(MissingPolicy::Alarm)))
    };
    assert_eq!((*fired, why.as_str(), *cleared, reason.as_str()), (362, "missing_data", 390, "present"));
    assert_eq!(said(None), []);
    assert_eq!(said(Some(MissingPolicy::Hold)), []);
    let zero = of(&fallen_silent(Some(MissingPolicy::Zero)).run(1), Detector::Signal);
    assert!(zero.iter().any(|it| it.evidence.starts_with("memory.used_mib 0.000")), "{zero:?}");
}

#[test]
fn a_feed_is_not_missed_in_an_excluded_interval() {
    let world = World {
        orders: vec![order("maintenance", 600, &(21_600..23_400))],
        ..fallen_silent(Some(MissingPolicy::Alarm))
    };
    assert_eq!(edges(&world.run(1), Detector::Signal), []);
}

#[test]
fn workers_and_restarts_leave_no_trace() {
    let objectives = [("s".to_owned(), 999_000)].into();
    let feeds = [("memory.used_mib".to_owned(), MissingPolicy::Alarm)].into();
    let missing = MissingLimits { feeds, ..MissingLimits::default() };
    let detection = Detection { paging_signals: vec!["requests".to_owned()], missing, ..Detection::default() };
    let tuning = Tuning { objectives, detection, ..Tuning::default() };
    let world = World {
        seconds: 2_400,
        // Nothing is read in the minutes around the second half hour, and that pages.
        gauge: Some(Box::new(|second| match second {
            1_200..1_800 => f64::NAN,
            _ => 300.0 + second as f64 / 10.0,
        })),
        tuning: tuning.clone(),
        ..versions(400)
    };
    let epochs = world.epochs();
    let calm = run(&tuning, 1, 500, Resume::default(), &epochs);
    assert!(!of(&calm, Detector::Canary).is_empty() && !of(&calm, Detector::BudgetBurn).is_empty());
    assert!(of(&calm, Detector::Signal).iter().any(|it| it.reason == "missing_data"));
    for (workers, size) in [(2, 500), (4, 17)] {
        assert_eq!(
            digest(&calm),
            digest(&run(&tuning, workers, size, Resume::default(), &epochs)),
            "{workers} workers"
        );
    }
    for cut in [150, 251, 300, 360] {
        let after = run(&tuning, 2, 500, resume(&tuning, &calm[..cut]), &epochs);
        after.iter().zip(&calm[cut..]).for_each(|(after, before)| assert_same(after, before, cut));
        assert_eq!(after.len(), calm.len() - cut);
    }
}
