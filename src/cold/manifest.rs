//! The manifest: which segments there are.
//!
//! It is a log: lines are appended, and never change. A line speaks for its range of rows from then on: a merged segment
//! takes the place of those whose rows it holds, all of them and no other; one marked as dropped takes its own place. So
//! each line can be sealed once, for good, and a rolled back manifest lacks lines.

use super::dataset::ColdDataset;
use super::store::ColdStore;
use crate::ports::PortError;
use evenkeel_schemas::audit::Hash;
pub use evenkeel_schemas::audit::{from_hex, hex};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The manifest's name in the cold store.
pub const MANIFEST: &str = "manifest.jsonl";

/// One segment: one line of the manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Segment {
    /// What its rows are.
    pub dataset: ColdDataset,
    /// Their partition.
    pub partition: u32,
    /// Audit: `seq` of the first row, contiguous from 0 over the segments. Outcomes: that of their audit entry. Bindings:
    /// their epoch. Else the row's offset in its log.
    pub first: u64,
    /// The same of the last row.
    pub last: u64,
    /// Number of rows.
    pub rows: u64,
    /// The file's name in the cold store.
    pub file: String,
    /// SHA-256 of the file, 64 hex digits.
    pub sha256: String,
    /// Length of the file.
    pub bytes: u64,
    /// Audit: the chain's head before the first row, 64 hex digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prev_head: Option<String>,
    /// Audit: the chain's head after the last row, 64 hex digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<String>,
    /// The offset in the log from which compaction goes on.
    pub next_offset: u64,
    /// Whether retention dropped the file. The line stays: the chain goes on from its head.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dropped: bool,
}

/// A dataset's partition: what is in order.
pub type Stream = (ColdDataset, u32);

impl Segment {
    /// A segment of `rows` rows of a date, from `first` to `last`, whose file is not written yet.
    pub fn new(stream: Stream, date: &str, (first, last): (u64, u64), rows: u64) -> Self {
        let (dataset, partition) = stream;
        Self {
            dataset,
            partition,
            first,
            last,
            rows,
            file: Self::name(dataset, partition, date, first, last),
            sha256: String::new(),
            bytes: 0,
            prev_head: None,
            head: None,
            next_offset: last + 1,
            dropped: false,
        }
    }

    /// The name of a segment's file: `<dataset>/partition=<n>/date=<date>/seg-<first>-<last>.parquet`.
    pub fn name(dataset: ColdDataset, partition: u32, date: &str, first: u64, last: u64) -> String {
        format!("{dataset}/partition={partition}/date={date}/seg-{first:020}-{last:020}.parquet")
    }

    /// What a file's name says: dataset and partition, first and last row. `None` if it is no segment's.
    pub fn parse(file: &str) -> Option<(Stream, u64, u64)> {
        let mut parts = file.rsplitn(4, '/');
        let name = parts.next()?.strip_prefix("seg-")?.strip_suffix(".parquet")?;
        let date = parts.next()?.strip_prefix("date=")?;
        let partition = parts.next()?.strip_prefix("partition=")?.parse().ok()?;
        let dataset = ColdDataset::from_name(parts.next()?)?;
        let (first, last) = name.split_once('-')?;
        let (first, last) = (first.parse().ok()?, last.parse().ok()?);
        (file == Self::name(dataset, partition, date, first, last)).then_some(((dataset, partition), first, last))
    }

    /// The dataset and partition whose rows it holds.
    pub fn stream(&self) -> Stream {
        (self.dataset, self.partition)
    }

    /// Whether all rows of another segment are among its own.
    fn spans(&self, other: &Self) -> bool {
        self.stream() == other.stream() && self.first <= other.first && other.last <= self.last
    }

    /// The UTC date on which its rows were committed, `YYYY-MM-DD`, by the file's name; empty if it names none.
    pub fn date(&self) -> &str {
        self.file.rsplit('/').nth(1).and_then(|part| part.strip_prefix("date=")).unwrap_or("")
    }

    /// Whether the file's name says what the line says; its date is only a hint for readers.
    pub fn is_well_named(&self) -> bool {
        Self::parse(&self.file) == Some((self.stream(), self.first, self.last))
    }

    /// Whether `bytes` are the file.
    pub fn is_file(&self, bytes: &[u8]) -> bool {
        self.bytes == bytes.len() as u64 && self.sha256 == hex(&Sha256::digest(bytes))
    }

    /// Takes in what file it is.
    pub fn seal(&mut self, file: &[u8]) {
        (self.sha256, self.bytes) = (hex(&Sha256::digest(file)), file.len() as u64);
    }

