//! The pipeline: moves records from a [`Source`] through the [`Engine`] into a [`Ledger`](crate::ports::Ledger).
//!
//! Each turn: (1) poll, (2) push into the open epoch what belongs there, (3) close the epoch if it is time, (4) take the
//! changes of complete epochs, (5) offer them to the committer. After any failed commit the pipeline is dropped and opened
//! again: recovery is the one way back, there is no repair in place.
//!
//! # Decision
//! An epoch closes a millisecond after its first record, but not while [`Pace::in_flight`] epochs wait for the workers:
//! so it lasts a millisecond when there is little to do and as long as a turn takes when there is much, up to
//! [`Pace::longest`]. One that holds an error closes as soon as the workers have nothing else to do. Without records one closes every [`Pace::idle`]: silence must have consequences too.
//!
//! An epoch spans at most [`Pace::span`] of the log's own time; what came in later waits for the next one. Events are
//! judged against the present at the start of their epoch: if the backlog of an outage were one epoch, most of it would
//! be rejected as from the future, and what it tells would be found at its end only.

mod backlog;
mod begin;
mod committer;
mod follower;
mod others;
mod present;
mod reader;
mod ready;

pub use committer::{Committer, Inline, Threaded};
pub use follower::Follower;
pub use others::Joined;
pub use present::Outlook;
pub use reader::EpochReader;

use crate::ports::{Clock, Committed, Polled, PortError, Share, Source};
use backlog::Backlog;
use evenkeel_dataflows::{Batch, Changes, Engine, Resume, Stopped, Tuning};
use evenkeel_schemas::{Binding, Cut, Epoch};
use others::Others;
use present::{Present, ResumePoints};
use reader::reread;
use ready::Ready;
use std::time::{Duration, Instant};

/// How epochs are cut; it decides latency and throughput, and is no part of what is computed.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Most records of one poll; long ones count as several, here and below: see [`Batch::weight`].
    pub poll_records: usize,
    /// Most records of one epoch.
    pub epoch_records: usize,
    /// An epoch closes so long after its first record …
    pub shortest: Duration,
    /// … or, while the workers are behind, after so long.
    pub longest: Duration,
    /// Without records an epoch closes after so long.
    pub idle: Duration,
    /// Records of one epoch came in within so long; less than what clocks may differ.
    pub span: Duration,
    /// So many closed epochs wait for the workers before the open one grows instead.
    pub in_flight: usize,
    /// Epochs in which nothing was decided wait so long for others to be committed with them.
    pub linger: Duration,
    /// So many outputs of complete epochs wait for the committer before reading stops.
    pub uncommitted_outputs: usize,
    /// An epoch that is not committed after so long means that the brokers are away: see [`Pipeline::hold`].
    pub stalled: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            poll_records: 5_000,
            epoch_records: 100_000,
            shortest: Duration::from_millis(1),
            longest: Duration::from_millis(250),
            idle: Duration::from_millis(100),
            span: Duration::from_secs(1),
            in_flight: 2,
            linger: Duration::from_millis(5),
            uncommitted_outputs: 20_000,
            stalled: Duration::from_secs(1),
        }
    }
}

/// How long the workers are waited for before the source is asked again, while it brings nothing.
const REST: Duration = Duration::from_micros(200);

/// What is committed may be so far behind, µs, and still count as caught up.
const CAUGHT_UP_US: i64 = 2_000_000;

/// What a turn brought.
#[derive(Debug, Default)]
pub struct Turn {
    /// Records read.
    pub records: usize,
    /// Epochs that are committed since the last turn.
    pub committed: Vec<Changes>,
}

/// The pipeline, running.
pub struct Pipeline<S, C, K> {
    source: S,
    committer: C,
    clock: K,
    engine: Engine,
    tuning: Tuning,
    pace: Pace,
    present: Present,
    backlog: Backlog,
    points: ResumePoints,
    next: Epoch,
    upper: Cut,
    open_records: usize,
    /// What a record of the last poll weighed: see [`Batch::weight`].
    weight: usize,
    opened: Instant,
    first_record: Option<Instant>,
    ready: Ready,
    others: Others,
    /// The present of the newest committed epoch, µs.
    committed_us: i64,
    /// Since when nothing was committed although epochs closed.
    uncommitted: Option<Instant>,
}

impl From<Stopped> for PortError {
    fn from(stopped: Stopped) -> Self {
        Self::Fatal(stopped.to_string())
    }
}

