//! `evenkeel alert`: tells receivers of incidents.

use super::log_args::LogArgs;
use super::{Ending, fatal};
use crate::alerts::api::{self, Desk};
use crate::alerts::send::FAREWELL_US;
use crate::alerts::{Book, Due, Sender, Store, time};
use crate::policy::{Policies, Routing, Watch};
use crate::ports::{Clock, OutputLog, PortError, SystemClock};
use crate::post::{CERTIFICATES, Undelivered};
use evenkeel_dataflows::{Roster, Tuning};
use evenkeel_schemas::{Dataset, Incident};
use serde_json::json;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Records read at a time.
const READ_ROWS: usize = 1_024;

/// Messages to one receiver before the others have their turn.
const MAX_MESSAGES_OF_TURN: usize = 100;

#[derive(Debug, clap::Args)]
pub(super) struct AlertArgs {
    #[command(flatten)]
    log: LogArgs,
    /// Who is told: files and folders with Receiver and Silence documents; by default those of the policy in force.
    #[arg(long, value_name = "PATH", num_args = 1..)]
    policies: Vec<PathBuf>,
    /// Certificates (PEM) that are trusted.
    #[arg(long, default_value = CERTIFICATES)]
    ca_file: PathBuf,
    /// Where alerts link to.
    #[arg(long, default_value = "http://127.0.0.1:9095")]
    external_url: String,
    /// Directory that remembers what was read and told; by default `alerts` in the data directory.
    #[arg(long)]
    state: Option<PathBuf>,
    /// Serve Alertmanager's API (for amtool), /status.json and /feed.rss here.
    #[arg(long, default_value = "127.0.0.1:9095")]
    listen: String,
    /// Without a state: tell of what began and ended before, too, not only of what is open.
    #[arg(long)]
    from_start: bool,
    /// Tell what is to be told now, and end: 0 all was told, 1 not all.
    #[arg(long)]
    once: bool,
    /// Look for something new so often, ms.
    #[arg(long, default_value_t = 250, value_parser = clap::value_parser!(u64).range(10..=60_000))]
    every: u64,
    /// Say what was decided of an incident, by receiver and why, and end.
    #[arg(long, value_name = "INCIDENT")]
    why: Option<String>,
}

pub(super) fn alert(args: &AlertArgs, json: bool) -> Result<Ending, PortError> {
    let directory = args.log.state(args.state.as_ref(), "alerts")?;
    if let Some(incident_id) = &args.why {
        return why(&Store::read_only(&directory), incident_id, json);
    }
    let (mut watch, first) = start(args)?;
    let mut log = args.log.must("incidents")?;
    let store = Store::open(&directory)?;
    let remembered = store.load()?;
    let is_new = remembered.is_none();
    let mut book = remembered.unwrap_or_default();
    book.welcome(&first.receivers, SystemClock.now_us());
    while read(log.as_mut(), &mut book)? {
        if is_new && !args.from_start {
            book.begin();
        }
        // The book itself is stored when all was read: until then a start is the first one.
        store.note(&mut book)?;
    }
    store.save(&mut book)?;
    let desk = Desk::new(book, store, args.external_url.trim_end_matches('/').to_owned());
    let mut senders = take(&desk, &first, args)?;
    if !args.once {
        super::serve(&args.listen, |socket: TcpListener| api::serve(socket, Arc::clone(&desk)))?;
    }
    loop {
        let is_all = turn(&desk, log.as_mut(), &mut senders, json)?;
        if args.once {
            // What began and ended is told in two steps.
            let is_all = is_all && turn(&desk, log.as_mut(), &mut senders, json)?;
            return Ok(if is_all { Ending::Well } else { Ending::NotWell });
        }
        std::thread::sleep(Duration::from_millis(args.every));
        match watch.as_mut().map(|watch| watch.changed(SystemClock.now_us())) {
            None | Some(Ok(None)) => {}
            Some(Ok(Some(routing))) => match take(&desk, &routing, args) {
                Ok(taken) => senders = with_leaving(taken, senders),
                Err(why) => {
                    tracing::error!(%why, "the receivers before are told still");
                    watch.iter_mut().for_each(Watch::again);
                }
            },
            Some(Err(PortError::Retry(why))) => tracing::warn!(why, "whom to tell is asked again"),
            Some(Err(error)) => return Err(error),
        }
    }
}

