//! [`keep_inputs`]: what came in to segments: records and bindings, for replay, and requests as a table.
//!
//! | what | kept | for |
//! |---|---|---|
//! | [`KeptInputs::records`] | every record of every input topic, its bytes as received, and every binding | [`ColdSource`](super::ColdSource): replay and recovery to a point in time, to the last byte |
//! | [`KeptInputs::requests`] | requests, decoded: all, a sample, or none | questions that rollups do not answer |
//!
//! Only records that a committed epoch holds are kept, and they have the date on which it closed: a record's own time is
//! whatever its producer says.
//!
//! # Decision
//! * A replay needs the bytes as received, and which of them each epoch held; nothing less gives the same hash. Rejected
//!   records, tombstones and keys count, too, so records are no table of decoded values.
//! * Neither is kept unless it is asked for: they are the bulk of the bytes, and what people put into requests.
//! * A request is in the sample by a hash of where it lies: the same ones after a crash, and on another machine.

use super::archive::Archive;
use super::compactor::{MAX_SEGMENT_BYTES, Options, Report, date_of, written};
use super::dataset::ColdDataset;
use super::input_tables::{Kept, bindings as binding_table, records, requests};
use super::manifest::{Segment, Stream};
use super::store::ColdStore;
use crate::pipeline::EpochReader;
use crate::ports::{PortError, Source};
use evenkeel_dataflows::{Batch, Tuning};
use evenkeel_schemas::{Binding, Cut, Encoding, Partition, Topic};
use std::collections::BTreeMap;

/// The file in a cold store that pins the tuning with which its records were computed.
pub const TUNING: &str = "tuning.json";

/// Values held in memory together, bytes: beyond, the largest stream's are written.
const MAX_HELD_BYTES: usize = 2 * MAX_SEGMENT_BYTES;

/// Which inputs are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeptInputs {
    /// Whether every record and binding is.
    pub records: bool,
    /// Which requests are.
    pub requests: Requests,
}

/// Which requests are kept as a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Requests {
    /// All.
    Full,
    /// One in so many, by a hash of where it lies.
    Sampled(u32),
    /// None: only what was counted of them remains.
    #[default]
    Ephemeral,
}

impl std::str::FromStr for Requests {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "full" => Ok(Self::Full),
            None if text == "ephemeral" => Ok(Self::Ephemeral),
            Some(("sampled", number)) => match number.parse() {
                Ok(number @ 1..) => Ok(Self::Sampled(number)),
                _ => Err(format!("one in {number:?}: write a number from 1 on, e.g. sampled:100")),
            },
            _ => Err(format!("{text:?}: it is one of full, sampled:N, ephemeral")),
        }
    }
}

impl Requests {
    /// Whether the request in this place is kept.
    pub fn holds(self, partition: u32, offset: u64, row: u32) -> bool {
        match self {
            Self::Full => true,
            Self::Sampled(one_in) => {
                let place = mix(mix(u64::from(partition) << 32 | u64::from(row)) ^ offset);
                place.is_multiple_of(u64::from(one_in))
            }
            Self::Ephemeral => false,
        }
    }
}

/// SplitMix64's finalizer (Steele, Lea, Flood 2014).
fn mix(mut z: u64) -> u64 {
    z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Writes the inputs of `bindings` since the last run. Running it again changes nothing.
///
/// # Errors
/// `Fatal` if records or bindings are gone that were not kept yet, or records were kept with another tuning. `Retry` if
/// source or store cannot be reached now.
pub fn keep_inputs(
    source: &mut impl Source,
    bindings: &[Binding],
    tuning: &Tuning,
    store: &dyn ColdStore,
    (kept, options): (KeptInputs, &Options),
) -> Result<Report, PortError> {
    if kept == KeptInputs::default() || bindings.is_empty() {
        return Ok(Report::default());
    }
    if kept.records {
        pin(tuning, store)?;
    }
    let (archive, removed) = Archive::open(store)?;
    let mut keeper = Keeper { archive, kept, options, held: BTreeMap::new(), report: Report::default() };
    keeper.report.removed = removed;
    let from = keeper.resume(bindings);
    let mut reader = EpochReader::new(source, &from)?;
    for binding in bindings {
        let is_done = binding.upper.0.iter().all(|(partition, upper)| from.next_offset(*partition) >= *upper);
        if !is_done {
            reader.read(&binding.upper, |batch| keeper.take(&batch, binding.now_us))?;
        }
    }
    keeper.flush_all()?;
    if kept.records {
        keeper.keep_bindings(bindings)?;
    }
    Ok(keeper.report)
}

/// Pins the tuning, or checks that it is the one that is pinned.
fn pin(tuning: &Tuning, store: &dyn ColdStore) -> Result<(), PortError> {
    let text = serde_json::to_vec_pretty(tuning).expect("a tuning is numbers, names and lists");
    match pinned(store)? {
        None => store.put(TUNING, &text),
        Some(before) if before == *tuning => Ok(()),
        Some(_) => Err(PortError::Fatal(format!(
            "the records in this store were computed with another tuning, that in {TUNING}: keep the others in another \
             cold directory"
        ))),
    }
}

/// The tuning with which the records of a store were computed; `None` if it keeps none.
///
/// # Errors
/// `Fatal` if the file is no tuning.
pub fn pinned(store: &dyn ColdStore) -> Result<Option<Tuning>, PortError> {
    let parse = |bytes: Vec<u8>| serde_json::from_slice(&bytes);
    store.get(TUNING)?.map(parse).transpose().map_err(|error| PortError::Fatal(format!("{TUNING}: {error}")))
}

/// What was read and is in no segment yet.
struct Keeper<'a> {
    archive: Archive<'a>,
    kept: KeptInputs,
    options: &'a Options,
    held: BTreeMap<Stream, Held>,
    report: Report,
}

