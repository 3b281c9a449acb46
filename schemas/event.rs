//! [`Event`]: what a record says. Decoding is total.

use crate::encodings::{Encoding, decode_slowly, view};
use crate::{
    AuditEvent, Change, Control, Coordinates, Outcome, Probe, Reason, Rejection, Request, Telemetry, Topic,
    decode_request,
};
use serde::Deserialize;
use std::ops::RangeInclusive;

/// The longest payload that is looked at; longer ones are rejected as [`Reason::TooLarge`].
pub const MAX_PAYLOAD_BYTES: usize = 1 << 20;

/// Event times that are believed: 2000-01-01 to the end of the year 9999, UTC, µs. Older ones are unset or broken
/// clocks; later ones have no date of four digits, and within the range no sum with a duration can overflow.
const BELIEVABLE_US: RangeInclusive<i64> = 946_684_800_000_000..=253_402_300_799_999_999;

/// What a record says.
#[derive(Clone, Debug, PartialEq)]
pub enum Event<'a> {
    /// A served request.
    Request(Request<'a>),
    /// A gauge or counter.
    Telemetry(Telemetry),
    /// A health probe or heartbeat.
    Probe(Probe),
    /// A database change; `None` is a tombstone, which says nothing by itself.
    Change(Option<Change>),
    /// An order to evenkeel.
    Control(Control),
    /// What came of a command.
    Outcome(Outcome),
    /// Something for the audit log.
    Audit(AuditEvent),
    /// No event: which field or byte, and why.
    Rejected(Rejection),
}

/// Why a payload is no event, before its coordinates are added.
#[derive(Debug)]
pub(crate) struct Refusal(pub Reason, pub String);

impl Refusal {
    #[cold]
    pub(crate) fn rejection(&self, at: Coordinates, payload: &[u8]) -> Rejection {
        Rejection::new(self.0, &self.1, at, payload)
    }

    #[cold]
    pub(crate) fn out_of_range(field: &str) -> Self {
        Self(Reason::OutOfRange, field.to_owned())
    }

    fn from_json(error: &serde_json::Error) -> Self {
        let reason = if error.is_data() { Reason::WrongShape } else { Reason::NotJson };
        Self(reason, error.to_string())
    }
}

/// A value that can be checked after its shape is known.
pub(crate) trait Checked {
    /// Refuses values outside their bounds.
    fn check(&self) -> Result<(), Refusal>;
}

impl<'a> Event<'a> {
    /// Decodes the payload of the record at `at`. Total: whatever comes in is an event or a rejection. A batch of
    /// requests is no event, and rejected: [`decode_requests`](crate::decode_requests) reads it.
    ///
    /// ```
    /// use evenkeel_schemas::{Coordinates, Event, Topic};
    /// let at = Coordinates { topic: Topic::Requests, partition: 0, offset: 7 };
    /// assert!(matches!(Event::decode(at, b"not json"), Event::Rejected(r) if r.at.offset == 7));
    /// ```
    pub fn decode(at: Coordinates, payload: &'a [u8]) -> Self {
        if at.topic != Topic::Requests {
            return Self::decode_by_serde(at, payload);
        }
        let encoding = Encoding::of(payload);
        let fast = if encoding == Encoding::Json { decode_request(payload) } else { view(encoding, payload) };
        if let Some(request) = fast {
            return Self::Request(request);
        }
        match decode_slowly(encoding, payload) {
            Ok(request) => Self::Request(request),
            Err(refusal) => Self::Rejected(refusal.rejection(at, payload)),
        }
    }

    /// As [`Event::decode`] of JSON, by serde_json alone: what tests compare it with.
    #[doc(hidden)]
    #[inline(never)]
    pub fn decode_by_serde(at: Coordinates, payload: &'a [u8]) -> Self {
        Self::try_decode(at.topic, payload)
            .unwrap_or_else(|Refusal(reason, detail)| Self::Rejected(Rejection::new(reason, &detail, at, payload)))
    }

    fn try_decode(topic: Topic, payload: &'a [u8]) -> Result<Self, Refusal> {
        if payload.len() > MAX_PAYLOAD_BYTES {
            return Err(Refusal(Reason::TooLarge, format!("{} bytes", payload.len())));
        }
        Ok(match topic {
            Topic::Requests => Self::Request(decode_json(payload)?),
            Topic::Telemetry => Self::Telemetry(decode_json(payload)?),
            Topic::Probes => Self::Probe(decode_json(payload)?),
            Topic::Changes => {
                refuse_array(payload)?;
                Self::Change(Change::decode(payload)?)
            }
            Topic::Control => Self::Control(decode_json(payload)?),
            Topic::Outcomes => Self::Outcome(decode_json(payload)?),
            Topic::AuditEvents => Self::Audit(decode_json(payload)?),
        })
    }
}

/// Serde would read an array as the fields in their order, which is no part of the contract.
fn refuse_array(payload: &[u8]) -> Result<(), Refusal> {
    if payload.trim_ascii_start().first() == Some(&b'[') {
        return Err(Refusal(Reason::WrongShape, "an array where an object is expected".to_owned()));
    }
    Ok(())
}

/// A value by serde_json, within its bounds.
pub(crate) fn decode_json<'a, T: Deserialize<'a> + Checked>(payload: &'a [u8]) -> Result<T, Refusal> {
    refuse_array(payload)?;
    parse(payload)
}

pub(crate) fn parse<'a, T: Deserialize<'a> + Checked>(payload: &'a [u8]) -> Result<T, Refusal> {
    let value = serde_json::from_slice::<T>(payload).map_err(|error| Refusal::from_json(&error))?;
    value.check()?;
    Ok(value)
}

/// Whether an event time can be one.
#[inline]
pub(crate) fn is_believable(event_time_us: i64) -> bool {
    BELIEVABLE_US.contains(&event_time_us)
}

/// Refuses an event time that cannot be one, whatever the present.
#[inline]
pub(crate) fn check_time(event_time_us: i64) -> Result<(), Refusal> {
    if is_believable(event_time_us) { Ok(()) } else { Err(unbelievable(event_time_us)) }
}

#[cold]
fn unbelievable(event_time_us: i64) -> Refusal {
    let reason = if event_time_us < *BELIEVABLE_US.start() { Reason::TimeTooOld } else { Reason::TimeInFuture };
    Refusal(reason, format!("event_time_us {event_time_us}"))
}

/// Longest name, bytes: names key state, and state is bounded.
pub const MAX_NAME_BYTES: usize = 256;

/// Refuses a string longer than [`MAX_NAME_BYTES`].
#[inline]
pub(crate) fn check_names<const N: usize>(names: [(&str, &str); N]) -> Result<(), Refusal> {
    for (field, value) in names {
        if value.len() > MAX_NAME_BYTES {
            return Err(too_long(field, value));
        }
    }
    Ok(())
}

#[cold]
fn too_long(field: &str, value: &str) -> Refusal {
    Refusal(Reason::StringTooLong, format!("{field}: {} bytes", value.len()))
}
