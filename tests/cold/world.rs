//! A log in memory with some of everything, and a store that fails when told to.

use crate::scratch::Random;
use evenkeel::cold::ColdStore;
use evenkeel::ports::{OutputLog, PortError, Row};
use evenkeel_schemas::audit::{Chain, Entry, ORIGIN};
use evenkeel_schemas::{
    Baseline, Cause, Command, CommandKind, CommandState, Coordinates, Dataset, Decision, Detector, Dimension, Incident,
    IncidentState, Key, Mode, Notice, Outcome, OutcomeStatus, Reason, Rejection, Rollup, Statistics, Tally, Topic,
    Verdict,
};
use std::cell::Cell;
use std::collections::BTreeMap;

/// 2026-11-21T23:59:00Z, µs: the rows cross midnight.
pub const START_US: i64 = 1_795_305_540_000_000;

/// Committed outputs in memory.
#[derive(Clone, Default)]
pub struct Log(pub BTreeMap<(Dataset, u32), Vec<Row>>);

impl OutputLog for Log {
    fn partitions(&mut self, dataset: Dataset) -> Result<Vec<u32>, PortError> {
        Ok(self.0.keys().filter(|(held, _)| *held == dataset).map(|(_, partition)| *partition).collect())
    }

    fn read(&mut self, dataset: Dataset, partition: u32, offset: u64, limit: usize) -> Result<Vec<Row>, PortError> {
        let rows = self.0.get(&(dataset, partition)).map_or(&[][..], Vec::as_slice);
        Ok(rows.iter().filter(|row| row.offset >= offset).take(limit).cloned().collect())
    }
}

impl Log {
    /// `count` rows per dataset, audit in two partitions; a day's turn in their middle, gaps in their offsets.
    pub fn new(count: usize) -> Self {
        let (mut log, mut random) = (Self::default(), Random(5));
        for partition in [0, 3] {
            let mut chain = Chain::new(ORIGIN, partition);
            log.fill((Dataset::Audit, partition), count, &mut random, |i, at_us| {
                let entry = if partition == 3 && i % 5 == 4 { heard(i, at_us) } else { entry(i, at_us) };
                (entry.entity.clone().into_bytes(), chain.append(entry))
            });
        }
        log.fill((Dataset::Rollups, 0), count, &mut random, |i, at_us| json(&rollup(i, at_us)));
        log.fill((Dataset::Verdicts, 0), count, &mut random, |i, at_us| json(&verdict(i, at_us)));
        log.fill((Dataset::Incidents, 0), count, &mut random, |i, at_us| json(&incident(i, at_us)));
        log.fill((Dataset::Commands, 0), count, &mut random, |i, at_us| json(&command(i, at_us)));
        log.fill((Dataset::Baselines, 0), count, &mut random, |i, at_us| json(&baseline(i, at_us)));
        log.fill((Dataset::Rejections, 0), count, &mut random, |i, _| json(&rejection(i)));
        log.fill((Dataset::State, 0), 3, &mut random, |_, _| (Vec::new(), b"not kept cold".to_vec()));
        log
    }

    fn fill(
        &mut self,
        of: (Dataset, u32),
        count: usize,
        random: &mut Random,
        mut make: impl FnMut(usize, i64) -> (Vec<u8>, Vec<u8>),
    ) {
        let mut offset = 0;
        for i in 0..count {
            offset += 1 + random.below(3);
            let at_us = START_US + i as i64 * (120_000_000 / count as i64);
            let (key, value) = make(i, at_us);
            self.0.entry(of).or_default().push(Row { offset, at_us, key, value });
        }
    }

    /// The audit entries of a partition that are outcomes.
    pub fn outcomes(&self, partition: u32) -> Vec<Entry> {
        let rows = self.0.get(&(Dataset::Audit, partition)).into_iter().flatten();
        let entries = rows.map(|row| Entry::open(&row.value).unwrap().0);
        entries.filter(|entry| entry.event_type == "outcome").collect()
    }

    /// The log as it was when each partition had at most `rows`.
    pub fn until(&self, rows: usize) -> Self {
        Self(self.0.iter().map(|(of, all)| (*of, all[..all.len().min(rows)].to_vec())).collect())
    }
}

