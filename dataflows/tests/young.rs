//! A key of which little is known yet: its history goes by ten seconds, and is none until it is enough.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{START_US, finished};
use evenkeel_dataflows::{Batch, Detection, Engine, Resume, TICK_US, Tuning};
use evenkeel_schemas::{Binding, Cut, Dataset, Decision, Dimension, Epoch, Partition, Topic, Verdict};

/// When a key with 25 requests a second, four times as slow from `slow_s` on, is said to be slow, s after its start.
fn found_s(slow_s: i64) -> Option<i64> {
    let detection = Detection { persist: 4, of: 5, ..Detection::default() };
    let tuning = Tuning { key_sets: vec![vec![Dimension::Service]], detection, ..Tuning::default() };
    let mut engine = Engine::new(&tuning, 1, Resume::default());
    let (at, mut found) = (Partition { topic: Topic::Requests, partition: 0 }, None);
    let (mut upper, mut next) = (Cut::default(), 0);
    for second in 0..slow_s + 20 {
        let mut batch = Batch::new(at);
        for n in 0..25 {
            let (event_time_us, usual_us) = (START_US + (second - 1) * TICK_US + n * 40_000, 20_000 + n * 100);
            let latency_us = usual_us * if second > slow_s { 4 } else { 1 };
            let request = format!(
                "{{\"event_time_us\":{event_time_us},\"service\":\"s\",\"status\":200,\"latency_us\":{latency_us}}}"
            );
            batch.push(next, event_time_us, &[], request.as_bytes());
            next += 1;
        }
        if second > 0 {
            upper.0.insert(at, next);
            engine.push(batch).unwrap();
        }
        let (epoch, now_us) = (Epoch(second as u64), START_US + second * TICK_US);
        engine.close(Binding { epoch, now_us, resume: Epoch(0), upper: upper.clone() }).unwrap();
        let changes = finished(&mut engine);
        let verdicts = changes.outputs.iter().filter(|output| output.dataset == Dataset::Verdicts);
        let verdicts = verdicts.map(|output| serde_json::from_slice::<Verdict>(&output.value).unwrap());
        let fired = verdicts.filter(|verdict| verdict.decision == Decision::Fire).map(|verdict| verdict.at_us);
        found = found.or(fired.map(|at_us| (at_us - START_US) / TICK_US).next());
    }
    found
}

#[test]
fn twenty_seconds_are_a_history() {
    // Four slow ticks of five: the first is judged against 500 requests; the least there may be are 300.
    assert_eq!(found_s(70), Some(74));
}

#[test]
fn ten_are_none() {
    // Judged against 250 requests the first slow ticks say nothing.
    assert_eq!(found_s(68), Some(74));
}
