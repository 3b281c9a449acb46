//! What happens when: everything but the requests, in order of time, then of entry.

use evenkeel_schemas::CommandKind;
use std::collections::BTreeMap;

/// Something that happens at a point in time.
#[derive(Clone, Debug)]
pub(super) enum Happening {
    /// A second is over: load and growing faults are worked out anew. Repeats.
    Second,
    /// A node says how it is. Repeats.
    Vitals { node: usize },
    /// Somebody changes an order. Repeats.
    Order,
    /// A fault begins.
    Begin { fault: usize },
    /// A command takes effect.
    Effect(Effect),
    /// A fault leaves these nodes, by a command or by itself.
    Leave { fault: usize, nodes: Vec<usize>, command_id: Option<String> },
    /// A restarted node is back.
    Back { node: usize, command_id: String },
    /// A late request arrives.
    Arrive { node: usize, error: bool, payload: Vec<u8> },
}

/// What a command is about.
#[derive(Clone, Debug)]
pub(super) struct Effect {
    pub kind: CommandKind,
    pub service: usize,
    /// The nodes it is about.
    pub nodes: Vec<usize>,
    /// Whether the service itself was named, not one of its nodes.
    pub whole: bool,
    pub command_id: String,
}

/// Happenings to come.
#[derive(Default)]
pub(super) struct Agenda {
    entries: BTreeMap<(i64, u64), Happening>,
    entered: u64,
}

impl Agenda {
    /// Enters a happening.
    pub fn enter(&mut self, at_us: i64, happening: Happening) {
        self.entries.insert((at_us, self.entered), happening);
        self.entered += 1;
    }

    /// When the next one happens; the end of time if none does.
    pub fn next_us(&self) -> i64 {
        self.entries.first_key_value().map_or(i64::MAX, |((at_us, _), _)| *at_us)
    }

    /// Takes the next one if it happens before `before_us`.
    pub fn take(&mut self, before_us: i64) -> Option<(i64, Happening)> {
        let entry = self.entries.first_entry().filter(|entry| entry.key().0 < before_us)?;
        let ((at_us, _), happening) = entry.remove_entry();
        Some((at_us, happening))
    }
}
