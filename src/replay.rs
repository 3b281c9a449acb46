//! Replay: the same function offline, over the bindings and records of a log; ends in one hash.

use crate::pipeline::EpochReader;
use crate::ports::{OutputLog, PortError, Row, Source};
use evenkeel_dataflows::{Changes, Engine, Output, Resume, Tuning};
use evenkeel_schemas::{Binding, Cut, Dataset};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::time::Duration;

/// What a replay found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replay {
    /// Epochs computed.
    pub epochs: u64,
    /// Records read.
    pub records: u64,
    /// Outputs said.
    pub outputs: u64,
    /// SHA-256 over every output of every epoch, in order.
    pub hash: [u8; 32],
}

/// Computes every epoch of `bindings` again, from epoch 0.
///
/// `batch_records` is how many records are handed over at a time; no result depends on it, or on `workers`.
///
/// # Errors
/// `Fatal` if the log does not begin with epoch 0, or records are gone.
pub fn replay(
    source: &mut impl Source,
    bindings: &[Binding],
    tuning: &Tuning,
    workers: usize,
    batch_records: usize,
    mut each: impl FnMut(&Changes),
) -> Result<Replay, PortError> {
    if bindings.first().is_none_or(|first| first.epoch.0 != 0) {
        return Err(PortError::Fatal("nothing to replay: the log does not begin with epoch 0".to_owned()));
    }
    let mut engine = Engine::new(tuning, workers, Resume::default());
    let mut reader = EpochReader::new(source, &Cut::default())?;
    let mut report = Replay { epochs: 0, records: 0, outputs: 0, hash: [0; 32] };
    let mut hash = Sha256::new();
    for binding in bindings {
        reader.read(&binding.upper, |batch| {
            for from in (0..batch.len()).step_by(batch_records) {
                engine.push(batch.slice(from, batch_records))?;
            }
            Ok(())
        })?;
        engine.close(binding.clone())?;
        while engine.in_flight() > 4 {
            take(&mut engine, &mut report, &mut hash, &mut each)?;
        }
    }
    while engine.in_flight() > 0 {
        take(&mut engine, &mut report, &mut hash, &mut each)?;
    }
    report.hash = hash.finalize().into();
    Ok(report)
}

fn take(
    engine: &mut Engine,
    report: &mut Replay,
    hash: &mut Sha256,
    each: &mut impl FnMut(&Changes),
) -> Result<(), PortError> {
    if let Some(changes) = engine.wait(Duration::from_millis(100))? {
        report.epochs += 1;
        report.records += changes.records;
        report.outputs += changes.outputs.len() as u64;
        digest(hash, &changes);
        each(&changes);
    }
    Ok(())
}

/// Adds an epoch to the hash: its number, then per output dataset, partition, and lengths and bytes of key and value.
pub fn digest(hash: &mut Sha256, changes: &Changes) {
    hash.update(changes.binding.epoch.0.to_le_bytes());
    for output in &changes.outputs {
        hash.update([output.dataset as u8]);
        hash.update(output.partition.to_le_bytes());
        for bytes in [&output.key, &output.value] {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        }
    }
}

/// Compares what a replay says with what was committed, output by output; datasets of which only the newest values are
/// kept are left out.
pub struct Check<L> {
    log: L,
    left_out: &'static [Dataset],
    next: BTreeMap<(Dataset, u32), u64>,
    difference: Option<String>,
}

impl<L: OutputLog> Check<L> {
    /// Compares with `log`, from its beginning, but for the datasets `left_out`.
    pub fn new(log: L, left_out: &'static [Dataset]) -> Self {
        Self { log, left_out, next: BTreeMap::new(), difference: None }
    }

    /// Takes in the next epoch.
    pub fn compare(&mut self, changes: &Changes) {
        let mut wanted = BTreeMap::<(Dataset, u32), Vec<&Output>>::new();
        for output in changes.outputs.iter().filter(|output| !self.left_out.contains(&output.dataset)) {
            wanted.entry((output.dataset, output.partition)).or_default().push(output);
        }
        for ((dataset, partition), outputs) in wanted {
            if self.difference.is_none() {
                let found = self.compare_one(dataset, partition, &outputs);
                self.difference = found.err().map(|why| format!("epoch {}: {why}", changes.binding.epoch.0));
            }
        }
    }

    fn compare_one(&mut self, dataset: Dataset, partition: u32, outputs: &[&Output]) -> Result<(), String> {
        let next = self.next.entry((dataset, partition)).or_default();
        let rows = self.log.read(dataset, partition, *next, outputs.len()).map_err(|error| error.to_string())?;
        let equal = |row: &Row, output: &Output| row.key == output.key && row.value == output.value;
        if rows.len() != outputs.len() || !rows.iter().zip(outputs).all(|(row, output)| equal(row, output)) {
            return Err(format!("{dataset:?} from offset {next} on is not what was committed"));
        }
        *next = rows.last().map_or(*next, |row| row.offset + 1);
        Ok(())
    }

    /// What differed first, if anything did.
    pub fn finish(self) -> Option<String> {
        self.difference
    }
}
