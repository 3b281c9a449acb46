//! [`Engine`]: the workers of the dataflow behind one handle. Batches and bindings in, changes out.
//!
//! Protocol: [`Engine::push`] what the open epoch holds, [`Engine::close`] it with its binding, take its changes with
//! [`Engine::poll`] or [`Engine::wait`], in epoch order. Several epochs may be in flight. Epoch 0 holds no records: it
//! gives the core its first present.

use crate::batch::{Batch, Changes, Output};
use crate::calendar::Calendar;
use crate::graph::{Outbox, Setting, build};
use crate::ingest::{Feed, Inbox, Opened};
use crate::operators::window::Recovered;
use crate::state::State;
use crate::tuning::Tuning;
use evenkeel_schemas::{Binding, Dataset, Epoch};
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, TryRecvError, TrySendError};
use std::sync::mpsc::{channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::Thread;
use std::time::Duration;
use timely::WorkerConfig;
use timely::communication::WorkerGuards;
use timely::worker::Worker;

/// Most batches that wait on one worker; [`Engine::push`] blocks beyond it.
const INBOX_BOUND: usize = 8;

/// Most batches that were read and wait to be used again; more are dropped.
const SPENT_BOUND: usize = 64;

/// How long to wait before a full inbox is tried again.
const FULL_PAUSE: Duration = Duration::from_micros(50);

/// How long an idle worker sleeps unless it is woken.
const PARK: Duration = Duration::from_millis(5);

/// Outputs of one complete epoch from one worker, sorted.
type Part = (u64, Vec<Output>);

/// What a committed run left: where to go on.
#[derive(Clone, Debug, Default)]
pub struct Resume {
    /// The committed state.
    pub state: Vec<(Vec<u8>, Vec<u8>)>,
    /// The committed bindings from the `resume` epoch of the last one on, ascending; empty at the very first start.
    pub bindings: Vec<Binding>,
}

/// The dataflow, running.
pub struct Engine {
    feeds: Vec<SyncSender<Feed>>,
    threads: Vec<Thread>,
    parts: Receiver<Part>,
    spent: Receiver<Batch>,
    gathered: BTreeMap<u64, Vec<Vec<Output>>>,
    in_flight: VecDeque<(Binding, u64)>,
    records: u64,
    warm_until: Option<Epoch>,
    /// Set when a worker panicked.
    stopped: Arc<AtomicBool>,
    guards: Option<WorkerGuards<()>>,
}

/// The engine's workers are gone; one of them panicked, and said why on standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped;

impl std::fmt::Display for Stopped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a worker of the dataflow stopped; its panic is on standard error")
    }
}

impl std::error::Error for Stopped {}

impl Engine {
    /// Starts `workers` workers where a committed run left off.
    ///
    /// Every binding of `resume` after the first must then be fed again with its records; changes come only for the
    /// epochs after them.
    ///
    /// # Panics
    /// If threads cannot be started.
    pub fn new(tuning: &Tuning, workers: usize, resume: Resume) -> Self {
        let (part_sender, parts) = channel();
        let (spent_sender, spent) = sync_channel(SPENT_BOUND);
        let (feeds, inboxes): (Vec<_>, Vec<_>) = (0..workers).map(|_| sync_channel(INBOX_BOUND)).unzip();
        let (thread_sender, threads) = channel();
        let inboxes = Mutex::new(inboxes.into_iter().map(Some).collect::<Vec<_>>());
        let warm_until = resume.bindings.last().map(|binding| binding.epoch);
        let start = Arc::new(Start::new(tuning.clone(), resume));
        let senders = Mutex::new((part_sender, spent_sender, thread_sender));
        let (builders, others) = timely::CommunicationConfig::Process(workers).try_build().expect("threads start");
        let stopped = Arc::new(AtomicBool::new(false));
        let alarm = Alarm(Arc::clone(&stopped));
        let run = move |worker: &mut Worker| {
            let _alarm = alarm.clone();
            let feed = inboxes.lock().expect("no worker panicked yet")[worker.index()].take().expect("one inbox each");
            let (parts, spent, threads) = senders.lock().expect("no worker panicked yet").clone();
            threads.send((worker.index(), std::thread::current())).expect("the engine waits for its threads");
            drop(threads);
            run_worker(worker, &feed, (&parts, spent), &start);
        };
        let guards = timely::execute::execute_from(builders, others, WorkerConfig::default(), run);
        let guards = guards.expect("threads start");
        let mut threads = threads.iter().take(workers).collect::<Vec<_>>();
        threads.sort_by_key(|(index, _)| *index);
        let threads = threads.into_iter().map(|(_, thread)| thread).collect();
        let (gathered, in_flight) = (BTreeMap::new(), VecDeque::new());
        Self {
            feeds,
            threads,
            parts,
            spent,
            gathered,
            in_flight,
            records: 0,
            warm_until,
            stopped,
            guards: Some(guards),
        }
    }

