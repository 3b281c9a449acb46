//! What goes into an engine and what comes out: [`Batch`]es of records, [`Changes`] per epoch.

use crate::wire;
use evenkeel_schemas::{Binding, Coordinates, Dataset, Partition};
use serde::{Deserialize, Serialize};

/// Records longer than this count as several: a batch of requests in an Arrow stream has about a hundred bytes each.
pub const HEAVY_BYTES: usize = 512;

/// Records of one partition in offset order, payloads in one arena.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Where all of them lie.
    pub partition: Partition,
    rows: Vec<Row>,
    arena: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Row {
    offset: u64,
    timestamp_us: i64,
    key_end: usize,
    payload_end: usize,
}

/// One record of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Where it lies.
    pub at: Coordinates,
    /// When it came into its log, µs since the Unix epoch.
    pub timestamp_us: i64,
    /// The record's key; empty if it has none.
    pub key: &'a [u8],
    /// The record's value; empty for a tombstone.
    pub payload: &'a [u8],
}

impl Batch {
    /// An empty batch.
    pub fn new(partition: Partition) -> Self {
        Self { partition, rows: Vec::new(), arena: Vec::new() }
    }

    /// An empty batch in the memory of one that was read.
    pub fn renewed(mut self, partition: Partition) -> Self {
        self.partition = partition;
        self.rows.clear();
        self.arena.clear();
        self
    }

    /// Appends a record; offsets must ascend.
    pub fn push(&mut self, offset: u64, timestamp_us: i64, key: &[u8], payload: &[u8]) {
        debug_assert!(self.rows.last().is_none_or(|row| row.offset < offset), "offsets ascend");
        self.arena.extend_from_slice(key);
        let key_end = self.arena.len();
        self.arena.extend_from_slice(payload);
        self.rows.push(Row { offset, timestamp_us, key_end, payload_end: self.arena.len() });
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are no records.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Bytes of keys and payloads.
    pub fn bytes(&self) -> usize {
        self.arena.len()
    }

    /// What it counts against bounds that are given in records: one with many requests counts as one for each
    /// [`HEAVY_BYTES`].
    pub fn weight(&self) -> usize {
        self.len().max(self.bytes() / HEAVY_BYTES)
    }

    /// The offset after the last record; `None` if there are no records.
    pub fn next_offset(&self) -> Option<u64> {
        self.rows.last().map(|row| row.offset + 1)
    }

    /// When the last record came into its log, µs; `None` if there are no records.
    pub fn last_timestamp_us(&self) -> Option<i64> {
        self.rows.last().map(|row| row.timestamp_us)
    }

    /// When the records from the `from`-th on came into their log, µs.
    pub fn timestamps_us(&self, from: usize) -> impl Iterator<Item = i64> {
        self.rows[from.min(self.rows.len())..].iter().map(|row| row.timestamp_us)
    }

    /// The records in order.
    pub fn iter(&self) -> impl Iterator<Item = Record<'_>> {
        let mut start = 0;
        self.rows.iter().map(move |row| {
            let key = &self.arena[start..row.key_end];
            let payload = &self.arena[row.key_end..row.payload_end];
            start = row.payload_end;
            let Partition { topic, partition } = self.partition;
            let at = Coordinates { topic, partition, offset: row.offset };
            Record { at, timestamp_us: row.timestamp_us, key, payload }
        })
    }

    /// At most `limit` records from the `from`-th on.
    pub fn slice(&self, from: usize, limit: usize) -> Self {
        let start = |row: usize| row.checked_sub(1).map_or(0, |before| self.rows[before].payload_end);
        let from = from.min(self.rows.len());
        let to = from.saturating_add(limit).min(self.rows.len());
        let (low, high) = (start(from), start(to));
        let shift = |row: &Row| Row { key_end: row.key_end - low, payload_end: row.payload_end - low, ..*row };
        let rows = self.rows[from..to].iter().map(shift).collect();
        Self { partition: self.partition, rows, arena: self.arena[low..high].to_vec() }
    }

    /// How many records lie below `offset`.
    pub fn count_below(&self, offset: u64) -> usize {
        self.rows.partition_point(|row| row.offset < offset)
    }
}

/// One encoded output.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Output {
    /// What kind it is.
    pub dataset: Dataset,
    /// Its partition; only the audit dataset has more than partition 0, elsewhere the key decides.
    pub partition: u32,
    /// Its key.
    #[serde(with = "wire::bytes")]
    pub key: Vec<u8>,
    /// Its bytes; empty in [`Dataset::State`] means that the key is gone.
    #[serde(with = "wire::bytes")]
    pub value: Vec<u8>,
}

/// Everything that an epoch says: a function of the bindings and records up to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// The epoch.
    pub binding: Binding,
    /// Its outputs, by dataset, partition and key; those of one key, and of one audit partition, in the order they were
    /// said.
    pub outputs: Vec<Output>,
    /// How many records the epoch held.
    pub records: u64,
}
