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
    /// Work on a service that is known of: nothing is said of it meanwhile, and the interval enters no baseline.
    Maintenance {
        /// When it was given, µs since the Unix epoch.
        event_time_us: i64,
        /// Who gave it.
        by: String,
        /// The service, or `*`.
        service: String,
        /// When it begins, µs since the Unix epoch.
        from_us: i64,
        /// When it ends, µs since the Unix epoch; at most 30 days after it begins.
        to_us: i64,
    },
    /// The interval was no usual one: it enters no baseline, nor does what it left there stay.
    ExcludeFromBaseline {
        /// When it was given, µs since the Unix epoch.
        event_time_us: i64,
        /// Who gave it.
        by: String,
        /// The service, or `*`.
        service: String,
        /// When it began, µs since the Unix epoch.
        from_us: i64,
        /// When it ended, µs since the Unix epoch; at most 30 days after it began.
        to_us: i64,
    },
}

/// The longest maintenance or excluded interval, µs.
const MAX_INTERVAL_US: i64 = 30 * 24 * 3600 * 1_000_000;

impl Control {
    /// When it was given, µs since the Unix epoch.
    pub fn event_time_us(&self) -> i64 {
        match self {
            Self::SetMode { event_time_us, .. }
            | Self::KillSwitch { event_time_us, .. }
            | Self::RetireNode { event_time_us, .. }
            | Self::Maintenance { event_time_us, .. }
            | Self::ExcludeFromBaseline { event_time_us, .. } => *event_time_us,
        }
    }

    /// Who gave it.
    pub fn by(&self) -> &str {
        match self {
            Self::SetMode { by, .. }
            | Self::KillSwitch { by, .. }
            | Self::RetireNode { by, .. }
            | Self::Maintenance { by, .. }
            | Self::ExcludeFromBaseline { by, .. } => by,
        }
    }

    /// The service it is about, or `*`.
    pub fn service(&self) -> &str {
        match self {
            Self::SetMode { service, .. }
            | Self::RetireNode { service, .. }
            | Self::Maintenance { service, .. }
            | Self::ExcludeFromBaseline { service, .. } => service,
            Self::KillSwitch { .. } => "*",
        }
    }

    /// What it is about: a service, a node, or `*`.
    pub fn scope(&self) -> &str {
        match self {
            Self::RetireNode { node, .. } => node,
            _ => self.service(),
        }
    }

    /// The interval it speaks of, if it does: from, inclusive, and to, exclusive, µs since the Unix epoch.
    pub fn interval_us(&self) -> Option<(i64, i64)> {
        match self {
            Self::Maintenance { from_us, to_us, .. } | Self::ExcludeFromBaseline { from_us, to_us, .. } => {
                Some((*from_us, *to_us))
            }
            _ => None,
        }
    }

    /// The order's name.
    pub fn order(&self) -> &'static str {
        match self {
            Self::SetMode { .. } => "set_mode",
            Self::KillSwitch { .. } => "kill_switch",
            Self::RetireNode { .. } => "retire_node",
            Self::Maintenance { .. } => "maintenance",
            Self::ExcludeFromBaseline { .. } => "exclude_from_baseline",
        }
    }
}

impl Checked for Control {
    fn check(&self) -> Result<(), Refusal> {
        check_time(self.event_time_us())?;
        check_names([("by", self.by()), ("service", self.service()), ("node", self.scope())])?;
        if self.service().is_empty() || self.scope().is_empty() {
            return Err(Refusal::out_of_range("service or node is empty"));
        }
        let Some((from_us, to_us)) = self.interval_us() else { return Ok(()) };
        check_time(from_us)?;
        check_time(to_us)?;
        if !(1..=MAX_INTERVAL_US).contains(&(to_us - from_us)) {
            return Err(Refusal::out_of_range("to_us: 1 µs to 30 days after from_us"));
        }
        Ok(())
    }
}
