//! [`Edge`]: the right edge of a log's tiles, and how it grows.
//!
//! Steps of an append: 1. full tiles and bundles; 2. partial ones, each a new name; 3. the checkpoint, elsewhere. A crash
//! before 3 leaves files that no checkpoint speaks of: the next append writes them anew, perhaps with other contents. What
//! a checkpoint covers is never written again.

use crate::cold::ColdStore;
use crate::ports::PortError;
use evenkeel_schemas::audit::tile::{self, WIDTH};
use evenkeel_schemas::audit::{Hash, Log, Refused, tree};

/// What the next leaf needs to know of those before: at most 255 hashes a level, and the open bundle.
#[derive(Clone, Debug, Default)]
pub struct Edge {
    size: u64,
    /// By level, the hashes of the open tile.
    levels: Vec<Vec<Hash>>,
    bundle: Vec<u8>,
}

impl Edge {
    /// The edge of the first `size` leaves of a log, from its tiles: a few hundred hashes whatever its size. Whether they
    /// are the right ones its root tells; of the open bundle's leaves that they are those of the tiles.
    ///
    /// # Errors
    /// [`Refused`] if a tile or the bundle is missing, or the log is not so long.
    pub fn at(log: &Log<'_>, size: u64) -> Result<Self, Refused> {
        let mut edge = Self { size, ..Self::default() };
        for level in (0_u8..8).take_while(|level| size >> (8 * level) > 0) {
            let count = size >> (8 * level);
            let open = count - count % WIDTH..count;
            edge.levels.push(open.map(|index| log.hash(8 * level, index)).collect::<Result<_, _>>()?);
        }
        if !size.is_multiple_of(WIDTH) {
            for (leaf, hash) in log.bundle(size / WIDTH)?.iter().zip(&edge.levels[0]) {
                if tree::leaf_hash(leaf) != *hash {
                    return Err(Refused(format!(
                        "a seal of bundle {} is not the one that its tile names",
                        size / WIDTH
                    )));
                }
                tile::add_entry(&mut edge.bundle, leaf);
            }
        }
        Ok(edge)
    }

    /// Number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root of all leaves.
    pub fn root(&self) -> Hash {
        let root = tree::root(self.size, |level, index| {
            let (level, _, range) = tile::place(level, index);
            Ok::<_, std::convert::Infallible>(tile::fold(&self.levels[usize::from(level)][range]))
        });
        let Ok(root) = root;
        root
    }

    /// Takes in a leaf, without writing; `full` gets the files that it fills.
    pub fn push(&mut self, leaf: &[u8], mut full: impl FnMut(String, Vec<u8>)) {
        tile::add_entry(&mut self.bundle, leaf);
        self.size += 1;
        if self.size.is_multiple_of(WIDTH) {
            full(tile::entry_bundle(self.size / WIDTH - 1, WIDTH), std::mem::take(&mut self.bundle));
        }
        let (mut hash, mut count) = (tree::leaf_hash(leaf), self.size);
        for level in 0.. {
            if self.levels.len() == level {
                self.levels.push(Vec::new());
            }
            self.levels[level].push(hash);
            if !count.is_multiple_of(WIDTH) {
                return;
            }
            count /= WIDTH;
            let hashes = std::mem::take(&mut self.levels[level]);
            hash = tile::fold(&hashes);
            full(tile::hash_tile(level as u8, count - 1, WIDTH), hashes.concat());
        }
    }

    /// Appends leaves to the files in `store`, durably; the checkpoint is the caller's.
    ///
    /// # Errors
    /// As [`ColdStore::put`]. The edge is then of no use.
    pub fn append(&mut self, leaves: &[Vec<u8>], store: &dyn ColdStore) -> Result<(), PortError> {
        let mut files = Vec::new();
        for leaf in leaves {
            self.push(leaf, |name, bytes| files.push((name, bytes)));
        }
        let open = self.size % WIDTH;
        if open > 0 {
            files.push((tile::entry_bundle(self.size / WIDTH, open), self.bundle.clone()));
        }
        for (level, hashes) in (0_u8..).zip(&self.levels) {
            if !hashes.is_empty() {
                let index = self.size >> (8 * (u32::from(level) + 1));
                files.push((tile::hash_tile(level, index, hashes.len() as u64), hashes.concat()));
            }
        }
        files.iter().try_for_each(|(name, bytes)| store.put(name, bytes))
    }
}
