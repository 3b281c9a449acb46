//! The epochs in flight on one worker: the present of each, as its binding says it (the only clock of the core), and what
//! was said in it.
//!
//! # Decision
//! Operators say outputs here, and not on streams of their own: an epoch is complete once the last operator has passed
//! it, so nobody needs to carry them there. With a stream for each kind of output, timely's bookkeeping of who may still
//! say something was half of what an epoch cost (`benches/epoch.rs`): 36 µs an empty one and 215 µs one with a burst, now
//! 13 and 106. Of the latter about a fifth is differential's (`active`), a fifth timely's, the rest counts and encodes.
//! Incidents, their groups and recovery made it 151 since. Where the rest goes: after 0.7 ms asleep it is 476 µs and after as
//! long awake 351, for caches go to others. A shard that closes a tick costs 300 µs more, which is what the slowest of them
//! meet; with 256 shards a millisecond apart, instead of 64 four apart, p99 was 0.43 ms instead of 0.65, but from burst to
//! command it gained a tenth, and a tick's own way to its command became longer. A present just before the next close, for
//! epochs that hold an error, gained as much, but then the cuts of a backlog depend on which worker read the error first.

use crate::Output;
use evenkeel_schemas::{Binding, Epoch};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// What operators know about an epoch once it closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The epoch.
    pub epoch: Epoch,
    /// The present when it closed, µs since the Unix epoch.
    pub now_us: i64,
    /// Whether it was committed before a restart: it restores the open ticks and says nothing.
    pub warm: bool,
}

/// The epochs in flight on one worker.
#[derive(Clone, Debug, Default)]
pub(crate) struct Epochs {
    moments: Rc<RefCell<BTreeMap<u64, Moment>>>,
    said: Rc<RefCell<BTreeMap<u64, Vec<Output>>>>,
}

impl Epochs {
    /// The same epochs, with nothing said in them.
    pub fn unsaid(&self) -> Self {
        Self { moments: Rc::clone(&self.moments), said: Rc::default() }
    }

    /// Enters an epoch; must precede its passing the frontier.
    pub fn enter(&self, binding: &Binding, warm: bool) {
        let moment = Moment { epoch: binding.epoch, now_us: binding.now_us, warm };
        self.moments.borrow_mut().insert(binding.epoch.0, moment);
    }

    /// The closed epochs before `frontier`, from `from` on, ascending.
    pub fn closed(&self, from: u64, frontier: u64) -> Vec<Moment> {
        if from >= frontier {
            return Vec::new();
        }
        self.moments.borrow().range(from..frontier).map(|(_, moment)| *moment).collect()
    }

    /// Says outputs of an epoch, and leaves none of them.
    pub fn say(&self, epoch: u64, outputs: &mut Vec<Output>) {
        if !outputs.is_empty() {
            self.said.borrow_mut().entry(epoch).or_default().append(outputs);
        }
    }

    /// Takes what was said in an epoch.
    pub fn take(&self, epoch: u64) -> Vec<Output> {
        self.said.borrow_mut().remove(&epoch).unwrap_or_default()
    }

    /// Forgets an epoch, the oldest there is.
    pub fn forget(&self, epoch: u64) {
        self.moments.borrow_mut().remove(&epoch);
    }
}
