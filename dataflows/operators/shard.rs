//! One shard of the keys: their open ticks, their closed slots, and the totals of their windows.
//!
//! Terms. A tick is *open* until the present passes its end plus the grace; then it is *closed* into a slot, once. A
//! contribution to a closed tick is *late*: it waits until the next close and then patches every slot and total that
//! holds its tick. A window *keeps* the total of the ticks in [`kept`]; what else it holds is added up from slots when
//! somebody asks.
//! Invariant, after every close up to tick `b`: each total of each key equals the sum of that key's contributions with
//! ticks in `kept(window, b)`.
//!
//! # Decision
//! Only the shortest window, and the shortest one of which baselines speak, follow every tick. The others keep whole
//! slots, ten seconds behind or more, so most of their additions are of ten ticks or sixty at once; a baseline, said every
//! few seconds, pays for the rest. Measured: the close of a tick costs a quarter of what it does with four totals that
//! follow it.

use super::key_state::KeyState;
use super::mend::MENDED_S;
use super::open_ticks::OpenTicks;
use super::season::{MAX_KEYS_PER_SHARD, SLOT_S, Season};
use super::slot::{Ring, Slot, add};
use super::span::{LONGEST, RECENT, cover, kept};
use crate::lookup::Lookup;
use crate::sheaf::Contribution;
use crate::tuning::{SLOT_WIDTHS_S, WINDOWS};
use evenkeel_schemas::{Key, KeyId, Statistics, Tally};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

fn empty_rings(open_tick: i64) -> [Ring; SLOT_WIDTHS_S.len()] {
    SLOT_WIDTHS_S.map(|width_s| Ring::new(width_s, open_tick.div_euclid(width_s)))
}

/// What a close brought.
#[derive(Default)]
pub(crate) struct Closed {
    /// Whether a tick closed; otherwise late contributions were patched in.
    pub ticked: bool,
    /// The keys whose shortest window changed, by index, in key order.
    pub changed: Vec<u32>,
    /// Slots that were made or amended: (index in [`SLOT_WIDTHS_S`], slot number).
    pub slots: Vec<(usize, i64)>,
    /// The keys that late contributions were patched in of lately, in key order.
    pub mended: Vec<u32>,
    /// Keys that hold nothing any more.
    pub idle: Vec<u32>,
    /// Slots of the season that were made or amended.
    pub seasons: Vec<i64>,
}

/// One shard.
#[derive(Debug)]
pub(crate) struct Shard {
    pub number: u32,
    keys: Vec<Option<KeyState>>,
    by_id: Lookup<KeyId, u32>,
    free: Vec<u32>,
    open: OpenTicks,
    late: BTreeMap<i64, BTreeMap<KeyId, (u32, Tally)>>,
    rings: [Ring; SLOT_WIDTHS_S.len()],
    open_tick: i64,
    /// The last epoch before a restart in which ticks closed.
    pub closed_in: u64,
    /// The shortest window of which baselines speak.
    said: usize,
    /// Half hours of the last two weeks.
    pub season: Season,
    /// Memory that is used again.
    scratch: Tally,
}

impl Shard {
    /// An empty shard whose first open tick is `open_tick` since the epoch `closed_in`; baselines speak of the window `said`
    /// and longer ones.
    pub fn new(number: u32, open_tick: i64, closed_in: u64, said: usize) -> Self {
        Self {
            number,
            keys: Vec::new(),
            by_id: Lookup::default(),
            free: Vec::new(),
            open: OpenTicks::default(),
            late: BTreeMap::new(),
            rings: empty_rings(open_tick),
            open_tick,
            closed_in,
            said,
            season: Season::default(),
            scratch: Tally::default(),
        }
    }

    pub fn open_tick(&self) -> i64 {
        self.open_tick
    }

    #[inline]
    pub fn index_of(&self, id: KeyId) -> Option<u32> {
        self.by_id.get(&id).copied()
    }

