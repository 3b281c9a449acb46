//! [`InputWriter`]: appends records to the input partitions of a directory.

use super::body::{Input, MAX_RECORD_BYTES};
use super::disk::{lock, make_directory};
use super::reader::end_of;
use super::stream::{SEGMENT_BYTES, Stream};
use crate::ports::PortError;
use evenkeel_schemas::{Partition, Topic};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

/// The directory of the partitions.
pub fn inputs_directory(directory: &Path) -> PathBuf {
    directory.join("inputs")
}

/// The directory of one partition.
pub fn partition_directory(directory: &Path, partition: Partition) -> PathBuf {
    inputs_directory(directory).join(format!("{}-{}", partition.topic.name(), partition.partition))
}

/// The partition whose directory has this name, if it is one.
pub fn partition_of(name: &str) -> Option<Partition> {
    let (topic, partition) = name.rsplit_once('-')?;
    Some(Partition { topic: Topic::from_name(topic)?, partition: partition.parse().ok()? })
}

/// Appends records to `DIR/inputs/`; one writer a partition at a time, readers as many as like.
///
/// After an error, what was appended since the last [`InputWriter::sync`] may be lost or there: append it again.
#[derive(Debug)]
pub struct InputWriter {
    directory: PathBuf,
    segment_bytes: u64,
    partitions: BTreeMap<Partition, Writer>,
}

#[derive(Debug)]
struct Writer {
    stream: Stream,
    _lock: File,
}

impl InputWriter {
    /// A writer for the data directory `directory`, which is made if need be.
    pub fn new(directory: &Path) -> Self {
        Self::with_segment_bytes(directory, SEGMENT_BYTES)
    }

    /// A writer that closes a segment once it is `segment_bytes` long.
    pub fn with_segment_bytes(directory: &Path, segment_bytes: u64) -> Self {
        Self { directory: directory.to_owned(), segment_bytes, partitions: BTreeMap::new() }
    }

    /// Appends a record. It may stay in memory until [`InputWriter::flush`] or [`InputWriter::sync`].
    ///
    /// # Errors
    /// `Fatal` if another writer has the partition, the record is longer than 32 MiB, or the partition is damaged;
    /// `Retry` if the disk fails.
    pub fn append(
        &mut self,
        partition: Partition,
        timestamp_us: i64,
        key: &[u8],
        payload: &[u8],
    ) -> Result<(), PortError> {
        let bytes = key.len() + payload.len();
        if bytes > MAX_RECORD_BYTES {
            return Err(PortError::Fatal(format!("a record of {bytes} bytes is longer than {MAX_RECORD_BYTES}")));
        }
        let header = Input { timestamp_us, key, payload }.header();
        self.with(partition, |stream| stream.append(&[&header, key, payload]))
    }

    /// The offset after the last record that was appended to a partition, or that was there before.
    ///
    /// # Errors
    /// As [`InputWriter::append`].
    pub fn next_offset(&mut self, partition: Partition) -> Result<u64, PortError> {
        let mut end = 0;
        self.with(partition, |stream| {
            end = stream.end();
            Ok(())
        })?;
        Ok(end)
    }

    /// Lets readers see everything that was appended.
    ///
    /// # Errors
    /// `Retry` if the disk fails.
    pub fn flush(&mut self) -> Result<(), PortError> {
        self.each(Stream::flush)
    }

    /// Makes everything that was appended durable.
    ///
    /// # Errors
    /// `Retry` if the disk fails.
    pub fn sync(&mut self) -> Result<(), PortError> {
        self.each(Stream::sync)
    }

    fn each(&mut self, work: fn(&mut Stream) -> Result<(), PortError>) -> Result<(), PortError> {
        let partitions = self.partitions.keys().copied().collect::<Vec<_>>();
        partitions.into_iter().try_for_each(|partition| self.with(partition, work))
    }

    /// Works on the stream of a partition; after an error the stream is dropped, and opened anew when next needed.
    fn with(
        &mut self,
        partition: Partition,
        work: impl FnOnce(&mut Stream) -> Result<(), PortError>,
    ) -> Result<(), PortError> {
        if !self.partitions.contains_key(&partition) {
            self.partitions.insert(partition, self.open(partition)?);
        }
        let writer = self.partitions.get_mut(&partition).expect("inserted above");
        work(&mut writer.stream).inspect_err(|_| {
            self.partitions.remove(&partition);
        })
    }

    /// Opens a partition; a torn tail is cut off: nobody was promised that it is durable.
    fn open(&self, partition: Partition) -> Result<Writer, PortError> {
        let directory = partition_directory(&self.directory, partition);
        make_directory(&directory)?;
        let lock = lock(&directory, "writer")?;
        let stream = Stream::open(&directory, end_of(&directory)?, self.segment_bytes)?;
        Ok(Writer { stream, _lock: lock })
    }
}
