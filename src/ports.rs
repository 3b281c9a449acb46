//! The seams between the core and the world. Each has a real and an in-memory implementation.
//!
//! | port | says | real | in memory |
//! |---|---|---|---|
//! | [`Source`] | which records came in | [`crate::kafka`], [`crate::embedded`] | [`crate::memory`] |
//! | [`Ledger`] | which epochs are committed | [`crate::kafka`], [`crate::embedded`] | [`crate::memory`] |
//! | [`OutputLog`] | what was committed, for compaction and views | [`crate::kafka`], [`crate::embedded`] | [`crate::memory`] |
//! | [`Clock`] | what time it is | [`SystemClock`] | the tests' own |
//! | [`ColdStore`](crate::cold::ColdStore) | where Parquet lies | a directory; an object store, in `evenkeel-objects` | [`MemoryStore`](crate::cold::MemoryStore) |

use evenkeel_dataflows::{Batch, Changes};
use evenkeel_schemas::{Binding, Cut, Dataset, Partition};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What went wrong at a port, by what the caller must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortError {
    /// Recover and try again: the world may be better by then.
    Retry(String),
    /// Stop: somebody else took over.
    Fenced,
    /// Stop: trying again cannot help. Says what, where, and how to fix it.
    Fatal(String),
}

impl std::fmt::Display for PortError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Retry(what) | Self::Fatal(what) => f.write_str(what),
            Self::Fenced => f.write_str(
                "another evenkeel took over, with the same transactional id or the same store; this one stops",
            ),
        }
    }
}

impl std::error::Error for PortError {}

/// What a poll brought.
#[derive(Debug, Default)]
pub struct Polled {
    /// Records, each batch of one partition in offset order, batches of one partition in order too.
    pub batches: Vec<Batch>,
    /// Partitions that have more records by now than were read.
    pub lagging: Vec<Partition>,
}

/// Ends a wait for records early, from any thread.
pub type Waker = Arc<dyn Fn() + Send + Sync>;

/// Which partitions one of several processes reads: those whose number and topic's number add up to its own, modulo how
/// many there are. Every process can tell so for partitions that come to be, and small topics do not all fall to the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    process: usize,
    processes: usize,
}

impl Share {
    /// Every partition.
    pub const WHOLE: Self = Self { process: 0, processes: 1 };

    /// The share of one of `processes` processes, which count from 0.
    pub fn of(process: usize, processes: usize) -> Self {
        debug_assert!(process < processes, "there are {processes} processes");
        Self { process, processes }
    }

    /// Whether a partition is in it.
    pub fn holds(self, partition: Partition) -> bool {
        (partition.partition as usize + partition.topic as usize) % self.processes == self.process
    }

    /// The part of a cut that is about its partitions.
    pub fn part(self, cut: &Cut) -> Cut {
        Cut(cut.0.iter().filter(|(partition, _)| self.holds(**partition)).map(|(p, next)| (*p, *next)).collect())
    }
}

/// Where records come from. Ordering: per partition by offset. Reading changes nothing.
pub trait Source: Send {
    /// Starts (again) at these offsets, every other partition at its beginning.
    ///
    /// # Errors
    /// `Fatal` if an offset is no longer there.
    fn seek(&mut self, from: &Cut) -> Result<(), PortError>;

    /// The next records: at most about `limit`, waiting at most `wait` for the first one.
    ///
    /// # Errors
    /// `Retry` if the log cannot be reached now.
    fn poll(&mut self, limit: usize, wait: Duration) -> Result<Polled, PortError>;

    /// Takes a batch that was read, for its memory: see [`Spare`]. More may come than it gave out.
    fn reuse(&mut self, _spent: Batch) {}

    /// What ends a wait inside [`Source::poll`], or the next one; `None` if nothing can.
    fn waker(&self) -> Option<Waker> {
        None
    }
}

/// Most batches whose memory is kept.
const SPARE_BOUND: usize = 64;

