//! [`EmbeddedSource`]: tails the input partitions of a directory.

use super::body::Input;
use super::disk::{damaged, retry, segment_bases, segment_of, segment_path};
use super::inputs::{inputs_directory, partition_directory, partition_of};
use super::reader::{Found, Reader};
use crate::ports::{Polled, PortError, Source};
use evenkeel_dataflows::Batch;
use evenkeel_schemas::{Cut, Partition};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a poll sleeps before it looks again.
const NAP: Duration = Duration::from_micros(500);

/// How often new partitions are looked for.
const DISCOVERY: Duration = Duration::from_millis(50);

/// Tails `DIR/inputs/`, which may not be there yet; partitions may appear at any time.
#[derive(Debug)]
pub struct EmbeddedSource {
    directory: PathBuf,
    readers: BTreeMap<Partition, Reader>,
    from: Cut,
    discovered: Option<Instant>,
}

impl EmbeddedSource {
    /// A source at the beginning of every partition of the data directory `directory`.
    pub fn new(directory: &Path) -> Self {
        let (readers, from) = (BTreeMap::new(), Cut::default());
        Self { directory: directory.to_owned(), readers, from, discovered: None }
    }

    /// Looks for new partitions, unless it did a moment ago.
    fn discover(&mut self) -> Result<(), PortError> {
        if self.discovered.is_some_and(|last| last.elapsed() < DISCOVERY) {
            return Ok(());
        }
        self.discovered = Some(Instant::now());
        let inputs = inputs_directory(&self.directory);
        let entries = match std::fs::read_dir(&inputs) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(retry("list the directory", &inputs))?,
        };
        for entry in entries {
            let name = entry.map_err(retry("list the directory", &inputs))?.file_name();
            let Some(partition) = name.to_str().and_then(partition_of) else { continue };
            let start = self.from.next_offset(partition);
            let at = partition_directory(&self.directory, partition);
            self.readers.entry(partition).or_insert_with(|| Reader::new(at, start));
        }
        Ok(())
    }

    /// One round over the partitions: an even share each, so that none runs ahead in event time.
    fn read(&mut self, limit: usize) -> Result<Polled, PortError> {
        let share = (limit / self.readers.len().max(1)).max(1);
        let mut polled = Polled::default();
        for (partition, reader) in &mut self.readers {
            let mut batch = Batch::new(*partition);
            while batch.len() < share && push_next(&mut batch, reader)? {}
            if batch.len() == share && reader.has_more()? {
                polled.lagging.push(*partition);
            }
            if !batch.is_empty() {
                polled.batches.push(batch);
            }
        }
        Ok(polled)
    }
}

fn push_next(batch: &mut Batch, reader: &mut Reader) -> Result<bool, PortError> {
    let Some(Found { end, body }) = reader.next()? else { return Ok(false) };
    let Some(Input { timestamp_us, key, payload }) = Input::read(body) else {
        return Err(reader.damage("the record before it is no input"));
    };
    batch.push(end - 1, timestamp_us, key, payload);
    Ok(true)
}

impl Source for EmbeddedSource {
    fn seek(&mut self, from: &Cut) -> Result<(), PortError> {
        for (partition, offset) in &from.0 {
            check_held(&partition_directory(&self.directory, *partition), *offset)?;
        }
        self.readers.clear();
        self.from = from.clone();
        self.discovered = None;
        Ok(())
    }

    fn poll(&mut self, limit: usize, wait: Duration) -> Result<Polled, PortError> {
        let deadline = Instant::now() + wait;
        loop {
            self.discover()?;
            let polled = self.read(limit)?;
            let left = deadline.saturating_duration_since(Instant::now());
            if !polled.batches.is_empty() || left.is_zero() {
                return Ok(polled);
            }
            std::thread::sleep(left.min(NAP));
        }
    }
}

/// Refuses an offset whose records are gone: before the first segment, or beyond the last byte.
fn check_held(directory: &Path, offset: u64) -> Result<(), PortError> {
    if offset == 0 {
        return Ok(());
    }
    let gone = || damaged(directory, &format!("the records at offset {offset} are gone, but were committed"));
    let base = segment_of(&segment_bases(directory)?, offset).ok_or_else(gone)?;
    let path = segment_path(directory, base);
    let length = std::fs::metadata(&path).map_err(retry("measure", &path))?.len();
    if base + length < offset { Err(gone()) } else { Ok(()) }
}
