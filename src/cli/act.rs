//! `evenkeel act`: carries out commands, at HAProxy, at Envoy or by other means.

use super::log_args::LogArgs;
use super::{Ending, fatal};
use crate::act::envoy::{Admin, Envoy};
use crate::act::haproxy::{Address, Hands, Haproxy, Map, Runtime, TakeOut};
use crate::act::kubernetes::{Api, DryRun, Requests};
use crate::act::scripts::Scripts;
use crate::act::webhook::Webhook;
use crate::act::{Act, Actuator, Book, Executor};
use crate::alerts::time;
use crate::ports::{PortError, SystemClock};
use crate::post::CERTIFICATES;
use evenkeel_schemas::{CommandKind, OutcomeStatus};
use serde_json::json;
use std::path::PathBuf;
use std::time::Duration;

/// How long one wait for commands lasts; a command ends it.
const WAIT: Duration = Duration::from_millis(100);

/// Pause after a log that could not be reached.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("executor").required(true))]
pub(super) struct ActArgs {
    #[command(flatten)]
    log: LogArgs,
    /// HAProxy's Runtime API, `stats socket … level admin` there: a path or HOST:PORT. Repeat it for every HAProxy that
    /// balances over the same servers.
    #[arg(long, group = "executor", value_name = "SOCKET")]
    haproxy: Vec<Address>,
    /// The directory that Envoy watches: for each SERVICE.json in --endpoints the same file is kept here, with nodes taken
    /// out, on trial, or with more of the requests.
    #[arg(long, group = "executor", requires = "endpoints", value_name = "DIR")]
    envoy: Option<PathBuf>,
    /// Which endpoints there are: SERVICE.json, a DiscoveryResponse with the ClusterLoadAssignment of that cluster. A node
    /// is an endpoint's hostname or, without one, ADDRESS:PORT.
    #[arg(long, value_name = "DIR")]
    endpoints: Option<PathBuf>,
    /// An Envoy's admin interface, asked whether it took what was written, e.g. http://127.0.0.1:9901. Repeat it for every
    /// Envoy that watches the directory.
    #[arg(long, value_name = "URL")]
    envoy_admin: Vec<String>,
    /// Hand commands to this HTTP server, as CloudEvents signed with what is in --secret-file: 2xx is done, 4xx refused, and
    /// else it is told again until the command expires. It has to act once on each `idempotency-key`.
    #[arg(long, group = "executor", requires = "secret_file", value_name = "URL")]
    webhook: Option<String>,
    /// Run the scripts that this file allows (TOML: name, program, args as patterns, timeout_s), without a shell.
    #[arg(long, group = "executor", value_name = "FILE")]
    scripts: Option<PathBuf>,
    /// Make requests to this Kubernetes API server, e.g. https://kubernetes.default.svc with the token of a service account
    /// that may patch Deployments and Nodes and evict Pods.
    #[arg(long, group = "executor", value_name = "URL")]
    kubernetes: Option<String>,
    /// Write the requests to a Kubernetes API server into this directory, and make none.
    #[arg(long, group = "executor", value_name = "DIR")]
    kubernetes_dry_run: Option<PathBuf>,
    /// Carry out these kinds only, e.g. reroute,throttle; where several actuators follow one log, each has its own.
    #[arg(long, value_delimiter = ',', value_parser = kind, value_name = "KIND")]
    kinds: Vec<CommandKind>,
    /// What a webhook's requests are signed with.
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// The token for Kubernetes.
    #[arg(long, default_value = "/var/run/secrets/kubernetes.io/serviceaccount/token", value_name = "FILE")]
    token_file: PathBuf,
    /// Certificates (PEM) that a webhook, or Kubernetes, is trusted by.
    #[arg(long, default_value = CERTIFICATES, value_name = "FILE")]
    ca_file: PathBuf,
    /// The namespace of Deployments and Pods.
    #[arg(long, default_value = "default")]
    namespace: String,
    /// Where images are, without tag; {service} stands for the service.
    #[arg(long, default_value = "{service}", value_name = "IMAGE")]
    repository: String,
    /// Which server a node is: NODE=BACKEND/SERVER, or SERVICE/NODE=BACKEND/SERVER. May be repeated, for one node too.
    #[arg(long, value_name = "NODE=BACKEND/SERVER")]
    map: Vec<String>,
    /// The same, one a line; # begins a comment.
    #[arg(long, value_name = "FILE")]
    map_file: Option<PathBuf>,
    /// Directory that remembers what was read and done; by default `act` in the data directory.
    #[arg(long)]
    state: Option<PathBuf>,
    /// How servers are taken out: drain, or maint where sessions stick to servers.
    #[arg(long, value_enum, default_value_t = TakeOut::Drain)]
    take_out: TakeOut,
    /// The part of its weight that a server on trial gets, of a hundred. HAProxy's weights of 1 cannot be parted: give
    /// servers 100.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100))]
    trial_percent: u32,
    /// Carry out what there is now, and end: 0 all was applied, 1 not all.
    #[arg(long)]
    once: bool,
}

