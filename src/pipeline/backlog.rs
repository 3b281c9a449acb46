//! Records that were polled and came in after the present: they wait until an epoch has brought it up to them.

use evenkeel_dataflows::{Batch, HEAVY_BYTES};
use evenkeel_schemas::Partition;
use std::collections::{BTreeMap, VecDeque};

/// Most records that wait; then a partition that brings none is no longer waited for.
const MOST_RECORDS: usize = 1_000_000;

/// Polled records in order, by partition; of the first batch of each, so many records were taken.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    partitions: BTreeMap<Partition, (VecDeque<Batch>, usize)>,
    records: usize,
    bytes: usize,
}

impl Backlog {
    /// How many records wait.
    pub fn len(&self) -> usize {
        self.records
    }

    /// What waits counts against bounds in records: see [`Batch::weight`].
    pub fn weight(&self) -> usize {
        self.records.max(self.bytes / HEAVY_BYTES)
    }

    /// Whether no more records may wait.
    pub fn is_full(&self) -> bool {
        self.weight() >= MOST_RECORDS
    }

    /// Whether records of a partition wait.
    pub fn holds(&self, partition: Partition) -> bool {
        self.partitions.contains_key(&partition)
    }

    /// Whether no record waits.
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Adds what was polled.
    pub fn add(&mut self, batch: Batch) {
        if !batch.is_empty() {
            self.records += batch.len();
            self.bytes += batch.bytes();
            self.partitions.entry(batch.partition).or_default().0.push_back(batch);
        }
    }

    /// When the first record that waits came in, µs, by partition.
    pub fn first_us(&self) -> impl Iterator<Item = (Partition, i64)> {
        self.partitions.iter().filter_map(|(partition, (batches, taken))| {
            Some((*partition, batches.front()?.timestamps_us(*taken).next()?))
        })
    }

    /// Takes the records of each partition up to the first that came in at `limit_us` or later.
    pub fn take_before(&mut self, limit_us: i64) -> Vec<Batch> {
        let mut all = Vec::new();
        for (batches, taken) in self.partitions.values_mut() {
            while let Some(batch) = batches.front() {
                let ahead = batch.timestamps_us(*taken).position(|timestamp_us| timestamp_us >= limit_us);
                let count = ahead.unwrap_or(batch.len() - *taken);
                self.records -= count;
                if ahead.is_some() {
                    all.extend((count > 0).then(|| batch.slice(*taken, count)));
                    *taken += count;
                    break;
                }
                let batch = batches.pop_front().expect("just seen");
                all.push(if *taken > 0 { batch.slice(*taken, count) } else { batch });
                *taken = 0;
            }
        }
        self.bytes -= all.iter().map(Batch::bytes).sum::<usize>();
        self.partitions.retain(|_, (batches, _)| !batches.is_empty());
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_schemas::Topic;

    #[test]
    fn records_wait_behind_the_first_that_is_too_new() {
        let partition = |partition| Partition { topic: Topic::Requests, partition };
        let batch = |number, timestamps: &[(u64, i64)]| {
            let mut batch = Batch::new(partition(number));
            timestamps.iter().for_each(|(offset, at_us)| batch.push(*offset, *at_us, &[], &[]));
            batch
        };
        let mut backlog = Backlog::default();
        backlog.add(batch(0, &[(0, 10), (1, 30), (2, 20)]));
        backlog.add(batch(0, &[(3, 40)]));
        backlog.add(batch(1, &[(7, 5)]));
        backlog.add(batch(1, &[]));
        assert_eq!(backlog.take_before(30), [batch(0, &[(0, 10)]), batch(1, &[(7, 5)])]);
        assert_eq!((backlog.len(), backlog.first_us().collect::<Vec<_>>()), (3, vec![(partition(0), 30)]));
        assert_eq!(backlog.take_before(30), []);
        assert_eq!(backlog.take_before(i64::MAX), [batch(0, &[(1, 30), (2, 20)]), batch(0, &[(3, 40)])]);
        assert_eq!(backlog.weight(), 0);
        assert!(backlog.is_empty() && backlog.first_us().next().is_none());
    }
}
