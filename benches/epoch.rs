//! What one epoch costs from its close to its changes, on one worker, with 1,000 keys counted every millisecond: one with
//! nothing in it, one with a hundred requests, one with ten errors of a new service, which open its circuit. Once without
//! a pause between epochs, once with one in which the worker sleeps, as it does in service, and once with one in which it
//! stays awake: the difference is what sleeping costs.

mod common;

use common::{Options, Requests, START_US, rounded};
use evenkeel::encode::Format;
use evenkeel_dataflows::{Batch, Changes, Engine, Resume, Tuning};
use evenkeel_schemas::{Binding, Cut, Dataset, Epoch, Partition, Topic};
use serde_json::Value;
use std::time::{Duration, Instant};

/// One epoch after the other, a millisecond each.
struct Epochs {
    engine: Engine,
    requests: Requests,
    epoch: u64,
    offset: u64,
    sent: u64,
    /// How long the worker waits between epochs, and whether it sleeps meanwhile.
    rest: (Duration, bool),
}

impl Epochs {
    fn now_us(&self) -> i64 {
        START_US + self.epoch as i64 * 1_000
    }

    /// An epoch of these requests; what it said, and what it took, µs.
    fn run(&mut self, payloads: &[Vec<u8>]) -> (Changes, f64) {
        let mut batch = Batch::new(Partition { topic: Topic::Requests, partition: 0 });
        for payload in payloads {
            batch.push(self.offset, self.now_us(), &[], payload);
            self.offset += 1;
        }
        match self.rest {
            (rest, true) => std::thread::sleep(rest),
            (rest, false) => {
                let since = Instant::now();
                while since.elapsed() < rest {
                    std::hint::spin_loop();
                }
            }
        }
        let started = Instant::now();
        if !batch.is_empty() {
            self.engine.push(batch).expect("the workers live");
        }
        let (epoch, now_us) = (Epoch(self.epoch), self.now_us() + 1_000);
        self.engine.close(Binding { epoch, now_us, resume: epoch, upper: Cut::default() }).expect("the workers live");
        let changes = loop {
            if let Some(changes) = self.engine.wait(Duration::from_millis(1)).expect("the workers live") {
                break changes;
            }
        };
        let took_us = started.elapsed().as_secs_f64() * 1e6;
        self.epoch += 1;
        (changes, took_us)
    }

    fn ordinary(&mut self, count: u64) -> Vec<Vec<u8>> {
        let (from, at_us) = (self.sent, self.now_us());
        self.sent += count;
        let payload = |n| {
            let mut payload = Vec::new();
            self.requests.write(n, at_us, &mut payload);
            payload
        };
        (from..from + count).map(payload).collect()
    }

    fn burst(&self) -> Vec<Vec<u8>> {
        let failing = format!(
            "{{\"event_time_us\":{},\"service\":\"fresh-{}\",\"route\":\"/\",\"status\":503,\"latency_us\":900}}",
            self.now_us(),
            self.epoch
        );
        vec![failing.into_bytes(); 10]
    }
}

fn main() {
    let options = Options::from_args();
    let rest = Duration::from_micros(700);
    for rest in [(Duration::ZERO, false), (rest, true), (rest, false)] {
        measure(options, rest);
    }
}

fn measure(options: Options, rest: (Duration, bool)) {
    let engine = Engine::new(&Tuning::default(), 1, Resume::default());
    let mut epochs =
        Epochs { engine, requests: Requests::new(1_000, (Format::Json, 1)), epoch: 0, offset: 0, sent: 0, rest };
    let mut took = [const { Vec::new() }; 3];
    for n in 0..options.pick(20_000, 5_000) {
        let (kind, payloads) = match n % 10 {
            3 => (2, epochs.burst()),
            6 => (0, Vec::new()),
            _ => (1, epochs.ordinary(100)),
        };
        let (changes, took_us) = epochs.run(&payloads);
        let commands = changes.outputs.iter().filter(|output| output.dataset == Dataset::Commands).count();
        assert!(kind != 2 || commands > 0, "a burst opens a circuit");
        if n > 3_000 {
            took[kind].push(took_us);
        }
    }
    for (kind, mut took) in ["empty", "requests", "burst"].into_iter().zip(took) {
        took.sort_by(f64::total_cmp);
        let at = |part: f64| rounded(took[(took.len() as f64 * part) as usize], 1);
        options.report(
            "epoch",
            &[
                ("rest_us", Value::from(rest.0.as_micros() as u64)),
                ("asleep", Value::from(rest.1)),
                ("holds", Value::from(kind)),
                ("p10_us", at(0.1)),
                ("p50_us", at(0.5)),
                ("p99_us", at(0.99)),
            ],
        );
    }
}
