//! [`EmbeddedLedger`]: commits epochs to a directory.

use super::body::Output;
use super::disk::{damaged, lock, make_directory, retry, segment_bases, segment_path};
use super::inputs::partition_directory;
use super::manifest::{Ends, Manifest};
use super::reader::Reader;
use super::state::{StateLog, state_directory};
use super::stream::{SEGMENT_BYTES, Stream};
use crate::ports::{Committed, Ledger, PortError};
use evenkeel_dataflows::Changes;
use evenkeel_schemas::{Binding, Cut, Dataset, Epoch, Partition};
use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::path::{Path, PathBuf};

/// When files are closed, rewritten or dropped, bytes. The tests make them small.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// A segment is closed when it is this long.
    pub segment_bytes: u64,
    /// State is not written anew while its stream is shorter.
    pub state_bytes: u64,
    /// The manifest is written anew when it is this long. Every read of committed outputs reads it whole.
    pub manifest_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { segment_bytes: SEGMENT_BYTES, state_bytes: SEGMENT_BYTES, manifest_bytes: 64 << 10 }
    }
}

/// Commits epochs to a data directory; holds its lock for as long as it lives.
#[derive(Debug)]
pub struct EmbeddedLedger {
    directory: PathBuf,
    limits: Limits,
    writer: Option<Writer>,
    _lock: File,
}

impl EmbeddedLedger {
    /// Takes the data directory `directory`, which is made if need be.
    ///
    /// # Errors
    /// `Fatal` if another ledger has it.
    pub fn open(directory: &Path) -> Result<Self, PortError> {
        Self::with_limits(directory, Limits::default())
    }

    /// The same with other limits.
    ///
    /// # Errors
    /// As [`EmbeddedLedger::open`].
    pub fn with_limits(directory: &Path, limits: Limits) -> Result<Self, PortError> {
        make_directory(directory)?;
        let lock = lock(directory, "evenkeel")?;
        Ok(Self { directory: directory.to_owned(), limits, writer: None, _lock: lock })
    }
}

impl Ledger for EmbeddedLedger {
    fn recover(&mut self) -> Result<Committed, PortError> {
        self.writer = None;
        let (writer, committed) = Writer::open(&self.directory, &self.limits)?;
        self.writer = Some(writer);
        Ok(committed)
    }

    fn commit(&mut self, epochs: &[Changes]) -> Result<(), PortError> {
        let Some(mut writer) = self.writer.take() else {
            return Err(PortError::Retry(format!("{}: recover before committing", self.directory.display())));
        };
        writer.commit(epochs)?;
        // Only a writer whose last commit is known to have happened may go on.
        self.writer = Some(writer);
        Ok(())
    }
}

/// The directory of the stream of outputs.
pub fn outputs_directory(directory: &Path) -> PathBuf {
    directory.join("outputs")
}

/// The directory of the stream of bindings.
pub fn bindings_directory(directory: &Path) -> PathBuf {
    directory.join("bindings")
}

/// The open streams of a directory. After an error it is dropped, and the directory recovered.
#[derive(Debug)]
struct Writer {
    manifest: Manifest,
    committed: Ends,
    outputs: Stream,
    bindings: Stream,
    state: StateLog,
    inputs: Inputs,
    /// Epoch and position of every binding from the resume epoch of the last one on; resume epochs never go back.
    resumable: VecDeque<(Epoch, u64)>,
}

impl Writer {
    /// Cuts every stream to what is committed, and reads the bindings from the last resume epoch on.
    ///
    /// A crash anywhere in here leaves streams that are cut, or not yet; the manifest says the same before and after.
    fn open(directory: &Path, limits: &Limits) -> Result<(Self, Committed), PortError> {
        let committed = committed_ends(directory)?;
        let outputs = Stream::open(&outputs_directory(directory), committed.outputs, limits.segment_bytes)?;
        let bindings = Stream::open(&bindings_directory(directory), committed.bindings, limits.segment_bytes)?;
        let (state, values) = StateLog::open(directory, &committed, limits.segment_bytes, limits.state_bytes)?;
        // Written anew although nothing changed: a line whose sync failed was read, yet may not be durable.
        let manifest = Manifest::create(directory, &committed, limits.manifest_bytes)?;
        let inputs = Inputs { directory: directory.to_owned(), synced: BTreeMap::new() };
        let read = resumable_bindings(directory, &committed)?;
        let resumable = read.iter().map(|(binding, position)| (binding.epoch, *position)).collect();
        let found = Committed {
            bindings: read.into_iter().map(|(binding, _)| binding).collect(),
            state: values.into_iter().collect(),
        };
        Ok((Self { manifest, committed, outputs, bindings, state, inputs, resumable }, found))
    }

