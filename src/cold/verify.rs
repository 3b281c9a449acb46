//! [`verify`]: follows the audit chain from its genesis, through cold segments and through the embedded log.
//!
//! What it finds: an edited, dropped, inserted, repeated, swapped or moved row or file, a manifest that disagrees with
//! itself or with the files, and a log that disagrees with the segments made of it. What it cannot find: everything
//! rewritten to the last byte, or the newest segments cut off together with their lines, when no log lies beside them.
//! For that, keep the heads it reports in another place, and compare.

use super::audit_table::entries;
use super::columns::counts_of;
use super::compactor::explain;
use super::manifest::{MANIFEST, Manifest, Segment, from_hex, hex};
use super::parquet_file::read;
use super::store::{ColdStore, DirectoryStore};
use super::verify_log::verify_log;
use crate::ports::PortError;
use arrow::array::RecordBatch;
use evenkeel_schemas::audit::{Chain, Hash, ORIGIN};
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZero;
use std::path::Path;
use std::sync::mpsc::sync_channel;
use std::sync::{Mutex, PoisonError};

/// Files with fewer bytes in all are checked before threads have started.
const THREADS_PAY_BYTES: u64 = 1 << 20;

/// What verification found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verification {
    /// Nothing was touched.
    Whole {
        /// Audit entries whose chain was followed.
        entries: u64,
        /// Segments whose files are what the manifest says.
        segments: u64,
        /// The last link of each audit partition, 64 hex digits.
        heads: BTreeMap<u32, String>,
        /// The number of the first entry that is still there, of each audit partition of whose segments some were
        /// dropped; what was before it is known by the head alone.
        min_seqs: BTreeMap<u32, u64>,
    },
    /// Something was: the first place found.
    Tampered(Tampered),
    /// Nobody can tell: there is nothing here, or it cannot be read.
    Unusable(String),
}

impl std::fmt::Display for Verification {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Whole { entries, segments, min_seqs, .. } => {
                write!(f, "whole: {entries} audit entries, {segments} segments")?;
                let mut dropped = min_seqs.iter();
                dropped.try_for_each(|(partition, seq)| write!(f, ", partition {partition} from seq {seq} on"))
            }
            Self::Tampered(tampered) => write!(f, "tampered: {tampered}"),
            Self::Unusable(why) => write!(f, "unusable: {why}"),
        }
    }
}

/// The first bad place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tampered {
    /// Partition of the dataset, if it is about one.
    pub partition: Option<u32>,
    /// The audit entry's number, if it is about one.
    pub seq: Option<u64>,
    /// The file, below the directory.
    pub file: String,
    /// What is wrong.
    pub why: String,
}

impl std::fmt::Display for Tampered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.file)?;
        self.partition.map_or(Ok(()), |partition| write!(f, ", partition {partition}"))?;
        self.seq.map_or(Ok(()), |seq| write!(f, ", seq {seq}"))?;
        write!(f, ": {}", self.why)
    }
}

/// Why verification ended early.
pub enum Failure {
    /// Something was touched.
    Tampered(Tampered),
    /// It cannot be read.
    Unusable(String),
}

impl From<PortError> for Failure {
    fn from(error: PortError) -> Self {
        Self::Unusable(error.to_string())
    }
}

/// Where the chain of each audit partition stands, and how many segments it went through.
#[derive(Debug, Default)]
pub struct Followed {
    /// By audit partition.
    pub chains: BTreeMap<u32, Chain>,
    /// The head after each audit segment, by partition and the number of the entry that follows.
    pub heads: BTreeMap<(u32, u64), Hash>,
    /// Segments of all datasets.
    pub segments: u64,
    /// The first entry that is still there, by audit partition, where some were dropped.
    pub min_seqs: BTreeMap<u32, u64>,
}

/// Verifies a data directory (cold segments, the embedded log, and that they agree) or a cold directory. Never panics,
/// whatever lies there.
pub fn verify(directory: &Path) -> Verification {
    let has_log = directory.join("outputs").exists() || directory.join("commits").exists();
    let cold = if has_log || directory.join("cold").is_dir() { directory.join("cold") } else { directory.to_owned() };
    conclude(verify_both(&DirectoryStore::read_only(&cold), has_log.then_some(directory)))
}

/// Verifies a cold store by itself.
pub fn verify_store(store: &dyn ColdStore) -> Verification {
    conclude(verify_both(store, None))
}

fn verify_both(store: &dyn ColdStore, log: Option<&Path>) -> Result<Followed, Failure> {
    let mut followed = verify_segments(store, log.is_some())?;
    if let Some(directory) = log {
        verify_log(directory, &mut followed)?;
    }
    Ok(followed)
}

fn conclude(result: Result<Followed, Failure>) -> Verification {
    match result {
        Ok(Followed { chains, segments, min_seqs, .. }) => Verification::Whole {
            entries: chains.values().map(Chain::next_seq).sum::<u64>() - min_seqs.values().sum::<u64>(),
            segments,
            heads: chains.iter().map(|(partition, chain)| (*partition, hex(&chain.head()))).collect(),
            min_seqs,
        },
        Err(Failure::Tampered(tampered)) => Verification::Tampered(tampered),
        Err(Failure::Unusable(why)) => Verification::Unusable(why),
    }
}

