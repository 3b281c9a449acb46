//! [`Book`]: what the actuator knows, and where it outlives its process.

use super::envoy::Overlay;
use super::haproxy::Wanted;
use crate::embedded::Kept;
use crate::ports::PortError;
use evenkeel_schemas::{Command, CommandState, Mode, Outcome};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::path::Path;

/// So many commands are remembered that came to an end here. One that comes again after so many others has a fence that is
/// too old, or has expired.
const MAX_DONE: usize = 4_096;

/// Most commands that wait for an executor that is away; further ones fail at once.
const MAX_WAITING: usize = 1_024;

/// Most fences that are remembered: the smallest, which is the oldest, is forgotten.
const MAX_FENCES: usize = 20_000;

/// What came of a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// The answer.
    pub outcome: Outcome,
    /// Whether it was said.
    pub said: bool,
}

/// What is known. It is stored as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Book {
    /// Commands that had expired when the first process began are nobody's to answer, µs.
    pub since_us: i64,
    /// The next offset to read, by partition.
    pub offsets: BTreeMap<u32, u64>,
    /// The newest fence that was seen, by what commands change.
    pub fences: BTreeMap<String, u64>,
    /// What is wanted of HAProxy's servers of a target, where that is not as configured.
    pub wanted: BTreeMap<String, Wanted>,
    /// What is wanted of a service's endpoints at Envoy, where that is not as the operator has them.
    #[serde(default)]
    pub overlays: BTreeMap<String, Overlay>,
    /// Commands that wait, in the order in which they came.
    pub waiting: VecDeque<Command>,
    /// The command that was being carried out, if it may not be carried out again.
    #[serde(default)]
    pub begun: Option<Command>,
    /// What came of the last commands, oldest first.
    pub done: VecDeque<Done>,
    /// Which process of each HAProxy was spoken to last.
    pub pids: BTreeMap<String, u32>,
}

impl Book {
    /// A book of a process that begins now.
    pub fn new(now_us: i64) -> Self {
        Self { since_us: now_us, ..Self::default() }
    }

    /// Takes in a word about a command that changes `concern`. Only what is issued waits to be carried out; one that has come
    /// to an end no longer does. Returns the command if there is no room for it.
    pub fn hear(&mut self, command: Command, concern: String) -> Option<Command> {
        if command.state != CommandState::Issued || command.mode == Mode::Observe {
            self.waiting.retain(|waits| waits.command_id != command.command_id || !command.state.is_over());
            return None;
        }
        let fence = self.fences.entry(concern).or_default();
        *fence = command.fence.max(*fence);
        if self.fences.len() > MAX_FENCES {
            let oldest = self.fences.iter().min_by_key(|(_, fence)| **fence).map(|(concern, _)| concern.clone());
            oldest.map(|concern| self.fences.remove(&concern));
        }
        let is_known = self.waiting.iter().any(|waits| waits.command_id == command.command_id);
        if is_known || self.is_done(&command.command_id) || command.expires_us < self.since_us {
            return None;
        }
        if self.waiting.len() >= MAX_WAITING {
            return Some(command);
        }
        self.waiting.push_back(command);
        None
    }

    /// Whether a command came to an end here.
    pub fn is_done(&self, command_id: &str) -> bool {
        self.done.iter().any(|done| done.outcome.command_id == command_id)
    }

    /// Why a command is not carried out, if so.
    pub fn objection(&self, command: &Command, concern: &str, now_us: i64) -> Option<String> {
        let newest = self.fences.get(concern).copied().unwrap_or_default();
        if command.fence < newest {
            return Some(format!("fence {} is older than {newest}, the newest seen for {concern}", command.fence));
        }
        (command.expires_us < now_us).then(|| "it expired before it could be carried out".to_owned())
    }

    /// Where a book outlives its process: a directory, for one actuator at a time.
    ///
    /// # Errors
    /// `Fatal` if another process has it: two would both act.
    pub fn kept_in(directory: &Path) -> Result<Kept<Self>, PortError> {
        Kept::open(directory, "actuator")
    }

    /// Remembers what came of a command, to be said.
    pub fn finish(&mut self, outcome: Outcome) {
        while self.done.len() >= MAX_DONE {
            self.done.pop_front();
        }
        self.done.push_back(Done { outcome, said: false });
    }
}
