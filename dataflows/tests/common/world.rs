//! A service whose requests are made up second by second, and orders about it.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "tests")]

use crate::common::{Dice, EpochInput, START_US, run};
use evenkeel_dataflows::{Batch, Changes, Resume, TICK_US, Tuning};
use evenkeel_schemas::{Binding, Cut, Dataset, Epoch, Partition, Topic, Verdict};
use std::ops::Range;

const REQUESTS: Partition = Partition { topic: Topic::Requests, partition: 0 };
const TELEMETRY: Partition = Partition { topic: Topic::Telemetry, partition: 0 };
const CONTROL: Partition = Partition { topic: Topic::Control, partition: 0 };

/// Requests of a second: (latency µs, whether it fails).
type Second = Box<dyn Fn(i64, &mut Dice) -> Vec<(u64, bool)>>;

/// What a gauge with a limit of 1,000 shows in a second; nothing if that is no number.
type Gauge = Box<dyn Fn(i64) -> f64>;

/// What happens, by second from the start.
pub struct World {
    pub seconds: i64,
    pub epoch_s: i64,
    /// Requests of each second: (latency µs, whether it fails).
    pub requests: Second,
    /// When an order is given, and what.
    pub orders: Vec<(i64, String)>,
    /// Of ten requests in a second the first is one of version 2.
    pub versions: bool,
    /// Read every 20 s.
    pub gauge: Option<Gauge>,
    pub tuning: Tuning,
}

impl Default for World {
    fn default() -> Self {
        let (requests, orders, gauge, tuning) =
            (Box::new(|_, dice: &mut Dice| calm(dice)), Vec::new(), None, Tuning::default());
        Self { seconds: 0, epoch_s: 1, requests, orders, versions: false, gauge, tuning }
    }
}

impl World {
    pub fn epochs(&self) -> Vec<EpochInput> {
        let mut upper = Cut::default();
        let mut offsets = [0, 0, 0];
        let epoch = |number: i64| {
            let (from, to) = (number * self.epoch_s, (number + 1) * self.epoch_s);
            let now_us = START_US + to * TICK_US;
            let [mut requests, mut control, mut telemetry] = [REQUESTS, CONTROL, TELEMETRY].map(Batch::new);
            for second in from..to {
                let mut dice = Dice(second as u64);
                for (n, (latency_us, fails)) in (self.requests)(second, &mut dice).into_iter().enumerate() {
                    let version = if self.versions { if n % 10 == 0 { "2" } else { "1" } } else { "" };
                    let (event_time_us, status) = (START_US + second * TICK_US, if fails { 500 } else { 200 });
                    let request = format!(
                        "{{\"event_time_us\":{event_time_us},\"service\":\"s\",\"route\":\"/\",\"node\":\"n\",\
                         \"status\":{status},\"latency_us\":{latency_us},\"version\":\"{version}\"}}"
                    );
                    requests.push(offsets[0], event_time_us, b"", request.as_bytes());
                    offsets[0] += 1;
                }
                let gauge = self.gauge.as_ref().filter(|_| second % 20 == 0);
                if let Some(value) = gauge.map(|gauge| gauge(second)).filter(|value| !value.is_nan()) {
                    let event_time_us = START_US + second * TICK_US;
                    let read = format!(
                        "{{\"event_time_us\":{event_time_us},\"node\":\"n\",\"service\":\"s\",\"kind\":\"gauge\",\
                         \"name\":\"memory.used_mib\",\"value\":{value},\"limit\":1000}}"
                    );
                    telemetry.push(offsets[2], event_time_us, b"", read.as_bytes());
                    offsets[2] += 1;
                }
                for (_, order) in self.orders.iter().filter(|(at, _)| *at == second) {
                    control.push(offsets[1], now_us, b"", order.as_bytes());
                    offsets[1] += 1;
                }
            }
            for (partition, next) in [REQUESTS, CONTROL, TELEMETRY].into_iter().zip(offsets) {
                upper.0.extend((next > 0).then_some((partition, next)));
            }
            let binding = Binding { epoch: Epoch(number as u64), now_us, resume: Epoch(0), upper: upper.clone() };
            EpochInput { binding, batches: vec![requests, control, telemetry] }
        };
        (0..self.seconds / self.epoch_s).map(epoch).collect()
    }

    pub fn run(&self, workers: usize) -> Vec<Changes> {
        run(&self.tuning, workers, 500, Resume::default(), &self.epochs())
    }
}

/// An order about an interval of the service: when it is given, and what.
pub fn order(name: &str, at: i64, interval: &Range<i64>) -> (i64, String) {
    let us = |second: i64| START_US + second * TICK_US;
    let order = format!(
        "{{\"order\":\"{name}\",\"event_time_us\":{},\"by\":\"ann\",\"service\":\"s\",\"from_us\":{},\"to_us\":{}}}",
        us(at),
        us(interval.start),
        us(interval.end)
    );
    (at, order)
}

/// All verdicts.
pub fn all_verdicts(changes: &[Changes]) -> Vec<Verdict> {
    let all = changes.iter().flat_map(|changes| &changes.outputs).filter(|it| it.dataset == Dataset::Verdicts);
    all.map(|output| serde_json::from_slice(&output.value).unwrap()).collect()
}

/// The verdicts about the service from a second on.
pub fn verdicts(changes: &[Changes], from: i64) -> Vec<Verdict> {
    let about = |verdict: &Verdict| verdict.key.0.len() == 1 && verdict.at_us >= START_US + from * TICK_US;
    all_verdicts(changes).into_iter().filter(about).collect()
}

pub fn calm(dice: &mut Dice) -> Vec<(u64, bool)> {
    (0..20 + dice.below(8)).map(|_| (2_000 + dice.below(3_000), dice.below(300) == 0)).collect()
}
