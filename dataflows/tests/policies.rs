//! A policy that changes under load holds from the epoch that carries it, and replays identically.
#![expect(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{START_US, Traffic, digest, run};
use evenkeel_dataflows::{Applied, Batch, Changes, Output, Resume, State, TICK_US, Tuning, documents_sha256};
use evenkeel_schemas::{Command, CommandState, Control, Dataset, Detector, Mode, Partition, Topic, Verdict};

/// Requests, and between them policies: at a second, with a version and settings.
fn traffic(policies: &[(i64, u64, &str)]) -> Traffic {
    let mut traffic = Traffic::new(7, 60_000, 120);
    let partition = Partition { topic: Topic::Control, partition: 1 };
    for (offset, (second, version, settings)) in policies.iter().enumerate() {
        let event_time_us = START_US + second * TICK_US;
        let first = traffic.epochs.partition_point(|epoch| epoch.binding.now_us <= event_time_us);
        let (documents, settings) = (format!("[{version}]"), (*settings).to_owned());
        let (by, sha256) = ("ann".to_owned(), documents_sha256(&documents));
        let order = Control::ApplyPolicy { event_time_us, by, version: *version, sha256, documents, settings };
        let mut batch = Batch::new(partition);
        batch.push(offset as u64, event_time_us, &[], &serde_json::to_vec(&order).unwrap());
        traffic.epochs[first].batches.push(batch);
        for epoch in &mut traffic.epochs[first..] {
            epoch.binding.upper.0.insert(partition, offset as u64 + 1);
        }
    }
    traffic
}

