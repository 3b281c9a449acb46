//! The contract of evenkeel: every value that crosses a process boundary, and its bytes.
//!
//! * What comes in: [`Event`], decoded by [`Event::decode`] from the bytes of a [`Record`](record::Coordinates).
//!   Decoding is total: bytes that are no event are a [`Rejection`] with reason and coordinates, never an error.
//! * What goes out: [`Baseline`], [`Verdict`], [`Incident`], [`Command`], [`Rollup`], [`Rejection`], audit [`Entry`](audit::Entry).
//! * What time is: [`Epoch`], [`Cut`], [`Binding`].
//!
//! A third party verifies an audit log with this crate alone ([`audit`]). Bytes are held by `golden/`, and described
//! for other languages by the JSON Schema files in `json/` ([`json_schemas`]).
//!
//! # Decision
//! A second version of an event lives beside the first: its topic ends in `.v2`, [`Topic`] names both, and
//! [`Event::decode`] maps each to the one [`Event`]. Fields may be added to a version, never removed or re-typed;
//! unknown fields pass.

mod audit_event;
mod change;
mod command;
mod control;
mod encodings;
mod event;
mod fast_json;
mod health;
mod histogram;
mod incident;
mod key;
pub mod mirror;
mod outcome;
mod record;
mod rejection;
mod request;
mod rollup;
mod tally;
mod telemetry;
mod topic;
mod varint;
mod verdict;

pub use audit_event::{AuditEvent, AuditEventType, Detail, MAX_DETAIL_BYTES, MAX_OP_BYTES};
pub use change::{Change, Operation};
pub use command::{Command, CommandKind, CommandState, Mode};
pub use control::{Control, MAX_DOCUMENTS_BYTES, MAX_GLASS_S, MAX_SETTINGS_BYTES, POLICY, Proof};
pub use encodings::arrow::MAX_BATCH_ROWS;
pub use encodings::{Encoding, decode_requests, write_avro, write_protobuf};
pub use event::{Event, MAX_NAME_BYTES, MAX_PAYLOAD_BYTES};
pub use fast_json::decode_request;
#[doc(hidden)]
pub use fast_json::{Scan, decode_request_by};
pub use health::Probe;
pub use histogram::{BUCKETS, Histogram, bucket_of, value_of};
pub use incident::{Cause, Changed, Clue, Incident, IncidentState, Notice, Shared, Suspect};
pub use key::{Dimension, Key, KeyId};
pub use outcome::{Outcome, OutcomeStatus};
pub use record::{Binding, Coordinates, Cut, Epoch, Partition};
pub use rejection::{Reason, Rejection};
pub use request::{MAX_LATENCY_US, Request};
pub use rollup::{Baseline, Rollup, Statistics};
pub use tally::Tally;
pub use telemetry::{MetricKind, Telemetry};
pub use topic::{Dataset, Topic};
pub use varint::{read_varint, write_varint};
pub use verdict::{Decision, Detector, Verdict};

pub use evenkeel_audit as audit;

/// The schema of requests in Protocol Buffers, proto3: what users generate code from.
pub const REQUEST_PROTO: &str = include_str!("request.proto");

/// The schema of requests in Avro.
pub const REQUEST_AVSC: &str = include_str!("request.avsc");

/// Name and text of each JSON Schema file, sorted by name.
pub fn json_schemas() -> &'static [(&'static str, &'static str)] {
    &[
        ("audit_event", include_str!("json/audit_event.schema.json")),
        ("baseline", include_str!("json/baseline.schema.json")),
        ("change", include_str!("json/change.schema.json")),
        ("command", include_str!("json/command.schema.json")),
        ("control", include_str!("json/control.schema.json")),
        ("incident", include_str!("json/incident.schema.json")),
        ("outcome", include_str!("json/outcome.schema.json")),
        ("probe", include_str!("json/probe.schema.json")),
        ("rejection", include_str!("json/rejection.schema.json")),
        ("request", include_str!("json/request.schema.json")),
        ("rollup", include_str!("json/rollup.schema.json")),
        ("telemetry", include_str!("json/telemetry.schema.json")),
        ("verdict", include_str!("json/verdict.schema.json")),
    ]
}
