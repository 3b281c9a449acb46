//! The audit log: how its entries are chained, how the chain is sealed, and how a stranger proves both.
//!
//! * [`Chain`]: `hash = SHA256(envelope ‖ previous hash)`, one chain per audit partition (law L7).
//! * [`Seal`]: what the *log of seals* says, one leaf each: "the entries 10 to 57 of partition 0 end in this head, and
//!   their links have this root". The log is a Merkle tree ([`tree`], RFC 6962) in tiles ([`tile`], C2SP tlog-tiles).
//! * [`Checkpoint`]: size and root of that tree, as a signed note ([`note`], C2SP tlog-checkpoint), with the
//!   cosignatures of witnesses who never saw it shrink or fork (C2SP tlog-cosignature).
//! * [`Proof`]: one audit entry, its way to its seal, and the seal's way to a checkpoint, in one file (C2SP tlog-proof).
//! * [`Log`]: reads a log of seals from wherever its files lie; [`Log::verify`] recomputes all of it.
//!
//! Everything a verifier needs is here and in the libraries for SHA-256 and Ed25519; the program `evenkeel-verifier` is
//! made of this crate alone. `vectors.json` holds other implementations to the same answers.
//!
//! # Decision
//! Two levels. Leaves of the log are seals of many entries, so that a signature a second covers any rate, and a proof
//! stays a few hundred bytes: about 16 hashes to the seal, one a doubling to the checkpoint. The outer level alone is an
//! ordinary transparency log that ordinary tools check.

mod chain;
mod checkpoint;
mod log;
pub mod note;
mod proof;
mod seal;
pub mod tile;
pub mod tree;

pub use chain::{Break, Chain, Entry, Hash, Malformed, ORIGIN, View, genesis, link};
pub use checkpoint::{Checkpoint, Trust, Trusted};
pub use log::{Audited, Fetch, HANDOVERS, Log, handover};
pub use note::{Note, Signature, VerifierKey};
pub use proof::Proof;
pub use seal::{Batch, Seal};

/// Why something proves nothing: what was expected, and what was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused(pub String);

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

/// The short form of `Err(Refused(…))`.
pub(crate) fn refuse<T>(why: impl Into<String>) -> Result<T, Refused> {
    Err(Refused(why.into()))
}

/// Hex digits, two a byte, lower case.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A hash from its 64 hex digits, lower case.
pub fn from_hex(text: &str) -> Option<Hash> {
    let mut hash = [0; 32];
    for (byte, digits) in hash.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    (hex(&hash) == text).then_some(hash)
}

/// Base64 with padding (RFC 4648, section 4).
pub fn base64(bytes: &[u8]) -> String {
    use ::base64::Engine;
    ::base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// Bytes from their base64, if it is exactly what [`base64()`] writes.
pub fn from_base64(text: &str) -> Option<Vec<u8>> {
    use ::base64::Engine;
    ::base64::engine::general_purpose::STANDARD.decode(text).ok()
}

/// A hash from its base64.
pub fn hash_from_base64(text: &str) -> Option<Hash> {
    from_base64(text)?.try_into().ok()
}

/// A decimal number as the C2SP formats write it: no sign, no leading zeros.
pub(crate) fn decimal(text: &str) -> Option<u64> {
    let number = text.parse::<u64>().ok()?;
    (number.to_string() == text).then_some(number)
}
