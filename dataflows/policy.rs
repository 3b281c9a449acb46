//! `policy`: orders in; what holds for commands, kept for a restart.

use crate::glass::Glasses;
use crate::intervals::Intervals;
use crate::state::{State, from_json, json, record};
use crate::{Output, Tuning, wire};
use evenkeel_schemas::{Control, Coordinates, Mode};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// An order to evenkeel itself, and where it was given. Orders are heard in this order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Order {
    pub at: Coordinates,
    #[serde(with = "wire::as_json")]
    pub control: Control,
}

/// What was ordered about commands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Policy {
    /// What is done with commands, by service; `*` stands for every service without an order of its own.
    modes: BTreeMap<String, Mode>,
    /// Whether the kill switch is engaged: no command at all.
    pub killed: bool,
    /// When services are not judged, and what enters no baseline.
    pub intervals: Intervals,
    /// Who decides alone for a while.
    #[serde(default)]
    pub glasses: Glasses,
}

impl Order {
    /// Whether it is a policy, see [`crate::rules`].
    pub fn is_policy(&self) -> bool {
        matches!(self.control, Control::ApplyPolicy { .. })
    }
}

/// Where the state keeps it.
const KEPT_AT: &str = "fold/policy/all";

impl Policy {
    /// What was ordered before a restart.
    pub fn recovered(state: &State) -> Self {
        state.under(KEPT_AT).next().map(|(_, value)| from_json(value)).unwrap_or_default()
    }

    /// What the state keeps of it.
    pub fn kept(&self) -> Output {
        record(KEPT_AT.to_owned(), (*self != Self::default()).then(|| json(self)))
    }

    /// Takes in an order.
    pub fn hear(&mut self, control: &Control) {
        match control {
            Control::SetMode { service, mode, .. } => drop(self.modes.insert(service.clone(), *mode)),
            Control::KillSwitch { engaged, .. } => self.killed = *engaged,
            Control::Maintenance { .. } | Control::ExcludeFromBaseline { .. } => self.intervals.hear(control),
            Control::Approve { .. }
            | Control::Reject { .. }
            | Control::BreakGlass { .. }
            | Control::Resume { .. }
            | Control::RetireNode { .. }
            | Control::Link { .. }
            | Control::Unlink { .. }
            | Control::Change { .. }
            | Control::ApplyPolicy { .. } => {}
        }
    }

    /// What is done with commands for a service: what was ordered for it or, without an order, written for it; then what
    /// was ordered, or written, for all.
    pub fn mode(&self, service: &str, tuning: &Tuning) -> Mode {
        let (own, all) = (self.modes.get(service), self.modes.get("*"));
        *own.or_else(|| tuning.modes.get(service)).or(all).unwrap_or(&tuning.mode)
    }

    /// Another policy holds: where it changes a mode, that is newer than what was ordered. An order about what it does not
    /// change stands: who applies a limit does not give back what somebody took away.
    pub fn give_way(&mut self, before: &Tuning, after: &Tuning) {
        self.modes.retain(|service, _| match service.as_str() {
            "*" => before.mode == after.mode,
            own => before.modes.get(own) == after.modes.get(own),
        });
    }
}
