//! Records and bindings kept cold give the run again: its hash (law L1), and a directory as of any epoch.

use crate::crashes::FAR_US;
use crate::scratch::{Scratch, files_of};
use crate::traffic::{self, END_US};
use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use evenkeel::cold::{
    ColdDataset, ColdSource, ColdStore, DirectoryStore, KeptInputs, MemoryStore, Options, Requests, Verification,
    compact, keep_inputs, merge, retain, verify, verify_store,
};
use evenkeel::embedded::{EmbeddedLedger, EmbeddedOutputs, EmbeddedSource, bindings};
use evenkeel::memory::{FixedClock, MemoryLedger, MemoryLog};
use evenkeel::pipeline::{Inline, Pace, Pipeline};
use evenkeel::ports::{Ledger, OutputLog, PortError};
use evenkeel::replay::{digest, replay};
use evenkeel::restore::{restore, state_hash};
use evenkeel_dataflows::{Changes, State};
use evenkeel_schemas::{Binding, Coordinates, Dataset, Topic, decode_requests};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::time::Duration;

const WHOLE: Options = Options { max_rows: 20, whole: true };
const ALL: KeptInputs = KeptInputs { records: true, requests: Requests::Full };

/// A run in memory: its log, what it committed, and where.
fn run() -> (MemoryLog, Vec<Changes>, MemoryLedger) {
    let (log, ledger) = (traffic::log(3), MemoryLedger::default());
    // Every poll that brings records closes an epoch.
    let pace = Pace {
        poll_records: 40,
        epoch_records: 1,
        shortest: Duration::ZERO,
        longest: Duration::ZERO,
        idle: Duration::from_secs(3600),
        ..Pace::default()
    };
    let committed = ledger.clone().recover().unwrap();
    let settings = (&traffic::tuning(), 1, pace);
    let clock = FixedClock::new(END_US);
    let mut pipeline = Pipeline::open(log.source(), committed, Inline(ledger.clone()), clock, settings).unwrap();
    for _ in 0..100_000 {
        pipeline.turn().unwrap();
        if ledger.epochs().last().is_some_and(|last| last.binding.now_us == END_US) {
            pipeline.stop().unwrap();
            return (log, ledger.epochs(), ledger);
        }
    }
    panic!("the run does not end");
}

fn hash_of(epochs: &[Changes]) -> [u8; 32] {
    let mut hash = Sha256::new();
    epochs.iter().for_each(|changes| digest(&mut hash, changes));
    hash.finalize().into()
}

fn bindings_of(epochs: &[Changes]) -> Vec<Binding> {
    epochs.iter().map(|changes| changes.binding.clone()).collect()
}

/// Keeps everything of a run, in two goes, and merges some of it.
fn keep(store: &dyn ColdStore, (log, epochs, ledger): &(MemoryLog, Vec<Changes>, MemoryLedger), kept: KeptInputs) {
    let tuning = traffic::tuning();
    for until in [epochs.len() / 3, epochs.len()] {
        let bindings = bindings_of(&epochs[..until]);
        keep_inputs(&mut log.source(), &bindings, &tuning, store, (kept, &WHOLE)).unwrap();
        merge(store, 4_000).unwrap();
    }
    compact(&mut ledger.clone(), store, &WHOLE).unwrap();
    assert!(matches!(verify_store(store), Verification::Whole { .. }), "{}", verify_store(store));
}

#[test]
fn a_replay_from_cold_gives_the_hash_of_the_run() {
    let (scratch, run) = (Scratch::new(), run());
    keep(&DirectoryStore::open(&scratch.0).unwrap(), &run, ALL);
    let files = files_of(&scratch.0);
    let store = DirectoryStore::open(&scratch.0).unwrap();
    let again = keep_inputs(&mut run.0.source(), &bindings_of(&run.1), &traffic::tuning(), &store, (ALL, &WHOLE));
    assert_eq!(again.unwrap(), Default::default());
    assert_eq!(files_of(&scratch.0), files);
    for (workers, batch) in [(1, 7), (2, 1000)] {
        let (mut source, tuning) = ColdSource::open(DirectoryStore::read_only(&scratch.0)).unwrap();
        let bindings = source.bindings_until(i64::MAX).unwrap();
        assert_eq!(bindings, bindings_of(&run.1));
        let report = replay(&mut source, &bindings, &tuning, workers, batch, |_| {}).unwrap();
        assert_eq!(report.hash, hash_of(&run.1), "{workers} workers");
    }
}

