//! What late records change of ticks that are closed: the last [`TOLD_S`] of them are told once more, as they would have
//! been had the records come in time.
//!
//! # Decision
//! Little is kept for it: the slots that the windows are made of hold it all but for the last ones that each has let go of.

use super::shard::Shard;
use super::slot::add;
use super::span::{LONGEST, RECENT, young};
use super::teller::Teller;
use super::window::{Observation, Told};
use crate::tuning::{TICK_US, WINDOWS};
use evenkeel_schemas::{Statistics, Tally};
use std::ops::Range;
use std::sync::Arc;

/// So long after its tick closed a record still changes what was said of it, s.
pub(crate) const MENDED_S: i64 = 30;

/// So many ticks are told once more: those that may differ, and those since the last image of what was remembered before.
pub(crate) const TOLD_S: i64 = 54;

/// Of so many keys of a shard at a time; what was said of the others stands.
pub(crate) const MENDED_KEYS: usize = 16;

impl Teller<'_> {
    /// Tells once more of a key into whose last ticks something was patched.
    pub fn mend(&mut self, shard: &mut Shard, index: u32) {
        let open = shard.open_tick();
        let told = self.told(shard, index, open - TOLD_S..open);
        let state = shard.key_mut(index);
        // What it is compared with from now on is found out once more, too.
        (state.watched, state.frozen) = (true, None);
        let seen = Observation::Mended { told_us: (open - TOLD_S) * TICK_US, told };
        self.said.push((state.id, (seen, Arc::clone(&state.key))));
    }

    /// What closed ticks of a key show now, as [`observe`](Self::observe) would tell each of them.
    fn told(&self, shard: &Shard, index: u32, ticks: Range<i64>) -> Vec<Told> {
        let (state, limits, length_s) = (shard.key(index), &self.tuning.detection, WINDOWS[RECENT].length_s);
        let (mut recent, mut came) = (Tally::default(), Tally::default());
        shard.add_ticks(&mut recent, state.id, ticks.start - length_s..ticks.start);
        let mut usual = (0..0, Statistics::default());
        let mut told = Vec::new();
        for tick in ticks {
            let entry = |tick: i64| shard.ring(0).get(tick).and_then(|slot| slot.get(state.id));
            let (comes, leaves) = (entry(tick), entry(tick - length_s));
            if comes.is_none() && leaves.is_none() {
                continue;
            }
            came.clear();
            comes.into_iter().for_each(|bytes| add(&mut came, bytes, 1));
            recent.add(&came, 1);
            leaves.into_iter().for_each(|bytes| add(&mut recent, bytes, -1));
            let busy = recent.requests >= limits.min_requests * length_s;
            let trickle = self.trickle(shard, state, &recent, tick);
            let span = trickle.unwrap_or_else(|| Statistics::from(if busy { &came } else { &recent }));
            let kept = shard.kept(LONGEST, tick + 1);
            if kept != usual.0 {
                usual = (kept.clone(), shard.usual_in(state, &kept, self.intervals));
            }
            let is_enough = usual.1.requests >= limits.min_history;
            let usual = if is_enough { usual.1 } else { shard.usual_in(state, &young(tick + 1), self.intervals) };
            let precedented = self.precedented(shard, index, tick, (&span, &usual));
            told.push(Told { at_us: (tick + 1) * TICK_US, busy, span, usual, precedented });
        }
        told
    }
}
