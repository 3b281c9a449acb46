//! What a key costs in memory: busy ones in every window, and many that say little.
//!
//! Each case runs in a process of its own. Counted is what is resident when the hour is full, less what was before the
//! first request.

mod common;

use common::{Generated, Options, again, resident_kib, rounded};
use evenkeel::memory::MemoryLedger;
use evenkeel::pipeline::{Pace, Pipeline, Threaded};
use evenkeel::ports::Ledger;
use evenkeel_dataflows::Tuning;
use evenkeel_schemas::Dimension::{Route, Service};
use serde_json::Value;

/// A case: its name, so many keys, each with so many requests in an hour.
const CASES: [(&str, u64, u64); 3] = [("active", 2_000, 72_000), ("trickle", 100_000, 120), ("quiet", 1_000_000, 3)];

/// Longer than the longest window, s.
const SECONDS: u64 = 3_700;

fn main() {
    let options = Options::from_args();
    let asked = std::env::args().find_map(|argument| CASES.into_iter().find(|(name, ..)| argument == *name));
    match asked {
        Some(case) => run(options, case),
        None => CASES.into_iter().for_each(|(name, ..)| again(&[name])),
    }
}

fn run(options: Options, (name, keys, per_hour): (&str, u64, u64)) {
    let keys = if options.quick { keys / 10 } else { keys };
    let tuning = Tuning { key_sets: vec![vec![Service, Route]], max_keys: 2_000_000, ..Tuning::default() };
    let (total, per_s) = (keys * per_hour * SECONDS / 3_600, (keys * per_hour / 3_600).max(1));
    let (source, mut ledger) = (Generated::new(options, keys, 2, total, per_s), MemoryLedger::default());
    let (clock, committed) = (source.clock(), ledger.recover().expect("memory answers"));
    let settings = (&tuning, 2, Pace::default());
    let mut pipeline =
        Pipeline::open(source, committed, Threaded::new(ledger.clone()), clock, settings).expect("memory answers");
    let before_kib = resident_kib();
    let mut records = 0;
    while records < total / 2 * 2 {
        let turn = pipeline.turn().expect("memory answers");
        records += turn.committed.iter().map(|changes| changes.records).sum::<u64>();
        if !turn.committed.is_empty() {
            ledger.forget();
        }
    }
    let kib = resident_kib().saturating_sub(before_kib);
    options.report(
        "memory",
        &[
            ("case", Value::from(name)),
            ("keys", Value::from(keys)),
            ("per_key_hour", Value::from(per_hour)),
            ("mb", Value::from(kib / 1024)),
            ("kb_per_key", rounded(kib as f64 / keys as f64, 2)),
        ],
    );
}
