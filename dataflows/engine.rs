//! [`Engine`]: the workers of the dataflow behind one handle. Batches and bindings in, changes out.
//!
//! Protocol: [`Engine::push`] what the open epoch holds, [`Engine::close`] it with its binding, take its changes with
//! [`Engine::wait`], in epoch order. Several epochs may be in flight. Epoch 0 holds no records: it
//! gives the core its first present.

use crate::batch::{Batch, Changes, Output};
use crate::decoder::Opened;
use crate::ingest::Feed;
use crate::links::Links;
use crate::operators::window::Recovered;
use crate::state::State;
use crate::tuning::Tuning;
use crate::worker::{Part, Seat, Start, serve};
use evenkeel_schemas::{Binding, Dataset, Epoch};
use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;
use timely::CommunicationConfig;
use timely::communication::allocator::AllocatorBuilder;

/// Most batches that wait on one worker; beyond it [`Engine::push`] has the caller's read them.
const INBOX_BOUND: usize = 4;

/// The first records of an epoch are read by the caller's worker: waking another takes longer.
const FEW_RECORDS: u64 = 256;

/// Most batches that were read and wait to be used again; more are dropped.
const SPENT_BOUND: usize = 64;

/// How long to wait before a full inbox is tried again.
const FULL_PAUSE: Duration = Duration::from_micros(50);

/// So many steps are made before a wait without patience ends: more than an epoch needs of one worker.
const STEPS: usize = 32;

/// What a committed run left: where to go on.
#[derive(Clone, Debug, Default)]
pub struct Resume {
    /// The committed state.
    pub state: Vec<(Vec<u8>, Vec<u8>)>,
    /// The committed bindings from the `resume` epoch of the last one on, ascending; empty at the very first start.
    pub bindings: Vec<Binding>,
}

/// The dataflow, running. Its first worker runs on the caller's thread, whenever a method is called.
pub struct Engine {
    /// The caller's worker, while there is one.
    seat: Option<Seat>,
    others: Vec<Other>,
    parts: Receiver<Part>,
    spent: Receiver<Batch>,
    gathered: BTreeMap<u64, Vec<Vec<Output>>>,
    in_flight: VecDeque<(Binding, u64)>,
    records: u64,
    urgent: Arc<AtomicBool>,
    warm_until: Option<Epoch>,
    /// Whether the dataflow ends with this engine.
    ends: bool,
    /// Set when a worker panicked.
    stopped: Arc<AtomicBool>,
    /// What connects the workers; to be dropped after them.
    connections: Option<Box<dyn std::any::Any + Send>>,
}

