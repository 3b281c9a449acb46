//! L3: every window equals a recomputation from scratch, and the reference in differential, to the last integer.
//!
//! Terms. An event is *accepted* if its tick is within the longest window (less a minute) and its time not in the
//! future, judged by the present of the epoch before its own. It is *seen* at the first close after it came in.
//! `EVENKEEL_SEED=n` runs one seed alone.
#![expect(clippy::unwrap_used, reason = "tests")]

mod common;
#[path = "windows/gaps.rs"]
mod gaps;
mod reference;
#[path = "windows/scratch.rs"]
mod scratch;

use common::{assert_same, run, seeds};
use evenkeel_dataflows::{Changes, Resume, SHARDS, SLOT_WIDTHS_S, State, TICK_US, Tuning, WINDOWS};
use evenkeel_schemas::{Baseline, Dataset, Dimension, Rollup, Statistics, Tally};
use gaps::{Counted, Gaps};
use reference::{Stay, totals};
use scratch::{Scratch, Spans, tail_tick};
use std::collections::BTreeMap;

/// What is said of the windows of a key after a tick, by end of the tick and key.
type Baselines = BTreeMap<(i64, String), Vec<(String, Statistics)>>;

fn tuning() -> Tuning {
    let key_sets = vec![vec![Dimension::Service], vec![Dimension::Service, Dimension::Route]];
    Tuning { key_sets, baseline_every_s: 1, ..Tuning::default() }
}

/// Baselines that speak of this window and the longer ones.
fn tuning_from(first_window: usize) -> Tuning {
    let baseline_windows = WINDOWS[first_window..].iter().map(|spec| spec.name.to_owned()).collect();
    Tuning { baseline_windows, ..tuning() }
}

#[test]
fn windows_slots_and_rollups_equal_a_recomputation() {
    for seed in seeds(0..16) {
        println!("seed {seed}");
        let first_window = seed as usize % WINDOWS.len();
        let tuning = tuning_from(first_window);
        let traffic = Gaps::new(seed, &tuning);
        let all = run(&tuning, 1 + seed as usize / 4 % 2, 40, Resume::default(), &traffic.epochs);
        let mut check = Check { first_window, ..Check::default() };
        for (at, changes) in all.iter().enumerate().skip(1) {
            check.epoch(&traffic, at, changes);
        }
        let Check { baselines, slots, rollups, .. } = check;
        assert!(
            baselines > 2_000 && slots > 2_000 && rollups > 300,
            "{baselines}, {slots}, {rollups}: too little seen"
        );
        // Hours of silence after the last event: nothing is held, and so nothing would be restored.
        assert_eq!(check.state.under("key/").count(), 0);
    }
}

#[test]
fn windows_equal_the_reference_in_differential() {
    for seed in seeds(0..8) {
        println!("seed {seed}");
        let traffic = Gaps::new(seed, &tuning());
        let all = run(&tuning(), 2, 100, Resume::default(), &traffic.epochs);
        let reference = totals(traffic.counted.iter().flat_map(stays).collect());
        let said = all.iter().flat_map(|changes| baselines(changes).into_iter()).collect::<Vec<_>>();
        assert!(said.len() > 2_000);
        for ((at_us, key), windows) in said {
            let tick = (at_us / TICK_US - 1) as u64;
            for (window, (name, seen)) in windows.into_iter().enumerate() {
                let total = reference[&(window, key.clone())].range(..=tick).next_back().unwrap().1;
                assert_eq!(seen, *total, "{name} of {key} at {at_us}");
            }
        }
    }
}

#[test]
fn a_restart_amid_gaps_goes_on_bit_for_bit() {
    for seed in seeds(20..24) {
        println!("seed {seed}");
        let tuning = tuning_from(seed as usize % WINDOWS.len());
        let traffic = Gaps::new(seed, &tuning);
        let calm = run(&tuning, 2, 40, Resume::default(), &traffic.epochs);
        for cut in (7..calm.len()).step_by(calm.len() / 7) {
            let resume = common::resume(&tuning, &calm[..cut]);
            let again = resume.bindings[0].epoch.0 as usize + 1;
            let rest = run(&tuning, 1, 40, resume, &traffic.epochs[again..]);
            assert_eq!(rest.len(), calm.len() - cut);
            rest.iter().zip(&calm[cut..]).for_each(|(after, before)| assert_same(after, before, cut));
        }
    }
}

