//! `season`: what keys showed in each half hour of the last two weeks, to tell what is usual at this time from what is not.
//!
//! A rule that is passed says nothing if it would have been passed by as much on two of the [`DAYS`] before, at about this
//! time: a nightly job is known from its third night on, a weekly one from its third week.
//!
//! # Decision
//! Days are asked one by one, and not added up: one day with an incident makes no precedent, and neither does a weekly job
//! vanish among six days without it. So a slot needs no tally that can be added, only its numbers, twenty bytes instead of
//! several hundred, and an excluded interval leaves it as a whole (law L5 to the slot). An exact tally of every half hour
//! is in the rollups.

use crate::Output;
use crate::state::{State, from_json, json, record};
use evenkeel_schemas::{KeyId, Statistics};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Seconds of a slot.
pub(crate) const SLOT_S: i64 = 1_800;

/// The days before at which it is looked.
pub(crate) const DAYS: [i64; 5] = [1, 2, 3, 7, 14];

/// On so many of them it was alike: then it is usual.
pub(crate) const PRECEDENTS: usize = 2;

/// So many slots are held: two weeks, and one on either side.
const SLOTS: i64 = 14 * 86_400 / SLOT_S + 2;

/// So many keys a shard have a season, those with the smallest identities; the others are judged by their last hour alone.
pub(crate) const MAX_KEYS_PER_SHARD: usize = 64;

/// The numbers of one slot, by key.
type Shown = BTreeMap<KeyId, Statistics>;

/// The slots of one shard.
#[derive(Clone, Debug, Default)]
pub(crate) struct Season(BTreeMap<i64, Shown>);

/// One slot as it is committed: its number, and the numbers of each key.
#[derive(Serialize, Deserialize)]
struct Committed(i64, Vec<(String, Statistics)>);

impl Season {
    /// The slots about as long after midnight as `tick`, `days` days before.
    pub fn around(tick: i64, days: i64) -> impl Iterator<Item = i64> {
        let slot = (tick - days * 86_400).div_euclid(SLOT_S);
        slot - 1..=slot + 1
    }

    /// What a key showed in a slot, if the slot is known; nothing if it had no requests.
    pub fn get(&self, slot: i64, id: KeyId) -> Option<Option<&Statistics>> {
        self.0.get(&slot).map(|shown| shown.get(&id))
    }

    /// Whether a key is among those that have a season.
    pub fn knows(&self, id: KeyId) -> bool {
        self.0.values().any(|shown| shown.contains_key(&id))
    }

    /// Puts a slot in its place; what is older than two weeks goes.
    pub fn put(&mut self, slot: i64, shown: Shown) {
        self.0.insert(slot, shown);
        while self.0.len() as i64 > SLOTS || self.0.first_key_value().is_some_and(|(oldest, _)| *oldest <= slot - SLOTS)
        {
            self.0.pop_first();
        }
    }

    /// The slot as a state record.
    pub fn record(&self, shard: u32, slot: i64) -> Output {
        let shown = self.0.get(&slot).into_iter().flatten();
        let value = Committed(slot, shown.map(|(id, statistics)| (id.to_string(), *statistics)).collect());
        record(format!("season/{shard}/{}", slot.rem_euclid(SLOTS)), Some(json(&value)))
    }

    /// Those of a shard as they were committed.
    pub fn recovered(shard: u32, state: &State) -> Self {
        let prefix = format!("season/{shard}/");
        let mut season = Self::default();
        let mut slots = state.under(&prefix).map(|(_, value)| from_json::<Committed>(value)).collect::<Vec<_>>();
        slots.sort_by_key(|Committed(slot, _)| *slot);
        for Committed(slot, shown) in slots {
            let key = |id: String| id.parse().expect("slots were committed whole");
            season.put(slot, shown.into_iter().map(|(id, statistics)| (key(id), statistics)).collect());
        }
        season
    }
}
