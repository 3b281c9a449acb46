//! Every window, slot and rollup, computed anew from the events each time it is asked for.

use crate::Baselines;
use crate::gaps::Counted;
use evenkeel_dataflows::{SHARDS, TICK_US, WindowSpec};
use evenkeel_schemas::{Key, KeyId, Rollup, Statistics, Tally};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Tallies of one span of time by key.
pub type Spans = BTreeMap<KeyId, Tally>;

/// The first tick of a window when `open_tick` is the first open one: whole slots, at least its length.
pub fn tail_tick(spec: &WindowSpec, open_tick: i64) -> i64 {
    let from = open_tick - spec.length_s;
    from - from.rem_euclid(spec.slot_s)
}

/// The events seen so far.
#[derive(Default)]
pub struct Scratch {
    ticks: BTreeMap<String, (KeyId, BTreeMap<i64, Tally>)>,
}

impl Scratch {
    pub fn count(&mut self, counted: &Counted) {
        let of_key = || (Key::from_json(&counted.key).id(), BTreeMap::new());
        let (_, ticks) = self.ticks.entry(counted.key.clone()).or_insert_with(of_key);
        ticks.entry(counted.tick).or_default().count(counted.latency_us, counted.is_error);
    }

    fn sum(&self, key: &str, span: Range<i64>) -> Tally {
        let mut sum = Tally::default();
        self.ticks.get(key).iter().flat_map(|(_, ticks)| ticks.range(span.clone())).for_each(|(_, it)| sum.add(it, 1));
        sum
    }

    /// What is to be said of these windows when these ticks of a shard close, one after the other.
    pub fn baselines(&self, windows: &[WindowSpec], shard: u64, closing: Range<i64>) -> Baselines {
        let mut baselines = Baselines::new();
        for open_tick in closing.map(|tick| tick + 1) {
            for (key, _) in self.ticks.iter().filter(|(_, (id, _))| id.0 % SHARDS == shard) {
                let total = |spec| self.sum(key, tail_tick(spec, open_tick)..open_tick);
                if total(&windows[0]).requests > 0 {
                    let windows = windows.iter().map(|spec| (spec.name.to_owned(), Statistics::from(&total(spec))));
                    baselines.insert((open_tick * TICK_US, key.clone()), windows.collect());
                }
            }
        }
        baselines
    }

    pub fn rollup(&self, key: &Key, start_us: i64) -> Rollup {
        let tick = start_us / TICK_US;
        Rollup::new(key.clone(), start_us, &self.sum(&key.to_json(), tick..tick + 60))
    }

    /// Starts and keys of the minutes that counted something and are closed, given the first open tick of each shard.
    pub fn minutes(&self, open_ticks: &[i64]) -> BTreeSet<(i64, String)> {
        let of_key = |(key, (id, ticks)): (&String, &(KeyId, BTreeMap<i64, Tally>))| {
            let open_tick = open_ticks[(id.0 % SHARDS) as usize];
            let starts =
                ticks.range(..open_tick.div_euclid(60) * 60).map(|(tick, _)| tick.div_euclid(60) * 60 * TICK_US);
            starts.map(|start_us| (start_us, key.clone())).collect::<Vec<_>>()
        };
        self.ticks.iter().flat_map(of_key).collect()
    }

    pub fn slot(&self, span: Range<i64>, shard: u64) -> Spans {
        let of_shard = self.ticks.iter().filter(|(_, (id, _))| id.0 % SHARDS == shard);
        let tallies = of_shard.map(|(key, (id, _))| (*id, self.sum(key, span.clone())));
        tallies.filter(|(_, tally)| tally.requests > 0).collect()
    }
}

/// Width, number and tallies of a slot's record, as `dataflows/state.rs` describes it.
pub fn slot_record(key: &[u8], value: &[u8]) -> (i64, i64, Spans) {
    let key = std::str::from_utf8(key).unwrap();
    let parts = key.split('/').skip(1).map(|part| part.parse::<i64>().unwrap()).collect::<Vec<_>>();
    let number = i64::from_le_bytes(value[..8].try_into().unwrap());
    let held = BTreeMap::from([(1, 66), (10, 38), (60, 63)]);
    assert_eq!(number.rem_euclid(held[&parts[0]]), parts[2], "{key}");
    let (mut rest, mut tallies) = (&value[8..], Spans::new());
    while !rest.is_empty() {
        let word = |at: usize| u64::from_be_bytes(rest[at..at + 8].try_into().unwrap());
        let id = KeyId(word(0), word(8));
        let length = u32::from_le_bytes(rest[16..20].try_into().unwrap()) as usize;
        let (mut bytes, mut tally) = (&rest[20..20 + length], Tally::default());
        tally.add_encoded(&mut bytes, 1).unwrap();
        assert!(bytes.is_empty(), "{key}: a tally with something behind it");
        assert_eq!(id.0 % SHARDS, parts[1] as u64, "{key}: a key of another shard");
        tallies.insert(id, tally);
        rest = &rest[20 + length..];
    }
    (parts[0], number, tallies)
}
