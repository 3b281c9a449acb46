//! [`EmbeddedOutputs`]: reads what is committed, and nothing else; [`bindings`] for replay.

use super::body::Output;
use super::ledger::{bindings_directory, committed_ends, outputs_directory};
use super::reader::{Found, Reader};
use crate::ports::{OutputLog, PortError, Row};
use evenkeel_schemas::{Binding, Dataset};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Reads the committed outputs of a data directory, also while a ledger writes there.
#[derive(Debug)]
pub struct EmbeddedOutputs {
    directory: PathBuf,
    /// Where the last read of a dataset and partition stopped: what offset comes next, and its reader.
    readers: BTreeMap<(Dataset, u32), (u64, Reader)>,
}

impl EmbeddedOutputs {
    /// A reader of the data directory `directory`, which may be new.
    pub fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), readers: BTreeMap::new() }
    }
}

impl OutputLog for EmbeddedOutputs {
    fn partitions(&mut self, dataset: Dataset) -> Result<Vec<u32>, PortError> {
        let held = committed_ends(&self.directory)?.held;
        Ok(held.into_iter().filter(|(held, _)| *held == dataset).map(|(_, partition)| u32::from(partition)).collect())
    }

    /// `offset` is 0 or the one after an offset that was read; elsewhere no frame begins.
    fn read(&mut self, dataset: Dataset, partition: u32, offset: u64, limit: usize) -> Result<Vec<Row>, PortError> {
        let end = committed_ends(&self.directory)?.outputs;
        let fresh = || (offset, Reader::new(outputs_directory(&self.directory), offset));
        // Goes on where the last read stopped, which may be far beyond the last row it found.
        let last = self.readers.remove(&(dataset, partition)).filter(|(next, _)| *next == offset);
        let (mut next, mut reader) = last.unwrap_or_else(fresh);
        let mut rows = Vec::new();
        while rows.len() < limit {
            let Some(Found { end, body }) = reader.next_before(end)? else { break };
            let Some(output) = Output::read(body) else {
                return Err(reader.damage("the record before it is no output"));
            };
            if output.dataset == dataset && u32::from(output.partition) == partition {
                let (key, value) = (output.key.to_vec(), output.value.to_vec());
                rows.push(Row { offset: end - 1, at_us: output.at_us, key, value });
                next = end;
            }
        }
        self.readers.insert((dataset, partition), (next, reader));
        Ok(rows)
    }
}

/// Every committed binding of a data directory, from epoch 0 on.
///
/// # Errors
/// `Fatal` if one is damaged, `Retry` if the disk fails.
pub fn bindings(directory: &Path) -> Result<Vec<Binding>, PortError> {
    let mut bindings = Vec::new();
    for_each_binding(directory, 0, |binding| bindings.push(binding))?;
    Ok(bindings)
}

/// The last committed binding of a data directory; `None` if there is none yet.
///
/// # Errors
/// As [`bindings`].
pub fn last_binding(directory: &Path) -> Result<Option<Binding>, PortError> {
    let mut last = None;
    for_each_binding(directory, committed_ends(directory)?.resume, |binding| last = Some(binding))?;
    Ok(last)
}

fn for_each_binding(directory: &Path, from: u64, mut each: impl FnMut(Binding)) -> Result<(), PortError> {
    let end = committed_ends(directory)?.bindings;
    let mut reader = Reader::new(bindings_directory(directory), from);
    while let Some(found) = reader.next_before(end)? {
        let Ok(binding) = serde_json::from_slice(found.body) else {
            return Err(reader.damage("the record before it is no binding"));
        };
        each(binding);
    }
    Ok(())
}
