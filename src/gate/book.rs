//! [`Book`]: which passwords were used, who failed how often; and the [`Store`] in which it outlives its process.

use super::secrets::Secrets;
use crate::embedded::disk::{lock, make_directory, replace_file};
use crate::ports::PortError;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

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

/// A directory with the book.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    /// Held while the process lives: one gate.
    _lock: File,
}

impl Store {
    /// Opens a directory, which may be new, for its only gate.
    ///
    /// # Errors
    /// `Fatal` if it cannot be made or another gate has it.
    pub fn open(directory: &Path) -> Result<Self, PortError> {
        make_directory(directory)?;
        Ok(Self { path: directory.join("gate.json"), _lock: lock(directory, "gate")? })
    }

    /// The book; an empty one if there is none yet.
    ///
    /// # Errors
    /// `Fatal` if it cannot be read: going on would let passwords be used again.
    pub fn load(&self) -> Result<Book, PortError> {
        let wrong = |why: String| PortError::Fatal(format!("{}: {why}", self.path.display()));
        match std::fs::read(&self.path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Book::default()),
            Err(error) => Err(wrong(error.to_string())),
        }
    }

    /// Writes the book; it is on disk once this returns.
    ///
    /// # Errors
    /// `Retry` if the disk fails.
    pub fn save(&self, book: &Book) -> Result<(), PortError> {
        let bytes = serde_json::to_vec(book).map_err(|error| PortError::Fatal(error.to_string()))?;
        replace_file(&self.path, &self.path.with_extension("draft"), &bytes)
    }
}
