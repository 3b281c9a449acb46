//! Closed slots of one shard: one encoded tally per key that counted something, and rings of such slots.
//!
//! # Decision
//! A slot holds its tallies in the bytes in which it is committed, one run for all keys: nothing is encoded twice,
//! a restart copies bytes, and a key costs two bytes a bucket instead of sixteen.

use super::mend::TOLD_S;
use super::span::{LONGEST, RECENT, TRICKLE};
use crate::Output;
use crate::state::record;
use crate::tuning::WINDOWS;
use evenkeel_schemas::{KeyId, Tally};
use std::collections::{BTreeMap, VecDeque};

/// The tallies of one shard in one slot, by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Slot {
    /// Key, its index in the shard, and where its bytes end.
    entries: Vec<(KeyId, u32, u32)>,
    bytes: Vec<u8>,
}

impl Slot {
    /// Appends a key's tally; keys must ascend.
    pub fn push(&mut self, id: KeyId, index: u32, tally: &Tally) {
        debug_assert!(self.entries.last().is_none_or(|(last, _, _)| *last < id), "keys ascend");
        tally.encode(&mut self.bytes);
        self.entries.push((id, index, self.bytes.len() as u32));
    }

    /// Key, index and bytes of each tally, by key.
    pub fn iter(&self) -> impl Iterator<Item = (KeyId, u32, &[u8])> {
        let mut start = 0;
        self.entries.iter().map(move |(id, index, end)| {
            let bytes = &self.bytes[start as usize..*end as usize];
            start = *end;
            (*id, *index, bytes)
        })
    }

    /// The bytes of a key's tally.
    pub fn get(&self, id: KeyId) -> Option<&[u8]> {
        let at = self.entries.binary_search_by_key(&id, |(id, _, _)| *id).ok()?;
        let start = at.checked_sub(1).map_or(0, |before| self.entries[before].2);
        Some(&self.bytes[start as usize..self.entries[at].2 as usize])
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// One slot with the sums of several.
    pub fn merged<'a>(slots: impl Iterator<Item = &'a Slot>) -> Self {
        let mut ahead = slots.map(|slot| slot.iter().peekable()).collect::<Vec<_>>();
        let (mut merged, mut sum) = (Self::default(), Tally::default());
        loop {
            let next = ahead.iter_mut().filter_map(|slot| slot.peek().map(|(id, index, _)| (*id, *index))).min();
            let Some((id, index)) = next else { return merged };
            sum.clear();
            for slot in &mut ahead {
                if let Some((_, _, bytes)) = slot.next_if(|(other, ..)| *other == id) {
                    add(&mut sum, bytes, 1);
                }
            }
            if !sum.is_zero() {
                merged.push(id, index, &sum);
            }
        }
    }

    /// This slot with `patches` added.
    pub fn patched(&self, patches: &BTreeMap<KeyId, (u32, Tally)>) -> Self {
        let mut sums = patches.clone();
        for (id, index, bytes) in self.iter() {
            add(&mut sums.entry(id).or_insert_with(|| (index, Tally::default())).1, bytes, 1);
        }
        let mut slot = Self::default();
        sums.iter().filter(|(_, (_, tally))| !tally.is_zero()).for_each(|(id, (i, tally))| slot.push(*id, *i, tally));
        slot
    }
}

/// Adds an encoded tally `sign` times.
pub(crate) fn add(sum: &mut Tally, mut bytes: &[u8], sign: i64) {
    sum.add_encoded(&mut bytes, sign).expect("slots hold what Tally::encode wrote");
}

/// The newest closed slots of one width, contiguous; empty ones included.
#[derive(Clone, Debug)]
pub(crate) struct Ring {
    width_s: i64,
    /// The number of the first slot held: its start divided by the width.
    first: i64,
    slots: VecDeque<Slot>,
}

impl Ring {
    /// How many slots of a width are held, in memory and in committed state: the longest window made of them, as far back as
    /// ticks are mended if they are judged by it, the slot that is leaving it, and the one in which it begins.
    pub fn held(width_s: i64) -> i64 {
        let windows = WINDOWS.iter().enumerate().filter(|(_, window)| window.slot_s == width_s);
        let mended_s = |window: usize| if [RECENT, TRICKLE, LONGEST].contains(&window) { TOLD_S } else { 0 };
        let slots = windows.map(|(at, window)| (window.length_s + mended_s(at) + width_s - 1) / width_s);
        slots.max().unwrap_or(0) + 2
    }

    /// A ring of empty slots up to `next`, which is the next one to be pushed.
    pub fn new(width_s: i64, next: i64) -> Self {
        let held = Self::held(width_s);
        Self { width_s, first: next.saturating_sub(held), slots: (0..held).map(|_| Slot::default()).collect() }
    }

    /// Takes the next slot.
    pub fn push(&mut self, mut slot: Slot) {
        slot.entries.shrink_to_fit();
        slot.bytes.shrink_to_fit();
        self.slots.push_back(slot);
        if self.slots.len() as i64 > Self::held(self.width_s) {
            self.slots.pop_front();
            self.first += 1;
        }
    }

    pub fn get(&self, slot: i64) -> Option<&Slot> {
        usize::try_from(slot - self.first).ok().and_then(|at| self.slots.get(at))
    }

    pub fn get_mut(&mut self, slot: i64) -> Option<&mut Slot> {
        usize::try_from(slot - self.first).ok().and_then(|at| self.slots.get_mut(at))
    }

    /// Whether no slot holds anything.
    pub fn is_empty(&self) -> bool {
        self.slots.iter().all(Slot::is_empty)
    }

    /// The slot as a state record: its number (i64, little-endian), then per key 16 bytes of identity (big-endian), the
    /// length of the tally (u32, little-endian) and the tally.
    pub fn record(&self, shard: u32, number: i64) -> Output {
        let slot = self.get(number).expect("only slots that are held are recorded");
        let mut value = number.to_le_bytes().to_vec();
        for (KeyId(high, low), _, bytes) in slot.iter() {
            value.extend(high.to_be_bytes());
            value.extend(low.to_be_bytes());
            value.extend((bytes.len() as u32).to_le_bytes());
            value.extend(bytes);
        }
        record(format!("slot/{}/{shard}/{}", self.width_s, number.rem_euclid(Self::held(self.width_s))), Some(value))
    }
}

/// The tallies of a slot's record, encoded, by key.
type Tallies<'a> = Vec<(KeyId, &'a [u8])>;

/// Reads a slot's record back: its number and its tallies; `None` if the bytes are not one whole slot.
pub(crate) fn parse_record(mut bytes: &[u8]) -> Option<(i64, Tallies<'_>)> {
    let number = i64::from_le_bytes(take(&mut bytes)?);
    let mut tallies = Vec::new();
    while !bytes.is_empty() {
        let id = KeyId(u64::from_be_bytes(take(&mut bytes)?), u64::from_be_bytes(take(&mut bytes)?));
        let length = u32::from_le_bytes(take(&mut bytes)?) as usize;
        let (tally, rest) = bytes.split_at_checked(length)?;
        tallies.push((id, tally));
        bytes = rest;
    }
    Some((number, tallies))
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*head)
}
