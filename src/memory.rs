//! Every port in memory: what tests and benchmarks run on. Same contracts, no durability.

use crate::ports::{Clock, Committed, Ledger, OutputLog, Polled, PortError, Row, Source};
use evenkeel_dataflows::{Batch, Changes, State};
use evenkeel_schemas::{Cut, Dataset, Partition};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// Input records by partition; clones share them.
#[derive(Clone, Debug, Default)]
pub struct MemoryLog(Arc<Mutex<BTreeMap<Partition, Batch>>>);

impl MemoryLog {
    /// Appends a record; its offset is the number of records before it in its partition.
    pub fn append(&self, partition: Partition, timestamp_us: i64, key: &[u8], payload: &[u8]) {
        let mut partitions = lock(&self.0);
        let batch = partitions.entry(partition).or_insert_with(|| Batch::new(partition));
        batch.push(batch.len() as u64, timestamp_us, key, payload);
    }

    /// A source at the beginning of every partition.
    pub fn source(&self) -> MemorySource {
        MemorySource { log: self.clone(), next: Cut::default() }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nobody panics while holding it")
}

/// Reads a [`MemoryLog`]: each poll gives every partition an equal share, so equal cuts poll equally.
#[derive(Clone, Debug)]
pub struct MemorySource {
    log: MemoryLog,
    next: Cut,
}

impl Source for MemorySource {
    fn seek(&mut self, from: &Cut) -> Result<(), PortError> {
        self.next = from.clone();
        Ok(())
    }

    fn poll(&mut self, limit: usize, _wait: Duration) -> Result<Polled, PortError> {
        let partitions = lock(&self.log.0);
        let share = (limit / partitions.len().max(1)).max(1);
        let mut polled = Polled::default();
        for (partition, all) in partitions.iter() {
            let next = self.next.next_offset(*partition);
            let batch = all.slice(next as usize, share);
            if let Some(after) = batch.next_offset() {
                self.next.0.insert(*partition, after);
                polled.batches.push(batch);
            }
            if self.next.next_offset(*partition) < all.len() as u64 {
                polled.lagging.push(*partition);
            }
        }
        Ok(polled)
    }
}

/// Committed epochs; clones share them.
#[derive(Clone, Debug, Default)]
pub struct MemoryLedger(Arc<Mutex<Vec<Changes>>>);

impl MemoryLedger {
    /// Everything that was committed.
    pub fn epochs(&self) -> Vec<Changes> {
        lock(&self.0).clone()
    }

    /// Forgets what was committed, keeping only the last binding: for benchmarks, whose memory is not the log's.
    pub fn forget(&self) {
        let mut epochs = lock(&self.0);
        let keep = epochs.len().saturating_sub(1);
        epochs.drain(..keep);
    }
}

impl Ledger for MemoryLedger {
    fn recover(&mut self) -> Result<Committed, PortError> {
        let epochs = lock(&self.0);
        let Some(last) = epochs.last() else { return Ok(Committed::default()) };
        let mut state = State::default();
        epochs.iter().for_each(|changes| state.apply(&changes.outputs));
        let bindings = epochs.iter().map(|changes| changes.binding.clone());
        let bindings = bindings.filter(|binding| binding.epoch >= last.binding.resume).collect();
        Ok(Committed { bindings, state: state.into_records() })
    }

    fn commit(&mut self, epochs: &[Changes]) -> Result<(), PortError> {
        let mut committed = lock(&self.0);
        for changes in epochs {
            let follows = committed.last().map_or(0, |last| last.binding.epoch.0 + 1);
            if changes.binding.epoch.0 != follows {
                let epoch = changes.binding.epoch.0;
                return Err(PortError::Fatal(format!("epoch {epoch} does not follow; the next one is {follows}")));
            }
            committed.push(changes.clone());
        }
        Ok(())
    }
}

impl OutputLog for MemoryLedger {
    fn partitions(&mut self, dataset: Dataset) -> Result<Vec<u32>, PortError> {
        let epochs = lock(&self.0);
        let outputs = epochs.iter().flat_map(|changes| &changes.outputs);
        let partitions = outputs.filter(|it| it.dataset == dataset).map(|it| it.partition);
        Ok(partitions.collect::<std::collections::BTreeSet<_>>().into_iter().collect())
    }

    fn read(&mut self, dataset: Dataset, partition: u32, offset: u64, limit: usize) -> Result<Vec<Row>, PortError> {
        let epochs = lock(&self.0);
        let all = epochs.iter().flat_map(|changes| changes.outputs.iter().map(|it| (changes.binding.now_us, it)));
        let rows = all.filter(|(_, it)| it.dataset == dataset && it.partition == partition).enumerate();
        let rows = rows.skip(offset as usize).take(limit);
        let row = |(at, (at_us, it)): (usize, (i64, &evenkeel_dataflows::Output))| Row {
            offset: at as u64,
            at_us,
            key: it.key.clone(),
            value: it.value.clone(),
        };
        Ok(rows.map(row).collect())
    }
}

/// A clock that stands where it was set; clones share it.
#[derive(Clone, Debug, Default)]
pub struct FixedClock(Arc<Mutex<i64>>);

impl FixedClock {
    /// A clock at `now_us`.
    pub fn new(now_us: i64) -> Self {
        Self(Arc::new(Mutex::new(now_us)))
    }

    /// Sets it.
    pub fn set(&self, now_us: i64) {
        *lock(&self.0) = now_us;
    }
}

impl Clock for FixedClock {
    fn now_us(&mut self) -> i64 {
        *lock(&self.0)
    }
}
