//! An audit log in memory that grows, a store that several share and that fails when told to, keys from seeds.

use evenkeel::cold::ColdStore;
use evenkeel::ports::{OutputLog, PortError, Row};
use evenkeel::seal::{FileKey, Sealer, Signer};
use evenkeel_schemas::Dataset;
use evenkeel_schemas::audit::{Chain, Entry, ORIGIN, Refused, Trust};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

pub const NAME: &str = "example.com/shop";

/// Audit rows of two partitions, with gaps in their offsets as a broker's transactions leave them.
#[derive(Clone)]
pub struct Rows {
    pub rows: BTreeMap<u32, Vec<Row>>,
    chains: BTreeMap<u32, Chain>,
}

impl Rows {
    pub fn new() -> Self {
        let chains = [0, 3].map(|partition| (partition, Chain::new(ORIGIN, partition)));
        Self { rows: BTreeMap::new(), chains: chains.into() }
    }

    /// Appends `count` entries, in turns to the partitions.
    pub fn grow(&mut self, count: u64) {
        for number in 0..count {
            let partition = if number % 3 == 0 { 3 } else { 0 };
            let chain = self.chains.get_mut(&partition).unwrap();
            let seq = chain.next_seq();
            let entry = Entry {
                epoch: seq / 4,
                ts_us: 1_767_225_600_000_000 + seq as i64,
                event_type: "change".to_owned(),
                op: "u".to_owned(),
                entity: format!("row {partition}/{seq}"),
                payload: format!("payload {seq}").into_bytes(),
                ..Entry::default()
            };
            let (key, value) = (entry.entity.clone().into_bytes(), chain.append(entry));
            let row = Row { offset: seq * 3 + 5, at_us: 1_767_225_600_000_000, key, value };
            self.rows.entry(partition).or_default().push(row);
        }
    }
}

impl OutputLog for Rows {
    fn partitions(&mut self, dataset: Dataset) -> Result<Vec<u32>, PortError> {
        assert_eq!(dataset, Dataset::Audit);
        Ok(self.rows.keys().copied().collect())
    }

    fn read(&mut self, _: Dataset, partition: u32, offset: u64, limit: usize) -> Result<Vec<Row>, PortError> {
        let rows = self.rows.get(&partition).map_or(&[][..], Vec::as_slice);
        Ok(rows.iter().filter(|row| row.offset >= offset).take(limit).cloned().collect())
    }
}

/// What happens at the call that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is done.
    Lost,
    /// Half of the bytes are written, as a store without renames may do.
    Torn,
    /// It is done, and reported as failed.
    AppliedButLost,
}

#[derive(Default)]
struct State {
    files: BTreeMap<String, Vec<u8>>,
    puts: usize,
    fault: Option<(usize, Fault)>,
}

/// A store that several share.
#[derive(Clone, Default)]
pub struct Store(Arc<Mutex<State>>);

impl Store {
    /// Lets the put after `puts` more fail; after it nothing works until the store is mended.
    pub fn fail_after(&self, puts: usize, fault: Fault) {
        let mut state = self.0.lock().unwrap();
        state.fault = Some((state.puts + puts, fault));
    }

    /// Lets everything work again; whether anything had failed.
    pub fn mend(&self) -> bool {
        let mut state = self.0.lock().unwrap();
        let failed = state.fault.is_some_and(|(at, _)| state.puts > at);
        state.fault = None;
        failed
    }

    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        self.0.lock().unwrap().files.clone()
    }

    pub fn copy(&self) -> Self {
        let copy = Self::default();
        copy.0.lock().unwrap().files = self.files();
        copy
    }

    pub fn fetch(&self) -> impl Fn(&str) -> Result<Option<Vec<u8>>, Refused> {
        let store = self.clone();
        move |name| Ok(store.files().get(name).cloned())
    }
}

impl ColdStore for Store {
    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), PortError> {
        let mut state = self.0.lock().unwrap();
        let (call, fault) = (state.puts, state.fault);
        state.puts += 1;
        let fault = fault.filter(|(at, _)| *at <= call);
        let failed = Err(PortError::Retry("injected".to_owned()));
        match fault {
            Some((at, _)) if at < call => return failed,
            Some((_, Fault::Lost)) => return failed,
            // What has a name already is replaced whole or not at all, and so is a checkpoint; of tiles nothing is asked.
            Some((_, Fault::Torn)) if !name.starts_with("tile/") || state.files.contains_key(name) => return failed,
            Some((_, Fault::Torn)) => state.files.insert(name.to_owned(), bytes[..bytes.len() / 2].to_vec()),
            _ => state.files.insert(name.to_owned(), bytes.to_vec()),
        };
        if fault.is_some() { failed } else { Ok(()) }
    }

    fn get(&self, name: &str) -> Result<Option<Vec<u8>>, PortError> {
        Ok(self.0.lock().unwrap().files.get(name).cloned())
    }

    fn list(&self, prefix: &str) -> Result<Vec<String>, PortError> {
        Ok(self.files().into_keys().filter(|name| name.starts_with(prefix)).collect())
    }

    fn remove(&self, name: &str) -> Result<(), PortError> {
        self.0.lock().unwrap().files.remove(name);
        Ok(())
    }
}

pub fn key(seed: u8) -> FileKey {
    FileKey::new(NAME, false, [seed; 32]).unwrap()
}

pub fn trust(seed: u8) -> Trust {
    Trust::in_key(key(seed).key().clone()).unwrap()
}

pub fn sealer(store: &Store, seed: u8) -> Result<Sealer, PortError> {
    Sealer::open(Box::new(store.clone()), Box::new(key(seed)), ORIGIN)
}