/// Whom to tell at first, and what says when that changes: nothing does if it was given.
fn start(args: &AlertArgs) -> Result<(Option<Watch>, Routing), PortError> {
    if !args.policies.is_empty() {
        let policies = Policies::read(&args.policies, &Tuning::default())?.sound()?;
        let routing = Routing::of(&policies.documents);
        if routing.receivers.is_empty() {
            return Err(fatal("there is no Receiver among these documents"));
        }
        return Ok((None, routing));
    }
    let mut watch = Watch::new(args.log.target()?);
    let routing = watch.changed(SystemClock.now_us())?.unwrap_or_default();
    if args.once && routing.receivers.is_empty() {
        return Err(fatal("the policy in force has no Receiver: apply one, or give --policies PATH"));
    }
    Ok((Some(watch), routing))
}

/// Tells these from now on.
fn take(desk: &Desk, routing: &Routing, args: &AlertArgs) -> Result<Vec<Sender>, PortError> {
    let Routing { receivers, silences } = routing;
    let names = receivers.iter().map(|receiver| receiver.name.as_str()).collect::<Vec<_>>();
    tracing::info!(receivers = names.join(" "), silences = silences.len(), "told from now on");
    if receivers.is_empty() {
        tracing::warn!("nobody is told: the policy in force has no Receiver");
    }
    for receiver in receivers {
        if let Err(why) = receiver.access() {
            tracing::error!(receiver = receiver.name, why, "not told until this can be read");
        }
    }
    let mut senders = Sender::all(receivers, &args.ca_file, &args.external_url)?;
    if receivers.iter().any(|receiver| receiver.on_call.is_some()) {
        let roster = Arc::new(roster(args)?);
        senders.iter_mut().for_each(|sender| sender.roster = Arc::clone(&roster));
    }
    let mut book = desk.book();
    book.welcome(receivers, SystemClock.now_us());
    book.written.clone_from(silences);
    Ok(senders)
}

/// With those who were receivers and are none any more: they are told the end of what they know of.
fn with_leaving(mut taken: Vec<Sender>, before: Vec<Sender>) -> Vec<Sender> {
    let until_us = SystemClock.now_us() + FAREWELL_US;
    for mut sender in before {
        if !taken.iter().any(|it| it.receiver.name == sender.receiver.name) {
            sender.leaves_us.get_or_insert(until_us);
            taken.push(sender);
        }
    }
    taken
}

/// Who is on call, by the documents that were given or the policy in force.
fn roster(args: &AlertArgs) -> Result<Roster, PortError> {
    if args.policies.is_empty() {
        return Ok(args.log.target()?.in_force()?.tuning()?.roster);
    }
    let base = Tuning::default();
    let compiled = Policies::read(&args.policies, &base)?.compile(&base)?;
    Ok(base.with(&compiled.settings).map_err(PortError::Fatal)?.roster)
}

/// Reads on; whether there was anything.
fn read(log: &mut dyn OutputLog, book: &mut Book) -> Result<bool, PortError> {
    let mut is_some = false;
    for partition in log.partitions(Dataset::Incidents)? {
        let offset = book.offsets.get(&partition).copied().unwrap_or(0);
        for row in log.read(Dataset::Incidents, partition, offset, READ_ROWS)? {
            match serde_json::from_slice::<Incident>(&row.value) {
                Ok(incident) => book.follow(&incident),
                Err(error) => {
                    *book.counts.entry("unreadable".to_owned()).or_default() += 1;
                    tracing::error!(partition, offset = row.offset, %error, "a record is no incident");
                }
            }
            book.offsets.insert(partition, row.offset + 1);
            is_some = true;
        }
    }
    Ok(is_some)
}

