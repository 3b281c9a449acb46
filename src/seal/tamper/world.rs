//! [`World`]: a data directory, its cold files and its log of seals, and how one writes any of them anew.

use super::{key, seal, trust};
use crate::cold::{self, DirectoryStore};
use crate::embedded::disk::retry;
use crate::embedded::{EmbeddedLedger, EmbeddedOutputs, rewrite};
use crate::ports::{Ledger, PortError};
use evenkeel_dataflows::{Changes, Output};
use evenkeel_schemas::audit::{Chain, Checkpoint, Entry, Log, ORIGIN, Trust};
use evenkeel_schemas::{Binding, Cut, Dataset, Epoch};
use std::path::{Path, PathBuf};

/// The name of the attacked log.
pub const NAME: &str = "attacked.example/audit";

/// The seed of its key.
pub const SEED: u8 = 7;

/// Entries of an epoch.
const EPOCH_ENTRIES: u64 = 8;

/// 2026-01-01T00:00:00Z, µs.
const START_US: i64 = 1_767_225_600_000_000;

/// Where everything lies: `data`, `data/cold`, `seals`, and an older state of all of it.
pub struct World {
    directory: PathBuf,
}

impl World {
    /// Half of the entries, sealed; a copy of that; the other half, sealed.
    pub fn make(directory: &Path, entries: u64) -> Result<Self, PortError> {
        let world = Self { directory: directory.to_owned() };
        let mut chains = [0, 1].map(|partition| Chain::new(ORIGIN, partition));
        world.commit(&mut chains, 0..entries / 2, "")?;
        copy_directory(&world.now(), &world.older())?;
        world.commit(&mut chains, entries / 2..entries, "")?;
        Ok(world)
    }

    /// The state that is attacked.
    fn now(&self) -> PathBuf {
        self.directory.join("now")
    }

    /// What was there when half of the entries were.
    pub fn older(&self) -> PathBuf {
        self.directory.join("older")
    }

    /// The data directory.
    pub fn data(&self) -> PathBuf {
        self.now().join("data")
    }

    /// Its cold files.
    pub fn cold(&self) -> PathBuf {
        self.data().join("cold")
    }

    /// The log of seals.
    pub fn seals(&self) -> PathBuf {
        self.now().join("seals")
    }

    /// Trust in the log's key.
    pub fn trust(&self) -> Trust {
        trust(key(NAME, SEED).expect("a name").as_ref())
    }

    /// The checkpoint as a witness saw it last.
    pub fn remembered(&self) -> Result<Checkpoint, PortError> {
        let store = DirectoryStore::read_only(&self.seals());
        let files = super::files(&store);
        let log = Log::open(&files, &self.trust()).map_err(|error| PortError::Fatal(error.to_string()))?;
        Ok(log.trusted.checkpoint)
    }

    /// A copy to be attacked, in place of the one before.
    pub fn copy(&self, directory: &Path) -> Result<Self, PortError> {
        remove(directory)?;
        copy_directory(&self.now(), &directory.join("now"))?;
        Ok(Self { directory: directory.to_owned() })
    }

    /// Puts everything back to the older state.
    pub fn roll_back(&self, whole: &Self) -> Result<(), PortError> {
        remove(&self.now())?;
        copy_directory(&whole.older(), &self.now())
    }

    /// Commits entries, compacts and seals; `mark` tells one history from another.
    pub fn commit(&self, chains: &mut [Chain], numbers: std::ops::Range<u64>, mark: &str) -> Result<(), PortError> {
        let mut ledger = EmbeddedLedger::open(&self.data())?;
        let last = ledger.recover()?.bindings.last().map(|binding| binding.epoch.0);
        let mut epochs = Vec::new();
        for (epoch, first) in (last.map_or(0, |last| last + 1)..).zip(numbers.clone().step_by(EPOCH_ENTRIES as usize)) {
            let now_us = START_US + first as i64 * 1_000_000;
            let numbers = first..numbers.end.min(first + EPOCH_ENTRIES);
            let outputs = numbers.map(|number| output(chains, number, epoch, mark)).collect();
            let binding = Binding { epoch: Epoch(epoch), now_us, resume: Epoch(epoch), upper: Cut::default() };
            epochs.push(Changes { binding, outputs, records: 0 });
        }
        ledger.commit(&epochs)?;
        drop(ledger);
        self.compact()?;
        seal(self, key(NAME, SEED)?)
    }

    /// Writes what is new into cold files.
    pub fn compact(&self) -> Result<(), PortError> {
        let options = cold::Options { whole: true, ..cold::Options::default() };
        let store = DirectoryStore::open(&self.cold())?;
        cold::compact(&mut EmbeddedOutputs::new(&self.data()), &store, &options).map(|_| ())
    }

    /// Makes the cold files anew, from a log that was changed.
    pub fn compact_anew(&self) -> Result<(), PortError> {
        remove(&self.cold())?;
        self.compact()
    }

    /// Changes the audit records of the log as whoever has the disk can: checksums and ends fit.
    pub fn rewrite(&self, mut change: impl FnMut(&mut Vec<Output>)) -> Result<(), PortError> {
        rewrite(&self.data(), |outputs| change(outputs))
    }
}

/// Entry `number`: a change of a row.
fn output(chains: &mut [Chain], number: u64, epoch: u64, mark: &str) -> Output {
    let partition = (number % 2) as u32;
    let entity = format!("shop.public.orders{{\"id\":{number}}}");
    let payload = format!("{{\"op\":\"u\",\"after\":{{\"id\":{number},\"amount\":\"{}.50\"}}}}{mark}", number * 3);
    let entry = Entry {
        epoch,
        ts_us: START_US + number as i64 * 1_000_000,
        event_type: "change".to_owned(),
        table: "shop.public.orders".to_owned(),
        op: "u".to_owned(),
        actor: format!("postgresql/shop/{number}"),
        entity: entity.clone(),
        payload: payload.into_bytes(),
        ..Entry::default()
    };
    let value = chains[partition as usize].append(entry);
    Output { dataset: Dataset::Audit, partition, key: entity.into_bytes(), value }
}

pub fn remove(directory: &Path) -> Result<(), PortError> {
    match std::fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(retry("remove", directory)(error)),
        _ => Ok(()),
    }
}

pub fn copy_directory(from: &Path, to: &Path) -> Result<(), PortError> {
    std::fs::create_dir_all(to).map_err(retry("make the directory", to))?;
    for entry in std::fs::read_dir(from).map_err(retry("list the directory", from))? {
        let from = entry.map_err(retry("list the directory", from))?.path();
        let to = to.join(from.file_name().expect("an entry has a name"));
        if from.is_dir() {
            copy_directory(&from, &to)?;
        } else {
            std::fs::copy(&from, &to).map_err(retry("write", &to))?;
        }
    }
    Ok(())
}
