//! `window`: contributions in; closed ticks, slots, rollups and baselines out.
//!
//! Each worker owns the shards with `shard mod workers = worker`. Within an epoch keys are admitted in the order of
//! their identities and ticks close shard by shard, each shard a little later than the one before, so nothing depends on arrival order or on the number of workers.
//!
//! # Decision
//! Rings of integer slots in one operator, not a differential collection per key and bucket: measured ten times less
//! time and memory at 100,000 keys. `tests/windows.rs` holds this form to the ten-line differential one and to a
//! recomputation from scratch, to the last integer.

use super::epochwise::{Said, epochwise};
use super::shard::{Closed, KeyState, Shard};
use super::slot::{Slot, parse_record};
use crate::Output;
use crate::calendar::{Calendar, Moment};
use crate::state::{State, from_json, json, output, record};
use crate::tuning::{SHARDS, SLOT_WIDTHS_S, TICK_US, Tuning, WINDOWS};
use evenkeel_schemas::{Baseline, Dataset, Dimension, Histogram, Key, KeyId, Rollup, Statistics, Tally};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Exchange;

/// One request counted under one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Contribution {
    pub id: KeyId,
    pub tick: i64,
    pub latency_us: u32,
    pub is_error: bool,
}

/// Which key an identity stands for; said by a worker once an epoch in which it counts under the key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Name {
    pub id: KeyId,
    pub key: Arc<Key>,
}

/// What the windows of a key show.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Observation {
    /// The key is counted from now on.
    Admitted,
    /// Errors came in: what the open ticks hold.
    Errors { at_us: i64, requests: i64, errors: i64 },
    /// A tick closed.
    Tick { at_us: i64, tick: Statistics, recent: Statistics, history: Statistics },
    /// The key holds nothing any more.
    Evicted,
}

/// An observation of a key.
pub(crate) type Observed = (KeyId, (Observation, Arc<Key>));

#[derive(Serialize, Deserialize)]
struct Admission {
    key: Key,
    epoch: u64,
}

pub(crate) fn shard_of(id: KeyId) -> u64 {
    id.0 % SHARDS
}

/// Keeps the windows of every key.
pub(crate) fn window<'s>(
    contributions: Stream<'s, u64, Vec<Contribution>>,
    names: Stream<'s, u64, Vec<Name>>,
    tuning: &Tuning,
    calendar: &Calendar,
    recovered: &Recovered,
) -> Said<'s, Observed> {
    let (index, peers) = (contributions.scope().index() as u64, contributions.scope().peers() as u64);
    let mut windows = Windows::recovered(index, peers, tuning, recovered);
    let contributions = (contributions, Exchange::new(|c: &Contribution| shard_of(c.id)));
    let names = (names, Exchange::new(|name: &Name| shard_of(name.id)));
    epochwise("window", contributions, names, calendar, move |now, contributions, names, said, put| {
        windows.count(now, contributions, names, said, put);
        if !now.warm {
            windows.report_errors(now, said);
            windows.close(now, said, put);
        }
    })
}

/// What a restart knows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recovered {
    /// The committed state.
    pub state: State,
    /// The committed epochs from the `resume` epoch of the last one on, and the present of each, µs; none at the very
    /// first start.
    pub presents: Vec<(u64, i64)>,
}

impl Recovered {
    /// An empty shard with what it had closed by the last committed epoch.
    fn shard(&self, number: u64, tuning: &Tuning) -> Shard {
        let open_at = |(_, now_us): &(u64, i64)| tuning.open_tick(number, *now_us);
        let open_tick = self.presents.last().map_or(i64::MIN, open_at);
        let closed_in = self.presents.partition_point(|present| open_at(present) < open_tick);
        let closed_in = self.presents.get(closed_in).map_or(0, |(epoch, _)| *epoch);
        Shard::new(number as u32, open_tick, closed_in)
    }
}

struct Windows {
    shards: Vec<Shard>,
    tuning: Tuning,
    peers: u64,
    with_errors: Vec<(KeyId, u32)>,
}

impl Windows {
    fn recovered(index: u64, peers: u64, tuning: &Tuning, recovered: &Recovered) -> Self {
        let numbers = (index..SHARDS).step_by(peers as usize);
        let mut shards = numbers.map(|number| recovered.shard(number, tuning)).collect::<Vec<_>>();
        for (id, value) in recovered.state.under("key/") {
            let Admission { key, epoch } = from_json(value);
            let id = id.parse().expect("keys were committed whole");
            if shard_of(id) % peers == index {
                shards[(shard_of(id) / peers) as usize].admit(id, Arc::new(key), epoch);
            }
        }
        for shard in &mut shards {
            restore(shard, &recovered.state);
        }
        Self { shards, tuning: tuning.clone(), peers, with_errors: Vec::new() }
    }

