//! [`restore`]: a data directory as it was at a point in time, computed again from a cold store.
//!
//! Every epoch is replayed, its records are appended to the directory's inputs and its outputs committed to it. What
//! makes it the same run is checked on the way: each head of the audit chain that the cold store's manifest names must be
//! met at its entry ([`Heads`]), and the state that the directory recovers to must be the one that was computed.
//!
//! Offsets of embedded inputs are positions, so those of an embedded run come out the same; of records from elsewhere the
//! new offsets are put into the bindings, and the pipeline goes on from there.

use crate::cold::{ColdSource, ColdStore};
use crate::embedded::{EmbeddedLedger, InputWriter};
use crate::ports::{Ledger, Polled, PortError, Source};
use crate::replay::{Replay, replay};
use evenkeel_dataflows::{Changes, State, Tuning};
use evenkeel_schemas::audit::{Entry, Hash};
use evenkeel_schemas::{Binding, Cut, Dataset, Partition};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Outputs that are committed together.
const COMMIT_OUTPUTS: usize = 20_000;

/// Epochs that are committed together.
const COMMIT_EPOCHS: usize = 2_000;

/// Records handed over at a time.
const BATCH_RECORDS: usize = 10_000;

/// Key and value of a record of the state dataset.
pub type StateRecord = (Vec<u8>, Vec<u8>);

/// What was restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The replay that it was computed by.
    pub replay: Replay,
    /// SHA-256 over keys and values of the state, see [`state_hash`].
    pub state_hash: [u8; 32],
    /// Heads of the audit chain that were met.
    pub heads: u64,
}

/// Writes the epochs of `bindings` into the data directory `directory`, which must be new.
///
/// # Errors
/// `Fatal` if what is computed is not what the cold store says, or a file is damaged; `Retry` if a disk fails. The
/// directory then is no copy of anything: remove it.
pub fn restore<S: ColdStore>(
    source: ColdSource<S>,
    bindings: &[Binding],
    (tuning, workers): (&Tuning, usize),
    directory: &Path,
) -> Result<Restored, PortError> {
    let mut heads = Heads::new(source.heads());
    let inputs = Arc::new(Mutex::new(Inputs::new(directory)));
    let mut recording = Recording { source, inputs: Arc::clone(&inputs) };
    let mut ledger = EmbeddedLedger::open(directory)?;
    if ledger.recover()? != crate::ports::Committed::default() {
        return Err(PortError::Fatal(format!("{} holds commits already: restore into a new one", directory.display())));
    }
    let mut copy = Copy { ledger, inputs, waiting: Vec::new(), outputs: 0, state: State::default(), failed: None };
    let each = |changes: &Changes| {
        heads.take(changes);
        copy.take(changes);
    };
    let report = replay(&mut recording, bindings, tuning, workers, BATCH_RECORDS, each)?;
    let state = copy.finish()?;
    let met = heads.finish()?;
    let recovered = EmbeddedLedger::open(directory)?.recover()?.state;
    if recovered != state {
        let directory = directory.display();
        return Err(PortError::Fatal(format!("{directory} recovers to another state than was computed: restore anew")));
    }
    Ok(Restored { replay: report, state_hash: state_hash(&state), heads: met })
}

/// SHA-256 over state records by key: lengths and bytes of key and value.
pub fn state_hash(records: &[StateRecord]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for bytes in records.iter().flat_map(|(key, value)| [key, value]) {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    }
    hash.finalize().into()
}

/// Holds a replay to the heads of an audit chain.
#[derive(Debug, Default)]
pub struct Heads {
    expected: BTreeMap<(u32, u64), Hash>,
    met: u64,
    difference: Option<String>,
}

impl Heads {
    /// Expects these, by partition and the number of the entry that follows.
    pub fn new(expected: BTreeMap<(u32, u64), Hash>) -> Self {
        Self { expected, ..Self::default() }
    }

    /// Takes in the next epoch.
    pub fn take(&mut self, changes: &Changes) {
        for output in changes.outputs.iter().filter(|output| output.dataset == Dataset::Audit) {
            let (entry, link) = Entry::open(&output.value).expect("the engine writes whole entries");
            let expected = self.expected.get(&(output.partition, entry.seq + 1));
            self.met += u64::from(expected == Some(&link));
            if expected.is_some_and(|head| *head != link) && self.difference.is_none() {
                let (partition, seq) = (output.partition, entry.seq);
                self.difference = Some(format!("audit partition {partition}: another head after seq {seq}"));
            }
        }
    }

