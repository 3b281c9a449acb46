//! Gauges and counters of nodes, version 1.

use crate::event::{Checked, Refusal, check_names, check_time};
use serde::{Deserialize, Serialize};

/// Whether a value stands for itself or only ever grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MetricKind {
    /// The value as it is now.
    Gauge,
    /// A total since the node started.
    Counter,
}

/// One value of one metric of one node, e.g. `pool.used` 18 of 20.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Telemetry {
    /// When it was read, µs since the Unix epoch, UTC.
    pub event_time_us: i64,
    /// The node it was read on.
    pub node: String,
    /// The service that runs there.
    #[serde(default)]
    pub service: String,
    /// Gauge or counter.
    pub kind: MetricKind,
    /// `cpu.used`, `memory.used_bytes`, `sockets.open`, `pool.used`, `pool.waiting`, `queue.depth`, …
    pub name: String,
    /// The value, in the unit its name ends in.
    pub value: f64,
    /// What the value cannot exceed; absent if nothing limits it.
    #[serde(default)]
    pub limit: Option<f64>,
}

impl Telemetry {
    /// The value in thousandths, the fixed-point form in which detectors count.
    pub fn value_milli(&self) -> i64 {
        milli(self.value)
    }

    /// The limit in thousandths.
    pub fn limit_milli(&self) -> Option<i64> {
        self.limit.map(milli)
    }
}

fn milli(value: f64) -> i64 {
    // `check` has bounded the value, so nothing saturates; exact to the thousandth up to 2^53 thousandths (9·10^12).
    (value * 1000.0).round() as i64
}

impl Checked for Telemetry {
    fn check(&self) -> Result<(), Refusal> {
        check_time(self.event_time_us)?;
        check_names([("node", &self.node), ("service", &self.service), ("name", &self.name)])?;
        let believable = |value: f64| value.is_finite() && value.abs() <= 1e15;
        if self.node.is_empty() || self.name.is_empty() {
            return Err(Refusal::out_of_range("node or name is empty"));
        }
        if !believable(self.value) || !self.limit.is_none_or(|limit| believable(limit) && limit > 0.0) {
            return Err(Refusal::out_of_range("value or limit"));
        }
        Ok(())
    }
}
