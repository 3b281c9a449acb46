//! [`Overlay`]: how the endpoints of a service are to be, where that is not as the operator has them.

use evenkeel_schemas::{Command, CommandKind};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The circuit of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Circuit {
    /// It gets its requests.
    #[default]
    Closed,
    /// It gets none.
    Open,
    /// It gets a few.
    HalfOpen,
}

/// What is wanted of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its circuit.
    pub circuit: Circuit,
    /// No new requests but those of sessions that stick to it.
    pub is_drained: bool,
    /// Envoy is to know nothing of it.
    pub is_isolated: bool,
}

/// A share of a service's requests that some of its endpoints are to get.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shift {
    /// What moved it: `reroute` to a locality, or `split_traffic` to a version.
    pub kind: CommandKind,
    /// The region, zone or sub-zone, or the version.
    pub to: String,
    /// At least so much, 1 to 100.
    pub percent: u32,
}

/// What is wanted of a service's endpoints. What is not in it is as the operator has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overlay {
    /// By the node's name.
    pub nodes: BTreeMap<String, Node>,
    /// Where requests are moved to.
    pub shift: Option<Shift>,
}

impl Overlay {
    /// Whether nothing is wanted.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What is wanted once a command was carried out.
    ///
    /// # Errors
    /// Why it cannot be.
    pub fn after(&self, command: &Command) -> Result<Self, String> {
        let mut after = self.clone();
        let node = after.nodes.entry(command.target.clone()).or_default();
        match command.kind {
            CommandKind::TripCircuit => node.circuit = Circuit::Open,
            CommandKind::HalfOpen => node.circuit = Circuit::HalfOpen,
            CommandKind::CloseCircuit => node.circuit = Circuit::Closed,
            CommandKind::Drain => node.is_drained = !command.undo,
            CommandKind::Isolate => node.is_isolated = !command.undo,
            _ => after.shift = self.moved(command)?,
        }
        after.nodes.retain(|_, node| *node != Node::default());
        Ok(after)
    }

    /// The share after a command: what is taken back says what is left, or nothing.
    fn moved(&self, command: &Command) -> Result<Option<Shift>, String> {
        let (kind, to) = (command.kind, command.params.get("to").cloned().unwrap_or_default());
        if let Some(other) = self.shift.as_ref().filter(|shift| (shift.kind, &shift.to) != (kind, &to)) {
            let Shift { kind, to, percent } = other;
            return Err(format!("{percent} % of the requests are moved to {to} by {} already", kind.name()));
        }
        let all = if command.undo { 0 } else { 100 };
        let percent = command.params.get("percent").map_or(Ok(all), |percent| percent.parse::<u32>());
        let percent = percent.ok().filter(|percent| *percent <= 100).ok_or("`percent` is not 0 to 100")?;
        Ok((percent > 0).then_some(Shift { kind, to, percent }))
    }
}