/// Reads, decides, sends; whether everybody knows all that there is to know.
fn turn(desk: &Desk, log: &mut dyn OutputLog, senders: &mut Vec<Sender>, json: bool) -> Result<bool, PortError> {
    let mut changed = {
        let mut book = desk.book();
        match read(log, &mut book) {
            Ok(is_some) => is_some,
            Err(PortError::Retry(why)) => {
                tracing::warn!(why, "reading is tried again");
                false
            }
            Err(error) => return Err(error),
        }
    };
    let mut is_all = true;
    for sender in senders.iter_mut() {
        let now_us = SystemClock.now_us();
        let mut due = {
            let mut book = desk.book();
            let due = match sender.leaves_us {
                None => book.due(&sender.receiver, now_us),
                Some(_) => book.farewell(&sender.receiver),
            };
            if changed || !book.decisions.is_empty() {
                // What was read is stored before anybody is told: a crash tells nobody of what was not read.
                desk.store.save(&mut book)?;
                changed = false;
            }
            due
        };
        let mut messages = 0;
        while !due.is_empty() && messages < MAX_MESSAGES_OF_TURN && sender.is_ready(SystemClock.now_us()) {
            let rest = due.split_off(sender.batch(&due));
            if !tell(desk, sender, &due, json)? {
                is_all = false;
                break;
            }
            (due, messages) = (rest, messages + 1);
        }
        is_all &= due.is_empty();
    }
    let (mut book, now_us) = (desk.book(), SystemClock.now_us());
    senders.retain(|it| it.leaves_us.is_none_or(|us| now_us < us && !book.farewell(&it.receiver).is_empty()));
    let receivers = senders.iter().map(|sender| &sender.receiver).collect::<Vec<_>>();
    book.forget(&receivers, now_us);
    if changed || !book.decisions.is_empty() {
        desk.store.save(&mut book)?;
    }
    Ok(is_all)
}

/// Sends, and stores what came of it; whether it is settled.
fn tell(desk: &Desk, sender: &mut Sender, due: &[Due], json: bool) -> Result<bool, PortError> {
    let now_us = SystemClock.now_us();
    let sent = sender.send(due, now_us);
    let receiver = &sender.receiver;
    let mut book = desk.book();
    for Due { action, alert, .. } in due {
        let (incident_id, name, action) = (&alert.id, &receiver.name, action.as_str());
        match &sent {
            Ok(_) if json => {
                println!("{}", json!({"incident_id": incident_id, "receiver": name, "sent": action, "at_us": now_us}));
            }
            Ok(_) => println!("{} {name:<16} {action:<11} {incident_id} {}", time::rfc3339(now_us), alert.summary()),
            Err(Undelivered::Retry(why)) => tracing::warn!(incident_id, receiver = name, why, "told later"),
            Err(Undelivered::Refused(why)) => tracing::error!(incident_id, receiver = name, why, "refused for good"),
        }
    }
    if let Ok(Some(why)) = &sent {
        tracing::error!(receiver = receiver.name, why, "not all of its people were told");
    }
    match &sent {
        Ok(None) => due.iter().for_each(|due| book.sent(receiver, due, now_us)),
        Ok(Some(why)) => due.iter().for_each(|due| book.sent_in_part(receiver, due, why, now_us)),
        Err(Undelivered::Refused(why)) => due.iter().for_each(|due| book.refused(receiver, due, why, now_us)),
        Err(Undelivered::Retry(_)) => {
            *book.counts.entry("retried".to_owned()).or_default() += 1;
            return Ok(false);
        }
    }
    desk.store.save(&mut book)?;
    Ok(true)
}

fn why(store: &Store, incident_id: &str, json: bool) -> Result<Ending, PortError> {
    let decisions = store.decisions(incident_id)?;
    for decision in &decisions {
        if json {
            println!("{}", json!(decision));
        } else {
            let receiver = if decision.receiver.is_empty() { "everybody" } else { &decision.receiver };
            println!("{} {receiver:<16} {:<11} {}", time::rfc3339(decision.at_us), decision.what, decision.reason);
        }
    }
    if decisions.is_empty() {
        eprintln!("nothing was decided of {incident_id}, as far as is remembered");
        return Ok(Ending::NotWell);
    }
    Ok(Ending::Well)
}
