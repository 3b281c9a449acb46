//! Seeded traffic, and runs of it.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "tests")]

use evenkeel_dataflows::{Batch, Changes, Engine, FUTURE_TOLERANCE_US, Resume, State, TICK_US, Tuning};
use evenkeel_schemas::{Binding, Cut, Epoch, Partition, Topic};
use sha2::{Digest, Sha256};
use std::time::Duration;

/// 2026-01-01T00:00:00Z, µs.
pub const START_US: i64 = 1_767_225_600_000_000;

/// SplitMix64 (Steele, Lea, Flood 2014).
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.roll() % bound
    }
}

/// One epoch: its records by partition, and its binding.
pub struct EpochInput {
    pub binding: Binding,
    pub batches: Vec<Batch>,
}

/// Requests with faults, late ones, malformed ones, heartbeats, telemetry, database changes and orders.
pub struct Traffic {
    pub epochs: Vec<EpochInput>,
}

impl Traffic {
    pub fn new(seed: u64, requests: u64, seconds: i64) -> Self {
        let mut dice = Dice(seed);
        let mut traffic = Self { epochs: Vec::new() };
        let mut upper = Cut::default();
        let tuning = Tuning::default();
        traffic.close(&tuning, START_US, &mut upper, Vec::new());
        let (mut now_us, end_us, mut sent) = (START_US, START_US + seconds * TICK_US, 0);
        while now_us < end_us {
            let step_us = [3_000, 40_000, 250_000, 900_000][dice.below(4) as usize];
            let until_us = (now_us + step_us).min(end_us);
            let due = (i128::from(requests) * i128::from(until_us - START_US) / i128::from(end_us - START_US)) as u64;
            let mut batches = Vec::new();
            for topic in Topic::ALL {
                for partition in 0..if topic == Topic::Requests { 3 } else { 1 } {
                    batches.push(Batch::new(Partition { topic, partition }));
                }
            }
            for _ in sent..due {
                let event_us = now_us + dice.below((until_us - now_us).max(1) as u64) as i64;
                let partition = dice.below(3) as usize;
                let payload = request(&mut dice, event_us, (event_us - START_US) / TICK_US);
                push(&mut batches[partition], &upper, event_us, &[], &payload);
            }
            sent = due;
            side_topics(&mut dice, &mut batches, &upper, now_us, until_us);
            now_us = until_us;
            traffic.close(&tuning, now_us, &mut upper, batches);
        }
        traffic
    }

    fn close(&mut self, tuning: &Tuning, now_us: i64, upper: &mut Cut, batches: Vec<Batch>) {
        for batch in batches.iter().filter(|batch| !batch.is_empty()) {
            upper.0.insert(batch.partition, batch.next_offset().unwrap());
        }
        let resume = resume_epoch(tuning, now_us, &self.epochs);
        let binding = Binding { epoch: Epoch(self.epochs.len() as u64), now_us, resume, upper: upper.clone() };
        let batches = batches.into_iter().filter(|batch| !batch.is_empty()).collect();
        self.epochs.push(EpochInput { binding, batches });
    }
}

/// From which of the epochs before one that closes at `now_us` a restart after it reads again.
pub fn resume_epoch(tuning: &Tuning, now_us: i64, before: &[EpochInput]) -> Epoch {
    let open_us = tuning.oldest_open_tick(now_us) * TICK_US - FUTURE_TOLERANCE_US;
    let early = before.iter().rev().find(|epoch| epoch.binding.now_us <= open_us);
    early.map_or(Epoch(0), |epoch| epoch.binding.epoch)
}

fn push(batch: &mut Batch, upper: &Cut, timestamp_us: i64, key: &[u8], payload: &[u8]) {
    let offset = batch.next_offset().unwrap_or_else(|| upper.next_offset(batch.partition));
    batch.push(offset, timestamp_us, key, payload);
}

