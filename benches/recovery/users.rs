//! What users of the service at fault get, by the second: the measure of recovery.

use evenkeel_schemas::{Coordinates, Event, Partition};
use std::collections::{BTreeMap, BTreeSet};

const SECOND_US: i64 = 1_000_000;

/// Users are well when they are for so long, s: at most one request in [`ONE_IN`] is bad in every ten seconds of it.
pub const NORMAL_S: usize = 30;

const ONE_IN: u64 = 20;

/// A second with at most so many bad requests is normal, whatever their share.
const FEW: u64 = 2;

/// Users of one service. A bad request is one that failed, was turned away, or took longer than 99 of 100 did on its route
/// before the fault; a second is normal with few of them and a heartbeat of every node.
pub struct Users {
    service: String,
    nodes: usize,
    onset_us: i64,
    /// Before the fault every latency of a route, µs; then the limit alone.
    usual: BTreeMap<String, Vec<u32>>,
    open: Second,
    /// Since the onset: requests, those that were bad, and whether a node was silent.
    past: Vec<(u64, u64, bool)>,
    /// The first second that was not normal, by its place in the past.
    hurt: Option<usize>,
    /// When the first [`NORMAL_S`] after it began in which they were well, µs since the Unix epoch.
    pub well_us: Option<i64>,
    /// Of the seconds that were not normal: requests that failed or were turned away, and those that were slow.
    pub failed: u64,
    pub slow: u64,
}

#[derive(Default)]
struct Second {
    requests: u64,
    failed: u64,
    slow: u64,
    heard: BTreeSet<String>,
}

impl Users {
    pub fn new(service: &str, nodes: usize, onset_us: i64) -> Self {
        let (service, usual, open, past) = (service.to_owned(), BTreeMap::new(), Second::default(), Vec::new());
        Self { service, nodes, onset_us, usual, open, past, hurt: None, well_us: None, failed: 0, slow: 0 }
    }

    /// Whether any second was not normal.
    pub fn were_hurt(&self) -> bool {
        self.hurt.is_some()
    }

    /// A record of the shop; its key is the node.
    pub fn see(&mut self, partition: Partition, at_us: i64, key: &[u8], payload: &[u8]) {
        if !key.starts_with(self.service.as_bytes()) {
            return;
        }
        let at = Coordinates { topic: partition.topic, partition: partition.partition, offset: 0 };
        match Event::decode(at, payload) {
            Event::Request(request) if request.service == self.service => {
                self.open.requests += 1;
                let latencies = match self.usual.get_mut(&*request.route) {
                    Some(latencies) => latencies,
                    None => self.usual.entry(request.route.into_owned()).or_default(),
                };
                if at_us < self.onset_us {
                    latencies.push(request.latency_us);
                } else if request.status >= 500 {
                    self.open.failed += 1;
                } else {
                    self.open.slow += u64::from(request.latency_us > limit(latencies));
                }
            }
            Event::Probe(probe) if probe.service == self.service => drop(self.open.heard.insert(probe.node)),
            _ => {}
        }
    }

    /// An open circuit turned requests away.
    pub fn turned_away(&mut self, requests: u64) {
        self.open.requests += requests;
        self.open.failed += requests;
    }

    /// The second that ends at `now_us` is over.
    pub fn end_second(&mut self, now_us: i64) {
        let Second { requests, failed, slow, heard } = std::mem::take(&mut self.open);
        if now_us <= self.onset_us {
            return;
        }
        self.past.push((requests, failed + slow, heard.len() < self.nodes));
        let place = self.past.len() - 1;
        if !self.is_normal(place) {
            self.hurt.get_or_insert(place);
            (self.failed, self.slow) = (self.failed + failed, self.slow + slow);
        }
        let begin = self.past.len().checked_sub(NORMAL_S);
        if begin.is_some_and(|begin| self.hurt.is_some_and(|hurt| hurt < begin) && self.is_well_from(begin)) {
            self.well_us.get_or_insert(now_us - NORMAL_S as i64 * SECOND_US);
        }
    }

    fn is_normal(&self, place: usize) -> bool {
        let (requests, bad, is_silent) = self.past[place];
        !is_silent && (bad <= FEW || bad * ONE_IN <= requests)
    }

    fn is_well_from(&self, begin: usize) -> bool {
        let is_well = |span: &[(u64, u64, bool)]| {
            let sum = |of: fn(&(u64, u64, bool)) -> u64| span.iter().map(of).sum::<u64>();
            sum(|it| it.1) * ONE_IN <= sum(|it| it.0) && span.iter().all(|(_, _, is_silent)| !is_silent)
        };
        self.is_normal(begin) && self.past[begin..].chunks(10).all(is_well)
    }
}

/// What 99 of 100 stayed below; the others are forgotten.
fn limit(latencies: &mut Vec<u32>) -> u32 {
    if latencies.len() > 1 {
        latencies.sort_unstable();
        *latencies = vec![latencies[latencies.len() * 99 / 100]];
    }
    latencies.first().copied().unwrap_or(u32::MAX)
}
