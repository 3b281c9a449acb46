//! Checkpoints (C2SP tlog-checkpoint): size and root of a log, signed; and whom a verifier trusts to have signed.

use crate::note::{COSIGNATURE, ED25519, Note, VerifierKey};
use crate::{Hash, Refused, base64, decimal, hash_from_base64, refuse};
use std::fmt::{Display, Formatter};
use std::str::FromStr;

/// What a log says of itself at one time. Its text is the note's text; lines after the third are signed, but say nothing
/// here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log.
    pub origin: String,
    /// Number of leaves.
    pub size: u64,
    /// Their root.
    pub root: Hash,
}

impl Display for Checkpoint {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}\n{}\n{}\n", self.origin, self.size, base64(&self.root))
    }
}

impl FromStr for Checkpoint {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        let mut lines = text.lines();
        let (origin, size, root) = (lines.next(), lines.next().and_then(decimal), lines.next());
        let (Some(origin), Some(size), Some(root)) = (origin, size, root.and_then(hash_from_base64)) else {
            return refuse("a checkpoint is an origin, a size and a root, a line each");
        };
        if origin.is_empty() || lines.any(str::is_empty) || !text.ends_with('\n') {
            return refuse("an empty line in a checkpoint");
        }
        Ok(Self { origin: origin.to_owned(), size, root })
    }
}

/// Whom a verifier trusts: the log's key, which it got by another way than the log, and witnesses.
#[derive(Clone, Debug)]
pub struct Trust {
    /// The log's key; its name is the log's origin.
    pub key: VerifierKey,
    /// Keys of witnesses, of the type [`COSIGNATURE`].
    pub witnesses: Vec<VerifierKey>,
    /// How many of them must have cosigned, at least.
    pub quorum: usize,
}

/// A checkpoint that was signed by whom it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trusted {
    /// What it says.
    pub checkpoint: Checkpoint,
    /// When the witnesses who cosigned last did so, s since the Unix epoch, latest first.
    pub cosigned_s: Vec<u64>,
}

impl Trust {
    /// Trust in a log's key alone.
    ///
    /// # Errors
    /// [`Refused`] if the key is a witness's.
    pub fn in_key(key: VerifierKey) -> Result<Self, Refused> {
        Self::new(key, Vec::new(), 0)
    }

    /// Trust in a log's key, if `quorum` of the witnesses cosigned.
    ///
    /// # Errors
    /// [`Refused`] if a key is of the wrong type, a witness is there twice, or the quorum is more than there are.
    pub fn new(key: VerifierKey, witnesses: Vec<VerifierKey>, quorum: usize) -> Result<Self, Refused> {
        if key.kind() != ED25519 {
            return refuse(format!("{key} is the key of a witness, not of a log"));
        }
        if let Some(witness) = witnesses.iter().find(|witness| witness.kind() != COSIGNATURE) {
            return refuse(format!("{witness} is not the key of a witness"));
        }
        let twice = |(index, witness): (usize, &VerifierKey)| witnesses[..index].contains(witness);
        if quorum > witnesses.len() || witnesses.iter().enumerate().any(twice) {
            return refuse(format!("{quorum} of {} witnesses, each named once", witnesses.len()));
        }
        Ok(Self { key, witnesses, quorum })
    }

    /// The checkpoint in a note, if it is this log's, and signed by its key and enough witnesses.
    ///
    /// # Errors
    /// [`Refused`] with the signature that is missing or false.
    pub fn check(&self, note: &Note) -> Result<Trusted, Refused> {
        let name = self.key.name();
        if note.signed_by(&self.key)?.is_none() {
            return refuse(format!("not signed by the key {}", self.key));
        }
        let checkpoint = note.text.parse::<Checkpoint>()?;
        if checkpoint.origin != name {
            return refuse(format!("a checkpoint of {}, not of {name}", checkpoint.origin));
        }
        let mut cosigned_s = Vec::new();
        for witness in &self.witnesses {
            cosigned_s.extend(note.signed_by(witness)?.flatten());
        }
        cosigned_s.sort_unstable_by(|a, b| b.cmp(a));
        if cosigned_s.len() < self.quorum {
            return refuse(format!("cosigned by {} of the witnesses, {} are needed", cosigned_s.len(), self.quorum));
        }
        Ok(Trusted { checkpoint, cosigned_s })
    }
}
