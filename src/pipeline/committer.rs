//! Who commits: at once on the same thread, or on a thread of its own while the next epochs are computed.

use crate::ports::{Ledger, PortError, Waker};
use evenkeel_dataflows::Changes;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

/// Commits whole epochs in order.
pub trait Committer {
    /// Takes `ready` to commit if it is free, all of it in one transaction; gives back what is committed by now.
    ///
    /// # Errors
    /// What [`Ledger::commit`] says.
    fn offer(&mut self, ready: &mut Vec<Changes>) -> Result<Vec<Changes>, PortError>;

    /// Waits for what it took.
    ///
    /// # Errors
    /// What [`Ledger::commit`] says.
    fn settle(&mut self) -> Result<Vec<Changes>, PortError>;

    /// Has `waker` called whenever something that it took is committed elsewhere meanwhile.
    fn wake_with(&mut self, _waker: Waker) {}
}

/// Commits on the caller's thread.
#[derive(Debug)]
pub struct Inline<L>(pub L);

impl<L: Ledger> Committer for Inline<L> {
    fn offer(&mut self, ready: &mut Vec<Changes>) -> Result<Vec<Changes>, PortError> {
        if !ready.is_empty() {
            self.0.commit(ready)?;
        }
        Ok(std::mem::take(ready))
    }

    fn settle(&mut self) -> Result<Vec<Changes>, PortError> {
        Ok(Vec::new())
    }
}

/// Commits on its own thread, one transaction at a time.
pub struct Threaded {
    work: Option<SyncSender<Vec<Changes>>>,
    done: Receiver<Result<Vec<Changes>, PortError>>,
    busy: bool,
    waker: Arc<OnceLock<Waker>>,
    thread: Option<JoinHandle<()>>,
}

impl Threaded {
    /// Gives `ledger` a thread.
    pub fn new(mut ledger: impl Ledger + 'static) -> Self {
        let (work, tasks) = sync_channel::<Vec<Changes>>(1);
        let (results, done) = sync_channel(1);
        let waker = Arc::<OnceLock<Waker>>::default();
        let woken = Arc::clone(&waker);
        let thread = std::thread::spawn(move || {
            while let Ok(epochs) = tasks.recv() {
                let result = ledger.commit(&epochs).map(|()| epochs);
                if results.send(result).is_err() {
                    return;
                }
                if let Some(wake) = woken.get() {
                    wake();
                }
            }
        });
        Self { work: Some(work), done, busy: false, waker, thread: Some(thread) }
    }
}

const GONE: &str = "the thread that commits is gone; its panic is on standard error";

impl Committer for Threaded {
    fn offer(&mut self, ready: &mut Vec<Changes>) -> Result<Vec<Changes>, PortError> {
        let mut committed = Vec::new();
        if self.busy {
            match self.done.try_recv() {
                Ok(result) => (committed, self.busy) = (result?, false),
                Err(TryRecvError::Empty) => return Ok(committed),
                Err(TryRecvError::Disconnected) => return Err(PortError::Fatal(GONE.to_owned())),
            }
        }
        if !ready.is_empty() {
            let work = self.work.as_ref().expect("dropped only with the committer");
            work.send(std::mem::take(ready)).map_err(|_| PortError::Fatal(GONE.to_owned()))?;
            self.busy = true;
        }
        Ok(committed)
    }

    fn settle(&mut self) -> Result<Vec<Changes>, PortError> {
        if !std::mem::take(&mut self.busy) {
            return Ok(Vec::new());
        }
        self.done.recv().map_err(|_| PortError::Fatal(GONE.to_owned()))?
    }

    fn wake_with(&mut self, waker: Waker) {
        // A committer belongs to one pipeline, which says so once.
        let _ = self.waker.set(waker);
    }
}

impl Drop for Threaded {
    fn drop(&mut self) {
        self.work = None;
        if let Some(thread) = self.thread.take() {
            // A panic in there was said on standard error, and the next offer told the pipeline.
            drop(thread.join());
        }
    }
}
