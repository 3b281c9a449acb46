//! The manifest `commits`: one line a commit, `<crc32 of the JSON, 8 hex digits> <JSON of Ends>`.
//!
//! Invariant: every byte before the ends of a whole line was durable before the line was written. The last whole line
//! counts; a line torn by a crash, at the end of the file, does not.

use super::disk::{retry, sync_directory};
use crate::ports::PortError;
use evenkeel_schemas::{Dataset, Epoch};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// How far every stream is committed, and where recovery begins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ends {
    /// The last committed epoch; none before the first commit.
    pub epoch: Option<Epoch>,
    /// End of the stream of outputs.
    pub outputs: u64,
    /// End of the stream of bindings.
    pub bindings: u64,
    /// Where in it the binding lies from which the last one resumes.
    pub resume: u64,
    /// End of the stream of state.
    pub state: u64,
    /// Where in it the live values begin.
    pub state_start: u64,
    /// The datasets and partitions that hold outputs, ascending.
    pub held: Vec<(Dataset, u16)>,
}

impl Ends {
    /// The last whole line of a directory's manifest; `None` if there is no file or no whole line in it.
    pub fn read(directory: &Path) -> Result<Option<Self>, PortError> {
        let path = directory.join("commits");
        let text = match std::fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text.map_err(retry("read", &path))?,
        };
        let whole = text.iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
        Ok(text[..whole].rsplit(|byte| *byte == b'\n').find_map(Self::from_line))
    }

    fn from_line(line: &[u8]) -> Option<Self> {
        let (checksum, json) = line.split_at_checked(9)?;
        let checksum = u32::from_str_radix(std::str::from_utf8(checksum).ok()?.strip_suffix(' ')?, 16).ok()?;
        (crc32fast::hash(json) == checksum).then(|| serde_json::from_slice(json).ok())?
    }

    fn to_line(&self) -> String {
        let json = serde_json::to_string(self).expect("numbers and names are JSON");
        format!("{:08x} {json}\n", crc32fast::hash(json.as_bytes()))
    }
}

/// The writing end of the manifest.
#[derive(Debug)]
pub struct Manifest {
    directory: PathBuf,
    max_bytes: u64,
    file: File,
    bytes: u64,
}

impl Manifest {
    /// Writes the manifest anew with one line. A crash before the rename leaves the old file, after it the new one;
    /// both say the same.
    pub fn create(directory: &Path, ends: &Ends, max_bytes: u64) -> Result<Self, PortError> {
        let (path, draft) = (directory.join("commits"), directory.join("commits.tmp"));
        let line = ends.to_line();
        let write = || {
            let mut file = File::create(&draft)?;
            file.write_all(line.as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&draft, &path)?;
            Ok(file)
        };
        let file = write().map_err(retry("write anew", &path))?;
        sync_directory(directory)?;
        Ok(Self { directory: directory.to_owned(), max_bytes, file, bytes: line.len() as u64 })
    }

    /// Commits: once this returns the ends hold, whatever happens.
    pub fn append(&mut self, ends: &Ends) -> Result<(), PortError> {
        if self.bytes >= self.max_bytes {
            *self = Self::create(&self.directory, ends, self.max_bytes)?;
            return Ok(());
        }
        let line = ends.to_line();
        let written = self.file.write_all(line.as_bytes()).and_then(|()| self.file.sync_data());
        self.bytes += line.len() as u64;
        written.map_err(retry("append to commits in", &self.directory))
    }
}
