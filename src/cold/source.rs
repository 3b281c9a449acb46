//! [`ColdSource`]: records read back from segments, and the epochs that they fill.

use super::dataset::ColdDataset;
use super::input_tables::{Kept, bindings_of, records_of};
use super::inputs::{TUNING, pinned};
use super::manifest::{MANIFEST, Manifest, Segment, Stream};
use super::parquet_file::open;
use super::store::ColdStore;
use crate::ports::{Polled, PortError, Source};
use evenkeel_dataflows::{Batch, Tuning};
use evenkeel_schemas::audit::Hash;
use evenkeel_schemas::{Binding, Cut, Partition};
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// The kept records of a cold store, each file held to the hash in the manifest before a byte of it is believed.
pub struct ColdSource<S> {
    store: S,
    manifest: Manifest,
    partitions: BTreeMap<Partition, Reading>,
    /// Nothing from here on is given.
    end: Cut,
}

/// Where reading stands in a partition.
#[derive(Default)]
struct Reading {
    waiting: VecDeque<Segment>,
    open: Option<ParquetRecordBatchReader>,
    rows: VecDeque<Kept>,
}

impl<S: ColdStore> ColdSource<S> {
    /// A source of the records in `store`, and the tuning with which they were computed.
    ///
    /// # Errors
    /// `Fatal` if it keeps no records.
    pub fn open(store: S) -> Result<(Self, Tuning), PortError> {
        let manifest = Manifest::load(&store)?.unwrap_or_default();
        let tuning = pinned(&store)?.ok_or_else(|| {
            PortError::Fatal(format!("no {TUNING}: this store keeps no records; compact with --records to have them"))
        })?;
        let dropped = manifest.segments.iter().find(|segment| segment.dropped && is_needed(segment.dataset));
        if let Some(segment) = dropped {
            return Err(PortError::Fatal(format!(
                "{} was dropped by retention, and a replay begins with the first record: keep records and bindings as long \
                 as they are to be replayed",
                segment.file
            )));
        }
        let mut source = Self { store, manifest, partitions: BTreeMap::new(), end: Cut::default() };
        source.seek(&Cut::default())?;
        Ok((source, tuning))
    }

    /// The bindings of the epochs that closed at `to_us` or before, as far as the records that they name are kept; from
    /// now on no other records are given.
    ///
    /// # Errors
    /// `Fatal` if a file is not what the manifest says.
    pub fn bindings_until(&mut self, to_us: i64) -> Result<Vec<Binding>, PortError> {
        let mut bindings = Vec::new();
        for segment in self.manifest.of((ColdDataset::Bindings, 0)) {
            for table in file(&self.store, segment)? {
                let table = table.map_err(|error| damaged(segment, &error.to_string()))?;
                bindings.extend(bindings_of(&table).ok_or_else(|| damaged(segment, "not the columns of bindings"))?);
            }
        }
        // The last segment of a stream counts.
        let ends = self.manifest.segments.iter().map(|segment| (segment.stream(), segment.next_offset));
        let ends = ends.collect::<BTreeMap<Stream, u64>>();
        let end = |partition: &Partition| ends.get(&stream(*partition)).copied().unwrap_or(0);
        let is_kept = |binding: &Binding| binding.upper.0.iter().all(|(partition, upper)| *upper <= end(partition));
        let wanted = bindings.iter().take_while(|binding| binding.now_us <= to_us && is_kept(binding)).count();
        bindings.truncate(wanted);
        self.end = bindings.last().map(|last| last.upper.clone()).unwrap_or_default();
        Ok(bindings)
    }

    /// The heads of the audit chain that the manifest names, by partition and the number of the entry that follows.
    pub fn heads(&self) -> BTreeMap<(u32, u64), Hash> {
        let audit = self.manifest.segments.iter().filter(|segment| segment.dataset.is_audit());
        audit.filter_map(|segment| Some(((segment.partition, segment.last + 1), segment.head()?))).collect()
    }

    /// At most `limit` records of a partition.
    fn read(&mut self, partition: Partition, limit: usize) -> Result<Batch, PortError> {
        let (mut batch, end) = (Batch::new(partition), self.end.next_offset(partition));
        let reading = self.partitions.get_mut(&partition).expect("asked for by its key");
        while batch.len() < limit && reading.fill(&self.store)? {
            let Some(row) = reading.rows.pop_front_if(|row| row.offset < end) else { break };
            batch.push(row.offset, row.timestamp_us, &row.key, &row.payload);
        }
        Ok(batch)
    }
}

impl Reading {
    /// Whether another row is there, after the next table was read if need be.
    fn fill(&mut self, store: &dyn ColdStore) -> Result<bool, PortError> {
        while self.rows.is_empty() {
            let Some(segment) = self.waiting.front() else { return Ok(false) };
            if self.open.is_none() {
                self.open = Some(file(store, segment)?);
            }
            match self.open.as_mut().and_then(Iterator::next) {
                Some(Ok(table)) => {
                    let rows = records_of(&table).ok_or_else(|| damaged(segment, "not the columns of records"))?;
                    self.rows.extend(rows);
                }
                Some(Err(error)) => return Err(damaged(segment, &error.to_string())),
                None => {
                    self.open = None;
                    self.waiting.pop_front();
                }
            }
        }
        Ok(true)
    }
}

impl<S: ColdStore> Source for ColdSource<S> {
    fn seek(&mut self, from: &Cut) -> Result<(), PortError> {
        self.partitions.clear();
        for segment in &self.manifest.segments {
            let ColdDataset::Records(topic) = segment.dataset else { continue };
            let partition = Partition { topic, partition: segment.partition };
            if from.next_offset(partition) <= segment.last {
                self.partitions.entry(partition).or_default().waiting.push_back(segment.clone());
            }
        }
        for (partition, reading) in &mut self.partitions {
            let next = from.next_offset(*partition);
            while reading.fill(&self.store)? && reading.rows[0].offset < next {
                reading.rows.pop_front();
            }
        }
        Ok(())
    }

    fn poll(&mut self, limit: usize, _wait: Duration) -> Result<Polled, PortError> {
        let partitions = self.partitions.keys().copied().collect::<Vec<_>>();
        let share = (limit / partitions.len().max(1)).max(1);
        let mut polled = Polled::default();
        for partition in partitions {
            let batch = self.read(partition, share)?;
            if !batch.is_empty() {
                polled.batches.push(batch);
            }
        }
        if polled.batches.is_empty() {
            return Err(PortError::Fatal(format!(
                "{MANIFEST} names no more records, but bindings do: verify the store"
            )));
        }
        Ok(polled)
    }
}

fn stream(partition: Partition) -> Stream {
    (ColdDataset::Records(partition.topic), partition.partition)
}

fn is_needed(dataset: ColdDataset) -> bool {
    matches!(dataset, ColdDataset::Records(_) | ColdDataset::Bindings)
}

/// The tables of a segment's file.
fn file(store: &dyn ColdStore, segment: &Segment) -> Result<ParquetRecordBatchReader, PortError> {
    let bytes = store.get(&segment.file)?.filter(|bytes| segment.is_file(bytes));
    let bytes = bytes.ok_or_else(|| damaged(segment, "it is missing, or not the one that was written"))?;
    open(bytes).map_err(|error| damaged(segment, &error.to_string()))
}

fn damaged(segment: &Segment, what: &str) -> PortError {
    PortError::Fatal(format!("{}: {what}; restore it from a copy", segment.file))
}
