//! One worker of the dataflow: what it was fed, the operators, and what came out of them.
//!
//! A [`Seat`] lives on the thread that made it. The engine's caller has the first one; every other has a thread that
//! [`serve`]s its feed until that ends.

use crate::batch::{Batch, Output};
use crate::decoder::Opened;
use crate::epochs::Epochs;
use crate::graph::build;
use crate::ingest::{Feed, Inbox};
use crate::operators::window::Recovered;
use crate::tuning::Tuning;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, Sender, SyncSender, TryRecvError};
use std::thread::Thread;
use std::time::Duration;
use timely::WorkerConfig;
use timely::communication::Allocator;
use timely::communication::allocator::AllocatorBuilder;
use timely::communication::allocator::thread::Thread as Alone;
use timely::dataflow::ProbeHandle;
use timely::scheduling::Activator;
use timely::worker::Worker;

/// How long an idle worker sleeps unless it is woken.
const PARK: Duration = Duration::from_millis(5);

/// Outputs of one complete epoch from one worker.
pub(crate) type Part = (u64, Vec<Output>);

/// What every worker starts from.
pub(crate) struct Start {
    /// What the run was started with; what holds now, see [`crate::rules`].
    pub tuning: Tuning,
    pub recovered: Recovered,
    pub opened: Opened,
    /// Set when the open epoch holds something that should not wait.
    pub urgent: Arc<AtomicBool>,
    /// Whether there are workers in other processes, too.
    pub spread: bool,
    /// Takes batches that were read.
    pub spent: SyncSender<Batch>,
}

/// One worker.
pub(crate) struct Seat {
    worker: Worker,
    inbox: Inbox,
    epochs: Epochs,
    probe: ProbeHandle<u64>,
    activator: Activator,
    /// Epochs that were closed and not taken, and whether they are warm.
    closed: VecDeque<(u64, bool)>,
}

impl Seat {
    /// Builds the dataflow; returns once every worker of the process does.
    pub fn new(builder: AllocatorBuilder, start: &Start) -> Self {
        let allocator = match builder {
            AllocatorBuilder::Thread(_) => Allocator::Thread(Alone::default()),
            AllocatorBuilder::Process(builder) => Allocator::Process(builder.build()),
            AllocatorBuilder::Tcp(builder) => Allocator::Tcp(builder.build()),
        };
        let mut worker = Worker::new(WorkerConfig::default(), allocator, timer());
        let (inbox, epochs) = (Inbox::default(), Epochs::default());
        let (probe, activator) = worker.dataflow(|scope| build(scope, &inbox, &epochs, start));
        Self { worker, inbox, epochs, probe, activator, closed: VecDeque::new() }
    }

    /// Feeds it; what was fed is read in the next step.
    pub fn feed(&mut self, feed: Feed) {
        if let Feed::Close { binding, warm } = &feed {
            self.closed.push_back((binding.epoch.0, *warm));
        }
        self.inbox.borrow_mut().push_back(feed);
        self.activator.activate();
    }

    /// Lets every operator run that has something to do; if none has, waits at most `patience` for it.
    pub fn step(&mut self, patience: Duration) {
        self.worker.step_or_park(Some(patience));
    }

    /// The next epoch that is complete, unless it was committed before.
    pub fn complete(&mut self) -> Option<Part> {
        while self.closed.front().is_some_and(|(epoch, _)| !self.probe.less_equal(epoch)) {
            let (epoch, warm) = self.closed.pop_front().expect("just seen");
            let outputs = self.epochs.take(epoch);
            self.epochs.forget(epoch);
            if !warm {
                return Some((epoch, outputs));
            }
        }
        None
    }

    /// Feeds it no more, and lets the dataflow end; every other worker must end, too.
    pub fn end(self) {
        let Self { mut worker, inbox, activator, .. } = self;
        // The source notices that nobody feeds it any more, and lets go; then the dataflow ends by itself.
        drop(inbox);
        activator.activate();
        while worker.has_dataflows() {
            worker.step_or_park(Some(PARK));
        }
    }
}

/// Timely parks a worker only if it has a timer; no operator here asks it.
#[expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "it says when to wake up, which changes no output"
)]
fn timer() -> Option<std::time::Instant> {
    Some(std::time::Instant::now())
}

/// Runs a worker on this thread until nobody feeds it any more; `engine` is woken for each complete epoch.
pub(crate) fn serve(mut seat: Seat, feed: &Receiver<Feed>, parts: &Sender<Part>, engine: &Thread) {
    loop {
        match feed.try_recv() {
            Ok(feed) => {
                seat.feed(feed);
                seat.step(Duration::ZERO);
            }
            Err(TryRecvError::Empty) => seat.step(PARK),
            Err(TryRecvError::Disconnected) => break,
        }
        while let Some(part) = seat.complete() {
            // If the engine is gone, so is the feed.
            let _ = parts.send(part);
            engine.unpark();
        }
    }
    seat.end();
}
