//! What the leader knows of its followers: how they stand, and what they put into the epochs that are closing.
//!
//! Invariant: an epoch is given on to be committed once every follower has said what it put into it, so a binding names
//! the records of all processes; and every process has said so before the dataflow can complete the epoch.

use super::line::Line;
use super::message::{Part, Report, ToFollower, ToLeader};
use crate::pipeline::Outlook;
use crate::ports::PortError;
use evenkeel_dataflows::Changes;
use evenkeel_schemas::{Cut, Epoch};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Most closed epochs that were not completed by everybody; then the open one grows instead.
const CLOSING_BOUND: usize = 8;

/// A closed epoch that is not complete after so long will never be: somebody hangs. Longer than any stall of a machine
/// that is only busy.
const COMPLETE_WITHIN: Duration = Duration::from_secs(60);

/// The other processes, as the leader sees them.
pub struct Followers {
    all: Vec<Follower>,
    /// Epochs that were closed and are not complete, and since when.
    closing: VecDeque<(Epoch, Instant)>,
    /// Epochs that the dataflow completed; those at the end may lack answers.
    complete: VecDeque<Changes>,
    /// What the followers read, as far as they said.
    upper: Cut,
}

struct Follower {
    line: Line<ToLeader>,
    ready: bool,
    /// When its oldest record that waits came in, µs, as it said when it was ready.
    first_us: Option<i64>,
    report: Option<Report>,
    /// Its answers to closes, of epochs that were not given on.
    parts: VecDeque<Part>,
}

impl Followers {
    /// The followers at the other ends of these lines.
    pub fn new(lines: Vec<Line<ToLeader>>) -> Self {
        let follower = |line| Follower { line, ready: false, first_us: None, report: None, parts: VecDeque::new() };
        let all = lines.into_iter().map(follower).collect();
        Self { all, closing: VecDeque::new(), complete: VecDeque::new(), upper: Cut::default() }
    }

    /// Says something to all of them.
    ///
    /// # Errors
    /// `Retry` if one is gone.
    pub fn tell(&mut self, message: &ToFollower) -> Result<(), PortError> {
        self.all.iter_mut().try_for_each(|follower| follower.line.say(message))
    }

    /// Takes in what they said.
    ///
    /// # Errors
    /// `Retry` if one is gone, or keeps an epoch from being complete.
    pub fn listen(&mut self) -> Result<(), PortError> {
        for follower in &mut self.all {
            while let Some(message) = follower.line.heard()? {
                follower.take(message)?;
            }
        }
        match self.closing.front().filter(|(_, since)| since.elapsed() > COMPLETE_WITHIN) {
            Some((epoch, _)) => Err(self.stuck(*epoch)),
            None => Ok(()),
        }
    }

    fn stuck(&self, epoch: Epoch) -> PortError {
        let silent = self.all.iter().filter(|it| it.parts.iter().all(|part| part.epoch < epoch));
        let silent = silent.map(|it| it.line.peer()).collect::<Vec<_>>();
        let (epoch, within) = (epoch.0, COMPLETE_WITHIN.as_secs());
        let who = match silent.is_empty() {
            true => "everybody closed it; a connection between two of them hangs".to_owned(),
            false => format!("no answer from {}", silent.join(" and ")),
        };
        PortError::Retry(format!("epoch {epoch} is not complete after {within} s: {who}; everybody starts again"))
    }

    /// Whether all of them have read what is committed.
    pub fn are_ready(&self) -> bool {
        self.all.iter().all(|follower| follower.ready)
    }

    /// When the oldest record that waits came in, µs, as they said when they were ready.
    pub fn first_us(&self) -> Option<i64> {
        self.all.iter().filter_map(|follower| follower.first_us).min()
    }

    /// What is known of their partitions.
    pub fn outlook(&self) -> Option<Outlook> {
        let unknown = Outlook { bound_us: None, caught_up: false, newest_us: None };
        let outlooks = self.all.iter().map(|it| it.report.map_or(unknown, |report| report.outlook));
        outlooks.reduce(Outlook::and)
    }

    /// Whether one of them says so of its part of the open epoch.
    pub fn any(&self, open: Epoch, says: impl Fn(&Report) -> bool) -> bool {
        self.all.iter().filter_map(|it| it.report.as_ref()).any(|report| report.epoch == open && says(report))
    }

    /// Whether records wait somewhere that the open epoch may not hold.
    pub fn wait(&self) -> bool {
        self.all.iter().filter_map(|it| it.report.as_ref()).any(|report| report.waits)
    }

    /// Whether another epoch may close by now.
    pub fn may_close(&self) -> bool {
        self.closing.len() < CLOSING_BOUND
    }

    /// Whether closed epochs were not given on.
    pub fn are_closing(&self) -> bool {
        !self.closing.is_empty()
    }

    /// Closes an epoch everywhere.
    ///
    /// # Errors
    /// `Retry` if one of them is gone.
    pub fn close(&mut self, epoch: Epoch, now_us: i64, full: bool) -> Result<(), PortError> {
        self.closing.push_back((epoch, Instant::now()));
        self.tell(&ToFollower::Close { epoch, now_us, full })
    }

    /// Takes in an epoch that the dataflow completed; its binding names the leader's own records.
    pub fn complete(&mut self, changes: Changes) {
        self.complete.push_back(changes);
    }

    /// The next epoch that everybody closed, whole.
    pub fn next_whole(&mut self) -> Option<Changes> {
        self.complete.front().filter(|_| self.all.iter().all(|follower| !follower.parts.is_empty()))?;
        let mut changes = self.complete.pop_front()?;
        self.closing.pop_front();
        for part in self.all.iter_mut().filter_map(|follower| follower.parts.pop_front()) {
            debug_assert_eq!(part.epoch, changes.binding.epoch, "answers come in order");
            changes.records += part.records;
            self.upper.0.extend(part.upper.0);
        }
        changes.binding.upper.0.extend(self.upper.0.iter().map(|(partition, next)| (*partition, *next)));
        Some(changes)
    }
}

impl Follower {
    fn take(&mut self, message: ToLeader) -> Result<(), PortError> {
        match message {
            ToLeader::Ready(first_us) => (self.ready, self.first_us) = (true, first_us),
            ToLeader::Report(report) => self.report = Some(report),
            ToLeader::Closed(part, report) => {
                self.parts.push_back(part);
                self.report = Some(report);
            }
            ToLeader::Leaving => {
                let what = format!("{} was asked to stop; everybody waits for it to come back", self.line.peer());
                return Err(PortError::Retry(what));
            }
        }
        Ok(())
    }
}
