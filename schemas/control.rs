//! Orders to evenkeel itself, version 1.

use crate::event::{Checked, Refusal, check_names, check_time};
use crate::{Mode, Reason};
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
    /// A proposed command is to be carried out.
    Approve {
        /// When it was given, µs since the Unix epoch.
        event_time_us: i64,
        /// Who gave it.
        by: String,
        /// The service the command is for.
        service: String,
        /// The command.
        command_id: String,
        /// What was proven of the person; counts only under a seal.
        #[serde(default)]
        proofs: Vec<Proof>,
        /// A gate's signature, see [`Control::sealed_text`]; empty if no gate was asked.
        #[serde(default)]
        seal: String,
    },
    /// A proposed command is not to be carried out.
    Reject {
        /// When it was given, µs since the Unix epoch.
        event_time_us: i64,
        /// Who gave it.
        by: String,
        /// The service the command is for.
        service: String,
        /// The command.
        command_id: String,
        /// What was proven of the person; counts only under a seal.
        #[serde(default)]
        proofs: Vec<Proof>,
        /// A gate's signature, see [`Control::sealed_text`]; empty if no gate was asked.
        #[serde(default)]
        seal: String,
    },
    /// For a while this person decides alone about proposed commands of every kind, whatever the approval asks for; everybody
    /// is told, and it ends by itself. It is refused, and the refusal audited, unless the roster admits it.
    BreakGlass {
        /// When it was given, µs since the Unix epoch; each order of a person is later than the one before.
        event_time_us: i64,
        /// Who gave it.
        by: String,
        /// The service, or `*`.
        service: String,
        /// For how long from then on, s; at most [`MAX_GLASS_S`]. 0: it ends now.
        for_s: u32,
        /// Why.
        why: String,
        /// What was proven of the person; counts only under a seal.
        #[serde(default)]
        proofs: Vec<Proof>,
        /// A gate's signature, see [`Control::sealed_text`]; empty if no gate was asked.
        #[serde(default)]
        seal: String,
    },
    /// What was given up for a service may be tried again.
    Resume {
        /// When it was given, µs since the Unix epoch.
        event_time_us: i64,
        /// Who gave it.
        by: String,
        /// The service.
        service: String,
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
    /// A service calls another; holds for a week, unless it is said again.
    Link {
        /// When it was given, µs since the Unix epoch.
        event_time_us: i64,
        /// Who gave it.
        by: String,
        /// The service that calls.
        caller: String,
        /// The service that is called.
        callee: String,
    },
    /// A service does not call another any more.
    Unlink {
        /// When it was given, µs since the Unix epoch.
        event_time_us: i64,
        /// Who gave it.
        by: String,
        /// The service that called.
        caller: String,
        /// The service that was called.
        callee: String,
    },
    /// Something was changed about a service: a deploy, a flag, a configuration. An incident that begins soon after names it.
    Change {
        /// When it took effect, µs since the Unix epoch.
        event_time_us: i64,
        /// Who did it.
        by: String,
        /// The service.
        service: String,
        /// What, e.g. `deploy` or `flag new-checkout on`.
        what: String,
        /// The version since then; empty if it has none.
        #[serde(default)]
        version: String,
    },
    /// From now on detectors, objectives and recovery go by these settings, and no longer by those of the version before.
    /// It is refused, and the refusal audited, unless it is the next version and its settings are within their bounds.
    ApplyPolicy {
        /// When it was given, µs since the Unix epoch.
        event_time_us: i64,
        /// Who gave it.
        by: String,
        /// One more than the version it takes the place of; the first is 1.
        version: u64,
        /// SHA-256 of `documents`, 64 lower-case hexadecimal digits.
        sha256: String,
        /// What was written, for people: the documents as one JSON array, sorted, without spaces; at most
        /// [`MAX_DOCUMENTS_BYTES`].
        documents: String,
        /// What it amounts to: the part of the tuning that is other than the run was started with, as a JSON object; at
        /// most [`MAX_SETTINGS_BYTES`].
        settings: String,
    },
}