    fn commit(&mut self, epochs: &[Changes]) -> Result<(), PortError> {
        let Some(last) = epochs.last() else { return Ok(()) };
        let mut ends = self.committed.clone();
        self.append(epochs, &mut ends)?;
        // A crash here leaves some of the outputs, state and bindings beyond the committed ends: cut off by recovery.
        self.inputs.sync(&last.binding.upper)?;
        // A crash here leaves input records durable that no binding covers: read again, as if they had come just now.
        self.outputs.sync()?;
        self.state.sync(&mut ends)?;
        self.bindings.sync()?;
        (ends.outputs, ends.bindings) = (self.outputs.end(), self.bindings.end());
        // A crash here leaves everything durable but the line: the epochs never existed, and are cut off.
        self.manifest.append(&ends)?;
        // A crash here leaves the epochs committed, and state segments that nothing refers to: dropped by recovery.
        let before = std::mem::replace(&mut self.committed, ends);
        self.state.drop_outdated(&before)
    }

    fn append(&mut self, epochs: &[Changes], ends: &mut Ends) -> Result<(), PortError> {
        let values = epochs.iter().flat_map(outputs_of).filter(|output| output.dataset == Dataset::State);
        self.state.append(values)?;
        for changes in epochs {
            self.append_binding(&changes.binding, ends)?;
            for output in outputs_of(changes).filter(|output| output.dataset != Dataset::State) {
                self.outputs.append(&[&output.header(), output.key, output.value])?;
                let held = (output.dataset, output.partition);
                if let Err(at) = ends.held.binary_search(&held) {
                    ends.held.insert(at, held);
                }
            }
        }
        Ok(())
    }

    fn append_binding(&mut self, binding: &Binding, ends: &mut Ends) -> Result<(), PortError> {
        let next = ends.epoch.map_or(0, |last| last.0 + 1);
        assert_eq!(binding.epoch.0, next, "epochs count up by one");
        ends.epoch = Some(binding.epoch);
        self.resumable.push_back((binding.epoch, self.bindings.end()));
        while self.resumable.front().is_some_and(|(epoch, _)| *epoch < binding.resume) {
            self.resumable.pop_front();
        }
        ends.resume = self.resumable.front().map_or(self.bindings.end(), |(_, position)| *position);
        self.bindings.append(&[&serde_json::to_vec(binding).expect("a binding is JSON")])
    }
}

fn outputs_of(changes: &Changes) -> impl Iterator<Item = Output<'_>> + Clone {
    let at_us = changes.binding.now_us;
    changes.outputs.iter().map(move |output| Output {
        dataset: output.dataset,
        partition: u16::try_from(output.partition).expect("partitions are numbered far below 65,536"),
        at_us,
        key: &output.key,
        value: &output.value,
    })
}

/// What the manifest says; nothing if the directory is new.
pub fn committed_ends(directory: &Path) -> Result<Ends, PortError> {
    if let Some(ends) = Ends::read(directory)? {
        return Ok(ends);
    }
    // The manifest is written before the first byte of any stream, and replaced at once after that.
    let streams = [outputs_directory(directory), bindings_directory(directory), state_directory(directory)];
    for stream in streams {
        if !segment_bases(&stream)?.is_empty() && Reader::new(stream, 0).has_more()? {
            // A ledger may have begun since the manifest was looked for.
            let missing = || damaged(&directory.join("commits"), "no whole line, although there are commits");
            return Ends::read(directory)?.ok_or_else(missing);
        }
    }
    Ok(Ends::default())
}

/// The bindings from the last one's resume epoch on, and where each lies.
fn resumable_bindings(directory: &Path, ends: &Ends) -> Result<Vec<(Binding, u64)>, PortError> {
    let mut reader = Reader::new(bindings_directory(directory), ends.resume);
    let (mut bindings, mut position) = (Vec::new(), ends.resume);
    while let Some(found) = reader.next_before(ends.bindings)? {
        let Ok(binding) = serde_json::from_slice(found.body) else {
            return Err(reader.damage("the record before it is no binding"));
        };
        bindings.push((binding, position));
        position = found.end;
    }
    Ok(bindings)
}

/// Makes input records durable before a binding covers them: their writer may not have done so yet.
#[derive(Debug)]
struct Inputs {
    directory: PathBuf,
    /// Up to where, and the segment that was synced last.
    synced: BTreeMap<Partition, (u64, u64, File)>,
}

impl Inputs {
    fn sync(&mut self, upper: &Cut) -> Result<(), PortError> {
        for (partition, end) in &upper.0 {
            let known = self.synced.get(partition);
            if known.is_none_or(|(synced, ..)| synced < end) {
                self.sync_partition(*partition, *end)?;
            }
        }
        Ok(())
    }

    /// Syncs the last synced segment and those after it. Records from elsewhere have no directory here.
    fn sync_partition(&mut self, partition: Partition, end: u64) -> Result<(), PortError> {
        let directory = partition_directory(&self.directory, partition);
        let from = match self.synced.get_mut(&partition) {
            Some((synced, base, file)) => {
                let path = segment_path(&directory, *base);
                let length = file.sync_data().and_then(|()| file.metadata()).map_err(retry("sync", &path))?.len();
                *synced = end.min(*base + length);
                *base + length
            }
            None => 0,
        };
        for base in segment_bases(&directory)?.into_iter().filter(|base| from <= *base && *base < end) {
            let path = segment_path(&directory, base);
            let synced = File::open(&path).and_then(|file| file.sync_data().map(|()| file));
            let file = synced.map_err(retry("sync", &path))?;
            self.synced.insert(partition, (end, base, file));
        }
        Ok(())
    }
}
