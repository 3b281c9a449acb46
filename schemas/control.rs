//! Orders to evenkeel itself, version 1.

use crate::Mode;
use crate::event::{Checked, Refusal, check_names, check_time};
use serde::{Deserialize, Serialize};

/// An order. Each is audited with its author.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "snake_case")]
pub enum Control {
    /// From now on commands for `service` (`*`: every service without an order of its own) are handled so.
    SetMode {
        /// When it was given, µs since the Unix epoch.
        event_time_us: i64,
        /// Who gave it.
        by: String,
        /// The service, or `*`.
        service: String,
        /// What is done with commands.
        mode: Mode,
    },
    /// While engaged, no command is issued at all.
    KillSwitch {
        /// When it was given, µs since the Unix epoch.
        event_time_us: i64,
        /// Who gave it.
        by: String,
        /// Whether it is engaged.
        engaged: bool,
    },
    /// The node is gone for good; its silence is no fault.
    RetireNode {
        /// When it was given, µs since the Unix epoch.
        event_time_us: i64,
        /// Who gave it.
        by: String,
        /// The service.
        service: String,
        /// The node.
        node: String,
    },
}

impl Control {
    /// When it was given, µs since the Unix epoch.
    pub fn event_time_us(&self) -> i64 {
        match self {
            Self::SetMode { event_time_us, .. }
            | Self::KillSwitch { event_time_us, .. }
            | Self::RetireNode { event_time_us, .. } => *event_time_us,
        }
    }

    /// Who gave it.
    pub fn by(&self) -> &str {
        match self {
            Self::SetMode { by, .. } | Self::KillSwitch { by, .. } | Self::RetireNode { by, .. } => by,
        }
    }

    /// What it is about: a service, a node, or `*`.
    pub fn scope(&self) -> &str {
        match self {
            Self::SetMode { service, .. } => service,
            Self::KillSwitch { .. } => "*",
            Self::RetireNode { node, .. } => node,
        }
    }

    /// The order's name.
    pub fn order(&self) -> &'static str {
        match self {
            Self::SetMode { .. } => "set_mode",
            Self::KillSwitch { .. } => "kill_switch",
            Self::RetireNode { .. } => "retire_node",
        }
    }
}

impl Checked for Control {
    fn check(&self) -> Result<(), Refusal> {
        check_time(self.event_time_us())?;
        let service = match self {
            Self::SetMode { service, .. } | Self::RetireNode { service, .. } => service.as_str(),
            Self::KillSwitch { .. } => "*",
        };
        check_names([("by", self.by()), ("service", service), ("node", self.scope())])?;
        if service.is_empty() || self.scope().is_empty() {
            return Err(Refusal::out_of_range("service or node is empty"));
        }
        Ok(())
    }
}
