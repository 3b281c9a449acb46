//! What people say to commands: `commands`, `approve`, `reject`, `break-glass`; and the `gate` that makes sure who they are.

use super::log_args::LogArgs;
use super::{Ending, fatal};
use crate::alerts::time::rfc3339;
use crate::gate::{Book, Gate, Secrets, server};
use crate::ports::{Clock, OutputLog, PortError, SystemClock};
use crate::proposals::{PARTITION, Proposals};
use crate::seal::{FileKey, Signer};
use evenkeel_schemas::{
    Command, CommandState, Control, Dataset, Detector, Incident, IncidentState, MAX_GLASS_S, Topic,
};
use serde_json::{Value, json};
use std::net::TcpListener;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How often it is looked what came of a word.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How long a gate may take to answer.
const GATE_TIMEOUT: Duration = Duration::from_secs(35);

/// Records of incidents read at a time.
const READ_ROWS: usize = 1_024;

#[derive(Debug, clap::Subcommand)]
pub(super) enum PeopleCommand {
    /// List the commands that wait for a person: what, why, until when.
    #[command(after_help = "Example:\n  evenkeel commands --brokers 127.0.0.1:9092")]
    Commands(CommandsArgs),
    /// Have a command carried out that waits for a person; 1 if the word does not count, and why.
    #[command(
        after_help = "Example:\n  evenkeel approve CMD-ae1ecac2c48a --by alice --totp 123456 --brokers 127.0.0.1:9092"
    )]
    Approve(WordArgs),
    /// Have a command not carried out that waits for a person.
    #[command(after_help = "Example:\n  evenkeel reject CMD-ae1ecac2c48a --by alice --brokers 127.0.0.1:9092")]
    Reject(WordArgs),
    /// Decide alone for a while, without the usual approvals: everybody is told, all of it is audited, it ends by itself.
    #[command(
        after_help = "Example:\n  evenkeel break-glass --by bob --service checkout --for 30m --why 'nobody else is awake' --brokers 127.0.0.1:9092"
    )]
    BreakGlass(GlassArgs),
    /// Make sure that people are who they say: one-time passwords (RFC 6238) in, sealed orders out.
    #[command(subcommand)]
    Gate(GateCommand),
}

pub(super) fn run(command: PeopleCommand, json: bool) -> Result<Ending, PortError> {
    match command {
        PeopleCommand::Commands(args) => commands(&args, json),
        PeopleCommand::Approve(args) => decide(&args, true, json),
        PeopleCommand::Reject(args) => decide(&args, false, json),
        PeopleCommand::BreakGlass(args) => break_glass(&args, json),
        PeopleCommand::Gate(command) => gate(command),
    }
}

#[derive(Debug, clap::Args)]
pub(super) struct CommandsArgs {
    #[command(flatten)]
    log: LogArgs,
    /// Of this service alone.
    #[arg(long)]
    service: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct WordArgs {
    /// The command, CMD-…; its first letters are enough if no other begins so.
    command: String,
    #[command(flatten)]
    who: WhoArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct GlassArgs {
    /// For which service, or *.
    #[arg(long, default_value = "*")]
    service: String,
    /// For how long: a number and s, m or h; at most 4h.
    #[arg(long = "for", value_name = "TIME", required_unless_present = "end")]
    lasts: Option<String>,
    /// Why; everybody is told.
    #[arg(long)]
    why: String,
    /// End it now instead.
    #[arg(long, conflicts_with = "lasts")]
    end: bool,
    #[command(flatten)]
    who: WhoArgs,
}

#[derive(Debug, clap::Args)]
struct WhoArgs {
    #[command(flatten)]
    log: LogArgs,
    /// Who says so, as the roster names them; it stands in the audit log.
    #[arg(long)]
    by: String,
    /// The person's one-time password: the order goes through the gate then. -: the first line of standard input.
    #[arg(long, value_name = "DIGITS")]
    totp: Option<String>,
    /// Where the gate is.
    #[arg(long, env = "EVENKEEL_GATE", default_value = "http://127.0.0.1:9096")]
    gate: String,
    /// Wait so long for what comes of it, s; 0: not at all.
    #[arg(long, default_value_t = 10)]
    wait: u64,
}

#[derive(Debug, clap::Subcommand)]
pub(super) enum GateCommand {
    /// Check one-time passwords, seal orders, and write them to the control topic.
    #[command(
        after_help = "Example:\n  evenkeel audit keygen --name example.com/gate --out gate.key\n  evenkeel gate serve --secrets secrets --key gate.key --state ./gate --brokers 127.0.0.1:9092"
    )]
    Serve {
        #[command(flatten)]
        log: LogArgs,
        /// The file of secrets, mode 0600: see `evenkeel gate enroll`.
        #[arg(long)]
        secrets: PathBuf,
        /// The gate's private key; its public one stands in the roster as one of `gates`.
        #[arg(long)]
        key: PathBuf,
        /// Directory that remembers which passwords were used; by default `gate` in the data directory.
        #[arg(long)]
        state: Option<PathBuf>,
        /// Serve here. There is no TLS: who opens this puts a proxy before it.
        #[arg(long, default_value = "127.0.0.1:9096")]
        listen: String,
    },
    /// Give a person a secret, and print the line for their authenticator, once.
    #[command(after_help = "Example:\n  evenkeel gate enroll alice --secrets secrets | qrencode -t ansiutf8")]
    Enroll {
        /// Who, as the roster names them.
        name: String,
        /// The file of secrets; it is made if need be, mode 0600.
        #[arg(long)]
        secrets: PathBuf,
    },
}

