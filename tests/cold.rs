//! Cold storage: every committed row is in exactly one segment, whatever fails on the way (laws L2, L9), and nothing in
//! them is changed unseen (law L7).
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "cold/crashes.rs"]
mod crashes;
#[path = "cold/holds.rs"]
mod holds;
#[path = "cold/replays.rs"]
mod replays;
#[path = "embedded/scratch.rs"]
mod scratch;
#[path = "cold/tampering.rs"]
mod tampering;
#[path = "commit/traffic.rs"]
mod traffic;
#[path = "cold/world.rs"]
mod world;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type, TimestampMicrosecondType};
use evenkeel::cold::{ColdStore, DirectoryStore, MANIFEST, MemoryStore, Options, Verification, compact, verify_store};
use evenkeel::ports::PortError;
use evenkeel_schemas::Dataset;
use evenkeel_schemas::audit::Entry;
use holds::{assert_holds, assert_holds_from, segments, tables};
use scratch::Scratch;
use std::cell::Cell;
use world::{Fault, Faulty, Log, contents, rollup};

const SMALL: Options = Options { max_rows: 700, whole: true };

#[test]
fn every_row_is_in_one_segment_of_its_date_and_a_rerun_does_nothing() {
    let (mut log, store) = (Log::new(3000), MemoryStore::default());
    let report = compact(&mut log, &store, &SMALL).unwrap();
    assert_holds(&store, &log, "first run");
    assert_eq!(report.written, segments(&store));
    for segment in &report.written {
        let day = if segment.file.contains("date=2026-11-21/") { 21 } else { 22 };
        assert!(segment.file.contains(&format!("date=2026-11-{day}/")) && segment.rows <= 700, "{segment:?}");
    }
    let per_partition = report.written.iter().filter(|s| s.dataset == Dataset::Audit && s.partition == 3).count();
    assert_eq!(per_partition, 6, "1500 rows a day: 700, 700, 100");
    let before = contents(&store);
    assert_eq!(compact(&mut log, &store, &SMALL).unwrap(), Default::default());
    assert_eq!(contents(&store), before);
    let Verification::Whole { entries, segments, heads, min_seqs } = verify_store(&store) else { panic!() };
    assert_eq!((entries, segments, heads.len(), min_seqs.len()), (6000, 54, 2, 0));
    let last = Entry::open(&log.0[&(Dataset::Audit, 3)][2999].value).unwrap().1;
    assert_eq!(heads[&3], last.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
}

#[test]
fn an_incomplete_segment_waits_unless_all_is_wanted() {
    let (log, store) = (Log::new(1000), MemoryStore::default());
    let options = |whole| Options { max_rows: 200, whole };
    for rows in [0, 150, 199, 200, 333, 500, 501, 640, 1000] {
        compact(&mut log.until(rows), &store, &options(false)).unwrap();
        let stored = tables(&store, Dataset::Audit, 0).iter().map(RecordBatch::num_rows).sum::<usize>();
        let expected = match rows {
            0..=199 => 0,
            200..=399 => 200,
            400..=500 => 400,
            _ => 500 + (rows - 500) / 200 * 200,
        };
        assert_eq!(stored, expected, "{rows} rows, midnight at 500");
    }
    compact(&mut log.clone(), &store, &options(true)).unwrap();
    assert_holds(&store, &log, "grown");
}

#[test]
fn whatever_the_store_loses_every_row_is_there_once_after_the_next_run() {
    let log = Log::new(20);
    let options = Options { max_rows: 12, whole: true };
    for fault in [Fault::Lost, Fault::AppliedButLost, Fault::Torn, Fault::Gone] {
        for at in 0.. {
            let store = MemoryStore::default();
            let faulty = Faulty { store: &store, fault, at, calls: Cell::new(0) };
            let failed = compact(&mut log.clone(), &faulty, &options).is_err();
            assert_eq!(failed, at < faulty.calls.get(), "{fault:?} at {at}");
            // The second run fails too, one call later than the first; the third does not.
            let again = Faulty { store: &store, fault, at: (at * 7) % 13, calls: Cell::new(0) };
            let _ = compact(&mut log.clone(), &again, &options);
            let report = compact(&mut log.clone(), &store, &options).unwrap();
            assert_holds(&store, &log, &format!("{fault:?} at call {at}, {report:?}"));
            if !failed {
                assert!(at >= 30, "{at} calls");
                break;
            }
        }
    }
}

#[test]
fn more_than_a_crash_can_leave_behind_is_not_removed() {
    let (mut log, store) = (Log::new(40), MemoryStore::default());
    compact(&mut log, &store, &SMALL).unwrap();
    store.remove(MANIFEST).unwrap();
    let files = contents(&store);
    let Err(PortError::Fatal(why)) = compact(&mut log, &store, &SMALL) else { panic!("files were removed") };
    assert!(why.contains("18 files are not in the manifest"), "{why}");
    assert_eq!(contents(&store), files);
}

#[test]
fn a_broken_chain_in_the_log_is_named_and_nothing_after_it_is_compacted() {
    let log = Log::new(100);
    let audit = (Dataset::Audit, 0);
    let break_at = |change: fn(&mut Vec<evenkeel::ports::Row>)| {
        let (mut broken, store) = (log.clone(), MemoryStore::default());
        change(broken.0.get_mut(&audit).unwrap());
        let offset = broken.0[&audit][33].offset;
        let Err(PortError::Fatal(why)) = compact(&mut broken, &store, &Options { max_rows: 10, whole: true }) else {
            panic!("a broken chain was compacted")
        };
        assert!(why.contains(&format!("audit.log.v1 partition 0 offset {offset}: ")), "{why}");
        let stored = tables(&store, Dataset::Audit, 0).iter().map(RecordBatch::num_rows).sum::<usize>();
        assert_eq!(stored, 30);
    };
    break_at(|rows| rows[33].value[30] ^= 1);
    break_at(|rows| rows[33].value.truncate(20));
    break_at(|rows| drop(rows.remove(33)));
    break_at(|rows| rows[33].value = rows[32].value.clone());
    break_at(|rows| {
        let (mut entry, _) = Entry::open(&rows[33].value).unwrap();
        entry.payload = b"other".to_vec();
        rows[33].value = entry.seal(&Entry::open(&rows[31].value).unwrap().1).0;
    });
}

#[test]
fn columns_say_what_the_rows_said() {
    let (mut log, store) = (Log::new(60), MemoryStore::default());
    compact(&mut log, &store, &SMALL).unwrap();
    let tables = tables(&store, Dataset::Rollups, 0);
    let rows = &log.0[&(Dataset::Rollups, 0)];
    let mut i = 0;
    for table in &tables {
        let integers = |name: &str| table.column_by_name(name).unwrap().as_primitive::<Int64Type>().clone();
        let lists = |name: &str| table.column_by_name(name).unwrap().as_list::<i32>().clone();
        let text = |name: &str| table.column_by_name(name).unwrap().as_string::<i32>().clone();
        let start = table.column_by_name("event_at").unwrap().as_primitive::<TimestampMicrosecondType>().clone();
        for row in 0..table.num_rows() {
            let expected = rollup(i, rows[i].at_us);
            assert_eq!(text("service").value(row), "checkout");
            let route = expected.key.get(evenkeel_schemas::Dimension::Route);
            assert_eq!(text("route").iter().nth(row).unwrap(), route);
            assert_eq!(start.value(row), expected.start_us);
            assert_eq!(integers("requests").value(row), expected.statistics.requests);
            assert_eq!(integers("errors").value(row), expected.statistics.errors);
            assert_eq!(integers("latency_sum_us").value(row), expected.latency_sum_us);
            let (buckets, counts) = (lists("buckets").value(row), lists("counts").value(row));
            let buckets =
                buckets.as_primitive::<Int32Type>().values().iter().map(|bucket| *bucket as u16).collect::<Vec<_>>();
            let histogram = buckets.into_iter().zip(counts.as_primitive::<Int64Type>().values().to_vec());
            assert_eq!(histogram.collect::<Vec<_>>(), expected.histogram);
            i += 1;
        }
    }
    assert_eq!(i, 60);
}

#[test]
fn a_directory_keeps_values_under_names_and_has_one_writer() {
    let scratch = Scratch::new();
    let directory = scratch.0.join("cold");
    let store = DirectoryStore::open(&directory).unwrap();
    for (name, bytes) in [("a/b/one", b"1"), ("a/two", b"2"), ("three", b"3"), ("a/two", b"4")] {
        store.put(name, bytes).unwrap();
    }
    assert_eq!(store.list("a/").unwrap(), ["a/b/one", "a/two"]);
    assert_eq!(store.list("").unwrap(), ["a/b/one", "a/two", "three"]);
    assert_eq!(store.get("a/two").unwrap().unwrap(), b"4");
    for name in ["a/two", "a/two", "a/b/one", "three"] {
        store.remove(name).unwrap();
        assert_eq!(store.get(name).unwrap(), None);
    }
    for name in ["../x", "/etc/passwd", "a//b", "a/../../x", "", "."] {
        assert!(matches!(store.get(name), Err(PortError::Fatal(_))), "{name:?}");
    }
    let second = DirectoryStore::open(&directory);
    assert!(matches!(second, Err(PortError::Fatal(why)) if why.contains("in use")));
    drop(store);
    let store = DirectoryStore::open(&directory).unwrap();
    let mut log = Log::new(50);
    compact(&mut log, &store, &SMALL).unwrap();
    assert_holds(&DirectoryStore::read_only(&directory), &log, "a directory");
}
