//! The manifest: which segments there are, in the order they were written.

use super::store::ColdStore;
use crate::ports::PortError;
use evenkeel_schemas::Dataset;
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
    pub dataset: Dataset,
    /// Their partition.
    pub partition: u32,
    /// Audit: `seq` of the first row, contiguous from 0 over the segments. Else its offset in the log.
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
}

impl Segment {
    /// The name of a segment's file: `<dataset>/partition=<n>/date=<date>/seg-<first>-<last>.parquet`.
    pub fn name(dataset: Dataset, partition: u32, date: &str, first: u64, last: u64) -> String {
        format!("{}/partition={partition}/date={date}/seg-{first:020}-{last:020}.parquet", dataset.folder())
    }

    /// Whether the file's name says what the line says; its date is only a hint for readers.
    pub fn is_well_named(&self) -> bool {
        let date = self.file.split('/').nth(2).and_then(|part| part.strip_prefix("date="));
        date.is_some_and(|date| self.file == Self::name(self.dataset, self.partition, date, self.first, self.last))
    }

    /// Whether `bytes` are the file.
    pub fn is_file(&self, bytes: &[u8]) -> bool {
        self.bytes == bytes.len() as u64 && self.sha256 == hex(&Sha256::digest(bytes))
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
    /// In the order they were written.
    pub segments: Vec<Segment>,
}

impl Manifest {
    /// Reads the manifest; `None` if there is none.
    ///
    /// # Errors
    /// `Fatal` with the number of a line that is no [`Segment`].
    pub fn load(store: &dyn ColdStore) -> Result<Option<Self>, PortError> {
        let Some(bytes) = store.get(MANIFEST)? else { return Ok(None) };
        let lines = bytes.strip_suffix(b"\n").unwrap_or(&bytes).split(|byte| *byte == b'\n');
        let segment = |(number, line): (usize, &[u8])| {
            serde_json::from_slice(line).map_err(|error| {
                let line = number + 1;
                PortError::Fatal(format!("{MANIFEST} line {line} is no segment: {error}; restore it from a copy"))
            })
        };
        let lines = lines.enumerate().filter(|_| !bytes.is_empty());
        Ok(Some(Self { segments: lines.map(segment).collect::<Result<_, _>>()? }))
    }

    /// Appends a segment, durably: the manifest has it whole or not at all.
    ///
    /// # Errors
    /// As [`ColdStore::put`].
    pub fn append(&mut self, segment: Segment, store: &dyn ColdStore) -> Result<(), PortError> {
        self.segments.push(segment);
        let mut text = String::new();
        for segment in &self.segments {
            text += &serde_json::to_string(segment).expect("numbers and names are JSON");
            text.push('\n');
        }
        store.put(MANIFEST, text.as_bytes())
    }

    /// The last segment of a dataset's partition.
    pub fn last(&self, dataset: Dataset, partition: u32) -> Option<&Segment> {
        self.segments.iter().rev().find(|segment| (segment.dataset, segment.partition) == (dataset, partition))
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
