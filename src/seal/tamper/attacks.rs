//! The attacks, each on a copy of its own.

use super::world::{NAME, SEED, World, copy_directory, remove};
use super::{key, seal};
use crate::embedded::disk::retry;
use crate::ports::PortError;
use evenkeel_dataflows::Output;
use evenkeel_schemas::Dataset;
use evenkeel_schemas::audit::{Chain, Entry, ORIGIN};
use std::path::{Path, PathBuf};

type Done = Result<(), PortError>;

/// What is done to a copy of the whole one.
pub type Attack = fn(&World, &World) -> Done;

/// Every attack by its name; the first is none.
pub const ATTACKS: [(&str, Attack); 22] = [
    ("nothing", |_, _| Ok(())),
    ("edit a byte of a payload", |_, copy| copy.rewrite(|rows| edit(&mut rows[9]))),
    ("edit a byte, chain anew", |_, copy| anew(copy, |rows| edit(&mut rows[9]))),
    ("delete an entry", |_, copy| copy.rewrite(|rows| drop(rows.remove(9)))),
    ("delete an entry, chain anew", |_, copy| anew(copy, |rows| drop(rows.remove(9)))),
    ("cut the tail of the log", |_, copy| copy.rewrite(|rows| rows.truncate(rows.len() - 4))),
    ("cut the tail of log and cold files", |_, copy| {
        copy.rewrite(|rows| rows.truncate(rows.len() - 4))?;
        copy.compact_anew()
    }),
    ("swap two entries", |_, copy| copy.rewrite(|rows| rows.swap(9, 11))),
    ("swap two entries, chain anew", |_, copy| anew(copy, |rows| rows.swap(9, 11))),
    ("replay an entry", |_, copy| copy.rewrite(|rows| rows.insert(12, rows[9].clone()))),
    ("replay an entry, chain anew", |_, copy| anew(copy, |rows| rows.insert(12, rows[9].clone()))),
    ("swap entries between partitions", |_, copy| {
        copy.rewrite(|rows| {
            let (first, second) = (rows[9].partition, rows[10].partition);
            (rows[9].partition, rows[10].partition) = (second, first);
        })
    }),
    ("swap files between partitions", |_, copy| {
        let files = parquet(copy)?;
        let [first, .., last] = files.as_slice() else { unreachable!("two partitions, two files") };
        swap(first, last)
    }),
    ("swap a data file for its sibling", |_, copy| {
        let files = parquet(copy)?;
        swap(&files[0], &files[1])
    }),
    ("roll the manifest back", |whole, copy| {
        remove(&copy.cold())?;
        copy_directory(&whole.older().join("data/cold"), &copy.cold())
    }),
    ("roll data back, leave the seals", |whole, copy| {
        remove(&copy.data())?;
        copy_directory(&whole.older().join("data"), &copy.data())
    }),
    ("edit a seal", |_, copy| flip(&copy.seals().join("tile/entries"))),
    ("edit a tile", |_, copy| flip(&copy.seals().join("tile/0"))),
    ("edit the checkpoint", |_, copy| flip_file(&copy.seals().join("checkpoint"))),
    ("rewrite all, sign with another key", |_, copy| {
        anew(copy, |rows| edit(&mut rows[9]))?;
        remove(&copy.seals())?;
        seal(copy, key(NAME, SEED + 1)?)
    }),
    ("roll everything back", |whole, copy| copy.roll_back(whole)),
    ("fork with the stolen key", |whole, copy| {
        copy.roll_back(whole)?;
        let (mut chains, mut count) = ([0, 1].map(|partition| Chain::new(ORIGIN, partition)), 0);
        copy.rewrite(|rows| {
            count = rows.len() as u64;
            for row in rows.iter() {
                let (entry, _) = Entry::open(&row.value).expect("it is whole");
                chains[row.partition as usize].append(entry);
            }
        })?;
        copy.commit(&mut chains, count..2 * count, " ")
    }),
];

/// Changes a digit of the payload.
fn edit(row: &mut Output) {
    let at = row.value.windows(3).position(|bytes| bytes == b".50").expect("amounts end so");
    row.value[at + 1] = b'9';
}

/// Changes entries, numbers and links them anew, and makes the cold files anew: all that needs no key.
fn anew(copy: &World, mut change: impl FnMut(&mut Vec<Output>)) -> Done {
    copy.rewrite(|rows| {
        change(rows);
        let mut chains = [0, 1].map(|partition| Chain::new(ORIGIN, partition));
        for row in rows.iter_mut().filter(|row| row.dataset == Dataset::Audit) {
            let (entry, _) = Entry::open(&row.value).expect("its bytes are an entry's");
            row.value = chains[row.partition as usize].append(entry);
        }
    })?;
    copy.compact_anew()
}

/// Cold audit files, by name.
fn parquet(copy: &World) -> Result<Vec<PathBuf>, PortError> {
    let mut files = Vec::new();
    below(&copy.cold().join("audit"), &mut files)?;
    files.sort();
    Ok(files)
}

fn below(directory: &Path, files: &mut Vec<PathBuf>) -> Done {
    for entry in std::fs::read_dir(directory).map_err(retry("list the directory", directory))? {
        let path = entry.map_err(retry("list the directory", directory))?.path();
        if path.is_dir() { below(&path, files)? } else { files.push(path) }
    }
    Ok(())
}

fn swap(first: &Path, second: &Path) -> Done {
    let aside = first.with_extension("aside");
    let renamed = std::fs::rename(first, &aside)
        .and_then(|()| std::fs::rename(second, first))
        .and_then(|()| std::fs::rename(&aside, second));
    renamed.map_err(retry("rename", first))
}

/// Flips a bit in the middle of every file below a directory.
fn flip(directory: &Path) -> Done {
    let mut files = Vec::new();
    below(directory, &mut files)?;
    files.iter().try_for_each(|file| flip_file(file))
}

fn flip_file(file: &Path) -> Done {
    let mut bytes = std::fs::read(file).map_err(retry("read", file))?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(file, bytes).map_err(retry("write", file))
}
