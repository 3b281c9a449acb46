//! The open ticks of one shard: what each key counted in them.
//!
//! # Decision
//! A key has one cache line a tick, in an array by key index, and the first [`FEW`] buckets lie in that line: most of
//! 100,000 keys count a dozen requests a second, and every further place to look at would be a wait for memory, the
//! largest cost there is at that many keys. What does not fit moves to an [`Open`].

use super::open::Open;
use evenkeel_schemas::{KeyId, Tally, bucket_of};
use std::collections::VecDeque;

/// So many requests of a key in a tick fit its line.
const FEW: usize = 20;

/// So many arrays of lines are kept to be used again.
const SPARE_BOUND: usize = 2;

/// Requests of one key in one open tick; all zero if there were none.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
struct Line {
    latency_sum_us: u64,
    requests: u32,
    errors: u32,
    /// One more than the index of the [`Open`] that holds them, once they are more than [`FEW`].
    many: u32,
    few: [u16; FEW],
}

/// What was counted in one tick.
#[derive(Debug, Default)]
pub(crate) struct OpenTick {
    tick: i64,
    /// By key index; keys beyond the end counted nothing.
    lines: Vec<Line>,
    /// Which keys counted something, each once.
    pub touched: Vec<(KeyId, u32)>,
}

/// The open ticks in which something was counted, ascending.
#[derive(Debug, Default)]
pub(crate) struct OpenTicks {
    ticks: VecDeque<OpenTick>,
    /// Arrays of zeroes.
    spare: Vec<Vec<Line>>,
    many: Vec<Open>,
    /// Of those, which are not in use.
    free: Vec<u32>,
}

impl OpenTicks {
    /// Counts requests of the key at `index` of `keys`; `id` is asked for when they are its first in the tick.
    #[inline]
    pub fn count(
        &mut self,
        tick: i64,
        (index, keys): (u32, usize),
        (latencies_us, errors): (&[u32], u32),
        id: impl FnOnce() -> KeyId,
    ) {
        // Two or three ticks are open at a time, and most requests count into the last.
        let at = match self.ticks.iter().rposition(|open| open.tick <= tick) {
            Some(at) if self.ticks[at].tick == tick => at,
            before => self.open(before.map_or(0, |at| at + 1), tick),
        };
        let open = &mut self.ticks[at];
        if open.lines.len() <= index as usize {
            open.lines.resize(keys, Line::default());
        }
        let line = &mut open.lines[index as usize];
        if line.requests == 0 {
            open.touched.push((id(), index));
        }
        let (start, end) = (line.requests as usize, line.requests as usize + latencies_us.len());
        line.requests += latencies_us.len() as u32;
        line.errors += errors;
        line.latency_sum_us += latencies_us.iter().map(|latency_us| u64::from(*latency_us)).sum::<u64>();
        let buckets = latencies_us.iter().map(|latency_us| bucket_of(u64::from(*latency_us)));
        if end <= FEW {
            line.few[start..end].iter_mut().zip(buckets).for_each(|(place, bucket)| *place = bucket);
            return;
        }
        if line.many == 0 {
            let place = self.free.pop().unwrap_or(self.many.len() as u32);
            if place as usize == self.many.len() {
                self.many.push(Open::default());
            }
            line.many = place + 1;
            self.many[place as usize].count(line.few[..start].iter().copied());
        }
        self.many[line.many as usize - 1].count(buckets);
    }

    #[cold]
    fn open(&mut self, at: usize, tick: i64) -> usize {
        let lines = self.spare.pop().unwrap_or_default();
        self.ticks.insert(at, OpenTick { tick, lines, touched: Vec::new() });
        at
    }

    /// Whether something was counted before `until`.
    pub fn any_before(&self, until: i64) -> bool {
        self.ticks.front().is_some_and(|first| first.tick < until)
    }

    /// Requests and errors of a key in all open ticks.
    pub fn counted(&self, index: u32) -> (i64, i64) {
        let lines = self.ticks.iter().filter_map(|open| open.lines.get(index as usize));
        lines.fold((0, 0), |(requests, errors), line| {
            (requests + i64::from(line.requests), errors + i64::from(line.errors))
        })
    }

    /// Takes a tick out.
    pub fn take(&mut self, tick: i64) -> OpenTick {
        let at = self.ticks.iter().position(|open| open.tick == tick);
        at.and_then(|at| self.ticks.remove(at)).unwrap_or_default()
    }

    /// Moves what a key counted in a tick that was taken out to a tally.
    pub fn drain(&mut self, open: &mut OpenTick, index: u32, tally: &mut Tally) {
        let line = std::mem::take(&mut open.lines[index as usize]);
        tally.requests += i64::from(line.requests);
        tally.errors += i64::from(line.errors);
        tally.latency_sum_us += line.latency_sum_us.cast_signed();
        match line.many.checked_sub(1) {
            None => line.few[..line.requests as usize].iter().for_each(|bucket| tally.histogram.add(*bucket, 1)),
            Some(place) => {
                self.many[place as usize].drain(tally);
                self.free.push(place);
            }
        }
    }

    /// Takes back a tick of which every touched key was drained.
    pub fn reuse(&mut self, open: OpenTick) {
        if self.spare.len() < SPARE_BOUND {
            self.spare.push(open.lines);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_gives_back_what_was_counted_however_it_came() {
        let latencies_us = (0..300u32).map(|n| n * n * 37 % 90_000).collect::<Vec<_>>();
        let mut ticks = OpenTicks::default();
        for tick in 0..3 {
            for (index, cut) in [0, 1, 19, 20, 21, 84, 85, 299].into_iter().enumerate() {
                for part in [&latencies_us[..cut], &latencies_us[cut..]] {
                    if !part.is_empty() {
                        ticks.count(tick, (index as u32, 8), (part, 1), || KeyId(0, index as u64));
                    }
                }
            }
            let mut open = ticks.take(tick);
            assert_eq!(open.touched.len(), 8);
            for index in 0..8 {
                let (mut tally, mut whole) = (Tally::default(), Tally::default());
                ticks.drain(&mut open, index, &mut tally);
                let errors = if index == 0 { 1 } else { 2 };
                latencies_us.iter().enumerate().for_each(|(n, us)| whole.count(*us, n < errors));
                assert_eq!(tally, whole, "key {index} in tick {tick}");
            }
            ticks.reuse(open);
        }
    }
}
