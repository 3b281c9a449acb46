//! State is an event stream too: the keys of [`Dataset::State`], and a recovered state handed out to its operators.
//!
//! | key | value |
//! |---|---|
//! | `key/<id>` | the key, and the epoch in which it was admitted, as JSON |
//! | `slot/<width>/<shard>/<slot modulo ring>` | a closed slot of a shard, see [`crate::operators::slot`] |
//! | `season/<shard>/<slot modulo two weeks>` | what keys of a shard showed in a half hour, as JSON, see [`crate::operators::season`] |
//! | `fold/<name>/<key>` | the state of a fold, as JSON; the key is the name or the identity of what it is about |
//! | `fold/members/<service>`, `fold/incidents/<id>` | a service that stands, an incident, see [`crate::incidents`] |
//! | `fold/topology/<caller>`, `fold/changes/<service>`, `fold/refused/links` | see [`crate::topology`] |
//! | `audit/<partition>` | next sequence number and head of a chain, as JSON |
//! | `policy/<version modulo kept>` | a policy that holds or held, as JSON, see [`crate::Applied`] |
//! | `configuration` | the last event with which evenkeel said how it is configured, as received |

use crate::Output;
use evenkeel_schemas::Dataset;
use serde::{Serialize, de::DeserializeOwned};
use std::collections::BTreeMap;

/// The newest value per key of the state dataset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State(BTreeMap<Vec<u8>, Vec<u8>>);

impl State {
    /// The state that these records hold.
    pub fn new(records: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>) -> Self {
        Self(records.into_iter().collect())
    }

    /// The records whose key begins with `prefix`, with the rest of their keys.
    pub fn under<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        self.0.range(prefix.as_bytes().to_vec()..).map_while(move |(key, value)| {
            let rest = key.strip_prefix(prefix.as_bytes())?;
            Some((std::str::from_utf8(rest).ok()?, value.as_slice()))
        })
    }

    /// Applies what an epoch said about the state.
    pub fn apply<'a>(&mut self, outputs: impl IntoIterator<Item = &'a Output>) {
        for output in outputs.into_iter().filter(|output| output.dataset == Dataset::State) {
            if output.value.is_empty() {
                self.0.remove(&output.key);
            } else {
                self.0.insert(output.key.clone(), output.value.clone());
            }
        }
    }

    /// Every record, by key.
    pub fn into_records(self) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.0.into_iter().collect()
    }
}

/// A state record; no value means that the key is gone.
pub(crate) fn record(key: String, value: Option<Vec<u8>>) -> Output {
    Output { dataset: Dataset::State, partition: 0, key: key.into_bytes(), value: value.unwrap_or_default() }
}

/// JSON of a value of ours.
pub(crate) fn json<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("values of ours have string keys and finite numbers, so they are JSON")
}

/// A value of ours back from JSON.
pub(crate) fn from_json<T: DeserializeOwned>(bytes: &[u8]) -> T {
    serde_json::from_slice(bytes).expect("state was written by this version of evenkeel and committed whole")
}

/// An output with JSON as its value.
pub(crate) fn output<T: Serialize>(dataset: Dataset, key: impl Into<Vec<u8>>, value: &T) -> Output {
    Output { dataset, partition: 0, key: key.into(), value: json(value) }
}