/// Records of one stream, of one date.
#[derive(Default)]
struct Held {
    rows: Vec<Kept>,
    bytes: usize,
}

impl Keeper<'_> {
    /// Where a stream goes on.
    fn next_offset(&self, stream: Stream) -> u64 {
        self.archive.manifest().last(stream).map_or(0, |last| last.next_offset)
    }

    /// The streams that keep something of a partition.
    fn streams(&self, partition: Partition) -> impl Iterator<Item = Stream> + use<> {
        let records = self.kept.records.then_some((ColdDataset::Records(partition.topic), partition.partition));
        let tabled = self.kept.requests != Requests::Ephemeral && partition.topic == Topic::Requests;
        records.into_iter().chain(tabled.then_some((ColdDataset::Requests, partition.partition)))
    }

    /// From where on records are to be read.
    fn resume(&self, bindings: &[Binding]) -> Cut {
        let upper = bindings.last().map(|last| last.upper.clone()).unwrap_or_default();
        let next = |(partition, end): (Partition, u64)| {
            let next = self.streams(partition).map(|stream| self.next_offset(stream)).min();
            (partition, next.unwrap_or(end))
        };
        Cut(upper.0.into_iter().map(next).filter(|(_, next)| *next > 0).collect())
    }

    fn take(&mut self, batch: &Batch, now_us: i64) -> Result<(), PortError> {
        for stream in self.streams(batch.partition) {
            let next = self.next_offset(stream);
            for record in batch.iter().filter(|record| record.at.offset >= next) {
                let is_sampled = || self.kept.requests.holds(stream.1, record.at.offset, 0);
                let is_batch = || Encoding::of(record.payload) == Encoding::Arrow;
                if stream.0 == ColdDataset::Requests && !is_sampled() && !is_batch() {
                    continue;
                }
                let (key, payload) = (record.key.to_vec(), record.payload.to_vec());
                let row = Kept { offset: record.at.offset, now_us, timestamp_us: record.timestamp_us, key, payload };
                self.hold(stream, row)?;
            }
        }
        while self.held.values().map(|held| held.bytes).sum::<usize>() > MAX_HELD_BYTES {
            let largest = self.held.iter().max_by_key(|(_, held)| held.bytes).map(|(stream, _)| *stream);
            self.flush(largest.expect("bytes are held"))?;
        }
        Ok(())
    }

    fn hold(&mut self, stream: Stream, row: Kept) -> Result<(), PortError> {
        let held = self.held.entry(stream).or_default();
        let is_full = held.rows.len() >= self.options.max_rows || held.bytes >= MAX_SEGMENT_BYTES;
        let is_other_date = held.rows.last().is_some_and(|last| date_of(last.now_us) != date_of(row.now_us));
        if is_full || is_other_date {
            self.flush(stream)?;
        }
        let held = self.held.entry(stream).or_default();
        held.bytes += row.key.len() + row.payload.len();
        held.rows.push(row);
        Ok(())
    }

    /// Writes what is left, if it is wanted.
    fn flush_all(&mut self) -> Result<(), PortError> {
        let streams = self.held.keys().copied().collect::<Vec<_>>();
        streams.into_iter().filter(|_| self.options.whole).try_for_each(|stream| self.flush(stream))
    }

    fn flush(&mut self, stream: Stream) -> Result<(), PortError> {
        let rows = self.held.remove(&stream).unwrap_or_default().rows;
        let Some(first) = rows.first() else { return Ok(()) };
        let ends = (first.offset, rows[rows.len() - 1].offset);
        let found = match stream.0 {
            ColdDataset::Requests => {
                requests(stream.1, &rows, |offset, row| self.kept.requests.holds(stream.1, offset, row))
            }
            _ => Some((ends, records(&rows))),
        };
        match found {
            Some((ends, table)) => self.write(stream, first.now_us, ends, &table),
            None => Ok(()),
        }
    }

    fn write(
        &mut self,
        stream: Stream,
        now_us: i64,
        ends: (u64, u64),
        table: &arrow::array::RecordBatch,
    ) -> Result<(), PortError> {
        let no_date = || PortError::Fatal(format!("{} offset {}: its epoch's time is no date", stream.0, ends.0));
        let date = date_of(now_us).ok_or_else(no_date)?;
        let (segment, file) = written(Segment::new(stream, &date, ends, table.num_rows() as u64), table)?;
        self.report.written.push(segment.clone());
        self.archive.add(vec![(segment, file)])
    }

    fn keep_bindings(&mut self, bindings: &[Binding]) -> Result<(), PortError> {
        let stream = (ColdDataset::Bindings, 0);
        let (next, begun) = (self.next_offset(stream), self.archive.manifest().last(stream).is_some());
        let new = bindings.iter().position(|binding| binding.epoch.0 >= next).unwrap_or(bindings.len());
        let mut new = &bindings[new..];
        if let Some(first) = new.first().filter(|first| begun && first.epoch.0 != next) {
            return Err(PortError::Fatal(format!(
                "epochs {next} to {} expired before their bindings were kept: compact more often; go on in another cold \
                 directory",
                first.epoch.0 - 1
            )));
        }
        while let Some(first) = new.first() {
            let date = date_of(first.now_us);
            let same = new.iter().take(self.options.max_rows);
            let rows = same.take_while(|binding| date_of(binding.now_us) == date).count();
            if rows == new.len() && rows < self.options.max_rows && !self.options.whole {
                return Ok(());
            }
            let (now, later) = new.split_at(rows);
            self.write(stream, first.now_us, (now[0].epoch.0, now[rows - 1].epoch.0), &binding_table(now))?;
            new = later;
        }
        Ok(())
    }
}