/// Limits, objectives, times and modes, changed while a service fails (from second 40 to 60) and another is slow (from 70).
const CHANGES: [(i64, u64, &str); 5] = [
    (30, 1, r#"{"mode":"auto","detection":{"burst_errors":30,"missed_heartbeats":6}}"#),
    (41, 2, r#"{"mode":"suggest","detection":{"burst_errors":5,"persist":3,"of":30},"recovery":{"open_s":4}}"#),
    (41, 9, r#"{"mode":"observe"}"#),
    (55, 3, r#"{"modes":{"s2":"auto"},"recovery":{"linger_s":2,"verify_s":5},"objectives":{"*":999000}}"#),
    (75, 4, r#"{"detection":{"latency_ratio_percent":900,"persist":15,"saturated_per_mille":600}}"#),
];

fn outputs(changes: &[Changes], dataset: Dataset) -> impl Iterator<Item = &Output> {
    changes.iter().flat_map(|changes| &changes.outputs).filter(move |output| output.dataset == dataset)
}

fn kept(changes: &[Changes]) -> Vec<Applied> {
    let mut state = State::default();
    changes.iter().for_each(|changes| state.apply(&changes.outputs));
    Applied::kept_in(&state.into_records())
}

#[test]
fn changes_under_load_leave_no_trace_of_workers_and_batches() {
    let traffic = traffic(&CHANGES);
    let calm = run(&Tuning::default(), 1, 100_000, Resume::default(), &traffic.epochs);
    assert_eq!(kept(&calm).iter().map(Applied::version).collect::<Vec<_>>(), [1, 2, 3, 4]);
    for (workers, batch) in [(1, 7), (2, 1_000), (4, 333)] {
        let changes = run(&Tuning::default(), workers, batch, Resume::default(), &traffic.epochs);
        changes.iter().zip(&calm).for_each(|(after, before)| common::assert_same(after, before, workers));
        assert_eq!(digest(&changes), digest(&calm), "{workers} workers, batches of {batch}");
    }
}

#[test]
fn no_epoch_before_a_policy_knows_of_it_and_those_after_do() {
    let without = run(&Tuning::default(), 2, 500, Resume::default(), &traffic(&[]).epochs);
    for (second, settings, dataset) in [
        (45, r#"{"detection":{"burst_errors":5}}"#, Dataset::Verdicts),
        (45, r#"{"detection":{"burst_errors":900,"error_guard_per_mille":999}}"#, Dataset::Verdicts),
        (30, r#"{"recovery":{"open_s":3}}"#, Dataset::Commands),
        (30, r#"{"mode":"suggest"}"#, Dataset::Commands),
        (30, r#"{"modes":{"s2":"observe"}}"#, Dataset::Commands),
    ] {
        let traffic = traffic(&[(second, 1, settings)]);
        let with = run(&Tuning::default(), 2, 500, Resume::default(), &traffic.epochs);
        let at = with.iter().position(|changes| !kept(std::slice::from_ref(changes)).is_empty()).unwrap();
        assert_eq!(kept(&with)[0].epoch, at as u64);
        assert!(traffic.epochs[at].binding.now_us > START_US + second * TICK_US);
        let said = |all: &[Changes]| outputs(all, dataset).map(|output| output.value.clone()).collect::<Vec<_>>();
        for (after, before) in with[..at].iter().zip(&without) {
            assert_eq!(after.outputs, before.outputs, "{settings}");
        }
        if dataset == Dataset::Commands || second == 45 && settings.contains("900") {
            assert_ne!(said(&with[at..]), said(&without[at..]), "{settings}");
        }
    }
}

#[test]
fn a_restart_at_any_epoch_goes_on_bit_for_bit() {
    let traffic = traffic(&CHANGES);
    let tuning = Tuning::default();
    let calm = run(&tuning, 2, 1_000, Resume::default(), &traffic.epochs);
    for cut in (1..traffic.epochs.len()).step_by(traffic.epochs.len() / 37) {
        let resume = common::resume(&tuning, &calm[..cut]);
        let again = resume.bindings[0].epoch.0 as usize + 1;
        let rest = run(&tuning, 1 + cut % 3, 500, resume, &traffic.epochs[again..]);
        for (after, before) in rest.iter().zip(&calm[cut..]) {
            common::assert_same(after, before, cut);
        }
    }
}

/// Every policy is two entries: as it came, and what became of it; one that is refused changes nothing.
#[test]
fn what_became_of_a_policy_is_audited() {
    let changes = run(&Tuning::default(), 2, 500, Resume::default(), &traffic(&CHANGES).epochs);
    let entries = outputs(&changes, Dataset::Audit).map(|output| String::from_utf8_lossy(&output.value).into_owned());
    let of_policy = entries.filter(|entry| entry.contains("policy")).collect::<Vec<_>>();
    let count = |word: &str| of_policy.iter().filter(|entry| entry.contains(word)).count();
    assert_eq!(
        (count("apply_policy"), count("in_force"), count("refused\":\"version 9: the next one is 3")),
        (5, 4, 1)
    );
}

/// What a person ordered stands until a policy changes the mode; `s2` fails from second 40 on.
#[test]
fn an_order_stands_until_a_policy_changes_the_mode() {
    let modes = |policies: &[(i64, u64, &str)]| {
        let changes = run(&Tuning::default(), 1, 500, Resume::default(), &traffic(policies).epochs);
        let commands = outputs(&changes, Dataset::Commands).filter(|output| !output.value.is_empty());
        let commands = commands.map(|output| serde_json::from_slice::<Command>(&output.value).unwrap());
        let first = commands.into_iter().find(|it| it.service == "s2").unwrap();
        (first.mode, first.state)
    };
    // At second 20 somebody ordered `auto` for all.
    assert_eq!(modes(&[]), (Mode::Auto, CommandState::Issued));
    assert_eq!(modes(&[(30, 1, r#"{"recovery":{"futile":5}}"#)]), (Mode::Auto, CommandState::Issued));
    assert_eq!(modes(&[(30, 1, r#"{"mode":"suggest"}"#)]), (Mode::Suggest, CommandState::Proposed));
    assert_eq!(modes(&[(10, 1, r#"{"mode":"suggest"}"#)]), (Mode::Auto, CommandState::Issued));
    let twice = [(10, 1, r#"{"mode":"suggest"}"#), (30, 2, r#"{"mode":"suggest","recovery":{"futile":5}}"#)];
    assert_eq!(modes(&twice), (Mode::Auto, CommandState::Issued));
    assert_eq!(modes(&[(30, 1, r#"{"modes":{"s2":"suggest"}}"#)]), (Mode::Suggest, CommandState::Proposed));
}

/// A node is silent from second 30 to 50: when that is a finding is waited for, and waited for anew when the limit changes.
#[test]
fn what_waits_for_its_time_waits_by_the_new_limit() {
    let silent_at = |policies: &[(i64, u64, &str)]| {
        let changes = run(&Tuning::default(), 2, 500, Resume::default(), &traffic(policies).epochs);
        let verdicts = outputs(&changes, Dataset::Verdicts);
        let mut verdicts = verdicts.map(|it| serde_json::from_slice::<Verdict>(&it.value).unwrap());
        let found = verdicts.find(|it| it.detector == Detector::NodeSilent).unwrap();
        (found.at_us - START_US) / TICK_US
    };
    let usual = silent_at(&[]);
    assert!((31..=36).contains(&usual), "{usual}");
    let later = silent_at(&[(31, 1, r#"{"detection":{"missed_heartbeats":10}}"#)]);
    assert_eq!(later, usual + 7);
    let twice = [(5, 1, r#"{"detection":{"missed_heartbeats":15}}"#), (31, 2, "{}")];
    assert_eq!(silent_at(&twice), usual, "as it was started with");
}
