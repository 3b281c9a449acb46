//! `evenkeel act`: carries out commands at HAProxy.

use super::log_args::LogArgs;
use super::{Ending, fatal};
use crate::act::{Act, Actuator, Address, Hands, Map, Runtime, Store, TakeOut};
use crate::alerts::time;
use crate::ports::{PortError, SystemClock};
use evenkeel_schemas::OutcomeStatus;
use serde_json::json;
use std::path::PathBuf;
use std::time::Duration;

/// How long one wait for commands lasts; a command ends it.
const WAIT: Duration = Duration::from_millis(100);

/// Pause after a log that could not be reached.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

#[derive(Debug, clap::Args)]
pub(super) struct ActArgs {
    #[command(flatten)]
    log: LogArgs,
    /// HAProxy's Runtime API, `stats socket … level admin` there: a path or HOST:PORT. Repeat it for every HAProxy that
    /// balances over the same servers.
    #[arg(long, required = true, value_name = "SOCKET")]
    haproxy: Vec<Address>,
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
    /// The part of its weight that a server on trial gets, of a hundred. Weights of 1 cannot be parted: give servers 100.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100))]
    trial_percent: u32,
    /// Carry out what there is now, and end: 0 all was applied, 1 not all.
    #[arg(long)]
    once: bool,
}

pub(super) fn act(args: &ActArgs, json: bool) -> Result<Ending, PortError> {
    let directory = args.log.state(args.state.as_ref(), "act")?;
    let file = args.map_file.as_deref().map(Map::text_of).transpose()?.unwrap_or_default();
    let map = Map::parse(file.lines().chain(args.map.iter().map(String::as_str)))?;
    if map.is_empty() {
        return Err(fatal("which servers may it touch? give --map NODE=BACKEND/SERVER, or --map-file FILE"));
    }
    let runtimes = args.haproxy.iter().map(|address| Runtime { address: address.clone() }).collect();
    let hands = Hands { runtimes, take_out: args.take_out, trial_percent: args.trial_percent };
    hands.look(map.places())?;
    let (mut log, mut inbox) = (args.log.must("commands")?, args.log.inbox()?);
    let mut actuator = Actuator::new(Store::open(&directory)?, map, hands, SystemClock)?;
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
            "detail": outcome.detail, "issued_us": command.at_us, "at_us": at_us, "took_us": took_us});
        println!("{line}");
    } else {
        let (kind, status) = (format!("{:?}", command.kind), format!("{status:?}"));
        let (at, target, id) = (time::rfc3339(at_us), &command.target, &command.command_id);
        println!("{at} {kind:<12} {target:<16} {status:<8} {id} {}", outcome.detail);
    }
}
