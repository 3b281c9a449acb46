//! The very first start: which present the run begins with.

use super::present::Present;
use super::{Committer, Pipeline};
use crate::ports::{Clock, PortError, Source};
use evenkeel_schemas::{Cut, Epoch};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long the first record of every partition that has some is waited for.
const FIRST_WITHIN: Duration = Duration::from_secs(10);

impl<S: Source, C: Committer, K: Clock> Pipeline<S, C, K> {
    /// Closes the first epoch of all: empty, and its present is when the oldest record that waits came in.
    pub(super) fn begin_unless_begun(&mut self) -> Result<(), PortError> {
        if self.next > Epoch(0) {
            return Ok(());
        }
        let first_us = self.first_us()?.into_iter().chain(self.others.first_us()).min();
        let wall_us = self.clock.now_us();
        self.present = Present::new(first_us.unwrap_or(wall_us).min(wall_us));
        self.close(self.present.now_us())
    }

    /// When the oldest record that waits here came in, µs; reading begins at the beginning. Were a partition missed whose
    /// records a slow broker brings late, they would be taken for late themselves.
    pub(super) fn first_us(&mut self) -> Result<Option<i64>, PortError> {
        let (started, mut first_us) = (Instant::now(), BTreeMap::new());
        loop {
            let polled = self.source.poll(self.pace.poll_records, Duration::from_millis(500))?;
            self.weigh(&polled);
            for batch in &polled.batches {
                let first = batch.timestamps_us(0).next();
                first.map(|first| *first_us.entry(batch.partition).or_insert(first));
            }
            let missing = polled.lagging.iter().any(|partition| !first_us.contains_key(partition));
            if !missing || started.elapsed() > FIRST_WITHIN {
                self.source.seek(&Cut::default())?;
                return Ok(first_us.into_values().min());
            }
        }
    }
}
