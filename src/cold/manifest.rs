//! The manifest: which segments there are, in the order of their rows.

use super::dataset::ColdDataset;
use super::store::ColdStore;
use crate::ports::PortError;
use evenkeel_schemas::audit::Hash;
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

/// The segments of a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// Those of a stream in the order of their rows.
    pub segments: Vec<Segment>,
}

impl Manifest {
    /// Reads the manifest; `None` if there is none.
    ///
    /// # Errors
    /// `Fatal` with the number of a line that is no [`Segment`].
    pub fn load(store: &dyn ColdStore) -> Result<Option<Self>, PortError> {
        store.get(MANIFEST)?.map(|bytes| Self::read(&bytes)).transpose()
    }

    /// Reads the manifest from its bytes.
    ///
    /// # Errors
    /// As [`Manifest::load`].
    pub fn read(bytes: &[u8]) -> Result<Self, PortError> {
        let lines = bytes.strip_suffix(b"\n").unwrap_or(bytes).split(|byte| *byte == b'\n');
        let segment = |(number, line): (usize, &[u8])| {
            serde_json::from_slice(line).map_err(|error| {
                let line = number + 1;
                PortError::Fatal(format!("{MANIFEST} line {line} is no segment: {error}; restore it from a copy"))
            })
        };
        let lines = lines.enumerate().filter(|_| !bytes.is_empty());
        Ok(Self { segments: lines.map(segment).collect::<Result<_, _>>()? })
    }

    /// The manifest's bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for segment in &self.segments {
            serde_json::to_writer(&mut bytes, segment).expect("numbers and names are JSON");
            bytes.push(b'\n');
        }
        bytes
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

/// Hex digits, two a byte.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A hash from its 64 hex digits, lower case.
pub fn from_hex(text: &str) -> Option<Hash> {
    let mut hash = [0; 32];
    for (byte, digits) in hash.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    (hex(&hash) == text).then_some(hash)
}
