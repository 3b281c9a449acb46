//! [`Store`]: the files in which a [`Book`] outlives its process.

use super::book::Book;
use super::decision::Decision;
use crate::embedded::disk::{lock, make_directory, read_json, replace_json};
use crate::ports::PortError;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// The book, replaced as a whole.
const BOOK: &str = "alerts.json";

/// Decisions, one a line, and those before them.
const DECISIONS: [&str; 2] = ["decisions.jsonl", "decisions.1.jsonl"];

/// At this size the file of decisions is put aside; the one put aside before it is let go.
const MAX_DECISIONS_BYTES: u64 = 8 << 20;

/// A directory with the book and the decisions.
#[derive(Debug)]
pub struct Store {
    directory: PathBuf,
    /// Held while the process lives: one writer.
    _lock: Option<File>,
}

impl Store {
    /// Opens a directory, which may be new, for its only writer.
    ///
    /// # Errors
    /// `Fatal` if it cannot be made or another process has it.
    pub fn open(directory: &Path) -> Result<Self, PortError> {
        make_directory(directory)?;
        let lock = lock(directory, "process that sends these alerts")?;
        Ok(Self { directory: directory.to_owned(), _lock: Some(lock) })
    }

    /// Opens a directory to read.
    pub fn read_only(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), _lock: None }
    }

    /// The book; `None` if there is none yet.
    ///
    /// # Errors
    /// `Fatal` if it cannot be read.
    pub fn load(&self) -> Result<Option<Book>, PortError> {
        read_json(&self.directory.join(BOOK))
    }

    /// Writes the decisions that wait, then the book.
    ///
    /// # Errors
    /// `Retry` or `Fatal` if the disk fails.
    pub fn save(&self, book: &mut Book) -> Result<(), PortError> {
        self.note(book)?;
        // A crash here has decisions said that are taken once more.
        replace_json(&self.directory.join(BOOK), book)
    }

    /// Writes the decisions that wait.
    ///
    /// # Errors
    /// `Retry` or `Fatal` if the disk fails.
    pub fn note(&self, book: &mut Book) -> Result<(), PortError> {
        let decisions = std::mem::take(&mut book.decisions);
        if decisions.is_empty() {
            return Ok(());
        }
        let [path, aside] = DECISIONS.map(|name| self.directory.join(name));
        if std::fs::metadata(&path).is_ok_and(|file| file.len() > MAX_DECISIONS_BYTES) {
            std::fs::rename(&path, &aside).map_err(failed("putting aside", &path))?;
        }
        let mut lines = Vec::new();
        for decision in &decisions {
            serde_json::to_writer(&mut lines, decision).map_err(|error| PortError::Fatal(error.to_string()))?;
            lines.push(b'\n');
        }
        let file = OpenOptions::new().create(true).append(true).open(&path);
        file.and_then(|mut file| file.write_all(&lines)).map_err(failed("writing", &path))
    }

    /// What was decided of an incident, oldest first, as far as it is kept.
    ///
    /// # Errors
    /// `Fatal` if the files cannot be read.
    pub fn decisions(&self, incident_id: &str) -> Result<Vec<Decision>, PortError> {
        let mut found = Vec::new();
        for name in DECISIONS.iter().rev() {
            let path = self.directory.join(name);
            let file = match File::open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(failed("reading", &path)(error)),
            };
            for line in BufReader::new(file).lines() {
                let line = line.map_err(failed("reading", &path))?;
                // A line that a crash cut short says nothing.
                let decision = serde_json::from_str::<Decision>(&line).ok();
                found.extend(decision.filter(|decision| decision.incident_id == incident_id));
            }
        }
        Ok(found)
    }
}

fn failed<'a>(doing: &'a str, path: &'a Path) -> impl FnOnce(std::io::Error) -> PortError + 'a {
    move |error| PortError::Fatal(format!("{doing} {}: {error}", path.display()))
}