    /// How many were met.
    ///
    /// # Errors
    /// `Fatal` with the first place where another one was.
    pub fn finish(self) -> Result<u64, PortError> {
        match self.difference {
            None => Ok(self.met),
            Some(what) => Err(PortError::Fatal(format!(
                "{what} than the cold store's: these records, bindings and tuning did not make those entries; verify the \
                 store"
            ))),
        }
    }
}

/// Appends whatever is polled to the inputs of a directory.
struct Recording<S> {
    source: S,
    inputs: Arc<Mutex<Inputs>>,
}

impl<S: Source> Source for Recording<S> {
    fn seek(&mut self, from: &Cut) -> Result<(), PortError> {
        self.source.seek(from)
    }

    fn poll(&mut self, limit: usize, wait: Duration) -> Result<Polled, PortError> {
        let polled = self.source.poll(limit, wait)?;
        let mut inputs = lock(&self.inputs);
        for batch in &polled.batches {
            for record in batch.iter() {
                inputs.append(batch.partition, record.at.offset, (record.timestamp_us, record.key, record.payload))?;
            }
        }
        Ok(polled)
    }
}

/// The inputs of the directory, and where what was appended lies.
struct Inputs {
    writer: InputWriter,
    /// The offsets after records, before and in the directory, by partition, ascending.
    places: BTreeMap<Partition, VecDeque<(u64, u64)>>,
    cut: Cut,
}

impl Inputs {
    fn new(directory: &Path) -> Self {
        Self { writer: InputWriter::new(directory), places: BTreeMap::new(), cut: Cut::default() }
    }

    fn append(
        &mut self,
        partition: Partition,
        offset: u64,
        (timestamp_us, key, payload): (i64, &[u8], &[u8]),
    ) -> Result<(), PortError> {
        self.writer.append(partition, timestamp_us, key, payload)?;
        let next = self.writer.next_offset(partition)?;
        self.places.entry(partition).or_default().push_back((offset + 1, next));
        Ok(())
    }

    /// The cut in the directory that holds the same records as `upper`; cuts never go back.
    fn moved(&mut self, upper: &Cut) -> Cut {
        for (partition, end) in &upper.0 {
            let places = self.places.entry(*partition).or_default();
            while let Some((_, next)) = places.pop_front_if(|(before, _)| *before <= *end) {
                self.cut.0.insert(*partition, next);
            }
        }
        self.cut.clone()
    }
}

/// The directory that is being written.
struct Copy {
    ledger: EmbeddedLedger,
    inputs: Arc<Mutex<Inputs>>,
    waiting: Vec<Changes>,
    outputs: usize,
    state: State,
    failed: Option<PortError>,
}

impl Copy {
    /// Takes in the next epoch; after an error nothing more.
    fn take(&mut self, changes: &Changes) {
        if self.failed.is_some() {
            return;
        }
        self.state.apply(&changes.outputs);
        let mut changes = changes.clone();
        changes.binding.upper = lock(&self.inputs).moved(&changes.binding.upper);
        self.outputs += changes.outputs.len();
        self.waiting.push(changes);
        if self.outputs >= COMMIT_OUTPUTS || self.waiting.len() >= COMMIT_EPOCHS {
            self.failed = self.commit().err();
        }
    }

    fn commit(&mut self) -> Result<(), PortError> {
        lock(&self.inputs).writer.flush()?;
        self.outputs = 0;
        self.ledger.commit(&std::mem::take(&mut self.waiting))
    }

    /// Commits the rest; the state that was computed.
    fn finish(mut self) -> Result<Vec<StateRecord>, PortError> {
        match self.failed.take() {
            Some(error) => Err(error),
            None => self.commit().map(|()| self.state.into_records()),
        }
    }
}

fn lock(inputs: &Arc<Mutex<Inputs>>) -> MutexGuard<'_, Inputs> {
    // After a panic elsewhere nothing goes on that would read it.
    inputs.lock().unwrap_or_else(PoisonError::into_inner)
}
