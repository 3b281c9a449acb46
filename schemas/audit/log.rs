//! [`Log`]: a log of seals, read from wherever its files lie, and believed only as far as its checkpoint reaches.

use crate::note::ED25519;
use crate::tile::{self, CHECKPOINT, WIDTH};
use crate::tree::{self, leaf_hash};
use crate::{Chain, Hash, Note, Refused, Seal, Trust, Trusted, VerifierKey, refuse};
use std::cell::RefCell;
use std::collections::BTreeMap;

/// Where a log's files come from, by their names in C2SP tlog-tiles; `None` if there is no such file.
pub trait Fetch {
    /// The bytes of a file.
    ///
    /// # Errors
    /// [`Refused`] if nobody can say whether there is one.
    fn fetch(&self, name: &str) -> Result<Option<Vec<u8>>, Refused>;
}

impl<F: Fn(&str) -> Result<Option<Vec<u8>>, Refused>> Fetch for F {
    fn fetch(&self, name: &str) -> Result<Option<Vec<u8>>, Refused> {
        self(name)
    }
}

/// The name of the checkpoint at which a key was handed over: signed by both, it ends in the new key's seal.
pub fn handover(size: u64) -> String {
    format!("handover/{size}")
}

/// Tiles that are remembered.
const TILES_BOUND: usize = 64;

/// A log as one checkpoint describes it.
pub struct Log<'a> {
    files: &'a dyn Fetch,
    /// The checkpoint, and who signed it.
    pub trusted: Trusted,
    /// The note that it came in.
    pub note: Note,
    /// The log's key that counts now: the pinned one, or the last that it was handed over to.
    pub key: VerifierKey,
    tiles: RefCell<BTreeMap<(u8, u64), Vec<Hash>>>,
}

/// Where the audit chains stand, by what a log seals.
#[derive(Clone, Debug, Default)]
pub struct Audited {
    /// How many seals say so.
    pub seals: u64,
    /// Each partition's chain, after its last sealed entry.
    pub chains: BTreeMap<u32, Chain>,
    /// Where reading a partition goes on: the hint of its last batch.
    pub next_offsets: BTreeMap<u32, u64>,
    /// SHA-256 of the manifest's lines in their order.
    pub manifest: Vec<Hash>,
    /// The oldest entry that is kept, for partitions of which some are not.
    pub minimums: BTreeMap<u32, u64>,
}

impl<'a> Log<'a> {
    /// Opens a log at its newest checkpoint. `trust` holds the key that was pinned; handovers from it to later keys are
    /// followed, and a key that was handed over no longer counts.
    ///
    /// # Errors
    /// [`Refused`] if there is none, or it is not signed as it must be.
    pub fn open(files: &'a dyn Fetch, trust: &Trust) -> Result<Self, Refused> {
        let note = fetch_note(files, CHECKPOINT)?;
        let mut trust = trust.clone();
        let mut handovers = Vec::new();
        while let Some((size, root, key)) =
            next_handover(files, &trust, handovers.last().map_or(0, |it: &(_, _)| it.0))?
        {
            handovers.push((size, root));
            trust.key = key;
        }
        let trusted = trust.check(&note)?;
        let log = Self { files, trusted, note, key: trust.key, tiles: RefCell::default() };
        for (size, root) in handovers {
            if size > log.size() || log.root(size)? != root {
                return refuse(format!("the log does not go on from the handover at {size}: it was forked"));
            }
        }
        Ok(log)
    }

    /// Number of seals.
    pub fn size(&self) -> u64 {
        self.trusted.checkpoint.size
    }

    /// The hash of a complete subtree, from its tile.
    ///
    /// # Errors
    /// [`Refused`] if the tile is missing or of the wrong length.
    pub fn hash(&self, level: u8, index: u64) -> Result<Hash, Refused> {
        let (tile_level, tile_index, range) = tile::place(level, index);
        let mut tiles = self.tiles.borrow_mut();
        if !tiles.contains_key(&(tile_level, tile_index)) {
            if tiles.len() == TILES_BOUND {
                tiles.clear();
            }
            tiles.insert((tile_level, tile_index), self.tile(tile_level, tile_index)?);
        }
        let hashes = &tiles[&(tile_level, tile_index)];
        let hashes = hashes.get(range).ok_or_else(|| Refused(format!("hash {index} of level {level} is not there")))?;
        Ok(tile::fold(hashes))
    }

    fn tile(&self, level: u8, index: u64) -> Result<Vec<Hash>, Refused> {
        let width = tile::width(level, index, self.size());
        let (name, full) = (tile::hash_tile(level, index, width), tile::hash_tile(level, index, WIDTH));
        let (bytes, width) = self.fetch_either(name, width, full)?;
        tile::hashes(&bytes, width)
    }

