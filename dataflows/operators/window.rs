//! `window`: sheaves in; closed ticks, slots, rollups and baselines out.
//!
//! Each worker owns the shards with `shard mod workers = worker`. Within an epoch keys are admitted in the order of
//! their identities and ticks close shard by shard, each shard a little later than the one before, so nothing depends on
//! arrival order or on the number of workers.
//!
//! # Decision
//! Rings of integer slots in one operator, not a differential collection per key and bucket: measured ten times less
//! time and memory at 100,000 keys. `tests/windows.rs` holds this form to the ten-line differential one and to a
//! recomputation from scratch, to the last integer.

use super::key_state::Frozen;
use super::season::Season;
use super::shard::Shard;
use super::slot::{Slot, add, parse_record};
use super::teller::Teller;
use crate::Output;
use crate::epochs::Moment;
use crate::intervals::Intervals;
use crate::lookup::Lookup;
use crate::minutes::Minute;
use crate::policy::{Order, Policy};
use crate::sheaf::{Contribution, Sheaf};
use crate::state::{State, from_json, json, record};
use crate::tuning::{SHARDS, SLOT_WIDTHS_S, TICK_US, Tuning};
use evenkeel_detectors::{Volume, judge_burst};
use evenkeel_schemas::{Dimension, Key, KeyId, Statistics, Tally};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Before a worker counts under a key it names it, unless it did so less than this before the present, µs.
pub(crate) const NAMED_EVERY_US: i64 = TICK_US;

/// Which key an identity stands for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Name {
    pub id: KeyId,
    pub key: Arc<Key>,
}

/// What is judged of a closed tick, and what the key is usually like.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Told {
    /// Its end, µs.
    pub at_us: i64,
    /// Whether the key is judged by the second.
    pub busy: bool,
    pub span: Statistics,
    pub usual: Statistics,
    /// Whether errors, and latency, were as high at this time on earlier days.
    pub precedented: (bool, bool),
}

/// What the windows of a key show.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Observation {
    /// The key is counted from now on.
    Admitted,
    /// Errors came in, so many that it is a burst: what the open ticks hold, the first of which begins at `open_us`.
    Errors { at_us: i64, open_us: i64, requests: i64, errors: i64 },
    /// Late records came in: what the closed ticks after `told_us` show now.
    Mended { told_us: i64, told: Vec<Told> },
    /// A tick closed. Quiet keys are not spoken of.
    Tick(Told),
    /// A minute closed: its requests, those that are usual, and whether there were as few at this time on earlier days.
    Volume { at_us: i64, seen: Volume, usual: Volume, precedented: bool },
    /// A minute closed; what it showed, for those who follow a key by the minute.
    Minute(Box<Minute>),
    /// There were no requests since then; if there are none until `due_us`, that is a result.
    Silent { since_us: i64, due_us: i64, usual: Volume },
    /// The key holds nothing any more.
    Evicted,
}

/// An observation of a key.
pub(crate) type Observed = (KeyId, (Observation, Arc<Key>));

#[derive(Serialize, Deserialize)]
struct Admission {
    key: Key,
    epoch: u64,
    /// The first tick after it.
    since_tick: i64,
}

pub(crate) fn shard_of(id: KeyId) -> u64 {
    id.0 % SHARDS
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
        Shard::new(number as u32, open_tick, closed_in, tuning.shortest_said())
    }
}

/// The windows of the keys of one worker.
pub(crate) struct Windows {
    shards: Vec<Shard>,
    tuning: Tuning,
    intervals: Intervals,
    peers: u64,
    /// The present when the epoch began, µs.
    opened_us: i64,
    /// Keys that were not held when they were named, in the last [`NAMED_EVERY_US`] and in those before. A key that was
    /// held then still is: what counts at all is in the longest window for a minute at least.
    names: [Lookup<KeyId, Arc<Key>>; 2],
    named_since_us: i64,
    with_errors: Vec<(KeyId, u32)>,
    /// Memory that is used again.
    found: Vec<Option<u32>>,
}

