//! What late records change of ticks that are closed: the last [`TOLD_S`] of them are told once more, as they would have
//! been had the records come in time.
//!
//! # Decision
//! Nothing is kept for it: the slots that the windows are made of hold it all, the one minute apart that the longest window
//! has just let go of. What they do not hold is told of nobody: five minutes as they were a minute ago, by which keys of very
//! few requests are judged, and the last seconds of a history that is shorter than `min_history`.

use super::shard::Shard;
use super::slot::add;
use super::span::{LONGEST, RECENT, UNUSUAL_S};
use super::teller::Teller;
use super::window::{Observation, Told};
use crate::tuning::{TICK_US, WINDOWS};
use evenkeel_detectors::is_quiet;
use evenkeel_schemas::{Statistics, Tally};
use std::ops::Range;
use std::sync::Arc;

/// So long after its tick closed a record still changes what was said of it, s.
pub(crate) const MENDED_S: i64 = 30;

/// So many ticks are told once more: as many as are held second by second, less the shortest window.
pub(crate) const TOLD_S: i64 = 54;

/// Of so many keys of a shard at a time; what was said of the others stands.
pub(crate) const MENDED_KEYS: usize = 16;

impl Teller<'_> {
    /// Tells once more of a key into whose last ticks something was patched, unless that is nothing unusual now, nor was.
    pub fn mend(&mut self, shard: &mut Shard, index: u32) {
        let (open, limits) = (shard.open_tick(), &self.tuning.detection);
        let Some(told) = self.told(shard, index, open - TOLD_S..open) else { return };
        if shard.key(index).watched == 0 && told.iter().all(|told| is_quiet(&told.span, &told.usual, limits)) {
            return;
        }
        let state = shard.key_mut(index);
        // What it is compared with from now on is found out once more, too.
        (state.watched, state.frozen) = (limits.watch(), None);
        let seen = Observation::Mended(told);
        self.said.push((state.id, (seen, Arc::clone(&state.key))));
    }

    /// What closed ticks of a key show now; nothing if that is not held.
    fn told(&self, shard: &Shard, index: u32, ticks: Range<i64>) -> Option<Vec<Told>> {
        let (state, limits) = (shard.key(index), &self.tuning.detection);
        let length_s = WINDOWS[RECENT].length_s;
        if state.since_tick + length_s + UNUSUAL_S > ticks.start {
            return None;
        }
        let (mut recent, mut tick_tally) = (Tally::default(), Tally::default());
        shard.add_ticks(&mut recent, state.id, ticks.start - length_s..ticks.start);
        let mut usual = (0..0, Statistics::default());
        let mut told = Vec::new();
        for tick in ticks {
            let entry = |tick: i64| shard.ring(0).get(tick).and_then(|slot| slot.get(state.id));
            let (came, left) = (entry(tick), entry(tick - length_s));
            if came.is_none() && left.is_none() {
                continue;
            }
            tick_tally.clear();
            came.into_iter().for_each(|bytes| add(&mut tick_tally, bytes, 1));
            recent.add(&tick_tally, 1);
            left.into_iter().for_each(|bytes| add(&mut recent, bytes, -1));
            let busy = recent.requests >= limits.min_requests * length_s;
            let kept = shard.kept(LONGEST, tick + 1);
            if kept != usual.0 {
                usual = (kept.clone(), shard.usual_in(state, &kept, self.intervals));
            }
            if (recent.requests < limits.min_requests && recent.errors > 0) || usual.1.requests < limits.min_history {
                return None;
            }
            let span = Statistics::from(if busy { &tick_tally } else { &recent });
            let precedented = self.precedented(shard, index, tick, (&span, &usual.1));
            told.push(Told { at_us: (tick + 1) * TICK_US, busy, span, usual: usual.1, precedented });
        }
        Some(told)
    }
}
