//! Merging and retention: what they do, and that nothing is missing or twice whatever the store does meanwhile.

use crate::scratch::Scratch;
use crate::world::{Fault, Faulty, Interrupted, Log, START_US, contents};
use crate::{SMALL, assert_holds, assert_holds_from, segments};
use evenkeel::cold::{
    ColdStore, DirectoryStore, MANIFEST, MemoryStore, Options, Segment, Tampered, Verification, compact, merge, retain,
    verify_store,
};
use evenkeel::ports::{OutputLog, PortError, Row};
use evenkeel_schemas::Dataset;
use std::cell::Cell;
use std::collections::BTreeMap;

/// 2026-11-22T00:00:00Z, µs: rows before are of another date.
const MIDNIGHT_US: i64 = START_US + 60_000_000;

/// 2999-01-01T00:00:00Z, µs.
pub const FAR_US: i64 = 32_472_144_000_000_000;

/// Files below are merged.
const MIN_BYTES: u64 = 12_000;

fn heads(store: &dyn ColdStore) -> BTreeMap<u32, String> {
    match verify_store(store) {
        Verification::Whole { heads, .. } => heads,
        other => panic!("{other}"),
    }
}

fn of_last(lines: &[Segment], segment: &Segment) -> bool {
    let same = |other: &&Segment| other.stream() == segment.stream() && other.date() == segment.date();
    lines.iter().rfind(same).is_some_and(|last| last.file == segment.file)
}

#[test]
fn small_files_become_large_ones_and_hold_the_same_rows() {
    let (log, store) = (Log::new(3000), MemoryStore::default());
    let options = Options { max_rows: 40, whole: true };
    for rows in [100, 101, 700, 2000] {
        compact(&mut log.until(rows), &store, &options).unwrap();
        merge(&store, MIN_BYTES).unwrap();
    }
    compact(&mut log.clone(), &store, &options).unwrap();
    let (before, heads_before) = (segments(&store).len(), heads(&store));
    let merged = merge(&store, MIN_BYTES).unwrap();
    assert_holds(&store, &log, "merged");
    let lines = segments(&store);
    assert_eq!(before + merged.written.len() - merged.replaced.len(), lines.len());
    assert!(lines.len() < before / 3, "{before} segments became {}", lines.len());
    for segment in &lines {
        assert!(segment.bytes >= MIN_BYTES || of_last(&lines, segment), "{segment:?}");
    }
    assert!(lines.iter().any(|segment| segment.bytes >= MIN_BYTES), "some are large");
    assert_eq!(heads(&store), heads_before);
    let after = contents(&store);
    assert_eq!(merge(&store, MIN_BYTES).unwrap(), Default::default());
    assert_eq!(contents(&store), after);
}

#[test]
fn merging_does_not_launder_a_file_that_was_touched() {
    let (mut log, store) = (Log::new(100), MemoryStore::default());
    compact(&mut log, &store, &Options { max_rows: 10, whole: true }).unwrap();
    let file = segments(&store)[1].file.clone();
    let other = store.get(&segments(&store)[0].file).unwrap().unwrap();
    store.put(&file, &other).unwrap();
    let Err(PortError::Fatal(why)) = merge(&store, MIN_BYTES) else { panic!("a touched file was merged") };
    assert!(why.starts_with(&file), "{why}");
    assert!(store.get(&file).unwrap().is_some());
}

#[test]
fn files_with_other_columns_are_left_apart() {
    let (mut log, store) = (Log::new(60), MemoryStore::default());
    log.0.retain(|(dataset, _), _| *dataset == Dataset::Commands);
    compact(&mut log, &store, &Options { max_rows: 5, whole: true }).unwrap();
    let mut lines = segments(&store);
    let number = 2;
    let table = &crate::tables(&store, Dataset::Commands, 0)[number];
    let hints = lines[number].hints().into_iter().map(|(name, hint)| (format!("evenkeel.{name}"), hint));
    let fewer = table.project(&[0, 1, 2, 3]).unwrap();
    crate::tampering::write_file(&store, &mut lines, number, &fewer, hints);
    let before = lines[number].file.clone();
    merge(&store, u64::MAX).unwrap();
    let rows = segments(&store).iter().map(|segment| segment.rows).collect::<Vec<_>>();
    assert_eq!(rows, [10, 5, 15, 30], "two before it, itself, three after it, the next day");
    assert!(segments(&store).iter().any(|segment| segment.file == before));
    assert!(matches!(verify_store(&store), Verification::Whole { .. }), "{:?}", verify_store(&store));
}