    /// A partial file may be gone once the full one is there.
    fn fetch_either(&self, name: String, width: u64, full: String) -> Result<(Vec<u8>, u64), Refused> {
        if let Some(bytes) = self.files.fetch(&name)? {
            return Ok((bytes, width));
        }
        match self.files.fetch(&full)? {
            Some(bytes) => Ok((bytes, WIDTH)),
            None => refuse(format!("{name} is missing")),
        }
    }

    /// The leaves of bundle `index`, those that the checkpoint covers; not yet proven to be in the log.
    ///
    /// # Errors
    /// [`Refused`] if it is missing or no bundle.
    pub fn bundle(&self, index: u64) -> Result<Vec<Vec<u8>>, Refused> {
        let wanted = tile::width(0, index, self.size());
        let (name, full) = (tile::entry_bundle(index, wanted), tile::entry_bundle(index, WIDTH));
        let (bytes, width) = self.fetch_either(name, wanted, full)?;
        let entries = tile::entries(&bytes, width)?;
        Ok(entries.into_iter().take(wanted as usize).map(<[u8]>::to_vec).collect())
    }

    /// The seal at `index`, if its leaf is the one that the checkpoint covers.
    ///
    /// # Errors
    /// [`Refused`] if it is not, or the log is not so long.
    pub fn seal(&self, index: u64) -> Result<Seal, Refused> {
        let leaf = self.bundle(index / WIDTH)?.into_iter().nth((index % WIDTH) as usize);
        let leaf = leaf.ok_or_else(|| Refused(format!("seal {index} is not in a log of {}", self.size())))?;
        let root = tree::root_from_inclusion(index, self.size(), leaf_hash(&leaf), &self.inclusion(index)?)?;
        if root != self.trusted.checkpoint.root {
            return refuse(format!("seal {index} is not the one that the checkpoint covers"));
        }
        Seal::from_leaf(&leaf)
    }

    /// The root of the first `size` seals.
    ///
    /// # Errors
    /// [`Refused`] if a tile is missing, or the log is not so long.
    pub fn root(&self, size: u64) -> Result<Hash, Refused> {
        self.check_within(size)?;
        tree::root(size, |level, index| self.hash(level, index))
    }

    /// The inclusion proof of a seal.
    ///
    /// # Errors
    /// [`Refused`] if a tile is missing, or the log is not so long.
    pub fn inclusion(&self, index: u64) -> Result<Vec<Hash>, Refused> {
        self.check_within(index.saturating_add(1))?;
        tree::inclusion(index, self.size(), |level, index| self.hash(level, index))
    }

    /// The consistency proof from its first `old` seals to all of them.
    ///
    /// # Errors
    /// [`Refused`] if a tile is missing, or the log is not so long.
    pub fn consistency(&self, old: u64) -> Result<Vec<Hash>, Refused> {
        self.check_within(old)?;
        tree::consistency(old, self.size(), |level, index| self.hash(level, index))
    }

    fn check_within(&self, size: u64) -> Result<(), Refused> {
        if size > self.size() { refuse(format!("{size} seals of a log of {}", self.size())) } else { Ok(()) }
    }

    /// Recomputes everything: every leaf and tile up to the checkpoint's root, and that the seals follow each other.
    /// Hands every seal to `each`, with its index.
    ///
    /// # Errors
    /// [`Refused`] with the first seal or tile that is not what it must be, or what `each` said.
    pub fn verify(
        &self,
        origin: &str,
        mut each: impl FnMut(u64, &Seal) -> Result<(), Refused>,
    ) -> Result<Audited, Refused> {
        let (mut audited, mut leaves) = (Audited::default(), tree::Tree::default());
        for index in 0..self.size().div_ceil(WIDTH) {
            let tile = self.tile(0, index)?;
            for (leaf, stated) in self.bundle(index)?.iter().zip(&tile) {
                let number = leaves.size();
                let hash = leaf_hash(leaf);
                if hash != *stated {
                    return refuse(format!("seal {number} is not the one that its tile names"));
                }
                leaves.push(hash);
                let seal = Seal::from_leaf(leaf)?;
                audited.follow(origin, &seal).map_err(|Refused(why)| Refused(format!("seal {number}: {why}")))?;
                each(number, &seal)?;
            }
        }
        if leaves.size() != self.size() || leaves.root() != self.trusted.checkpoint.root {
            return refuse(
                "the seals do not lead to the checkpoint's root: one was changed, or the checkpoint is another log's",
            );
        }
        self.verify_tiles(&leaves)?;
        Ok(audited)
    }

