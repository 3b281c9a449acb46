//! [`Archive`]: every change of a store, in steps that a crash cannot leave half done.
//!
//! Terms. The *end* of a stream (a dataset's partition) is the last row that the manifest names. A *step* writes files,
//! then the manifest, then removes the files that the manifest no longer names.
//!
//! Invariant: the manifest names every row up to the end of its stream once, in a durable file or in a dropped one. So
//! what a crash leaves besides is either
//! * *passed*: rows that are in named segments, and that no segment will ever end with or begin with again: what a merge
//!   was made of, files that retention dropped, a step that somebody else did with more rows. The next run removes it. Or
//! * *open*: what one step wrote and had not named: rows beyond the end, which are still in the log, or a merge of
//!   segments that are still named. The next run does that step again, under the same name, or passes it by.
//!
//! Nothing is missing either way. Every other file is somebody else's, or the sign of a manifest that was lost or rolled
//! back: nothing is removed then.
//!
//! Several writers at once: each takes for granted the manifest that it read. The first to put another one in its place
//! wins; the others are fenced there, at the latest. None of them harms what the first one named: a file is put only where
//! none is, or in place of one that the newest manifest does not name, and removed only when no manifest to come can name
//! it. What a fenced one leaves is what a crash leaves.
//!
//! # Decision
//! No lock and no lease on a store that many reach: whoever holds one may stand still for as long as it likes, and go on
//! after it was taken away. One conditional put is all that is asked of a store. Two versions of evenkeel that encode the
//! same rows differently must not compact one store at the same moment: then verification finds a file that is not the one
//! that is named, and its rows have to be compacted again from the log.

use super::dataset::ColdDataset;
use super::manifest::{MANIFEST, Manifest, Segment, Stream};
use super::store::ColdStore;
use crate::ports::PortError;
use evenkeel_schemas::Dataset;
use std::collections::{BTreeMap, BTreeSet};

/// A store that is being changed.
pub struct Archive<'s> {
    store: &'s dyn ColdStore,
    manifest: Manifest,
}

impl<'s> Archive<'s> {
    /// Reads the manifest, and removes what a crash left and nobody will need; says which files those were.
    ///
    /// # Errors
    /// `Fatal` if there are files that no crash leaves. `Fenced` if somebody else writes to the store. `Retry` if it cannot
    /// be reached now.
    pub fn open(store: &'s dyn ColdStore) -> Result<(Self, Vec<String>), PortError> {
        let manifest = Manifest::load(store)?.unwrap_or_default();
        let archive = Self { store, manifest };
        let files = store.list("")?.into_iter().filter(|name| name.ends_with(".parquet")).collect();
        let passed = passed(&archive.manifest, &files).map_err(|why| archive.blame(why))?;
        passed.iter().try_for_each(|file| store.remove(file))?;
        // A crash amid the removals leaves the rest to the next run.
        Ok((archive, passed))
    }

    /// The manifest as it is now.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The file of a segment.
    ///
    /// # Errors
    /// `Fatal` if it is missing, or not the one that the manifest names; `Fenced` if that is no longer the manifest.
    pub fn file(&self, segment: &Segment) -> Result<Vec<u8>, PortError> {
        let bytes = self.store.get(&segment.file)?.filter(|bytes| segment.is_file(bytes));
        bytes.ok_or_else(|| {
            let file = &segment.file;
            self.blame(format!("{file} is not the file that {MANIFEST} names: restore it from a copy"))
        })
    }

    /// What a finding means: it is fatal, or somebody else changed the store since the manifest was read.
    fn blame(&self, why: String) -> PortError {
        match self.manifest.is_stored(self.store) {
            Ok(true) => PortError::Fatal(why),
            Ok(false) => PortError::Fenced,
            Err(error) => error,
        }
    }

    /// Stores a file that is to be named. Another one may be in its place only if a crash left it.
    fn place(&self, name: &str, bytes: &[u8]) -> Result<(), PortError> {
        match self.store.replace(name, None, bytes) {
            Err(PortError::Fenced) if self.manifest.is_stored(self.store)? => {
                // Of rows that were encoded otherwise: merged from other segments, or by another version.
                let left = self.store.get(name)?;
                self.store.replace(name, left.as_deref(), bytes)
            }
            done => done,
        }
    }

    /// Adds segments whose rows follow the end of their streams.
    ///
    /// # Errors
    /// `Fenced` if somebody else writes to the store; else as [`ColdStore::put`]. Then this archive is to be opened anew.
    pub fn add(&mut self, written: Vec<(Segment, Vec<u8>)>) -> Result<(), PortError> {
        for (segment, file) in written {
            self.place(&segment.file, &file)?;
            // A crash here leaves files beyond the end: the next run puts them there again, or goes past them.
            self.manifest.segments.push(segment);
        }
        self.manifest.save(self.store)
        // A crash here leaves the segments whole: the next run goes on after them.
    }

