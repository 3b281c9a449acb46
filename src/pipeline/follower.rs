//! A [`Follower`]: reads its share into the epochs that the leader closes, and commits nothing.

use super::{Committer, Joined, Others, Pace, Pipeline};
use crate::cluster::Line;
use crate::cluster::message::{Part, Report, ToFollower, ToLeader};
use crate::ports::{Clock, Committed, PortError, Source};
use evenkeel_dataflows::{Changes, Engine, Tuning};
use evenkeel_schemas::{Binding, Cut, Epoch};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// A closed epoch that is not complete after so long will never be; longer than the leader waits, who knows more.
const COMPLETE_WITHIN: Duration = Duration::from_secs(90);

/// How often the leader is told how far the present may come, while only that changes.
const REPORTED_EVERY: Duration = Duration::from_millis(1);

/// What follows commits nothing.
struct Nothing;

impl Committer for Nothing {
    fn offer(&mut self, ready: &mut Vec<Changes>) -> Result<Vec<Changes>, PortError> {
        Ok(std::mem::take(ready))
    }

    fn settle(&mut self) -> Result<Vec<Changes>, PortError> {
        Ok(Vec::new())
    }
}

/// A pipeline that another one leads, running.
pub struct Follower<S, K> {
    pipeline: Pipeline<S, Nothing, K>,
    leader: Line<ToFollower>,
    told: Report,
    told_at: Instant,
    /// The leader said that nothing should be read for now.
    full: bool,
    /// When the epochs closed that are not complete.
    closed: VecDeque<Instant>,
}

impl<S: Source, K: Clock> Follower<S, K> {
    /// Goes on with its share of what `committed` says was committed, and tells the leader.
    ///
    /// # Errors
    /// What the source says; `Retry` if the leader is gone.
    pub fn open(
        source: S,
        committed: Committed,
        clock: K,
        (tuning, pace): (&Tuning, Pace),
        (joined, mut leader): (Joined, Line<ToFollower>),
    ) -> Result<Self, PortError> {
        let Joined { links, share } = joined;
        let others = Others::Leader(source.waker().is_some());
        let engine = |resume| Engine::in_cluster(tuning, links, resume);
        let ports = (Nothing, clock);
        let mut pipeline = Pipeline::start(source, committed, ports, (tuning, pace), engine, (share, others))?;
        let first_us = if pipeline.next == Epoch(0) { pipeline.first_us()? } else { None };
        leader.say(&ToLeader::Ready(first_us))?;
        // From now on it names what was read since the last close.
        pipeline.upper = Cut::default();
        let (told, told_at) = (pipeline.report(), Instant::now());
        leader.say(&ToLeader::Report(told))?;
        Ok(Self { pipeline, leader, told, told_at, full: false, closed: VecDeque::new() })
    }

    /// One turn; waits at most until something is to be done. Returns whether an epoch was closed.
    ///
    /// # Errors
    /// What the source says; `Retry` if the leader is gone, or does not bring epochs to their end.
    pub fn turn(&mut self) -> Result<bool, PortError> {
        let mut closed = false;
        while let Some(message) = self.leader.heard()? {
            match message {
                ToFollower::Close { epoch, now_us, full } => self.close(epoch, now_us, full)?,
                ToFollower::Bye => return Err(self.lost("was asked to stop; everybody waits for it to come back")),
                ToFollower::Recovered(_) => return Err(self.lost("recovers while epochs are under way")),
            }
            closed = true;
        }
        let pipeline = &mut self.pipeline;
        let full = self.full || pipeline.open_records >= pipeline.pace.epoch_records;
        let mut records = 0;
        // The first epoch holds no records.
        if !full && pipeline.next > Epoch(0) {
            records = pipeline.poll()?;
            pipeline.fill()?;
        }
        self.tell()?;
        let pipeline = &mut self.pipeline;
        let idles = full || pipeline.next == Epoch(0) || pipeline.has_enough();
        let patience = pipeline.rest(records, idles);
        while pipeline.engine.wait(patience)?.is_some() {
            self.closed.pop_front();
        }
        match self.closed.front().filter(|since| since.elapsed() > COMPLETE_WITHIN) {
            Some(_) => Err(self.lost("closed an epoch that does not become complete")),
            None => Ok(closed),
        }
    }

    /// Tells the leader that this process is about to stop.
    pub fn leave(mut self) {
        // If that does not reach it, it sees the connection end.
        let _ = self.leader.say(&ToLeader::Leaving);
    }

    /// How far the last closed epoch is behind the wall clock, µs, and whether everything of this share was read.
    pub fn lag(&mut self) -> (i64, bool) {
        self.pipeline.committed_us = self.pipeline.present.now_us();
        self.pipeline.lag()
    }

    /// Closes the open epoch: first says what it holds, then lets the dataflow complete it.
    fn close(&mut self, epoch: Epoch, now_us: i64, full: bool) -> Result<(), PortError> {
        let pipeline = &mut self.pipeline;
        if epoch != pipeline.next {
            return Err(self.lost("closes another epoch than the open one"));
        }
        let upper = std::mem::take(&mut pipeline.upper);
        let records = pipeline.engine.open_records();
        pipeline.open_records = 0;
        pipeline.present.close(now_us);
        pipeline.next = Epoch(epoch.0 + 1);
        pipeline.first_record = None;
        self.full = full;
        // What is urgent is so until the engine closes the epoch.
        let report = Report { urgent: false, ..pipeline.report() };
        self.leader.say(&ToLeader::Closed(Part { epoch, upper, records }, report))?;
        (self.told, self.told_at) = (report, Instant::now());
        self.closed.push_back(Instant::now());
        let binding = Binding { epoch, now_us, resume: Epoch(0), upper: Cut::default() };
        Ok(pipeline.engine.close(binding)?)
    }

    /// Tells the leader how this process stands, if that may matter.
    fn tell(&mut self) -> Result<(), PortError> {
        let report = self.pipeline.report();
        let told = Report { outlook: report.outlook, ..self.told };
        let only_bound = report == told && report.outlook.caught_up == self.told.outlook.caught_up;
        let bound_moved = report.outlook.bound_us != self.told.outlook.bound_us;
        if only_bound && (!bound_moved || self.told_at.elapsed() < REPORTED_EVERY) {
            return Ok(());
        }
        (self.told, self.told_at) = (report, Instant::now());
        self.leader.say(&ToLeader::Report(report))
    }

    fn lost(&self, what: &str) -> PortError {
        PortError::Retry(format!("{} {what}", self.leader.peer()))
    }
}

impl<S: Source, K: Clock> Pipeline<S, Nothing, K> {
    /// How this process stands.
    fn report(&self) -> Report {
        Report {
            epoch: self.next,
            outlook: self.present.outlook(&self.backlog),
            stirred: self.open_records > 0,
            urgent: self.engine.is_urgent(),
            full: self.open_records >= self.pace.epoch_records,
            waits: !self.backlog.is_empty(),
        }
    }
}
