//! What the leader and its followers say to each other on their lines. A few short messages per epoch.

use crate::pipeline::Outlook;
use evenkeel_schemas::{Cut, Epoch};
use serde::{Deserialize, Serialize};

/// From the leader.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToFollower {
    /// The ledger is taken over; the last committed epoch, if there is one. Read it, too, and say `Ready`.
    Recovered(Option<Epoch>),
    /// The open epoch closes.
    Close {
        /// The epoch.
        epoch: Epoch,
        /// The present when it closed, µs.
        now_us: i64,
        /// So many outputs wait to be committed that nobody should read on for now.
        full: bool,
    },
    /// The leader was asked to stop. Wait for it to come back.
    Bye,
}

/// From a follower.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToLeader {
    /// What is committed was read again; when the oldest record that waits came in, µs, if nothing is committed yet.
    Ready(Option<i64>),
    /// Something changed that may close the open epoch.
    Report(Report),
    /// An epoch closed here, too.
    Closed(Part, Report),
    /// The follower was asked to stop. Wait for it to come back.
    Leaving,
}

/// What a follower put into an epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The epoch.
    pub epoch: Epoch,
    /// Next offset to read, for those of its partitions that had records in it.
    pub upper: Cut,
    /// How many records.
    pub records: u64,
}

/// How a follower stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Its open epoch.
    pub epoch: Epoch,
    /// What it knows of its partitions.
    pub outlook: Outlook,
    /// Whether the open epoch holds records of it.
    pub stirred: bool,
    /// Whether the open epoch holds an error.
    pub urgent: bool,
    /// Whether the open epoch holds as many records of it as it may.
    pub full: bool,
    /// Whether records wait that the open epoch may not hold.
    pub waits: bool,
}