fn json(value: &impl serde::Serialize) -> (Vec<u8>, Vec<u8>) {
    (b"key".to_vec(), serde_json::to_vec(value).unwrap())
}

/// The `i`th audit entry.
pub fn entry(i: usize, ts_us: i64) -> Entry {
    Entry {
        epoch: i as u64 / 3,
        ts_us: ts_us - 77,
        event_type: ["change", "verdict"][i % 2].to_owned(),
        table: "shop.orders".to_owned(),
        op: ["c", "u", "d"][i % 3].to_owned(),
        actor: "postgresql/shop/7".to_owned(),
        entity: format!("order-{}", i % 100),
        payload: format!("{{\"op\":\"u\",\"after\":{{\"id\":{i}}},\"ü\":\"\u{0}\"}}").into_bytes(),
        ..Entry::default()
    }
}

/// The audit entry of the outcome of the `i`th command.
fn heard(i: usize, at_us: i64) -> Entry {
    let outcome = Outcome {
        event_time_us: at_us - 77,
        command_id: format!("CMD-{i}"),
        service: "checkout".to_owned(),
        status: [OutcomeStatus::Applied, OutcomeStatus::Failed][i % 2],
        detail: String::new(),
    };
    let payload = serde_json::to_vec(&outcome).unwrap();
    Entry { event_type: "outcome".to_owned(), entity: outcome.command_id, payload, ..entry(i, at_us) }
}

/// The `i`th baseline; some have more windows than others.
pub fn baseline(i: usize, at_us: i64) -> Baseline {
    let mut tally = Tally::default();
    (0..=i as u32 % 9).for_each(|j| tally.count(500 + j, j == 0));
    let windows = ["10s", "1m", "5m"].map(|name| (name.to_owned(), Statistics::from(&tally)));
    Baseline { key: key(i), at_us, windows: windows[..i % 4].to_vec() }
}

fn rejection(i: usize) -> Rejection {
    let at = Coordinates { topic: Topic::Requests, partition: i as u32 % 2, offset: i as u64 };
    Rejection::new(Reason::NotJson, "expected value", at, b"{\xff")
}

fn key(i: usize) -> Key {
    let route = format!("/route/{}", i % 4);
    let mut values = vec![(Dimension::Service, "checkout"), (Dimension::Route, route.as_str())];
    values.truncate(1 + i % 2);
    Key::new(values)
}

/// The `i`th rollup.
pub fn rollup(i: usize, at_us: i64) -> Rollup {
    let mut tally = Tally::default();
    (0..=i as u32 % 50).for_each(|j| tally.count(1000 + 997 * j, j % 7 == 0));
    Rollup::new(key(i), at_us - at_us % 60_000_000, &tally)
}

fn verdict(i: usize, at_us: i64) -> Verdict {
    Verdict {
        key: key(i),
        detector: Detector::ErrorRate,
        decision: [Decision::Fire, Decision::Clear][i % 2],
        reason: "above_baseline".to_owned(),
        at_us,
        since_us: at_us - 5,
        evidence: format!("errors {i}"),
        amended_us: None,
        epoch: i as u64,
        policy: i as u64 % 3,
    }
}

fn incident(i: usize, at_us: i64) -> Incident {
    let nodes = (0..i % 3).map(|node| format!("checkout-{node}")).collect();
    let (detector, evidence) = (Detector::Latency, "p99".to_owned());
    Incident {
        incident_id: format!("INC-{i}"),
        service: "checkout".to_owned(),
        state: IncidentState::Open,
        cause: Cause { detector, key: key(i), nodes, since_us: at_us - 9, evidence, verdicts: 2 },
        opened_us: at_us,
        at_us,
        notify: true,
        notice: Notice::Opened,
        affected: 1,
        services: vec!["checkout".to_owned()],
        victims: Vec::new(),
        candidates: Vec::new(),
        changes: Vec::new(),
        shared: Vec::new(),
        merged_into: String::new(),
    }
}

