//! The cold store over `object_store`: the port's contract, crashes and two writers, in its memory; and the same in a real
//! one, `tests/objects.py`.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../../../tests/cold/holds.rs"]
#[expect(dead_code, reason = "the tests that share it use other parts of it")]
mod holds;
#[path = "../../../tests/embedded/scratch.rs"]
#[expect(dead_code, reason = "the tests that share it use other parts of it")]
mod scratch;
#[path = "../../../tests/cold/world.rs"]
mod world;

use evenkeel::cli::Access;
use evenkeel::cold::{ColdStore, Options, compact, merge, retain};
use evenkeel::ports::PortError;
use evenkeel_objects::{ObjectsStore, open};
use evenkeel_schemas::Dataset;
use holds::assert_holds_from;
use object_store::memory::InMemory;
use object_store::path::Path;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;
use world::{Fault, Faulty, Interrupted, Log, START_US, contents};

/// 2026-11-22T00:00:00Z, µs: what was committed before is dropped.
const MIDNIGHT_US: i64 = START_US + 60_000_000;

/// Files below are merged.
const MIN_BYTES: u64 = 12_000;

fn fresh() -> ObjectsStore {
    ObjectsStore::new(Arc::new(InMemory::new()), Path::from("some/where"))
}

/// A store that holds `values`.
fn holding(values: &BTreeMap<String, Vec<u8>>) -> ObjectsStore {
    let store = fresh();
    values.iter().for_each(|(name, bytes)| store.put(name, bytes).unwrap());
    store
}

fn some(rows: usize) -> Log {
    let mut log = Log::new(14).until(rows);
    log.0
        .retain(|(dataset, partition), _| matches!((dataset, partition), (Dataset::Audit, 3) | (Dataset::Commands, 0)));
    log
}

fn cycle(log: &Log, store: &dyn ColdStore) -> Result<(), PortError> {
    compact(&mut log.clone(), store, &Options { max_rows: 4, whole: true })?;
    merge(store, MIN_BYTES)?;
    retain(store, |_| Some(MIDNIGHT_US)).map(drop)
}

/// A store as some runs left it.
fn begun() -> BTreeMap<String, Vec<u8>> {
    let store = fresh();
    for rows in [3, 6, 9] {
        compact(&mut some(rows), &store, &Options { max_rows: 4, whole: true }).unwrap();
    }
    contents(&store)
}

#[test]
fn values_lie_below_the_prefix_and_are_replaced_only_by_who_knows_them() {
    let (objects, store) = (Arc::new(InMemory::new()), fresh());
    for (name, bytes) in [("a/b/one", b"1"), ("a/two", b"2"), ("three", b"3"), ("a/two", b"4")] {
        store.put(name, bytes).unwrap();
    }
    assert_eq!(store.list("a/").unwrap(), ["a/b/one", "a/two"]);
    assert_eq!(store.list("a/t").unwrap(), ["a/two"]);
    assert_eq!(store.list("").unwrap(), ["a/b/one", "a/two", "three"]);
    assert_eq!(store.get("a/two").unwrap().unwrap(), b"4");
    assert_eq!(store.replace("a/two", Some(b"2"), b"5"), Err(PortError::Fenced), "it is 4 by now");
    assert_eq!(store.replace("a/two", None, b"5"), Err(PortError::Fenced));
    assert_eq!(store.replace("four", Some(b"4"), b"5"), Err(PortError::Fenced), "there is none");
    assert_eq!(store.get("four").unwrap(), None);
    store.replace("a/two", Some(b"4"), b"5").unwrap();
    assert_eq!(store.replace("a/two", Some(b"4"), b"5"), Err(PortError::Fenced), "also with what is there");
    assert_eq!(store.get("a/two").unwrap().unwrap(), b"5");
    for name in ["a/two", "a/two", "three"] {
        store.remove(name).unwrap();
        assert_eq!(store.get(name).unwrap(), None);
    }
    for name in ["../x", "/etc/passwd", "a//b", "a/../../x", "", "."] {
        assert!(matches!(store.get(name), Err(PortError::Fatal(_))), "{name:?}");
    }
    let beside = |prefix: &str| ObjectsStore::new(objects.clone(), Path::from(prefix));
    let (here, there) = (beside("here"), beside("here and there"));
    here.put("x", b"1").unwrap();
    there.put("y", b"1").unwrap();
    assert_eq!((here.list("").unwrap(), there.list("").unwrap()), (vec!["x".to_owned()], vec!["y".to_owned()]));
}

#[test]
fn a_store_that_keeps_to_conditions_is_told_apart() {
    let store = fresh();
    for _ in 0..2 {
        store.probe().unwrap();
    }
    assert!(store.list("").unwrap().is_empty(), "what was tried is no value");
    // Files know no versions: a condition cannot be put.
    let scratch = scratch::Scratch::new();
    std::fs::create_dir_all(&scratch.0).unwrap();
    let files = object_store::local::LocalFileSystem::new_with_prefix(&scratch.0).unwrap();
    let files = ObjectsStore::new(Arc::new(files), Path::default());
    assert!(matches!(files.probe(), Err(PortError::Fatal(_))));
}

#[test]
fn a_name_is_a_url_or_a_directory() {
    let scratch = scratch::Scratch::new();
    let directory = scratch.0.join("cold");
    open(directory.to_str().unwrap(), Access::Write).unwrap().put("x", b"1").unwrap();
    assert_eq!(std::fs::read(directory.join("x")).unwrap(), b"1");
    open("memory:///cold", Access::Write).unwrap();
    assert!(matches!(open("ftp://cold", Access::Read), Err(PortError::Fatal(_))));
}

#[test]
fn whatever_the_store_loses_a_rerun_ends_as_a_calm_run() {
    let (log, begun) = (some(14), begun());
    for fault in [Fault::Lost, Fault::AppliedButLost, Fault::Gone] {
        for at in 0.. {
            let store = holding(&begun);
            let faulty = Faulty { store: &store, fault, at, calls: Cell::new(0) };
            let failed = cycle(&log, &faulty).is_err();
            let again = Faulty { store: &store, fault, at: (at * 7) % 31, calls: Cell::new(0) };
            let _ = cycle(&log, &again);
            let context = format!("{fault:?} at call {at}");
            cycle(&log, &store).unwrap_or_else(|error| panic!("{error}, {context}"));
            assert_holds_from(&store, &log, MIDNIGHT_US, &context);
            if !failed {
                assert!(at >= 40, "{at} calls");
                break;
            }
        }
    }
}

#[test]
fn of_two_writers_at_once_one_is_fenced_and_no_row_is_missing_or_twice() {
    let (log, begun) = (some(14), begun());
    let mut fenced = 0;
    for at in 0.. {
        let store = holding(&begun);
        let interrupted = Interrupted::new(&store, at, || cycle(&log, &store).unwrap());
        let context = format!("at call {at}");
        match cycle(&some(11), &interrupted) {
            Ok(()) => {}
            Err(PortError::Fenced) => fenced += 1,
            Err(error) => panic!("{error}, {context}"),
        }
        cycle(&log, &store).unwrap_or_else(|error| panic!("{error}, {context}"));
        assert_holds_from(&store, &log, MIDNIGHT_US, &context);
        if interrupted.calls.get() <= at {
            break;
        }
    }
    assert!(fenced >= 20, "{fenced} times");
}
