//! Complete epochs that wait to be committed.
//!
//! # Decision
//! A commit costs brokers and disks the same however little is in it, and whoever decides something while one is on waits
//! for its end. So epochs in which something was decided are committed at once, and those that only count wait up to
//! [`Pace::linger`] for company. Measured with a broker on the same two cores, see `benches/latency.rs`.

use super::Pace;
use evenkeel_dataflows::Changes;
use evenkeel_schemas::Dataset;
use std::time::Instant;

/// Complete epochs, in order.
#[derive(Debug, Default)]
pub(super) struct Ready {
    epochs: Vec<Changes>,
    outputs: usize,
    /// Whether something was decided in them.
    decided: bool,
    /// Since when the first of them waits.
    since: Option<Instant>,
}

impl Ready {
    pub fn is_empty(&self) -> bool {
        self.epochs.is_empty()
    }

    /// So many outputs wait; an epoch counts as one, too.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    pub fn add(&mut self, changes: Changes) {
        let decides = |dataset| matches!(dataset, Dataset::Verdicts | Dataset::Incidents | Dataset::Commands);
        self.outputs += changes.outputs.len() + 1;
        self.decided |= changes.outputs.iter().any(|output| decides(output.dataset));
        self.since.get_or_insert_with(Instant::now);
        self.epochs.push(changes);
    }

    /// Has all of them committed by `offer`, or none if they may wait; it may leave them for later.
    pub fn offer<T>(&mut self, pace: &Pace, offer: impl FnOnce(&mut Vec<Changes>) -> T) -> T {
        let many = self.outputs >= pace.uncommitted_outputs / 2;
        let due = self.decided || many || self.since.is_some_and(|since| since.elapsed() >= pace.linger);
        if due { self.offer_all(offer) } else { offer(&mut Vec::new()) }
    }

    /// The same, however long they waited.
    pub fn offer_all<T>(&mut self, offer: impl FnOnce(&mut Vec<Changes>) -> T) -> T {
        let offered = offer(&mut self.epochs);
        if self.epochs.is_empty() {
            *self = Self::default();
        }
        offered
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_dataflows::Output;
    use evenkeel_schemas::{Binding, Cut, Epoch};
    use std::time::Duration;

    fn changes(dataset: Dataset) -> Changes {
        let binding = Binding { epoch: Epoch(0), now_us: 0, resume: Epoch(0), upper: Cut::default() };
        Changes { binding, outputs: vec![Output { dataset, partition: 0, key: vec![], value: vec![] }], records: 1 }
    }

    #[test]
    fn what_was_decided_does_not_wait_for_company() {
        let patient = Pace { linger: Duration::from_secs(3600), uncommitted_outputs: 8, ..Pace::default() };
        let hasty = Pace { linger: Duration::ZERO, ..patient };
        let mut ready = Ready::default();
        let take = |epochs: &mut Vec<Changes>| std::mem::take(epochs).len();
        ready.add(changes(Dataset::Baselines));
        assert_eq!(ready.offer(&patient, take), 0);
        assert_eq!(ready.offer(&hasty, |epochs| epochs.len()), 1, "the committer is busy");
        assert_eq!((ready.offer(&hasty, take), ready.outputs()), (1, 0));
        ready.add(changes(Dataset::Baselines));
        ready.add(changes(Dataset::Verdicts));
        assert_eq!((ready.offer(&patient, take), ready.outputs()), (2, 0));
        ready.add(changes(Dataset::State));
        assert_eq!(ready.offer(&patient, take), 0, "what was decided is committed");
        ready.add(changes(Dataset::State));
        assert_eq!(ready.offer(&patient, take), 2, "half of what may wait");
    }
}
