//! The embedded default: a directory of segment files with one fsynced commit manifest, no broker.
//!
//! Terms. A *frame* is one record with its length and checksum ([`frames`]). A *stream* is a directory of *segment*
//! files, each named after the position of its first byte in the stream, so that a position is found without an index
//! ([`stream`]). The *offset* of a record is the position of the last byte of its frame: the offset after it is where
//! the next frame begins. The *manifest* is the file `commits`: its last whole line says how far every stream is
//! committed; what lies beyond never existed.
//!
//! | path | holds |
//! |---|---|
//! | `inputs/<topic>-<partition>/` | a stream of records, written by [`InputWriter`], tailed by [`EmbeddedSource`] |
//! | `outputs/` | a stream of all outputs except state, written by [`EmbeddedLedger`], read by [`EmbeddedOutputs`] |
//! | `state/` | a stream of state values; its front is dropped when it has been written anew |
//! | `bindings/` | a stream of every binding since epoch 0, see [`bindings`] |
//! | `commits` | the manifest |
//! | `lock` | held by the one ledger that writes here |
//!
//! # Decision
//! Not an embedded database: none commits inputs, outputs and state together any more simply, and appending to a plain
//! file costs 86 ns a record. A commit is one `fdatasync` per stream that grew and one for the manifest line.

mod body;
pub(crate) mod disk;
mod frames;
mod inputs;
mod kept;
mod ledger;
mod manifest;
mod output_log;
mod reader;
mod rewrite;
mod source;
mod state;
mod stream;

pub use inputs::InputWriter;
pub use kept::Kept;
pub use ledger::{EmbeddedLedger, Limits};
pub use output_log::{EmbeddedOutputs, bindings, last_binding};
pub use rewrite::rewrite;
pub use source::EmbeddedSource;
pub use state::committed_state;
