//! What `cargo bench --bench scenarios` measures, in short: what detection holds today, and the ruler it is held to.

#[path = "../benches/scenarios/simulation/mod.rs"]
#[expect(dead_code, reason = "the bench uses more of it")]
mod simulation;

#[path = "../benches/scenarios/peers.rs"]
mod peers;

use serde_json::json;
use simulation::catalogue::SCENARIOS;
use simulation::drive::Run;
use simulation::incidents::Incidents;
use simulation::score::{Alert, Score, Worth, score, worth};
use simulation::traffic::Traffic;
use simulation::world::{DAY_S, HOUR_S, Kind, MINUTE_S, START_US, World};

fn world(name: &str, seed: u64) -> World {
    let scenario = SCENARIOS.iter().find(|scenario| scenario.name == name).expect("a scenario of this name");
    (scenario.make)(seed)
}

fn run(world: &World) -> Run {
    simulation::drive::run(world, &mut |_| {})
}

fn scored(name: &str, seed: u64) -> (Run, Score) {
    let world = world(name, seed);
    let run = run(&world);
    let score = score(&run.alerts, &world);
    assert_eq!(run.rejected, 0, "every record is an event");
    (run, score)
}

#[test]
fn a_calm_day_has_no_incident() {
    let mut world = world("calm-dispersed", 11);
    world.seconds = DAY_S;
    let run = run(&world);
    assert!(run.requests > 800_000, "{} requests", run.requests);
    assert!(!run.usual.is_empty(), "its baselines were said");
    assert!(run.alerts.is_empty(), "{:?}", run.alerts);
}

#[test]
fn a_burst_is_found_within_seconds_and_is_one_incident() {
    for seed in 1..=2 {
        let (run, score) = scored("burst", seed);
        let world = world("burst", seed);
        for alerts in [peers::static_thresholds(&world, &run), peers::burn_rates(&world, &run)] {
            let [alert] = alerts.as_slice() else { panic!("the peers find it once: {alerts:?}") };
            let truth = &world.truth[0];
            assert!(
                (truth.from_s..truth.to_s + 2 * MINUTE_S).contains(&alert.at_s) && alert.at_s % 60 == 0,
                "{alert:?}"
            );
            assert!(alert.end_s >= Some(truth.to_s + 4 * MINUTE_S), "it goes on for a while: {alert:?}");
        }
        assert_eq!((score.found, score.once, score.wrong), (1, 1, 0), "seed {seed}: {:?}", run.alerts);
        assert!(score.delays_s[0] <= 10, "seed {seed}: {} s", score.delays_s[0]);
    }
}

#[test]
fn a_step_in_latency_or_errors_is_found_and_nothing_else_is_said() {
    for name in ["step-latency", "step-errors"] {
        let (run, score) = scored(name, 1);
        assert_eq!((score.found, score.rooted, score.wrong), (1, 1, 0), "{name}: {:?}", run.alerts);
        assert!(score.delays_s[0] <= 90, "{name}: {} s", score.delays_s[0]);
    }
}

#[test]
fn a_seed_gives_the_same_again_and_another_one_does_not() {
    let said = |seed| {
        let mut world = world("dead-node", seed);
        world.seconds = 100 * MINUTE_S;
        let run = run(&world);
        (run.requests, format!("{:?} {:?}", run.alerts, run.verdicts))
    };
    let (first, again, other) = (said(5), said(5), said(6));
    assert_eq!(first, again);
    assert_ne!(first.0, other.0);
}

/// Mean and variance of the counts per ten seconds of a service.
fn counts(name: &str) -> (f64, f64) {
    let world = world(name, 3);
    let mut traffic = Traffic::new(&world, 0);
    let (mut counts, mut open) = (Vec::new(), 0);
    for at_s in 0..6 * HOUR_S {
        traffic.second(&world.services[0], at_s, &[], |_| open += 1);
        if at_s % 10 == 9 {
            counts.push(f64::from(std::mem::take(&mut open)));
        }
    }
    let mean = counts.iter().sum::<f64>() / counts.len() as f64;
    (mean, counts.iter().map(|count| (count - mean).powi(2)).sum::<f64>() / counts.len() as f64)
}

#[test]
fn counts_scatter_as_they_are_said_to() {
    let (mean, variance) = counts("calm");
    assert!((mean - 80.0).abs() < 1.0, "Poisson at 8 a second: {mean}");
    assert!((0.9..1.1).contains(&(variance / mean)), "Poisson: {}", variance / mean);
    let (mean, variance) = counts("calm-dispersed");
    assert!((mean - 80.0).abs() < 3.0, "dispersed at 8 a second: {mean}");
    // Twice from threes, and 6 % of 80 squared from the rate's own way.
    assert!((1.9..2.7).contains(&(variance / mean)), "dispersed: {}", variance / mean);
}