    /// Number of keys held.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    pub fn key(&self, index: u32) -> &KeyState {
        self.keys[index as usize].as_ref().expect("indices are handed out for keys that are held")
    }

    pub fn key_mut(&mut self, index: u32) -> &mut KeyState {
        self.keys[index as usize].as_mut().expect("indices are handed out for keys that are held")
    }

    /// The keys held, by index.
    pub fn indices(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.keys.len() as u32).filter(|index| self.keys[*index as usize].is_some())
    }

    /// The keys that have a season, by identity.
    pub fn seasonal(&self) -> Vec<KeyId> {
        let mut keys = self.keys.iter().flatten().map(|state| state.id).collect::<Vec<_>>();
        keys.sort_unstable();
        keys.truncate(MAX_KEYS_PER_SHARD);
        keys
    }

    /// What keys are usually like is to be found out anew.
    pub fn doubt(&mut self) {
        self.keys.iter_mut().flatten().for_each(|state| (state.is_stale, state.frozen) = (true, None));
    }

    pub fn ring(&self, width: usize) -> &Ring {
        &self.rings[width]
    }

    /// Takes in a key.
    pub fn admit(&mut self, id: KeyId, key: Arc<Key>, (epoch, since_tick): (u64, i64)) -> u32 {
        let state = KeyState::new((id, key), (epoch, since_tick));
        let index = self.free.pop().unwrap_or(self.keys.len() as u32);
        if index as usize == self.keys.len() {
            self.keys.push(None);
        }
        self.keys[index as usize] = Some(state);
        self.by_id.insert(id, index);
        index
    }

    /// Forgets a key that holds nothing.
    pub fn evict(&mut self, index: u32) -> KeyState {
        let state = self.keys[index as usize].take().expect("only held keys are evicted");
        self.by_id.remove(&state.id);
        self.free.push(index);
        state
    }

    /// Counts requests of a key in a tick, open or late.
    #[inline]
    pub fn count(&mut self, index: u32, contribution: Contribution<'_>) {
        let Contribution { tick, errors, latencies_us, .. } = contribution;
        if tick < self.open_tick {
            return self.count_late(index, contribution);
        }
        let id = || self.keys[index as usize].as_ref().expect("indices are handed out for keys that are held").id;
        self.open.count(tick, (index, self.keys.len()), (latencies_us, errors), id);
    }

    #[cold]
    fn count_late(&mut self, index: u32, contribution: Contribution<'_>) {
        let Contribution { tick, errors, latencies_us, .. } = contribution;
        let state = self.keys[index as usize].as_mut().expect("indices are handed out for keys that are held");
        state.newest_minute = state.newest_minute.max(tick.div_euclid(60));
        let late = self.late.entry(tick).or_default();
        let (_, tally) = late.entry(state.id).or_insert_with(|| (index, Tally::default()));
        latencies_us.iter().enumerate().for_each(|(n, latency_us)| tally.count(*latency_us, n < errors as usize));
    }

    /// Requests and errors of a key in its open ticks.
    pub fn open_counts(&self, index: u32) -> (i64, i64) {
        self.open.counted(index)
    }

    /// Closes every tick before `until`, calling `each` after each one with the tick that closed.
    pub fn close(&mut self, until: i64, mut each: impl FnMut(&mut Self, i64, Closed)) {
        if self.open_tick >= until {
            return;
        }
        let patched = self.patch_late();
        each(self, self.open_tick - 1, patched);
        while self.open_tick < until && !self.nothing_to_do(until) {
            let tick = self.open_tick;
            let closed = self.close_tick();
            each(self, tick, closed);
        }
        if self.open_tick < until {
            self.skip_to(until);
        }
    }

    /// Whether no tick before `until` can change anything: nothing open, nothing held.
    fn nothing_to_do(&self, until: i64) -> bool {
        !self.open.any_before(until) && self.rings.iter().all(Ring::is_empty)
    }

    fn skip_to(&mut self, open_tick: i64) {
        self.open_tick = open_tick;
        self.rings = empty_rings(open_tick);
    }

    fn close_tick(&mut self) -> Closed {
        let tick = self.open_tick;
        let mut closed = Closed { ticked: true, ..Closed::default() };
        let mut open = self.open.take(tick);
        let mut touched = std::mem::take(&mut open.touched);
        touched.sort_unstable();
        let mut second = Slot::default();
        for (id, index) in &touched {
            let state = self.keys[*index as usize].as_mut().expect("touched keys are held");
            state.newest_minute = state.newest_minute.max(tick.div_euclid(60));
            self.scratch.clear();
            self.open.drain(&mut open, *index, &mut self.scratch);
            second.push(*id, *index, &self.scratch);
        }
        self.open.reuse(open);
        self.rings[0].push(second);
        self.open_tick = tick + 1;
        closed.slots.push((0, tick));
        self.close_wider(&mut closed);
        self.move_on(touched, &mut closed);
        if self.open_tick.rem_euclid(SLOT_S) == 0 {
            closed.seasons = self.make_season(std::iter::once(tick));
        }
        closed.slots.retain(|(width, slot)| self.rings[*width].get(*slot).is_some_and(|slot| !slot.is_empty()));
        closed
    }

    /// Makes the wider slots that end where the open ticks begin.
    fn close_wider(&mut self, closed: &mut Closed) {
        for width in 1..SLOT_WIDTHS_S.len() {
            let (narrow_s, wide_s) = (SLOT_WIDTHS_S[width - 1], SLOT_WIDTHS_S[width]);
            if self.open_tick.rem_euclid(wide_s) != 0 {
                return;
            }
            let parts = wide_s / narrow_s;
            let number = self.open_tick / wide_s - 1;
            let narrow = (number * parts..(number + 1) * parts).filter_map(|slot| self.rings[width - 1].get(slot));
            let slot = Slot::merged(narrow);
            self.rings[width].push(slot);
            closed.slots.push((width, number));
        }
    }

    /// Brings every total from the last open tick to the present one.
    fn move_on(&mut self, mut changed: Vec<(KeyId, u32)>, closed: &mut Closed) {
        for window in 0..WINDOWS.len() {
            let (old, new) = (self.kept(window, self.open_tick - 1), self.kept(window, self.open_tick));
            if new.is_empty() {
                continue;
            }
            for slot in cover(old.end..new.end) {
                self.add_slot(window, slot, 1);
            }
            for (width, number) in cover(old.start..new.start) {
                self.add_slot(window, (width, number), -1);
                if window == RECENT {
                    changed.extend(self.entries((width, number)));
                }
                if window == LONGEST {
                    let gone = self.entries((width, number)).map(|(_, index)| index);
                    closed.idle = gone.filter(|index| self.is_idle(*index)).collect();
                    // Of the one before, which it let go of earlier, not even a tick that is mended knows.
                    if let Some(slot) = self.rings[width].get_mut(number - 1) {
                        *slot = Slot::default();
                    }
                }
            }
        }
        changed.sort_unstable();
        changed.dedup();
        closed.changed = changed.into_iter().map(|(_, index)| index).collect();
    }

    fn is_idle(&self, index: u32) -> bool {
        self.key(index).is_idle(self.open_tick, self.open.counted(index))
    }

    /// The keys that counted something in a slot, by index.
    pub fn entries(&self, (width, number): (usize, i64)) -> impl Iterator<Item = (KeyId, u32)> {
        self.rings[width].get(number).into_iter().flat_map(Slot::iter).map(|(id, index, _)| (id, index))
    }

    /// Adds a slot to what a window keeps, `sign` times.
    fn add_slot(&mut self, window: usize, (width, number): (usize, i64), sign: i64) {
        for (_, index, bytes) in self.rings[width].get(number).into_iter().flat_map(Slot::iter) {
            let state = self.keys[index as usize].as_mut().expect("slots hold only keys that are held");
            add(&mut state.totals[window], bytes, sign);
            state.is_stale |= window == LONGEST;
        }
    }

    /// Adds late contributions to every slot and total that holds their tick.
    fn patch_late(&mut self) -> Closed {
        let (mut amended, mut idle, late) = (BTreeSet::new(), BTreeSet::new(), std::mem::take(&mut self.late));
        let mut mended = BTreeMap::new();
        for (tick, patches) in &late {
            let tick = *tick;
            for (width, width_s) in SLOT_WIDTHS_S.into_iter().enumerate() {
                let number = tick.div_euclid(width_s);
                if let Some(slot) = self.rings[width].get_mut(number) {
                    *slot = slot.patched(patches);
                    amended.insert((width, number));
                }
            }
            for (id, (index, tally)) in patches {
                let (open_tick, said, open) = (self.open_tick, self.said, self.open.counted(*index));
                let state = self.key_mut(*index);
                for window in (0..WINDOWS.len()).filter(|window| kept(*window, open_tick, said).contains(&tick)) {
                    state.totals[window].add(tally, 1);
                }
                state.is_stale = true;
                if open_tick - tick <= MENDED_S {
                    mended.insert(*id, *index);
                }
                // The present may have leapt while they waited, past what any window holds.
                idle.extend(state.is_idle(open_tick, open).then_some((*id, *index)));
            }
        }
        let idle = idle.into_iter().map(|(_, index)| index).collect();
        let seasons = self.make_season(late.into_keys());
        let (mended, slots) = (mended.into_values().collect(), amended.into_iter().collect());
        Closed { slots, mended, idle, seasons, ..Closed::default() }
    }

    /// Adds what the slots of `ticks` hold of a key to a tally.
    pub fn add_ticks(&self, tally: &mut Tally, id: KeyId, ticks: Range<i64>) {
        for (width, number) in cover(ticks) {
            if let Some(bytes) = self.rings[width].get(number).and_then(|slot| slot.get(id)) {
                add(tally, bytes, 1);
            }
        }
    }

    pub fn kept(&self, window: usize, open_tick: i64) -> Range<i64> {
        kept(window, open_tick, self.said)
    }

    /// What a window of a key shows; `scratch` is memory.
    pub fn statistics(&self, window: usize, state: &KeyState, scratch: &mut Tally) -> Statistics {
        let missing = self.kept(window, self.open_tick).end..self.open_tick;
        if missing.is_empty() {
            return Statistics::from(&state.totals[window]);
        }
        scratch.clear();
        scratch.add(&state.totals[window], 1);
        self.add_ticks(scratch, state.id, missing);
        Statistics::from(&*scratch)
    }

    /// What a key counted in a closed tick, written over `tally`.
    pub fn tick(&self, tick: i64, state: &KeyState, tally: &mut Tally) {
        tally.clear();
        self.add_ticks(tally, state.id, tick..tick + 1);
    }

    /// Puts the closed slots back after a restart, and their sums into what the windows keep.
    pub fn restore(&mut self, slots: &BTreeMap<(usize, i64), Slot>) {
        for (width, width_s) in SLOT_WIDTHS_S.into_iter().enumerate() {
            let (held, next) = (Ring::held(width_s), self.open_tick.div_euclid(width_s));
            self.rings[width] = Ring::new(width_s, next - held);
            for number in next - held..next {
                let slot = slots.get(&(width, number)).cloned().unwrap_or_default();
                for (_, index, _) in slot.iter() {
                    let state = self.key_mut(index);
                    state.newest_minute = state.newest_minute.max((number * width_s).div_euclid(60));
                }
                self.rings[width].push(slot);
            }
        }
        for window in 0..WINDOWS.len() {
            for slot in cover(self.kept(window, self.open_tick)) {
                self.add_slot(window, slot, 1);
            }
        }
    }
}
