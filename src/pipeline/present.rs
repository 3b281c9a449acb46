//! What the present is: the wall clock when everything is read, the log's own time while there is a backlog.
//!
//! # Decision
//! While evenkeel catches up, the present is when the records being read came in, not now: otherwise an outage in the
//! backlog would be an hour of "late" data that pages nobody. The earliest partition with a backlog counts, so no
//! partition's records are late only because another one was read first. The present never goes back, and never runs
//! ahead of the wall clock, whatever timestamps producers set.

use crate::ports::Polled;
use evenkeel_dataflows::{FUTURE_TOLERANCE_US, TICK_US, Tuning};
use evenkeel_schemas::{Binding, Epoch, Partition};
use std::collections::{BTreeMap, VecDeque};

/// Follows the present from poll to poll.
#[derive(Debug, Default)]
pub(super) struct Present {
    now_us: i64,
    /// When the last record that was read of each partition came in, µs.
    read_us: BTreeMap<Partition, i64>,
    lagging: Vec<Partition>,
}

impl Present {
    pub fn new(now_us: i64) -> Self {
        Self { now_us, ..Self::default() }
    }

    /// Takes in what a poll brought.
    pub fn read(&mut self, polled: &Polled) {
        for batch in &polled.batches {
            self.read_us.extend(batch.last_timestamp_us().map(|last| (batch.partition, last)));
        }
        self.lagging.clone_from(&polled.lagging);
    }

    /// The present, given the wall clock.
    pub fn now_us(&mut self, wall_us: i64) -> i64 {
        let read = |partition| self.read_us.get(partition).copied().unwrap_or(self.now_us);
        let log_us = self.lagging.iter().map(read).min().unwrap_or(wall_us);
        self.now_us = self.now_us.max(log_us.min(wall_us));
        self.now_us
    }

    /// Whether everything that came in has been read.
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
        let quiet_us = tuning.open_tick(now_us) * TICK_US - FUTURE_TOLERANCE_US;
        self.0.push_back((epoch, now_us));
        while self.0.get(1).is_some_and(|(_, next_us)| *next_us <= quiet_us) {
            self.0.pop_front();
        }
        self.0.front().map_or(Epoch(0), |(epoch, _)| *epoch)
    }
}
