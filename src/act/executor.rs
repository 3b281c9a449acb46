//! [`Executor`]: who carries commands out.

use super::book::Book;
use crate::ports::PortError;
use evenkeel_schemas::Command;
use std::time::Duration;

/// So long an executor that cannot be reached is left alone at first.
pub const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Undone {
    /// Whoever does it is not there now: try again.
    Later(String),
    /// It could not be done.
    Failed(String),
    /// It would do harm, or is not allowed.
    Refused(String),
}

impl From<PortError> for Undone {
    fn from(error: PortError) -> Self {
        match error {
            PortError::Retry(why) => Self::Later(why),
            error => Self::Failed(error.to_string()),
        }
    }
}

/// Carries out commands. Each is handed over at most once with success; after a crash perhaps again.
pub trait Executor {
    /// What a command changes: an older command does not follow a newer one that changes the same. `None` if it is somebody
    /// else's to carry out.
    fn concern(&self, command: &Command) -> Option<String> {
        Some(format!("{} of {}/{}", command.kind.changes(), command.service, command.target))
    }

    /// Carries it out; returns what came of it, in a few words.
    ///
    /// # Errors
    /// What was not done, and why.
    fn execute(&mut self, command: &Command, book: &mut Book) -> Result<String, Undone>;

    /// Whether a command may be handed over again that was begun when the process died: it looks first, or whoever does it
    /// knows the command by its id.
    fn may_repeat(&self) -> bool {
        true
    }

    /// The longest pause while it cannot be reached; pauses double up to it.
    fn longest_pause(&self) -> Duration {
        FIRST_PAUSE
    }

    /// Looks after what was done; whether that is news for the book.
    fn look_after(&mut self, _book: &mut Book) -> bool {
        false
    }
}
