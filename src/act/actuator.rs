//! [`Actuator`]: hears commands, acts, stores, says what came of them.

use super::book::{Book, Store, wanted};
use super::hands::{Hands, Undone, Wanted};
use super::map::{Map, Place};
use crate::ports::{Clock, OutputLog, PortError};
use crate::report::Inbox;
use evenkeel_schemas::{Command, Dataset, Outcome, OutcomeStatus, Topic};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Records read at a time.
const READ_ROWS: usize = 1_024;

/// So often it is asked whether a HAProxy was started anew; an answer takes it some 70 µs.
pub const RESTART_LOOK: Duration = Duration::from_millis(100);

/// So often it is asked whether the commands have further partitions.
const PARTITIONS_LOOK: Duration = Duration::from_secs(60);

/// So long a HAProxy that cannot be reached is left alone.
const AWAY_PAUSE: Duration = Duration::from_millis(100);

/// What was done with a command, for those who watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    /// The command.
    pub command: Command,
    /// The answer to it.
    pub outcome: Outcome,
    /// How long it took since it was read, µs.
    pub took_us: i64,
}

/// Carries out commands.
pub struct Actuator<C> {
    book: Book,
    store: Store,
    map: Map,
    hands: Hands,
    clock: C,
    partitions: Vec<u32>,
    partitions_at: Option<Instant>,
    looked_at: Option<Instant>,
    away_at: Option<Instant>,
}

impl<C: Clock> Actuator<C> {
    /// One that goes on where the last one in the store's directory stopped.
    ///
    /// # Errors
    /// `Fatal` if the store cannot be read.
    pub fn new(store: Store, map: Map, hands: Hands, mut clock: C) -> Result<Self, PortError> {
        let book = store.load()?.unwrap_or_else(|| Book::new(clock.now_us()));
        let (partitions, partitions_at, looked_at, away_at) = (vec![0], None, None, None);
        Ok(Self { book, store, map, hands, clock, partitions, partitions_at, looked_at, away_at })
    }

    /// What is known.
    pub fn book(&self) -> &Book {
        &self.book
    }

    /// One turn: reads, waiting at most `wait` for something new, acts, stores, says. Returns what was done.
    ///
    /// # Errors
    /// `Retry` if the log or the disk is not there now: what was not stored is read again.
    pub fn turn(&mut self, log: &mut dyn OutputLog, inbox: &mut Inbox, wait: Duration) -> Result<Vec<Act>, PortError> {
        let mut acts = self.hear(log, wait)?;
        let heard_us = self.clock.now_us();
        let has_news = !self.book.waiting.is_empty() || !acts.is_empty();
        if self.book.waiting.is_empty() || self.away_at.is_none_or(|at| at.elapsed() >= AWAY_PAUSE) {
            self.away_at = None;
            self.act(heard_us, &mut acts);
        }
        let was_restarted = self.remind();
        // A crash here acts again on what was done since it was stored last; what is so already is left.
        if has_news || was_restarted {
            self.store.save(&self.book)?;
        }
        // A crash here says outcomes at the next start.
        if self.say(inbox)? {
            self.store.save(&self.book)?;
        }
        Ok(acts)
    }

    /// Reads on; what there is no room for fails at once.
    fn hear(&mut self, log: &mut dyn OutputLog, wait: Duration) -> Result<Vec<Act>, PortError> {
        if self.partitions_at.is_none_or(|at| at.elapsed() >= PARTITIONS_LOOK) {
            let found = log.partitions(Dataset::Commands)?;
            self.partitions.extend(found);
            self.partitions.sort_unstable();
            self.partitions.dedup();
            self.partitions_at = Some(Instant::now());
        }
        let (mut acts, share) = (Vec::new(), self.partitions.len() as u32);
        for partition in self.partitions.clone() {
            let offset = self.book.offsets.get(&partition).copied().unwrap_or(0);
            let rows = log.read_on(Dataset::Commands, partition, offset, READ_ROWS, wait / share)?;
            for row in rows {
                match serde_json::from_slice::<Command>(&row.value) {
                    Ok(command) => {
                        if let Some(command) = self.book.hear(command, &self.map) {
                            let why = "too many commands wait for a HAProxy that is away".to_owned();
                            acts.push(self.finish(command, OutcomeStatus::Failed, why, row.at_us));
                        }
                    }
                    Err(error) => tracing::error!(partition, offset = row.offset, %error, "a record is no command"),
                }
                self.book.offsets.insert(partition, row.offset + 1);
            }
        }
        Ok(acts)
    }

