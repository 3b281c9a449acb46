//! L2: whatever a service does, and whenever it restarts, the same is said and kept as without the restart.
#![expect(clippy::unwrap_used, reason = "tests")]

mod common;
#[path = "common/world.rs"]
mod world;

use common::{Dice, EpochInput, START_US, assert_same, resume, resume_epoch, run, seeds};
use evenkeel_dataflows::{Batch, Resume, TICK_US, Tuning, documents_sha256};
use evenkeel_schemas::{Binding, Control, Cut, Epoch, Partition, Topic};
use world::{World, order};

/// How long a world lasts, s.
const LASTS_S: i64 = 400;

/// What a service does for a while.
struct Phase {
    until_s: i64,
    /// A second in so many has requests, so many.
    every_s: u64,
    requests: u64,
    /// Of a thousand of them so many fail.
    failing: u64,
    latency_us: u64,
}

/// Intervals that are excluded or in which nothing is to be said, and limits that change.
fn orders(dice: &mut Dice) -> Vec<(i64, String)> {
    let interval = |dice: &mut Dice| {
        let (name, given) = (["maintenance", "exclude_from_baseline"][dice.below(2) as usize], dice.below(400) as i64);
        let (from, lasts) = (given - 100 + dice.below(150) as i64, 1 + dice.below(120) as i64);
        order(name, given, &(from..from + lasts))
    };
    let mut orders = (0..dice.below(3)).map(|_| interval(dice)).collect::<Vec<_>>();
    if dice.below(2) == 0 {
        let second = dice.below(LASTS_S as u64) as i64;
        let settings = [r#"{"detection":{"burst_errors":5,"min_errors":2}}"#, r#"{"detection":{"persist":5,"of":25}}"#];
        let (event_time_us, by, documents) = (START_US + second * TICK_US, "ann".to_owned(), "[]".to_owned());
        let (sha256, settings) = (documents_sha256(&documents), settings[dice.below(2) as usize].to_owned());
        let order = Control::ApplyPolicy { event_time_us, by, version: 1, sha256, documents, settings };
        orders.push((second, serde_json::to_string(&order).unwrap()));
    }
    orders
}

/// Lets requests come so many epochs later.
fn delay(epochs: &mut [EpochInput], late: impl Fn(&mut Dice) -> u64, dice: &mut Dice) {
    let requests = Partition { topic: Topic::Requests, partition: 0 };
    let mut came = vec![Vec::new(); epochs.len()];
    for (number, epoch) in epochs.iter().enumerate() {
        for record in epoch.batches.iter().filter(|batch| batch.partition == requests).flat_map(Batch::iter) {
            let comes = (number + late(dice) as usize).min(came.len() - 1);
            came[comes].push((record.timestamp_us, record.payload.to_vec()));
        }
    }
    let mut next = 0;
    for (epoch, came) in epochs.iter_mut().zip(came) {
        let mut batch = Batch::new(requests);
        for (timestamp_us, payload) in came {
            batch.push(next, timestamp_us, b"", &payload);
            next += 1;
        }
        epoch.batches.retain(|batch| batch.partition != requests);
        epoch.batches.push(batch);
        epoch.binding.upper.0.extend((next > 0).then_some((requests, next)));
    }
}

/// A service that is quiet, busy, broken and slow by turns, for less than a minute each; some of its requests are late.
fn epochs(seed: u64) -> Vec<EpochInput> {
    let mut dice = Dice(seed);
    let mut phases = Vec::<Phase>::new();
    while phases.last().is_none_or(|last| last.until_s < LASTS_S) {
        let from_s = phases.last().map_or(0, |last| last.until_s);
        let mut one_of = |values: &[u64]| values[dice.below(values.len() as u64) as usize];
        phases.push(Phase {
            every_s: one_of(&[1, 1, 3, 11]),
            requests: one_of(&[0, 1, 5, 30, 30]),
            failing: one_of(&[0, 0, 30, 150, 500, 1000]),
            latency_us: one_of(&[2_000, 2_000, 20_000]),
            until_s: from_s + 1 + dice.below(59) as i64,
        });
    }
    let requests = move |second: i64, dice: &mut Dice| {
        let phase = phases.iter().find(|phase| second < phase.until_s).unwrap();
        let has_some = dice.below(phase.every_s) == 0;
        let count = if has_some { phase.requests } else { 0 };
        let request = |dice: &mut Dice| (phase.latency_us + dice.below(3_000), dice.below(1000) < phase.failing);
        (0..count).map(|_| request(dice)).collect()
    };
    let orders = orders(&mut dice);
    let (versions, grows) = (dice.below(2) == 0, dice.below(6) as i64);
    let gauge = move |second: i64| if second % 7 == 3 { f64::NAN } else { (100 + second * grows).min(999) as f64 };
    let (requests, gauge) = (Box::new(requests), Some(Box::new(gauge) as Box<_>));
    let world = World { seconds: LASTS_S, requests, orders, versions, gauge, ..World::default() };
    // The first epoch of a log holds no records.
    let first = Binding { epoch: Epoch(0), now_us: START_US, resume: Epoch(0), upper: Cut::default() };
    let mut epochs = vec![EpochInput { binding: first, batches: Vec::new() }];
    epochs.extend(world.epochs());
    let late_per_cent = [0, 0, 5, 30][dice.below(4) as usize];
    delay(&mut epochs, |dice| if dice.below(100) < late_per_cent { 1 + dice.below(70) } else { 0 }, &mut dice);
    for number in 0..epochs.len() {
        let resume = resume_epoch(&Tuning::default(), epochs[number].binding.now_us, &epochs[..number]);
        let binding = &mut epochs[number].binding;
        (binding.epoch, binding.resume) = (Epoch(number as u64), resume);
    }
    epochs
}

fn restart(seed: u64) {
    let (tuning, epochs) = (Tuning::default(), epochs(seed));
    let calm = run(&tuning, 1, 500, Resume::default(), &epochs);
    let mut dice = Dice(seed);
    for cut in std::iter::repeat_with(|| 1 + dice.below(LASTS_S as u64) as usize).take(24) {
        let resume = resume(&tuning, &calm[..cut]);
        let again = resume.bindings[0].epoch.0 as usize;
        let rest = run(&tuning, 1 + cut % 2, 500, resume, &epochs[again..]);
        assert_eq!(rest.len(), epochs.len() - cut, "seed {seed}");
        eprintln!("seed {seed}, restart after epoch {cut}");
        rest.iter().zip(&calm[cut..]).for_each(|(after, before)| assert_same(after, before, cut));
    }
}

#[test]
fn nothing_shows_that_it_was_restarted() {
    seeds(0..12).into_iter().for_each(restart);
}

#[test]
fn nor_when_an_interval_begins_within_a_minute_without_requests() {
    [26, 255].into_iter().for_each(restart);
}
