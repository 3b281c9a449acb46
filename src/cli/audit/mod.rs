//! `audit`: keys, sealing, proofs, verification, watching, witnesses.

mod access;
mod args;
mod check;
mod export;
mod watch;

use super::{Ending, fatal, io_error};
use crate::cold::{ColdStore, DirectoryStore};
use crate::ports::PortError;
use crate::seal::{self, FileKey, Remote, SealError, Sealer, Signer, Witness, Witnesses};
use access::Accesses;
pub(super) use args::AuditCommand;
use args::{KeygenArgs, RotateArgs, SealArgs, WitnessArgs};
use evenkeel_schemas::audit::{Fetch, Log, Refused, Trust, VerifierKey};
use serde_json::json;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

pub(super) fn run(command: AuditCommand, json: bool) -> Result<Ending, PortError> {
    match command {
        AuditCommand::Keygen(args) => keygen(&args),
        AuditCommand::Seal(args) => seal(&args, json),
        AuditCommand::Prove(args) => check::prove(&args),
        AuditCommand::Verify(args) => check::verify(&args, json),
        AuditCommand::Export(args) => export::export(&args),
        AuditCommand::Watch(args) => watch::watch(&args, json),
        AuditCommand::TamperDemo(args) => watch::tamper_demo(&args, json),
        AuditCommand::Witness(args) => witness(&args),
        AuditCommand::Rotate(args) => rotate(&args),
    }
}

fn keygen(args: &KeygenArgs) -> Result<Ending, PortError> {
    let key = FileKey::generate(&args.name, args.witness)?;
    key.write(&args.out)?;
    println!("{}", key.key());
    Ok(Ending::Well)
}

fn seal(args: &SealArgs, json: bool) -> Result<Ending, PortError> {
    let mut rows = args.rows.log.must("entries")?;
    let pair = |pair: &[String]| Ok((pair[0].clone(), public_key(&pair[1])?));
    let mut witnesses = Witnesses::new(args.witness.chunks(2).map(pair).collect::<Result<_, PortError>>()?);
    let cold = args.cold.as_deref().map(DirectoryStore::read_only);
    let mut sealer = open_sealer(args)?;
    let (accesses, mut complained) = (Accesses::default(), None);
    if let Some(address) = &args.http {
        let store: Box<dyn ColdStore> = Box::new(DirectoryStore::read_only(&args.seals));
        let accesses = accesses.clone();
        super::serve(address, |socket| {
            seal::serve_log(socket, Arc::new(Mutex::new(store)), move |name, headers| accesses.note(name, headers))
        })?;
    }
    loop {
        accesses.say(&args.rows).unwrap_or_else(|error| tracing::warn!(%error, "nobody was told of accesses"));
        let began = Instant::now();
        match sealer.turn(rows.as_mut(), cold.as_ref().map(|cold| cold as &dyn ColdStore)) {
            Ok(progress) => {
                if !witnesses.is_empty() {
                    cosign(&mut sealer, &mut witnesses)?;
                }
                if progress != seal::Progress::default() || args.once {
                    said(&sealer, progress, began.elapsed(), json);
                }
            }
            Err(SealError::Tampered(tampered)) => {
                if complained.as_ref() != Some(&tampered) {
                    tracing::error!(%tampered, "the audit log is not what was committed; nothing is sealed");
                }
                complained = Some(tampered);
                if args.once {
                    return Ok(Ending::NotWell);
                }
            }
            Err(SealError::Port(PortError::Retry(why))) if !args.once => {
                tracing::warn!(why, "sealing is tried again");
                drop(sealer);
                std::thread::sleep(Duration::from_secs(1));
                sealer = open_sealer(args)?;
            }
            Err(SealError::Port(error)) => return Err(error),
        }
        if args.once {
            return Ok(Ending::Well);
        }
        std::thread::sleep(Duration::from_secs(args.every).saturating_sub(began.elapsed()));
    }
}

fn open_sealer(args: &SealArgs) -> Result<Sealer, PortError> {
    let store = Box::new(DirectoryStore::open(&args.seals)?);
    Sealer::open(store, Box::new(FileKey::read(&args.key)?), &args.rows.chain_origin)
}

/// Adds the witnesses' cosignatures to the checkpoint.
fn cosign(sealer: &mut Sealer, witnesses: &mut Witnesses) -> Result<(), PortError> {
    let Some(note) = sealer.checkpoint().cloned() else { return Ok(()) };
    let asked = {
        let files = seal::files(sealer.store());
        let trust = Trust::in_key(sealer.key().clone()).map_err(|Refused(why)| fatal(why))?;
        witnesses.ask(&Log::open(&files, &trust).map_err(|Refused(why)| fatal(why))?)
    };
    let mut signatures = Vec::new();
    for (url, answer) in asked {
        match answer {
            Ok(signature) => signatures.push(signature),
            Err(PortError::Fatal(why)) => tracing::error!(why, "a witness refuses"),
            Err(error) => tracing::warn!(%error, url, "a witness did not cosign"),
        }
    }
    if signatures.is_empty() { Ok(()) } else { sealer.publish(Witnesses::add(&note, signatures)) }
}

fn said(sealer: &Sealer, progress: seal::Progress, took: Duration, json: bool) {
    let (seals, took_ms) = (sealer.size(), took.as_secs_f64() * 1e3);
    let seal::Progress { entries, segments } = progress;
    if json {
        println!("{}", json!({"seals": seals, "entries": entries, "segments": segments, "took_ms": took_ms}));
    } else {
        println!("{entries:>9} entries and {segments} segments sealed in {took_ms:.1} ms; the log has {seals} seals");
    }
}

fn witness(args: &WitnessArgs) -> Result<Ending, PortError> {
    let logs = args.logs.iter().map(|key| public_key(key)).collect::<Result<_, _>>()?;
    let store = Box::new(DirectoryStore::open(&args.state)?);
    let witness = Witness::new(store, Box::new(FileKey::read(&args.key)?), logs);
    println!("{}", witness.key());
    let served = super::serve(&args.listen, |socket| seal::serve_witness(socket, witness))?;
    served.join().map_err(|_| fatal("the witness's server ended"))?;
    Ok(Ending::Well)
}

fn rotate(args: &RotateArgs) -> Result<Ending, PortError> {
    let store = Box::new(DirectoryStore::open(&args.seals)?);
    let sealer = Sealer::open(store, Box::new(FileKey::read(&args.key)?), &args.chain_origin)?;
    let sealer = sealer.hand_over(Box::new(FileKey::read(&args.new_key)?), &args.reason)?;
    println!("{}", sealer.key());
    Ok(Ending::Well)
}

/// A log's files, from a directory or a URL.
fn log_files(log: &str) -> Box<dyn Fetch> {
    if log.starts_with("http://") {
        return Box::new(Remote::new(log));
    }
    let store = DirectoryStore::read_only(Path::new(log));
    Box::new(move |name: &str| store.get(name).map_err(|error| Refused(error.to_string())))
}

/// A public key, or the one in a file.
fn public_key(text: &str) -> Result<VerifierKey, PortError> {
    let path = Path::new(text);
    let from_file = path.is_file().then(|| std::fs::read_to_string(path).map_err(io_error("reading the key", path)));
    let found = from_file.transpose()?.unwrap_or_else(|| text.to_owned());
    found.parse().map_err(|Refused(why)| fatal(format!("{text}: {why}")))
}
