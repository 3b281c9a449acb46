//! What is said when a tick closed: slots, rollups, baselines, observations; idle keys are let go.

use super::key_state::KeyState;
use super::mend::MENDED_KEYS;
use super::season::PRECEDENTS;
use super::shard::{Closed, Shard};
use super::slot::add;
use super::span::{RECENT, TRICKLE, tail_tick};
use super::window::{Observation, Observed, Told, key_record};
use crate::Output;
use crate::intervals::Intervals;
use crate::state::{output, record};
use crate::tuning::{SLOT_WIDTHS_S, TICK_US, Tuning, WINDOWS};
use evenkeel_detectors::{Detection, Judgement, is_quiet, judge_errors, judge_latency};
use evenkeel_schemas::{Dataset, Key, Rollup, Statistics, Tally};
use serde::Serialize;
use std::sync::Arc;

/// Statistics without latencies: those cost a walk over the histogram.
fn counts(tally: &Tally) -> Statistics {
    Statistics { requests: tally.requests, errors: tally.errors, ..Statistics::default() }
}

/// An [`evenkeel_schemas::Baseline`] in the making: with many keys the copies of their names would cost most.
#[derive(Serialize)]
struct Said<'a> {
    key: &'a Key,
    at_us: i64,
    windows: Vec<(&'static str, Statistics)>,
}

/// Says what closed ticks brought.
pub(crate) struct Teller<'a> {
    pub tuning: &'a Tuning,
    pub intervals: &'a Intervals,
    pub said: &'a mut Vec<Observed>,
    pub put: &'a mut Vec<Output>,
    /// Memory that is used again.
    pub scratch: Tally,
}

impl Teller<'_> {
    /// Says what a close brought, and lets idle keys go.
    pub fn tell(&mut self, shard: &mut Shard, tick: i64, closed: &Closed) {
        for (width, number) in &closed.slots {
            self.put.push(shard.ring(*width).record(shard.number, *number));
            if SLOT_WIDTHS_S[*width] == 60 {
                self.rollups(shard, *width, *number);
            }
        }
        for slot in &closed.seasons {
            self.put.push(shard.season.record(shard.number, *slot));
        }
        for index in closed.mended.iter().take(MENDED_KEYS) {
            self.mend(shard, *index);
        }
        for index in &closed.changed {
            self.observe(shard, *index, tick);
        }
        if closed.ticked {
            self.minute(shard, tick);
            self.baselines(shard, tick);
        }
        for index in &closed.idle {
            let state = shard.evict(*index);
            self.put.push(record(key_record(state.id), None));
            self.said.push((state.id, (Observation::Evicted, state.key)));
        }
    }

    fn rollups(&mut self, shard: &Shard, width: usize, number: i64) {
        let Some(slot) = shard.ring(width).get(number) else { return };
        for (_, index, bytes) in slot.iter() {
            self.scratch.clear();
            add(&mut self.scratch, bytes, 1);
            let key = &shard.key(index).key;
            let rollup = Rollup::new((**key).clone(), number * SLOT_WIDTHS_S[width] * TICK_US, &self.scratch);
            self.put.push(output(Dataset::Rollups, key.to_json(), &rollup));
        }
    }

    /// Tells the detectors what a tick of a key shows, unless that is nothing unusual and was not of late.
    fn observe(&mut self, shard: &mut Shard, index: u32, tick: i64) {
        if shard.key(index).recent().requests == 0 {
            self.silence(shard, index, (tick, WINDOWS[RECENT].length_s));
        }
        let limits = &self.tuning.detection;
        shard.tick(tick, shard.key(index), &mut self.scratch);
        let state = shard.key(index);
        let recent = state.recent();
        // A busy key is judged by the second, a quiet one by its shortest window, one of few requests by a longer one.
        let busy = recent.requests >= limits.min_requests * WINDOWS[RECENT].length_s;
        let errs = state.totals[TRICKLE].errors + recent.errors >= limits.min_errors;
        if let Some(span) = errs.then(|| self.trickle(shard, state, recent, tick)).flatten() {
            return self.compare(shard, index, tick, (false, span));
        }
        let span = if busy { &self.scratch } else { recent };
        // Without a history latencies are not judged, and errors that are few without one are few with any.
        let none = Statistics::default();
        if !state.watched && state.is_new(limits.min_history) && is_quiet(&counts(span), &none, limits) {
            return;
        }
        let span = Statistics::from(span);
        self.compare(shard, index, tick, (busy, span));
    }

    /// The last minutes of a key of few requests in the `recent` window and some errors, by which it is judged.
    pub fn trickle(&self, shard: &Shard, state: &KeyState, recent: &Tally, tick: i64) -> Option<Statistics> {
        let limits = &self.tuning.detection;
        if recent.errors == 0 || recent.requests >= limits.min_requests {
            return None;
        }
        let mut tally = Tally::default();
        shard.add_ticks(&mut tally, state.id, tail_tick(TRICKLE, tick + 1)..tick + 1);
        (tally.errors >= limits.min_errors).then(|| Statistics::from(&tally))
    }

    /// Says what a span shows beside what is usual, unless that is nothing unusual and was not of late.
    fn compare(&mut self, shard: &mut Shard, index: u32, tick: i64, (busy, span): (bool, Statistics)) {
        let limits = &self.tuning.detection;
        let usual = shard.usual(index, limits.min_history, self.intervals);
        let state = shard.key_mut(index);
        if !state.watched && is_quiet(&span, &usual, limits) {
            return;
        }
        state.watched = true;
        let precedented = self.precedented(shard, index, tick, (&span, &usual));
        let state = shard.key(index);
        let seen = Observation::Tick(Told { at_us: (tick + 1) * TICK_US, busy, span, usual, precedented });
        self.said.push((state.id, (seen, Arc::clone(&state.key))));
    }

    /// Whether what is unusual now was so at this time on earlier days: errors, and latency.
    pub fn precedented(
        &self,
        shard: &Shard,
        index: u32,
        tick: i64,
        (span, usual): (&Statistics, &Statistics),
    ) -> (bool, bool) {
        let limits = &self.tuning.detection;
        let precedented = |judge: fn(&Statistics, &Statistics, &Detection) -> Judgement| {
            let alike = |then: Option<&Statistics>| {
                then.is_some_and(|then| then.requests >= limits.min_history && !judge(span, then, limits).exceeds)
            };
            judge(span, usual, limits).fires
                && shard.precedents(shard.key(index), tick, self.intervals, alike) >= PRECEDENTS
        };
        (precedented(judge_errors), precedented(judge_latency))
    }

    /// Says the windows of the keys that are due: staggered by key, so that no second has to say them all.
    fn baselines(&mut self, shard: &Shard, tick: i64) {
        let every_s = self.tuning.baseline_every_s;
        let said = self.tuning.said_windows().unwrap_or_default();
        for state in shard.indices().map(|index| shard.key(index)) {
            let due = (tick + state.id.1 as i64 % every_s).rem_euclid(every_s) == 0;
            if !due {
                continue;
            }
            let statistics =
                |window: &usize| (WINDOWS[*window].name, shard.statistics(*window, state, &mut self.scratch));
            // The shorter a window, the sooner it holds nothing; then the longer ones are not worth saying.
            let mut windows = said.iter().map(statistics).peekable();
            if windows.peek().is_none_or(|(_, shortest)| shortest.requests <= 0) {
                continue;
            }
            let baseline = Said { key: &state.key, at_us: (tick + 1) * TICK_US, windows: windows.collect() };
            self.put.push(output(Dataset::Baselines, state.key.to_json(), &baseline));
        }
    }
}