    /// Adds records to the open epoch; blocks while their worker is `INBOX_BOUND` batches behind.
    ///
    /// # Errors
    /// [`Stopped`] if a worker is gone.
    pub fn push(&mut self, batch: Batch) -> Result<(), Stopped> {
        self.records += batch.len() as u64;
        let spread = u64::from(batch.partition.partition) + batch.partition.topic as u64;
        let worker = (spread % self.feeds.len() as u64) as usize;
        self.send(worker, Feed::Batch(batch))
    }

    /// Closes the open epoch.
    ///
    /// # Errors
    /// [`Stopped`] if a worker is gone.
    pub fn close(&mut self, binding: Binding) -> Result<(), Stopped> {
        let warm = self.warm_until.is_some_and(|last| binding.epoch <= last);
        for worker in 0..self.feeds.len() {
            self.send(worker, Feed::Close { binding: binding.clone(), warm })?;
        }
        let records = std::mem::take(&mut self.records);
        if !warm {
            self.in_flight.push_back((binding, records));
        }
        Ok(())
    }

    fn send(&mut self, worker: usize, feed: Feed) -> Result<(), Stopped> {
        let mut feed = feed;
        while let Err(back) = self.feeds[worker].try_send(feed) {
            let TrySendError::Full(again) = back else { return Err(Stopped) };
            self.check()?;
            feed = again;
            std::thread::sleep(FULL_PAUSE);
        }
        self.threads[worker].unpark();
        Ok(())
    }

    /// Whether every worker still works.
    fn check(&self) -> Result<(), Stopped> {
        if self.stopped.load(Ordering::Relaxed) { Err(Stopped) } else { Ok(()) }
    }

    /// A batch that was read, for its memory.
    pub fn spent(&mut self) -> Option<Batch> {
        self.spent.try_recv().ok()
    }

    /// Number of closed epochs whose changes were not taken yet.
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// The changes of the next epoch, if it is complete.
    ///
    /// # Errors
    /// [`Stopped`] if a worker is gone.
    pub fn poll(&mut self) -> Result<Option<Changes>, Stopped> {
        loop {
            match self.parts.try_recv() {
                Ok(part) => self.gather(part),
                Err(TryRecvError::Empty) => return self.check().map(|()| self.complete()),
                Err(TryRecvError::Disconnected) => return self.complete().map(Some).ok_or(Stopped),
            }
        }
    }

    /// The changes of the next epoch, waiting at most `patience` for it.
    ///
    /// # Errors
    /// [`Stopped`] if a worker is gone.
    pub fn wait(&mut self, patience: Duration) -> Result<Option<Changes>, Stopped> {
        loop {
            if let Some(changes) = self.poll()? {
                return Ok(Some(changes));
            }
            match self.parts.recv_timeout(patience) {
                Ok(part) => self.gather(part),
                Err(RecvTimeoutError::Timeout) => return Ok(None),
                Err(RecvTimeoutError::Disconnected) => return Err(Stopped),
            }
        }
    }

    fn gather(&mut self, (epoch, outputs): Part) {
        self.gathered.entry(epoch).or_default().push(outputs);
    }