impl Windows {
    /// Those of worker `index` of `peers`, as they were left.
    pub fn recovered((index, peers): (u64, u64), tuning: &Tuning, recovered: &Recovered) -> Self {
        let numbers = (index..SHARDS).step_by(peers as usize);
        let mut shards = numbers.map(|number| recovered.shard(number, tuning)).collect::<Vec<_>>();
        for (id, value) in recovered.state.under("key/") {
            let Admission { key, epoch, since_tick } = from_json(value);
            let id = id.parse().expect("keys were committed whole");
            if shard_of(id) % peers == index {
                shards[(shard_of(id) / peers) as usize].admit(id, Arc::new(key), (epoch, since_tick));
            }
        }
        for shard in &mut shards {
            restore(shard, &recovered.state);
        }
        let opened_us = recovered.presents.first().map_or(i64::MIN, |(_, now_us)| *now_us);
        Self {
            shards,
            tuning: tuning.clone(),
            intervals: Policy::recovered(&recovered.state).intervals,
            peers,
            opened_us,
            names: Default::default(),
            named_since_us: opened_us,
            with_errors: Vec::new(),
            found: Vec::new(),
        }
    }

    /// An epoch: counts, and closes the ticks that are due.
    pub fn step(&mut self, now: Moment, mut sheaves: Vec<Sheaf>, said: &mut Vec<Observed>, put: &mut Vec<Output>) {
        self.meet(sheaves.iter_mut().flat_map(|sheaf| std::mem::take(&mut sheaf.names)));
        self.count(now, &sheaves, said, put);
        if !now.warm {
            self.report_bursts(now, said);
            self.close(now, said, put);
        }
        self.opened_us = now.now_us;
    }

    /// Hears of intervals; returns them if there are new ones.
    pub fn hear(&mut self, mut orders: Vec<Order>) -> Option<Intervals> {
        orders.sort();
        orders.iter().for_each(|order| self.intervals.hear(&order.control));
        if orders.is_empty() {
            return None;
        }
        self.shards.iter_mut().for_each(Shard::doubt);
        Some(self.intervals.clone())
    }

    /// From now on these limits hold.
    pub fn follow(&mut self, tuning: &Tuning) {
        self.tuning = tuning.clone();
    }

    /// What the detectors keep of a key, if they do: until they do not any more they are told all of it, and it is compared
    /// with what was usual, if that is frozen, and not with what is.
    ///
    /// A restart knows no more of a key than this, so nothing else may decide about what they are told.
    pub fn watch(&mut self, id: KeyId, kept: Option<Option<Frozen>>) {
        let at = self.at(id);
        if let Some(index) = self.shards[at].index_of(id) {
            let state = self.shards[at].key_mut(index);
            (state.watched, state.frozen) = (kept.is_some(), kept.flatten());
        }
    }

    fn at(&self, id: KeyId) -> usize {
        (shard_of(id) / self.peers) as usize
    }

    /// Remembers the names of keys that are not held for as long as they may not be named again.
    fn meet(&mut self, names: impl Iterator<Item = Name>) {
        if self.opened_us >= self.named_since_us.saturating_add(NAMED_EVERY_US) {
            self.names.swap(0, 1);
            self.names[0].clear();
            self.named_since_us = self.opened_us;
        }
        for Name { id, key } in names {
            if self.shards[self.at(id)].index_of(id).is_none() {
                self.names[0].insert(id, key);
            }
        }
    }

    fn count(&mut self, now: Moment, sheaves: &[Sheaf], said: &mut Vec<Observed>, put: &mut Vec<Output>) {
        // First every key is looked up, then everything is counted: the waits for memory overlap.
        let contributions = || sheaves.iter().flat_map(Sheaf::iter);
        let mut found = std::mem::take(&mut self.found);
        found.extend(contributions().map(|it| self.shards[self.at(it.id)].index_of(it.id)));
        let mut strangers = Vec::new();
        for (contribution, index) in contributions().zip(found.drain(..)) {
            let at = self.at(contribution.id);
            // Before a restart, what came before its key was taken in counted under the overflow key.
            let known = |index: &u32| !now.warm || self.shards[at].key(*index).admitted <= now.epoch.0;
            match index.filter(known) {
                Some(index) => self.count_one(now, at, index, contribution),
                None => strangers.push(contribution),
            }
        }
        self.found = found;
        strangers.sort_unstable();
        for contribution in strangers {
            let at = self.at(contribution.id);
            let index = match self.shards[at].index_of(contribution.id).filter(|_| !now.warm) {
                Some(index) => index,
                None => self.admit(now, at, contribution.id, said, put),
            };
            self.count_one(now, at, index, contribution);
        }
    }

