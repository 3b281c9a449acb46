//! [`StateLog`]: the newest value per key, as a stream that is written anew when most of it is outdated.

use super::body::Output;
use super::manifest::Ends;
use super::reader::Reader;
use super::stream::Stream;
use crate::ports::PortError;
use evenkeel_schemas::Dataset;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// How often outdated values outweigh the live ones before the stream is written anew.
const OUTDATED: u64 = 3;

/// The live state and the stream it comes from. The engine's bound on keys bounds the memory.
#[derive(Debug)]
pub struct StateLog {
    stream: Stream,
    start: u64,
    min_bytes: u64,
    live: BTreeMap<Vec<u8>, Vec<u8>>,
    live_bytes: u64,
}

/// The directory of the stream.
pub fn state_directory(directory: &Path) -> PathBuf {
    directory.join("state")
}

impl StateLog {
    /// Opens the stream at its committed end and reads the live values; it is not written anew below `min_bytes`.
    pub fn open(directory: &Path, ends: &Ends, segment_bytes: u64, min_bytes: u64) -> Result<Self, PortError> {
        let directory = state_directory(directory);
        let mut stream = Stream::open(&directory, ends.state, segment_bytes)?;
        // What a crash left behind after the switch to a new start.
        stream.drop_before(ends.state_start)?;
        let (live, live_bytes, start) = (BTreeMap::new(), 0, ends.state_start);
        let mut log = Self { stream, start, min_bytes, live, live_bytes };
        let mut reader = Reader::new(directory, start);
        while let Some(found) = reader.next_before(ends.state)? {
            let Some(output) = Output::read(found.body) else { return Err(reader.damage("not a state value")) };
            log.remember(output.key, output.value);
        }
        Ok(log)
    }

    /// The newest value per key, by key.
    pub fn live(&self) -> impl Iterator<Item = (&Vec<u8>, &Vec<u8>)> {
        self.live.iter()
    }

    /// Takes in the values of a commit, in order; empty ones end their key.
    pub fn append<'a>(&mut self, values: impl Iterator<Item = Output<'a>> + Clone) -> Result<(), PortError> {
        values.clone().for_each(|value| self.remember(value.key, value.value));
        let held = self.stream.end() - self.start;
        if held > self.min_bytes && held > OUTDATED * self.live_bytes {
            return self.write_anew();
        }
        for value in values {
            self.stream.append(&[&value.header(), value.key, value.value])?;
        }
        Ok(())
    }

    /// Makes the stream durable and says where it starts and ends.
    pub fn sync(&mut self, ends: &mut Ends) -> Result<(), PortError> {
        self.stream.sync()?;
        (ends.state_start, ends.state) = (self.start, self.stream.end());
        Ok(())
    }

    /// Removes what lies before the start; only after a commit with that start is durable.
    pub fn drop_outdated(&mut self, committed: &Ends) -> Result<(), PortError> {
        if committed.state_start < self.start { self.stream.drop_before(self.start) } else { Ok(()) }
    }

    /// Writes the live values into a new segment and starts there. Until that is committed the old start holds, and
    /// a crash leaves the new segment behind, to be cut off.
    fn write_anew(&mut self) -> Result<(), PortError> {
        self.stream.roll()?;
        self.start = self.stream.end();
        for (key, value) in &self.live {
            let output = Output { dataset: Dataset::State, partition: 0, at_us: 0, key, value };
            self.stream.append(&[&output.header(), key, value])?;
        }
        Ok(())
    }

    fn remember(&mut self, key: &[u8], value: &[u8]) {
        let old = if value.is_empty() { self.live.remove(key) } else { self.live.insert(key.to_vec(), value.to_vec()) };
        let bytes = |value: &[u8]| (super::frames::HEADER_BYTES + 15 + key.len() + value.len()) as u64;
        self.live_bytes -= old.map_or(0, |old| bytes(&old));
        self.live_bytes += if value.is_empty() { 0 } else { bytes(value) };
    }
}
