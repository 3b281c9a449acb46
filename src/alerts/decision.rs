//! What is decided of an alert and a receiver, and why: the words for it.

use super::alert::Alert;
use super::receiver::Kind;
use serde::{Deserialize, Serialize};

/// Why somebody was not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The record is not worth a page.
    NotNotified,
    /// A silence holds.
    Silenced,
    /// It was told together with others, in one message.
    Grouped,
    /// The same record, or an older one, was seen.
    Duplicate,
    /// It is not this receiver's turn yet, or somebody took the alert on before it was.
    BelowTier,
    /// The receiver was told as much as it may be in an hour.
    NoiseBudget,
    /// It does not concern this receiver.
    NotRouted,
    /// It ended before alerts were first read here, or before the receiver was one.
    BeforeStart,
    /// More alerts stand than are held.
    TooMany,
    /// It is a receiver no more, and was not told the end.
    Removed,
}

/// What a receiver is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It began.
    Trigger,
    /// It is worth another page.
    Update,
    /// Nothing new: it is open still.
    Resend,
    /// Somebody took it on.
    Acknowledge,
    /// It is over, or told here no more.
    Resolve,
}

/// What is to be told to a receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// What.
    pub action: Action,
    /// Of which alert.
    pub alert: Alert,
    /// How many messages of it the receiver had before.
    pub before: u32,
}

/// A change of what is told, or not: a line of the decisions file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// When, µs since the Unix epoch: by the log for records, by the machine's clock for receivers.
    pub at_us: i64,
    /// The incident.
    pub incident_id: String,
    /// Who; empty if it is true for all.
    pub receiver: String,
    /// `suppressed`, `sent`, `refused`.
    pub what: String,
    /// Why not, which message, or what the receiver said.
    pub reason: String,
}

impl Due {
    /// Whether it wakes somebody.
    pub fn is_page(&self, kind: Kind) -> bool {
        match self.action {
            Action::Trigger => true,
            Action::Update | Action::Resend => {
                !kind.is_keyed() || self.action == Action::Update && self.alert.only.is_none()
            }
            Action::Acknowledge | Action::Resolve => false,
        }
    }
}

impl Action {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trigger => "trigger",
            Self::Update => "update",
            Self::Resend => "resend",
            Self::Acknowledge => "acknowledge",
            Self::Resolve => "resolve",
        }
    }
}

impl Reason {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotNotified => "not_notified",
            Self::Silenced => "silenced",
            Self::Grouped => "grouped",
            Self::Duplicate => "duplicate",
            Self::BelowTier => "below_tier",
            Self::NoiseBudget => "noise_budget",
            Self::NotRouted => "not_routed",
            Self::BeforeStart => "before_start",
            Self::TooMany => "too_many",
            Self::Removed => "removed",
        }
    }
}
