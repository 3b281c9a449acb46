//! What is known of one key, but for what it counted in open ticks.

use super::span::{LONGEST, RECENT, tail_tick};
use crate::tuning::WINDOWS;
use evenkeel_schemas::{Key, KeyId, Statistics, Tally};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What was usual when something began to stand: that must not become the usual by lasting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Frozen {
    pub usual: Statistics,
    /// When it is given up, and the new level taken for the usual one, µs.
    pub until_us: i64,
}

/// What is known of one key.
#[derive(Clone, Debug)]
pub(crate) struct KeyState {
    pub id: KeyId,
    pub key: Arc<Key>,
    /// The epoch in which the key was admitted.
    pub admitted: u64,
    /// The first tick after that.
    pub since_tick: i64,
    /// What each window keeps.
    pub totals: [Tally; WINDOWS.len()],
    /// What the longest window keeps, in numbers; to be made anew if `is_stale`.
    pub usual: Statistics,
    pub is_stale: bool,
    /// What it is compared with instead.
    pub frozen: Option<Frozen>,
    /// The last epoch in which an error was counted, plus one.
    pub errors_in: u64,
    /// What it shows goes to the detectors, whatever that is: they keep something of it.
    pub watched: bool,
    /// The newest minute in which something was counted that is no longer open.
    pub newest_minute: i64,
}

impl KeyState {
    /// That of a key admitted in `epoch`, before the tick `since_tick`.
    pub fn new((id, key): (KeyId, Arc<Key>), (epoch, since_tick): (u64, i64)) -> Self {
        Self {
            id,
            key,
            admitted: epoch,
            since_tick,
            totals: Default::default(),
            usual: Statistics::default(),
            is_stale: false,
            frozen: None,
            errors_in: 0,
            watched: false,
            newest_minute: i64::MIN / 60,
        }
    }

    /// The shortest window.
    pub fn recent(&self) -> &Tally {
        &self.totals[RECENT]
    }

    /// Whether there are surely fewer than `enough` requests from before the last minute: what the longest window does
    /// not keep of them, the one before it does.
    pub fn is_new(&self, enough: i64) -> bool {
        self.totals[LONGEST].requests + self.totals[LONGEST - 1].requests < enough
    }

    /// Whether no window holds anything any more when `open_tick` is the first open one, in which it counted `open`.
    pub fn is_idle(&self, open_tick: i64, open: (i64, i64)) -> bool {
        self.newest_minute * 60 < tail_tick(LONGEST, open_tick) && open.0 == 0
    }
}
