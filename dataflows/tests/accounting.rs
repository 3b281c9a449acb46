//! L10: every record ends in an output, a tally or a rejection with topic, partition, offset and reason.

mod common;

use common::{Dice, EpochInput, START_US, run};
use evenkeel_dataflows::{Batch, Resume, TICK_US, Tuning};
use evenkeel_schemas::{Binding, Cut, Dataset, Dimension, Epoch, Partition, Rejection, Rollup, Topic};
use std::collections::BTreeMap;

const RECORDS: u64 = 100_000;
const PARTITION: Partition = Partition { topic: Topic::Requests, partition: 3 };

/// One record in twenty is hostile.
fn payload(dice: &mut Dice, now_us: i64) -> (Vec<u8>, bool) {
    let good = |time: i64| {
        format!(
            "{{\"event_time_us\":{time},\"service\":\"s{}\",\"status\":200,\"latency_us\":{}}}",
            time % 7,
            time % 9999
        )
    };
    if dice.below(20) > 0 {
        return (good(now_us - dice.below(3_000_000) as i64).into_bytes(), true);
    }
    let text = good(now_us);
    let bytes = match dice.below(9) {
        0 => text.as_bytes()[..dice.below(text.len() as u64) as usize].to_vec(),
        1 => text.replace("200", "\"ok\"").into_bytes(),
        2 => text.replace(":\"s", &format!(":\"{}", "x".repeat(100_000))).into_bytes(),
        3 => text.replace("\"s", "\"\0").into_bytes(),
        4 => [text.as_bytes(), &[0xff, 0xfe]].concat(),
        5 => text.replacen(&now_us.to_string(), &(-now_us).to_string(), 1).into_bytes(),
        6 => good(now_us + 3600 * TICK_US).into_bytes(),
        7 => good(now_us - 7200 * TICK_US).into_bytes(),
        _ => Vec::new(),
    };
    (bytes, false)
}

#[test]
fn every_record_is_accounted_for() {
    let mut dice = Dice(0x5eed);
    let mut epochs = vec![epoch(0, START_US, 0, Vec::new())];
    let mut hostile = BTreeMap::new();
    let (mut offset, mut good) = (0, 0);
    for number in 1..=200u64 {
        let now_us = START_US + number as i64 * TICK_US / 2;
        let mut batch = Batch::new(PARTITION);
        for _ in 0..RECORDS / 200 {
            let (payload, is_good) = payload(&mut dice, now_us);
            batch.push(offset, now_us, b"", &payload);
            if is_good {
                good += 1;
            } else {
                hostile.insert(offset, payload.len());
            }
            offset += 1;
        }
        epochs.push(epoch(number, now_us, offset, vec![batch]));
    }
    // Two quiet minutes close every tick.
    epochs.push(epoch(201, START_US + 300 * TICK_US, offset, Vec::new()));
    let changes = run(&Tuning::default(), 2, 1_000, Resume::default(), &epochs);
    let outputs = changes.iter().flat_map(|changes| &changes.outputs);
    let (mut rejected, mut minutes) = (BTreeMap::new(), BTreeMap::new());
    for output in outputs {
        match output.dataset {
            Dataset::Rejections => {
                let rejection: Rejection = serde_json::from_slice(&output.value).expect("our own JSON");
                assert_eq!((rejection.at.topic, rejection.at.partition), (PARTITION.topic, PARTITION.partition));
                assert!(rejected.insert(rejection.at.offset, rejection.reason).is_none(), "rejected twice");
            }
            Dataset::Rollups => {
                let rollup: Rollup = serde_json::from_slice(&output.value).expect("our own JSON");
                if rollup.key.0.len() == 1 && rollup.key.get(Dimension::Service).is_some() {
                    minutes.insert((rollup.key.clone(), rollup.start_us), rollup.statistics.requests);
                }
            }
            _ => {}
        }
    }
    assert!(hostile.keys().eq(rejected.keys()), "{} hostile, {} rejected", hostile.len(), rejected.len());
    assert_eq!(minutes.values().sum::<i64>(), good);
    assert_eq!(good as u64 + rejected.len() as u64, RECORDS);
    let reasons = rejected.values().collect::<std::collections::BTreeSet<_>>();
    assert!(reasons.len() >= 6, "only {reasons:?}");
}

fn epoch(number: u64, now_us: i64, upper: u64, batches: Vec<Batch>) -> EpochInput {
    let upper = Cut([(PARTITION, upper)].into_iter().filter(|(_, next)| *next > 0).collect());
    EpochInput { binding: Binding { epoch: Epoch(number), now_us, resume: Epoch(0), upper }, batches }
}
