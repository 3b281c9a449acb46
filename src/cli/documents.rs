//! What `policy` does with documents alone, wherever they hold or not.

use super::{Ending, fatal};
use crate::policy::document::KINDS;
use crate::policy::{Compiled, Policies, Spec, import, play, schema, set};
use crate::ports::PortError;
use evenkeel_dataflows::Tuning;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Instant;

#[derive(Debug, clap::Args)]
pub struct Paths {
    /// Files, and folders of which every .yaml and .yml below is read.
    #[arg(required = true)]
    pub paths: Vec<PathBuf>,
}

pub fn import(file: &Path) -> Result<Ending, PortError> {
    let imported = import::import(&file.display().to_string(), &set::text_of(file)?);
    print!("{}", imported.text());
    imported.faults.iter().for_each(|fault| eprintln!("{fault}"));
    Ok(if imported.faults.is_empty() { Ending::Well } else { Ending::NotWell })
}

pub fn print_schema(kind: Option<&str>) -> Result<Ending, PortError> {
    let names = || KINDS.map(|kind| kind.name).join(", ");
    let found = KINDS.iter().find(|of| kind == Some(of.name));
    let schema = match (kind, found) {
        (None, _) => schema::of_all(),
        (_, Some(kind)) => schema::of_kind(kind),
        (Some(kind), None) => return Err(fatal(format!("there is no kind {kind}; there are: {}", names()))),
    };
    println!("{}", serde_json::to_string_pretty(&schema).map_err(|error| fatal(error.to_string()))?);
    Ok(Ending::Well)
}

pub fn lint(policies: &Policies, json: bool) -> Result<Ending, PortError> {
    for fault in &policies.faults {
        if json { println!("{}", json!(fault)) } else { println!("{fault}") }
    }
    let (files, documents, faults) = (policies.files, policies.documents.len(), policies.faults.len());
    if !json {
        println!("{files} files, {documents} documents, {faults} faults");
    }
    Ok(if faults == 0 { Ending::Well } else { Ending::NotWell })
}

/// What documents amount to; `None` if something is wrong with them, which is said then.
pub fn compiled(paths: &Paths, base: &Tuning, json: bool) -> Result<Option<Compiled>, PortError> {
    let policies = Policies::read(&paths.paths, base)?;
    if !policies.faults.is_empty() {
        lint(&policies, json)?;
        return Ok(None);
    }
    policies.compile(base).map(Some)
}

pub fn test(paths: &Paths, json: bool) -> Result<Ending, PortError> {
    let base = Tuning::default();
    let policies = Policies::read(&paths.paths, &base)?;
    if !policies.faults.is_empty() {
        return lint(&policies, json);
    }
    let (mut played, mut failed) = (0, 0);
    for document in &policies.documents {
        let Spec::Scenario(scenario) = &document.spec else { continue };
        let names = scenario.policies.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        let policy = if names.is_empty() { policies.compile(&base)? } else { policies.only(&names).compile(&base)? };
        let started = Instant::now();
        let came = play(scenario, &policy, &base)?;
        let (is_well, ms) = (came.missed.is_empty(), started.elapsed().as_millis());
        (played, failed) = (played + 1, failed + usize::from(!is_well));
        if json {
            let value = json!({"scenario": document.name, "file": document.file, "well": is_well, "ms": ms as u64,
                "missed": came.missed, "said": came.said});
            println!("{value}");
            continue;
        }
        println!("{} {} ({ms} ms)", if is_well { "well  " } else { "FAILED" }, document.name);
        for (line, column, why) in &came.missed {
            println!("  {}:{line}:{column}: {why}", document.file);
        }
    }
    if !json {
        println!("{played} scenarios, {failed} failed");
    }
    if played == 0 {
        return Err(fatal("there is no Scenario among these documents: write one, or name its file, too"));
    }
    Ok(if failed == 0 { Ending::Well } else { Ending::NotWell })
}
