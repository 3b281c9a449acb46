//! Sealing: what makes the audit chain provable to somebody who trusts neither the disk nor whoever runs it.
//!
//! The *sealer* follows the committed audit log link by link. Whatever is new becomes a batch: a seal with its numbers,
//! heads and Merkle root, one leaf of the *log of seals*. Once a second at most the log's size and root are signed: a
//! checkpoint. *Witnesses* cosign it if it goes on from the last one they saw. All of it lies in files as C2SP tlog-tiles
//! names them, for anybody to copy, serve and check (`evenkeel-audit` says how).
//!
//! What finds what: an edit, a deletion, a swap inside the chain: the link or the batch's root. A cut tail, a rollback of
//! data alone: the seals. A rewrite of data and seals: the key. A rollback of everything, a fork with a stolen key: a
//! witness, or whoever remembers a checkpoint.
//!
//! # Decision
//! The sealer is no part of the pipeline: it reads what is committed, as any auditor could, and holds the key where the
//! pipeline runs not. It signs nothing that it has not followed itself. An idle log gets no new checkpoints, but the old
//! one is cosigned again and again, so that its age stays known.

mod client;
mod follow;
mod prove;
mod sealer;
mod serve;
mod signer;
mod state;
pub mod tamper;
mod tiles;
mod verify;
mod watch;
mod witness;

pub use client::{Remote, Witnesses};
pub use follow::follow_all;
pub use prove::prove;
pub use sealer::{Progress, SealError, Sealer};
pub use serve::{serve_log, serve_witness};
pub use signer::{FileKey, Signer, Token, TokenKey, sign_note};
pub use tiles::Edge;
pub use verify::{Verified, verify_data, verify_log};
pub use watch::{Finding, Turn, Watch, Watcher};
pub use witness::Witness;

use crate::cold::ColdStore;
use evenkeel_schemas::audit::Refused;

/// The files of a log in a store, for [`evenkeel_schemas::audit::Log`].
pub fn files(store: &dyn ColdStore) -> impl Fn(&str) -> Result<Option<Vec<u8>>, Refused> {
    |name| store.get(name).map_err(|error| Refused(error.to_string()))
}
