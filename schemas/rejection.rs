//! A record that is no event: kept, counted, and told where it lies (law L10).

use crate::{Coordinates, Request};
use serde::{Deserialize, Serialize};

/// Why a record is no event, or an event counts nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The payload is longer than [`crate::MAX_PAYLOAD_BYTES`].
    TooLarge,
    /// The payload is no well-formed JSON, a string in it is no UTF-8, or a number is beyond a double.
    NotJson,
    /// The payload is no object, a required field is missing, or a field is there twice or does not fit its type.
    WrongShape,
    /// A field holds a value outside its range.
    OutOfRange,
    /// A string is longer than its bound.
    StringTooLong,
    /// The event time is before 2000-01-01.
    TimeTooOld,
    /// The event time lies further ahead of the present than clocks may differ, or after the year 9999.
    TimeInFuture,
    /// The event came later than any window still holds.
    BeyondHorizon,
    /// The first bytes are those of no encoding that is read.
    UnknownEncoding,
    /// The payload was written by a schema that is not known here.
    UnknownSchema,
    /// The payload is no well-formed message of Protocol Buffers, or a string in it is no UTF-8.
    NotProtobuf,
    /// The payload is no well-formed Avro object, or a string in it is no UTF-8.
    NotAvro,
    /// The payload is no well-formed Arrow stream, or a value in it is malformed.
    NotArrow,
    /// The payload is well-formed, and uses what its format allows and is not read here.
    Unsupported,
}

/// A record that is no event, or an event too late to count.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Rejection {
    /// Why.
    pub reason: Reason,
    /// The offending field, or what the parser said, after `row N: ` for row `N` of a batch (the first is 0); never
    /// longer than 200 characters.
    pub detail: String,
    /// Where the record lies.
    #[serde(flatten)]
    pub at: Coordinates,
    /// The first 1,024 bytes of the payload; what is no UTF-8 in them reads U+FFFD. For a row of a batch, the row as JSON.
    pub payload: String,
}

impl Rejection {
    /// A rejection of `payload` at `at`; `detail` and payload are cut to their bounds.
    pub fn new(reason: Reason, detail: &str, at: Coordinates, payload: &[u8]) -> Self {
        let head = &payload[..payload.len().min(1024)];
        Self {
            reason,
            detail: detail.chars().take(200).collect(),
            at,
            payload: String::from_utf8_lossy(head).into_owned(),
        }
    }

    /// A rejection of a request that is none of its record's bytes: row `row` of the batch at `at`.
    pub fn of_row(reason: Reason, detail: &str, at: Coordinates, row: u32, request: &Request<'_>) -> Self {
        let payload = serde_json::to_string(request).unwrap_or_default();
        Self::new(reason, &format!("row {row}: {detail}"), at, payload.as_bytes())
    }
}
