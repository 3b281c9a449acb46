//! `audit prove` and `audit verify`.

use super::args::{ProveArgs, RowsArgs, VerifyArgs};
use super::log_files;
use crate::cli::{Ending, fatal, io_error};
use crate::cold::{ColdStore, DirectoryStore};
use crate::ports::PortError;
use crate::report::Writer;
use crate::seal::{self, SealError};
use evenkeel_schemas::audit::tile::CHECKPOINT;
use evenkeel_schemas::audit::{Log, Proof, Refused, Trust, Trusted, hex};
use evenkeel_schemas::{AuditEventType, Detail};
use serde_json::json;
use std::path::Path;

pub(super) fn prove(args: &ProveArgs) -> Result<Ending, PortError> {
    let (trust, files) = (args.trust.trust()?, log_files(&args.seals));
    let log = Log::open(files.as_ref(), &trust).map_err(|Refused(why)| fatal(why))?;
    let proof = match seal::prove(&log, args.rows.log.must("entries")?.as_mut(), args.partition, args.seq) {
        Ok(proof) => proof,
        Err(SealError::Port(error)) => return Err(error),
        Err(SealError::Tampered(tampered)) => {
            println!("tampered: {tampered}");
            return Ok(Ending::NotWell);
        }
    };
    proof.verify(&trust).map_err(|Refused(why)| fatal(format!("the proof that was made does not hold: {why}")))?;
    match &args.out {
        Some(path) => std::fs::write(path, proof.to_string()).map_err(io_error("writing", path))?,
        None => print!("{proof}"),
    }
    said_access(&args.rows, "prove", &format!("entry {}/{}", args.partition, args.seq), &args.actor);
    Ok(Ending::Well)
}

/// Says that somebody read entries. Who may only read is not kept from it.
pub(super) fn said_access(rows: &RowsArgs, op: &str, entity: &str, actor: &str) {
    let said = rows.log.reporter(Writer::Prover, actor).and_then(|mut reporter| {
        reporter.say(AuditEventType::Access, op, entity, Detail::default())?;
        reporter.flush()
    });
    said.unwrap_or_else(|error| tracing::warn!(%error, "nobody was told of this access"));
}

pub(super) fn verify(args: &VerifyArgs, json: bool) -> Result<Ending, PortError> {
    let (trust, path) = (args.trust.trust()?, Path::new(&args.what));
    let verified = if path.is_file() { verify_proof(path, &trust)? } else { verify_whole(args, &trust)? };
    Ok(match verified {
        Ok((words, object)) => {
            if json {
                println!("{object}")
            } else {
                println!("{words}")
            }
            Ending::Well
        }
        Err(why) => {
            if json {
                println!("{}", json!({"whole": false, "what": why}))
            } else {
                println!("tampered: {why}")
            }
            Ending::NotWell
        }
    })
}

/// What verification says, in words and as an object; or what is wrong.
type Said = Result<(String, serde_json::Value), String>;

fn verify_proof(path: &Path, trust: &Trust) -> Result<Said, PortError> {
    let text = std::fs::read_to_string(path).map_err(io_error("reading the proof", path))?;
    Ok(text.parse::<Proof>().and_then(|proof| proof.verify(trust)).map_err(|Refused(why)| why).map(|(entry, trusted)| {
        let Trusted { checkpoint, cosigned_s } = trusted;
        let payload = String::from_utf8_lossy(&entry.payload);
        let (partition, seq, size) = (entry.partition, entry.seq, checkpoint.size);
        let mut words = format!("proven: entry {seq} of partition {partition} is in the log of {size} seals\n");
        words += &format!("{} {} {} by {}\n{payload}", entry.event_type, entry.op, entry.entity, entry.actor);
        let object = json!({"whole": true, "partition": partition, "seq": seq, "ts_us": entry.ts_us, "epoch": entry.epoch,
            "event_type": entry.event_type, "op": entry.op, "table": entry.table, "actor": entry.actor,
            "entity": entry.entity, "payload": payload, "seals": size, "cosigned_s": cosigned_s});
        (words, object)
    }))
}

fn verify_whole(args: &VerifyArgs, trust: &Trust) -> Result<Said, PortError> {
    let (files, origin) = (log_files(&args.what), args.rows.chain_origin.as_str());
    if matches!(files.fetch(CHECKPOINT), Ok(None)) {
        return Err(fatal(format!("{} holds no checkpoint: neither a proof nor a log of seals", args.what)));
    }
    let log = match Log::open(files.as_ref(), trust) {
        Ok(log) => log,
        Err(Refused(why)) => return Ok(Err(why)),
    };
    let cold = args.cold.as_deref().map(DirectoryStore::read_only);
    let cold = cold.as_ref().map(|cold| cold as &dyn ColdStore);
    let verified = match args.rows.log.open()? {
        Some(mut rows) => seal::verify_data(&log, origin, rows.as_mut(), cold),
        None => seal::verify_log(&log, origin),
    };
    let verified = match verified {
        Ok(verified) => verified,
        Err(SealError::Tampered(tampered)) => return Ok(Err(tampered.to_string())),
        Err(SealError::Port(error)) => return Err(error),
    };
    let (seals, entries, unsealed) = (verified.seals, verified.entries, verified.unsealed);
    let mut words = format!("whole: {seals} seals, {entries} entries followed, {unsealed} not sealed yet");
    let mut heads = serde_json::Map::new();
    for (partition, chain) in &verified.audited.chains {
        let (next_seq, head) = (chain.next_seq(), hex(&chain.head()));
        words += &format!("\npartition {partition}: {next_seq} entries sealed, head {head}");
        heads.insert(partition.to_string(), json!({"entries": next_seq, "head": head}));
    }
    let object = json!({"whole": true, "seals": seals, "entries": entries, "unsealed": unsealed, "heads": heads,
        "cosigned_s": log.trusted.cosigned_s});
    Ok(Ok((words, object)))
}