#[test]
fn a_directory_is_restored_as_it_was_at_any_epoch() {
    let (scratch, run) = (Scratch::new(), run());
    keep(&DirectoryStore::open(&scratch.0).unwrap(), &run, ALL);
    let epochs = &run.1;
    for until in [1, epochs.len() / 2, epochs.len() - 1] {
        let (lived, directory) = (&epochs[..until], Scratch::new());
        // Epochs may close at one present: all of them are as of it.
        let to_us = lived[until - 1].binding.now_us;
        let lived = &epochs[..epochs.partition_point(|changes| changes.binding.now_us <= to_us).max(lived.len())];
        let (mut source, tuning) = ColdSource::open(DirectoryStore::read_only(&scratch.0)).unwrap();
        let kept = source.bindings_until(to_us).unwrap();
        let restored = restore(source, &kept, (&tuning, 1), &directory.0).unwrap();
        let mut state = State::default();
        lived.iter().for_each(|changes| state.apply(&changes.outputs));
        assert_eq!(restored.state_hash, state_hash(&state.clone().into_records()), "{until} epochs");
        assert_eq!(restored.replay.hash, hash_of(lived));
        assert_eq!(EmbeddedLedger::open(&directory.0).unwrap().recover().unwrap().state, state.into_records());
        assert!(until < epochs.len() / 2 || restored.heads > 0, "no head was met in {until} epochs");
        holds_the_outputs(&directory, lived);
        // It can be replayed from its own inputs, which hold these records and no more.
        let own = bindings(&directory.0).unwrap();
        let mut source = EmbeddedSource::new(&directory.0);
        let report = replay(&mut source, &own, &tuning, 1, 100, |_| {}).unwrap();
        assert_eq!(report.records, lived.iter().map(|changes| changes.records).sum::<u64>());
        let mut fresh = EmbeddedSource::new(&directory.0);
        let held = evenkeel::ports::Source::poll(&mut fresh, 1_000_000, Duration::ZERO).unwrap();
        let held = held.batches.iter().map(|batch| batch.len() as u64).sum::<u64>();
        assert_eq!(held, report.records, "records after the time it was restored to");
        assert!(matches!(verify(&directory.0), Verification::Whole { .. }));
    }
}

fn holds_the_outputs(directory: &Scratch, lived: &[Changes]) {
    let mut log = EmbeddedOutputs::new(&directory.0);
    for dataset in Dataset::ALL.into_iter().filter(|dataset| *dataset != Dataset::State) {
        let outputs = lived.iter().flat_map(|changes| changes.outputs.iter().map(|it| (changes.binding.now_us, it)));
        let outputs = outputs.filter(|(_, it)| it.dataset == dataset).collect::<Vec<_>>();
        for partition in outputs.iter().map(|(_, it)| it.partition).collect::<BTreeSet<_>>() {
            let rows = log.read(dataset, partition, 0, usize::MAX).unwrap();
            let rows = rows.into_iter().map(|row| (row.at_us, row.key, row.value));
            let said = outputs.iter().filter(|(_, it)| it.partition == partition);
            assert!(
                rows.eq(said.map(|(at_us, it)| (*at_us, it.key.clone(), it.value.clone()))),
                "{dataset:?} {partition}"
            );
        }
    }
}

#[test]
fn other_records_or_another_tuning_are_not_taken_for_the_run() {
    let (scratch, run) = (Scratch::new(), run());
    keep(&DirectoryStore::open(&scratch.0).unwrap(), &run, ALL);
    let store = DirectoryStore::open(&scratch.0).unwrap();
    let mut other = traffic::tuning();
    other.detection.min_errors += 1;
    let refused = keep_inputs(&mut run.0.source(), &bindings_of(&run.1), &other, &store, (ALL, &WHOLE));
    assert!(matches!(refused, Err(PortError::Fatal(why)) if why.contains("another tuning")));
    // Another tuning put in its place says other things, and meets other heads.
    other.origin = "elsewhere".to_owned();
    store.put("tuning.json", &serde_json::to_vec(&other).unwrap()).unwrap();
    let (mut source, tuning) = ColdSource::open(DirectoryStore::read_only(&scratch.0)).unwrap();
    let bindings = source.bindings_until(i64::MAX).unwrap();
    let restored = restore(source, &bindings, (&tuning, 1), &Scratch::new().0);
    assert!(matches!(restored, Err(PortError::Fatal(why)) if why.contains("another head")));
}