    /// Carries out what waits.
    fn act(&mut self, heard_us: i64, acts: &mut Vec<Act>) {
        for command in std::mem::take(&mut self.book.waiting) {
            let (target, places, wanted) = match (self.map.servers(&command), wanted(command.kind)) {
                (Some((target, places)), Some(wanted)) => (target.to_owned(), places.to_vec(), wanted),
                _ => {
                    tracing::warn!(
                        command_id = command.command_id,
                        "it waited, and its target is not in the map any more"
                    );
                    continue;
                }
            };
            if let Some(why) = self.book.objection(&command, &target, self.clock.now_us()) {
                acts.push(self.finish(command, OutcomeStatus::Refused, why, heard_us));
                continue;
            }
            let (status, detail) = match self.hands.bring(&places, wanted, &self.out()) {
                Ok(detail) => {
                    self.want(&target, wanted);
                    (OutcomeStatus::Applied, detail)
                }
                Err(Undone::Later(why)) => {
                    tracing::warn!(command_id = command.command_id, why, "a command waits");
                    self.away_at = Some(Instant::now());
                    self.book.waiting.push(command);
                    continue;
                }
                Err(Undone::Failed(why)) => (OutcomeStatus::Failed, why),
                Err(Undone::Refused(why)) => (OutcomeStatus::Refused, why),
            };
            acts.push(self.finish(command, status, detail, heard_us));
        }
    }

    fn want(&mut self, target: &str, wanted: Wanted) {
        match wanted {
            Wanted::Full => drop(self.book.wanted.remove(target)),
            wanted => drop(self.book.wanted.insert(target.to_owned(), wanted)),
        }
    }

    /// The servers that were taken out here, or are on trial.
    fn out(&self) -> BTreeSet<Place> {
        self.book.wanted.keys().flat_map(|target| self.map.named(target)).cloned().collect()
    }

    fn finish(&mut self, command: Command, status: OutcomeStatus, detail: String, heard_us: i64) -> Act {
        let event_time_us = self.clock.now_us();
        let (command_id, service) = (command.command_id.clone(), command.service.clone());
        // Details are names on the wire: bounded.
        let detail = detail[..detail.floor_char_boundary(detail.len().min(MAX_DETAIL_BYTES))].to_owned();
        let outcome = Outcome { event_time_us, command_id, service, status, detail };
        self.book.finish(outcome.clone());
        Act { command, outcome, took_us: event_time_us - heard_us }
    }

    /// Takes out again what a HAProxy that was started anew has forgotten; whether there was one.
    fn remind(&mut self) -> bool {
        if self.looked_at.is_some_and(|at| at.elapsed() < RESTART_LOOK) {
            return false;
        }
        self.looked_at = Some(Instant::now());
        let mut was_restarted = false;
        for runtime in self.hands.runtimes.clone() {
            // One that is away is asked again with the next look.
            let Ok(pid) = runtime.pid() else { continue };
            let name = runtime.address.to_string();
            if self.book.pids.get(&name) == Some(&pid) {
                continue;
            }
            let only = Hands { runtimes: vec![runtime], ..self.hands.clone() };
            let is_reminded = self.book.wanted.iter().all(|(target, wanted)| {
                let mut out = self.out();
                let places = self.map.named(target);
                out.retain(|place| !places.contains(place));
                let brought = only.bring(places, *wanted, &out);
                tracing::info!(haproxy = name, pid, target, ?brought, "another HAProxy process answers");
                !matches!(brought, Err(Undone::Later(_)))
            });
            if is_reminded {
                self.book.pids.insert(name, pid);
                was_restarted = true;
            }
        }
        was_restarted
    }

    /// Says every outcome that was not said; whether there was one. After an error all of them are said again.
    fn say(&mut self, inbox: &mut Inbox) -> Result<bool, PortError> {
        if self.book.done.iter().all(|done| done.said) {
            return Ok(false);
        }
        for done in self.book.done.iter().filter(|done| !done.said) {
            let payload = serde_json::to_vec(&done.outcome).expect("an outcome of ours is JSON");
            inbox.send(Topic::Outcomes, done.outcome.event_time_us, &payload)?;
        }
        inbox.flush()?;
        // A crash here says them again, and the core takes the first.
        self.book.done.iter_mut().for_each(|done| done.said = true);
        Ok(true)
    }
}

/// Longest detail of an outcome, bytes: what events are allowed.
const MAX_DETAIL_BYTES: usize = 256;