/// A worker on a thread of its own.
struct Other {
    feed: SyncSender<Feed>,
    thread: JoinHandle<()>,
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
        let config = match workers {
            1 => CommunicationConfig::Thread,
            workers => CommunicationConfig::Process(workers),
        };
        let (builders, connections) = config.try_build().expect("within a process nothing can fail");
        Self::connected(builders, connections, false, (tuning, resume))
    }

    /// As [`Engine::new`], for one of several processes that run one dataflow. Each closes the same epochs with the same
    /// presents, and pushes records of its own; `upper` of its bindings may be what it knows of it.
    ///
    /// Every output of an epoch is in the changes of the process that stands first in the order of connections; those of
    /// the others only say that the epoch is complete.
    ///
    /// A process may end at any time, and then nobody can wait for the others: dropping the engine leaves the dataflow
    /// as it is, for the end of the process to clear away. [`Engine::finish`] ends it in good order.
    ///
    /// # Panics
    /// If threads cannot be started.
    pub fn in_cluster(tuning: &Tuning, links: Links, resume: Resume) -> Self {
        let (builders, guard) = links.take();
        let builders = builders.into_iter().map(AllocatorBuilder::Tcp).collect();
        Self::connected(builders, Box::new(guard), true, (tuning, resume))
    }

    fn connected(
        builders: Vec<AllocatorBuilder>,
        connections: Box<dyn std::any::Any + Send>,
        spread: bool,
        (tuning, resume): (&Tuning, Resume),
    ) -> Self {
        let (part_sender, parts) = channel();
        let (spent_sender, spent) = sync_channel(SPENT_BOUND);
        let warm_until = resume.bindings.last().map(|binding| binding.epoch);
        let (stopped, urgent) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let start = Arc::new(Start::new(tuning.clone(), resume, &urgent, (spread, spent_sender)));
        let mut builders = builders.into_iter();
        let mine = builders.next().expect("an engine has a worker");
        let caller = std::thread::current();
        let others = builders.map(|builder| {
            let (feed, feeds) = sync_channel(INBOX_BOUND);
            let (parts, start, caller) = (part_sender.clone(), Arc::clone(&start), caller.clone());
            let alarm = Alarm(Arc::clone(&stopped));
            let work = move || {
                let _alarm = alarm;
                serve(Seat::new(builder, &start), &feeds, &parts, &caller);
            };
            let thread = std::thread::Builder::new().name("worker".to_owned()).spawn(work).expect("threads start");
            Other { feed, thread }
        });
        let others = others.collect();
        let seat = guarded(&stopped, || Seat::new(mine, &start)).ok();
        let (gathered, in_flight) = (BTreeMap::new(), VecDeque::new());
        Self {
            seat,
            others,
            parts,
            spent,
            gathered,
            in_flight,
            records: 0,
            urgent,
            warm_until,
            ends: !spread,
            stopped,
            connections: Some(connections),
        }
    }

    /// Adds records to the open epoch. Whichever worker is free reads them: no output depends on it.
    ///
    /// # Errors
    /// [`Stopped`] if a worker is gone.
    pub fn push(&mut self, batch: Batch) -> Result<(), Stopped> {
        let many = self.records >= FEW_RECORDS || batch.len() as u64 >= FEW_RECORDS;
        self.records += batch.len() as u64;
        let mut feed = Feed::Batch(batch);
        for other in self.others.iter().filter(|_| many) {
            match other.offer(feed)? {
                None => return Ok(()),
                Some(back) => feed = back,
            }
        }
        self.step(|seat| {
            seat.feed(feed);
            seat.step(Duration::ZERO);
        })
    }

    /// Closes the open epoch.
    ///
    /// # Errors
    /// [`Stopped`] if a worker is gone.
    pub fn close(&mut self, binding: Binding) -> Result<(), Stopped> {
        let warm = self.warm_until.is_some_and(|last| binding.epoch <= last);
        self.urgent.store(false, Ordering::Relaxed);
        for other in 0..self.others.len() {
            let mut feed = Feed::Close { binding: binding.clone(), warm };
            while let Some(back) = self.others[other].offer(feed)? {
                feed = back;
                self.step(|seat| seat.step(FULL_PAUSE))?;
            }
        }
        let records = std::mem::take(&mut self.records);
        if !warm {
            self.in_flight.push_back((binding.clone(), records));
        }
        self.step(|seat| {
            seat.feed(Feed::Close { binding, warm });
            seat.step(Duration::ZERO);
        })
    }

    /// Ends the dataflow; in a cluster every process has to, and this waits for them.
    pub fn finish(mut self) {
        self.ends = true;
    }

    /// How many records were pushed here into the open epoch.
    pub fn open_records(&self) -> u64 {
        self.records
    }

    /// Whether the open epoch holds an error: closed now, it is heard now.
    pub fn is_urgent(&self) -> bool {
        self.urgent.load(Ordering::Relaxed)
    }

    /// Lets the caller's worker do something, unless a worker is gone.
    fn step<T>(&mut self, step: impl FnOnce(&mut Seat) -> T) -> Result<T, Stopped> {
        let stopped = &self.stopped;
        let seat = self.seat.as_mut().filter(|_| !stopped.load(Ordering::Relaxed)).ok_or(Stopped)?;
        guarded(stopped, || step(seat))
    }

    /// A batch that was read, for its memory.
    pub fn spent(&mut self) -> Option<Batch> {
        self.spent.try_recv().ok()
    }

    /// Number of closed epochs whose changes were not taken yet.
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// The changes of the next epoch. If it is not complete, the caller's worker does its part of it, and then rests
    /// until the others did something, at most for `patience` (0: not at all); `None` if that was not enough.
    ///
    /// # Errors
    /// [`Stopped`] if a worker is gone.
    pub fn wait(&mut self, patience: Duration) -> Result<Option<Changes>, Stopped> {
        let steps = if self.in_flight.is_empty() { 1 } else { STEPS };
        for rest in [Duration::ZERO, patience] {
            for step in 0..steps {
                if let Some(changes) = self.collect()? {
                    return Ok(Some(changes));
                }
                self.step(|seat| seat.step(if step == 0 { rest } else { Duration::ZERO }))?;
            }
        }
        self.collect()
    }

    /// The changes of the next epoch, if every worker did its part.
    fn collect(&mut self) -> Result<Option<Changes>, Stopped> {
        while let Some(part) = self.step(Seat::complete)? {
            self.gather(part);
        }
        while let Ok(part) = self.parts.try_recv() {
            self.gather(part);
        }
        Ok(self.complete())
    }

    fn gather(&mut self, (epoch, outputs): Part) {
        self.gathered.entry(epoch).or_default().push(outputs);
    }

    fn complete(&mut self) -> Option<Changes> {
        let epoch = self.in_flight.front()?.0.epoch.0;
        if self.gathered.get(&epoch)?.len() <= self.others.len() {
            return None;
        }
        let mut outputs = self.gathered.remove(&epoch)?.into_iter().flatten().collect::<Vec<_>>();
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
        let (feeds, threads): (Vec<_>, Vec<_>) =
            self.others.drain(..).map(|Other { feed, thread }| (feed, thread)).unzip();
        drop(feeds);
        threads.iter().for_each(|thread| thread.thread().unpark());
        let whole = self.ends && !self.stopped.load(Ordering::Relaxed) && !std::thread::panicking();
        let (seat, connections) = (self.seat.take(), self.connections.take());
        if !whole {
            // The others may wait for a worker that panicked, or for another process, for ever: nobody can join them.
            std::mem::forget((seat, connections));
        } else if let Some(seat) = seat {
            match guarded(&self.stopped, || seat.end()) {
                // A panic in there was said on standard error.
                Ok(()) => threads.into_iter().for_each(|thread| drop(thread.join())),
                Err(Stopped) => std::mem::forget(connections),
            }
        }
    }
}