fn request(dice: &mut Dice, event_us: i64, second: i64) -> Vec<u8> {
    match dice.below(1000) {
        0..10 => return b"{\"event_time_us\":12,\"service\":\"".to_vec(),
        10..15 => return vec![0xff, 0, 1, 2],
        _ => {}
    }
    let late_us = match dice.below(100) {
        0..3 => dice.below(50_000_000) as i64,
        3 => 4_000_000_000,
        _ => 0,
    };
    let (service, node) = (dice.below(6), dice.below(3));
    let failing = service == 2 && (40..60).contains(&second);
    let status = if (failing && dice.below(10) < 7) || dice.below(500) == 0 { 503 } else { 200 };
    let slow = if service == 4 && second >= 70 { 4 } else { 1 };
    let latency = (1_000 + dice.below(4_000) + dice.below(100).pow(2)) * slow;
    let event_time_us = event_us - late_us;
    format!(
        "{{\"event_time_us\":{event_time_us},\"service\":\"s{service}\",\"route\":\"/r{}\",\"node\":\"n{node}\",\
         \"status\":{status},\"latency_us\":{latency},\"version\":\"v{}\",\"region\":\"eu\",\"extra\":[1]}}",
        dice.below(5),
        dice.below(2)
    )
    .into_bytes()
}

fn side_topics(dice: &mut Dice, batches: &mut [Batch], upper: &Cut, from_us: i64, to_us: i64) {
    let mut second_us = (from_us - 1).div_euclid(TICK_US) * TICK_US + TICK_US;
    while second_us < to_us {
        let second = (second_us - START_US) / TICK_US;
        for node in 0..3 {
            let silent = node == 1 && (30..50).contains(&second);
            let beat = format!("{{\"event_time_us\":{second_us},\"node\":\"n{node}\",\"service\":\"s1\"}}");
            if !silent {
                push(&mut batches[4], upper, second_us, &[], beat.as_bytes());
            }
            let used = (10 * second).min(980);
            let gauge = format!(
                "{{\"event_time_us\":{second_us},\"node\":\"n{node}\",\"service\":\"s3\",\"kind\":\"gauge\",\
                 \"name\":\"pool.used\",\"value\":{used},\"limit\":1000}}"
            );
            push(&mut batches[3], upper, second_us, &[], gauge.as_bytes());
        }
        let change = format!(
            "{{\"before\":null,\"after\":{{\"id\":{second}}},\"op\":\"c\",\"source\":{{\"db\":\"app\",\"table\":\"t\",\
             \"ts_us\":{second_us}}}}}"
        );
        push(&mut batches[5], upper, second_us, format!("{{\"id\":{}}}", dice.below(9)).as_bytes(), change.as_bytes());
        if second == 20 {
            let order = format!(
                "{{\"order\":\"set_mode\",\"event_time_us\":{second_us},\"by\":\"ann\",\"service\":\"*\",\"mode\":\"auto\"}}"
            );
            push(&mut batches[6], upper, second_us, &[], order.as_bytes());
        }
        if second == 24 {
            let orders = [
                "\"order\":\"retire_node\",\"service\":\"s9\",\"node\":\"n9\"",
                "\"order\":\"kill_switch\",\"engaged\":false",
            ];
            for order in orders {
                let order = format!("{{{order},\"event_time_us\":{second_us},\"by\":\"ann\"}}");
                push(&mut batches[6], upper, second_us, &[], order.as_bytes());
            }
            let outcome = format!(
                "{{\"event_time_us\":{second_us},\"command_id\":\"c\",\"service\":\"s1\",\"status\":\"failed\"}}"
            );
            push(&mut batches[7], upper, second_us, &[], outcome.as_bytes());
        }
        if second % 8 == 5 {
            let (event_type, row) = (["finding", "access", "erasure"][(second / 8 % 3) as usize], second / 40);
            let event = format!(
                "{{\"event_type\":\"{event_type}\",\"event_time_us\":{second_us},\"op\":\"tamper\",\
                 \"actor\":\"ann\",\"entity\":\"row {row}\"}}"
            );
            push(&mut batches[8], upper, second_us, &[], event.as_bytes());
        }
        second_us += TICK_US;
    }
}

