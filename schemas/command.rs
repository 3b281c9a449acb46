//! What an actuator is asked for.

use crate::incident::short_hex;
use serde::{Deserialize, Serialize};

/// What is done with commands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// They are written down; no actuator hears of them.
    #[default]
    Observe,
    /// They wait for a person.
    Suggest,
    /// They are carried out.
    Auto,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandKind {
    /// Send no traffic to the target.
    TripCircuit,
    /// Send the target a little traffic, to see.
    HalfOpen,
    /// Send the target its traffic again.
    CloseCircuit,
    /// Restart the target.
    RestartNode,
    /// Give the target one more replica.
    Scale,
}

/// A command.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Command {
    /// The idempotency key: the same decision always has the same one, see [`Command::identify`].
    pub command_id: String,
    /// What is asked for.
    pub kind: CommandKind,
    /// The node or service it is about.
    pub target: String,
    /// The service.
    pub service: String,
    /// The incident it is for.
    pub incident_id: String,
    /// What is done with it.
    pub mode: Mode,
    /// Why, in one line.
    pub reason: String,
    /// When it was decided, µs since the Unix epoch.
    pub at_us: i64,
    /// No actuator starts it after this, µs since the Unix epoch.
    pub expires_us: i64,
}

impl Command {
    /// `CMD-` and the first 12 hex digits of the SHA-256 of incident, kind, target and time.
    pub fn identify(incident_id: &str, kind: CommandKind, target: &str, at_us: i64) -> String {
        format!("CMD-{}", short_hex(format!("{incident_id}\0{kind:?}\0{target}\0{at_us}").as_bytes()))
    }
}
