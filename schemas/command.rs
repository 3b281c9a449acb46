//! What an actuator is asked for, and how far that is.
//!
//! ```text
//! proposed ─► issued ─► acknowledged ─► done
//!    │          │             ├───────► failed ─► (another command, or) escalated
//!    └──────────┴─► expired   │
//!    └─► rejected             └ verified against what made it be asked for
//! ```

use crate::Epoch;
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

/// How far a command is. The last five are its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandState {
    /// It waits for a person; with [`Mode::Observe`] it is only written down.
    Proposed,
    /// An actuator is to carry it out.
    #[default]
    Issued,
    /// An actuator did; whether it helped is not known yet.
    Acknowledged,
    /// It helped, or brought back what another took away.
    Done,
    /// An actuator could not do it, or it did not help.
    Failed,
    /// One more that did not help: nothing more is tried for this target until a person says so.
    Escalated,
    /// Nobody approved it, or nobody answered, in time.
    Expired,
    /// A person, or the actuator, would not have it.
    Rejected,
}

impl CommandState {
    /// Whether nothing more follows.
    pub const fn is_over(self) -> bool {
        !matches!(self, Self::Proposed | Self::Issued | Self::Acknowledged)
    }
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
    /// The time of this word about it, µs since the Unix epoch.
    pub at_us: i64,
    /// No actuator starts it after this, µs since the Unix epoch; a proposal is approved before.
    pub expires_us: i64,
    /// How far it is.
    #[serde(default)]
    pub state: CommandState,
    /// Why it is so far, in a few words; empty at first.
    #[serde(default)]
    pub detail: String,
    /// When it was decided, µs since the Unix epoch.
    #[serde(default)]
    pub decided_us: i64,
    /// Grows with every command that is issued for a target: an actuator that has seen a larger one refuses (a fencing token:
    /// Kleppmann, How to do distributed locking, 2016). Zero until it is issued.
    #[serde(default)]
    pub fence: u64,
    /// Who approved or rejected it; empty if nobody was asked.
    #[serde(default)]
    pub by: String,
}

impl Command {
    /// `CMD-` and the first 12 hex digits of the SHA-256 of incident, kind, target, time and epoch: one may fail and be asked
    /// for again while the present stands still.
    pub fn identify(incident_id: &str, kind: CommandKind, target: &str, (epoch, at_us): (Epoch, i64)) -> String {
        let text = format!("{incident_id}\0{kind:?}\0{target}\0{at_us}\0{}", epoch.0);
        format!("CMD-{}", short_hex(text.as_bytes()))
    }
}