/// What waits for a person.
fn commands(args: &CommandsArgs, json: bool) -> Result<Ending, PortError> {
    let (mut log, mut all) = (args.log.must("commands")?, Proposals::default());
    all.read(log.as_mut())?;
    let waiting = all.waiting(args.service.as_deref());
    if !json && !waiting.is_empty() {
        println!(
            "{:<16} {:<14} {:<12} {:<16} {:<24} {:<12} why",
            "command", "kind", "service", "target", "until", "approved by"
        );
    }
    for it in &waiting {
        if json {
            println!("{}", json!(it));
            continue;
        }
        let (kind, until, by) =
            (word_of(&it.kind), rfc3339(it.expires_us), if it.by.is_empty() { "-" } else { &it.by });
        let (id, service, target) = (&it.command_id, &it.service, &it.target);
        println!("{id:<16} {kind:<14} {service:<12} {target:<16} {until:<24} {by:<12} {}", it.reason);
    }
    if waiting.is_empty() && !json {
        eprintln!("nothing waits for a person");
    }
    Ok(Ending::Well)
}

/// Approves or rejects; 0 if the word counts, 1 if not.
fn decide(args: &WordArgs, approves: bool, json: bool) -> Result<Ending, PortError> {
    let WordArgs { command, who } = args;
    let (mut log, mut all) = (who.log.must("commands")?, Proposals::default());
    all.read(log.as_mut())?;
    let (service, command_id) = {
        let found = all.one(command)?;
        (found.service.clone(), found.command_id.clone())
    };
    let (event_time_us, by, id) = (SystemClock.now_us(), who.by.clone(), command_id.clone());
    let (proofs, seal) = (Vec::new(), String::new());
    who.order(if approves {
        Control::Approve { event_time_us, by, service, command_id, proofs, seal }
    } else {
        Control::Reject { event_time_us, by, service, command_id, proofs, seal }
    })?;
    let is_answer =
        |it: &Command| it.command_id == id && (it.by.split(", ").any(|by| by == who.by) || it.detail.contains(&who.by));
    let answer = who.answer(|| Ok(all.read(log.as_mut())?.into_iter().find(is_answer)))?;
    let Some(answer) = answer else { return Ok(who.unanswered(&id)) };
    let counts = !answer.detail.contains("does not count");
    if json {
        println!("{}", json!(answer));
    } else {
        println!("{id} {}: {}", word_of(&answer.state), answer.detail);
    }
    Ok(if counts && (answer.state != CommandState::Rejected || !approves) { Ending::Well } else { Ending::NotWell })
}

/// Lets a person decide alone for a while; 0 once it is so.
fn break_glass(args: &GlassArgs, json: bool) -> Result<Ending, PortError> {
    let GlassArgs { service, lasts, why, end, who } = args;
    let for_s = match lasts {
        Some(text) => seconds(text).ok_or_else(|| fatal(format!("--for {text}: write 1s to 4h, as 30m")))?,
        None => 0,
    };
    let mut log = who.log.must("incidents")?;
    let (event_time_us, by, service, why) = (SystemClock.now_us(), who.by.clone(), service.clone(), why.clone());
    let (proofs, seal, scope) = (Vec::new(), String::new(), service.clone());
    who.order(Control::BreakGlass { event_time_us, by, service, for_s, why, proofs, seal })?;
    let is_answer = |it: &Incident| {
        let mine =
            it.cause.detector == Detector::BreakGlass && it.service == scope && it.cause.evidence.starts_with(&who.by);
        mine && it.at_us >= event_time_us - 1_000_000 && (it.state == IncidentState::Resolved) == *end
    };
    let mut offsets = std::collections::BTreeMap::new();
    let answer = who.answer(|| Ok(incidents(log.as_mut(), &mut offsets)?.into_iter().find(is_answer)))?;
    let Some(answer) = answer else { return Ok(who.unanswered(&scope)) };
    if json {
        println!("{}", json!(answer))
    } else {
        println!("{} {}", answer.incident_id, answer.cause.evidence)
    }
    Ok(Ending::Well)
}

