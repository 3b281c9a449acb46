//! What the pipeline says about itself: one list of metrics, one recorder, the Prometheus text format (0.0.4).

use evenkeel_dataflows::Changes;
use evenkeel_schemas::Dataset;
use std::fmt::Write;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

/// A metric; its number is its place in [`LIST`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// Records of committed epochs.
    Records,
    /// Committed epochs.
    Epochs,
    /// Times the pipeline recovered from its ledger.
    Recoveries,
    /// The newest committed epoch.
    Epoch,
    /// How far what is committed is behind the wall clock, µs.
    BehindUs,
    /// Whether everything that came in was read.
    CaughtUp,
    /// Estimated time until it is caught up, µs; −1: not known yet.
    CatchUpUs,
}

const LIST: [(&str, &str, &str); 7] = [
    ("evenkeel_records_total", "counter", "Records of committed epochs."),
    ("evenkeel_epochs_total", "counter", "Committed epochs."),
    ("evenkeel_recoveries_total", "counter", "Times the pipeline recovered from its ledger."),
    ("evenkeel_epoch", "gauge", "The newest committed epoch."),
    ("evenkeel_behind_microseconds", "gauge", "How far what is committed is behind the wall clock."),
    ("evenkeel_caught_up", "gauge", "1 if everything that came in was read."),
    ("evenkeel_catch_up_microseconds", "gauge", "Estimated time until it is caught up; -1 if unknown."),
];

/// The values.
#[derive(Debug, Default)]
pub struct Metrics {
    values: [AtomicI64; LIST.len()],
    outputs: [AtomicI64; Dataset::ALL.len()],
}

impl Metrics {
    /// Sets a gauge.
    pub fn set(&self, metric: Metric, value: i64) {
        self.values[metric as usize].store(value, Ordering::Relaxed);
    }

    /// Adds to a counter.
    pub fn add(&self, metric: Metric, value: i64) {
        self.values[metric as usize].fetch_add(value, Ordering::Relaxed);
    }

    /// The value of a metric.
    pub fn get(&self, metric: Metric) -> i64 {
        self.values[metric as usize].load(Ordering::Relaxed)
    }

    /// Takes in committed epochs.
    pub fn committed(&self, epochs: &[Changes]) {
        for changes in epochs {
            self.add(Metric::Records, changes.records as i64);
            self.add(Metric::Epochs, 1);
            self.set(Metric::Epoch, changes.binding.epoch.0 as i64);
            for output in &changes.outputs {
                self.outputs[output.dataset as usize].fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Everything in the Prometheus text format.
    pub fn render(&self) -> String {
        let mut text = String::new();
        for ((name, kind, help), value) in LIST.iter().zip(&self.values) {
            let value = value.load(Ordering::Relaxed);
            writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}").expect("writing to a string");
        }
        text += "# HELP evenkeel_outputs_total Committed outputs.\n# TYPE evenkeel_outputs_total counter\n";
        for (dataset, value) in Dataset::ALL.iter().zip(&self.outputs) {
            let (name, value) = (dataset.folder(), value.load(Ordering::Relaxed));
            writeln!(text, "evenkeel_outputs_total{{dataset=\"{name}\"}} {value}").expect("writing to a string");
        }
        text
    }
}

/// Estimates from the last seconds how long catching up will take.
#[derive(Debug)]
pub struct CatchUp {
    since: Instant,
    behind_us: i64,
}

impl CatchUp {
    /// Starts to watch.
    pub fn new() -> Self {
        Self { since: Instant::now(), behind_us: i64::MAX }
    }

    /// Takes in the lag, about once a second, and says it in the metrics.
    pub fn observe(&mut self, behind_us: i64, caught_up: bool, metrics: &Metrics) {
        metrics.set(Metric::BehindUs, behind_us);
        metrics.set(Metric::CaughtUp, i64::from(caught_up));
        let elapsed = self.since.elapsed();
        if caught_up {
            metrics.set(Metric::CatchUpUs, 0);
        } else if elapsed >= Duration::from_secs(1) {
            let gained_us = self.behind_us.saturating_sub(behind_us);
            let known = self.behind_us < i64::MAX && gained_us > 0;
            let left = |gained: i64| (i128::from(behind_us) * elapsed.as_micros() as i128 / i128::from(gained)) as i64;
            metrics.set(Metric::CatchUpUs, if known { left(gained_us) } else { -1 });
            *self = Self { since: Instant::now(), behind_us };
        }
    }
}

impl Default for CatchUp {
    fn default() -> Self {
        Self::new()
    }
}
