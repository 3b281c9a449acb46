//! The pipeline kept running: opened, turned, recovered after errors, stopped cleanly.

use crate::metrics::{CatchUp, Metric, Metrics};
use crate::pipeline::{Committer, Pace, Pipeline, Threaded};
use crate::ports::{Clock, Ledger, PortError, Source};
use evenkeel_dataflows::{Changes, Tuning};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Longest pause between two attempts to recover.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What a service needs to know.
pub struct Service<'a> {
    /// The numbers of the core.
    pub tuning: &'a Tuning,
    /// Worker threads.
    pub workers: usize,
    /// How epochs are cut.
    pub pace: Pace,
    /// Set to stop.
    pub stop: &'a AtomicBool,
    /// Where counts go.
    pub metrics: &'a Arc<Metrics>,
}

impl Service<'_> {
    /// Runs until told to stop; after an error that may pass, recovers and goes on. `open` makes the ports anew.
    ///
    /// # Errors
    /// `Fenced` and `Fatal`; `Retry` never.
    pub fn run<S: Source, L: Ledger + 'static, K: Clock>(
        &self,
        mut open: impl FnMut() -> Result<(S, L, K), PortError>,
        mut committed: impl FnMut(&[Changes]),
    ) -> Result<(), PortError> {
        let (mut pause, mut recovers) = (Duration::from_millis(100), false);
        while !self.stop.load(Ordering::Relaxed) {
            let before = self.metrics.get(Metric::Epochs);
            let ended = open()
                .and_then(|(source, ledger, clock)| self.attempt((source, ledger, clock), recovers, &mut committed));
            match ended {
                Err(PortError::Retry(why)) => {
                    if self.metrics.get(Metric::Epochs) > before {
                        pause = Duration::from_millis(100);
                    }
                    tracing::warn!(why, pause_ms = pause.as_millis() as u64, "recovering");
                    self.metrics.add(Metric::Recoveries, 1);
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    recovers = true;
                }
                ended => return ended,
            }
        }
        Ok(())
    }

    fn attempt(
        &self,
        (source, mut ledger, clock): (impl Source, impl Ledger + 'static, impl Clock),
        recovers: bool,
        committed: &mut impl FnMut(&[Changes]),
    ) -> Result<(), PortError> {
        let found = ledger.recover()?;
        let next = found.bindings.last().map_or(0, |last| last.epoch.0 + 1);
        tracing::info!(next_epoch = next, state_records = found.state.len(), "recovered");
        let settings = (self.tuning, self.workers, self.pace);
        let mut pipeline = Pipeline::open(source, found, Threaded::new(ledger), clock, settings)?;
        if recovers {
            pipeline.hold();
        }
        self.keep_turning(pipeline, committed)
    }

    /// Turns a pipeline until told to stop.
    pub(crate) fn keep_turning<S: Source, C: Committer, K: Clock>(
        &self,
        mut pipeline: Pipeline<S, C, K>,
        committed: &mut impl FnMut(&[Changes]),
    ) -> Result<(), PortError> {
        let mut catch_up = CatchUp::new();
        while !self.stop.load(Ordering::Relaxed) {
            let turn = pipeline.turn()?;
            self.report(&turn.committed, committed);
            let (behind_us, caught_up) = pipeline.lag();
            catch_up.observe(behind_us, caught_up, self.metrics);
        }
        self.stop(pipeline, committed)
    }

    fn stop<S: Source, C: Committer, K: Clock>(
        &self,
        pipeline: Pipeline<S, C, K>,
        committed: &mut impl FnMut(&[Changes]),
    ) -> Result<(), PortError> {
        let last = pipeline.stop()?;
        self.report(&last, committed);
        tracing::info!(epoch = self.metrics.get(Metric::Epoch), "stopped; the open epoch was dropped");
        Ok(())
    }

    fn report(&self, epochs: &[Changes], committed: &mut impl FnMut(&[Changes])) {
        if !epochs.is_empty() {
            self.metrics.committed(epochs);
            committed(epochs);
        }
    }
}