    /// What the file says of itself, in its key-value metadata.
    pub fn hints(&self) -> Vec<(&'static str, String)> {
        let numbers = [("first", self.first), ("last", self.last), ("next_offset", self.next_offset)];
        let heads = [("prev_head", &self.prev_head), ("head", &self.head)];
        let numbers = numbers.map(|(name, number)| (name, number.to_string())).into_iter();
        numbers.chain(heads.into_iter().filter_map(|(name, head)| Some((name, head.clone()?)))).collect()
    }

    /// The chain's head after the last row; `None` if there is none, or it is no hash.
    pub fn head(&self) -> Option<Hash> {
        self.head.as_deref().and_then(from_hex)
    }
}

/// The segments of a store, by the lines of its manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// Those that count now; of a stream in the order of their rows.
    pub segments: Vec<Segment>,
    /// The lines as they are stored; `None` before the first.
    text: Option<Vec<u8>>,
}

impl Manifest {
    /// Reads the manifest; `None` if there is none.
    ///
    /// # Errors
    /// `Fatal` with the number of a line that is no [`Segment`], or does not follow from those before.
    pub fn load(store: &dyn ColdStore) -> Result<Option<Self>, PortError> {
        store.get(MANIFEST)?.map(Self::read).transpose()
    }

    fn read(text: Vec<u8>) -> Result<Self, PortError> {
        let mut manifest = Self::default();
        let lines = text.strip_suffix(b"\n").unwrap_or(&text).split(|byte| *byte == b'\n');
        for (number, line) in lines.enumerate().filter(|_| !text.is_empty()) {
            let segment = serde_json::from_slice(line).map_err(|error| format!("is no segment: {error}"));
            segment.and_then(|segment| manifest.take(segment)).map_err(|why| {
                PortError::Fatal(format!("{MANIFEST} line {} {why}; restore it from a copy", number + 1))
            })?;
        }
        Ok(Self { text: Some(text), ..manifest })
    }

    /// Takes in the next line.
    fn take(&mut self, segment: Segment) -> Result<(), String> {
        let replaced = self.segments.iter().filter(|held| segment.spans(held)).collect::<Vec<_>>();
        let (Some(first), Some(last)) = (replaced.first(), replaced.last()) else {
            if self.last(segment.stream()).is_some_and(|end| segment.first <= end.last) {
                return Err(format!("is of rows from {} on, which others hold", segment.first));
            }
            self.segments.push(segment);
            return Ok(());
        };
        let rows = replaced.iter().map(|held| held.rows).fold(0, u64::saturating_add);
        if (first.first, last.last, rows) != (segment.first, segment.last, segment.rows) {
            return Err("takes the place of segments that hold other rows".to_owned());
        }
        if replaced.iter().any(|held| held.dropped) {
            return Err("brings back what was dropped".to_owned());
        }
        if replaced.len() == 1 && !segment.dropped {
            return Err("repeats a segment".to_owned());
        }
        let at = self.segments.iter().position(|held| segment.spans(held)).expect("there are some");
        self.segments.retain(|held| !segment.spans(held));
        self.segments.insert(at, segment);
        Ok(())
    }

    /// Appends lines for what changed, durably: the store has all of them, or none.
    ///
    /// # Errors
    /// As [`ColdStore::replace`].
    pub fn save(&mut self, store: &dyn ColdStore) -> Result<(), PortError> {
        let mut text = self.text.clone().unwrap_or_default();
        let before = Self::read(text.clone())?.segments;
        for segment in self.segments.iter().filter(|segment| !before.contains(segment)) {
            serde_json::to_writer(&mut text, segment).expect("numbers and names are JSON");
            text.push(b'\n');
        }
        store.replace(MANIFEST, self.text.as_deref(), &text)?;
        self.text = Some(text);
        Ok(())
    }

    /// Whether the store still has the lines that were read or saved last.
    ///
    /// # Errors
    /// As [`ColdStore::get`].
    pub fn is_stored(&self, store: &dyn ColdStore) -> Result<bool, PortError> {
        Ok(store.get(MANIFEST)? == self.text)
    }

    /// The segments of a stream, in the order of their rows.
    pub fn of(&self, stream: Stream) -> impl DoubleEndedIterator<Item = &Segment> {
        self.segments.iter().filter(move |segment| segment.stream() == stream)
    }

    /// The last segment of a stream.
    pub fn last(&self, stream: Stream) -> Option<&Segment> {
        self.of(stream).next_back()
    }
}
