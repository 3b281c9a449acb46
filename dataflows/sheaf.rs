//! Sheaves: what a worker counted in one epoch for another, bound together by key and tick.
//!
//! # Decision
//! Requests are not exchanged one by one. A worker notes twelve bytes for each, sorts them by key when the epoch closes,
//! and sends every other worker one message; the receiver looks a key up once an epoch and not once a request. Keys are
//! numbered by each worker for itself; what crosses between workers is their identity.

use crate::operators::window::{Name, shard_of};
use crate::policy::Order;
use evenkeel_schemas::KeyId;
use serde::{Deserialize, Serialize};

/// What one worker counted in one epoch under the keys of another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sheaf {
    /// Whose keys they are.
    pub to: u64,
    /// The names of some of them.
    pub names: Vec<Name>,
    /// Orders that concern what is usual.
    pub orders: Vec<Order>,
    groups: Vec<Group>,
    latencies_us: Vec<u32>,
}

/// Requests of one key in one tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Group {
    id: KeyId,
    tick: i64,
    errors: u32,
    /// Where its latencies end among those of the sheaf.
    end: u32,
}

/// Requests of one key in one tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Contribution<'a> {
    pub id: KeyId,
    pub tick: i64,
    pub errors: u32,
    pub latencies_us: &'a [u32],
}

impl Sheaf {
    /// The contributions, a key at most once a tick.
    pub fn iter(&self) -> impl Iterator<Item = Contribution<'_>> {
        let mut start = 0;
        self.groups.iter().map(move |Group { id, tick, errors, end }| {
            let latencies_us = &self.latencies_us[start as usize..*end as usize];
            start = *end;
            Contribution { id: *id, tick: *tick, errors: *errors, latencies_us }
        })
    }
}

/// A request that was noted under a key: the key's number, its tick after the first one noted, and what it counts.
#[derive(Clone, Copy)]
struct Note {
    key: u32,
    tick: u16,
    is_error: bool,
    latency_us: u32,
}

/// What an epoch noted under one key.
#[derive(Clone, Copy)]
pub(crate) struct Pile {
    pub id: KeyId,
    /// The present when the key was last named, µs.
    pub named_us: i64,
    notes: u32,
}

/// Gathers the requests of an epoch by key.
#[derive(Default)]
pub(crate) struct Binder {
    notes: Vec<Note>,
    piles: Vec<Pile>,
    /// The keys that were noted, in the order of their first note.
    noted: Vec<u32>,
    sorted: Vec<Note>,
    names: Vec<Name>,
    orders: Vec<Order>,
}

impl Binder {
    /// Passes an order on to everybody who keeps keys.
    pub fn order(&mut self, order: Order) {
        self.orders.push(order);
    }

    /// Numbers the next key, which is named now.
    pub fn number(&mut self, id: KeyId, named_us: i64) -> u32 {
        self.piles.push(Pile { id, named_us, notes: 0 });
        (self.piles.len() - 1) as u32
    }

    /// The pile of a key.
    #[inline]
    pub fn pile(&mut self, key: u32) -> &mut Pile {
        &mut self.piles[key as usize]
    }

    /// Names a key for whoever keeps it; it has to be noted in the same epoch.
    pub fn name(&mut self, name: Name) {
        self.names.push(name);
    }

    /// Notes a request; `tick` is counted from the epoch's horizon, and less than 65,536.
    #[inline]
    pub fn note(&mut self, key: u32, tick: u16, latency_us: u32, is_error: bool) {
        let pile = &mut self.piles[key as usize];
        if pile.notes == 0 {
            self.noted.push(key);
        }
        pile.notes += 1;
        self.notes.push(Note { key, tick, is_error, latency_us });
    }

    /// Binds what the epoch noted into one sheaf for each of `peers` workers that gets something.
    pub fn bind(&mut self, horizon_tick: i64, peers: u64) -> Vec<Sheaf> {
        // Keys are spread evenly: a little more than a share each.
        let share = |all: usize| all / peers as usize * 9 / 8 + 16;
        let (groups, latencies) = (share(self.noted.len()), share(self.notes.len()));
        let sheaf = |to| Sheaf {
            to,
            names: Vec::new(),
            orders: self.orders.clone(),
            groups: Vec::with_capacity(groups),
            latencies_us: Vec::with_capacity(latencies),
        };
        let mut sheaves = (0..peers).map(sheaf).collect::<Vec<_>>();
        self.sort();
        let mut from = 0;
        for key in self.noted.drain(..) {
            let pile = &mut self.piles[key as usize];
            // After the sort, where the key's notes end.
            let to = std::mem::take(&mut pile.notes) as usize;
            let notes = &mut self.sorted[from..to];
            from = to;
            if !notes.is_sorted_by_key(|note| note.tick) {
                notes.sort_by_key(|note| note.tick);
            }
            let sheaf = &mut sheaves[(shard_of(pile.id) % peers) as usize];
            for run in notes.chunk_by(|a, b| a.tick == b.tick) {
                sheaf.latencies_us.extend(run.iter().map(|note| note.latency_us));
                let errors = run.iter().filter(|note| note.is_error).count() as u32;
                let (tick, end) = (horizon_tick + i64::from(run[0].tick), sheaf.latencies_us.len() as u32);
                sheaf.groups.push(Group { id: pile.id, tick, errors, end });
            }
        }
        for name in self.names.drain(..) {
            sheaves[(shard_of(name.id) % peers) as usize].names.push(name);
        }
        self.orders.clear();
        sheaves.retain(|sheaf| !sheaf.groups.is_empty() || !sheaf.orders.is_empty());
        sheaves
    }

    /// Sorts the notes by key, in the order in which keys were first noted (a counting sort).
    fn sort(&mut self) {
        let mut start = 0;
        for key in &self.noted {
            let pile = &mut self.piles[*key as usize];
            start += std::mem::replace(&mut pile.notes, start);
        }
        self.sorted.clear();
        self.sorted.resize(self.notes.len(), Note { key: 0, tick: 0, is_error: false, latency_us: 0 });
        for note in self.notes.drain(..) {
            let at = &mut self.piles[note.key as usize].notes;
            self.sorted[*at as usize] = note;
            *at += 1;
        }
    }

    /// Forgets every key; nothing may be noted.
    pub fn clear(&mut self) {
        debug_assert!(self.notes.is_empty(), "an epoch was bound before");
        self.piles.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sheaf_holds_each_key_once_a_tick() {
        let mut binder = Binder::default();
        let (a, b) = (KeyId(2, 7), KeyId(5, 1));
        assert_eq!((binder.number(a, 0), binder.number(b, 0)), (0, 1));
        for _ in 0..2 {
            [(1, 3, 40, true), (0, 2, 10, false), (0, 1, 20, true), (1, 3, 50, false), (0, 2, 30, true)]
                .into_iter()
                .for_each(|(key, tick, latency_us, is_error)| binder.note(key, tick, latency_us, is_error));
            let sheaves = binder.bind(100, 2);
            let said = sheaves.iter().flat_map(|sheaf| sheaf.iter().map(|it| (sheaf.to, it))).collect::<Vec<_>>();
            let it = |id, tick, errors, latencies_us| Contribution { id, tick, errors, latencies_us };
            assert_eq!(said, [(0, it(a, 101, 1, &[20])), (0, it(a, 102, 1, &[10, 30])), (1, it(b, 103, 1, &[40, 50]))]);
        }
        assert_eq!(binder.bind(0, 4), []);
    }
}