/// Incidents that were not read before.
fn incidents(
    log: &mut dyn OutputLog,
    offsets: &mut std::collections::BTreeMap<u32, u64>,
) -> Result<Vec<Incident>, PortError> {
    let mut said = Vec::new();
    for partition in log.partitions(Dataset::Incidents)? {
        let next = offsets.entry(partition).or_default();
        loop {
            let rows = log.read(Dataset::Incidents, partition, *next, READ_ROWS)?;
            let Some(last) = rows.last() else { break };
            *next = last.offset + 1;
            said.extend(rows.iter().filter_map(|row| serde_json::from_slice::<Incident>(&row.value).ok()));
        }
    }
    Ok(said)
}

impl WhoArgs {
    /// Writes an order, through the gate if there is a password.
    fn order(&self, order: Control) -> Result<(), PortError> {
        if let Some(totp) = &self.totp {
            return self.through_gate(&order, totp);
        }
        let mut inbox = self.log.inbox(PARTITION)?;
        let payload = serde_json::to_vec(&order).expect("an order is JSON");
        inbox.send(Topic::Control, order.event_time_us(), &payload)?;
        inbox.flush()
    }

    fn through_gate(&self, order: &Control, totp: &str) -> Result<(), PortError> {
        let mut line = String::new();
        if totp == "-" {
            std::io::stdin().read_line(&mut line).map_err(|error| fatal(format!("reading standard input: {error}")))?;
        }
        let mut body = json!(order);
        body["totp"] = json!(if totp == "-" { line.trim() } else { totp });
        let config = ureq::Agent::config_builder().timeout_global(Some(GATE_TIMEOUT)).http_status_as_error(false);
        let agent = ureq::Agent::from(config.build());
        let url = format!("{}/orders", self.gate.trim_end_matches('/'));
        let sent = agent.post(&url).header("content-type", "application/json").send(body.to_string());
        let mut answer = sent.map_err(|error| fatal(format!("the gate at {url}: {error}")))?;
        let said = answer.body_mut().with_config().limit(65_536).read_to_string().unwrap_or_default();
        if answer.status().is_success() {
            return Ok(());
        }
        let why = serde_json::from_str::<Value>(&said).ok();
        let why = why.and_then(|said| said["error"].as_str().map(str::to_owned)).unwrap_or(said);
        Err(fatal(format!("the gate refuses it: {why}")))
    }

    /// Looks until there is an answer, or the time is over.
    fn answer<T>(&self, mut look: impl FnMut() -> Result<Option<T>, PortError>) -> Result<Option<T>, PortError> {
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(self.wait) {
            if let Some(answer) = look()? {
                return Ok(Some(answer));
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(None)
    }

    fn unanswered(&self, scope: &str) -> Ending {
        if self.wait == 0 {
            return Ending::Well;
        }
        let hint = format!("`evenkeel audit export --about '{scope}'` says whether it was refused, and why");
        eprintln!("ordered, and nothing came of it within {} s: is `evenkeel run` on it? {hint}", self.wait);
        Ending::NotWell
    }
}

/// The gate, and who may pass it.
fn gate(command: GateCommand) -> Result<Ending, PortError> {
    match command {
        GateCommand::Enroll { name, secrets } => {
            println!("{}", Secrets::enroll(&secrets, &name)?);
            Ok(Ending::Well)
        }
        GateCommand::Serve { log, secrets, key, state, listen } => {
            let key = FileKey::read(&key)?;
            Secrets::read(&secrets)?;
            let store = Book::kept_in(&log.state(state.as_ref(), "gate")?)?;
            let inbox = log.inbox(server::PARTITION)?;
            tracing::info!(key = %key.key(), listen, "the gate is open; its key belongs to the roster's gates");
            let gate = Gate { secrets, key, book: store.load()?.unwrap_or_default(), store, inbox };
            let thread = super::serve(&listen, |socket: TcpListener| server::serve(socket, gate))?;
            thread.join().map_err(|_| fatal("the gate ended"))?;
            Ok(Ending::Unusable)
        }
    }
}

/// A word of the contract as it is written there.
fn word_of(value: &impl serde::Serialize) -> String {
    json!(value).as_str().unwrap_or_default().to_owned()
}

/// Seconds of a number and its unit.
fn seconds(text: &str) -> Option<u32> {
    let (number, unit) = text.split_at(text.find(|letter: char| !letter.is_ascii_digit())?);
    let unit_s = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        _ => return None,
    };
    let all = number.parse::<u32>().ok()?.checked_mul(unit_s)?;
    (1..=MAX_GLASS_S).contains(&all).then_some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_unit_and_a_bound() {
        let all = ["30m", "4h", "1s", "0s", "5h", "30", "m", "99999999999h", "1d"].map(seconds);
        assert_eq!(all, [Some(1_800), Some(14_400), Some(1), None, None, None, None, None, None]);
    }
}
