//! `audit export`: entries as JSON lines, and their proofs.

use super::args::ExportArgs;
use super::check::said_access;
use super::{log_files, public_key};
use crate::cli::cold::time_us;
use crate::cli::{Ending, fatal, io_error};
use crate::ports::{OutputLog, PortError};
use crate::seal::{SealError, follow_all, prove};
use evenkeel_schemas::Dataset;
use evenkeel_schemas::audit::{Chain, Log, Refused, Trust, View};
use serde_json::json;
use std::io::Write;
use std::path::Path;

/// Which entries are wanted.
struct Wanted<'a> {
    args: &'a ExportArgs,
    from_us: i64,
    to_us: i64,
}

impl Wanted<'_> {
    fn holds(&self, entry: &View<'_>) -> bool {
        let about = self.args.about.as_deref().is_none_or(|about| {
            let holds = |bytes: &[u8]| bytes.windows(about.len().max(1)).any(|part| part == about.as_bytes());
            entry.entity == about || holds(entry.payload)
        });
        let is_type = self.args.event_type.as_deref().is_none_or(|wanted| entry.event_type == wanted);
        about && is_type && (self.from_us..self.to_us).contains(&entry.ts_us)
    }
}

pub(super) fn export(args: &ExportArgs) -> Result<Ending, PortError> {
    let time = |text: &Option<String>, other| text.as_deref().map_or(Ok(other), time_us);
    let wanted = Wanted { args, from_us: time(&args.from, i64::MIN)?, to_us: time(&args.to, i64::MAX)? };
    let mut rows = args.rows.log.must("entries")?;
    let found = match found(&wanted, rows.as_mut()) {
        Ok(found) => found,
        Err(SealError::Port(error)) => return Err(error),
        Err(SealError::Tampered(tampered)) => {
            eprintln!("tampered: {tampered}");
            return Ok(Ending::NotWell);
        }
    };
    if let Some(directory) = &args.proofs {
        write_proofs(args, directory, rows.as_mut(), &found)?;
    }
    said_access(&args.rows, "export", &format!("{} entries", found.len()), &args.actor);
    Ok(Ending::Well)
}

/// Prints the entries that are wanted, while following the chain through all of them; their partitions and numbers.
fn found(wanted: &Wanted<'_>, rows: &mut dyn OutputLog) -> Result<Vec<(u32, u64)>, SealError> {
    let (mut found, mut out) = (Vec::new(), std::io::stdout().lock());
    for partition in rows.partitions(Dataset::Audit)? {
        let mut chain = Chain::new(&wanted.args.rows.chain_origin, partition);
        let mut failed = None;
        follow_all(rows, (partition, 0), &mut chain, |record| {
            let (entry, _, link) = View::open(record).expect("it was followed");
            if wanted.holds(&entry) && failed.is_none() {
                found.push((partition, entry.seq));
                failed = writeln!(out, "{}", line(&entry, link)).err();
            }
        })?;
        if let Some(error) = failed {
            return Err(SealError::Port(fatal(format!("writing: {error}"))));
        }
    }
    Ok(found)
}

fn line(entry: &View<'_>, link: &[u8; 32]) -> serde_json::Value {
    let payload =
        serde_json::from_slice(entry.payload).unwrap_or_else(|_| String::from_utf8_lossy(entry.payload).into());
    let payload: serde_json::Value = payload;
    json!({"partition": entry.partition, "seq": entry.seq, "epoch": entry.epoch, "ts_us": entry.ts_us,
        "event_type": entry.event_type, "table": entry.table, "op": entry.op, "actor": entry.actor,
        "entity": entry.entity, "payload": payload, "hash": evenkeel_schemas::audit::hex(link)})
}

fn write_proofs(
    args: &ExportArgs,
    directory: &Path,
    rows: &mut dyn OutputLog,
    found: &[(u32, u64)],
) -> Result<(), PortError> {
    let (seals, key) = (args.seals.as_deref().unwrap_or_default(), args.key.as_deref().unwrap_or_default());
    let refused = |Refused(why): Refused| fatal(why);
    let (files, trust) = (log_files(seals), Trust::in_key(public_key(key)?).map_err(refused)?);
    let log = Log::open(files.as_ref(), &trust).map_err(refused)?;
    std::fs::create_dir_all(directory).map_err(io_error("making", directory))?;
    for (partition, seq) in found {
        let proof = prove(&log, rows, *partition, *seq).map_err(|error| match error {
            SealError::Port(error) => error,
            SealError::Tampered(tampered) => fatal(format!("tampered: {tampered}")),
        })?;
        let path = directory.join(format!("{partition}-{seq}.tlog-proof"));
        std::fs::write(&path, proof.to_string()).map_err(io_error("writing", &path))?;
    }
    eprintln!("{} proofs in {}", found.len(), directory.display());
    Ok(())
}
