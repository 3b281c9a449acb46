//! Names of the input topics and output datasets: `<area>.<dataset>.v<major>`, lower case, dots only.

use serde::{Deserialize, Serialize};

/// An input topic; it alone decides how a record's bytes are decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum Topic {
    /// One served request a record.
    #[serde(rename = "req.events.v1")]
    Requests = 0,
    /// Gauges and counters of nodes.
    #[serde(rename = "telemetry.events.v1")]
    Telemetry = 1,
    /// Health probes and heartbeats.
    #[serde(rename = "health.probes.v1")]
    Probes = 2,
    /// Database changes in the Debezium envelope.
    #[serde(rename = "db.changes.v1")]
    Changes = 3,
    /// Orders to evenkeel itself.
    #[serde(rename = "ops.control.v1")]
    Control = 4,
    /// What came of a command.
    #[serde(rename = "ops.acks.v1")]
    Outcomes = 5,
    /// What others have to say to the audit log.
    #[serde(rename = "audit.events.v1")]
    AuditEvents = 6,
}

impl Topic {
    /// Every input topic, in the order of their numbers.
    pub const ALL: [Self; 7] = [
        Self::Requests,
        Self::Telemetry,
        Self::Probes,
        Self::Changes,
        Self::Control,
        Self::Outcomes,
        Self::AuditEvents,
    ];

    /// The topic's name on a broker.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Requests => "req.events.v1",
            Self::Telemetry => "telemetry.events.v1",
            Self::Probes => "health.probes.v1",
            Self::Changes => "db.changes.v1",
            Self::Control => "ops.control.v1",
            Self::Outcomes => "ops.acks.v1",
            Self::AuditEvents => "audit.events.v1",
        }
    }

    /// The topic with this name, if there is one.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|topic| topic.name() == name)
    }

    /// The topic with this number, if there is one.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }
}

/// A kind of output; each is a topic on a broker, and the cold ones a folder of Parquet files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Dataset {
    /// Rolling windows of a key, as often as configured ([`crate::Baseline`]).
    Baselines = 0,
    /// A detector's words ([`crate::Verdict`]).
    Verdicts = 1,
    /// Verdicts with one root ([`crate::Incident`]).
    Incidents = 2,
    /// What actuators are asked for ([`crate::Command`]).
    Commands = 3,
    /// One tally per key and minute ([`crate::Rollup`]).
    Rollups = 4,
    /// Records that are no event ([`crate::Rejection`]).
    Rejections = 5,
    /// The hash-chained log of changes and decisions ([`crate::audit::Entry`]).
    Audit = 6,
    /// What operators hold, for recovery; compacted by key.
    State = 7,
}

impl Dataset {
    /// Every dataset, in the order of their numbers.
    pub const ALL: [Self; 8] = [
        Self::Baselines,
        Self::Verdicts,
        Self::Incidents,
        Self::Commands,
        Self::Rollups,
        Self::Rejections,
        Self::Audit,
        Self::State,
    ];

    /// The dataset's topic on a broker.
    pub const fn topic(self) -> &'static str {
        match self {
            Self::Baselines => "out.baselines.v1",
            Self::Verdicts => "out.verdicts.v1",
            Self::Incidents => "out.incidents.v1",
            Self::Commands => "out.commands.v1",
            Self::Rollups => "out.rollups.v1",
            Self::Rejections => "out.dlq.v1",
            Self::Audit => "audit.log.v1",
            Self::State => "evenkeel.state.v1",
        }
    }

    /// The dataset's folder in the cold store.
    pub const fn folder(self) -> &'static str {
        match self {
            Self::Baselines => "baselines",
            Self::Verdicts => "verdicts",
            Self::Incidents => "incidents",
            Self::Commands => "commands",
            Self::Rollups => "rollups",
            Self::Rejections => "rejections",
            Self::Audit => "audit",
            Self::State => "state",
        }
    }

    /// The dataset with this number, if there is one.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }
}