    /// Puts one segment in the place of several that hold the same rows, given by their names.
    ///
    /// # Errors
    /// As [`Archive::add`].
    pub fn replace(&mut self, old: &[String], segment: Segment, file: &[u8]) -> Result<(), PortError> {
        self.place(&segment.file, file)?;
        // A crash here leaves a file whose rows are in the old ones, too: merging makes it again, or a larger one.
        let at = self.manifest.segments.iter().position(|held| old.contains(&held.file));
        let at = at.expect("what is merged was read from the manifest");
        self.manifest.segments[at] = segment;
        self.manifest.segments.retain(|held| !old.contains(&held.file));
        self.manifest.save(self.store)?;
        // A crash here, or amid the removals, leaves old files, passed by the new one.
        old.iter().try_for_each(|file| self.store.remove(file))
    }

    /// Drops the files of segments, given by their names; their lines stay, marked.
    ///
    /// # Errors
    /// As [`Archive::add`].
    pub fn drop_files(&mut self, files: &BTreeSet<String>) -> Result<(), PortError> {
        for segment in self.manifest.segments.iter_mut().filter(|segment| files.contains(&segment.file)) {
            segment.dropped = true;
        }
        self.manifest.save(self.store)?;
        // A crash here, or amid the removals, leaves files of dropped segments: passed, too.
        files.iter().try_for_each(|file| self.store.remove(file))
    }
}

/// Of `files` those that the manifest does not name, nor any manifest to come; an error in words if there are some that no
/// crash leaves.
fn passed(manifest: &Manifest, files: &BTreeSet<String>) -> Result<Vec<String>, String> {
    let named = manifest.segments.iter().filter(|segment| !segment.dropped).map(|segment| segment.file.clone());
    let mut unknown = files.difference(&named.collect()).cloned().collect::<Vec<_>>();
    let beyond = unknown.iter().filter(|file| is_beyond(file, manifest)).collect::<Vec<_>>();
    let foreign = unknown.iter().find(|file| !is_ours(file, manifest, files));
    match foreign.or_else(|| beyond.first().filter(|_| !are_of_one_step(&beyond)).copied()) {
        None => {
            unknown.retain(|file| !is_beyond(file, manifest) && !may_be_named(file, manifest));
            Ok(unknown)
        }
        Some(file) => Err(format!(
            "{} files are not in the manifest, {file} for one, which no crash leaves: restore the manifest that names \
             them, or remove them",
            unknown.len()
        )),
    }
}

/// Whether some of a file's rows follow the end of its stream.
fn is_beyond(file: &str, manifest: &Manifest) -> bool {
    let parsed = Segment::parse(file);
    parsed.is_some_and(|(stream, _, last)| manifest.last(stream).is_none_or(|end| end.last < last))
}

/// Whether a file is a segment's, and those that hold the same rows are there, or were dropped.
fn is_ours(file: &str, manifest: &Manifest, files: &BTreeSet<String>) -> bool {
    let Some((stream, first, last)) = Segment::parse(file) else { return false };
    let is_held = |segment: &Segment| segment.dropped || files.contains(&segment.file);
    !manifest.of(stream).any(|segment| segment.first <= last && first <= segment.last && !is_held(segment))
}

/// Whether a merge of segments may have a file's name: it begins with one and ends with another.
fn may_be_named(file: &str, manifest: &Manifest) -> bool {
    let Some((stream, first, last)) = Segment::parse(file) else { return false };
    let held = || manifest.of(stream).filter(|segment| !segment.dropped);
    held().any(|segment| segment.first == first && segment.last < last)
        && held().any(|segment| segment.last == last && segment.first > first)
}

/// One step writes one file, or audit entries with the outcomes among them. Several attempts at it begin with the same
/// rows, and may end with others.
fn are_of_one_step(beyond: &[&String]) -> bool {
    let mut streams = BTreeMap::<Stream, (u64, u64)>::new();
    for (stream, first, last) in beyond.iter().filter_map(|file| Segment::parse(file)) {
        let common = streams.entry(stream).or_insert((first, last));
        *common = (common.0.max(first), common.1.min(last));
    }
    let together = |one: Stream, other: Stream| {
        let pair = [one.0, other.0];
        one.1 == other.1 && pair.contains(&ColdDataset::Outcomes) && pair.contains(&Dataset::Audit.into())
    };
    let are_together = match streams.keys().copied().collect::<Vec<_>>()[..] {
        [] | [_] => true,
        [one, other] => together(one, other),
        _ => false,
    };
    are_together && streams.values().all(|(first, last)| first <= last)
}
