//! A system of services that call each other, and fail as is said.

use crate::common::{EpochInput, START_US, run};
use evenkeel_dataflows::{Batch, Changes, Recovery, Resume, TICK_US, Tuning};
use evenkeel_schemas::{Binding, Cut, Epoch, Partition, Topic};

/// Scenarios are short: what is held settles soon.
pub fn tuning() -> Tuning {
    Tuning { recovery: Recovery { settle_s: 5, ..Recovery::default() }, ..Tuning::default() }
}

/// Seconds of traffic before anything fails.
pub const WARM_S: i64 = 5;

/// How a request of a service in a second ends: share of errors, percent, by region and version.
pub type Failing<'a> = &'a dyn Fn(i64, usize, &str, &str) -> u64;

/// Services that answer forty requests a second, ten epochs a second.
pub struct System<'a> {
    pub services: usize,
    pub seconds: i64,
    /// Pairs (caller, callee), said at the start.
    pub calls: Vec<(usize, usize)>,
    /// Whether nobody says them: requests show whom their service called.
    pub shown: bool,
    pub failing: Failing<'a>,
    /// Orders by second, but for calls.
    pub orders: Vec<(i64, String)>,
    /// So late do the requests of a service come, s.
    pub late_s: &'a dyn Fn(i64, usize) -> i64,
}

fn name(service: usize) -> String {
    format!("s{service:03}")
}

fn link(caller: usize, callee: usize) -> String {
    format!("\"order\":\"link\",\"by\":\"mesh\",\"caller\":\"{}\",\"callee\":\"{}\"", name(caller), name(callee))
}

impl<'a> System<'a> {
    pub fn new(services: usize, calls: impl IntoIterator<Item = (usize, usize)>, failing: Failing<'a>) -> Self {
        let calls = calls.into_iter().collect();
        Self { services, seconds: 14, calls, shown: false, failing, orders: Vec::new(), late_s: &|_, _| 0 }
    }

    /// Whom the service calls in this turn, if that is shown.
    fn upstream(&self, service: usize, turn: usize) -> String {
        let callees = self.calls.iter().filter(|(caller, _)| *caller == service && self.shown);
        let callees = callees.map(|(_, callee)| name(*callee)).collect::<Vec<_>>();
        callees.get(turn % callees.len().max(1)).cloned().unwrap_or_default()
    }

    pub fn epochs(&self) -> Vec<EpochInput> {
        const PER_S: i64 = 10;
        let (requests, control) = (0, 1);
        let partition = |topic| Partition { topic, partition: 0 };
        let partitions = [partition(Topic::Requests), partition(Topic::Control)];
        let mut offsets = [0, 0];
        let epoch = |number: i64| {
            let (now_us, second) = (START_US + number * TICK_US / PER_S, number / PER_S);
            let mut batches = partitions.map(Batch::new);
            let mut push = |topic: usize, payload: String| {
                batches[topic].push(offsets[topic], now_us, b"", payload.as_bytes());
                offsets[topic] += 1;
            };
            if number == 1 && !self.shown {
                let at = format!("\"event_time_us\":{now_us}");
                self.calls.iter().for_each(|(a, b)| push(control, format!("{{{},{at}}}", link(*a, *b))));
            }
            for (_, order) in self.orders.iter().filter(|(at_s, _)| number == at_s * PER_S) {
                push(control, format!("{{{order},\"event_time_us\":{now_us}}}"));
            }
            for service in 0..self.services {
                let event_time_us = now_us - (self.late_s)(second, service) * TICK_US - 1;
                for n in 0..4 {
                    let turn = (number * 4 + n) as u64;
                    let (region, version) = (["eu", "us"][(turn / 2 % 2) as usize], ["v1", "v2"][(turn % 2) as usize]);
                    let failing = (self.failing)(second, service, region, version);
                    let status = if turn * 37 % 100 < failing { 503 } else { 200 };
                    let upstream = self.upstream(service, turn as usize);
                    push(
                        requests,
                        format!(
                            "{{\"event_time_us\":{event_time_us},\"service\":\"{}\",\"status\":{status},\"latency_us\":900,\
                         \"region\":\"{region}\",\"version\":\"{version}\",\
                         \"tenant\":\"of {region}\",\"upstream\":\"{upstream}\"}}",
                            name(service)
                        ),
                    );
                }
            }
            let upper = Cut(partitions.iter().copied().zip(offsets).filter(|(_, next)| *next > 0).collect());
            let epoch = Epoch(number as u64);
            EpochInput { binding: Binding { epoch, now_us, resume: Epoch(0), upper }, batches: batches.to_vec() }
        };
        (0..self.seconds * PER_S).map(epoch).collect()
    }

    pub fn run(&self) -> Vec<Changes> {
        run(&tuning(), 1, 10_000, Resume::default(), &self.epochs())
    }
}
