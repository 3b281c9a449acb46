//! [`compact`]: committed outputs to segments, from where the manifest ends.
//!
//! Invariant: the manifest names a file only once it is durable, so a crash leaves at most one file that the manifest
//! does not name; the next run removes it and writes those rows again. No row is missing, none is there twice.

use super::audit_table::audit_table;
use super::manifest::{Manifest, Segment, hex};
use super::parquet_file::{ROW_GROUP_ROWS, write};
use super::store::ColdStore;
use super::tables::table;
use crate::ports::{OutputLog, PortError, Row};
use arrow::array::RecordBatch;
use arrow::temporal_conversions::timestamp_us_to_datetime;
use evenkeel_schemas::Dataset;
use evenkeel_schemas::audit::{Break, Chain, Entry, ORIGIN};
use sha2::{Digest, Sha256};

/// Rows of a segment at most: one row group.
pub const MAX_SEGMENT_ROWS: usize = ROW_GROUP_ROWS;

/// A segment is closed too when its values have this many bytes: it is held in memory while it is written.
const MAX_SEGMENT_BYTES: usize = 64 << 20;

/// Rows read from the log at a time.
const READ_ROWS: usize = 4096;

/// The datasets that are kept cold.
const COLD: [Dataset; 5] = [Dataset::Audit, Dataset::Rollups, Dataset::Verdicts, Dataset::Incidents, Dataset::Commands];

/// How segments are cut.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Rows of a segment at most, at least 1.
    pub max_rows: usize,
    /// Whether the last segment is written although more rows may come for it.
    pub whole: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { max_rows: MAX_SEGMENT_ROWS, whole: false }
    }
}

/// What a run did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The segments it wrote.
    pub written: Vec<Segment>,
    /// The file that a crashed run left behind, and this one removed.
    pub removed: Option<String>,
}

/// Writes what was committed since the last run, for every cold dataset and partition. Running it again changes nothing.
///
/// # Errors
/// `Fatal` if a row is not what it should be: names dataset, partition and offset; for the audit dataset that is a broken
/// chain. `Retry` if log or store cannot be reached now.
pub fn compact(log: &mut dyn OutputLog, store: &dyn ColdStore, options: &Options) -> Result<Report, PortError> {
    let mut manifest = Manifest::load(store)?.unwrap_or_default();
    let mut report = Report { removed: remove_leftover(&manifest, store)?, ..Report::default() };
    for dataset in COLD {
        for partition in log.partitions(dataset)? {
            let mut pending = Pending::resume(&manifest, dataset, partition)?;
            while let Some(segment) = pending.write_next(log, store, options)? {
                // A crash here leaves the file without its line: removed by the next run.
                manifest.append(segment.clone(), store)?;
                // A crash here leaves both: the next run goes on after it.
                report.written.push(segment);
            }
        }
    }
    Ok(report)
}

/// Removes the one file that a crash may have left.
fn remove_leftover(manifest: &Manifest, store: &dyn ColdStore) -> Result<Option<String>, PortError> {
    let mut unknown = Vec::new();
    for dataset in COLD {
        unknown.extend(store.list(&format!("{}/", dataset.folder()))?);
    }
    let known =
        manifest.segments.iter().map(|segment| segment.file.as_str()).collect::<std::collections::BTreeSet<_>>();
    unknown.retain(|file| !known.contains(file.as_str()));
    if unknown.len() > 1 {
        let (count, first) = (unknown.len(), &unknown[0]);
        return Err(PortError::Fatal(format!(
            "{count} files are not in the manifest, {first} for one, where a crash leaves one at most: restore the \
             manifest that names them, or remove them"
        )));
    }
    let leftover = unknown.pop();
    leftover.as_deref().map_or(Ok(()), |file| store.remove(file))?;
    Ok(leftover)
}

/// Rows of one dataset and partition that are in no segment yet.
struct Pending {
    dataset: Dataset,
    partition: u32,
    chain: Chain,
    rows: Vec<Row>,
    bytes: usize,
    next_offset: u64,
}

impl Pending {
    fn resume(manifest: &Manifest, dataset: Dataset, partition: u32) -> Result<Self, PortError> {
        let (mut chain, mut next_offset) = (Chain::new(ORIGIN, partition), 0);
        if let Some(last) = manifest.last(dataset, partition) {
            next_offset = last.next_offset;
            if dataset == Dataset::Audit {
                let head =
                    last.head().ok_or_else(|| PortError::Fatal(format!("{}: no head in the manifest", last.file)))?;
                chain = Chain::resume(partition, last.last + 1, head);
            }
        }
        Ok(Self { dataset, partition, chain, rows: Vec::new(), bytes: 0, next_offset })
    }

