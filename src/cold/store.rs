//! [`ColdStore`]: where segments and their manifest lie.

use crate::embedded::disk::{lock, make_directory, replace_file, retry, sync_directory};
use crate::ports::PortError;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Whole values under names like `a/b/c`. Durability: what was put is there after a power cut; a value is there whole
/// or not at all. After an error nobody knows whether it happened.
pub trait ColdStore: Send {
    /// Stores a value, in place of the one before.
    ///
    /// # Errors
    /// `Retry` if the store cannot be reached now.
    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), PortError>;

    /// Stores a value in place of `before`, and of no other: two writers never undo each other's work. The default is for
    /// stores that have one writer.
    ///
    /// # Errors
    /// `Fenced` if another value is there: somebody else wrote it. `Retry` if the store cannot be reached now.
    fn replace(&self, name: &str, before: Option<&[u8]>, bytes: &[u8]) -> Result<(), PortError> {
        if self.get(name)?.as_deref() != before {
            return Err(PortError::Fenced);
        }
        self.put(name, bytes)
    }

    /// The value under a name, if there is one.
    ///
    /// # Errors
    /// `Retry` if the store cannot be reached now.
    fn get(&self, name: &str) -> Result<Option<Vec<u8>>, PortError>;

    /// The names that begin with `prefix`, ascending.
    ///
    /// # Errors
    /// `Retry` if the store cannot be reached now.
    fn list(&self, prefix: &str) -> Result<Vec<String>, PortError>;

    /// Removes a value, if there is one.
    ///
    /// # Errors
    /// `Retry` if the store cannot be reached now.
    fn remove(&self, name: &str) -> Result<(), PortError>;
}

impl ColdStore for Box<dyn ColdStore> {
    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), PortError> {
        (**self).put(name, bytes)
    }

    fn replace(&self, name: &str, before: Option<&[u8]>, bytes: &[u8]) -> Result<(), PortError> {
        (**self).replace(name, before, bytes)
    }

    fn get(&self, name: &str) -> Result<Option<Vec<u8>>, PortError> {
        (**self).get(name)
    }

    fn list(&self, prefix: &str) -> Result<Vec<String>, PortError> {
        (**self).list(prefix)
    }

    fn remove(&self, name: &str) -> Result<(), PortError> {
        (**self).remove(name)
    }
}

/// A file that is being written; it has its name only once it is whole.
const DRAFT: &str = "draft.tmp";

/// Files below a directory.
#[derive(Debug)]
pub struct DirectoryStore {
    directory: PathBuf,
    _lock: Option<File>,
}

impl DirectoryStore {
    /// Takes the directory for writing, made if need be.
    ///
    /// # Errors
    /// `Fatal` if another compactor has it.
    pub fn open(directory: &Path) -> Result<Self, PortError> {
        make_directory(directory)?;
        let lock = lock(directory, "compactor")?;
        Ok(Self { directory: directory.to_owned(), _lock: Some(lock) })
    }

    /// Looks at the directory without taking it; nothing may be put or removed.
    pub fn read_only(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), _lock: None }
    }

    /// The file of a name; names never lead out of the directory.
    fn path(&self, name: &str) -> Result<PathBuf, PortError> {
        let is_plain = name.split('/').all(|part| !part.is_empty() && part != "." && part != "..");
        if is_plain { Ok(self.directory.join(name)) } else { Err(PortError::Fatal(format!("{name:?} names no file"))) }
    }
}

impl ColdStore for DirectoryStore {
    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), PortError> {
        let (path, draft) = (self.path(name)?, self.directory.join(DRAFT));
        let parent = path.parent().expect("a joined path has a parent");
        make_directory(parent)?;
        replace_file(&path, &draft, bytes)
    }

    fn get(&self, name: &str) -> Result<Option<Vec<u8>>, PortError> {
        let path = self.path(name)?;
        match std::fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(retry("read", &path)(error)),
        }
    }

    fn list(&self, prefix: &str) -> Result<Vec<String>, PortError> {
        let mut names = Vec::new();
        list_below(&self.directory, "", &mut names)?;
        names.retain(|name| name.starts_with(prefix) && name != DRAFT && name != "lock");
        names.sort_unstable();
        Ok(names)
    }

    fn remove(&self, name: &str) -> Result<(), PortError> {
        let path = self.path(name)?;
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(retry("remove", &path)(error)),
            _ => sync_directory(path.parent().expect("a joined path has a parent")),
        }
    }
}

fn list_below(directory: &Path, prefix: &str, names: &mut Vec<String>) -> Result<(), PortError> {
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(retry("list the directory", directory))?,
    };
    for entry in entries {
        let entry = entry.map_err(retry("list the directory", directory))?;
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type().map_err(retry("look at", &entry.path()))?.is_dir() {
            list_below(&entry.path(), &format!("{name}/"), names)?;
        } else {
            names.push(name);
        }
    }
    Ok(())
}

/// Values in memory, for tests and demonstrations.
#[derive(Debug, Default)]
pub struct MemoryStore {
    values: Mutex<BTreeMap<String, Vec<u8>>>,
}

impl MemoryStore {
    fn values(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Vec<u8>>> {
        // Every change is one call on the map: after a panic elsewhere it is still whole.
        self.values.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ColdStore for MemoryStore {
    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), PortError> {
        self.values().insert(name.to_owned(), bytes.to_vec());
        Ok(())
    }

    fn replace(&self, name: &str, before: Option<&[u8]>, bytes: &[u8]) -> Result<(), PortError> {
        let mut values = self.values();
        if values.get(name).map(Vec::as_slice) != before {
            return Err(PortError::Fenced);
        }
        values.insert(name.to_owned(), bytes.to_vec());
        Ok(())
    }

    fn get(&self, name: &str) -> Result<Option<Vec<u8>>, PortError> {
        Ok(self.values().get(name).cloned())
    }

    fn list(&self, prefix: &str) -> Result<Vec<String>, PortError> {
        Ok(self.values().keys().filter(|name| name.starts_with(prefix)).cloned().collect())
    }

    fn remove(&self, name: &str) -> Result<(), PortError> {
        self.values().remove(name);
        Ok(())
    }
}