    /// The tiles above the leaves are what proofs are made of.
    fn verify_tiles(&self, leaves: &tree::Tree) -> Result<(), Refused> {
        let mut hashes = leaves.hashes();
        for level in 1..8_u8 {
            let count = self.size() >> (8 * level);
            for index in 0..count.div_ceil(WIDTH) {
                for (at, stated) in self.tile(level, index)?.iter().enumerate() {
                    let Ok(computed) = hashes(8 * level, index * WIDTH + at as u64);
                    if computed != *stated {
                        return refuse(format!("{} is not what its leaves give", tile::hash_tile(level, index, WIDTH)));
                    }
                }
            }
        }
        Ok(())
    }
}

impl Audited {
    /// Where the chain of a partition stands, and where reading it goes on; at its beginning if none of it is sealed.
    pub fn stands(&self, origin: &str, partition: u32) -> (Chain, u64) {
        let chain = self.chains.get(&partition).cloned().unwrap_or_else(|| Chain::new(origin, partition));
        (chain, self.next_offsets.get(&partition).copied().unwrap_or(0))
    }

    /// Takes in the next seal.
    ///
    /// # Errors
    /// [`Refused`] if it does not follow those before it.
    pub fn follow(&mut self, origin: &str, seal: &Seal) -> Result<(), Refused> {
        self.follow_one(origin, seal)?;
        self.seals += 1;
        Ok(())
    }

    fn follow_one(&mut self, origin: &str, seal: &Seal) -> Result<(), Refused> {
        match seal {
            Seal::Batch { partition, first_seq, count, previous_head, head, next_offset, .. } => {
                let chain = self.chains.entry(*partition).or_insert_with(|| Chain::new(origin, *partition));
                if (*first_seq, *previous_head) != (chain.next_seq(), chain.head()) {
                    let next = chain.next_seq();
                    return refuse(format!(
                        "a batch from {first_seq} does not follow entry {next} of partition {partition}"
                    ));
                }
                let Some(next_seq) = first_seq.checked_add(*count).filter(|_| *count > 0) else {
                    return refuse("an empty batch, or one beyond all numbers");
                };
                *chain = Chain::resume(*partition, next_seq, *head);
                self.next_offsets.insert(*partition, *next_offset);
            }
            Seal::Segment { line, sha256 } if *line == self.manifest.len() as u64 => self.manifest.push(*sha256),
            Seal::Segment { line, .. } => {
                return refuse(format!("line {line} of the manifest where {} is next", self.manifest.len()));
            }
            Seal::Minimum { partition, seq } => {
                let known = self.chains.get(partition).map_or(0, Chain::next_seq);
                let before = self.minimums.insert(*partition, *seq).unwrap_or(0);
                if *seq < before || *seq > known {
                    return refuse(format!("a minimum of {seq} after one of {before}, with {known} entries"));
                }
            }
            Seal::Key { .. } => {}
        }
        Ok(())
    }
}

fn fetch_note(files: &dyn Fetch, name: &str) -> Result<Note, Refused> {
    let bytes = files.fetch(name)?.ok_or_else(|| Refused(format!("{name} is missing")))?;
    String::from_utf8(bytes).map_err(|_| Refused(format!("{name} is not UTF-8")))?.parse()
}

/// The handover after the one at size `after`: its checkpoint's size and root, and the key that signs from there on.
fn next_handover(files: &dyn Fetch, trust: &Trust, after: u64) -> Result<Option<(u64, Hash, VerifierKey)>, Refused> {
    let Some(index) = files.fetch(HANDOVERS)? else { return Ok(None) };
    let index = String::from_utf8(index).map_err(|_| Refused(format!("{HANDOVERS} is not UTF-8")))?;
    let sizes = index.lines().map(|line| crate::decimal(line).ok_or(Refused(format!("{line:?} is no size"))));
    for size in sizes {
        let size = size?;
        if size <= after {
            continue;
        }
        let note = fetch_note(files, &handover(size))?;
        if note.signed_by(&trust.key)?.is_none() {
            // From before the pinned key's time.
            continue;
        }
        let trusted = Trust::in_key(trust.key.clone())?.check(&note)?;
        let log = Log { files, trusted, note, key: trust.key.clone(), tiles: RefCell::default() };
        let last = log.seal(size.checked_sub(1).ok_or(Refused("a handover at 0".to_owned()))?)?;
        let Seal::Key { key, .. } = last else { return refuse("a handover without a key") };
        let key = key.parse::<VerifierKey>()?;
        let named = key.name() == trust.key.name() && key.kind() == ED25519;
        if log.size() != size || !named {
            return refuse(format!("the handover at {size} is not in its log"));
        }
        if log.note.signed_by(&key)?.is_none() {
            return refuse(format!("the handover at {size} is not signed by the new key"));
        }
        return Ok(Some((size, log.trusted.checkpoint.root, key)));
    }
    Ok(None)
}

/// The sizes at which keys were handed over, one a line, ascending.
pub const HANDOVERS: &str = "handovers";
