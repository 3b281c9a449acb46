//! What the windows are made of: a tally's operations, in ns each, on one core.

mod common;

use common::{Options, median_s, mixed, rounded};
use evenkeel_schemas::{Statistics, Tally};
use serde_json::Value;
use std::hint::black_box;

fn latency_us(n: u64) -> u32 {
    (800 + mixed(n) % 1_500 + mixed(!n) % 1_500) as u32
}

/// A key's tally over so many requests.
fn tally(requests: u64, seed: u64) -> Tally {
    let mut tally = Tally::default();
    (0..requests).for_each(|n| tally.count(latency_us(seed * 1_000_003 + n), n % 2_000 == 0));
    tally
}

fn main() {
    let options = Options::from_args();
    let say = |operation: &str, requests: u64, keys: u64, times: u64, work: &mut dyn FnMut()| {
        let ns = rounded(median_s(5, work) * 1e9 / times as f64, 1);
        let fields =
            [("operation", Value::from(operation)), ("requests", requests.into()), ("keys", keys.into()), ("ns", ns)];
        options.report("windows", &fields);
    };

    let counts = options.pick(4_000_000, 400_000);
    for keys in [1_000, 100_000] {
        let mut open = vec![Tally::default(); keys as usize];
        say("count", 1, keys, counts, &mut || {
            (0..counts).for_each(|n| open[(mixed(n) % keys) as usize].count(latency_us(n), false));
        });
    }
    // A second of a busy and of a quiet key, against an hour of the same.
    for requests in [12, 1_200] {
        let keys = 1_000;
        let seconds = (0..keys).map(|key| tally(requests, key)).collect::<Vec<_>>();
        let mut hours = (0..keys).map(|key| tally(20_000, key)).collect::<Vec<_>>();
        let rounds = options.pick(20, 2);
        let times = keys * rounds;
        let each = |work: &mut dyn FnMut(usize)| (0..rounds).for_each(|_| (0..keys as usize).for_each(&mut *work));
        say("add", requests, keys, times, &mut || each(&mut |key| hours[key].add(&seconds[key], 1)));
        let mut bytes = Vec::new();
        say("encode", requests, keys, times, &mut || {
            each(&mut |key| {
                bytes.clear();
                seconds[key].encode(&mut bytes);
            });
        });
        let encoded = seconds.iter().map(|tally| {
            let mut bytes = Vec::new();
            tally.encode(&mut bytes);
            bytes
        });
        let encoded = encoded.collect::<Vec<_>>();
        say("take away encoded", requests, keys, times, &mut || {
            each(&mut |key| hours[key].add_encoded(&mut encoded[key].as_slice(), -1).expect("it was encoded just now"));
        });
        say("statistics", requests, keys, times, &mut || {
            each(&mut |key| {
                black_box(Statistics::from(&seconds[key]));
            });
        });
    }
}
