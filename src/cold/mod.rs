//! Cold storage: committed outputs as Parquet, and the proof that nobody touched them.
//!
//! Terms. A *segment* is one Parquet file: rows of one dataset and partition, in order, of one UTC date. The *manifest*
//! `manifest.jsonl` names every segment with its SHA-256, one JSON line each ([`Segment`]); what it does not name is
//! not there. For the audit dataset it holds the chain's heads before and after each segment too, so that the chain can
//! be followed without a hash in any row.
//!
//! [`compact`] moves committed outputs into segments, [`keep_inputs`] what they were computed from; [`merge`] makes large
//! segments of small ones, [`retain`] drops old ones; [`verify`] follows the chain through them from its genesis, or from
//! the head that is kept of the last dropped one. [`ColdSource`] reads records back, for replay. [`columns`] says what
//! every column means. `analytics/` has queries for DuckDB.
//!
//! # Decision
//! Parquet and table formats on top of it promise no integrity: of 125 bit flips in a file, two thirds were read as
//! silently different rows. So a file is known by its hash, and its rows by the chain. A stored hash per row would cost
//! 58 % more bytes and prove no more than the heads do.

mod archive;
mod audit_table;
mod columns;
mod compactor;
mod dataset;
mod glossary;
mod input_tables;
mod inputs;
mod manifest;
mod merge;
mod parquet_file;
mod retention;
mod source;
mod store;
mod tables;
mod verify;
mod verify_log;

pub(crate) use compactor::explain;
pub use compactor::{MAX_SEGMENT_ROWS, Options, Report, compact};
pub use dataset::ColdDataset;
pub use glossary::{Column, columns};
pub use inputs::{KeptInputs, Requests, TUNING, keep_inputs};
pub use manifest::{MANIFEST, Manifest, Segment};
pub use merge::{MIN_FILE_BYTES, Merged, merge};
pub use retention::retain;
pub use source::ColdSource;
pub use store::{ColdStore, DirectoryStore, MemoryStore};
pub use verify::{Tampered, Verification, verify, verify_store};
