//! `known`: keys that come and go in; at how many values of a dimension a service is counted. Whoever stands at one of them
//! alone stands for that value; whoever has but one says nothing of it.

use crate::operators::window::admitted;
use crate::state::State;
use evenkeel_schemas::{Dimension, Key};
use std::collections::BTreeMap;

/// The dimensions in which services may share a value.
pub(crate) const DIMENSIONS: [Dimension; 4] =
    [Dimension::Node, Dimension::Version, Dimension::Region, Dimension::Tenant];

/// How many values of each dimension a service is counted at; as many entries as there are keys, at most.
#[derive(Default)]
pub(crate) struct Known(BTreeMap<(String, Dimension), u32>);

/// The dimension of a key of exactly a service and one value that may be shared.
pub(crate) fn dimension_of(key: &Key) -> Option<Dimension> {
    let has = |dimension: &&Dimension| key.get(**dimension).is_some_and(|value| !value.is_empty());
    DIMENSIONS.iter().find(has).filter(|_| key.0.len() == 2 && key.get(Dimension::Service).is_some()).copied()
}

impl Known {
    /// As it is in the committed state.
    pub fn recovered(state: &State) -> Self {
        let mut known = Self::default();
        for key in admitted(state) {
            if let Some(dimension) = dimension_of(&key) {
                known.hear(key.service(), dimension, true);
            }
        }
        known
    }

    /// A key came, or went.
    pub fn hear(&mut self, service: &str, dimension: Dimension, came: bool) {
        let entry = (service.to_owned(), dimension);
        let count = self.0.get(&entry).copied().unwrap_or(0);
        match if came { count + 1 } else { count.saturating_sub(1) } {
            0 => self.0.remove(&entry),
            count => self.0.insert(entry, count),
        };
    }

    /// Those of `values`, at which alone a service stands, that say something: it has others.
    pub fn shown(&self, service: &str, values: &[(Dimension, String)]) -> Vec<(Dimension, String)> {
        let has_others = |(dimension, _): &&(Dimension, String)| {
            self.0.get(&(service.to_owned(), *dimension)).is_some_and(|count| *count > 1)
        };
        values.iter().filter(has_others).cloned().collect()
    }
}
