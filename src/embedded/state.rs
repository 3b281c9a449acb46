//! [`StateLog`]: the newest value per key, as a stream that is written anew when most of it is outdated.

use super::body::Output;
use super::frames;
use super::ledger::committed_ends;
use super::manifest::Ends;
use super::reader::Reader;
use super::stream::Stream;
use crate::ports::PortError;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The stream is written anew when it is so many times as long as its live values.
const OUTDATED: u64 = 3;

/// The stream, and where in it the newest value of each key lies: the values themselves may be many times as large.
#[derive(Debug)]
pub struct StateLog {
    directory: PathBuf,
    stream: Stream,
    start: u64,
    min_bytes: u64,
    live: BTreeMap<Vec<u8>, Place>,
    live_bytes: u64,
}

/// The newest value per key.
pub type Values = BTreeMap<Vec<u8>, Vec<u8>>;

/// Where a frame ends, and how long it is.
#[derive(Clone, Copy, Debug)]
struct Place {
    end: u64,
    bytes: u64,
}

/// The directory of the stream.
pub fn state_directory(directory: &Path) -> PathBuf {
    directory.join("state")
}

impl StateLog {
    /// Opens the stream at its committed end, and reads the newest value per key; it is not written anew below
    /// `min_bytes`.
    pub fn open(
        directory: &Path,
        ends: &Ends,
        segment_bytes: u64,
        min_bytes: u64,
    ) -> Result<(Self, Values), PortError> {
        let directory = state_directory(directory);
        let mut stream = Stream::open(&directory, ends.state, segment_bytes)?;
        // What a crash left behind after the switch to a new start.
        stream.drop_before(ends.state_start)?;
        let (live, live_bytes, start) = (BTreeMap::new(), 0, ends.state_start);
        let mut log = Self { directory, stream, start, min_bytes, live, live_bytes };
        let mut values = Values::new();
        scan(&log.directory.clone(), start, ends.state, |output, place| {
            log.remember(output.key, (!output.value.is_empty()).then_some(place));
            put(&mut values, &output);
            Ok(())
        })?;
        Ok((log, values))
    }

    /// Takes in the values of a commit, in order; empty ones end their key.
    pub fn append<'a>(&mut self, values: impl Iterator<Item = Output<'a>>) -> Result<(), PortError> {
        for value in values {
            let place = self.write(&[&value.header(), value.key, value.value])?;
            self.remember(value.key, (!value.value.is_empty()).then_some(place));
        }
        let held = self.stream.end() - self.start;
        if held > self.min_bytes && held > OUTDATED * self.live_bytes { self.write_anew() } else { Ok(()) }
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
        let (directory, old, new) = (self.directory.clone(), self.start, self.stream.end());
        self.start = new;
        scan(&directory, old, new, |output, place| {
            if self.live.get(output.key).is_some_and(|live| live.end == place.end) {
                let moved = self.write(&[&output.header(), output.key, output.value])?;
                self.remember(output.key, Some(moved));
            }
            Ok(())
        })
    }

    fn write(&mut self, body: &[&[u8]]) -> Result<Place, PortError> {
        self.stream.append(body)?;
        let bytes = frames::HEADER_BYTES + body.iter().map(|part| part.len()).sum::<usize>();
        Ok(Place { end: self.stream.end(), bytes: bytes as u64 })
    }

    /// Takes in where the newest value of a key lies; nowhere if the key ended.
    fn remember(&mut self, key: &[u8], place: Option<Place>) {
        let old = match (place, self.live.get_mut(key)) {
            (Some(place), Some(live)) => Some(std::mem::replace(live, place)),
            (Some(place), None) => self.live.insert(key.to_vec(), place),
            (None, _) => self.live.remove(key),
        };
        self.live_bytes += place.map_or(0, |place| place.bytes);
        self.live_bytes -= old.map_or(0, |old| old.bytes);
    }
}

/// Takes in the newest value of a key; an empty one ends it.
fn put(values: &mut Values, output: &Output<'_>) {
    if output.value.is_empty() {
        values.remove(output.key);
    } else {
        values.insert(output.key.to_vec(), output.value.to_vec());
    }
}

/// How often the state is read anew if it was written anew meanwhile.
const TRIES: usize = 5;

/// The newest committed value per key of a data directory, whoever writes to it meanwhile.
///
/// # Errors
/// `Fatal` if the directory is damaged, `Retry` if the disk fails.
pub fn committed_state(directory: &Path) -> Result<Values, PortError> {
    let mut tries = 0;
    loop {
        let ends = committed_ends(directory)?;
        let mut values = Values::new();
        let read = scan(&state_directory(directory), ends.state_start, ends.state, |output, _| {
            put(&mut values, &output);
            Ok(())
        });
        tries += 1;
        match read {
            Ok(()) => return Ok(values),
            // Its start may be gone since the manifest was read.
            Err(_) if tries < TRIES => {}
            Err(error) => return Err(error),
        }
    }
}

/// Gives every value from `start` to `end` to `each`, with its place.
fn scan(
    directory: &Path,
    start: u64,
    end: u64,
    mut each: impl FnMut(Output<'_>, Place) -> Result<(), PortError>,
) -> Result<(), PortError> {
    let (mut reader, mut from) = (Reader::new(directory.to_owned(), start), start);
    while let Some(found) = reader.next_before(end)? {
        let place = Place { end: found.end, bytes: found.end - from };
        from = found.end;
        let Some(output) = Output::read(found.body) else { return Err(reader.damage("not a state value")) };
        each(output, place)?;
    }
    Ok(())
}
