//! The present of each epoch, as its binding says it: the only clock of the core.

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

/// The moments of the epochs in flight on one worker.
#[derive(Clone, Debug, Default)]
pub struct Calendar(Rc<RefCell<BTreeMap<u64, Moment>>>);

impl Calendar {
    /// Enters an epoch; must precede its passing the frontier.
    pub fn enter(&self, binding: &Binding, warm: bool) {
        let moment = Moment { epoch: binding.epoch, now_us: binding.now_us, warm };
        self.0.borrow_mut().insert(binding.epoch.0, moment);
    }

    /// The closed epochs before `frontier`, from `from` on, ascending.
    pub fn closed(&self, from: u64, frontier: u64) -> Vec<Moment> {
        if from >= frontier {
            return Vec::new();
        }
        self.0.borrow().range(from..frontier).map(|(_, moment)| *moment).collect()
    }

    /// Forgets epochs up to and with `epoch`.
    pub fn forget(&self, epoch: u64) {
        let mut moments = self.0.borrow_mut();
        *moments = moments.split_off(&(epoch + 1));
    }
}
