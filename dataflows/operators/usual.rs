//! What a key is usually like: its last hour without what was excluded, and the same time of earlier days.

use super::key_state::{Frozen, KeyState};
use super::season::{DAYS, SLOT_S, Season};
use super::shard::Shard;
use super::span::{LONGEST, tail_tick, young};
use crate::intervals::Intervals;
use crate::tuning::TICK_US;
use evenkeel_detectors::Volume;
use evenkeel_schemas::{KeyId, Statistics, Tally};
use std::ops::Range;

/// Seconds of the slots in which an excluded interval leaves the last hour.
const MINUTE_S: i64 = 60;

impl Shard {
    /// What a key is usually like: what the longest window keeps, without what was excluded; while that has not `enough`
    /// requests, some seconds more.
    pub fn usual(&mut self, index: u32, enough: i64, intervals: &Intervals) -> Statistics {
        if let Some(frozen) = self.frozen(index) {
            return frozen.usual;
        }
        let kept = self.kept(LONGEST, self.open_tick());
        if std::mem::take(&mut self.key_mut(index).is_stale) {
            let usual = self.without_excluded(self.key(index), &kept, intervals);
            self.key_mut(index).usual = usual;
        }
        let state = self.key(index);
        let is_enough = state.usual.requests >= enough;
        if is_enough { state.usual } else { self.usual_in(state, &young(self.open_tick()), intervals) }
    }

    /// What a key is compared with instead of what is usual, while that is so.
    pub fn frozen(&mut self, index: u32) -> Option<Frozen> {
        let now_us = self.open_tick() * TICK_US;
        let frozen = &mut self.key_mut(index).frozen;
        *frozen = frozen.filter(|frozen| frozen.until_us > now_us);
        *frozen
    }

    /// How many requests are usual, in which time: what the longest window keeps, since the key is counted.
    pub fn usual_volume(&self, state: &KeyState, intervals: &Intervals) -> Volume {
        let kept = self.kept(LONGEST, self.open_tick());
        let since = kept.start.max((state.since_tick + MINUTE_S - 1).div_euclid(MINUTE_S) * MINUTE_S);
        let seconds = since..kept.end.max(since);
        let excluded = intervals.excluded(state.key.service(), &seconds, MINUTE_S);
        let span_s = seconds.end - since - excluded.iter().map(|gap| gap.end - gap.start).sum::<i64>();
        if excluded.is_empty() && since == kept.start {
            return Volume { requests: state.totals[LONGEST].requests, span_s };
        }
        let mut tally = Tally::default();
        self.add_but(&mut tally, state.id, seconds, &excluded);
        Volume { requests: tally.requests, span_s }
    }

    /// How many requests a key had in `ticks`.
    pub fn requests(&self, id: KeyId, ticks: Range<i64>) -> i64 {
        let mut tally = Tally::default();
        self.add_ticks(&mut tally, id, ticks);
        tally.requests
    }

    /// Errors and requests of a key in the last `span_s`: exact up to an hour, then by whole slots of the season.
    pub fn counted(&self, state: &KeyState, span_s: i64) -> (i64, i64) {
        let (open, mut tally) = (self.open_tick(), Tally::default());
        if span_s <= 3_600 {
            self.add_ticks(&mut tally, state.id, open - span_s..open);
            return (tally.errors, tally.requests);
        }
        let begun = open.div_euclid(SLOT_S);
        self.add_ticks(&mut tally, state.id, begun * SLOT_S..open);
        let slots = (begun - span_s / SLOT_S..begun).filter_map(|slot| self.season.get(slot, state.id).flatten());
        slots.fold((tally.errors, tally.requests), |sum, slot| (sum.0 + slot.errors, sum.1 + slot.requests))
    }

    /// What the longest window keeps of a key, without what was excluded.
    fn without_excluded(&self, state: &KeyState, kept: &Range<i64>, intervals: &Intervals) -> Statistics {
        if intervals.excluded(state.key.service(), kept, MINUTE_S).is_empty() {
            return Statistics::from(&state.totals[LONGEST]);
        }
        self.usual_in(state, kept, intervals)
    }

    /// What a key showed in `kept`, without what was excluded.
    pub fn usual_in(&self, state: &KeyState, kept: &Range<i64>, intervals: &Intervals) -> Statistics {
        let excluded = intervals.excluded(state.key.service(), kept, MINUTE_S);
        let mut tally = Tally::default();
        self.add_but(&mut tally, state.id, kept.clone(), &excluded);
        Statistics::from(&tally)
    }

    /// Adds what a key counted in `ticks` but for those in `excluded`.
    fn add_but(&self, tally: &mut Tally, id: KeyId, ticks: Range<i64>, excluded: &[Range<i64>]) {
        let mut from = ticks.start;
        for gap in excluded {
            self.add_ticks(tally, id, from..gap.start);
            from = gap.end;
        }
        self.add_ticks(tally, id, from..ticks.end);
    }

    /// On how many of the [`DAYS`] before `tick` something at about this time was as `alike` says.
    pub fn precedents(
        &self,
        state: &KeyState,
        tick: i64,
        intervals: &Intervals,
        alike: impl Fn(Option<&Statistics>) -> bool,
    ) -> usize {
        let excluded = |slot: i64| {
            let seconds = slot * SLOT_S..(slot + 1) * SLOT_S;
            !intervals.excluded(state.key.service(), &seconds, SLOT_S).is_empty()
        };
        let shown = |slot: i64| self.season.get(slot, state.id).filter(|_| !excluded(slot)).is_some_and(&alike);
        let was_alike = |days: &&i64| Season::around(tick, **days).any(shown);
        DAYS.iter().filter(was_alike).count()
    }

    /// Makes the slots of the season that hold `ticks` and are over, from the minutes they are made of.
    pub fn make_season(&mut self, ticks: impl Iterator<Item = i64>) -> Vec<i64> {
        let mut slots = ticks.map(|tick| tick.div_euclid(SLOT_S)).collect::<Vec<_>>();
        slots.dedup();
        // Minutes are held as long as the longest window does; what comes later than that amends no season.
        let (open, tail) = (self.open_tick(), tail_tick(LONGEST, self.open_tick()));
        let whole = |slot: &i64| slot * SLOT_S >= tail && (slot + 1) * SLOT_S <= open;
        slots.retain(whole);
        for slot in &slots {
            let keys = self.seasonal();
            let shown = keys.into_iter().filter_map(|id| {
                let mut tally = Tally::default();
                self.add_ticks(&mut tally, id, slot * SLOT_S..(slot + 1) * SLOT_S);
                (tally.requests > 0).then(|| (id, Statistics::from(&tally)))
            });
            let shown = shown.collect();
            self.season.put(*slot, shown);
        }
        slots
    }
}
