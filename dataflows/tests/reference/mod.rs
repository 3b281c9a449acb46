//! Rolling windows in ten lines of differential dataflow: the tally is the *difference type*, `+tally` when it is seen,
//! `−tally` when its slot leaves the window. Slow and obviously right: what the fast form is held to.
#![allow(clippy::unwrap_used, reason = "tests")]

use differential_dataflow::AsCollection;
use differential_dataflow::difference::{Abelian, IsZero, Monoid, Semigroup};
use differential_dataflow::operators::CountTotal;
use evenkeel_schemas::{Statistics, Tally};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::mpsc::channel;
use timely::dataflow::operators::vec::ToStream;
use timely::dataflow::operators::{Capture, capture::Extract};

/// A tally over some span of time, which may be negative: what a collection changes by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signed(pub Tally);

/// What is counted together: window and key.
pub type Group = (usize, String);

/// A tally that is in a window of a key from one tick on until another.
pub struct Stay {
    pub group: Group,
    /// The tick at whose close it is first seen.
    pub enters: u64,
    /// The tick at whose close it is no longer seen.
    pub leaves: u64,
    pub tally: Tally,
}

/// What the total of every group says after every tick at which it changed.
pub fn totals(stays: Vec<Stay>) -> BTreeMap<Group, BTreeMap<u64, Statistics>> {
    let (sender, receiver) = channel();
    timely::execute_directly(move |worker| {
        worker.dataflow::<u64, _, _>(|scope| {
            let signed = |tally: &Tally, sign| Signed::default().plus(tally, sign);
            let stays = stays.into_iter().flat_map(|Stay { group, enters, leaves, tally }| {
                [(group.clone(), enters, signed(&tally, 1)), (group, leaves, signed(&tally, -1))]
            });
            let changes = stays.collect::<Vec<_>>().to_stream(scope).container::<Vec<_>>().as_collection();
            let totals = changes.count_total().map(|(group, Signed(total))| (group, Statistics::from(&total)));
            totals.inner.capture_into(sender);
        });
    });
    let mut totals = BTreeMap::<Group, BTreeMap<u64, Statistics>>::new();
    let mut updates = receiver.extract().into_iter().flat_map(|(_, updates)| updates).collect::<Vec<_>>();
    // At one time the old total is taken back before the new one is said.
    updates.sort_by_key(|(_, time, sign)| (*time, *sign));
    for ((group, total), time, sign) in updates {
        let total = if sign > 0 { total } else { Statistics::default() };
        totals.entry(group).or_default().insert(time, total);
    }
    totals
}

impl Signed {
    fn plus(mut self, tally: &Tally, sign: i64) -> Self {
        self.0.add(tally, sign);
        self
    }
}

impl IsZero for Signed {
    fn is_zero(&self) -> bool {
        self.0.is_zero()
    }
}

impl Semigroup for Signed {
    fn plus_equals(&mut self, other: &Self) {
        self.0.add(&other.0, 1);
    }
}

impl Monoid for Signed {
    fn zero() -> Self {
        Self::default()
    }
}

impl Abelian for Signed {
    fn negate(&mut self) {
        *self = Self::default().plus(&self.0, -1);
    }
}

impl Ord for Signed {
    fn cmp(&self, other: &Self) -> Ordering {
        let counts = |tally: &Tally| (tally.requests, tally.errors, tally.latency_sum_us);
        let histograms = || self.0.histogram.iter().cmp(other.0.histogram.iter());
        counts(&self.0).cmp(&counts(&other.0)).then_with(histograms)
    }
}

impl PartialOrd for Signed {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Serialize for Signed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut bytes = Vec::new();
        self.0.encode(&mut bytes);
        bytes.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Signed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = Vec::<u8>::deserialize(deserializer)?;
        let mut signed = Self::default();
        signed.0.add_encoded(&mut bytes.as_slice(), 1).unwrap();
        Ok(signed)
    }
}
