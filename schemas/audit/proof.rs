//! [`Proof`]: that one entry is in the audit log, in one file that is checked offline (C2SP tlog-proof).
//!
//! The file proves a *seal*: its index in the log, its path, the checkpoint. The entry and its way to the seal are the
//! extra data, which nobody trusts until it leads to the seal: `link = SHA256(envelope ‖ previous)`, then the path to the
//! batch's root, which the seal names.

use crate::seal::{Seal, hash};
use crate::tree::{leaf_hash, root_from_inclusion};
use crate::{Entry, Hash, Note, Refused, Trust, Trusted, base64, decimal, from_base64, hash_from_base64, link, refuse};
use serde::{Deserialize, Serialize};
use std::fmt::{Display, Formatter};
use std::str::FromStr;

const HEADER: &str = "c2sp.org/tlog-proof@v1";

/// A longer file is refused: an entry of 1 MiB, twice in base64, and its hashes.
pub const MAX_PROOF_BYTES: usize = 4 << 20;

/// An audit entry, and why it is in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The entry's record: envelope and link.
    pub record: Vec<u8>,
    /// The link of the entry before.
    pub previous: Hash,
    /// From the link to the root of its batch.
    pub batch_path: Vec<Hash>,
    /// The batch's seal, as it is in the log.
    pub leaf: Vec<u8>,
    /// The seal's index in the log.
    pub index: u64,
    /// From the seal to the root of the log.
    pub path: Vec<Hash>,
    /// The signed checkpoint.
    pub checkpoint: Note,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Extra {
    record: String,
    #[serde(with = "hash")]
    previous: Hash,
    batch_path: Vec<String>,
    leaf: String,
}

impl Proof {
    /// The entry, if everything leads to a checkpoint that is trusted.
    ///
    /// # Errors
    /// [`Refused`] with the first step that does not hold.
    pub fn verify(&self, trust: &Trust) -> Result<(Entry, Trusted), Refused> {
        let trusted = trust.check(&self.checkpoint)?;
        let size = trusted.checkpoint.size;
        let root = root_from_inclusion(self.index, size, leaf_hash(&self.leaf), &self.path)?;
        if root != trusted.checkpoint.root {
            return refuse("the seal's path does not lead to the checkpoint's root: the seal is not in that log");
        }
        Ok((self.entry()?, trusted))
    }

    /// The entry, if it leads to its seal.
    fn entry(&self) -> Result<Entry, Refused> {
        let Seal::Batch { partition, first_seq, count, root, .. } = Seal::from_leaf(&self.leaf)? else {
            return refuse("the seal is not of a batch of entries");
        };
        let (entry, stored) = Entry::open(&self.record).map_err(|error| Refused(error.to_string()))?;
        let computed = link(&entry.envelope(), &self.previous);
        if computed != stored {
            return refuse("the entry's hash is not that of its bytes and the hash before");
        }
        let index = entry.seq.checked_sub(first_seq).filter(|_| entry.partition == partition);
        let Some(index) = index else {
            let (found, seq) = (entry.partition, entry.seq);
            return refuse(format!(
                "entry {seq} of partition {found} is not in a batch from {first_seq} of {partition}"
            ));
        };
        if root_from_inclusion(index, count, leaf_hash(&stored), &self.batch_path)? != root {
            return refuse("the entry's path does not lead to its batch's root: the entry is not in that batch");
        }
        Ok(entry)
    }
}

impl Display for Proof {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let extra = Extra {
            record: base64(&self.record),
            previous: self.previous,
            batch_path: self.batch_path.iter().map(|hash| base64(hash)).collect(),
            leaf: String::from_utf8_lossy(&self.leaf).into_owned(),
        };
        let extra = serde_json::to_vec(&extra).expect("texts are JSON");
        write!(f, "{HEADER}\nextra {}\nindex {}\n", base64(&extra), self.index)?;
        self.path.iter().try_for_each(|hash| writeln!(f, "{}", base64(hash)))?;
        write!(f, "\n{}", self.checkpoint)
    }
}

impl FromStr for Proof {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        if text.len() > MAX_PROOF_BYTES {
            return refuse(format!("a proof of {} bytes, {MAX_PROOF_BYTES} at most", text.len()));
        }
        let Some((head, checkpoint)) = text.split_once("\n\n") else { return refuse("no checkpoint in the proof") };
        let mut lines = head.lines();
        if lines.next() != Some(HEADER) {
            return refuse(format!("the first line is not {HEADER}"));
        }
        let extra = lines.next().and_then(|line| from_base64(line.strip_prefix("extra ")?));
        let Some(extra) = extra else { return refuse("no extra line: it holds the entry") };
        let extra = serde_json::from_slice::<Extra>(&extra).map_err(|error| Refused(format!("extra: {error}")))?;
        let index = lines.next().and_then(|line| decimal(line.strip_prefix("index ")?));
        let hashes = |lines: &mut dyn Iterator<Item = &str>| {
            lines.map(hash_from_base64).collect::<Option<Vec<_>>>().ok_or(Refused("a line is no hash".to_owned()))
        };
        Ok(Self {
            record: from_base64(&extra.record).ok_or(Refused("the record is not base64".to_owned()))?,
            previous: extra.previous,
            batch_path: hashes(&mut extra.batch_path.iter().map(String::as_str))?,
            leaf: extra.leaf.into_bytes(),
            index: index.ok_or(Refused("no index line".to_owned()))?,
            path: hashes(&mut lines)?,
            checkpoint: checkpoint.parse()?,
        })
    }
}
