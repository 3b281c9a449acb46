//! `policy`: what detectors, objectives and recovery go by, as code.

use super::documents::{Paths, compiled, import, lint, print_schema, test};
use super::log_args::LogArgs;
use super::{Ending, fatal};
use crate::alerts::time::rfc3339;
use crate::configuration::changes;
use crate::policy::{Compiled, Policies, Target, place::InForce};
use crate::ports::PortError;
use evenkeel_dataflows::{Applied, Tuning, documents_sha256};
use evenkeel_schemas::Control;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How often it is looked whether a policy is in force.
const LOOK_EVERY: Duration = Duration::from_millis(200);

#[derive(Debug, clap::Subcommand)]
pub(super) enum PolicyCommand {
    /// Say what is wrong with policies, with line, column and what to write instead; 1 if anything is.
    #[command(after_help = "Example:\n  evenkeel policy lint policies/")]
    Lint(Paths),
    /// Play the scenarios among policies; 1 if something expected did not come.
    #[command(after_help = "Example:\n  evenkeel policy test policies/")]
    Test(Paths),
    /// Say what applying policies would change; 1 if anything.
    #[command(after_help = "Example:\n  evenkeel policy diff policies/ --brokers 127.0.0.1:9092")]
    Diff {
        #[command(flatten)]
        paths: Paths,
        #[command(flatten)]
        place: LogArgs,
    },
    /// Bring policies into force, in the place of all that were in force before.
    #[command(
        after_help = "Example:\n  evenkeel policy apply policies/ --brokers 127.0.0.1:9092 --by \"$USER\" --dry-run"
    )]
    Apply {
        #[command(flatten)]
        paths: Paths,
        #[command(flatten)]
        place: LogArgs,
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// List the policies in force, or the versions that are kept.
    #[command(
        after_help = "Examples:\n  evenkeel policy get --data ./demo\n  evenkeel policy get --versions --data ./demo"
    )]
    Get {
        #[command(flatten)]
        place: LogArgs,
        /// The versions instead, newest last.
        #[arg(long)]
        versions: bool,
    },
    /// Show one policy in force, or what a version changed.
    #[command(after_help = "Example:\n  evenkeel policy describe SLO/checkout --data ./demo")]
    Describe {
        /// Kind and name, or the number of a version.
        what: String,
        #[command(flatten)]
        place: LogArgs,
    },
    /// Print objectives and alerting rules of others as documents; 1 if something in them cannot be imported, which is said.
    #[command(
        after_help = "OpenSLO v1, Sloth v1, Prometheus alerting rules with thresholds on requests.\n\nExample:\n  evenkeel policy import rules.yaml > policies/imported.yaml"
    )]
    Import {
        /// The file.
        file: PathBuf,
    },
    /// Print the JSON Schema (draft 2020-12) of a kind, or of all, by which editors complete and check.
    #[command(
        after_help = "Example:\n  evenkeel policy schema > policy.json\n  sed -i '1i # yaml-language-server: $schema=policy.json' *.yaml"
    )]
    Schema {
        /// The kind, e.g. Receiver.
        kind: Option<String>,
    },
    /// Bring the version before, or another one that is kept, into force again, as a new version.
    #[command(after_help = "Example:\n  evenkeel policy rollback --brokers 127.0.0.1:9092 --by \"$USER\"")]
    Rollback {
        /// To which version; default: the one before that in force. 0: to no policy at all.
        #[arg(long)]
        to: Option<u64>,
        #[command(flatten)]
        place: LogArgs,
        #[command(flatten)]
        change: ChangeArgs,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct ChangeArgs {
    /// Who does it; it stands in the audit log.
    #[arg(long)]
    by: String,
    /// Say what would change, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Wait so long until it is in force, s; 0: not at all.
    #[arg(long, default_value_t = 10)]
    wait: u64,
}

pub(super) fn run(command: PolicyCommand, json: bool) -> Result<Ending, PortError> {
    match command {
        PolicyCommand::Lint(paths) => lint(&Policies::read(&paths.paths, &Tuning::default())?, json),
        PolicyCommand::Test(paths) => test(&paths, json),
        PolicyCommand::Diff { paths, place } => {
            let in_force = place.target()?.in_force()?;
            let Some(policy) = compiled(&paths, &in_force.base, json)? else { return Ok(Ending::NotWell) };
            Ok(if show_difference(&in_force, &policy, json)? { Ending::NotWell } else { Ending::Well })
        }
        PolicyCommand::Apply { paths, place, change } => {
            let target = place.target()?;
            let in_force = target.in_force()?;
            let Some(policy) = compiled(&paths, &in_force.base, json)? else { return Ok(Ending::NotWell) };
            bring(&target, &in_force, &policy, &change, json)
        }
        PolicyCommand::Import { file } => import(&file),
        PolicyCommand::Schema { kind } => print_schema(kind.as_deref()),
        PolicyCommand::Get { place, versions } => get(&place.target()?.in_force()?, versions, json),
        PolicyCommand::Describe { what, place } => describe(&place.target()?.in_force()?, &what, json),
        PolicyCommand::Rollback { to, place, change } => {
            let target = place.target()?;
            let in_force = target.in_force()?;
            let policy = before(&in_force, to)?;
            bring(&target, &in_force, &policy, &change, json)
        }
    }
}

/// The documents, settings and identity of an applied policy.
fn parts(applied: &Applied) -> (Vec<Value>, Value, String, String) {
    let Control::ApplyPolicy { documents, settings, sha256, by, .. } = &applied.order else {
        unreachable!("only policies are kept as such")
    };
    let documents = serde_json::from_str(documents).unwrap_or_default();
    (documents, serde_json::from_str(settings).unwrap_or_default(), sha256.clone(), by.clone())
}

fn id(document: &Value) -> String {
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    format!("{}/{}", word(&document["kind"]), word(&document["metadata"]["name"]))
}

/// What is other than before.
struct Difference {
    /// Documents, with `+`, `-` or `~`.
    documents: Vec<(char, String)>,
    /// Settings, by path: what they were and what they are.
    settings: serde_json::Map<String, Value>,
}

fn difference(old: (&[Value], &Value), new: (&[Value], &Value)) -> Difference {
    let mut documents = Vec::new();
    for document in new.0 {
        match old.0.iter().find(|other| id(other) == id(document)) {
            None => documents.push(('+', id(document))),
            Some(other) if other != document => documents.push(('~', id(document))),
            Some(_) => {}
        }
    }
    let gone = old.0.iter().filter(|document| new.0.iter().all(|other| id(other) != id(document)));
    documents.extend(gone.map(|document| ('-', id(document))));
    Difference { documents, settings: changes(old.1, new.1) }
}

/// Shows what a policy would change; whether it would change anything.
fn show_difference(in_force: &InForce, policy: &Compiled, json: bool) -> Result<bool, PortError> {
    let (old, old_settings) = in_force
        .kept
        .last()
        .map(parts)
        .map_or((Vec::new(), json!({})), |(documents, settings, ..)| (documents, settings));
    let parse = |text: &str| serde_json::from_str::<Value>(text).map_err(|error| fatal(error.to_string()));
    let (new, new_settings) = (parse(&policy.documents)?, parse(&policy.settings)?);
    let new = new.as_array().cloned().unwrap_or_default();
    let Difference { documents, settings } = difference((&old, &old_settings), (&new, &new_settings));
    if json {
        let documents = documents.iter().map(|(sign, id)| json!({"change": sign.to_string(), "document": id}));
        let documents = documents.collect::<Vec<_>>();
        println!("{}", json!({"version": in_force.version(), "documents": documents, "settings": settings}));
    } else {
        documents.iter().for_each(|(sign, id)| println!("{sign} {id}"));
        let word = |value: &Value| if value.is_null() { "as started".to_owned() } else { value.to_string() };
        for (path, change) in &settings {
            println!("  {path}: {} → {}", word(&change["from"]), word(&change["to"]));
        }
        if documents.is_empty() {
            println!("nothing changes: version {} is in force", in_force.version());
        }
    }
    Ok(!documents.is_empty())
}

/// Brings a policy into force, unless it is.
fn bring(
    target: &Target,
    in_force: &InForce,
    policy: &Compiled,
    change: &ChangeArgs,
    json: bool,
) -> Result<Ending, PortError> {
    let differs = if change.dry_run || !json { show_difference(in_force, policy, json)? } else { true };
    let is_same = in_force.kept.last().is_some_and(|last| parts(last).2 == policy.sha256);
    if change.dry_run || is_same || !differs {
        return Ok(Ending::Well);
    }
    let version = in_force.version() + 1;
    target.order(policy, version, &change.by)?;
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(change.wait) {
        let now = target.in_force()?;
        if let Some(applied) = now.kept.iter().find(|applied| applied.version() == version) {
            if parts(applied).2 != policy.sha256 {
                return Err(fatal(format!("somebody else's version {version} was first: see `diff`, and apply again")));
            }
            tell(&[applied], json);
            return Ok(Ending::Well);
        }
        std::thread::sleep(LOOK_EVERY);
    }
    if change.wait == 0 {
        if !json {
            println!("version {version} is ordered");
        }
        return Ok(Ending::Well);
    }
    eprintln!("version {version} is ordered, and not in force after {} s: is `evenkeel run` on it?", change.wait);
    Ok(Ending::NotWell)
}

fn tell(versions: &[&Applied], json: bool) {
    if !json {
        println!("{:>7} {:<24} {:>10}  {:<16} {:<12} documents", "version", "in force since", "epoch", "by", "sha256");
    }
    for applied in versions {
        let (documents, _, sha256, by) = parts(applied);
        let (version, epoch, since) = (applied.version(), applied.epoch, rfc3339(applied.at_us));
        if json {
            let names = documents.iter().map(id).collect::<Vec<_>>();
            println!(
                "{}",
                json!({"version": version, "since": since, "at_us": applied.at_us, "epoch": epoch, "by": by,
                "sha256": sha256, "documents": names})
            );
        } else {
            println!("{version:>7} {since:<24} {epoch:>10}  {by:<16} {:<12} {}", &sha256[..12], documents.len());
        }
    }
}

fn get(in_force: &InForce, versions: bool, json: bool) -> Result<Ending, PortError> {
    let Some(newest) = in_force.kept.last() else {
        eprintln!("no policy was applied here: what the run was started with is in force");
        return Ok(Ending::Well);
    };
    if versions {
        tell(&in_force.kept.iter().collect::<Vec<_>>(), json);
        return Ok(Ending::Well);
    }
    let (documents, _, _, by) = parts(newest);
    if json {
        documents.iter().for_each(|document| println!("{document}"));
        return Ok(Ending::Well);
    }
    println!("version {} of {} by {by}", newest.version(), rfc3339(newest.at_us));
    for document in &documents {
        println!("{:<16} {}", document["kind"].as_str().unwrap_or_default(), id(document));
    }
    Ok(Ending::Well)
}

fn describe(in_force: &InForce, what: &str, json: bool) -> Result<Ending, PortError> {
    if let Ok(version) = what.parse::<u64>() {
        let kept = |version| in_force.kept.iter().find(|applied| applied.version() == version);
        let applied =
            kept(version).ok_or_else(|| fatal(format!("version {version} is not kept: see `get --versions`")))?;
        let (documents, settings, sha256, _) = parts(applied);
        let earlier = version.checked_sub(1).and_then(kept).cloned().into_iter().collect();
        tell(&[applied], json);
        let policy = Compiled {
            documents: json!(documents).to_string(),
            settings: settings.to_string(),
            sha256,
            maintenance: Vec::new(),
        };
        show_difference(&InForce { kept: earlier, base: in_force.base.clone() }, &policy, json)?;
        return Ok(Ending::Well);
    }
    let newest = in_force.kept.last().ok_or_else(|| fatal("no policy was applied here"))?;
    let (documents, ..) = parts(newest);
    let found = documents.iter().find(|document| id(document) == what);
    let names = || documents.iter().map(id).collect::<Vec<_>>().join(", ");
    let found = found.ok_or_else(|| fatal(format!("no {what} is in force; there are: {}", names())))?;
    if json {
        println!("{found}");
    } else {
        println!("{}", serde_json::to_string_pretty(found).map_err(|error| fatal(error.to_string()))?);
    }
    Ok(Ending::Well)
}

/// A version that is kept, to be brought into force again.
fn before(in_force: &InForce, to: Option<u64>) -> Result<Compiled, PortError> {
    let newest = in_force.version();
    let to = match to {
        Some(to) => to,
        None => {
            newest.checked_sub(1).ok_or_else(|| fatal("no policy was applied here: there is none to go back to"))?
        }
    };
    if to == 0 {
        let (documents, settings) = ("[]".to_owned(), "{}".to_owned());
        return Ok(Compiled { sha256: documents_sha256(&documents), documents, settings, maintenance: Vec::new() });
    }
    let applied = in_force.kept.iter().find(|applied| applied.version() == to);
    let applied = applied.ok_or_else(|| fatal(format!("version {to} is not kept: see `get --versions`")))?;
    let Control::ApplyPolicy { documents, settings, sha256, .. } = applied.order.clone() else {
        unreachable!("only policies are kept as such")
    };
    in_force.base.with(&settings).map_err(fatal)?;
    Ok(Compiled { documents, sha256, settings, maintenance: Vec::new() })
}
