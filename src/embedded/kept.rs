//! [`Kept`]: what one process at a time remembers, in a directory of its own.

use super::disk::{lock, make_directory, read_json, replace_json};
use crate::ports::PortError;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::File;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

/// A directory with a document, which is replaced as a whole.
#[derive(Debug)]
pub struct Kept<T> {
    path: PathBuf,
    /// Held while the process lives.
    _lock: File,
    document: PhantomData<fn(&T) -> T>,
}

impl<T: Serialize + DeserializeOwned> Kept<T> {
    /// Takes a directory, made if need be, for the only `user`; its document is `user.json`.
    ///
    /// # Errors
    /// `Fatal` if it cannot be made, or another process has it.
    pub fn open(directory: &Path, user: &str) -> Result<Self, PortError> {
        make_directory(directory)?;
        let (path, lock) = (directory.join(format!("{user}.json")), lock(directory, user)?);
        Ok(Self { path, _lock: lock, document: PhantomData })
    }

    /// The document; nothing if there is none yet.
    ///
    /// # Errors
    /// `Fatal` if it cannot be read.
    pub fn load(&self) -> Result<Option<T>, PortError> {
        read_json(&self.path)
    }

    /// Stores it, whole or not at all; it is on disk once this returns.
    ///
    /// # Errors
    /// `Retry` if the disk fails.
    pub fn save(&self, document: &T) -> Result<(), PortError> {
        replace_json(&self.path, document)
    }
}
