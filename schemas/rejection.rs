//! A record that is no event: kept, counted, and told where it lies (law L10).

use crate::Coordinates;
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
}

/// A record that is no event, or an event too late to count.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Rejection {
    /// Why.
    pub reason: Reason,
    /// The offending field, or what the parser said; never longer than 200 characters.
    pub detail: String,
    /// Where the record lies.
    #[serde(flatten)]
    pub at: Coordinates,
    /// The first 1,024 bytes of the payload; what is no UTF-8 in them reads U+FFFD.
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
}