#[test]
fn a_touched_or_dropped_segment_ends_a_replay() {
    let (scratch, run) = (Scratch::new(), run());
    keep(&DirectoryStore::open(&scratch.0).unwrap(), &run, ALL);
    let mut names = files_of(&scratch.0).into_keys().map(|name| name.to_str().unwrap().to_owned());
    let name = names.find(|name| name.starts_with("records/topic=db.changes.v1")).unwrap();
    let (path, before) = (scratch.0.join(&name), std::fs::read(scratch.0.join(&name)).unwrap());
    let mut bytes = before.clone();
    bytes[40] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let Err(PortError::Fatal(why)) = ColdSource::open(DirectoryStore::read_only(&scratch.0)).map(drop) else {
        panic!("a touched file was read")
    };
    assert!(why.contains(&name), "{why}");
    std::fs::write(&path, before).unwrap();
    assert!(ColdSource::open(DirectoryStore::read_only(&scratch.0)).is_ok());
    retain(&DirectoryStore::open(&scratch.0).unwrap(), |_| Some(FAR_US)).unwrap();
    let Err(PortError::Fatal(why)) = ColdSource::open(DirectoryStore::read_only(&scratch.0)).map(drop) else {
        panic!("dropped records were not missed")
    };
    assert!(why.contains("dropped by retention"), "{why}");
}

/// Offset and row of the requests of a partition that are kept, and their latencies.
fn kept_requests(store: &dyn ColdStore, partition: u32) -> Vec<(u64, u32, u32)> {
    let mut found = Vec::new();
    for table in crate::tables(store, ColdDataset::Requests, partition) {
        let numbers = |name: &str| table.column_by_name(name).unwrap().as_primitive::<Int64Type>().clone();
        let (offsets, rows, latencies) = (numbers("offset"), numbers("row"), numbers("latency_us"));
        let row = |row| (offsets.value(row) as u64, rows.value(row) as u32, latencies.value(row) as u32);
        found.extend((0..table.num_rows()).map(row));
    }
    found
}

#[test]
fn requests_are_kept_whole_by_sample_or_not_at_all() {
    let run = run();
    for (class, name) in
        [(Requests::Full, "full"), (Requests::Sampled(5), "sampled:5"), (Requests::Ephemeral, "ephemeral")]
    {
        assert_eq!(name.parse::<Requests>(), Ok(class));
        let store = MemoryStore::default();
        keep(&store, &run, KeptInputs { records: false, requests: class });
        let mut total = 0;
        for partition in 0..3 {
            let mut expected = Vec::new();
            let mut source = run.0.source();
            let polled = evenkeel::ports::Source::poll(&mut source, 1_000_000, Duration::ZERO).unwrap();
            let of = |batch: &&evenkeel_dataflows::Batch| {
                batch.partition.topic == Topic::Requests && batch.partition.partition == partition
            };
            for record in polled.batches.iter().filter(of).flat_map(|batch| batch.iter()) {
                let at = Coordinates { topic: Topic::Requests, partition, offset: record.at.offset };
                decode_requests(at, record.payload, &mut |row, request| {
                    let row = row.unwrap_or(0);
                    let is_kept = class.holds(partition, at.offset, row);
                    expected.extend(request.ok().filter(|_| is_kept).map(|it| (at.offset, row, it.latency_us)));
                });
            }
            total += expected.len();
            assert_eq!(kept_requests(&store, partition), expected, "{name}, partition {partition}");
        }
        let bounds = match class {
            Requests::Full => 150..=252,
            Requests::Sampled(_) => 20..=80,
            Requests::Ephemeral => 0..=0,
        };
        assert!(bounds.contains(&total), "{name}: {total}");
        assert_eq!(store.get("tuning.json").unwrap(), None, "no records, nothing to replay");
    }
    for wrong in ["", "all", "sampled", "sampled:0", "sampled:x", "full:1"] {
        assert!(wrong.parse::<Requests>().is_err(), "{wrong:?}");
    }
}
