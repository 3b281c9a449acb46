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
use columns::{Integers, Texts};

/// What a stream begins with: the continuation marker of its first message.
pub(crate) const MARK: [u8; 4] = [0xff; 4];

/// Most rows of one record, in all of its record batches.
pub const MAX_BATCH_ROWS: u32 = 1 << 16;

/// A batch whose messages are sound.
pub(crate) struct Batch<'a> {
    /// Lists of strings: those of dictionaries, and of columns that have none.
    words: Vec<Vec<Option<&'a str>>>,
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
            let lists = part.texts.iter().map(|(_, texts)| self.words[texts.words].as_slice()).collect::<Vec<_>>();
            for row in 0..part.rows as usize {
                each(number, part.request(row, &lists));
                number += 1;
            }
        }
    }
}

impl<'a> RecordBatch<'a> {
    #[inline(always)]
    fn request(&self, row: usize, lists: &[&[Option<&'a str>]]) -> Result<Request<'a>, RowFault<'a>> {
        let mut parts = Parts::default();
        let [time, status, latency] = self.integers.each_ref().map(|column| column.as_ref()?.get(row));
        for (value, bit, into) in [
            (time, Parts::TIME, &mut parts.event_time_us),
            (status, Parts::STATUS, &mut parts.status),
            (latency, Parts::LATENCY, &mut parts.latency_us),
        ] {
            if let Some(value) = value {
                *into = value;
                parts.seen |= bit;
            }
        }
        for ((field, texts), words) in self.texts.iter().zip(lists) {
            match texts.get(row, words) {
                Some(Some(text)) => {
                    if let Some(into) = parts.strings.get_mut(*field) {
                        *into = text;
                    }
                    parts.seen |= u8::from(*field == 0) * Parts::SERVICE;
                }
                Some(None) => {}
                None => return Err(broken(*field, parts)),
            }
        }
        parts.request().map_err(|refusal| fault(refusal, parts))
    }
}

#[cold]
fn broken(field: usize, parts: Parts<'_>) -> RowFault<'_> {
    let what = format!("{}: an index or offset beyond its data, or no UTF-8", STRING_NAMES.get(field).unwrap_or(&""));
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