/// The longest `documents` of a policy, bytes.
pub const MAX_DOCUMENTS_BYTES: usize = 256 << 10;

/// The longest `settings` of a policy, bytes.
pub const MAX_SETTINGS_BYTES: usize = 64 << 10;

/// The longest that one order lets a person decide alone, s: four hours.
pub const MAX_GLASS_S: u32 = 4 * 3600;

/// Most proofs of one order.
const MAX_PROOFS: usize = 8;

/// What a gate made sure of before it put its seal on an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// A time-based one-time password (RFC 6238) of the person.
    Totp,
}

/// What an order about the policy is about, and the entity of its audit entries.
pub const POLICY: &str = "policy";

/// The longest maintenance or excluded interval, µs.
const MAX_INTERVAL_US: i64 = 30 * 24 * 3600 * 1_000_000;

impl Control {
    /// When it was given, µs since the Unix epoch.
    pub fn event_time_us(&self) -> i64 {
        match self {
            Self::SetMode { event_time_us, .. }
            | Self::KillSwitch { event_time_us, .. }
            | Self::Approve { event_time_us, .. }
            | Self::Reject { event_time_us, .. }
            | Self::BreakGlass { event_time_us, .. }
            | Self::Resume { event_time_us, .. }
            | Self::RetireNode { event_time_us, .. }
            | Self::Maintenance { event_time_us, .. }
            | Self::ExcludeFromBaseline { event_time_us, .. }
            | Self::Link { event_time_us, .. }
            | Self::Unlink { event_time_us, .. }
            | Self::Change { event_time_us, .. }
            | Self::ApplyPolicy { event_time_us, .. } => *event_time_us,
        }
    }

    /// Who gave it.
    pub fn by(&self) -> &str {
        match self {
            Self::SetMode { by, .. }
            | Self::KillSwitch { by, .. }
            | Self::Approve { by, .. }
            | Self::Reject { by, .. }
            | Self::BreakGlass { by, .. }
            | Self::Resume { by, .. }
            | Self::RetireNode { by, .. }
            | Self::Maintenance { by, .. }
            | Self::ExcludeFromBaseline { by, .. }
            | Self::Link { by, .. }
            | Self::Unlink { by, .. }
            | Self::Change { by, .. }
            | Self::ApplyPolicy { by, .. } => by,
        }
    }

