//! What the present is: the wall clock when everything is read, the log's own time while there is a backlog.
//!
//! # Decision
//! While evenkeel catches up, the present is when the records being read came in, not now: otherwise an outage in the
//! backlog would be an hour of "late" data that pages nobody. The earliest partition with a backlog counts, so no
//! partition's records are late only because another one was read first; but one that says nothing for [`PATIENCE`] is
//! not waited for while others speak: its records will be late, which is better than none at all. While brokers are away
//! records tell the time, too: what is missing then is not missing at its sender. The present never
//! goes back, and never runs ahead of the wall clock, whatever timestamps producers set.

use super::backlog::Backlog;
use crate::ports::Polled;
use evenkeel_dataflows::{Batch, FUTURE_TOLERANCE_US, TICK_US, Tuning};
use evenkeel_schemas::{Binding, Epoch, Partition};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// How long a partition that has records and brings none is waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long after brokers were away their producers may take to send what waited: they look for them every 10 s at most
/// (the default of `reconnect.backoff.max.ms`).
const SETTLES_WITHIN: Duration = Duration::from_secs(12);

/// What is known of the records of some partitions: how far the present may come for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outlook {
    /// The earliest time that the present must not pass, µs: when records came in that are next to be read.
    pub bound_us: Option<i64>,
    /// Whether everything that came in has been polled.
    pub caught_up: bool,
    /// When the newest record in an epoch came in, µs.
    pub newest_us: Option<i64>,
}

impl Outlook {
    /// What is known of the partitions of both.
    pub fn and(self, other: Self) -> Self {
        Self {
            bound_us: [self.bound_us, other.bound_us].into_iter().flatten().min(),
            caught_up: self.caught_up && other.caught_up,
            newest_us: self.newest_us.max(other.newest_us),
        }
    }
}

/// Follows the present from poll to poll.
#[derive(Debug, Default)]
pub(super) struct Present {
    now_us: i64,
    /// When the last record in an epoch came in, µs, by partition.
    read_us: BTreeMap<Partition, i64>,
    /// Partitions with more records than were polled, and since when they brought none.
    lagging: BTreeMap<Partition, Instant>,
    /// When brokers were last known to be away.
    away: Option<Instant>,
}

impl Present {
    pub fn new(now_us: i64) -> Self {
        Self { now_us, ..Self::default() }
    }

    /// The present of the last epoch, µs.
    pub fn now_us(&self) -> i64 {
        self.now_us
    }

    /// Takes in what a poll brought.
    pub fn polled(&mut self, polled: &Polled) {
        let spoke = |partition: &Partition| polled.batches.iter().any(|batch| batch.partition == *partition);
        let since = |partition: &Partition| match self.lagging.get(partition) {
            Some(since) if !spoke(partition) => *since,
            _ => Instant::now(),
        };
        self.lagging = polled.lagging.iter().map(|partition| (*partition, since(partition))).collect();
    }

    /// Takes in what went into the open epoch.
    pub fn read(&mut self, batch: &Batch) {
        self.read_us.extend(batch.last_timestamp_us().map(|last| (batch.partition, last)));
    }

    /// What is known of the partitions that are read here, given what waits.
    pub fn outlook(&self, backlog: &Backlog) -> Outlook {
        let waiting_us = backlog.first_us().map(|(_, first_us)| first_us);
        let read_us =
            self.waited_for(backlog).map(|partition| self.read_us.get(partition).copied().unwrap_or(self.now_us));
        let (bound_us, newest_us) = (read_us.chain(waiting_us).min(), self.read_us.values().copied().max());
        Outlook { bound_us, caught_up: self.is_caught_up(), newest_us }
    }

    /// What the present would be if the open epoch closed now, given the wall clock and what is known of all partitions.
    pub fn at_us(&self, wall_us: i64, outlook: &Outlook) -> i64 {
        let settled = self.away.is_none_or(|away| away.elapsed() > SETTLES_WITHIN);
        let all_read_us = match outlook.caught_up {
            true if settled => wall_us,
            true => outlook.newest_us.unwrap_or(self.now_us),
            false => self.now_us,
        };
        let log_us = outlook.bound_us.unwrap_or(all_read_us);
        self.now_us.max(log_us.min(wall_us))
    }

