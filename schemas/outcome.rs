//! What came of a command, version 1.

use crate::event::{Checked, Refusal, check_names, check_time};
use serde::{Deserialize, Serialize};

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeStatus {
    /// The actuator did it.
    Applied,
    /// The actuator could not do it.
    Failed,
    /// The actuator would not do it.
    Refused,
}

/// An actuator's answer to a command.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Outcome {
    /// When, µs since the Unix epoch, UTC.
    pub event_time_us: i64,
    /// The command's idempotency key.
    pub command_id: String,
    /// The service the command was for.
    pub service: String,
    /// How it ended.
    pub status: OutcomeStatus,
    /// The actuator's own words.
    #[serde(default)]
    pub detail: String,
}

impl Checked for Outcome {
    fn check(&self) -> Result<(), Refusal> {
        check_time(self.event_time_us)?;
        check_names([("command_id", &self.command_id), ("service", &self.service), ("detail", &self.detail)])?;
        if self.service.is_empty() || self.command_id.is_empty() {
            return Err(Refusal::out_of_range("service or command_id is empty"));
        }
        Ok(())
    }
}
