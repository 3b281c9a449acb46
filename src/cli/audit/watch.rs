//! `audit watch` and `audit tamper-demo`.

use super::args::{TamperArgs, WatchArgs};
use super::log_files;
use crate::cli::{Ending, fatal, io_error};
use crate::cold::{ColdStore, DirectoryStore, Tampered};
use crate::embedded::disk::replace_file;
use crate::ports::{Clock, PortError, SystemClock};
use crate::report::{Reporter, Writer};
use crate::seal::tamper::{Attack, Look, tamper};
use crate::seal::{Finding, Turn, Watch, Watcher};
use evenkeel_schemas::audit::{Checkpoint, Refused};
use evenkeel_schemas::{AuditEventType, Detail};
use serde_json::json;
use std::path::Path;
use std::time::Duration;

/// Who finds.
const ACTOR: &str = "evenkeel-watch";

pub(super) fn watch(args: &WatchArgs, json: bool) -> Result<Ending, PortError> {
    let (files, mut rows) = (log_files(&args.seals), args.rows.log.must("entries")?);
    let cold = args.cold.as_deref().map(DirectoryStore::read_only);
    let trust = args.trust.trust()?;
    let watch = Watch { trust, origin: args.rows.chain_origin.clone(), budget: args.budget, stale_s: args.stale };
    let mut watcher = Watcher::new(watch, read_state(&args.state)?);
    let mut reporter = if args.silent { None } else { Some(args.rows.log.reporter(Writer::Watcher, ACTOR)?) };
    let (mut said, mut is_well) = (Vec::new(), true);
    loop {
        let now_s = u64::try_from(SystemClock.now_us() / 1_000_000).unwrap_or(0);
        let cold = cold.as_ref().map(|cold| cold as &dyn ColdStore);
        match watcher.turn(files.as_ref(), rows.as_mut(), cold, now_s) {
            Ok(turn) => {
                show(&turn, &said, args.once, json);
                if let Some(reporter) = &mut reporter {
                    report(&turn, &said, reporter)?;
                }
                is_well &= turn.findings.is_empty();
                if turn.findings.is_empty() {
                    write_state(&args.state, watcher.remembered())?;
                }
                said = turn.findings;
            }
            Err(error) if args.once => return Err(error),
            Err(error) => tracing::warn!(%error, "nothing could be looked at"),
        }
        if args.once {
            return Ok(if is_well { Ending::Well } else { Ending::NotWell });
        }
        std::thread::sleep(Duration::from_secs(args.every));
    }
}

/// Says what is new: a finding that stays is said once.
fn show(turn: &Turn, said: &[Finding], once: bool, json: bool) {
    for finding in turn.findings.iter().filter(|finding| !said.contains(finding)) {
        if json { println!("{}", json!({"finding": finding.to_string()})) } else { println!("{finding}") }
    }
    if turn.findings.is_empty() && (once || !said.is_empty()) {
        let Turn { entries, seals, .. } = turn;
        let words = format!("well: {seals} seals, {entries} entries followed");
        if json {
            println!("{}", json!({"well": true, "seals": seals, "entries": entries}))
        } else {
            println!("{words}")
        }
    }
}

/// Findings become events, and so incidents: once when they are new.
fn report(turn: &Turn, said: &[Finding], reporter: &mut Reporter) -> Result<(), PortError> {
    for finding in turn.findings.iter().filter(|finding| !said.contains(finding)) {
        let (op, entity) = match finding {
            Finding::Tampered(Tampered { partition, seq, file, .. }) => {
                let parts = [partition.map(u64::from), *seq].into_iter().flatten();
                ("tamper", parts.fold(file.clone(), |entity, part| format!("{entity}/{part}")))
            }
            Finding::Stale(_) => ("stale", "checkpoint".to_owned()),
        };
        reporter.say(AuditEventType::Finding, op, &entity, Detail::text(&finding.to_string()))?;
        reporter.flush()?;
    }
    Ok(())
}

fn read_state(path: &Path) -> Result<Option<Checkpoint>, PortError> {
    match std::fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_error("reading", path)(error)),
        Ok(text) => text.parse().map(Some).map_err(|Refused(why)| fatal(format!("{}: {why}", path.display()))),
    }
}

fn write_state(path: &Path, checkpoint: Option<&Checkpoint>) -> Result<(), PortError> {
    let Some(checkpoint) = checkpoint else { return Ok(()) };
    replace_file(path, &path.with_extension("draft"), checkpoint.to_string().as_bytes())
}

pub(super) fn tamper_demo(args: &TamperArgs, json: bool) -> Result<Ending, PortError> {
    let kept = args.data.is_some();
    let directory = args
        .data
        .clone()
        .unwrap_or_else(|| std::env::temp_dir().join(format!("evenkeel-tamper-{}", std::process::id())));
    std::fs::create_dir(&directory).map_err(io_error("making", &directory))?;
    let attacks = tamper(&directory, args.entries);
    if !kept {
        std::fs::remove_dir_all(&directory).map_err(io_error("removing", &directory))?;
    }
    let attacks = attacks?;
    if json {
        let look = |look: &Look| json!({"found": look.found, "took_ms": look.took.as_secs_f64() * 1e3});
        for Attack { name, chain, seals, memory } in &attacks {
            println!("{}", json!({"attack": name, "chain": look(chain), "seals": look(seals), "memory": look(memory)}));
        }
    } else {
        table(&attacks);
    }
    let is_well = attacks.iter().all(|attack| attack.memory.found.is_some() != (attack.name == "nothing"));
    Ok(if is_well { Ending::Well } else { Ending::NotWell })
}

/// One line an attack: which verifier finds it and how fast, and what the first that does says.
fn table(attacks: &[Attack]) {
    println!("{:<37} {:>9} {:>9} {:>9}  what it says", "attack", "chain", "seals", "memory");
    for Attack { name, chain, seals, memory } in attacks {
        let cell = |look: &Look| match look.found {
            Some(_) => format!("{:.1} ms", look.took.as_secs_f64() * 1e3),
            None => "–".to_owned(),
        };
        let first = [chain, seals, memory].into_iter().find_map(|look| look.found.as_deref()).unwrap_or("all is well");
        println!("{name:<37} {:>9} {:>9} {:>9}  {first}", cell(chain), cell(seals), cell(memory));
    }
    let found = |look: fn(&Attack) -> &Look| attacks.iter().filter(|attack| look(attack).found.is_some()).count();
    let (chain, seals, memory) = (found(|it| &it.chain), found(|it| &it.seals), found(|it| &it.memory));
    let all = attacks.len() - 1;
    println!(
        "of {all} attacks the chain finds {chain}, seals with a pinned key {seals}, a remembered checkpoint {memory}"
    );
}
