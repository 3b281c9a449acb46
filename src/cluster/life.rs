//! Runs a process of the cluster: meets the others, recovers, works; after an error it begins a new life.

use super::line::{Alarm, Line};
use super::meeting::{Meeting, Met, Terms};
use super::message::ToFollower;
use super::{Followers, Place};
use crate::metrics::{CatchUp, Metric};
use crate::pipeline::{Follower, Joined, Pipeline, Threaded};
use crate::ports::{Clock, Committed, Ledger, PortError, Source};
use crate::service::Service;
use evenkeel_dataflows::Links;
use evenkeel_schemas::Epoch;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What a life tells the next one, in the environment: how long it paused before, ms.
const PAUSED: &str = "EVENKEEL_PAUSED_MS";

/// The first pause between two lives, and the longest.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(5)];

/// How long one wait for the leader's word lasts.
const TICK: Duration = Duration::from_millis(100);

/// Whether a connection of the dataflow broke in this life: then a worker's panic is no error of its own.
static BROKE: AtomicBool = AtomicBool::new(false);

/// A process of a run.
pub struct Cluster<'a> {
    /// Which process.
    pub place: &'a Place,
    /// What every process must agree on.
    pub terms: Terms,
    /// How to run.
    pub service: &'a Service<'a>,
}

impl Cluster<'_> {
    /// Runs until told to stop; after an error that may pass this process executes itself again.
    ///
    /// `own` makes this process's source and clock; the leader commits to what `ledger` makes, a follower finds what is
    /// committed with `committed`.
    ///
    /// # Errors
    /// `Fenced` and `Fatal`; `Retry` never.
    pub fn run<S: Source, L: Ledger + 'static, K: Clock>(
        &self,
        own: impl Fn() -> Result<(S, K), PortError>,
        ledger: impl Fn() -> Result<L, PortError>,
        committed: impl Fn() -> Result<Committed, PortError>,
    ) -> Result<(), PortError> {
        listen_for_breaks(self.place);
        let paused = std::env::var(PAUSED).ok().and_then(|ms| ms.parse().ok()).map(Duration::from_millis);
        let mut worked = false;
        let ended = self.live(paused.is_some(), &own, &ledger, &committed, &mut worked);
        let why = match ended {
            Err(PortError::Retry(why)) => why,
            Err(PortError::Fatal(why)) if BROKE.load(Ordering::Relaxed) => why,
            ended => return ended,
        };
        let before = paused.filter(|_| !worked);
        let pause = before.map_or(PAUSES[0], |before| (before * 2).min(PAUSES[1]));
        tracing::warn!(why, pause_ms = pause.as_millis() as u64, "beginning anew");
        let until = Instant::now() + pause;
        while Instant::now() < until && !self.stopped() {
            std::thread::sleep(PAUSES[0] / 4);
        }
        if self.stopped() { Ok(()) } else { Err(execute_again(pause)) }
    }

    fn stopped(&self) -> bool {
        self.service.stop.load(Ordering::Relaxed)
    }

    /// One life. `worked` is set once an epoch came to its end in it.
    fn live<S: Source, L: Ledger + 'static, K: Clock>(
        &self,
        recovers: bool,
        own: &impl Fn() -> Result<(S, K), PortError>,
        ledger: &impl Fn() -> Result<L, PortError>,
        committed: &impl Fn() -> Result<Committed, PortError>,
        worked: &mut bool,
    ) -> Result<(), PortError> {
        let meeting = Meeting { place: self.place, terms: self.terms.clone(), stop: self.service.stop };
        let Some(Met { lines, sockets }) = meeting.hold()? else { return Ok(()) };
        let (process, processes) = (self.place.process, self.place.processes());
        tracing::info!(process, processes, "everybody is there");
        let links = Links::new(sockets, self.service.workers);
        let links = links.map_err(|error| PortError::Retry(format!("serving the connections: {error}")))?;
        let joined = Joined { links, share: self.place.share() };
        let alarm = Alarm::new();
        if self.place.leads() {
            let followers = Followers::new(self.lines(lines, 1, &alarm)?);
            self.lead((joined, followers, alarm), ledger()?, own, recovers, worked)
        } else {
            let leader = self.lines(lines, 0, &alarm)?.remove(0);
            self.follow((joined, leader, alarm), committed, own, worked)
        }
    }

    fn lead<S: Source, K: Clock>(
        &self,
        (joined, mut followers, alarm): (Joined, Followers, Arc<Alarm>),
        mut ledger: impl Ledger + 'static,
        own: &impl Fn() -> Result<(S, K), PortError>,
        recovers: bool,
        worked: &mut bool,
    ) -> Result<(), PortError> {
        let found = ledger.recover()?;
        let last = found.bindings.last().map(|last| last.epoch);
        tracing::info!(next_epoch = next(last), state_records = found.state.len(), "recovered");
        followers.tell(&ToFollower::Recovered(last))?;
        let (source, clock) = own()?;
        source.waker().into_iter().for_each(|waker| alarm.bind(waker));
        let settings = (self.service.tuning, self.service.pace);
        let ports = (Threaded::new(ledger), clock);
        let mut pipeline = Pipeline::lead(source, found, ports, settings, (joined, followers))?;
        tracing::info!("everybody goes on");
        if recovers {
            pipeline.hold();
        }
        let ended = self.service.keep_turning(pipeline, &mut |_| {});
        *worked = self.service.metrics.get(Metric::Epochs) > 0;
        ended
    }

    fn follow<S: Source, K: Clock>(
        &self,
        (joined, leader, alarm): (Joined, Line<ToFollower>, Arc<Alarm>),
        committed: &impl Fn() -> Result<Committed, PortError>,
        own: &impl Fn() -> Result<(S, K), PortError>,
        worked: &mut bool,
    ) -> Result<(), PortError> {
        let last = loop {
            match leader.hear(TICK)? {
                Some(ToFollower::Recovered(last)) => break last,
                Some(_) => return Err(PortError::Retry(format!("{} goes on without this process", leader.peer()))),
                None if self.stopped() => return Ok(()),
                None => {}
            }
        };
        let found = committed()?;
        let here = found.bindings.last().map(|last| last.epoch);
        if here != last {
            let (leader, there, here) = (leader.peer(), next(last), next(here));
            let what = format!("{leader} goes on with epoch {there}, the ledger read here with {here}");
            return Err(PortError::Retry(format!("{what}: do both have the same brokers and topic prefix?")));
        }
        let (source, clock) = own()?;
        source.waker().into_iter().for_each(|waker| alarm.bind(waker));
        let settings = (self.service.tuning, self.service.pace);
        let mut follower = Follower::open(source, found, clock, settings, (joined, leader))?;
        tracing::info!(next_epoch = next(last), "follows");
        let mut catch_up = CatchUp::new();
        while !self.stopped() {
            *worked |= follower.turn()?;
            let (behind_us, caught_up) = follower.lag();
            catch_up.observe(behind_us, caught_up, self.service.metrics);
        }
        follower.leave();
        tracing::info!("stopped; the others wait for this process to come back");
        Ok(())
    }

    /// Lines to the processes from `first` on.
    fn lines<T: serde::de::DeserializeOwned + Send + 'static>(
        &self,
        streams: Vec<TcpStream>,
        first: usize,
        alarm: &Arc<Alarm>,
    ) -> Result<Vec<Line<T>>, PortError> {
        let line = |(process, stream)| Line::new(stream, self.place.name_of(process), alarm);
        let lines = (first..).zip(streams).map(line).collect::<Result<_, _>>();
        lines.map_err(|error| PortError::Retry(format!("serving a line: {error}")))
    }
}

