//! From a cold start to caught up: an hour of 10,000 keys on the embedded log, read again by a new process.
//!
//! The first process writes the hour and says what it holds at its end; the second one opens the same directory and is
//! timed until its first epoch is committed.

mod common;

use common::{Generated, Options, Stopwatch, again, peak_mb, resident_kib, rounded};
use evenkeel::embedded::EmbeddedLedger;
use evenkeel::pipeline::{Pace, Pipeline, Threaded};
use evenkeel::ports::{Ledger, PortError};
use evenkeel_dataflows::Tuning;
use evenkeel_schemas::Dimension::{Route, Service};
use serde_json::Value;
use std::path::Path;

const KEYS: u64 = 10_000;
/// Requests in a second of event time.
const PER_S: u64 = 20_000;
const SECONDS: u64 = 3_700;

fn main() -> Result<(), PortError> {
    let options = Options::from_args();
    let arguments = std::env::args().collect::<Vec<_>>();
    let after = |flag: &str| arguments.iter().skip_while(|argument| *argument != flag).nth(1);
    if let Some(directory) = after("write") {
        return run(options, Path::new(directory), "write", 0);
    }
    if let Some(directory) = after("restart") {
        return run(options, Path::new(directory), "restart", PER_S / 10);
    }
    let directory = std::env::temp_dir().join(format!("evenkeel-restart-{}", std::process::id()));
    let name = directory.to_string_lossy();
    again(&["write", &name]);
    again(&["restart", &name]);
    std::fs::remove_dir_all(&directory).map_err(|error| PortError::Fatal(format!("{name}: {error}")))
}

/// Runs until the hour and `more` requests are committed.
fn run(options: Options, directory: &Path, step: &str, more: u64) -> Result<(), PortError> {
    let total = options.pick(SECONDS, 400) * PER_S;
    let tuning = Tuning { key_sets: vec![vec![Service, Route]], ..Tuning::default() };
    let source = Generated::new(options, KEYS, 2, total + more, PER_S);
    let clock = source.clock();
    let watch = Stopwatch::start();
    let mut ledger = EmbeddedLedger::open(directory)?;
    let committed = ledger.recover()?;
    let read = committed.bindings.last().map_or(0, |last| last.upper.0.values().sum::<u64>());
    let (bindings, state) = (committed.bindings.len(), committed.state.len());
    let recovered_s = watch.wall_s();
    let mut pipeline = Pipeline::open(source, committed, Threaded::new(ledger), clock, (&tuning, 2, Pace::default()))?;
    let mut records = read;
    while records < total + more {
        records += pipeline.turn()?.committed.iter().map(|changes| changes.records).sum::<u64>();
    }
    options.report(
        "restart",
        &[
            ("step", Value::from(step)),
            ("keys", Value::from(KEYS)),
            ("recovered_s", rounded(recovered_s, 2)),
            ("caught_up_s", rounded(watch.wall_s(), 2)),
            ("resident_mb", Value::from(resident_kib() / 1024)),
            ("peak_mb", Value::from(peak_mb())),
            ("state_records", Value::from(state)),
            ("epochs_read_again", Value::from(bindings.saturating_sub(1))),
        ],
    );
    Ok(())
}