/// Every segment of the manifest, and no other file.
fn verify_segments(store: &dyn ColdStore, may_be_empty: bool) -> Result<Followed, Failure> {
    let files = store.list("")?.into_iter().filter(|name| name.ends_with(".parquet")).collect::<BTreeSet<_>>();
    let manifest = match Manifest::load(store) {
        Ok(Some(manifest)) => manifest,
        Ok(None) if !files.is_empty() => return Err(in_manifest(None, "there are segments, but no manifest")),
        Ok(None) if may_be_empty => Manifest::default(),
        Ok(None) => return Err(Failure::Unusable("neither a manifest nor an embedded log is here".to_owned())),
        Err(PortError::Fatal(why)) => return Err(in_manifest(None, &why)),
        Err(error) => return Err(error.into()),
    };
    let held = manifest.segments.iter().filter(|segment| !segment.dropped);
    let known = held.map(|segment| segment.file.clone()).collect::<BTreeSet<_>>();
    if let Some(file) = files.difference(&known).next() {
        let why = "the manifest does not name this file; if a crash left it, the next compaction names or removes it";
        return Err(Failure::Tampered(Tampered { file: file.clone(), why: why.to_owned(), ..Tampered::default() }));
    }
    let mut followed = Followed { segments: known.len() as u64, ..Followed::default() };
    let (mut before, mut todo) = (BTreeMap::new(), Vec::new());
    for segment in &manifest.segments {
        check_line(segment, before.insert(segment.stream(), segment))?;
        let mut begin = None;
        if segment.dataset.is_audit() {
            let fresh = || Chain::new(ORIGIN, segment.partition);
            let chain = followed.chains.entry(segment.partition).or_insert_with(fresh);
            begin = Some(chain.clone());
            pass_over(segment, chain)?;
            if segment.dropped {
                followed.min_seqs.insert(segment.partition, chain.next_seq());
            }
            followed.heads.insert((segment.partition, chain.next_seq()), chain.head());
        }
        if !segment.dropped {
            todo.push((segment, begin));
        }
    }
    check_files(store, todo)?;
    Ok(followed)
}

/// Checks segments on every core: each begins where the one before it says that it ends, so none waits for another. Of
/// what is wrong the first is told.
fn check_files(store: &dyn ColdStore, todo: Vec<(&Segment, Option<Chain>)>) -> Result<(), Failure> {
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get).min(todo.len());
    let bytes = todo.iter().map(|(segment, _)| segment.bytes).fold(0, u64::saturating_add);
    if threads < 2 || bytes < THREADS_PAY_BYTES {
        return todo.into_iter().try_for_each(|(segment, begin)| check_file(segment, get(segment, store)?, begin));
    }
    // Files are read here and wait, one a thread, to be checked there.
    let (give, take) = sync_channel::<(usize, &Segment, Option<Chain>, Vec<u8>)>(threads);
    let (take, failures) = (Mutex::new(take), Mutex::new(BTreeMap::new()));
    let fail = |number, failure| failures.lock().unwrap_or_else(PoisonError::into_inner).insert(number, failure);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let next = || take.lock().unwrap_or_else(PoisonError::into_inner).recv();
                while let Ok((number, segment, begin, bytes)) = next() {
                    if let Err(failure) = check_file(segment, bytes, begin) {
                        fail(number, failure);
                    }
                }
            });
        }
        for (number, (segment, begin)) in todo.into_iter().enumerate() {
            match get(segment, store) {
                Ok(bytes) => {
                    give.send((number, segment, begin, bytes)).expect("the threads take until there is no more")
                }
                Err(failure) => drop(fail(number, failure)),
            }
        }
        drop(give);
    });
    let failures = failures.into_inner().unwrap_or_else(PoisonError::into_inner);
    failures.into_values().next().map_or(Ok(()), Err)
}

/// Goes on from the head that the line says.
fn pass_over(segment: &Segment, chain: &mut Chain) -> Result<(), Failure> {
    if segment.prev_head.as_deref().and_then(from_hex) != Some(chain.head()) {
        return Err(in_manifest(Some(segment), "prev_head is not the head of the segment before"));
    }
    let head = segment.head().ok_or_else(|| in_manifest(Some(segment), "an audit segment without its head"))?;
    *chain = Chain::resume(segment.partition, segment.last + 1, head);
    Ok(())
}