    /// What it is about: a service, a node, a command, the policy, or `*`; of a call the caller.
    pub fn scope(&self) -> &str {
        match self {
            Self::SetMode { service, .. }
            | Self::Maintenance { service, .. }
            | Self::ExcludeFromBaseline { service, .. }
            | Self::BreakGlass { service, .. }
            | Self::Resume { service, .. }
            | Self::Change { service, .. } => service,
            Self::Approve { command_id, .. } | Self::Reject { command_id, .. } => command_id,
            Self::KillSwitch { .. } => "*",
            Self::RetireNode { node, .. } => node,
            Self::Link { caller, .. } | Self::Unlink { caller, .. } => caller,
            Self::ApplyPolicy { .. } => POLICY,
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

    /// What was proven of who gave it, and the seal on it; nothing for orders that need none.
    pub fn proof(&self) -> Option<(&[Proof], &str)> {
        match self {
            Self::Approve { proofs, seal, .. }
            | Self::Reject { proofs, seal, .. }
            | Self::BreakGlass { proofs, seal, .. } => Some((proofs, seal)),
            _ => None,
        }
    }

    /// What a gate signs (Ed25519, a signed note's signature line without its newline): the order's own JSON as it is written
    /// here, with an empty seal, and a newline.
    pub fn sealed_text(&self) -> String {
        let open =
            self.clone().sealed(self.proof().map_or_else(Vec::new, |(proofs, _)| proofs.to_vec()), String::new());
        let json = serde_json::to_string(&open).expect("an order is names and numbers");
        json + "\n"
    }

    /// The same with these proofs and this seal, if it has any.
    pub fn sealed(mut self, proven: Vec<Proof>, by: String) -> Self {
        if let Self::Approve { proofs, seal, .. }
        | Self::Reject { proofs, seal, .. }
        | Self::BreakGlass { proofs, seal, .. } = &mut self
        {
            (*proofs, *seal) = (proven, by);
        }
        self
    }

    /// The order's name.
    pub fn order(&self) -> &'static str {
        match self {
            Self::SetMode { .. } => "set_mode",
            Self::KillSwitch { .. } => "kill_switch",
            Self::Approve { .. } => "approve",
            Self::Reject { .. } => "reject",
            Self::BreakGlass { .. } => "break_glass",
            Self::Resume { .. } => "resume",
            Self::RetireNode { .. } => "retire_node",
            Self::Maintenance { .. } => "maintenance",
            Self::ExcludeFromBaseline { .. } => "exclude_from_baseline",
            Self::Link { .. } => "link",
            Self::Unlink { .. } => "unlink",
            Self::Change { .. } => "change",
            Self::ApplyPolicy { .. } => "apply_policy",
        }
    }

    /// Its names, and whether each may be empty.
    fn names(&self) -> [(&'static str, &str, bool); 3] {
        let none = ("by", "", true);
        match self {
            Self::SetMode { service, .. }
            | Self::Maintenance { service, .. }
            | Self::Resume { service, .. }
            | Self::ExcludeFromBaseline { service, .. } => [("service", service, false), none, none],
            Self::Approve { service, command_id, .. } | Self::Reject { service, command_id, .. } => {
                [("service", service, false), ("command_id", command_id, false), none]
            }
            Self::BreakGlass { service, why, .. } => [("service", service, false), ("why", why, false), none],
            Self::KillSwitch { .. } => [none; 3],
            Self::ApplyPolicy { sha256, .. } => [("sha256", sha256, false), none, none],
            Self::RetireNode { service, node, .. } => [("service", service, false), ("node", node, false), none],
            Self::Link { caller, callee, .. } | Self::Unlink { caller, callee, .. } => {
                [("caller", caller, false), ("callee", callee, false), none]
            }
            Self::Change { service, what, version, .. } => {
                [("service", service, false), ("what", what, false), ("version", version, true)]
            }
        }
    }
}

impl Checked for Control {
    fn check(&self) -> Result<(), Refusal> {
        check_time(self.event_time_us())?;
        let names = self.names();
        check_names([("by", self.by())])?;
        check_names(names.map(|(field, value, _)| (field, value)))?;
        if let Some((field, ..)) = names.iter().find(|(_, value, may_be_empty)| value.is_empty() && !may_be_empty) {
            return Err(Refusal::out_of_range(&format!("{field} is empty")));
        }
        if let Some((proofs, seal)) = self.proof() {
            check_names([("seal", seal)])?;
            if proofs.len() > MAX_PROOFS {
                return Err(Refusal::out_of_range("proofs: at most 8"));
            }
        }
        if let Self::BreakGlass { for_s, .. } = self
            && *for_s > MAX_GLASS_S
        {
            return Err(Refusal::out_of_range("for_s: at most 14400"));
        }
        if let Self::ApplyPolicy { version, documents, settings, .. } = self {
            if *version == 0 {
                return Err(Refusal::out_of_range("version: 1 or more"));
            }
            let texts = [("documents", documents, MAX_DOCUMENTS_BYTES), ("settings", settings, MAX_SETTINGS_BYTES)];
            if let Some((field, text, _)) = texts.iter().find(|(_, text, most)| text.len() > *most) {
                return Err(Refusal(Reason::StringTooLong, format!("{field}: {} bytes", text.len())));
            }
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
