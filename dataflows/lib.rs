//! The core of evenkeel: epochs of events in, epochs of changes out. No I/O, no clock, no Kafka.
//!
//! `ls` is the list of dataflows; [`graph`](self) hangs them together:
//!
//! ```text
//! records ─ingest─┬► sheaves ─requests (windows, detect)─┬────────► verdicts ─active─► causes ─┐
//!                 │                                      └ minutes ┐                           │
//!                 ├► vital signs ─vitals (saturation, silence, ◄──┘    "   ───┐                 ▼
//!                 │               signals, budgets, versions)                 │
//!                 ├► orders, outcomes ────────────────────────────────────────┴───► recovery (topology, incidents, commands)
//!                 └► changes, orders, outcomes, audit events ───► chain ◄────────────────── what was decided
//! ```
//! What was found of the audit log ([`findings`]) is judged with the vital signs: an operator of its own would cost every
//! epoch.
//!
//! Outputs are a function of the bindings and records, whatever the number of workers and the sizes of batches (law L1).

mod actions;
mod active;
mod amend;
mod approvals;
mod batch;
mod budgets;
mod bursts;
mod calls;
mod chain;
mod commands;
mod decoder;
mod deploys;
mod detect;
mod dictionary;
mod engine;
mod epochs;
mod findings;
mod gather;
mod glass;
mod graph;
pub mod groups;
mod incidents;
mod ingest;
mod intervals;
mod known;
mod links;
mod lookup;
mod minutes;
mod operators;
mod policy;
mod recovery;
mod requests;
mod roster;
mod rules;
mod saturation;
mod sheaf;
mod signals;
mod silence;
mod state;
mod topology;
mod tuning;
mod versions;
mod vitals;
mod wire;
mod worker;

pub use actions::{Action, Answers, MAX_ACTIONS};
pub use approvals::Approval;
pub use batch::{Batch, Changes, HEAVY_BYTES, Output, Record};
pub use chain::{CONFIGURED, Configured};
pub use engine::{Engine, Resume, Stopped};
pub use evenkeel_detectors::{self as detectors, Detection};
pub use links::Links;
pub use roster::{BreakGlass, Override, Person, Roster, Rotation};
pub use rules::{Applied, KEPT_POLICIES, documents_sha256};
pub use state::State;
pub use tuning::{
    FUTURE_TOLERANCE_US, Recovery, SHARD_DELAY_US, SHARDS, SLOT_WIDTHS_S, TICK_US, Tuning, WINDOWS, WindowSpec,
};
pub use versions::{Assessment, Phase, VERSIONS, assess};
