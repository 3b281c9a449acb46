//! The attacks that an audit log is for, carried out on real files, and what finds each of them.
//!
//! Three verifiers look at every attacked copy: the *chain* with its heads beside the data ([`crate::cold::verify`]), the
//! *seals* with a pinned key ([`verify_data`]), and a *memory*: a watcher that remembers the last checkpoint, as a
//! witness does. Each finds what the one before cannot.

mod attacks;
mod world;

use super::verify::verify_data;
use super::{FileKey, Finding, Sealer, Signer, Watch, Watcher, files};
use crate::cold::{self, DirectoryStore, Verification};
use crate::embedded::EmbeddedOutputs;
use crate::ports::PortError;
use attacks::ATTACKS;
use evenkeel_schemas::audit::{Checkpoint, Log, ORIGIN, Trust};
use std::path::Path;
use std::time::{Duration, Instant};
use world::World;

/// What one verifier said.
#[derive(Clone, Debug)]
pub struct Look {
    /// What it found; `None` if all was well to it.
    pub found: Option<String>,
    /// How long it took.
    pub took: Duration,
}

/// An attack, and what found it.
#[derive(Clone, Debug)]
pub struct Attack {
    /// What was done.
    pub name: &'static str,
    /// The chain, with its heads beside the data.
    pub chain: Look,
    /// The log of seals, with a pinned key.
    pub seals: Look,
    /// The same, remembering the last checkpoint.
    pub memory: Look,
}

/// Makes a log of `entries` entries in two partitions below `directory`, attacks copies of it one by one, and says what
/// found which. The first line is no attack at all: nothing may be found.
///
/// # Errors
/// If the disk fails.
pub fn tamper(directory: &Path, entries: u64) -> Result<Vec<Attack>, PortError> {
    let world = World::make(&directory.join("whole"), entries)?;
    let remembered = world.remembered()?;
    let mut attacks = Vec::new();
    for (name, attack) in ATTACKS {
        let copy = world.copy(&directory.join("attacked"))?;
        attack(&world, &copy)?;
        attacks.push(Attack {
            name,
            chain: look(|| chain(&copy))?,
            seals: look(|| seals(&world, &copy))?,
            memory: look(|| memory(&world, &copy, &remembered))?,
        });
    }
    Ok(attacks)
}

fn look(verifier: impl FnOnce() -> Result<Option<String>, PortError>) -> Result<Look, PortError> {
    let began = Instant::now();
    let found = verifier()?;
    Ok(Look { found, took: began.elapsed() })
}

fn chain(copy: &World) -> Result<Option<String>, PortError> {
    Ok(match cold::verify(&copy.data()) {
        Verification::Whole { .. } => None,
        other => Some(other.to_string()),
    })
}

fn seals(world: &World, copy: &World) -> Result<Option<String>, PortError> {
    let store = DirectoryStore::read_only(&copy.seals());
    let (files, cold) = (files(&store), DirectoryStore::read_only(&copy.cold()));
    let log = match Log::open(&files, &world.trust()) {
        Ok(log) => log,
        Err(refused) => return Ok(Some(refused.to_string())),
    };
    let verified = verify_data(&log, ORIGIN, &mut EmbeddedOutputs::new(&copy.data()), Some(&cold));
    Ok(verified.err().map(|error| error.to_string()))
}

fn memory(world: &World, copy: &World, remembered: &Checkpoint) -> Result<Option<String>, PortError> {
    let store = DirectoryStore::read_only(&copy.seals());
    let (files, cold) = (files(&store), DirectoryStore::read_only(&copy.cold()));
    let watch = Watch { trust: world.trust(), origin: ORIGIN.to_owned(), budget: u64::MAX, stale_s: u64::MAX };
    let mut watcher = Watcher::new(watch, Some(remembered.clone()));
    let turn = watcher.turn(&files, &mut EmbeddedOutputs::new(&copy.data()), Some(&cold), 0)?;
    Ok(turn.findings.first().map(Finding::to_string))
}

/// The key of the attacked log.
fn key(name: &str, seed: u8) -> Result<Box<dyn Signer>, PortError> {
    Ok(Box::new(FileKey::new(name, false, [seed; 32])?))
}

/// Seals all that is there, as the owner of a key would.
fn seal(world: &World, signer: Box<dyn Signer>) -> Result<(), PortError> {
    let mut sealer = Sealer::open(Box::new(DirectoryStore::open(&world.seals())?), signer, ORIGIN)?;
    let cold = DirectoryStore::read_only(&world.cold());
    match sealer.turn(&mut EmbeddedOutputs::new(&world.data()), Some(&cold)) {
        Ok(_) => Ok(()),
        Err(super::SealError::Port(error)) => Err(error),
        Err(super::SealError::Tampered(tampered)) => Err(PortError::Fatal(tampered.to_string())),
    }
}

/// Trust in the key of the attacked log.
fn trust(signer: &dyn Signer) -> Trust {
    Trust::in_key(signer.key().clone()).expect("a log's key")
}
