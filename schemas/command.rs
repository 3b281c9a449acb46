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
use std::collections::BTreeMap;

/// What is done with commands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// They are written down; no actuator hears of them.
    #[default]
    Observe,
    /// They wait for a person, whoever it is.
    Suggest,
    /// They wait for those whom the roster and the approval name.
    Approve,
    /// They are carried out.
    Auto,
}

/// What is asked for. Names in `code` are [`Command::params`]; a `percent` is of a hundred, and says how it is to be, not by
/// how much it changes.
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
    /// Give the target one more replica: then it has `replicas`, if they are counted.
    Scale,
    /// Send `percent` of the target's requests to another place, `to`: a cache, or a region.
    Reroute,
    /// Let at most `percent` of the target's requests end in errors; the others are answered by a fallback.
    LimitErrors,
    /// Turn away `percent` of the target's requests.
    Throttle,
    /// Send the target no new requests; what is in flight, and connections, end by themselves.
    Drain,
    /// Cut the target off from everything, and let it run.
    Isolate,
    /// Make `to` the one that serves. Who served before has stopped by then, or its lease of `lease_s` has run out.
    Failover,
    /// Take back the deploy of `version`; `to` is the version before, if it is known.
    Rollback,
    /// Send `percent` of the target's requests to its version `to`.
    SplitTraffic,
    /// Set the flag `flag` to `on`: `true` or `false`.
    SetFlag,
    /// Deploy the target anew from the image with this `digest`.
    Redeploy,
    /// Run the script `script` with `arg0`, `arg1` and so on.
    RunScript,
}

impl CommandKind {
    /// Every one of them, in their order.
    pub const ALL: [Self; 16] = [
        Self::TripCircuit,
        Self::HalfOpen,
        Self::CloseCircuit,
        Self::RestartNode,
        Self::Scale,
        Self::Reroute,
        Self::LimitErrors,
        Self::Throttle,
        Self::Drain,
        Self::Isolate,
        Self::Failover,
        Self::Rollback,
        Self::SplitTraffic,
        Self::SetFlag,
        Self::Redeploy,
        Self::RunScript,
    ];

    /// Its name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TripCircuit => "trip_circuit",
            Self::HalfOpen => "half_open",
            Self::CloseCircuit => "close_circuit",
            Self::RestartNode => "restart_node",
            Self::Scale => "scale",
            Self::Reroute => "reroute",
            Self::LimitErrors => "limit_errors",
            Self::Throttle => "throttle",
            Self::Drain => "drain",
            Self::Isolate => "isolate",
            Self::Failover => "failover",
            Self::Rollback => "rollback",
            Self::SplitTraffic => "split_traffic",
            Self::SetFlag => "set_flag",
            Self::Redeploy => "redeploy",
            Self::RunScript => "run_script",
        }
    }

    /// What of its target it changes: a command overtakes older ones that change the same. Circuits have three kinds.
    pub const fn changes(self) -> &'static str {
        match self {
            Self::TripCircuit | Self::HalfOpen | Self::CloseCircuit => "circuit",
            other => other.name(),
        }
    }

    /// Whether what it does holds until it is taken back, by a command of the same kind with [`Command::undo`]. Circuits have
    /// kinds of their own for that.
    pub const fn holds(self) -> bool {
        use CommandKind::{Drain, Failover, Isolate, LimitErrors, Reroute, SetFlag, SplitTraffic, Throttle};
        matches!(self, Reroute | LimitErrors | Throttle | Drain | Isolate | Failover | SplitTraffic | SetFlag)
    }

    /// Whether what failed gets no requests any more after it: they go elsewhere, or it is another replica or version that
    /// gets them.
    pub const fn diverts(self) -> bool {
        use CommandKind::{Drain, Failover, Isolate, Redeploy, Reroute, RestartNode, Rollback, SplitTraffic};
        matches!(self, Drain | Failover | Isolate | Redeploy | Reroute | RestartNode | Rollback | SplitTraffic)
    }

    /// Whether it takes its target, a replica, out of service.
    pub const fn takes_out(self) -> bool {
        matches!(self, Self::TripCircuit | Self::Drain | Self::Isolate)
    }
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
    /// Grows with every command that is issued for a target: an actuator that has seen a larger one of those that change the
    /// same of it ([`CommandKind::changes`]) refuses (a fencing token: Kleppmann, How to do distributed locking, 2016). Zero
    /// until it is issued.
    #[serde(default)]
    pub fence: u64,
    /// Who approved or rejected it, several with commas in between; empty if nobody was asked.
    #[serde(default)]
    pub by: String,
    /// What its kind needs to know, see [`CommandKind`]: a dozen short texts at most.
    #[serde(default)]
    pub params: BTreeMap<String, String>,
    /// Whether it takes back what an earlier command of its kind did, as far as `params` say; nothing more is left of it
    /// without a `percent`, or with none of a hundred.
    #[serde(default)]
    pub undo: bool,
}

impl Command {
    /// `CMD-` and the first 12 hex digits of the SHA-256 of incident, kind, target, time and epoch: one may fail and be asked
    /// for again while the present stands still.
    pub fn identify(incident_id: &str, kind: CommandKind, target: &str, (epoch, at_us): (Epoch, i64)) -> String {
        let text = format!("{incident_id}\0{kind:?}\0{target}\0{at_us}\0{}", epoch.0);
        format!("CMD-{}", short_hex(text.as_bytes()))
    }
}