/// Batches to be filled again. What is polled may be cut in pieces before it is read, and every piece comes back: beyond
/// a bound they are let go.
#[derive(Clone, Debug, Default)]
pub struct Spare(Vec<Batch>);

impl Spare {
    /// Keeps a batch that was read, if there is room.
    pub fn keep(&mut self, spent: Batch) {
        if self.0.len() < SPARE_BOUND {
            self.0.push(spent);
        }
    }

    /// An empty batch.
    pub fn take(&mut self, partition: Partition) -> Batch {
        self.0.pop().map_or_else(|| Batch::new(partition), |spent| spent.renewed(partition))
    }
}

/// What a ledger holds when a process takes over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// Every committed binding from the `resume` epoch of the last one on, ascending; empty before the first commit.
    pub bindings: Vec<Binding>,
    /// The newest value per key of [`Dataset::State`], by key.
    pub state: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Where epochs are committed: all outputs and the binding of an epoch become visible together, or never (law L2).
pub trait Ledger: Send {
    /// Takes over: fences whoever wrote before, drops what they left uncommitted, and says what is committed.
    ///
    /// # Errors
    /// `Retry` if the ledger cannot be reached now.
    fn recover(&mut self) -> Result<Committed, PortError>;

    /// Commits whole epochs, durably and at once. After an error nobody knows whether it happened: the caller drops
    /// its engine and recovers.
    ///
    /// # Errors
    /// `Retry` or `Fenced`; see above.
    fn commit(&mut self, epochs: &[Changes]) -> Result<(), PortError>;
}

/// One committed output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its offset in its dataset and partition; offsets ascend, with gaps.
    pub offset: u64,
    /// The `now_us` of its epoch.
    pub at_us: i64,
    /// Its key.
    pub key: Vec<u8>,
    /// Its bytes.
    pub value: Vec<u8>,
}

/// Committed outputs, read back in order.
pub trait OutputLog: Send {
    /// Partitions of a dataset that hold something, ascending.
    ///
    /// # Errors
    /// `Retry` if the log cannot be reached now.
    fn partitions(&mut self, dataset: Dataset) -> Result<Vec<u32>, PortError>;

    /// At most `limit` committed outputs from `offset` on; none means the end.
    ///
    /// # Errors
    /// `Retry` if the log cannot be reached now, `Fatal` if it is damaged: says file and position.
    fn read(&mut self, dataset: Dataset, partition: u32, offset: u64, limit: usize) -> Result<Vec<Row>, PortError>;

    /// As [`OutputLog::read`], but waits at most `wait` for the first output; the partition may be empty so far. The default
    /// looks every [`LOOK`].
    ///
    /// # Errors
    /// As [`OutputLog::read`].
    fn read_on(
        &mut self,
        dataset: Dataset,
        partition: u32,
        offset: u64,
        limit: usize,
        wait: Duration,
    ) -> Result<Vec<Row>, PortError> {
        let begun = Instant::now();
        loop {
            let rows = self.read(dataset, partition, offset, limit)?;
            if !rows.is_empty() || begun.elapsed() >= wait {
                return Ok(rows);
            }
            std::thread::sleep(LOOK.min(wait));
        }
    }
}

/// So often a log that cannot wake its reader is looked at: a look costs some ten microseconds.
const LOOK: Duration = Duration::from_millis(2);

/// What time it is. The core never asks: the answer goes into bindings.
pub trait Clock: Send {
    /// µs since the Unix epoch, UTC.
    fn now_us(&mut self) -> i64;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_us(&mut self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_schemas::Topic;

    #[test]
    fn spare_batches_are_bounded_and_empty() {
        let (mut spare, partition) = (Spare::default(), Partition { topic: Topic::Requests, partition: 1 });
        for offset in 0..2 * SPARE_BOUND as u64 {
            let mut batch = Batch::new(Partition { topic: Topic::Probes, partition: 0 });
            batch.push(offset, 0, &[], &[1]);
            spare.keep(batch);
        }
        assert_eq!(spare.0.len(), SPARE_BOUND);
        assert_eq!(spare.take(partition), Batch::new(partition));
    }
}
