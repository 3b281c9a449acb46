//! `minutes`: what each closed minute of a service, or of a version of it, showed: what signals, budgets and comparisons
//! of versions are fed with.

use evenkeel_detectors::{BURN_WINDOWS_S, BurnPair, Share};
use evenkeel_schemas::{Dimension, Key, Statistics};
use serde::{Deserialize, Serialize};

/// Requests of a span that failed, and all of them.
pub(crate) type Counted = (i64, i64);

/// A closed minute of a key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Minute {
    /// Its number since the Unix epoch.
    pub minute: i64,
    pub key: Key,
    pub seen: Statistics,
    /// The windows of [`BURN_WINDOWS_S`] up to now, (long, short), where the service has an objective.
    pub budget: Vec<(Counted, Counted)>,
}

impl Minute {
    /// Whether anybody wants the minutes of this key: those of services, and of their versions.
    pub fn is_told(key: &Key) -> bool {
        let of_version = key.get(Dimension::Version).is_some_and(|version| !version.is_empty());
        key.0.len() == 1 || (key.0.len() == 2 && of_version)
    }

    /// The windows of the budget, as the rule takes them.
    pub fn pairs(&self) -> Option<[BurnPair; BURN_WINDOWS_S.len()]> {
        let share = |(errors, requests): Counted| Share { errors, requests };
        let pairs = self.budget.iter().map(|(long, short)| BurnPair { long: share(*long), short: share(*short) });
        pairs.collect::<Vec<_>>().try_into().ok()
    }
}
