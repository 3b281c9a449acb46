//! Batches: many requests in one record, as an Arrow IPC stream (<https://arrow.apache.org/docs/format/Columnar.html>,
//! "IPC Streaming Format"), as pyarrow, Polars and arrow-rs write it.
//!
//! The schema's columns are matched by name, in any order; those that are no field of a request are ignored, whatever
//! their type. A number is an integer column of any width (`event_time_us` also a timestamp in µs); a string is `utf8`,
//! `large_utf8`, `utf8_view`, or a dictionary of one of these with any integer index. Optional columns may be missing
//! or null, which reads as the empty string. There may be several record batches in a stream, and a dictionary may be
//! replaced between them. Bodies are not compressed, for Kafka compresses whole batches of records better; big-endian
//! bodies and dictionary deltas are rejected by name.
//!
//! A stream is read in two steps. First all of its messages: whatever is wrong with them is one rejection of the
//! record. Then row by row: a null where a value is required, a number out of its bounds, an index beyond its
//! dictionary or a string of no UTF-8 is a rejection of that row alone.
//!
//! * [`table`] reads the flatbuffers of the messages, [`stream`] finds messages and dictionaries, [`plan`] says which
//!   buffers hold which field, [`columns`] reads those.
//!
//! # Decision
//! * No reader of arrow-rs: it takes microseconds a record, and builds arrays whose validation may panic. Nor its
//!   generated accessors: they bring ten crates into the contract, and the verifier that makes them safe costs more
//!   than the hundred rows behind it. What is needed of flatbuffers are six accessors, in [`table`].
//! * Strings are found once for each column or dictionary, as a list of slices, so that a row only looks them up. Work
//!   is bounded by the payload: dictionaries are read once, strings that overlap are counted ([`columns::Words`]).

mod columns;
mod plan;
mod stream;
mod table;

use super::parts::RowFault;
use super::{Parts, STRING_NAMES};
use crate::event::Refusal;
use crate::{Reason, Request};
use columns::{Integers, Texts, is_valid};
use std::ops::Range;

/// What a stream begins with: the continuation marker of its first message.
pub(crate) const MARK: [u8; 4] = [0xff; 4];

/// Most rows of one record, in all of its record batches.
pub const MAX_BATCH_ROWS: u32 = 1 << 16;

/// Rows that are put together at a time: what they take, 11 kB, stays in the fastest cache.
const AT_ONCE: usize = 64;

/// A batch whose messages are sound.
pub(crate) struct Batch<'a> {
    /// Lists of strings, one after the other: those of dictionaries, and of columns that have none.
    words: Vec<Option<&'a str>>,
    parts: Vec<RecordBatch<'a>>,
}

/// A record batch: where the values of each field are.
struct RecordBatch<'a> {
    rows: u32,
    /// `event_time_us`, `status` and `latency_us`; `None` reads as null.
    integers: [Option<Integers<'a>>; 3],
    /// The string columns that are there: the field's number, and its values.
    texts: Vec<(usize, Texts<'a>)>,
}

/// A row, and the number of its last malformed string, from 1 on.
#[derive(Clone, Copy, Default)]
struct Row<'a> {
    parts: Parts<'a>,
    broken: u8,
}

/// Reads all messages of a stream.
pub(crate) fn decode(payload: &[u8]) -> Result<Batch<'_>, Refusal> {
    stream::read(payload)
}

impl<'a> Batch<'a> {
    /// Passes on each row with its number.
    #[inline]
    pub(crate) fn each(&self, mut each: impl FnMut(u32, Result<Request<'a>, RowFault<'a>>)) {
        let mut number = 0;
        for part in &self.parts {
            let (rows, mut scratch) = (part.rows as usize, [Row::default(); AT_ONCE]);
            for from in (0..rows).step_by(AT_ONCE) {
                let scratch = &mut scratch[..AT_ONCE.min(rows - from)];
                part.gather(from, &self.words, scratch);
                for row in scratch {
                    let request = match row.broken {
                        0 => row.parts.request().ok_or_else(|| fault(row.parts.refusal(), row.parts)),
                        field => Err(broken(usize::from(field - 1), row.parts)),
                    };
                    each(number, request);
                    number += 1;
                }
            }
        }
    }
}

impl<'a> RecordBatch<'a> {
    /// Puts the rows from `from` on together, column by column.
    fn gather(&self, from: usize, words: &[Option<&'a str>], scratch: &mut [Row<'a>]) {
        let rows = from..from + scratch.len();
        for row in scratch.iter_mut() {
            (row.parts.seen, row.broken) = (0, 0);
        }
        let [time, status, latency] = &self.integers;
        integers(time, rows.clone(), scratch, Parts::TIME, |parts| &mut parts.event_time_us);
        integers(status, rows.clone(), scratch, Parts::STATUS, |parts| &mut parts.status);
        integers(latency, rows.clone(), scratch, Parts::LATENCY, |parts| &mut parts.latency_us);
        for (field, texts) in &self.texts {
            let field = *field;
            texts.each(rows.clone(), words, |at, text| match text {
                Some(text) => scratch[at].parts.strings[field] = text,
                None => scratch[at].broken = field as u8 + 1,
            });
            if field == 0 {
                for (row, scratch) in rows.clone().zip(scratch.iter_mut()) {
                    scratch.parts.seen |= if is_valid(texts.validity, row) { Parts::SERVICE } else { 0 };
                }
            }
        }
    }
}

/// Puts a column of integers into its rows.
#[inline(always)]
fn integers<'a>(
    column: &Option<Integers<'_>>,
    rows: Range<usize>,
    scratch: &mut [Row<'a>],
    seen: u8,
    into: impl for<'p> Fn(&'p mut Parts<'a>) -> &'p mut i64,
) {
    let Some(column) = column else { return };
    column.each(rows, |at, value| {
        let parts = &mut scratch[at].parts;
        *into(parts) = value.unwrap_or_default();
        parts.seen |= if value.is_some() { seen } else { 0 };
    });
}

#[cold]
fn broken(field: usize, parts: Parts<'_>) -> RowFault<'_> {
    let what = format!("{}: an index or offset beyond its data, or no UTF-8", STRING_NAMES[field]);
    fault(Refusal(Reason::NotArrow, what), parts)
}

#[cold]
fn fault(refusal: Refusal, parts: Parts<'_>) -> RowFault<'_> {
    RowFault { refusal, parts: Box::new(parts) }
}

/// A stream that is not as the format has it.
#[cold]
fn malformed(what: &str) -> Refusal {
    Refusal(Reason::NotArrow, what.to_owned())
}

/// A stream that is sound, and uses what is not read here.
#[cold]
fn unsupported(what: String) -> Refusal {
    Refusal(Reason::Unsupported, what)
}