#[test]
fn what_is_old_goes_and_the_chain_goes_on_from_its_head() {
    let (mut log, store) = (Log::new(1000), MemoryStore::default());
    compact(&mut log.until(900), &store, &SMALL).unwrap();
    let heads_before = heads(&store);
    assert_eq!(retain(&store, |_| None).unwrap(), []);
    assert_eq!(retain(&store, |_| Some(MIDNIGHT_US - 1)).unwrap(), [], "the day is not over");
    let dropped = retain(&store, |dataset| (dataset != Dataset::Rollups).then_some(MIDNIGHT_US)).unwrap();
    assert!(dropped.iter().all(|segment| segment.date() == "2026-11-21" && segment.dataset != Dataset::Rollups));
    assert_eq!(dropped.len(), 8, "seven streams, and the outcomes");
    let Verification::Whole { entries, heads: kept, min_seqs, segments: files } = verify_store(&store) else {
        panic!()
    };
    assert_eq!((entries, kept, files), (800, heads_before, 10));
    assert_eq!(min_seqs, BTreeMap::from([(0, 500), (3, 500)]));
    assert!(verify_store(&store).to_string().contains("partition 3 from seq 500 on"));
    retain(&store, |_| Some(MIDNIGHT_US)).unwrap();
    let after = contents(&store);
    assert_eq!(retain(&store, |_| Some(MIDNIGHT_US)).unwrap(), []);
    assert_eq!(contents(&store), after);
    compact(&mut log, &store, &SMALL).unwrap();
    assert_holds_from(&store, &log, MIDNIGHT_US, "compacted on");
    retain(&store, |_| Some(FAR_US)).unwrap();
    assert!(store.list("audit/").unwrap().is_empty());
    assert_eq!(heads(&store).len(), 2, "of an empty store the heads are left");
}

#[test]
fn only_what_is_marked_may_be_missing_and_only_the_oldest_may_be_marked() {
    let (mut log, store) = (Log::new(40), MemoryStore::default());
    compact(&mut log, &store, &Options { max_rows: 10, whole: true }).unwrap();
    retain(&store, |_| Some(MIDNIGHT_US)).unwrap();
    let found = |lines: &[Segment], gone: Option<&str>| -> Tampered {
        let attacked = MemoryStore::default();
        contents(&store).iter().for_each(|(name, bytes)| attacked.put(name, bytes).unwrap());
        gone.iter().for_each(|name| attacked.remove(name).unwrap());
        crate::tampering::write_manifest(&attacked, lines);
        match verify_store(&attacked) {
            Verification::Tampered(tampered) => tampered,
            other => panic!("{other}"),
        }
    };
    let lines = segments(&store);
    for (number, line) in lines.iter().enumerate() {
        let changed = |change: fn(&mut Segment)| {
            let mut lines = lines.clone();
            change(&mut lines[number]);
            lines
        };
        if line.dropped {
            let why = found(&changed(|line| line.dropped = false), None).why;
            assert!(why.contains("missing") || why.contains("an older one is not"), "{why}");
            if line.dataset.is_audit() {
                assert_eq!(found(&changed(|line| line.head = line.prev_head.clone()), None).file, MANIFEST);
                assert_eq!(found(&changed(|line| line.prev_head = line.head.clone()), None).file, MANIFEST);
                assert_eq!(found(&changed(|line| line.head = None), None).file, MANIFEST);
            }
            continue;
        }
        assert_eq!(found(&lines, Some(&line.file)).file, line.file, "deleted without a mark");
        assert!(
            [MANIFEST, &line.file].contains(&&*found(&changed(|line| line.dropped = true), None).file),
            "marked, but there"
        );
        let follows_kept = number > 0 && lines[number - 1].stream() == line.stream() && !lines[number - 1].dropped;
        if follows_kept {
            let why = found(&changed(|line| line.dropped = true), Some(&line.file)).why;
            assert!(why.contains("an older one is not"), "{why}");
        }
    }
}

/// Everything that changes a store, one after the other, from a store that holds some of it already.
fn cycle(log: &Log, store: &dyn ColdStore) -> Result<(), PortError> {
    compact(&mut log.clone(), store, &Options { max_rows: 4, whole: true })?;
    merge(store, MIN_BYTES)?;
    retain(store, |_| Some(MIDNIGHT_US)).map(drop)
}

/// A crash may leave a file too many, never one too few.
fn assert_lacks_nothing(store: &dyn ColdStore, context: &str) {
    match verify_store(store) {
        Verification::Whole { .. } => {}
        Verification::Tampered(found) if found.why.contains("does not name this file") => {}
        other => panic!("{other}, {context}"),
    }
}

/// A log while whose rows are read somebody else writes a manifest.
struct Meddled<'a>(Log, &'a MemoryStore);

impl OutputLog for Meddled<'_> {
    fn partitions(&mut self, dataset: Dataset) -> Result<Vec<u32>, PortError> {
        self.0.partitions(dataset)
    }

    fn read(&mut self, dataset: Dataset, partition: u32, offset: u64, limit: usize) -> Result<Vec<Row>, PortError> {
        self.1.put(MANIFEST, b"")?;
        self.0.read(dataset, partition, offset, limit)
    }
}

#[test]
fn a_manifest_that_somebody_else_wrote_meanwhile_is_not_overwritten() {
    let store = MemoryStore::default();
    let late = compact(&mut Meddled(Log::new(20), &store), &store, &SMALL);
    assert_eq!(late, Err(PortError::Fenced));
    assert_eq!(store.get(MANIFEST).unwrap().unwrap(), b"");
    compact(&mut Log::new(20), &store, &SMALL).unwrap();
    assert_holds(&store, &Log::new(20), "what was late is removed, and written again");
}