impl Other {
    /// Feeds the worker; gives back what finds no room.
    fn offer(&self, feed: Feed) -> Result<Option<Feed>, Stopped> {
        match self.feed.try_send(feed) {
            Ok(()) => self.thread.thread().unpark(),
            Err(TrySendError::Full(back)) => return Ok(Some(back)),
            Err(TrySendError::Disconnected(_)) => return Err(Stopped),
        }
        Ok(None)
    }
}

/// Tells the engine when its worker's thread panics.
struct Alarm(Arc<AtomicBool>);

impl Drop for Alarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

/// Does something on the caller's thread as another worker would on its own: a panic stops the engine, not the caller.
fn guarded<T>(stopped: &AtomicBool, work: impl FnOnce() -> T) -> Result<T, Stopped> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| {
        stopped.store(true, Ordering::Relaxed);
        Stopped
    })
}

impl Start {
    fn new(
        tuning: Tuning,
        resume: Resume,
        urgent: &Arc<AtomicBool>,
        (spread, spent): (bool, SyncSender<Batch>),
    ) -> Self {
        let first = resume.bindings.first();
        let opened = first.map_or(Opened::default(), |it| Opened { epoch: it.epoch.0 + 1, now_us: it.now_us });
        let presents = resume.bindings.iter().map(|binding| (binding.epoch.0, binding.now_us)).collect();
        let recovered = Recovered { state: State::new(resume.state), presents };
        Self { tuning, recovered, opened, urgent: Arc::clone(urgent), spread, spent }
    }
}