impl<S: Source, C: Committer, K: Clock> Pipeline<S, C, K> {
    /// Goes on after what `committed` says was committed, or starts.
    ///
    /// # Errors
    /// What the source says.
    pub fn open(
        source: S,
        committed: Committed,
        committer: C,
        clock: K,
        (tuning, workers, pace): (&Tuning, usize, Pace),
    ) -> Result<Self, PortError> {
        let engine = |resume| Engine::new(tuning, workers, resume);
        let joined = (Share::WHOLE, Others::Nobody);
        let mut pipeline = Self::start(source, committed, (committer, clock), (tuning, pace), engine, joined)?;
        pipeline.begin_unless_begun()?;
        Ok(pipeline)
    }

    /// Goes on with its share of what `committed` says was committed.
    fn start(
        mut source: S,
        committed: Committed,
        (mut committer, clock): (C, K),
        (tuning, pace): (&Tuning, Pace),
        engine: impl FnOnce(Resume) -> Engine,
        (share, others): (Share, Others),
    ) -> Result<Self, PortError> {
        let Committed { bindings, state } = committed;
        let mut engine = engine(Resume { state, bindings: bindings.clone() });
        let mut points = ResumePoints::default();
        bindings.iter().for_each(|binding| points.replay(binding));
        reread(&mut source, &mut engine, &bindings, share)?;
        let last = bindings.last();
        let upper = last.map_or(Cut::default(), |last| last.upper.clone());
        source.seek(&share.part(&upper))?;
        if let Some(waker) = source.waker() {
            committer.wake_with(waker);
        }
        let present = Present::new(last.map_or(i64::MIN, |last| last.now_us));
        let next = Epoch(last.map_or(0, |last| last.epoch.0 + 1));
        let (tuning, opened, ready) = (tuning.clone(), Instant::now(), Ready::default());
        Ok(Self {
            source,
            committer,
            clock,
            engine,
            tuning,
            pace,
            present,
            backlog: Backlog::default(),
            points,
            next,
            upper,
            opened,
            ready,
            others,
            open_records: 0,
            weight: 1,
            first_record: None,
            committed_us: last.map_or(0, |last| last.now_us),
            uncommitted: None,
        })
    }

    /// One turn; waits for records at most until the open epoch is due.
    ///
    /// # Errors
    /// What a port says; the pipeline is to be dropped then.
    pub fn turn(&mut self) -> Result<Turn, PortError> {
        self.hear_others()?;
        let full = self.open_records >= self.pace.epoch_records || self.is_stuffed();
        let mut turn = Turn::default();
        if !full {
            turn.records = self.poll()?;
            self.fill()?;
        }
        let now_us = self.present.at_us(self.clock.now_us(), &self.outlook());
        // What waits cannot come into the open epoch: close it as soon as that brings the present on.
        let holds_back = (!self.backlog.is_empty() || self.others.wait()) && now_us > self.present.now_us();
        let behind = self.engine.in_flight() >= self.pace.in_flight;
        if (self.is_due(turn.records) || (holds_back && !behind)) && self.others.may_close() {
            self.close(now_us)?;
        }
        let mut patience = self.rest(turn.records, full || (holds_back && behind) || self.has_enough());
        while let Some(changes) = self.engine.wait(patience)? {
            self.others.complete(changes, &mut self.ready);
            // What is complete does not wait for what is not.
            patience = Duration::ZERO;
        }
        turn.committed = self.ready.offer(&self.pace, |epochs| self.committer.offer(epochs))?;
        if let Some(Binding { epoch, now_us, .. }) = turn.committed.last().map(|last| &last.binding) {
            self.committed_us = *now_us;
            self.uncommitted = (epoch.0 + 1 < self.next.0).then(Instant::now);
        }
        if self.uncommitted.is_some_and(|since| since.elapsed() > self.pace.stalled) {
            self.hold();
        }
        Ok(turn)
    }

    /// Says that brokers are or were away: producers could not reach them either, so for a while the present is not the
    /// wall clock but what the records say. Heartbeats that wait in their senders are not missed that way.
    pub fn hold(&mut self) {
        self.present.hold();
    }

    /// Drops the open epoch, commits the closed ones, and stops.
    ///
    /// # Errors
    /// What a port says; then they are not committed, and will be computed again.
    pub fn stop(mut self) -> Result<Vec<Changes>, PortError> {
        while self.engine.in_flight() > 0 || self.others.are_closing() {
            let patience = if self.engine.in_flight() > 0 { Duration::from_secs(1) } else { REST };
            if let Some(changes) = self.engine.wait(patience)? {
                self.others.complete(changes, &mut self.ready);
            }
            self.hear_others()?;
        }
        let mut committed = self.committer.settle()?;
        committed.extend(self.ready.offer_all(|epochs| self.committer.offer(epochs))?);
        committed.extend(self.committer.settle()?);
        self.others.bid_farewell();
        Ok(committed)
    }

    /// How far what is committed is behind the wall clock, µs, and whether everything was read and that is little.
    pub fn lag(&mut self) -> (i64, bool) {
        let behind_us = (self.clock.now_us() - self.committed_us).max(0);
        let all_read = self.outlook().caught_up && self.backlog.is_empty() && !self.others.wait();
        (behind_us, all_read && behind_us < CAUGHT_UP_US)
    }