    fn count(
        &mut self,
        now: Moment,
        contributions: Vec<Vec<Contribution>>,
        names: Vec<Vec<Name>>,
        said: &mut Vec<Observed>,
        put: &mut Vec<Output>,
    ) {
        let mut strangers = Vec::new();
        for contribution in contributions.into_iter().flatten() {
            let at = (shard_of(contribution.id) / self.peers) as usize;
            // Before a restart, what came before its key was taken in counted under the overflow key.
            let known = |index: &u32| !now.warm || self.shards[at].key(*index).admitted <= now.epoch.0;
            match self.shards[at].index_of(contribution.id).filter(known) {
                Some(index) => self.count_one(now, at, index, contribution),
                None => strangers.push(contribution),
            }
        }
        if strangers.is_empty() {
            return;
        }
        let mut names = names.into_iter().flatten().map(|name| (name.id, name.key)).collect::<BTreeMap<_, _>>();
        strangers.sort();
        for contribution in strangers {
            let at = (shard_of(contribution.id) / self.peers) as usize;
            let index = match self.shards[at].index_of(contribution.id).filter(|_| !now.warm) {
                Some(index) => index,
                None => {
                    let key = names.remove(&contribution.id);
                    self.admit(now, at, contribution.id, key, said, put)
                }
            };
            self.count_one(now, at, index, contribution);
        }
    }

    /// Takes in a new key, or names the shard's key for those that find no place.
    fn admit(
        &mut self,
        now: Moment,
        at: usize,
        id: KeyId,
        key: Option<Arc<Key>>,
        said: &mut Vec<Observed>,
        put: &mut Vec<Output>,
    ) -> u32 {
        let shard = &mut self.shards[at];
        let full = shard.len() >= self.tuning.max_keys_per_shard();
        // Before a restart whoever was not taken in by then counted under the overflow key.
        let (id, key) = match key.filter(|_| !full && !now.warm) {
            Some(key) => (id, key),
            None => overflow(shard.number),
        };
        if let Some(index) = shard.index_of(id) {
            return index;
        }
        let admission = Admission { key: (*key).clone(), epoch: now.epoch.0 };
        put.push(record(key_record(id), Some(json(&admission))));
        said.push((id, (Observation::Admitted, Arc::clone(&key))));
        shard.admit(id, key, now.epoch.0)
    }

    #[inline]
    fn count_one(&mut self, now: Moment, at: usize, index: u32, contribution: Contribution) {
        let shard = &mut self.shards[at];
        let late = contribution.tick < shard.open_tick();
        if now.warm && late && now.epoch.0 <= shard.closed_in {
            return; // It lies in a closed slot already.
        }
        shard.tally_mut(index, contribution.tick).count(contribution.latency_us, contribution.is_error);
        if contribution.is_error && !now.warm && !late {
            let state = shard.key_mut(index);
            if state.errors_in != now.epoch.0 + 1 {
                state.errors_in = now.epoch.0 + 1;
                let id = state.id;
                self.with_errors.push((id, index));
            }
        }
    }

    /// Says what the open ticks hold of every key in which this epoch counted an error.
    fn report_errors(&mut self, now: Moment, said: &mut Vec<Observed>) {
        for (id, index) in std::mem::take(&mut self.with_errors) {
            let state = self.shards[(shard_of(id) / self.peers) as usize].key(index);
            let sum = |member: fn(&Tally) -> i64| state.open.iter().map(|(_, tally)| member(tally)).sum();
            let (requests, errors) = (sum(|tally| tally.requests), sum(|tally| tally.errors));
            let seen = Observation::Errors { at_us: now.now_us, requests, errors };
            said.push((id, (seen, Arc::clone(&state.key))));
        }
    }

    fn close(&mut self, now: Moment, said: &mut Vec<Observed>, put: &mut Vec<Output>) {
        let every_s = self.tuning.baseline_every_s;
        for shard in &mut self.shards {
            let until = self.tuning.open_tick(u64::from(shard.number), now.now_us);
            if shard.open_tick() == i64::MIN {
                *shard = Shard::new(shard.number, until, now.epoch.0);
            }
            shard.close(until, |shard, tick, closed| after_close(shard, (tick, &closed), every_s, said, put));
        }
    }
}

fn key_record(id: KeyId) -> String {
    format!("key/{id}")
}

