//! The audit log from entries to seals: appended durably and sealed, verified again from its rows, and from Parquet.
//! Payloads of 200 bytes. `benches/tessera` measures a peer: `go run . DIR COUNT`.

mod common;

use common::{Options, median_s, rounded};
use evenkeel::cold::{self, ColdStore, DirectoryStore, MemoryStore, Verification};
use evenkeel::embedded::{EmbeddedLedger, EmbeddedOutputs};
use evenkeel::ports::{Ledger, OutputLog, PortError, Row};
use evenkeel::seal::{FileKey, Sealer, Signer, files, verify_data};
use evenkeel_dataflows::{Changes, Output};
use evenkeel_schemas::audit::{Chain, Entry, Log, ORIGIN, Trust};
use evenkeel_schemas::{Binding, Cut, Dataset, Epoch};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Entries of a commit, each with an `fdatasync`.
const COMMIT_ENTRIES: u64 = 4096;

/// How often a checkpoint is signed, at most.
const SEAL_EVERY: Duration = Duration::from_secs(1);

fn output(chain: &mut Chain, number: u64, epoch: u64) -> Output {
    let entry = Entry {
        epoch,
        ts_us: common::START_US + number as i64,
        event_type: "change".to_owned(),
        table: "app.orders".to_owned(),
        op: "u".to_owned(),
        actor: "checkout".to_owned(),
        entity: format!("order-{}", number % 10_000),
        payload: format!("{:0>200}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15)).into_bytes(),
        ..Entry::default()
    };
    let key = entry.entity.clone().into_bytes();
    Output { dataset: Dataset::Audit, partition: 0, key, value: chain.append(entry) }
}

fn key() -> FileKey {
    FileKey::new("example.com/bench", false, [3; 32]).expect("a name")
}

/// Chains, commits and seals; entries a second until the last of them is under a checkpoint.
fn append(data: &Path, seals: &Path, count: u64) -> f64 {
    let mut ledger = EmbeddedLedger::open(data).expect("a new directory");
    ledger.recover().expect("nothing to recover");
    let store = Box::new(DirectoryStore::open(seals).expect("a new directory"));
    let mut sealer = Sealer::open(store, Box::new(key()), ORIGIN).expect("an empty log");
    let (mut rows, mut chain) = (EmbeddedOutputs::new(data), Chain::new(ORIGIN, 0));
    let (began, mut sealed) = (Instant::now(), Instant::now());
    for (epoch, first) in (0..).zip((0..count).step_by(COMMIT_ENTRIES as usize)) {
        let numbers = first..count.min(first + COMMIT_ENTRIES);
        let outputs = numbers.map(|number| output(&mut chain, number, epoch)).collect();
        let now_us = common::START_US + first as i64;
        let binding = Binding { epoch: Epoch(epoch), now_us, resume: Epoch(epoch), upper: Cut::default() };
        ledger.commit(&[Changes { binding, outputs, records: 0 }]).expect("the disk works");
        if sealed.elapsed() > SEAL_EVERY {
            sealer.turn(&mut rows, None).expect("the log is whole");
            sealed = Instant::now();
        }
    }
    sealer.turn(&mut rows, None).expect("the log is whole");
    count as f64 / began.elapsed().as_secs_f64()
}

/// Partitions of a log of which every entry has a seal of its own.
const PARTITIONS: u32 = 512;

/// The newest entry of each partition.
struct Newest(Vec<Row>);

impl OutputLog for Newest {
    fn partitions(&mut self, _: Dataset) -> Result<Vec<u32>, PortError> {
        Ok((0..PARTITIONS).collect())
    }

    fn read(&mut self, _: Dataset, partition: u32, offset: u64, _: usize) -> Result<Vec<Row>, PortError> {
        Ok(Vec::from_iter(self.0.get(partition as usize).filter(|row| row.offset >= offset).cloned()))
    }
}

/// Seals one by one, as a day of a seal a second does; then how long a start takes that goes on from what was signed, and
/// one that verifies everything, s.
fn start(count: u64) -> (f64, f64) {
    let (store, mut rows) = (Shared::default(), Newest(Vec::new()));
    let open = || Sealer::open(Box::new(store.clone()), Box::new(key()), ORIGIN).expect("it is whole");
    let (mut sealer, mut chains) = (open(), (0..PARTITIONS).map(|of| Chain::new(ORIGIN, of)).collect::<Vec<_>>());
    for epoch in 0..count / u64::from(PARTITIONS) {
        let row = |chain: &mut Chain| {
            let output = output(chain, epoch, epoch);
            Row { offset: epoch, at_us: common::START_US, key: output.key, value: output.value }
        };
        rows.0 = chains.iter_mut().map(row).collect();
        sealer.turn(&mut rows, None).expect("it follows");
    }
    let (size, timed) = (sealer.size(), || median_s(3, || drop(open())));
    let from_signed = timed();
    store.remove("sealer/state").expect("memory is there");
    let from_all = timed();
    assert_eq!((open().size(), size), (size, count / u64::from(PARTITIONS) * u64::from(PARTITIONS)));
    (from_signed, from_all)
}

/// A store in memory that sealers hand on.
#[derive(Clone, Default)]
struct Shared(Arc<MemoryStore>);

impl ColdStore for Shared {
    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), PortError> {
        self.0.put(name, bytes)
    }

    fn get(&self, name: &str) -> Result<Option<Vec<u8>>, PortError> {
        self.0.get(name)
    }

    fn list(&self, prefix: &str) -> Result<Vec<String>, PortError> {
        self.0.list(prefix)
    }

    fn remove(&self, name: &str) -> Result<(), PortError> {
        self.0.remove(name)
    }
}