fn kind(name: &str) -> Result<CommandKind, String> {
    let known = || CommandKind::ALL.map(CommandKind::name).join(", ");
    let found = CommandKind::ALL.into_iter().find(|kind| kind.name() == name);
    found.ok_or_else(|| format!("write one of {}", known()))
}

/// Who carries commands out.
fn executor(args: &ActArgs) -> Result<Box<dyn Executor>, PortError> {
    if let (Some(url), Some(secret_file)) = (&args.webhook, &args.secret_file) {
        return Ok(Box::new(Webhook::new(url, secret_file, &args.ca_file)?));
    }
    if let Some(path) = &args.scripts {
        return Ok(Box::new(Scripts::read(path)?));
    }
    let requests = || Requests::new(&args.namespace, &args.repository);
    if let Some(url) = &args.kubernetes {
        return Ok(Box::new(Api::new(url, &args.token_file, &args.ca_file, requests()?)?));
    }
    if let Some(directory) = &args.kubernetes_dry_run {
        return Ok(Box::new(DryRun::new(directory.clone(), requests()?)?));
    }
    if let (Some(watched), Some(operator)) = (&args.envoy, &args.endpoints) {
        let admins = args.envoy_admin.iter().map(|url| Admin::new(url)).collect::<Result<_, _>>()?;
        return Ok(Box::new(Envoy::new(operator, watched, admins, args.trial_percent)?));
    }
    let file = args.map_file.as_deref().map(Map::text_of).transpose()?.unwrap_or_default();
    let map = Map::parse(file.lines().chain(args.map.iter().map(String::as_str)))?;
    if map.is_empty() {
        return Err(fatal("which servers may it touch? give --map NODE=BACKEND/SERVER, or --map-file FILE"));
    }
    let runtimes = args.haproxy.iter().map(|address| Runtime { address: address.clone() }).collect();
    let hands = Hands { runtimes, take_out: args.take_out, trial_percent: args.trial_percent };
    hands.look(map.places())?;
    Ok(Box::new(Haproxy::new(map, hands)))
}

pub(super) fn act(args: &ActArgs, json: bool) -> Result<Ending, PortError> {
    let directory = args.log.state(args.state.as_ref(), "act")?;
    let executor = executor(args)?;
    let (mut log, mut inbox) = (args.log.must("commands")?, args.log.inbox(0)?);
    let mut actuator = Actuator::new(Book::kept_in(&directory)?, executor, args.kinds.clone(), SystemClock)?;
    let mut is_well = true;
    loop {
        match actuator.turn(log.as_mut(), &mut inbox, if args.once { Duration::ZERO } else { WAIT }) {
            Ok(acts) => {
                acts.iter().for_each(|act| tell(act, json));
                is_well &= acts.iter().all(|act| act.outcome.status == OutcomeStatus::Applied);
                if args.once && acts.is_empty() {
                    let all = is_well && actuator.book().waiting.is_empty();
                    return Ok(if all { Ending::Well } else { Ending::NotWell });
                }
            }
            Err(PortError::Retry(why)) if !args.once => {
                tracing::warn!(why, "tried again");
                std::thread::sleep(RETRY_PAUSE);
            }
            Err(error) => return Err(error),
        }
    }
}

fn tell(Act { command, outcome, took_us }: &Act, as_json: bool) {
    let (status, at_us) = (outcome.status, outcome.event_time_us);
    if as_json {
        let (command_id, target) = (&command.command_id, &command.target);
        let line = json!({"command_id": command_id, "kind": command.kind, "target": target, "status": status,
            "service": command.service,
            "params": command.params, "undo": command.undo,
            "detail": outcome.detail, "issued_us": command.at_us, "at_us": at_us, "took_us": took_us});
        println!("{line}");
    } else {
        let undo = if command.undo { "undo " } else { "" };
        let (kind, status) = (format!("{undo}{}", command.kind.name()), format!("{status:?}"));
        let (at, target, id) = (time::rfc3339(at_us), &command.target, &command.command_id);
        println!("{at} {kind:<14} {target:<16} {status:<8} {id} {}", outcome.detail);
    }
}