    /// Writes the next segment's file, durably, and says what its line is; `None` if there are too few rows for one.
    fn write_next(
        &mut self,
        log: &mut dyn OutputLog,
        store: &dyn ColdStore,
        options: &Options,
    ) -> Result<Option<Segment>, PortError> {
        let has_more = self.fill(log, options.max_rows)?;
        let Some(first) = self.rows.first() else { return Ok(None) };
        let date = self.date(first)?;
        let mut rows = 0;
        while rows < self.rows.len().min(options.max_rows) && self.date(&self.rows[rows])? == date {
            rows += 1;
        }
        if rows == self.rows.len() && !has_more && !options.whole {
            return Ok(None);
        }
        let rows = self.rows.drain(..rows).collect::<Vec<_>>();
        self.bytes = self.rows.iter().map(|row| row.value.len()).sum();
        let (segment, file) = self.segment(&rows, &date)?;
        store.put(&segment.file, &file)?;
        Ok(Some(segment))
    }

    /// Reads rows until a segment is full; `false` if the log ended before.
    fn fill(&mut self, log: &mut dyn OutputLog, max_rows: usize) -> Result<bool, PortError> {
        while self.rows.len() < max_rows && self.bytes < MAX_SEGMENT_BYTES {
            let limit = READ_ROWS.min(max_rows - self.rows.len());
            let read = log.read(self.dataset, self.partition, self.next_offset, limit)?;
            let Some(last) = read.last() else { return Ok(false) };
            self.next_offset = last.offset + 1;
            self.bytes += read.iter().map(|row| row.value.len()).sum::<usize>();
            self.rows.extend(read);
        }
        Ok(true)
    }

    fn segment(&mut self, rows: &[Row], date: &str) -> Result<(Segment, Vec<u8>), PortError> {
        let (first, last) = (&rows[0], &rows[rows.len() - 1]);
        let mut segment = Segment {
            dataset: self.dataset,
            partition: self.partition,
            first: first.offset,
            last: last.offset,
            rows: rows.len() as u64,
            file: String::new(),
            sha256: String::new(),
            bytes: 0,
            prev_head: None,
            head: None,
            next_offset: last.offset + 1,
        };
        let table = match table(self.dataset, rows)? {
            Some(table) => table,
            None => self.follow(rows, &mut segment)?,
        };
        let file = write(&table, &segment.hints()).map_err(|error| self.fatal(first, &error.to_string()))?;
        segment.file = Segment::name(self.dataset, self.partition, date, segment.first, segment.last);
        (segment.sha256, segment.bytes) = (hex(&Sha256::digest(&file)), file.len() as u64);
        Ok((segment, file))
    }

    /// Follows the chain over audit rows, and tells the segment its numbers and heads.
    fn follow(&mut self, rows: &[Row], segment: &mut Segment) -> Result<RecordBatch, PortError> {
        segment.first = self.chain.next_seq();
        segment.prev_head = Some(hex(&self.chain.head()));
        let mut entries = Vec::with_capacity(rows.len());
        for row in rows {
            let (entry, link) = Entry::open(&row.value).map_err(|error| self.fatal(row, &error.to_string()))?;
            let followed = self.chain.follow(&entry, Some(&link));
            followed.map_err(|broken| self.fatal(row, &explain(broken, &entry, &self.chain)))?;
            entries.push(entry);
        }
        segment.last = self.chain.next_seq() - 1;
        segment.head = Some(hex(&self.chain.head()));
        Ok(audit_table(&entries))
    }

    /// The UTC date of a row's commit.
    fn date(&self, row: &Row) -> Result<String, PortError> {
        let time = timestamp_us_to_datetime(row.at_us).ok_or_else(|| self.fatal(row, "its time is no date"))?;
        Ok(time.date().to_string())
    }

    fn fatal(&self, row: &Row, why: &str) -> PortError {
        let (topic, partition, offset) = (self.dataset.topic(), self.partition, row.offset);
        PortError::Fatal(format!("{topic} partition {partition} offset {offset}: {why}; nothing after it is compacted"))
    }
}

/// Words for a broken chain: what came, and what should have.
pub fn explain(broken: Break, entry: &Entry, chain: &Chain) -> String {
    let (seq, expected) = (entry.seq, chain.next_seq());
    match broken {
        Break::Partition => format!("seq {seq} names partition {}", entry.partition),
        Break::Sequence => format!("seq {seq} where {expected} should follow"),
        Break::Link => format!("the link of seq {seq} is not the hash of the entry and the link before it"),
    }
}