fn command(i: usize, at_us: i64) -> Command {
    Command {
        command_id: format!("CMD-{i}"),
        kind: CommandKind::RestartNode,
        target: "checkout-1".to_owned(),
        service: "checkout".to_owned(),
        incident_id: format!("INC-{i}"),
        mode: Mode::Auto,
        reason: "latency".to_owned(),
        at_us,
        expires_us: at_us + 1,
        state: [CommandState::Issued, CommandState::Done][i % 2],
        detail: String::new(),
        decided_us: at_us - 5,
        fence: i as u64,
        by: String::new(),
        params: Default::default(),
        undo: false,
    }
}

/// What becomes of the call at which a store fails.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// It does nothing, and says so.
    Lost,
    /// It does its work, and says it did not.
    AppliedButLost,
    /// It leaves half of a segment's file behind, which a store promises never to do, and says it failed.
    Torn,
    /// It and all after it do nothing: the process is gone.
    Gone,
}

/// A store that fails at the `at`th call.
pub struct Faulty<'a> {
    pub store: &'a (dyn ColdStore + Sync),
    pub fault: Fault,
    pub at: usize,
    pub calls: Cell<usize>,
}

impl Faulty<'_> {
    fn tear(&self, name: &str, bytes: &[u8]) -> Result<(), PortError> {
        let tears = self.fault == Fault::Torn && self.calls.get() == self.at && name.ends_with(".parquet");
        if tears { self.store.put(name, &bytes[..bytes.len() / 2]) } else { Ok(()) }
    }

    fn call<T>(&self, work: impl FnOnce() -> Result<T, PortError>) -> Result<T, PortError> {
        let call = self.calls.replace(self.calls.get() + 1);
        let fails = if self.fault == Fault::Gone { call >= self.at } else { call == self.at };
        if fails && self.fault != Fault::AppliedButLost {
            return Err(PortError::Retry("injected".to_owned()));
        }
        let done = work();
        if fails { Err(PortError::Retry("injected".to_owned())) } else { done }
    }
}

impl ColdStore for Faulty<'_> {
    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), PortError> {
        self.tear(name, bytes)?;
        self.call(|| self.store.put(name, bytes))
    }

    fn replace(&self, name: &str, before: Option<&[u8]>, bytes: &[u8]) -> Result<(), PortError> {
        self.tear(name, bytes)?;
        self.call(|| self.store.replace(name, before, bytes))
    }

    fn get(&self, name: &str) -> Result<Option<Vec<u8>>, PortError> {
        self.call(|| self.store.get(name))
    }

    fn list(&self, prefix: &str) -> Result<Vec<String>, PortError> {
        self.call(|| self.store.list(prefix))
    }

    fn remove(&self, name: &str) -> Result<(), PortError> {
        self.call(|| self.store.remove(name))
    }
}

/// A store whose caller stands still before its `at`th call, while somebody else does what `meanwhile` does.
pub struct Interrupted<'a> {
    store: &'a (dyn ColdStore + Sync),
    at: usize,
    pub calls: Cell<usize>,
    meanwhile: Box<dyn Fn() + Send + 'a>,
}

impl<'a> Interrupted<'a> {
    pub fn new(store: &'a (dyn ColdStore + Sync), at: usize, meanwhile: impl Fn() + Send + 'a) -> Self {
        Self { store, at, calls: Cell::new(0), meanwhile: Box::new(meanwhile) }
    }

    fn store(&self) -> &dyn ColdStore {
        if self.calls.replace(self.calls.get() + 1) == self.at {
            (self.meanwhile)();
        }
        self.store
    }
}

impl ColdStore for Interrupted<'_> {
    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), PortError> {
        self.store().put(name, bytes)
    }

    fn replace(&self, name: &str, before: Option<&[u8]>, bytes: &[u8]) -> Result<(), PortError> {
        self.store().replace(name, before, bytes)
    }

    fn get(&self, name: &str) -> Result<Option<Vec<u8>>, PortError> {
        self.store().get(name)
    }

    fn list(&self, prefix: &str) -> Result<Vec<String>, PortError> {
        self.store().list(prefix)
    }

    fn remove(&self, name: &str) -> Result<(), PortError> {
        self.store().remove(name)
    }
}

/// Everything in a store.
pub fn contents(store: &dyn ColdStore) -> BTreeMap<String, Vec<u8>> {
    let names = store.list("").unwrap();
    names.into_iter().map(|name| (name.clone(), store.get(&name).unwrap().unwrap())).collect()
}
