//! Merkle trees as RFC 6962 defines them: roots, inclusion and consistency proofs, and their verification (RFC 9162,
//! sections 2.1.3.2 and 2.1.4.2).
//!
//! Terms. A *complete subtree* of level `l` and index `i` spans the leaves `i·2^l .. (i+1)·2^l`. Proofs are made from the
//! hashes of complete subtrees, wherever they come from: a function `(level, index) -> hash`.

use crate::{Hash, Refused, refuse};
use sha2::{Digest, Sha256};

/// A proof has no more hashes: trees have fewer than 2^63 leaves.
pub const MAX_PATH: usize = 63;

/// The hash of a leaf: `SHA256(0x00 ‖ data)`.
pub fn leaf_hash(data: &[u8]) -> Hash {
    Sha256::new_with_prefix([0]).chain_update(data).finalize().into()
}

/// The hash of a node: `SHA256(0x01 ‖ left ‖ right)`.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Sha256::new_with_prefix([1]).chain_update(left).chain_update(right).finalize().into()
}

/// The root of the tree without leaves: `SHA256("")`.
pub fn empty_root() -> Hash {
    Sha256::digest([]).into()
}

/// The largest power of two below `count`, which is at least 2.
fn split(count: u64) -> u64 {
    1 << (63 - (count - 1).leading_zeros())
}

/// The root of the leaves `from..to` as a tree of their own; `from < to`, and `from` is a multiple of the largest power
/// of two up to their number, as it is for every subtree of a tree.
fn range<E>(from: u64, to: u64, hash: &mut impl FnMut(u8, u64) -> Result<Hash, E>) -> Result<Hash, E> {
    let count = to - from;
    if count.is_power_of_two() {
        let level = count.trailing_zeros() as u8;
        return hash(level, from >> level);
    }
    let middle = from + split(count);
    Ok(node_hash(&range(from, middle, hash)?, &range(middle, to, hash)?))
}

/// The root of the first `size` leaves.
///
/// # Errors
/// Those of `hash`.
pub fn root<E>(size: u64, mut hash: impl FnMut(u8, u64) -> Result<Hash, E>) -> Result<Hash, E> {
    if size == 0 { Ok(empty_root()) } else { range(0, size, &mut hash) }
}

/// The inclusion proof of leaf `index < size` in the tree of `size` leaves, from the leaf's sibling up.
///
/// # Errors
/// Those of `hash`.
pub fn inclusion<E>(index: u64, size: u64, mut hash: impl FnMut(u8, u64) -> Result<Hash, E>) -> Result<Vec<Hash>, E> {
    let (mut from, mut to, mut path) = (0, size, Vec::new());
    while to - from > 1 {
        let middle = from + split(to - from);
        if index < middle {
            path.push(range(middle, to, &mut hash)?);
            to = middle;
        } else {
            path.push(range(from, middle, &mut hash)?);
            from = middle;
        }
    }
    path.reverse();
    Ok(path)
}

/// The consistency proof from the tree of `old` leaves to that of `new`, `old <= new`; empty if either says nothing.
///
/// # Errors
/// Those of `hash`.
pub fn consistency<E>(old: u64, new: u64, mut hash: impl FnMut(u8, u64) -> Result<Hash, E>) -> Result<Vec<Hash>, E> {
    let mut path = Vec::new();
    if old == 0 || old == new {
        return Ok(path);
    }
    let (mut from, mut to, mut known) = (0, new, true);
    while old != to {
        let middle = from + split(to - from);
        if old <= middle {
            path.push(range(middle, to, &mut hash)?);
            to = middle;
        } else {
            path.push(range(from, middle, &mut hash)?);
            (from, known) = (middle, false);
        }
    }
    if !known {
        path.push(range(from, to, &mut hash)?);
    }
    path.reverse();
    Ok(path)
}

