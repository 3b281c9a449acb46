//! Health probes and heartbeats, version 1.

use crate::event::{Checked, Refusal, check_names, check_time};
use serde::{Deserialize, Serialize};

/// A node says that it lives (`vantage` empty), or somebody looked and says how it was.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Probe {
    /// When, µs since the Unix epoch, UTC.
    pub event_time_us: i64,
    /// The node.
    pub node: String,
    /// The service that runs there.
    pub service: String,
    /// Who looked; empty for a heartbeat.
    #[serde(default)]
    pub vantage: String,
    /// Whether it was found healthy.
    #[serde(default = "yes")]
    pub healthy: bool,
    /// How long until the next one is due, µs, from 100 ms to 1 h.
    #[serde(default = "one_second")]
    pub interval_us: i64,
}

fn yes() -> bool {
    true
}

fn one_second() -> i64 {
    1_000_000
}

impl Checked for Probe {
    fn check(&self) -> Result<(), Refusal> {
        check_time(self.event_time_us)?;
        check_names([("node", &self.node), ("service", &self.service), ("vantage", &self.vantage)])?;
        if self.node.is_empty() || self.service.is_empty() {
            return Err(Refusal::out_of_range("node or service is empty"));
        }
        if !(100_000..=3_600_000_000).contains(&self.interval_us) {
            return Err(Refusal::out_of_range("interval_us"));
        }
        Ok(())
    }
}