/// Runs epochs through an engine, records cut into batches of at most `size`.
pub fn run(tuning: &Tuning, workers: usize, size: usize, resume: Resume, epochs: &[EpochInput]) -> Vec<Changes> {
    let warm = resume.bindings.last().map(|binding| binding.epoch);
    let mut engine = Engine::new(tuning, workers, resume);
    let mut all = Vec::new();
    for epoch in epochs {
        for batch in &epoch.batches {
            let mut part = Batch::new(batch.partition);
            for record in batch.iter() {
                part.push(record.at.offset, record.timestamp_us, record.key, record.payload);
                if part.len() >= size {
                    engine.push(std::mem::replace(&mut part, Batch::new(batch.partition))).unwrap();
                }
            }
            engine.push(part).unwrap();
        }
        engine.close(epoch.binding.clone()).unwrap();
        while engine.in_flight() > 8 {
            all.push(finished(&mut engine));
        }
    }
    while engine.in_flight() > 0 {
        all.push(finished(&mut engine));
    }
    assert!(all.iter().all(|changes| Some(changes.binding.epoch) > warm));
    all
}

/// What a restart after `committed` goes on from.
pub fn resume(_tuning: &Tuning, committed: &[Changes]) -> Resume {
    let mut state = State::default();
    committed.iter().for_each(|changes| state.apply(&changes.outputs));
    let last = &committed.last().unwrap().binding;
    let bindings = committed.iter().map(|changes| changes.binding.clone());
    let bindings = bindings.filter(|binding| binding.epoch >= last.resume).collect();
    Resume { state: state.into_records(), bindings }
}

/// One hash over everything that was said.
pub fn digest(all: &[Changes]) -> String {
    let mut hash = Sha256::new();
    for changes in all {
        hash.update(changes.binding.epoch.0.to_le_bytes());
        for output in &changes.outputs {
            hash.update([output.dataset as u8]);
            hash.update(output.partition.to_le_bytes());
            for bytes in [&output.key, &output.value] {
                hash.update((bytes.len() as u64).to_le_bytes());
                hash.update(bytes);
            }
        }
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn assert_same(after: &Changes, before: &Changes, cut: usize) {
    if after == before {
        return;
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    for (name, side) in [("after", after), ("before", before)] {
        for o in &side.outputs {
            eprintln!("{name} {:?} {} {}", o.dataset, text(&o.key), text(&o.value));
        }
    }
    for (a, b) in after.outputs.iter().zip(&before.outputs) {
        assert!(
            a == b,
            "restart after {cut}, epoch {:?}:\n{:?} {} {}\n{:?} {} {}",
            after.binding.epoch,
            a.dataset,
            text(&a.key),
            text(&a.value),
            b.dataset,
            text(&b.key),
            text(&b.value)
        );
    }
    assert_eq!(after.outputs.len(), before.outputs.len(), "restart after {cut}, epoch {:?}", after.binding.epoch);
    assert_eq!(after, before);
}

/// The changes of the next epoch.
pub fn finished(engine: &mut Engine) -> Changes {
    let patient = std::iter::repeat_with(|| engine.wait(Duration::from_millis(100)).unwrap()).take(10_000);
    patient.flatten().next().expect("an epoch takes less than that")
}

/// Those of a test, or the one that is asked for.
pub fn seeds(default: std::ops::Range<u64>) -> Vec<u64> {
    #[expect(clippy::disallowed_methods, reason = "a test may be told its seed")]
    match std::env::var("EVENKEEL_SEED") {
        Ok(seed) => vec![seed.parse().expect("EVENKEEL_SEED is a number")],
        Err(_) => default.collect(),
    }
}