    /// Whether so many outputs wait to be committed that nothing more should be read.
    fn is_stuffed(&self) -> bool {
        self.ready.outputs() >= self.pace.uncommitted_outputs
    }

    /// Whether so much waits that reading more would bring nothing on.
    fn has_enough(&self) -> bool {
        self.backlog.weight() >= self.pace.epoch_records && !self.present.waits(&self.backlog)
    }

    /// Polls unless enough waits already; returns how many records came.
    fn poll(&mut self) -> Result<usize, PortError> {
        if self.has_enough() {
            return Ok(0);
        }
        while let Some(spent) = self.engine.spent() {
            self.source.reuse(spent);
        }
        let polled = self.source.poll((self.pace.poll_records / self.weight).max(1), self.patience())?;
        self.weigh(&polled);
        self.present.polled(&polled);
        let before = self.backlog.len();
        polled.batches.into_iter().for_each(|batch| self.backlog.add(batch));
        Ok(self.backlog.len() - before)
    }

    /// Notes what records weigh, so that the next poll takes fewer of heavy ones.
    fn weigh(&mut self, polled: &Polled) {
        let of = |count: fn(&Batch) -> usize| polled.batches.iter().map(count).sum::<usize>();
        if let Some(weight) = of(Batch::weight).checked_div(of(Batch::len)) {
            self.weight = weight.max(1);
        }
    }

    /// Pushes what came in before the end of the open epoch's span. A time after the wall clock is the producer's error.
    fn fill(&mut self) -> Result<(), PortError> {
        let span_us = i64::try_from(self.pace.span.as_micros()).unwrap_or(i64::MAX);
        let end_us = self.present.now_us().saturating_add(span_us);
        let limit_us = if end_us > self.clock.now_us() { i64::MAX } else { end_us };
        for batch in self.backlog.take_before(limit_us) {
            self.present.read(&batch);
            self.push(batch)?;
        }
        Ok(())
    }

    fn push(&mut self, batch: Batch) -> Result<(), PortError> {
        let Some(next) = batch.next_offset() else { return Ok(()) };
        self.upper.0.insert(batch.partition, next);
        self.open_records += batch.weight();
        self.first_record.get_or_insert_with(Instant::now);
        Ok(self.engine.push(batch)?)
    }

    /// How long a poll may wait for records.
    fn patience(&self) -> Duration {
        if self.engine.in_flight() > 0 || self.engine.is_urgent() {
            return Duration::ZERO; // The caller's worker has its part to do, or the open epoch is due now.
        }
        // While something is being committed, look again soon.
        let busy = !self.ready.is_empty() || !self.backlog.is_empty() || self.others.are_closing();
        if busy || !self.others.can_wake() { self.due_in().min(Duration::from_millis(1)) } else { self.due_in() }
    }

    /// How long the workers may be waited for.
    fn rest(&self, read: usize, blocked: bool) -> Duration {
        if blocked {
            Duration::from_millis(1)
        } else if read == 0 && self.engine.in_flight() > 0 {
            self.due_in().min(REST)
        } else {
            Duration::ZERO
        }
    }

    /// When the open epoch should close.
    fn due_in(&self) -> Duration {
        if self.others.lead() {
            return self.pace.idle;
        }
        match self.first_record {
            Some(first) => self.pace.shortest.saturating_sub(first.elapsed()),
            None => self.pace.idle.saturating_sub(self.opened.elapsed()),
        }
    }

    fn is_due(&self, read: usize) -> bool {
        let Some(first) = self.first_record else {
            return self.opened.elapsed() >= self.pace.idle && read == 0;
        };
        let age = first.elapsed();
        let behind = self.engine.in_flight() >= self.pace.in_flight;
        age >= self.pace.longest
            || (!behind && age >= self.pace.shortest)
            || (self.engine.in_flight() == 0 && (self.engine.is_urgent() || self.others.are_urgent(self.next)))
            || self.open_records >= self.pace.epoch_records
            || self.others.are_full(self.next)
    }

    fn close(&mut self, now_us: i64) -> Result<(), PortError> {
        let epoch = self.next;
        self.uncommitted.get_or_insert_with(Instant::now);
        self.present.close(now_us);
        let resume = self.points.close(epoch, now_us, &self.tuning);
        let full = self.is_stuffed();
        self.others.close(epoch, now_us, full)?;
        self.engine.close(Binding { epoch, now_us, resume, upper: self.upper.clone() })?;
        self.next = Epoch(epoch.0 + 1);
        (self.open_records, self.first_record, self.opened) = (0, None, Instant::now());
        Ok(())
    }
}