fn next(last: Option<Epoch>) -> u64 {
    last.map_or(0, |last| last.0 + 1)
}

/// Replaces this process by a new life of it; returns only if that fails.
fn execute_again(paused: Duration) -> PortError {
    use std::os::unix::process::CommandExt;
    let failed = |error| PortError::Fatal(format!("beginning anew: {error}; start the process again"));
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return failed(error),
    };
    let mut command = std::process::Command::new(program);
    command.args(std::env::args_os().skip(1)).env(PAUSED, paused.as_millis().to_string());
    failed(command.exec())
}

/// Says which process is gone when a thread of the dataflow's connections ends; of the workers that end with it, nothing.
fn listen_for_breaks(place: &Place) {
    let (place, say) = (place.clone(), std::panic::take_hook());
    std::panic::set_hook(Box::new(move |panic| {
        let why = panic.payload().downcast_ref::<String>().map(String::as_str);
        let why = why.or_else(|| panic.payload().downcast_ref::<&str>().copied()).unwrap_or_default();
        if why.starts_with("timely communication error") {
            if !BROKE.swap(true, Ordering::SeqCst) {
                let thread = std::thread::current();
                let process = thread.name().and_then(|name| name.rsplit_once('-')?.1.parse().ok());
                let peer = process.map_or("another process".to_owned(), |process| place.name_of(process));
                tracing::warn!(why, "lost the connection of the dataflow to {peer}");
            }
        } else if !BROKE.load(Ordering::SeqCst) || !why.contains("MergeQueue poisoned") {
            say(panic);
        }
    }));
}