fn main() {
    let options = Options::from_args();
    let count = options.pick(1_000_000, 50_000);
    let (from_signed, from_all) = start(count);
    let (signed_ms, all_ms) = (1e3 * from_signed, 1e3 * from_all);
    println!("a sealer starts on {count} seals in {signed_ms:.1} ms; in {all_ms:.0} ms if it verifies all of them");
    let directory = std::env::temp_dir().join(format!("evenkeel-bench-seal-{}", std::process::id()));
    let (data, seals) = (directory.join("data"), directory.join("seals"));
    let say = |operation: &str, rate: f64, megabytes: Option<f64>| {
        let mut fields = vec![
            ("operation", Value::from(operation)),
            ("entries", Value::from(count)),
            ("entries_per_s", rounded(rate, 0)),
        ];
        fields.extend(megabytes.map(|megabytes| ("mb_per_s", rounded(megabytes, 0))));
        options.report("seal", &fields);
    };
    say("append, commit and seal", append(&data, &seals, count), None);

    let store = DirectoryStore::read_only(&seals);
    let (seal_files, trust) = (files(&store), Trust::in_key(key().key().clone()).expect("a log's key"));
    let seconds = median_s(3, || {
        let log = Log::open(&seal_files, &trust).expect("it was sealed just now");
        let verified = verify_data(&log, ORIGIN, &mut EmbeddedOutputs::new(&data), None).expect("it is whole");
        assert_eq!(verified.entries, count);
    });
    say("verify rows against seals", count as f64 / seconds, None);

    let parquet = directory.join("cold");
    let cold_store = DirectoryStore::open(&parquet).expect("a new directory");
    let cut = cold::Options { whole: true, ..cold::Options::default() };
    let began = Instant::now();
    cold::compact(&mut EmbeddedOutputs::new(&data), &cold_store, &cut).expect("the log is whole");
    say("compact to Parquet", count as f64 / began.elapsed().as_secs_f64(), None);
    let names = cold_store.list("").expect("it is there").into_iter().filter(|name| name.ends_with(".parquet"));
    let read = |name: String| cold_store.get(&name).expect("it is there").map_or(0, |file| file.len());
    let bytes = names.map(read).sum::<usize>() as f64;
    println!("{:.1} bytes an entry in Parquet", bytes / count as f64);
    let seconds = median_s(3, || {
        let verification = cold::verify_store(&cold_store);
        assert!(matches!(verification, Verification::Whole { entries, .. } if entries == count));
    });
    say("verify Parquet: files and chain, every core", count as f64 / seconds, Some(bytes / seconds / 1e6));
    let file = (0..64 << 20).map(|at| (at * 31) as u8).collect::<Vec<_>>();
    let seconds = median_s(5, || assert_ne!(Sha256::digest(&file)[..], [0; 32]));
    println!("{:.2} GB/s SHA-256 of files, one core: the limit of all of these", file.len() as f64 / seconds / 1e9);
    std::fs::remove_dir_all(&directory).expect("it is ours");
}
