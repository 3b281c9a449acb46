//! A key that found no place is taken in as soon as one is free, whichever worker named it and however long ago.
#![expect(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{EpochInput, START_US, digest, run};
use evenkeel_dataflows::{Batch, Resume, SHARDS, TICK_US, Tuning};
use evenkeel_schemas::{Binding, Cut, Dataset, Dimension, Epoch, Key, Partition, Topic};

fn key(service: &str) -> Key {
    Key::new([(Dimension::Service, service)])
}

/// Three services whose keys are in one shard.
fn neighbours() -> [String; 3] {
    let shard = |service: &str| key(service).id().0 % SHARDS;
    let mut names = (0..1_000).map(|n| format!("s{n}")).filter(|name| shard(name) == shard("s0"));
    [(); 3].map(|()| names.next().unwrap())
}

/// Two services speak once; the third one from just before they are forgotten, every 300 ms, on two partitions by turns.
/// It begins `phase` epochs late: names are remembered by the second, and it shall be forgotten at each part of one.
fn epochs([first, second, third]: &[String; 3], phase: i64) -> Vec<EpochInput> {
    let mut epochs = Vec::new();
    let mut upper = Cut::default();
    let mut close = |now_us: i64, said: Option<(&str, u32)>| {
        let batches = said.map(|(service, partition)| {
            let partition = Partition { topic: Topic::Requests, partition };
            let (mut batch, offset) = (Batch::new(partition), upper.next_offset(partition));
            let payload = format!(
                "{{\"event_time_us\":{now_us},\"service\":\"{service}\",\"status\":200,\"latency_us\":{}}}",
                900 + offset
            );
            batch.push(offset, now_us, &[], payload.as_bytes());
            upper.0.insert(partition, offset + 1);
            batch
        });
        let binding = Binding { epoch: Epoch(epochs.len() as u64), now_us, resume: Epoch(0), upper: upper.clone() };
        epochs.push(EpochInput { binding, batches: batches.into_iter().collect() });
    };
    close(START_US, None);
    close(START_US + 1_000, Some((first, 0)));
    close(START_US + 2_000, Some((second, 0)));
    for step in 0..500 {
        close(START_US + 3_590 * TICK_US + step * 300_000, (step >= phase).then_some((third, step as u32 / 2 % 2)));
    }
    epochs
}

#[test]
fn who_found_no_place_is_taken_in_when_one_is_free() {
    let services = neighbours();
    // Two places a shard, and the key for those that find none takes one when it is needed.
    let max_keys = 2 * SHARDS as usize;
    let tuning = Tuning { key_sets: vec![vec![Dimension::Service]], max_keys, ..Tuning::default() };
    for phase in 0..5 {
        let epochs = epochs(&services, phase);
        let all = run(&tuning, 1, 100, Resume::default(), &epochs);
        let record = |service: &str| format!("key/{}", key(service).id()).into_bytes();
        let said = |service: &str, gone: bool| {
            let says = |output: &evenkeel_dataflows::Output| {
                output.dataset == Dataset::State && output.key == record(service) && output.value.is_empty() == gone
            };
            all.iter().position(|changes| changes.outputs.iter().any(says))
        };
        let (left, taken_in) = (said(&services[1], true).unwrap(), said(&services[2], false).unwrap());
        assert_eq!(taken_in, left + 1, "the place was free from epoch {left} on");
        for (workers, size) in [(2, 100), (4, 1)] {
            assert_eq!(
                digest(&run(&tuning, workers, size, Resume::default(), &epochs)),
                digest(&all),
                "{workers} workers"
            );
        }
    }
}

#[test]
fn a_tenant_with_a_name_that_is_too_long_is_counted_as_none() {
    let partition = Partition { topic: Topic::Requests, partition: 0 };
    let mut batch = Batch::new(partition);
    for (offset, bytes) in [(0, 256), (1, 257)] {
        let payload = format!(
            "{{\"event_time_us\":{START_US},\"service\":\"s\",\"tenant\":\"{}\",\"status\":200,\"latency_us\":900}}",
            "t".repeat(bytes)
        );
        batch.push(offset, START_US, &[], payload.as_bytes());
    }
    let upper = Cut([(partition, 2)].into());
    let epoch = |number, batches| EpochInput {
        binding: Binding {
            epoch: Epoch(number),
            now_us: START_US + number as i64,
            resume: Epoch(0),
            upper: upper.clone(),
        },
        batches,
    };
    let tuning = Tuning { key_sets: vec![vec![Dimension::Service, Dimension::Tenant]], ..Tuning::default() };
    let all = run(&tuning, 1, 100, Resume::default(), &[epoch(0, Vec::new()), epoch(1, vec![batch])]);
    for tenant in ["t".repeat(256), String::new()] {
        let id = Key::new([(Dimension::Service, "s"), (Dimension::Tenant, &tenant)]).id();
        let record = format!("key/{id}").into_bytes();
        assert!(all.iter().flat_map(|changes| &changes.outputs).any(|it| it.key == record), "{} bytes", tenant.len());
    }
}
