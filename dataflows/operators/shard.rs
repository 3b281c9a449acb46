//! One shard of the keys: their open ticks, their closed slots, and the totals of their windows.
//!
//! Terms. A tick is *open* until the present passes its end plus the grace; then it is *closed* into a slot, once. A
//! contribution to a closed tick is *late*: it waits until the next close and then patches every slot and total that
//! holds its tick.
//! Invariant, after every close up to tick `b`: each window's total of each key equals the sum of that key's
//! contributions with ticks in `[tail(b), b)`, where `tail` is [`tail_tick`].

use super::slot::{Ring, Slot, add};
use crate::lookup::Lookup;
use crate::tuning::{SLOT_WIDTHS_S, WINDOWS, WindowSpec};
use evenkeel_schemas::{Key, KeyId, Tally};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The first tick a window holds when `open_tick` is the first open one.
pub(crate) fn tail_tick(window: &WindowSpec, open_tick: i64) -> i64 {
    (open_tick - window.length_s).div_euclid(window.slot_s) * window.slot_s
}

fn empty_rings(open_tick: i64) -> [Ring; SLOT_WIDTHS_S.len()] {
    SLOT_WIDTHS_S.map(|width_s| Ring::new(width_s, open_tick.div_euclid(width_s)))
}

/// What is known of one key.
#[derive(Clone, Debug)]
pub(crate) struct KeyState {
    pub id: KeyId,
    pub key: Arc<Key>,
    /// The epoch in which the key was admitted.
    pub admitted: u64,
    /// The closed part of each window.
    pub totals: [Tally; WINDOWS.len()],
    /// The open ticks that counted something, ascending.
    pub open: Vec<(i64, Tally)>,
    /// The last epoch in which an error was counted.
    pub errors_in: u64,
}

/// What a close brought.
pub(crate) struct Closed {
    /// Whether a tick closed; otherwise late contributions were patched in.
    pub ticked: bool,
    /// The keys whose shortest window changed, by index, in key order.
    pub changed: Vec<u32>,
    /// Slots that were made or amended: (index in [`SLOT_WIDTHS_S`], slot number).
    pub slots: Vec<(usize, i64)>,
    /// Keys that hold nothing any more.
    pub idle: Vec<u32>,
}

/// One shard.
#[derive(Debug)]
pub(crate) struct Shard {
    pub number: u32,
    keys: Vec<Option<KeyState>>,
    by_id: Lookup<KeyId, u32>,
    free: Vec<u32>,
    /// Which keys counted something in which open tick.
    touched: BTreeMap<i64, BTreeSet<(KeyId, u32)>>,
    late: BTreeMap<i64, BTreeMap<KeyId, (u32, Tally)>>,
    rings: [Ring; SLOT_WIDTHS_S.len()],
    open_tick: i64,
    /// The last epoch before a restart in which ticks closed.
    pub closed_in: u64,
}