    /// Partitions whose next records the present must not pass; none of theirs wait.
    fn waited_for<'a>(&'a self, backlog: &'a Backlog) -> impl Iterator<Item = &'a Partition> {
        let lagging = self.lagging.iter().filter(|(_, since)| !backlog.is_full() && since.elapsed() < PATIENCE);
        lagging.map(|(partition, _)| partition).filter(|partition| !backlog.holds(**partition))
    }

    /// Whether the present waits for records that were not polled yet.
    pub fn waits(&self, backlog: &Backlog) -> bool {
        self.waited_for(backlog).next().is_some()
    }

    /// Brokers are away: for a while the newest record that was read tells the time.
    pub fn hold(&mut self) {
        self.away = Some(Instant::now());
    }

    /// The open epoch closes at `now_us`.
    pub fn close(&mut self, now_us: i64) {
        self.now_us = now_us;
    }

    /// Whether everything that came in has been polled.
    pub fn is_caught_up(&self) -> bool {
        self.lagging.is_empty()
    }
}

/// Remembers which epoch recovery must read again from: the last one in which no tick that is still open could have
/// counted anything.
#[derive(Debug, Default)]
pub(super) struct ResumePoints(VecDeque<(Epoch, i64)>);

impl ResumePoints {
    /// Takes in a binding that was committed before.
    pub fn replay(&mut self, binding: &Binding) {
        self.0.push_back((binding.epoch, binding.now_us));
    }

    /// The epoch to resume from after `epoch`, which closes at `now_us`.
    pub fn close(&mut self, epoch: Epoch, now_us: i64, tuning: &Tuning) -> Epoch {
        let quiet_us = tuning.oldest_open_tick(now_us) * TICK_US - FUTURE_TOLERANCE_US;
        self.0.push_back((epoch, now_us));
        while self.0.get(1).is_some_and(|(_, next_us)| *next_us <= quiet_us) {
            self.0.pop_front();
        }
        self.0.front().map_or(Epoch(0), |(epoch, _)| *epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_schemas::Topic;

    fn at_us(present: &Present, wall_us: i64, backlog: &Backlog) -> i64 {
        present.at_us(wall_us, &present.outlook(backlog))
    }

    #[test]
    fn while_brokers_are_away_records_tell_the_time() {
        let mut present = Present::new(10);
        assert_eq!(at_us(&present, 500, &Backlog::default()), 500);
        present.hold();
        assert_eq!(at_us(&present, 600, &Backlog::default()), 10, "nothing was read");
        let mut batch = Batch::new(Partition { topic: Topic::Probes, partition: 0 });
        batch.push(0, 300, &[], &[]);
        present.read(&batch);
        assert_eq!(at_us(&present, 700, &Backlog::default()), 300);
        present.away = present.away.and_then(|away| away.checked_sub(SETTLES_WITHIN + Duration::from_millis(1)));
        assert_eq!(at_us(&present, 800, &Backlog::default()), 800, "they are long back");
    }

    #[test]
    fn the_present_waits_for_a_partition_whose_records_were_not_polled() {
        let partition = |partition| Partition { topic: Topic::Requests, partition };
        let mut one = Batch::new(partition(0));
        one.push(0, 100, &[], &[]);
        let (mut present, mut backlog) = (Present::new(10), Backlog::default());
        backlog.add(one.clone());
        present.polled(&Polled { batches: vec![one], lagging: vec![partition(0), partition(1)] });
        assert!(present.waits(&backlog), "partition 1 has records, and none of them are here");
        assert_eq!(at_us(&present, 500, &backlog), 10);
        let mut other = Batch::new(partition(1));
        other.push(0, 70, &[], &[]);
        backlog.add(other);
        assert!(!present.waits(&backlog));
        assert_eq!(at_us(&present, 500, &backlog), 70);
    }

    #[test]
    fn the_present_waits_for_the_partitions_of_other_processes() {
        let (mut present, backlog) = (Present::new(10), Backlog::default());
        let here = present.outlook(&backlog);
        let there = |bound_us, caught_up, newest_us| Outlook { bound_us, caught_up, newest_us };
        assert_eq!(present.at_us(500, &here.and(there(Some(70), true, Some(60)))), 70, "records wait there");
        assert_eq!(present.at_us(500, &here.and(there(None, false, Some(60)))), 10, "nobody waits for them any more");
        assert_eq!(present.at_us(500, &here.and(there(None, true, Some(60)))), 500);
        present.hold();
        assert_eq!(present.at_us(500, &here.and(there(None, true, Some(60)))), 60, "the newest record of all");
    }
}
