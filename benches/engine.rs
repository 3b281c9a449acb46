//! Bytes of requests to committed in-memory outputs: decode, count by service and route, four windows, detectors, chain.
//!
//! Requests are made as they are read, on the thread that polls: its share of the CPU time is part of the figure. JSON, or
//! `--encoding protobuf`, `avro`, or `arrow` with `--events-per-record 100`. The last two lines have a database change
//! after every hundred requests, each of which becomes an entry of the audit chain.

mod common;

use common::{Generated, Options, Stopwatch, peak_mb, rounded};
use evenkeel::memory::MemoryLedger;
use evenkeel::pipeline::{Pace, Pipeline, Threaded};
use evenkeel::ports::Ledger;
use evenkeel_dataflows::Tuning;
use evenkeel_schemas::Dataset;
use evenkeel_schemas::Dimension::{Route, Service};
use serde_json::Value;

/// Requests in a second of event time.
const PER_S: u64 = 1_200_000;

/// With the audit chain at work, one row of a database changes after so many requests.
const CHANGE_EVERY: u64 = 100;

fn main() {
    let options = Options::from_args();
    for (keys, seconds) in [(1_000, options.pick(10, 3)), (100_000, options.pick(6, 2))] {
        for workers in [1, 2] {
            let (total, per_s) = (seconds * PER_S / options.per_record, PER_S / options.per_record);
            run(options, Generated::new(options, keys, 2, total, per_s), (keys, workers, total));
        }
    }
    let (total, per_s) = (options.pick(10, 3) * PER_S / options.per_record, PER_S / options.per_record);
    for workers in [1, 2] {
        let source = Generated::new(options, 1_000, 2, total, per_s).with_changes(CHANGE_EVERY);
        run(options, source, (1_000, workers, total + total / CHANGE_EVERY));
    }
}

fn run(options: Options, source: Generated, (keys, workers, total): (u64, usize, u64)) {
    let tuning = Tuning { key_sets: vec![vec![Service, Route]], ..Tuning::default() };
    let mut ledger = MemoryLedger::default();
    let (clock, committed) = (source.clock(), ledger.recover().expect("memory answers"));
    let settings = (&tuning, workers, Pace::default());
    let watch = Stopwatch::start();
    let mut pipeline =
        Pipeline::open(source, committed, Threaded::new(ledger.clone()), clock, settings).expect("memory answers");
    let (mut records, mut epochs, mut outputs, mut audited) = (0, 0, 0, 0);
    while records < total {
        let turn = pipeline.turn().expect("memory answers");
        records += turn.committed.iter().map(|changes| changes.records).sum::<u64>();
        let said = || turn.committed.iter().flat_map(|changes| &changes.outputs);
        outputs += said().count();
        audited += said().filter(|output| output.dataset == Dataset::Audit).count();
        epochs += turn.committed.len();
        if !turn.committed.is_empty() {
            ledger.forget();
        }
    }
    let (wall_s, cpu_s, total) = (watch.wall_s(), watch.cpu_s(), total * options.per_record);
    options.report(
        "engine",
        &[
            ("encoding", Value::from(options.encoding())),
            ("keys", Value::from(keys)),
            ("workers", Value::from(workers)),
            ("events_per_s", rounded(total as f64 / wall_s, 0)),
            ("events_per_cpu_s", rounded(total as f64 / cpu_s, 0)),
            ("cpu_s", rounded(cpu_s, 2)),
            ("peak_mb", Value::from(peak_mb())),
            ("epochs", Value::from(epochs)),
            ("outputs", Value::from(outputs)),
            ("audited", Value::from(audited)),
        ],
    );
}
