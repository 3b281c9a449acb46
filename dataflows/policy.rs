//! `policy`: orders in; what holds for commands, kept for a restart.

use crate::epochs::Moment;
use crate::intervals::Intervals;
use crate::operators::fold::Machine;
use crate::state::{State, from_json};
use crate::wire;
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
}

impl Policy {
    /// What was ordered before a restart.
    pub fn recovered(state: &State) -> Self {
        let ordered = state.under("fold/policy/").next().map(|(_, value)| from_json(value));
        ordered.unwrap_or_default()
    }

    /// Takes in an order.
    pub fn hear(&mut self, control: &Control) {
        match control {
            Control::SetMode { service, mode, .. } => drop(self.modes.insert(service.clone(), *mode)),
            Control::KillSwitch { engaged, .. } => self.killed = *engaged,
            Control::Maintenance { .. } | Control::ExcludeFromBaseline { .. } => self.intervals.hear(control),
            Control::Approve { .. }
            | Control::Reject { .. }
            | Control::Resume { .. }
            | Control::RetireNode { .. }
            | Control::Link { .. }
            | Control::Unlink { .. }
            | Control::Change { .. } => {}
        }
    }

    /// What was ordered for a service, if anything was.
    pub fn mode(&self, service: &str) -> Option<Mode> {
        self.modes.get(service).or_else(|| self.modes.get("*")).copied()
    }
}

/// Keeps the policy, under [`KEY`].
pub(crate) struct Keeper;

/// The one key of [`Keeper`].
pub(crate) const KEY: &str = "all";

impl Machine for Keeper {
    type Key = String;
    type Input = Order;
    type State = Policy;
    type Said = ();
    const NAME: &'static str = "policy";

    fn hear(&self, _key: &String, state: &mut Policy, Order { control, .. }: Order, _now: Moment, _said: &mut Vec<()>) {
        state.hear(&control);
    }
}
