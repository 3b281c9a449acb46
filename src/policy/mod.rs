//! Policy as code: what detectors, objectives and recovery go by, as documents that are checked, compared, tested and
//! applied.
//!
//! A document is YAML: `apiVersion: evenkeel/v1`, a `kind`, `metadata.name`, and a `spec`. A file may hold several, with
//! `---` in between; a folder holds files. All documents together are one policy.
//!
//! 1. [`yaml`]: text to nodes, each with its line and column.
//! 2. [`document`]: nodes to documents; [`shape`], [`fields`], [`tuned`], [`people`] and [`actions`] say what is wrong and what to write instead.
//! 3. [`set`]: documents held against each other, and compiled into settings: a part of the tuning.
//! 4. [`scenario`], [`mod@play`]: what is given and expected, through the core.
//! 5. [`place`]: where a policy holds: what is in force there, and the order that brings another one.
//! 6. [`routing`]: what the policy in force says of alerts.
//! 7. [`schema`], [`mod@import`]: JSON Schemas of documents; documents of others as ours.
//!
//! | kind | what it sets | when |
//! |---|---|---|
//! | `Detector` | limits of `tuning.detection`, for all services | next epoch |
//! | `SLO` | the objective of a service, or of `*` | next epoch |
//! | `Signal` | whether a series pages when it is unlike its own past, and what its absence means; those without a document are recorded only | next epoch |
//! | `RecoveryPolicy` | `tuning.recovery`, the mode and what is done (`do`) by detector, for all; the mode and `do` of one service; whom its commands need | next epoch |
//! | `Roster` | `tuning.roster`: people, who is on call, gates, who may break the glass | next epoch |
//! | `Maintenance` | an interval in which nothing is said of a service | next epoch; stays when the document goes |
//! | `Receiver` | somebody whom `evenkeel alert` tells of incidents | within seconds |
//! | `Silence` | alerts that nobody is told of for a while | within seconds |
//! | `MaskRule` | what `evenkeel ship` replaces in lines before they are kept | when it starts |
//! | `Scenario` | nothing: it is played by `evenkeel policy test` | |
//!
//! # Decision
//! * Only kinds that something stands behind exist.
//! * What a document may say is described once ([`shape`]): by it documents are read and their JSON Schemas made.
//! * What is applied is one order with all documents and what they amount to. It is heard like any other record, so it is
//!   audited, recovered and replayed with the rest, and holds from the epoch that carries it. Whom to tell is taken from
//!   the policy in force by the process that tells.

pub mod actions;
pub mod document;
pub mod fault;
pub mod fields;
pub mod import;
pub mod mask;
pub mod people;
pub mod place;
pub mod play;
pub mod receiver;
pub mod routing;
pub mod scenario;
pub mod schema;
pub mod set;
pub mod shape;
pub mod signal;
pub mod tuned;
pub mod yaml;

pub use document::{Document, Spec};
pub use fault::Fault;
pub use place::Target;
pub use play::{Played, play};
pub use routing::{Routing, Watch};
pub use set::{Compiled, Policies};
