//! Bytes of requests to committed in-memory outputs: decode, count by service and route, four windows, detectors, chain.
//!
//! Requests are made as they are read, on the thread that polls: its share of the CPU time is part of the figure. JSON, or
//! `--encoding protobuf`, `avro`, or `arrow` with `--events-per-record 100`.

mod common;

use common::{Generated, Options, Stopwatch, peak_mb, rounded};
use evenkeel::memory::MemoryLedger;
use evenkeel::pipeline::{Pace, Pipeline, Threaded};
use evenkeel::ports::Ledger;
use evenkeel_dataflows::Tuning;
use evenkeel_schemas::Dimension::{Route, Service};
use serde_json::Value;

/// Requests in a second of event time.
const PER_S: u64 = 1_200_000;

fn main() {
    let options = Options::from_args();
    for (keys, seconds) in [(1_000, options.pick(10, 3)), (100_000, options.pick(6, 2))] {
        for workers in [1, 2] {
            run(options, keys, workers, seconds * PER_S);
        }
    }
}

fn run(options: Options, keys: u64, workers: usize, total: u64) {
    let (total, per_s) = (total / options.per_record, PER_S / options.per_record);
    let tuning = Tuning { key_sets: vec![vec![Service, Route]], ..Tuning::default() };
    let (source, mut ledger) = (Generated::new(options, keys, 2, total, per_s), MemoryLedger::default());
    let (clock, committed) = (source.clock(), ledger.recover().expect("memory answers"));
    let settings = (&tuning, workers, Pace::default());
    let watch = Stopwatch::start();
    let mut pipeline =
        Pipeline::open(source, committed, Threaded::new(ledger.clone()), clock, settings).expect("memory answers");
    let (mut records, mut epochs, mut outputs) = (0, 0, 0);
    while records < total {
        let turn = pipeline.turn().expect("memory answers");
        records += turn.committed.iter().map(|changes| changes.records).sum::<u64>();
        outputs += turn.committed.iter().map(|changes| changes.outputs.len()).sum::<usize>();
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
        ],
    );
}