fn overflow(shard: u32) -> (KeyId, Arc<Key>) {
    let node = format!("shard-{shard}");
    let key = Key::new([(Dimension::Service, "~other"), (Dimension::Node, node.as_str())]);
    // The identity is bent into the shard it stands for; identities of real keys are hashes and do not collide with it.
    (KeyId(u64::from(shard), 0), Arc::new(key))
}

fn restore(shard: &mut Shard, state: &State) {
    let mut slots = BTreeMap::new();
    for (width, width_s) in SLOT_WIDTHS_S.into_iter().enumerate() {
        for (_, value) in state.under(&format!("slot/{width_s}/{}/", shard.number)) {
            let (number, tallies) = parse_record(value).expect("slots were committed whole");
            let mut slot = Slot::default();
            for (id, mut bytes) in tallies {
                let mut tally = Tally::default();
                tally.add_encoded(&mut bytes, 1).expect("slots hold what Tally::encode wrote");
                // A key that is gone holds nothing in any window.
                if let Some(index) = shard.index_of(id) {
                    slot.push(id, index, &tally);
                }
            }
            slots.insert((width, number), slot);
        }
    }
    if shard.open_tick() > i64::MIN {
        shard.restore(&slots);
    }
}

/// Says what a closed tick brought: slots, rollups, baselines, observations; lets idle keys go.
fn after_close(
    shard: &mut Shard,
    (tick, closed): (i64, &Closed),
    every_s: i64,
    said: &mut Vec<Observed>,
    put: &mut Vec<Output>,
) {
    for (width, number) in &closed.slots {
        put.push(shard.ring(*width).record(shard.number, *number));
        if SLOT_WIDTHS_S[*width] == 60 {
            rollups(shard, *width, *number, put);
        }
    }
    let at_us = (tick + 1) * TICK_US;
    for index in &closed.changed {
        let state = shard.key(*index);
        let seen = observe(state, shard.ring(0).get(tick), at_us);
        said.push((state.id, (seen, Arc::clone(&state.key))));
    }
    // Staggered by key, so that no second has to say them all.
    let due = |state: &KeyState| (tick + state.id.1 as i64 % every_s).rem_euclid(every_s) == 0;
    for state in shard.indices().map(|index| shard.key(index)) {
        if closed.ticked && due(state) && state.totals[0].requests > 0 {
            put.push(baseline(state, at_us));
        }
    }
    for index in &closed.idle {
        let state = shard.evict(*index);
        put.push(record(key_record(state.id), None));
        said.push((state.id, (Observation::Evicted, state.key)));
    }
}

fn rollups(shard: &Shard, width: usize, number: i64, put: &mut Vec<Output>) {
    let Some(slot) = shard.ring(width).get(number) else { return };
    for (_, index, mut bytes) in slot.iter() {
        let mut tally = Tally::default();
        tally.add_encoded(&mut bytes, 1).expect("slots hold what Tally::encode wrote");
        let key = &shard.key(index).key;
        let rollup = Rollup::new((**key).clone(), number * SLOT_WIDTHS_S[width] * TICK_US, &tally);
        put.push(output(Dataset::Rollups, key.to_json(), &rollup));
    }
}

fn baseline(state: &KeyState, at_us: i64) -> Output {
    let windows = WINDOWS.iter().zip(&state.totals);
    let windows = windows.map(|(spec, total)| (spec.name.to_owned(), Statistics::from(total))).collect();
    let baseline = Baseline { key: (*state.key).clone(), at_us, windows };
    output(Dataset::Baselines, state.key.to_json(), &baseline)
}

/// The tick itself, the shortest window, and the longest window before the last minute.
fn observe(state: &KeyState, second: Option<&Slot>, at_us: i64) -> Observation {
    let mut tick = Tally::default();
    let encoded = second.and_then(|slot| slot.get(state.id));
    if let Some(mut bytes) = encoded {
        tick.add_encoded(&mut bytes, 1).expect("slots hold what Tally::encode wrote");
    }
    let (minute, longest) = (&state.totals[1], &state.totals[WINDOWS.len() - 1]);
    let mut history = Tally { histogram: Histogram::default(), ..*longest };
    history.requests -= minute.requests;
    history.errors -= minute.errors;
    history.latency_sum_us -= minute.latency_sum_us;
    history.histogram = longest.histogram.minus(&minute.histogram);
    let (recent, history) = (Statistics::from(&state.totals[0]), Statistics::from(&history));
    Observation::Tick { at_us, tick: Statistics::from(&tick), recent, history }
}