    fn complete(&mut self) -> Option<Changes> {
        let epoch = self.in_flight.front()?.0.epoch.0;
        if self.gathered.get(&epoch)?.len() < self.feeds.len() {
            return None;
        }
        let mut outputs = self.gathered.remove(&epoch)?.concat();
        // Stable: what one worker said of one place stays in the order in which it was said.
        outputs.sort_by(|a, b| place(a).cmp(&place(b)));
        let (binding, records) = self.in_flight.pop_front()?;
        Some(Changes { binding, outputs, records })
    }
}

/// Where an output lies among those of its epoch. An audit partition is one place: it is a chain, linked by one worker.
fn place(output: &Output) -> (Dataset, u32, Option<&[u8]>) {
    let key = (output.dataset != Dataset::Audit).then_some(output.key.as_slice());
    (output.dataset, output.partition, key)
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.feeds.clear();
        self.threads.iter().for_each(Thread::unpark);
        let Some(guards) = self.guards.take() else { return };
        if self.stopped.load(Ordering::Relaxed) {
            // The others wait for the one that panicked, for ever: nobody can join them.
            std::mem::forget(guards);
        } else {
            guards.join().into_iter().for_each(drop);
        }
    }
}

/// Tells the engine when its worker's thread panics.
#[derive(Clone)]
struct Alarm(Arc<AtomicBool>);

impl Drop for Alarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

/// What every worker starts from.
struct Start {
    tuning: Tuning,
    recovered: Recovered,
    opened: Opened,
}

impl Start {
    fn new(tuning: Tuning, resume: Resume) -> Self {
        let first = resume.bindings.first();
        let opened = first.map_or(Opened::default(), |it| Opened { epoch: it.epoch.0 + 1, now_us: it.now_us });
        let presents = resume.bindings.iter().map(|binding| (binding.epoch.0, binding.now_us)).collect();
        let recovered = Recovered { state: State::new(resume.state), presents };
        Self { tuning, recovered, opened }
    }
}

fn run_worker(
    worker: &mut Worker,
    feed: &Receiver<Feed>,
    (parts, spent): (&Sender<Part>, SyncSender<Batch>),
    start: &Start,
) {
    let (inbox, outbox, calendar) = (Inbox::default(), Outbox::default(), Calendar::default());
    let Start { tuning, recovered, opened } = start;
    let setting = Setting { inbox: &inbox, outbox: &outbox, calendar: &calendar, tuning, recovered, opened: *opened };
    let (probe, activator) = worker.dataflow(|scope| build(scope, &setting, spent));
    let mut closed = VecDeque::new();
    loop {
        let more = take(feed, &inbox, &mut closed);
        if more == More::Yes {
            activator.activate();
        }
        worker.step_or_park(if more == More::Yes { Some(Duration::ZERO) } else { Some(PARK) });
        while closed.front().is_some_and(|(epoch, _)| !probe.less_equal(epoch)) {
            let (epoch, warm) = closed.pop_front().expect("just seen");
            let outputs = outbox.borrow_mut().remove(&epoch).unwrap_or_default();
            calendar.forget(epoch);
            if !warm && parts.send((epoch, outputs)).is_err() {
                break;
            }
        }
        if more == More::Never {
            break;
        }
    }
    // The source notices that nobody feeds it any more, and lets go; then the dataflow ends by itself.
    drop(inbox);
    activator.activate();
}

#[derive(PartialEq)]
enum More {
    Yes,
    No,
    Never,
}

/// Moves what was fed into the inbox.
fn take(feed: &Receiver<Feed>, inbox: &Inbox, closed: &mut VecDeque<(u64, bool)>) -> More {
    let mut more = More::No;
    loop {
        match feed.try_recv() {
            Ok(feed) => {
                if let Feed::Close { binding, warm } = &feed {
                    closed.push_back((binding.epoch.0, *warm));
                }
                inbox.borrow_mut().push_back(feed);
                more = More::Yes;
            }
            Err(TryRecvError::Empty) => return more,
            Err(TryRecvError::Disconnected) => return More::Never,
        }
    }
}