impl Shard {
    /// An empty shard whose first open tick is `open_tick` since the epoch `closed_in`.
    pub fn new(number: u32, open_tick: i64, closed_in: u64) -> Self {
        Self {
            number,
            keys: Vec::new(),
            by_id: Lookup::default(),
            free: Vec::new(),
            touched: BTreeMap::new(),
            late: BTreeMap::new(),
            rings: empty_rings(open_tick),
            open_tick,
            closed_in,
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

    pub fn ring(&self, width: usize) -> &Ring {
        &self.rings[width]
    }

    /// Takes in a key.
    pub fn admit(&mut self, id: KeyId, key: Arc<Key>, epoch: u64) -> u32 {
        let state = KeyState { id, key, admitted: epoch, totals: Default::default(), open: Vec::new(), errors_in: 0 };
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

    /// The tally of a key in a tick, open or late, to count into.
    #[inline]
    pub fn tally_mut(&mut self, index: u32, tick: i64) -> &mut Tally {
        let state = self.keys[index as usize].as_mut().expect("indices are handed out for keys that are held");
        if tick < self.open_tick {
            let late = self.late.entry(tick).or_default();
            return &mut late.entry(state.id).or_insert_with(|| (index, Tally::default())).1;
        }
        // Two or three ticks are open at a time, and most requests count into the last.
        let at = match state.open.iter().rposition(|(open, _)| *open <= tick) {
            Some(at) if state.open[at].0 == tick => at,
            before => {
                let at = before.map_or(0, |at| at + 1);
                state.open.insert(at, (tick, Tally::default()));
                self.touched.entry(tick).or_default().insert((state.id, index));
                at
            }
        };
        &mut state.open[at].1
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
        self.touched.range(..until).next().is_none() && self.rings.iter().all(Ring::is_empty)
    }

    fn skip_to(&mut self, open_tick: i64) {
        self.open_tick = open_tick;
        self.rings = empty_rings(open_tick);
    }

    fn close_tick(&mut self) -> Closed {
        let tick = self.open_tick;
        let mut closed = Closed { ticked: true, changed: Vec::new(), slots: Vec::new(), idle: Vec::new() };
        let mut changed = self.touched.remove(&tick).unwrap_or_default();
        let mut second = Slot::default();
        for (id, index) in &changed {
            let state = self.keys[*index as usize].as_mut().expect("touched keys are held");
            let (_, tally) = state.open.remove(0);
            second.push(*id, *index, &tally);
            state.totals.iter_mut().for_each(|total| total.add(&tally, 1));
        }
        self.rings[0].push(second);
        self.open_tick = tick + 1;
        closed.slots.push((0, tick));
        self.close_wider(&mut closed);
        self.expire(&mut changed, &mut closed);
        closed.changed = changed.into_iter().map(|(_, index)| index).collect();
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

    /// Takes from each window's total what left it when the open ticks moved on by one.
    fn expire(&mut self, changed: &mut BTreeSet<(KeyId, u32)>, closed: &mut Closed) {
        for (window, spec) in WINDOWS.iter().enumerate() {
            let (from, to) = (tail_tick(spec, self.open_tick - 1), tail_tick(spec, self.open_tick));
            if from == to {
                continue;
            }
            let width =
                SLOT_WIDTHS_S.iter().position(|width| *width == spec.slot_s).expect("WINDOWS use SLOT_WIDTHS_S");
            let Some(slot) = self.rings[width].get(from.div_euclid(spec.slot_s)) else { continue };
            for (id, index, bytes) in slot.iter() {
                let state = self.keys[index as usize].as_mut().expect("slots hold only keys that are held");
                add(&mut state.totals[window], bytes, -1);
                if window == 0 {
                    changed.insert((id, index));
                }
                if window + 1 == WINDOWS.len() && state.totals[window].is_zero() && state.open.is_empty() {
                    closed.idle.push(index);
                }
            }
            if window + 1 == WINDOWS.len() {
                // The longest window has let go of it, so nobody asks for it again.
                *self.rings[width].get_mut(from.div_euclid(spec.slot_s)).expect("just seen") = Slot::default();
            }
        }
    }

    /// Adds late contributions to every slot and total that holds their tick.
    fn patch_late(&mut self) -> Closed {
        let (mut amended, mut idle) = (BTreeSet::new(), BTreeSet::new());
        for (tick, patches) in std::mem::take(&mut self.late) {
            for (width, width_s) in SLOT_WIDTHS_S.into_iter().enumerate() {
                let number = tick.div_euclid(width_s);
                if let Some(slot) = self.rings[width].get_mut(number) {
                    *slot = slot.patched(&patches);
                    amended.insert((width, number));
                }
            }
            for (window, spec) in WINDOWS.iter().enumerate() {
                if tick >= tail_tick(spec, self.open_tick) {
                    for (index, tally) in patches.values() {
                        self.key_mut(*index).totals[window].add(tally, 1);
                    }
                }
            }
            // The present may have leapt while they waited, past what any window holds.
            idle.extend(patches.iter().filter(|(_, (index, _))| self.is_idle(*index)).map(|(id, (i, _))| (*id, *i)));
        }
        let idle = idle.into_iter().map(|(_, index)| index).collect();
        Closed { ticked: false, changed: Vec::new(), slots: amended.into_iter().collect(), idle }
    }

    /// Whether a key holds nothing any more.
    fn is_idle(&self, index: u32) -> bool {
        let state = self.key(index);
        state.totals[WINDOWS.len() - 1].is_zero() && state.open.is_empty()
    }

    /// Puts a closed slot back after a restart, and the sums of all of them into the windows' totals.
    pub fn restore(&mut self, slots: &BTreeMap<(usize, i64), Slot>) {
        for (ring, width_s) in self.rings.iter_mut().zip(SLOT_WIDTHS_S) {
            *ring = Ring::new(width_s, self.open_tick.div_euclid(width_s) - Ring::held(width_s));
        }
        for (width, width_s) in SLOT_WIDTHS_S.into_iter().enumerate() {
            let next = self.open_tick.div_euclid(width_s);
            (next - Ring::held(width_s)..next).for_each(|number| {
                self.rings[width].push(slots.get(&(width, number)).cloned().unwrap_or_default());
            });
        }
        for (window, spec) in WINDOWS.iter().enumerate() {
            let mut tick = tail_tick(spec, self.open_tick);
            while tick < self.open_tick {
                tick += self.restore_total(window, tick, spec.slot_s);
            }
        }
    }

    /// Adds the widest slot that starts at `tick` to a window's totals; returns its width in seconds.
    fn restore_total(&mut self, window: usize, tick: i64, most_s: i64) -> i64 {
        let fits = |width_s: i64| width_s <= most_s && tick % width_s == 0 && tick + width_s <= self.open_tick;
        let width = SLOT_WIDTHS_S.iter().rposition(|width_s| fits(*width_s)).expect("one second always fits");
        if let Some(slot) = self.rings[width].get(tick.div_euclid(SLOT_WIDTHS_S[width])) {
            for (_, index, bytes) in slot.iter() {
                let state = self.keys[index as usize].as_mut().expect("slots hold only keys that are held");
                add(&mut state.totals[window], bytes, 1);
            }
        }
        SLOT_WIDTHS_S[width]
    }
}