#[test]
fn whatever_the_store_loses_while_it_merges_and_drops_a_rerun_ends_as_a_calm_run() {
    let mut log = Log::new(14);
    log.0
        .retain(|(dataset, partition), _| matches!((dataset, partition), (Dataset::Audit, 3) | (Dataset::Commands, 0)));
    let begun = MemoryStore::default();
    for rows in [3, 6, 9] {
        compact(&mut log.until(rows), &begun, &Options { max_rows: 4, whole: true }).unwrap();
    }
    let begun = contents(&begun);
    for fault in [Fault::Lost, Fault::AppliedButLost, Fault::Torn, Fault::Gone] {
        for at in 0.. {
            let store = MemoryStore::default();
            begun.iter().for_each(|(name, bytes)| store.put(name, bytes).unwrap());
            let faulty = Faulty { store: &store, fault, at, calls: Cell::new(0) };
            let failed = cycle(&log, &faulty).is_err();
            assert_eq!(failed, at < faulty.calls.get(), "{fault:?} at {at}");
            assert_lacks_nothing(&store, &format!("{fault:?} at {at}"));
            let again = Faulty { store: &store, fault, at: (at * 7) % 31, calls: Cell::new(0) };
            let _ = cycle(&log, &again);
            let context = format!("{fault:?} at call {at}");
            assert_lacks_nothing(&store, &context);
            cycle(&log, &store).unwrap_or_else(|error| panic!("{error}, {context}"));
            assert_holds_from(&store, &log, MIDNIGHT_US, &context);
            if !failed {
                assert!(at >= 50, "{at} calls");
                break;
            }
        }
    }
}

#[test]
fn of_two_writers_at_once_one_is_fenced_and_no_row_is_missing_or_twice() {
    let log = Log::new(14);
    let of = |rows: usize| {
        let mut some = log.until(rows);
        some.0.retain(|(dataset, partition), _| {
            matches!((dataset, partition), (Dataset::Audit, 3) | (Dataset::Commands, 0))
        });
        some
    };
    // What each finds in the log: the one that stands still, and the one that does all of its work meanwhile.
    for (rows, rows_meanwhile) in [(14, 14), (11, 14), (14, 11)] {
        let begun = MemoryStore::default();
        for rows in [3, 6, 9] {
            compact(&mut of(rows), &begun, &Options { max_rows: 4, whole: true }).unwrap();
        }
        // A crash left something, too.
        let torn = Faulty { store: &begun, fault: Fault::Gone, at: 9, calls: Cell::new(0) };
        assert!(cycle(&of(10), &torn).is_err());
        let begun = contents(&begun);
        let mut fenced = 0;
        for at in 0.. {
            let store = MemoryStore::default();
            begun.iter().for_each(|(name, bytes)| store.put(name, bytes).unwrap());
            let meanwhile = || cycle(&of(rows_meanwhile), &store).unwrap();
            let interrupted = Interrupted::new(&store, at, meanwhile);
            let context = format!("{rows} and {rows_meanwhile} rows, at call {at}");
            match cycle(&of(rows), &interrupted) {
                Ok(()) => {}
                Err(PortError::Fenced) => fenced += 1,
                Err(error) => panic!("{error}, {context}"),
            }
            assert_lacks_nothing(&store, &context);
            cycle(&of(14), &store).unwrap_or_else(|error| panic!("{error}, {context}"));
            retain(&store, |_| None).unwrap();
            assert_holds_from(&store, &of(14), MIDNIGHT_US, &context);
            if interrupted.calls.get() <= at {
                assert!(at >= 40, "{at} calls");
                break;
            }
        }
        assert!(fenced >= 20, "{fenced} times");
    }
}

#[test]
fn a_manifest_that_was_rolled_back_over_a_merge_removes_nothing() {
    let (mut log, store) = (Log::new(100), MemoryStore::default());
    log.0.retain(|(dataset, _), _| *dataset == Dataset::Commands);
    compact(&mut log, &store, &Options { max_rows: 10, whole: true }).unwrap();
    let old = store.get(MANIFEST).unwrap().unwrap();
    merge(&store, u64::MAX).unwrap();
    store.put(MANIFEST, &old).unwrap();
    let files = contents(&store);
    assert!(matches!(compact(&mut log, &store, &SMALL), Err(PortError::Fatal(why)) if why.contains("no crash leaves")));
    assert_eq!(contents(&store), files);
}

#[test]
fn a_draft_that_was_torn_in_a_directory_is_no_file() {
    let scratch = Scratch::new();
    let store = DirectoryStore::open(&scratch.0).unwrap();
    std::fs::write(scratch.0.join("draft.tmp"), b"PAR1 and no more").unwrap();
    let mut log = Log::new(50);
    compact(&mut log, &store, &Options { max_rows: 10, whole: true }).unwrap();
    std::fs::write(scratch.0.join("draft.tmp"), b"PAR1 and no more").unwrap();
    merge(&store, u64::MAX).unwrap();
    assert_holds(&store, &log, "a torn draft");
}