/// In which windows an event is, from which tick on and until which.
fn stays(counted: &Counted) -> Vec<Stay> {
    let windows = WINDOWS.iter().enumerate().map(|(window, spec)| {
        let mut tally = Tally::default();
        tally.count(counted.latency_us, counted.is_error);
        let enters = counted.tick.max(counted.open_tick) as u64;
        let slot_end = (counted.tick.div_euclid(spec.slot_s) + 1) * spec.slot_s;
        let leaves = (slot_end + spec.length_s - 1) as u64;
        Stay { group: (window, counted.key.clone()), enters, leaves, tally }
    });
    windows.filter(|stay| stay.enters < stay.leaves).collect()
}

fn baselines(changes: &Changes) -> Baselines {
    let said = changes.outputs.iter().filter(|output| output.dataset == Dataset::Baselines);
    let said = said.map(|output| serde_json::from_slice::<Baseline>(&output.value).unwrap());
    said.map(|baseline| ((baseline.at_us, baseline.key.to_json()), baseline.windows)).collect()
}

/// Follows a run epoch by epoch beside a recomputation.
#[derive(Default)]
struct Check {
    /// Baselines speak of this window and the longer ones.
    first_window: usize,
    scratch: Scratch,
    unseen: Vec<Counted>,
    state: State,
    minutes: BTreeMap<(i64, String), Rollup>,
    baselines: usize,
    slots: usize,
    rollups: usize,
}

impl Check {
    fn epoch(&mut self, traffic: &Gaps, at: usize, changes: &Changes) {
        let (before, until) = (&traffic.open_ticks[at - 1], &traffic.open_ticks[at]);
        self.unseen.extend(traffic.counted.iter().filter(|counted| counted.epoch == at).cloned());
        let closes = |shard: usize| until[shard] > before[shard];
        let seen = self.unseen.extract_if(.., |counted| closes(counted.shard as usize));
        seen.for_each(|counted| self.scratch.count(&counted));
        let rejected = changes.outputs.iter().filter(|output| output.dataset == Dataset::Rejections).count();
        assert_eq!(rejected, traffic.rejected[at], "epoch {at}: rejected");

        let said = baselines(changes);
        let closing = (0..SHARDS).map(|shard| (shard, before[shard as usize]..until[shard as usize]));
        let windows = &WINDOWS[self.first_window..];
        let expected = closing.flat_map(|(shard, ticks)| self.scratch.baselines(windows, shard, ticks));
        assert_eq!(said, expected.collect::<Baselines>(), "epoch {at}: baselines");
        self.baselines += said.len();

        for output in changes.outputs.iter().filter(|output| output.dataset == Dataset::Rollups) {
            let rollup = serde_json::from_slice::<Rollup>(&output.value).unwrap();
            assert_eq!(rollup, self.scratch.rollup(&rollup.key, rollup.start_us), "epoch {at}: a rollup");
            self.minutes.insert((rollup.start_us, rollup.key.to_json()), rollup);
            self.rollups += 1;
        }
        for output in changes.outputs.iter().filter(|output| output.key.starts_with(b"slot/")) {
            let (width_s, number, said) = scratch::slot_record(&output.key, &output.value);
            let span = number * width_s..(number + 1) * width_s;
            let shard = said.keys().next().unwrap().0 % SHARDS;
            assert!(span.end <= until[shard as usize], "epoch {at}: a slot that is open");
            assert_eq!(said, self.scratch.slot(span, shard), "epoch {at}: a slot of {width_s} s");
            self.slots += 1;
        }
        self.state.apply(&changes.outputs);
        if at.is_multiple_of(60) || at + 1 == traffic.epochs.len() {
            self.whole(until);
        }
    }

    /// Whether what was said until now, taken together, is everything there is to say.
    fn whole(&self, open_ticks: &[i64]) {
        let minutes = self.scratch.minutes(open_ticks);
        assert!(self.minutes.keys().eq(minutes.iter()), "minutes {:?}, {minutes:?}", self.minutes.keys());
        let mut slots = BTreeMap::<_, Spans>::new();
        for (key, value) in self.state.under("slot/") {
            let (width_s, number, said) = scratch::slot_record(format!("slot/{key}").as_bytes(), value);
            let shard = said.keys().next().unwrap().0 % SHARDS;
            slots.insert((width_s, number, shard), said);
        }
        for (shard, open_tick) in (0..).zip(open_ticks) {
            for width_s in SLOT_WIDTHS_S {
                let specs = WINDOWS.iter().filter(|spec| spec.slot_s == width_s);
                let reach = specs.map(|spec| tail_tick(spec, *open_tick)).min().unwrap();
                for number in reach.div_euclid(width_s)..open_tick.div_euclid(width_s) {
                    let span = number * width_s..(number + 1) * width_s;
                    let said = slots.remove(&(width_s, number, shard)).unwrap_or_default();
                    assert_eq!(said, self.scratch.slot(span, shard), "slot {number} of {width_s} s, open {open_tick}");
                }
            }
        }
    }
}