#[test]
fn every_fault_begins_after_an_hour_of_quiet_and_ends_within_its_run() {
    for scenario in &SCENARIOS {
        let world = (scenario.make)(2);
        let quiet_s = if scenario.name == "outage-400" { 12 * MINUTE_S } else { HOUR_S };
        for truth in world.truth.iter().filter(|truth| truth.kind == Kind::Fault) {
            assert!(truth.from_s >= quiet_s, "{}: {}", scenario.name, truth.from_s);
            assert!(truth.to_s + truth.grace_s < world.seconds, "{}: {}", scenario.name, truth.to_s);
        }
    }
}

#[test]
fn alerts_are_right_within_a_fault_and_its_grace_excused_where_they_may_be_and_else_false() {
    let mut world = world("step-errors", 1);
    let (from_s, to_s) = (world.truth[0].from_s, world.truth[0].to_s);
    world.excuse(1, "may be", (100, 200)).over_by_s = Some(300);
    let alert = |root: &str, at_s, end_s| Alert {
        root: root.to_owned(),
        names: Vec::new(),
        at_s,
        end_s: Some(end_s),
        pages: 1,
        merged: false,
        rule: String::new(),
        evidence: String::new(),
    };
    let cases = [
        (alert("checkout", from_s, to_s), Worth::Right(0)),
        (alert("checkout", to_s + 119, to_s + 200), Worth::Right(0)),
        (alert("checkout", to_s + 120, to_s + 200), Worth::False),
        (alert("checkout", from_s - 1, to_s), Worth::False),
        (alert("cart", from_s, to_s), Worth::False),
        (Alert { names: vec!["checkout".to_owned()], ..alert("", from_s, to_s) }, Worth::Right(0)),
        (alert("search", 100, 300), Worth::Excused),
        (alert("search", 100, 301), Worth::False),
        (alert("search", 200, 201), Worth::False),
    ];
    for (alert, expected) in &cases {
        assert_eq!(worth(alert, &world), *expected, "{alert:?}");
    }
    let alerts = cases.into_iter().map(|(alert, _)| alert).collect::<Vec<_>>();
    let score = score(&alerts, &world);
    assert_eq!((score.faults, score.found, score.right, score.once), (1, 1, 3, 0));
    assert_eq!((score.excused, score.wrong, score.pages), (1, 5, 9));
    assert_eq!((score.precision(), score.delay_s(50)), (Some(3.0 / 8.0), Some(0)));
}

#[test]
fn incidents_are_gathered_as_they_are_amended_and_merged() {
    let said = |id: &str, state: &str, service: &str, at_s: i64| {
        let cause = json!({"detector": "latency", "key": {"service": service, "node": "n1"}, "evidence": "seen"});
        let at_us = START_US + at_s * 1_000_000;
        json!({"incident_id": id, "state": state, "service": service, "at_us": at_us, "cause": cause})
    };
    let mut plain = Incidents::default();
    for (state, at_s) in [("open", 10), ("update", 20), ("resolved", 30)] {
        plain.hear(&said("INC-1", state, "cart", at_s));
    }
    let [alert] = plain.alerts.as_slice() else { panic!("{:?}", plain.alerts) };
    assert_eq!((alert.at_s, alert.end_s, alert.pages, alert.merged), (10, Some(30), 1, false));
    assert_eq!((alert.root.as_str(), alert.rule.as_str()), ("cart", "latency of node, service"));

    let mut rich = Incidents::default();
    let with = |mut said: serde_json::Value, notify: bool| {
        said["notify"] = json!(notify);
        said["services"] = json!(["cart", "ledger"]);
        said["victims"] = json!(["search"]);
        said["shared"] = json!([{"dimension": "region", "value": "zone-1"}]);
        said
    };
    rich.hear(&with(said("INC-1", "open", "cart", 10), true));
    rich.hear(&with(said("INC-2", "open", "ledger", 11), false));
    rich.hear(&with(said("INC-2", "merged", "ledger", 12), false));
    rich.hear(&with(said("INC-1", "update", "ledger", 12), true));
    let [first, second] = rich.alerts.as_slice() else { panic!("{:?}", rich.alerts) };
    assert_eq!((first.pages, second.pages, first.root.as_str()), (2, 0, "ledger"));
    assert!(second.merged && !first.merged && second.end_s == Some(12));
    assert!(first.names.contains(&"zone-1".to_owned()) && !first.names.contains(&"search".to_owned()));
}
