//! Hours of sparse traffic in few events: late, early, out of the horizon, with silences in which the present leaps.

use crate::common::{Dice, EpochInput, START_US};
use evenkeel_dataflows::{Batch, FUTURE_TOLERANCE_US, SHARDS, TICK_US, Tuning};
use evenkeel_schemas::{Binding, Cut, Dimension, Epoch, Key, Partition, Topic};

/// Epochs of traffic; on average they last 14 s, which makes some four hours.
const EPOCHS: usize = 1_000;

/// Longer than any window, µs.
const SILENCE_US: i64 = 6 * 3600 * TICK_US;

/// An accepted event under one of its keys.
#[derive(Clone, Debug)]
pub struct Counted {
    pub key: String,
    pub tick: i64,
    pub latency_us: u32,
    pub is_error: bool,
    pub epoch: usize,
    /// The key's shard, and its first open tick when the event came in.
    pub shard: u64,
    pub open_tick: i64,
}

/// Epochs, and what is true of them.
#[derive(Default)]
pub struct Gaps {
    pub epochs: Vec<EpochInput>,
    pub counted: Vec<Counted>,
    /// Events rejected, per epoch.
    pub rejected: Vec<usize>,
    /// The first open tick of each shard after each epoch.
    pub open_ticks: Vec<Vec<i64>>,
}

impl Gaps {
    pub fn new(seed: u64, tuning: &Tuning) -> Self {
        let (mut dice, mut gaps, mut upper) = (Dice(seed), Self::default(), Cut::default());
        let mut now_us = START_US + dice.below(3_600_000_000) as i64;
        gaps.close(tuning, now_us, &mut upper, Vec::new());
        while gaps.epochs.len() < EPOCHS {
            let before_us = now_us;
            now_us += length_us(&mut dice);
            let events = if dice.below(20) == 0 { dice.below(40) } else { dice.below(6) };
            let partitions = (0..2).map(|partition| Batch::new(Partition { topic: Topic::Requests, partition }));
            let mut batches = partitions.collect::<Vec<_>>();
            gaps.rejected.push(0);
            for _ in 0..events {
                let event_us = event_us(&mut dice, before_us, now_us);
                let batch = &mut batches[dice.below(2) as usize];
                gaps.request(&mut dice, tuning, (event_us, before_us), &upper, batch);
            }
            gaps.close(tuning, now_us, &mut upper, batches);
        }
        for leap in 1..4 {
            gaps.close(tuning, now_us + leap * SILENCE_US, &mut upper, Vec::new());
        }
        gaps
    }

    fn request(
        &mut self,
        dice: &mut Dice,
        tuning: &Tuning,
        (event_us, before_us): (i64, i64),
        upper: &Cut,
        batch: &mut Batch,
    ) {
        let service = service(dice, event_us);
        let (route, status) = (format!("/r{}", dice.below(2)), [200, 200, 404, 500][dice.below(4) as usize]);
        let latency_us = 800 + dice.below(3_000) as u32 + if dice.below(50) == 0 { 20_000 } else { 0 };
        let payload = format!(
            "{{\"event_time_us\":{event_us},\"service\":\"{service}\",\"route\":\"{route}\",\"status\":{status},\
             \"latency_us\":{latency_us}}}"
        );
        let offset = batch.next_offset().unwrap_or_else(|| upper.next_offset(batch.partition));
        batch.push(offset, event_us, &[], payload.as_bytes());

        let (tick, epoch) = (event_us.div_euclid(TICK_US), self.epochs.len());
        let oldest = (tuning.open_tick(0, before_us) - 3_600).div_euclid(60) * 60 + 60;
        if event_us > before_us + FUTURE_TOLERANCE_US || tick < oldest {
            self.rejected[epoch] += 1;
            return;
        }
        let by_service = Key::new([(Dimension::Service, service.as_str())]);
        let by_route = Key::new([(Dimension::Service, service.as_str()), (Dimension::Route, route.as_str())]);
        for key in [by_service, by_route] {
            let shard = key.id().0 % SHARDS;
            let (open_tick, key) = (tuning.open_tick(shard, before_us), key.to_json());
            self.counted.push(Counted { key, tick, latency_us, is_error: status >= 500, epoch, shard, open_tick });
        }
    }

    fn close(&mut self, tuning: &Tuning, now_us: i64, upper: &mut Cut, batches: Vec<Batch>) {
        let batches = batches.into_iter().filter(|batch| !batch.is_empty()).collect::<Vec<_>>();
        upper.0.extend(batches.iter().map(|batch| (batch.partition, batch.next_offset().unwrap())));
        let quiet_us = tuning.oldest_open_tick(now_us) * TICK_US - FUTURE_TOLERANCE_US;
        let quiet = self.epochs.iter().rev().find(|epoch| epoch.binding.now_us <= quiet_us);
        let resume = quiet.map_or(Epoch(0), |epoch| epoch.binding.epoch);
        let binding = Binding { epoch: Epoch(self.epochs.len() as u64), now_us, resume, upper: upper.clone() };
        self.open_ticks.push((0..SHARDS).map(|shard| tuning.open_tick(shard, now_us)).collect());
        self.epochs.push(EpochInput { binding, batches });
        self.rejected.resize(self.epochs.len(), 0);
    }
}

/// Which services speak changes every twenty minutes, so that keys come, go and come again.
fn service(dice: &mut Dice, event_us: i64) -> String {
    let second = event_us.div_euclid(TICK_US);
    let (hour, minute) = (second / 3_600, (second - second / 3_600 % 2 * 60).div_euclid(60) % 60);
    // Some speak in one minute of an even hour, and again just when that minute leaves the longest window.
    let again = hour % 2 == 0 || second % 60 < 6;
    if minute % 10 == 7 && again {
        return format!("h{minute}");
    }
    let era = (second / 1_200) as u64;
    format!("s{}", (era * era + dice.below(2)) % 5)
}

/// How long an epoch lasts: milliseconds to minutes, and now and then an hour.
fn length_us(dice: &mut Dice) -> i64 {
    let longest_ms = match dice.below(400) {
        0 => 6_000_000,
        1..8 => 400_000,
        8..20 => 70_000,
        20..120 => 12_000,
        120..280 => 2_500,
        _ => 50,
    };
    1_000 + dice.below(longest_ms * 1_000) as i64
}

/// When an event of the epoch from `before_us` to `now_us` says it happened.
fn event_us(dice: &mut Dice, before_us: i64, now_us: i64) -> i64 {
    let second_us = before_us.div_euclid(TICK_US) * TICK_US;
    let mut late = |most_s: u64| before_us - dice.below(most_s * 1_000_000) as i64;
    let (straggler_us, late_us, oldest_us) = (late(60), late(3_590), late(4_200));
    let soon_us = (now_us - before_us).min(FUTURE_TOLERANCE_US) as u64;
    match dice.below(40) {
        0..6 => straggler_us,
        6..10 => late_us,
        10 => oldest_us,
        // The edges: of the horizon, of the grace, of the future.
        11 => second_us - (3_480 + dice.below(182) as i64) * TICK_US - dice.below(2) as i64,
        12 => second_us - dice.below(4) as i64 * TICK_US - dice.below(2) as i64,
        13 => before_us + FUTURE_TOLERANCE_US + dice.below(2) as i64,
        14 => before_us + FUTURE_TOLERANCE_US + dice.below(600_000_000) as i64,
        15 => second_us - dice.below(70) as i64 * 10 * TICK_US,
        _ => before_us + dice.below(soon_us + 1) as i64,
    }
}
