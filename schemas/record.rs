//! Where records lie and which of them an epoch holds: [`Coordinates`], [`Cut`], [`Binding`].
//!
//! Terms. A *cut* names, per input partition, the next offset to read. A *binding* says: epoch `e` holds exactly the
//! records from the cut of epoch `e − 1` up to its own cut, and the present was `now_us` when it closed.
//! Invariant: cuts never go back, `now_us` never goes back, epochs count up by one.

use crate::Topic;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One partition of one input topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Partition {
    /// The input topic.
    pub topic: Topic,
    /// The partition's number.
    pub partition: u32,
}

/// Where one record lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Coordinates {
    /// The input topic.
    pub topic: Topic,
    /// The partition's number.
    pub partition: u32,
    /// The record's offset in its partition.
    pub offset: u64,
}

impl std::fmt::Display for Coordinates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/{}", self.topic.name(), self.partition, self.offset)
    }
}

/// One step of logical time; the first epoch is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

/// The next offset to read, per partition; a partition that is absent has not been read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cut(pub BTreeMap<Partition, u64>);

impl Cut {
    /// The next offset to read in `partition`; 0 if it has not been read.
    pub fn next_offset(&self, partition: Partition) -> u64 {
        self.0.get(&partition).copied().unwrap_or(0)
    }
}

/// Which offsets an epoch holds, and when it closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// The epoch.
    pub epoch: Epoch,
    /// The present when the epoch closed, µs since the Unix epoch.
    pub now_us: i64,
    /// The epoch from which raw records are read again to recover the state after this one.
    pub resume: Epoch,
    /// Next offset to read, per partition.
    pub upper: Cut,
}

/// A cut as JSON is a list of `[topic, partition, offset]`: maps with composite keys are no JSON.
impl Serialize for Cut {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|(p, offset)| (p.topic, p.partition, offset)))
    }
}

impl<'de> Deserialize<'de> for Cut {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let rows = Vec::<(Topic, u32, u64)>::deserialize(deserializer)?;
        Ok(Self(rows.into_iter().map(|(topic, partition, offset)| (Partition { topic, partition }, offset)).collect()))
    }
}
