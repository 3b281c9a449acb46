//! What the streams ask of the file system, with errors that say where.

use crate::ports::PortError;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Turns an error into what the caller must do: wait for a better disk.
pub fn retry<'a>(doing: &'a str, path: &'a Path) -> impl FnOnce(io::Error) -> PortError + 'a {
    move |error| PortError::Retry(format!("{}: cannot {doing}: {error}", path.display()))
}

/// Says that bytes that were there are not what they were.
pub fn damaged(path: &Path, what: &str) -> PortError {
    PortError::Fatal(format!("{}: {what}; restore the directory from a copy", path.display()))
}

/// Makes the entries of a directory durable: names of new, renamed and removed files.
pub fn sync_directory(path: &Path) -> Result<(), PortError> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(retry("sync the directory", path))
}

/// Makes a directory, durably, if it is not there.
pub fn make_directory(path: &Path) -> Result<(), PortError> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(parent) = parent {
        make_directory(parent)?;
    }
    match std::fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(retry("make the directory", path)(error)),
        _ => sync_directory(parent.unwrap_or(Path::new("."))),
    }
}

/// Writes a file whole in place of the one before, durably, by way of a draft beside it.
pub fn replace_file(path: &Path, draft: &Path, bytes: &[u8]) -> Result<(), PortError> {
    let written = File::create(draft).and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()));
    written.map_err(retry("write", draft))?;
    // A crash here leaves a draft, which the next one overwrites.
    std::fs::rename(draft, path).map_err(retry("rename the draft to", path))?;
    // A crash here leaves the old file or the new one, each whole.
    sync_directory(path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")))
}

/// A document of JSON; nothing if there is no such file. `Fatal` if it cannot be read: who goes on without it would do
/// again what was done.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, PortError> {
    let failed = |why: String| PortError::Fatal(format!("{}: {why}", path.display()));
    match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| failed(error.to_string())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(error.to_string())),
    }
}

/// Writes a document of JSON as [`replace_file`] does.
pub fn replace_json(path: &Path, document: &impl Serialize) -> Result<(), PortError> {
    let bytes = serde_json::to_vec(document).map_err(|error| PortError::Fatal(error.to_string()))?;
    replace_file(path, &path.with_extension("draft"), &bytes)
}

/// The segment that begins at `base`.
pub fn segment_path(directory: &Path, base: u64) -> PathBuf {
    directory.join(format!("{base:020}.seg"))
}

/// Where the segments of a stream begin, ascending; none if there is no such directory.
pub fn segment_bases(directory: &Path) -> Result<Vec<u64>, PortError> {
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(retry("list the directory", directory))?,
    };
    let mut bases = Vec::new();
    for entry in entries {
        let name = entry.map_err(retry("list the directory", directory))?.file_name();
        let base = name.to_str().and_then(|name| name.strip_suffix(".seg"));
        bases.extend(base.and_then(|base| base.parse::<u64>().ok()));
    }
    bases.sort_unstable();
    Ok(bases)
}

/// The segment that holds the byte at `position`, or will: the last one that begins at or before it.
pub fn segment_of(bases: &[u64], position: u64) -> Option<u64> {
    bases[..bases.partition_point(|base| *base <= position)].last().copied()
}

/// Takes the lock of a directory for as long as the file lives.
pub fn lock(directory: &Path, user: &str) -> Result<File, PortError> {
    let path = directory.join("lock");
    let file = File::options().create(true).write(true).truncate(false).open(&path);
    let file = file.map_err(retry("open the lock", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::Error(error)) => Err(retry("lock", &path)(error)),
        Err(std::fs::TryLockError::WouldBlock) => Err(PortError::Fatal(format!(
            "{} is in use by another {user}; stop that one, or give this one another directory",
            directory.display()
        ))),
    }
}