/// The root that a leaf at `index` of `size` and its path lead to (RFC 9162, 2.1.3.2).
///
/// # Errors
/// [`Refused`] if no tree of this size has such a path.
pub fn root_from_inclusion(index: u64, size: u64, leaf: Hash, path: &[Hash]) -> Result<Hash, Refused> {
    if index >= size {
        return refuse(format!("leaf {index} is not in a tree of {size}"));
    }
    if path.len() > MAX_PATH {
        return refuse(format!("a path of {} hashes, {MAX_PATH} at most", path.len()));
    }
    let (mut position, mut last, mut hash) = (index, size - 1, leaf);
    for sibling in path {
        if last == 0 {
            return refuse("the path is longer than the tree is high");
        }
        if position & 1 == 1 || position == last {
            hash = node_hash(sibling, &hash);
            while position & 1 == 0 && position != 0 {
                (position, last) = (position >> 1, last >> 1);
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        (position, last) = (position >> 1, last >> 1);
    }
    if last != 0 { refuse("the path is shorter than the tree is high") } else { Ok(hash) }
}

/// Verifies that the tree of `old` leaves and root `old_root` is the beginning of that of `new` leaves and `new_root`
/// (RFC 9162, 2.1.4.2).
///
/// # Errors
/// [`Refused`] if the path does not prove it.
pub fn verify_consistency(
    (old, old_root): (u64, &Hash),
    (new, new_root): (u64, &Hash),
    path: &[Hash],
) -> Result<(), Refused> {
    if path.len() > MAX_PATH {
        return refuse(format!("a path of {} hashes, {MAX_PATH} at most", path.len()));
    }
    if old > new {
        return refuse(format!("the log shrank from {old} to {new}"));
    }
    if old == 0 || old == new {
        let equal = if old == 0 { *old_root == empty_root() } else { old_root == new_root };
        return match (path.is_empty(), equal) {
            (false, _) => refuse("a path where none is needed"),
            (_, false) => refuse(format!("another root for the same {old} leaves: the log was forked")),
            (true, true) => Ok(()),
        };
    }
    let (first, rest) = match path.split_first() {
        _ if old.is_power_of_two() => (old_root, path),
        Some((first, rest)) => (first, rest),
        None => return refuse("the path is empty"),
    };
    let (mut position, mut last) = (old - 1, new - 1);
    while position & 1 == 1 {
        (position, last) = (position >> 1, last >> 1);
    }
    let (mut old_hash, mut new_hash) = (*first, *first);
    for sibling in rest {
        if last == 0 {
            return refuse("the path is longer than the tree is high");
        }
        if position & 1 == 1 || position == last {
            (old_hash, new_hash) = (node_hash(sibling, &old_hash), node_hash(sibling, &new_hash));
            while position & 1 == 0 && position != 0 {
                (position, last) = (position >> 1, last >> 1);
            }
        } else {
            new_hash = node_hash(&new_hash, sibling);
        }
        (position, last) = (position >> 1, last >> 1);
    }
    if last != 0 {
        return refuse("the path is shorter than the tree is high");
    }
    if old_hash != *old_root || new_hash != *new_root {
        return refuse(format!("the log of {new} does not begin with that of {old}: it was forked or rewritten"));
    }
    Ok(())
}

/// A tree in memory: every complete subtree's hash.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    levels: Vec<Vec<Hash>>,
}

impl Tree {
    /// Appends a leaf by its hash.
    pub fn push(&mut self, leaf: Hash) {
        let mut hash = leaf;
        for level in 0.. {
            if self.levels.len() == level {
                self.levels.push(Vec::new());
            }
            let row = &mut self.levels[level];
            row.push(hash);
            let [.., left, right] = row.as_slice() else { return };
            if row.len() % 2 == 1 {
                return;
            }
            hash = node_hash(left, right);
        }
    }

    /// Number of leaves.
    pub fn size(&self) -> u64 {
        self.levels.first().map_or(0, |row| row.len() as u64)
    }

    /// Root of all leaves.
    pub fn root(&self) -> Hash {
        let Ok(root) = root(self.size(), self.hashes());
        root
    }

    /// The hash of a complete subtree that is there.
    pub fn hashes(&self) -> impl FnMut(u8, u64) -> Result<Hash, std::convert::Infallible> {
        |level, index| Ok(self.levels[usize::from(level)][index as usize])
    }

    /// The inclusion proof of a leaf that is there.
    pub fn inclusion(&self, index: u64) -> Vec<Hash> {
        let Ok(path) = inclusion(index, self.size(), self.hashes());
        path
    }
}

impl FromIterator<Hash> for Tree {
    fn from_iter<I: IntoIterator<Item = Hash>>(leaves: I) -> Self {
        let mut tree = Self::default();
        leaves.into_iter().for_each(|leaf| tree.push(leaf));
        tree
    }
}
