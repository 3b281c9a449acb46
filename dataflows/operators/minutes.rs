//! What is said when a minute closed: how many requests a key had against what is usual.
//!
//! Keys of services and routes are judged by their number of requests. Nodes, versions and regions are not: they come and
//! go with deploys, and lose their traffic when somebody, maybe evenkeel, takes them out.

use super::season::PRECEDENTS;
use super::shard::Shard;
use super::teller::Teller;
use super::window::Observation;
use crate::budgets::objective;
use crate::minutes::Minute;
use crate::tuning::{SLOT_WIDTHS_S, TICK_US};
use evenkeel_detectors::{BURN_WINDOWS_S, TrafficLimits, Volume, judge_traffic, silence_after};
use evenkeel_schemas::{Dimension, Key, Statistics, Tally};
use std::sync::Arc;

/// The index of minutes in [`SLOT_WIDTHS_S`].
const MINUTES: usize = SLOT_WIDTHS_S.len() - 1;

/// A minute, s.
const MINUTE_S: i64 = SLOT_WIDTHS_S[MINUTES];

/// Of so many judged minutes …
pub(crate) const TRAFFIC_OF: u32 = 3;
/// … so many must pass the limit.
pub(crate) const TRAFFIC_PERSIST: u32 = 2;

impl Teller<'_> {
    /// Says what the minute that ends with `tick` shows, if one does.
    pub fn minute(&mut self, shard: &mut Shard, tick: i64) {
        if (tick + 1).rem_euclid(MINUTE_S) != 0 {
            return;
        }
        let minute = tick.div_euclid(MINUTE_S);
        // Who had requests a minute ago, and has none now, is spoken of, too.
        let mut keys = shard.entries((MINUTES, minute - 1)).chain(shard.entries((MINUTES, minute))).collect::<Vec<_>>();
        keys.sort_unstable();
        keys.dedup();
        for (_, index) in keys {
            let key = Arc::clone(&shard.key(index).key);
            if has_volume(&key) {
                self.volume(shard, index, tick);
            }
            if Minute::is_told(&key) {
                self.tell_minute(shard, index, tick);
            }
        }
    }

    /// Tells those who follow a key by the minute.
    fn tell_minute(&mut self, shard: &Shard, index: u32, tick: i64) {
        let state = shard.key(index);
        let mut tally = Tally::default();
        shard.add_ticks(&mut tally, state.id, tick + 1 - MINUTE_S..tick + 1);
        let has_objective = objective(&self.tuning.objectives, state.key.service()).is_some() && state.key.0.len() == 1;
        // A window says something once a quarter of it is known.
        let known_s = tick + 1 - state.since_tick;
        let counted = |(long_s, short_s): &(i64, i64)| match known_s * 4 >= *long_s {
            true => (shard.counted(state, *long_s), shard.counted(state, *short_s)),
            false => ((0, 0), (0, 0)),
        };
        let budget = BURN_WINDOWS_S.iter().filter(|_| has_objective).map(counted).collect();
        let (key, seen) = ((*state.key).clone(), Statistics::from(&tally));
        let minute = Minute { minute: tick.div_euclid(MINUTE_S), key, seen, budget };
        self.said.push((state.id, (Observation::Minute(Box::new(minute)), Arc::clone(&state.key))));
    }

    fn volume(&mut self, shard: &mut Shard, index: u32, tick: i64) {
        let state = shard.key(index);
        let seen = Volume { requests: shard.requests(state.id, tick + 1 - MINUTE_S..tick + 1), span_s: MINUTE_S };
        let usual = shard.usual_volume(state, self.intervals);
        let judgement = judge_traffic(seen, usual, None, &self.tuning.detection.traffic);
        let state = shard.key_mut(index);
        if judgement.exceeds {
            state.watched = true;
        } else if !state.watched {
            return;
        }
        let precedented = judgement.fires && self.was_so_quiet(shard, index, tick, seen);
        let state = shard.key(index);
        let seen = Observation::Volume { at_us: (tick + 1) * TICK_US, seen, usual, precedented };
        self.said.push((state.id, (seen, Arc::clone(&state.key))));
    }

    /// A key has had no request for as long as its shortest window is: says how long that may go on.
    pub fn silence(&mut self, shard: &mut Shard, index: u32, (tick, silent_s): (i64, i64)) {
        let state = shard.key(index);
        if !has_volume(&state.key) {
            return;
        }
        let usual = shard.usual_volume(state, self.intervals);
        let Some(patience_us) = silence_after(usual, &self.tuning.detection.traffic) else { return };
        let seen = Volume { requests: 0, span_s: silent_s };
        if self.was_so_quiet(shard, index, tick, seen) {
            return;
        }
        let since_us = (tick + 1 - silent_s) * TICK_US;
        let state = shard.key_mut(index);
        // So that it is told when there is traffic again.
        state.watched = true;
        let silent = Observation::Silent { since_us, due_us: since_us + patience_us, usual };
        self.said.push((state.id, (silent, Arc::clone(&state.key))));
    }

    /// Whether it had as few requests at this time on earlier days.
    fn was_so_quiet(&self, shard: &Shard, index: u32, tick: i64, seen: Volume) -> bool {
        let state = shard.key(index);
        let limits = TrafficLimits { min_history: 0, ..self.tuning.detection.traffic.clone() };
        let alike = |then: Option<&Statistics>| {
            let usual = Volume { requests: then.map_or(0, |then| then.requests), span_s: super::season::SLOT_S };
            !judge_traffic(seen, usual, None, &limits).exceeds
        };
        shard.season.knows(state.id) && shard.precedents(state, tick, self.intervals, alike) >= PRECEDENTS
    }
}

/// Whether a key is judged by its number of requests.
fn has_volume(key: &Key) -> bool {
    key.0.keys().all(|dimension| matches!(dimension, Dimension::Service | Dimension::Route))
}
