//! [`compact`]: committed outputs to segments, from where the manifest ends. What a crash leaves: see
//! [`Archive`](super::archive::Archive).
//!
//! # Decision
//! Outcomes come in, they are no output. Their table is made of the audit entries that say so, in the same step as the
//! audit segment: whatever was heard is chained, so the two cannot disagree, and no log is read twice.

use super::archive::Archive;
use super::audit_table::audit_table;
use super::dataset::{ColdDataset, OUTPUTS};
use super::manifest::{Manifest, Segment, hex};
use super::parquet_file::{ROW_GROUP_ROWS, write};
use super::store::ColdStore;
use super::tables::{outcomes, table};
use crate::ports::{OutputLog, PortError, Row};
use arrow::array::RecordBatch;
use arrow::temporal_conversions::timestamp_us_to_datetime;
use evenkeel_schemas::Dataset;
use evenkeel_schemas::audit::{Break, Chain, Entry, ORIGIN, View};

/// Rows of a segment at most: one row group. Merging makes larger ones of small ones.
pub const MAX_SEGMENT_ROWS: usize = ROW_GROUP_ROWS;

/// A segment is closed too when its values have this many bytes: it is held in memory while it is written.
pub const MAX_SEGMENT_BYTES: usize = 64 << 20;

/// Rows read from the log at a time.
const READ_ROWS: usize = 4096;

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
    /// The files that a crashed run left behind, and this one removed.
    pub removed: Vec<String>,
}

/// Segments and their files, to be added together.
pub type Step = Vec<(Segment, Vec<u8>)>;

/// Writes what was committed since the last run, for every cold dataset and partition. Running it again changes nothing.
///
/// # Errors
/// `Fatal` if a row is not what it should be: names dataset, partition and offset; for the audit dataset that is a broken
/// chain. `Retry` if log or store cannot be reached now.
pub fn compact(log: &mut dyn OutputLog, store: &dyn ColdStore, options: &Options) -> Result<Report, PortError> {
    let (mut archive, removed) = Archive::open(store)?;
    let mut report = Report { removed, ..Report::default() };
    for dataset in OUTPUTS {
        for partition in log.partitions(dataset)? {
            let mut pending = Pending::resume(archive.manifest(), dataset, partition)?;
            while let Some(step) = pending.next_step(log, options)? {
                report.written.extend(step.iter().map(|(segment, _)| segment.clone()));
                archive.add(step)?;
            }
        }
    }
    Ok(report)
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
        if let Some(last) = manifest.last((dataset.into(), partition)) {
            next_offset = last.next_offset;
            if dataset == Dataset::Audit {
                let head =
                    last.head().ok_or_else(|| PortError::Fatal(format!("{}: no head in the manifest", last.file)))?;
                chain = Chain::resume(partition, last.last + 1, head);
            }
        }
        Ok(Self { dataset, partition, chain, rows: Vec::new(), bytes: 0, next_offset })
    }

    /// The next segments, whose rows are taken; `None` if there are too few rows for one.
    fn next_step(&mut self, log: &mut dyn OutputLog, options: &Options) -> Result<Option<Step>, PortError> {
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
        match table(self.dataset, &rows)? {
            Some(table) => {
                let ends = (rows[0].offset, rows[rows.len() - 1].offset);
                let segment = Segment::new(self.stream(), &date, ends, rows.len() as u64);
                Ok(Some(vec![written(segment, &table)?]))
            }
            None => self.chained(&rows, &date).map(Some),
        }
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

    /// Follows the chain over audit rows: their segment, with numbers and heads, and that of the outcomes among them.
    fn chained(&mut self, rows: &[Row], date: &str) -> Result<Step, PortError> {
        let (first, prev_head) = (self.chain.next_seq(), hex(&self.chain.head()));
        let entries = self.follow(rows)?;
        let mut segment = Segment::new(self.stream(), date, (first, self.chain.next_seq() - 1), entries.len() as u64);
        segment.next_offset = rows[rows.len() - 1].offset + 1;
        (segment.prev_head, segment.head) = (Some(prev_head), Some(hex(&self.chain.head())));
        let mut step = vec![written(segment, &audit_table(&entries))?];
        let heard = entries.iter().zip(rows).filter(|(entry, _)| entry.event_type == "outcome");
        let heard = heard.map(|(entry, row)| (entry, row.at_us)).collect::<Vec<_>>();
        if let (Some((first, _)), Some((last, _))) = (heard.first(), heard.last()) {
            let stream = (ColdDataset::Outcomes, self.partition);
            let segment = Segment::new(stream, date, (first.seq, last.seq), heard.len() as u64);
            step.push(written(segment, &outcomes(&heard)?)?);
        }
        Ok(step)
    }

    fn follow(&mut self, rows: &[Row]) -> Result<Vec<Entry>, PortError> {
        let mut entries = Vec::with_capacity(rows.len());
        for row in rows {
            let (entry, link) = Entry::open(&row.value).map_err(|error| self.fatal(row, &error.to_string()))?;
            let followed = self.chain.follow(&entry, Some(&link));
            followed.map_err(|broken| self.fatal(row, &explain(broken, &entry.view(), self.chain.next_seq())))?;
            entries.push(entry);
        }
        Ok(entries)
    }

    fn stream(&self) -> (ColdDataset, u32) {
        (self.dataset.into(), self.partition)
    }

    fn date(&self, row: &Row) -> Result<String, PortError> {
        date_of(row.at_us).ok_or_else(|| self.fatal(row, "its time is no date"))
    }

    fn fatal(&self, row: &Row, why: &str) -> PortError {
        let (topic, partition, offset) = (self.dataset.topic(), self.partition, row.offset);
        PortError::Fatal(format!("{topic} partition {partition} offset {offset}: {why}; nothing after it is compacted"))
    }
}

/// A segment and its file.
pub fn written(mut segment: Segment, table: &RecordBatch) -> Result<(Segment, Vec<u8>), PortError> {
    let file = write(table, &segment.hints());
    let file = file.map_err(|error| PortError::Fatal(format!("{}: {error}", segment.file)))?;
    segment.seal(&file);
    Ok((segment, file))
}

/// The UTC date of a time, `YYYY-MM-DD`, which sorts by time; `None` for years of other than four digits.
pub fn date_of(at_us: i64) -> Option<String> {
    timestamp_us_to_datetime(at_us).map(|time| time.date().to_string()).filter(|date| date.len() == "YYYY-MM-DD".len())
}

/// Words for a broken chain: what came, and what should have.
pub fn explain(broken: Break, entry: &View<'_>, expected: u64) -> String {
    let seq = entry.seq;
    match broken {
        Break::Partition => format!("seq {seq} names partition {}", entry.partition),
        Break::Sequence => format!("seq {seq} where {expected} should follow"),
        Break::Link => format!("the link of seq {seq} is not the hash of the entry and the link before it"),
    }
}