    /// Takes in a new key, or names the shard's key for those that find no place.
    fn admit(&mut self, now: Moment, at: usize, id: KeyId, said: &mut Vec<Observed>, put: &mut Vec<Output>) -> u32 {
        let shard = &mut self.shards[at];
        let full = shard.len() >= self.tuning.max_keys_per_shard();
        // Before a restart whoever was not taken in by then counted under the overflow key.
        let (id, key) = if full || now.warm {
            overflow(shard.number)
        } else {
            let [new, old] = &mut self.names;
            let (new, old) = (new.remove(&id), old.remove(&id));
            (id, new.or(old).expect("a key is named before it counts"))
        };
        if let Some(index) = shard.index_of(id) {
            return index;
        }
        let admission =
            Admission { key: (*key).clone(), epoch: now.epoch.0, since_tick: now.now_us.div_euclid(TICK_US) + 1 };
        put.push(record(key_record(id), Some(json(&admission))));
        said.push((id, (Observation::Admitted, Arc::clone(&key))));
        shard.admit(id, key, (admission.epoch, admission.since_tick))
    }

    #[inline]
    fn count_one(&mut self, now: Moment, at: usize, index: u32, contribution: Contribution<'_>) {
        let shard = &mut self.shards[at];
        let late = contribution.tick < shard.open_tick();
        if now.warm && late && now.epoch.0 <= shard.closed_in {
            return; // It lies in a closed slot already.
        }
        shard.count(index, contribution);
        if contribution.errors > 0 && !now.warm && !late {
            let state = shard.key_mut(index);
            if state.errors_in != now.epoch.0 + 1 {
                state.errors_in = now.epoch.0 + 1;
                self.with_errors.push((state.id, index));
            }
        }
    }

    /// Says what the open ticks hold of every key in which this epoch counted errors, where that is a burst.
    fn report_bursts(&mut self, now: Moment, said: &mut Vec<Observed>) {
        for (id, index) in std::mem::take(&mut self.with_errors) {
            let at = self.at(id);
            let (requests, errors) = self.shards[at].open_counts(index);
            let open_us = self.shards[at].open_tick() * TICK_US;
            let state = self.shards[at].key_mut(index);
            if judge_burst(requests, errors, &self.tuning.detection).fires {
                state.watched = true;
                let seen = Observation::Errors { at_us: now.now_us, open_us, requests, errors };
                said.push((id, (seen, Arc::clone(&state.key))));
            }
        }
    }

    fn close(&mut self, now: Moment, said: &mut Vec<Observed>, put: &mut Vec<Output>) {
        let mut teller =
            Teller { tuning: &self.tuning, intervals: &self.intervals, said, put, scratch: Tally::default() };
        for shard in &mut self.shards {
            let until = teller.tuning.open_tick(u64::from(shard.number), now.now_us);
            if shard.open_tick() == i64::MIN {
                *shard = Shard::new(shard.number, until, now.epoch.0, teller.tuning.shortest_said());
            }
            shard.close(until, |shard, tick, closed| teller.tell(shard, tick, &closed));
        }
    }
}

/// The keys that are counted, as they are in the committed state.
pub(crate) fn admitted(state: &State) -> impl Iterator<Item = Key> {
    state.under("key/").map(|(_, value)| from_json::<Admission>(value).key)
}

pub(crate) fn key_record(id: KeyId) -> String {
    format!("key/{id}")
}

fn overflow(shard: u32) -> (KeyId, Arc<Key>) {
    let node = format!("shard-{shard}");
    let key = Key::new([(Dimension::Service, "~other"), (Dimension::Node, node.as_str())]);
    // The identity is bent into the shard it stands for; identities of real keys are hashes and do not collide with it.
    (KeyId(u64::from(shard), 0), Arc::new(key))
}

fn restore(shard: &mut Shard, state: &State) {
    shard.season = Season::recovered(shard.number, state);
    let mut slots = BTreeMap::new();
    for (width, width_s) in SLOT_WIDTHS_S.into_iter().enumerate() {
        for (_, value) in state.under(&format!("slot/{width_s}/{}/", shard.number)) {
            let (number, tallies) = parse_record(value).expect("slots were committed whole");
            let mut slot = Slot::default();
            for (id, bytes) in tallies {
                let mut tally = Tally::default();
                add(&mut tally, bytes, 1);
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
