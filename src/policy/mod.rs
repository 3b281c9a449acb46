//! Policy as code: what detectors, objectives and recovery go by, as documents that are checked, compared, tested and
//! applied.
//!
//! A document is YAML: `apiVersion: evenkeel/v1`, a `kind`, `metadata.name`, and a `spec`. A file may hold several, with
//! `---` in between; a folder holds files. All documents together are one policy.
//!
//! 1. [`yaml`]: text to nodes, each with its line and column.
//! 2. [`document`]: nodes to documents; [`fields`] and [`tuned`] say what is wrong and what to write instead.
//! 3. [`set`]: documents held against each other, and compiled into settings: a part of the tuning.
//! 4. [`scenario`], [`mod@play`]: what is given and expected, through the core.
//! 5. [`place`]: where a policy holds: what is in force there, and the order that brings another one.
//!
//! | kind | what it sets | when |
//! |---|---|---|
//! | `Detector` | limits of `tuning.detection`, for all services | next epoch |
//! | `SLO` | the objective of a service, or of `*` | next epoch |
//! | `RecoveryPolicy` | `tuning.recovery` and the mode, for all; the mode of one service | next epoch |
//! | `Maintenance` | an interval in which nothing is said of a service | next epoch; stays when the document goes |
//! | `Scenario` | nothing: it is played by `evenkeel policy test` | |
//!
//! # Decision
//! * Only kinds that the core stands behind exist. Receivers and silences are the `alert` process's own (`receivers.toml`,
//!   Alertmanager's API), signals need no declaration, and there are no rosters or mask rules yet.
//! * What is applied is one order with all documents and what they amount to. It is heard like any other record, so it is
//!   audited, recovered and replayed with the rest, and holds from the epoch that carries it.

pub mod document;
pub mod fault;
pub mod fields;
pub mod place;
pub mod play;
pub mod scenario;
pub mod set;
pub mod tuned;
pub mod yaml;

pub use document::{Document, Spec};
pub use fault::Fault;
pub use place::Target;
pub use play::{Played, play};
pub use set::{Compiled, Policies};
