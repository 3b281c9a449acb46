//! [`Book`]: which passwords were used, who failed how often; and where that outlives its process.

use super::secrets::Secrets;
use crate::embedded::Kept;
use crate::ports::PortError;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::path::Path;

/// So many wrong passwords of a person within [`WITHIN_US`] lock them out.
const MAX_FAILED: usize = 5;

/// Five minutes, µs.
const WITHIN_US: i64 = 300 * 1_000_000;

/// Why a password does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// It is wrong, or nobody of that name has a secret: which of them is not said.
    Wrong,
    /// It, or a later one, was used.
    Used,
    /// Too many were wrong.
    LockedOut,
}

/// What is remembered of a person.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    /// The step of the last password that was used.
    used: Option<u64>,
    /// When passwords were wrong, µs, the last few.
    failed_us: VecDeque<i64>,
}

/// All that is remembered; as many people as have secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Book {
    people: BTreeMap<String, Known>,
}

impl Book {
    /// Uses a password: it counts once.
    ///
    /// # Errors
    /// Says why it does not count.
    pub fn use_up(&mut self, secrets: &Secrets, name: &str, password: &str, now_us: i64) -> Result<(), Denied> {
        self.people.retain(|name, _| secrets.has(name));
        if !secrets.has(name) {
            return Err(Denied::Wrong);
        }
        let known = self.people.entry(name.to_owned()).or_default();
        // A clock that was set back must not lock anybody out for long.
        known.failed_us.retain(|at_us| (now_us - WITHIN_US..=now_us).contains(at_us));
        if known.failed_us.len() >= MAX_FAILED {
            return Err(Denied::LockedOut);
        }
        let found = secrets.step(name, password, u64::try_from(now_us / 1_000_000).unwrap_or(0));
        let denied = match found {
            Some(step) if known.used.is_none_or(|used| step > used) => {
                known.used = Some(step);
                return Ok(());
            }
            Some(_) => Denied::Used,
            None => Denied::Wrong,
        };
        known.failed_us.push_back(now_us);
        Err(denied)
    }

    /// Where a book outlives its process: a directory, for one gate at a time.
    ///
    /// # Errors
    /// `Fatal` if another gate has it: passwords could be used twice.
    pub fn kept_in(directory: &Path) -> Result<Kept<Self>, PortError> {
        Kept::open(directory, "gate")
    }

    /// Whether a person is locked out.
    pub fn is_locked_out(&self, name: &str, now_us: i64) -> bool {
        let recent = |known: &Known| known.failed_us.iter().filter(|at_us| **at_us >= now_us - WITHIN_US).count();
        self.people.get(name).is_some_and(|known| recent(known) >= MAX_FAILED)
    }
}

impl Denied {
    /// As it is said.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Wrong => "wrong: this is not the person's one-time password of now",
            Self::Used => "used: this one-time password was used; wait for the next one",
            Self::LockedOut => "locked_out: too many wrong one-time passwords; wait five minutes",
        }
    }
}
