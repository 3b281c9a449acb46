//! What is said when a tick closed: slots, rollups, baselines, observations; idle keys are let go.

use super::shard::{Closed, Shard};
use super::slot::add;
use super::window::{Observation, Observed, key_record};
use crate::Output;
use crate::detectors::is_quiet;
use crate::state::{output, record};
use crate::tuning::{SLOT_WIDTHS_S, TICK_US, Tuning, WINDOWS};
use evenkeel_schemas::{Baseline, Dataset, Rollup, Statistics, Tally};
use std::sync::Arc;

/// Says what closed ticks brought.
pub(crate) struct Teller<'a> {
    pub tuning: &'a Tuning,
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
        for index in &closed.changed {
            self.observe(shard, *index, tick);
        }
        if closed.ticked {
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
        let limits = &self.tuning.detection;
        shard.tick(tick, shard.key(index), &mut self.scratch);
        // A busy key is judged by the second, a quiet one by its shortest window.
        let busy = self.scratch.requests >= limits.min_requests;
        let usual = shard.usual(index, limits.min_history);
        let state = shard.key_mut(index);
        let span = Statistics::from(if busy { &self.scratch } else { state.recent() });
        if !is_quiet(&span, &usual, limits) {
            state.watched = limits.of + 1;
        } else if state.watched == 0 {
            return;
        }
        state.watched -= 1;
        let seen = Observation::Tick { at_us: (tick + 1) * TICK_US, span, usual };
        self.said.push((state.id, (seen, Arc::clone(&state.key))));
    }

    /// Says the windows of the keys that are due: staggered by key, so that no second has to say them all.
    fn baselines(&mut self, shard: &Shard, tick: i64) {
        let every_s = self.tuning.baseline_every_s;
        for state in shard.indices().map(|index| shard.key(index)) {
            let due = (tick + state.id.1 as i64 % every_s).rem_euclid(every_s) == 0;
            if !due || state.recent().requests <= 0 {
                continue;
            }
            let windows = WINDOWS.iter().enumerate().map(|(window, spec)| {
                shard.total(window, state, &mut self.scratch);
                (spec.name.to_owned(), Statistics::from(&self.scratch))
            });
            let windows = windows.collect();
            let baseline = Baseline { key: (*state.key).clone(), at_us: (tick + 1) * TICK_US, windows };
            self.put.push(output(Dataset::Baselines, state.key.to_json(), &baseline));
        }
    }
}
