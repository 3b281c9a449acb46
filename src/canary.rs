//! [`Canaries`]: whether versions that are rolled out may go on, as far as the committed log tells.

use crate::ports::{Committed, Ledger, PortError};
use evenkeel_dataflows::{Assessment, Changes, VERSIONS, assess};
use evenkeel_schemas::Dataset;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Services that are known at most; of further ones nothing is.
const MAX_SERVICES: usize = 10_000;

/// What is known of the versions of services.
#[derive(Debug, Default)]
pub struct Canaries(Mutex<BTreeMap<Vec<u8>, Vec<u8>>>);

impl Canaries {
    fn put(&self, records: impl Iterator<Item = (Vec<u8>, Vec<u8>)>) {
        let mut services = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (service, state) in records {
            if state.is_empty() {
                services.remove(&service);
            } else if services.len() < MAX_SERVICES || services.contains_key(&service) {
                services.insert(service, state);
            }
        }
    }

    /// What is to be said of a version of a service now.
    pub fn assess(&self, service: &str, version: &str, now_us: i64) -> Assessment {
        let services = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        assess(services.get(service.as_bytes()).map_or(&[], Vec::as_slice), version, now_us)
    }
}

/// A ledger that is listened to.
pub struct Listened<L> {
    ledger: L,
    canaries: Arc<Canaries>,
}

impl<L> Listened<L> {
    /// One that tells `canaries` what is committed.
    pub const fn new(ledger: L, canaries: Arc<Canaries>) -> Self {
        Self { ledger, canaries }
    }
}

impl<L: Ledger> Ledger for Listened<L> {
    fn recover(&mut self) -> Result<Committed, PortError> {
        let found = self.ledger.recover()?;
        let records = found.state.iter().filter_map(|(key, value)| Some((service(key)?, value.clone())));
        self.canaries.put(records);
        Ok(found)
    }

    fn commit(&mut self, epochs: &[Changes]) -> Result<(), PortError> {
        self.ledger.commit(epochs)?;
        let outputs = epochs.iter().flat_map(|epoch| &epoch.outputs).filter(|it| it.dataset == Dataset::State);
        self.canaries.put(outputs.filter_map(|it| Some((service(&it.key)?, it.value.clone()))));
        Ok(())
    }
}

fn service(key: &[u8]) -> Option<Vec<u8>> {
    key.strip_prefix(VERSIONS.as_bytes()).map(<[u8]>::to_vec)
}
