//! Names of a log's files (C2SP tlog-tiles): `checkpoint`, hash tiles `tile/<level>/<n>[.p/<width>]`, and entry bundles
//! `tile/entries/<n>[.p/<width>]`.
//!
//! A tile of level `l` holds up to 256 hashes: leaves at level 0, roots of full tiles of the level below above it.

use crate::tree::node_hash;
use crate::{Hash, Refused, refuse};

/// Hashes of a full tile.
pub const WIDTH: u64 = 256;

/// The name of the checkpoint.
pub const CHECKPOINT: &str = "checkpoint";

/// How many hashes the tile `index` of `level` has in a tree of `size`; 0 if it is not there.
pub fn width(level: u8, index: u64, size: u64) -> u64 {
    // Levels from 8 on would need more than 2^64 leaves.
    let hashes = size.checked_shr(8 * u32::from(level)).unwrap_or(0);
    hashes.saturating_sub(index.saturating_mul(WIDTH)).min(WIDTH)
}

/// The name of a hash tile of so many hashes.
pub fn hash_tile(level: u8, index: u64, width: u64) -> String {
    format!("tile/{level}/{}", numbered(index, width))
}

/// The name of a bundle of so many entries.
pub fn entry_bundle(index: u64, width: u64) -> String {
    format!("tile/entries/{}", numbered(index, width))
}

/// `x001/x234/067`, and `.p/<width>` if the tile is partial.
fn numbered(index: u64, width: u64) -> String {
    let mut path = format!("{:03}", index % 1000);
    let mut rest = index / 1000;
    while rest > 0 {
        path = format!("x{:03}/{path}", rest % 1000);
        rest /= 1000;
    }
    if width < WIDTH { format!("{path}.p/{width}") } else { path }
}

/// Where the hash of a complete subtree comes from: the tile, and which of its hashes are below it.
pub fn place(level: u8, index: u64) -> (u8, u64, std::ops::Range<usize>) {
    let (tile_level, height) = (level / 8, level % 8);
    let first = index << height;
    let start = (first % WIDTH) as usize;
    (tile_level, first / WIDTH, start..start + (1 << height))
}

/// The hashes of a tile's bytes.
///
/// # Errors
/// [`Refused`] unless there are `width` of them.
pub fn hashes(bytes: &[u8], width: u64) -> Result<Vec<Hash>, Refused> {
    let (hashes, rest) = bytes.as_chunks::<32>();
    if hashes.len() as u64 != width || !rest.is_empty() {
        return refuse(format!("a tile of {} bytes where {width} hashes are expected", bytes.len()));
    }
    Ok(hashes.to_vec())
}

/// The root of a power of two of hashes.
pub fn fold(hashes: &[Hash]) -> Hash {
    match hashes {
        [hash] => *hash,
        _ => {
            let (left, right) = hashes.split_at(hashes.len() / 2);
            node_hash(&fold(left), &fold(right))
        }
    }
}

/// Adds an entry to a bundle: u16 length, big-endian, and its bytes.
pub fn add_entry(bundle: &mut Vec<u8>, entry: &[u8]) {
    let length = u16::try_from(entry.len()).expect("a seal is a few hundred bytes");
    bundle.extend(length.to_be_bytes());
    bundle.extend(entry);
}

/// The entries of a bundle.
///
/// # Errors
/// [`Refused`] unless there are `width` of them.
pub fn entries(mut bundle: &[u8], width: u64) -> Result<Vec<&[u8]>, Refused> {
    let mut entries = Vec::new();
    while let Some((length, rest)) = bundle.split_first_chunk::<2>() {
        let Some((entry, rest)) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length))) else { break };
        entries.push(entry);
        bundle = rest;
    }
    if !bundle.is_empty() || entries.len() as u64 != width {
        return refuse(format!("a bundle of {} whole entries where {width} are expected", entries.len()));
    }
    Ok(entries)
}