/// What a line says by itself, and after the one before it of the same partition.
fn check_line(segment: &Segment, before: Option<&Segment>) -> Result<(), Failure> {
    let (is_audit, may_repeat) = (segment.dataset.is_audit(), segment.dataset.may_repeat());
    let span = segment.last.checked_sub(segment.first).and_then(|span| span.checked_add(1));
    if !segment.is_well_named() {
        return Err(in_manifest(Some(segment), "the file's name is not that of the line's rows"));
    }
    let fits = |span| (segment.rows <= span || may_repeat) && (segment.rows == span || !is_audit);
    if segment.rows == 0 || !span.is_some_and(fits) {
        return Err(in_manifest(Some(segment), "the number of rows does not fit the first and the last"));
    }
    if segment.dropped && before.is_some_and(|before| !before.dropped) {
        return Err(in_manifest(Some(segment), "marked as dropped, but an older one is not"));
    }
    let follows = match before.map(|before| before.last) {
        None => !is_audit || segment.first == 0,
        Some(last) if is_audit => last.checked_add(1) == Some(segment.first),
        Some(last) => last < segment.first,
    };
    if !follows {
        return Err(in_manifest(
            Some(segment),
            "the segment does not follow the one before it: one is missing or moved",
        ));
    }
    if !is_audit && segment.last.checked_add(1) != Some(segment.next_offset) {
        return Err(in_manifest(Some(segment), "the next offset does not follow the last"));
    }
    Ok(())
}

/// The bytes of a segment's file.
fn get(segment: &Segment, store: &dyn ColdStore) -> Result<Vec<u8>, Failure> {
    let (first, last) = (segment.first, segment.last);
    let missing = || in_file(segment, None, format!("the file is missing, and with it {first} to {last}"));
    store.get(&segment.file)?.ok_or_else(missing)
}

/// The file is the one that was written, and its rows are what the line says; `begin` is where an audit chain stands.
fn check_file(segment: &Segment, bytes: Vec<u8>, begin: Option<Chain>) -> Result<(), Failure> {
    let tables = open(segment, bytes)?;
    match begin {
        Some(mut chain) => follow(segment, &tables, &mut chain),
        None => check_order(segment, &tables),
    }
}

/// The file is the one that was written: its hash, then its rows.
fn open(segment: &Segment, bytes: Vec<u8>) -> Result<Vec<RecordBatch>, Failure> {
    let (first, last) = (segment.first, segment.last);
    if !segment.is_file(&bytes) {
        let why = format!("the file is not the one that was written; suspect are {first} to {last}");
        return Err(in_file(segment, Some(first), why));
    }
    let contents = read(bytes).map_err(|why| in_file(segment, Some(first), why))?;
    let rows = contents.tables.iter().map(|table| table.num_rows() as u64).sum::<u64>();
    if rows != segment.rows {
        let why = format!("{rows} rows, but the manifest says {}", segment.rows);
        return Err(in_file(segment, Some(first), why));
    }
    if !contents.has_hints(&segment.hints()) {
        return Err(in_manifest(Some(segment), "the file says other numbers or heads of itself"));
    }
    Ok(contents.tables)
}

/// Follows the chain through an audit segment, from head to head.
fn follow(segment: &Segment, tables: &[RecordBatch], chain: &mut Chain) -> Result<(), Failure> {
    let mut envelope = Vec::new();
    for table in tables {
        let entries = entries(table).ok_or_else(|| in_file(segment, Some(segment.first), "not the audit columns"))?;
        for entry in &entries {
            envelope.clear();
            entry.write_envelope(&mut envelope);
            let next_seq = chain.next_seq();
            let why = |broken| in_file(segment, Some(next_seq), explain(broken, entry, next_seq));
            chain.follow_envelope(entry, &envelope, None).map_err(why)?;
        }
    }
    let head: Hash = chain.head();
    if segment.head() != Some(head) {
        let (first, last) = (segment.first, segment.last);
        let why =
            format!("the chain ends in {}, not in the manifest's head; suspect are {first} to {last}", hex(&head));
        return Err(in_file(segment, Some(first), why));
    }
    Ok(())
}

/// Offsets, or what else orders the rows, ascend from the first to the last.
fn check_order(segment: &Segment, tables: &[RecordBatch]) -> Result<(), Failure> {
    let (order, mut places) = (segment.dataset.order(), Vec::new());
    for table in tables {
        let column = table.column_by_name(order).and_then(|column| counts_of(column));
        places.extend(column.ok_or_else(|| in_file(segment, None, format!("no column {order}")))?);
    }
    let ends = (places.first(), places.last()) == (Some(&segment.first), Some(&segment.last));
    if ends && places.is_sorted_by(|a, b| a < b || (a == b && segment.dataset.may_repeat())) {
        Ok(())
    } else {
        Err(in_file(segment, None, format!("{order} does not ascend from the first to the last")))
    }
}

fn in_file(segment: &Segment, seq: Option<u64>, why: impl Into<String>) -> Failure {
    let seq = seq.filter(|_| segment.dataset.is_audit());
    let (partition, file) = (Some(segment.partition), segment.file.clone());
    Failure::Tampered(Tampered { partition, seq, file, why: why.into() })
}

fn in_manifest(segment: Option<&Segment>, why: &str) -> Failure {
    let why = segment.map_or(why.to_owned(), |segment| format!("line of {}: {why}", segment.file));
    let partition = segment.map(|segment| segment.partition);
    Failure::Tampered(Tampered { partition, seq: None, file: MANIFEST.to_owned(), why })
}
