//! [`Actuator`]: hears commands, acts, stores, says what came of them.

use super::book::Book;
use super::executor::{Executor, FIRST_PAUSE, Undone};
use crate::embedded::Kept;
use crate::ports::{Clock, OutputLog, PortError};
use crate::report::Inbox;
use evenkeel_schemas::{Command, CommandKind, Dataset, Outcome, OutcomeStatus, Topic};
use std::time::{Duration, Instant};

/// Records read at a time.
const READ_ROWS: usize = 1_024;

/// So often it is asked whether the commands have further partitions.
const PARTITIONS_LOOK: Duration = Duration::from_secs(60);

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
    store: Kept<Book>,
    executor: Box<dyn Executor>,
    /// The kinds that are its own; all if there are none.
    kinds: Vec<CommandKind>,
    clock: C,
    partitions: Vec<u32>,
    partitions_at: Option<Instant>,
    /// Since when the executor cannot be reached, and how long it is left alone.
    away: Option<(Instant, Duration)>,
}

impl<C: Clock> Actuator<C> {
    /// One that goes on where the last one in the store's directory stopped, with commands of `kinds`, or of all kinds if
    /// that is empty.
    ///
    /// # Errors
    /// `Fatal` if the store cannot be read.
    pub fn new(
        store: Kept<Book>,
        executor: Box<dyn Executor>,
        kinds: Vec<CommandKind>,
        mut clock: C,
    ) -> Result<Self, PortError> {
        let book = store.load()?.unwrap_or_else(|| Book::new(clock.now_us()));
        let (partitions, partitions_at, away) = (vec![0], None, None);
        Ok(Self { book, store, executor, kinds, clock, partitions, partitions_at, away })
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
        let has_news = !self.book.waiting.is_empty() || self.book.begun.is_some() || !acts.is_empty();
        if self.away.is_none_or(|(at, pause)| at.elapsed() >= pause) {
            self.act(heard_us, &mut acts)?;
        }
        let is_news = self.executor.look_after(&mut self.book);
        // A crash here acts again on what was done since it was stored last; what is so already is left.
        if has_news || is_news {
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
                        let concern = self.concern(&command);
                        if let Some(command) = concern.and_then(|concern| self.book.hear(command, concern)) {
                            let why = "too many commands wait for an executor that is away".to_owned();
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

    /// What a command changes, if it is this one's to carry out.
    fn concern(&self, command: &Command) -> Option<String> {
        let is_own = self.kinds.is_empty() || self.kinds.contains(&command.kind);
        self.executor.concern(command).filter(|_| is_own)
    }

    /// Carries out what waits.
    fn act(&mut self, heard_us: i64, acts: &mut Vec<Act>) -> Result<(), PortError> {
        if let Some(command) = self.book.begun.take() {
            let why = "it had begun when the actuator died: how far it came is not known".to_owned();
            acts.push(self.finish(command, OutcomeStatus::Failed, why, heard_us));
        }
        for _ in 0..self.book.waiting.len() {
            let Some(command) = self.book.waiting.pop_front() else { break };
            let Some(concern) = self.concern(&command) else {
                tracing::warn!(command_id = command.command_id, "it waited, and is somebody else's by now");
                continue;
            };
            if let Some(why) = self.book.objection(&command, &concern, self.clock.now_us()) {
                acts.push(self.finish(command, OutcomeStatus::Refused, why, heard_us));
                continue;
            }
            if !self.executor.may_repeat() {
                self.book.begun = Some(command.clone());
                // A crash from here on finds it begun.
                self.store.save(&self.book)?;
            }
            let executed = self.executor.execute(&command, &mut self.book);
            self.book.begun = None;
            let (status, detail) = match executed {
                Ok(detail) => (OutcomeStatus::Applied, detail),
                Err(Undone::Later(why)) => {
                    tracing::warn!(command_id = command.command_id, why, "a command waits");
                    let pause = self.away.map_or(FIRST_PAUSE, |(_, pause)| pause * 2);
                    self.away = Some((Instant::now(), pause.min(self.executor.longest_pause())));
                    // The others have their turn before it.
                    self.book.waiting.push_back(command);
                    return Ok(());
                }
                Err(Undone::Failed(why)) => (OutcomeStatus::Failed, why),
                Err(Undone::Refused(why)) => (OutcomeStatus::Refused, why),
            };
            self.away = None;
            acts.push(self.finish(command, status, detail, heard_us));
        }
        Ok(())
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
