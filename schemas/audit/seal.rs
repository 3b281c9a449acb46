//! [`Seal`]: what a leaf of the log of seals says. One line of JSON; the leaf is its bytes as they were written.

use crate::{Chain, Hash, Refused, VerifierKey, from_hex, hex};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// A statement that is never taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "seal", rename_all = "snake_case", deny_unknown_fields)]
pub enum Seal {
    /// The next entries of an audit partition, all of them.
    Batch {
        /// The audit partition.
        partition: u32,
        /// The number of the first entry; it follows the last one of the batch before.
        first_seq: u64,
        /// How many entries, at least 1.
        count: u64,
        /// The epoch of the last entry.
        epoch: u64,
        /// When the last entry happened, µs since the Unix epoch.
        until_us: i64,
        /// The link before the first entry.
        #[serde(with = "hash")]
        previous_head: Hash,
        /// The link of the last entry.
        #[serde(with = "hash")]
        head: Hash,
        /// The root of the Merkle tree whose leaves are the links of the entries.
        #[serde(with = "hash")]
        root: Hash,
        /// Where reading them begins in the topic; a hint.
        from_offset: u64,
        /// Where reading goes on after them; a hint.
        next_offset: u64,
    },
    /// The next line of the cold store's manifest.
    Segment {
        /// Its number, from 0.
        line: u64,
        /// SHA-256 of the line's bytes without its newline.
        #[serde(with = "hash")]
        sha256: Hash,
    },
    /// Later checkpoints are signed by this key, and no longer by the one before.
    Key {
        /// The new key.
        key: String,
        /// Who ordered it, and why.
        reason: String,
    },
    /// Entries of an audit partition below this number are no longer kept.
    Minimum {
        /// The audit partition.
        partition: u32,
        /// The number of the oldest entry that is still there.
        seq: u64,
    },
}

impl Seal {
    /// The leaf's bytes.
    pub fn to_leaf(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("numbers and texts are JSON")
    }

    /// What a leaf says.
    ///
    /// # Errors
    /// [`Refused`] if it is no seal.
    pub fn from_leaf(leaf: &[u8]) -> Result<Self, Refused> {
        let seal = serde_json::from_slice(leaf).map_err(|error| Refused(format!("no seal: {error}")))?;
        if let Self::Key { key, .. } = &seal {
            key.parse::<VerifierKey>()?;
        }
        Ok(seal)
    }
}

/// A batch in the making: it follows the chain, and keeps the links.
#[derive(Clone, Debug)]
pub struct Batch {
    partition: u32,
    first_seq: u64,
    from_offset: u64,
    previous_head: Hash,
    tree: crate::tree::Tree,
}

impl Batch {
    /// An empty batch where the chain stands, and its topic's next entry is looked for.
    pub fn after(partition: u32, chain: &Chain, from_offset: u64) -> Self {
        let (first_seq, previous_head) = (chain.next_seq(), chain.head());
        Self { partition, first_seq, from_offset, previous_head, tree: Default::default() }
    }

    /// Takes in the link of the next entry.
    pub fn push(&mut self, link: Hash) {
        self.tree.push(crate::tree::leaf_hash(&link));
    }

    /// Its seal; the chain stands after the last entry, which was said at `until_us` in `epoch`.
    pub fn seal(&self, chain: &Chain, (epoch, until_us): (u64, i64), next_offset: u64) -> Seal {
        Seal::Batch {
            partition: self.partition,
            first_seq: self.first_seq,
            count: self.tree.size(),
            epoch,
            until_us,
            previous_head: self.previous_head,
            head: chain.head(),
            root: self.tree.root(),
            from_offset: self.from_offset,
            next_offset,
        }
    }

    /// Number of entries.
    pub fn count(&self) -> u64 {
        self.tree.size()
    }

    /// The way from an entry's link to the root.
    pub fn path(&self, index: u64) -> Vec<Hash> {
        self.tree.inclusion(index)
    }
}

/// Hashes are hex in JSON.
pub(crate) mod hash {
    use super::*;

    pub fn serialize<S: Serializer>(hash: &Hash, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex(hash))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Hash, D::Error> {
        let text = String::deserialize(deserializer)?;
        from_hex(&text).ok_or_else(|| D::Error::custom(format!("{text:?} is not 64 hex digits")))
    }
}
