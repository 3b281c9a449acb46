//! [`Archive`]: every change of a store, in steps that a crash cannot leave half done.
//!
//! Terms. The *end* of a stream (a dataset's partition) is the last row that the manifest names. A *step* writes files,
//! then the manifest, then removes the files that the manifest no longer names.
//!
//! Invariant: the manifest names every row up to the end of its stream once, in a durable file or in a dropped one. So
//! what a crash leaves besides is either
//! * *covered*: rows up to the end, which named segments hold: a merge that was not named yet, or what it was made of;
//!   files that retention dropped. Or
//! * *beyond* the end: what one step wrote and had not named, rows that are still in the log.
//!
//! Either is removed by the next run, and nothing is missing. Every other file is somebody else's, or the sign of a
//! manifest that was lost or rolled back: nothing is removed then.

use super::dataset::ColdDataset;
use super::manifest::{MANIFEST, Manifest, Segment, Stream};
use super::store::ColdStore;
use crate::ports::PortError;
use evenkeel_schemas::Dataset;
use std::collections::BTreeSet;

/// A store that is being changed.
pub struct Archive<'s> {
    store: &'s dyn ColdStore,
    manifest: Manifest,
    /// The manifest's bytes in the store; a step replaces these and no others.
    saved: Option<Vec<u8>>,
}

impl<'s> Archive<'s> {
    /// Reads the manifest, and removes what a crash left; says which files those were.
    ///
    /// # Errors
    /// `Fatal` if there are files that no crash leaves. `Retry` if the store cannot be reached now.
    pub fn open(store: &'s dyn ColdStore) -> Result<(Self, Vec<String>), PortError> {
        let saved = store.get(MANIFEST)?;
        let manifest = saved.as_deref().map_or(Ok(Manifest::default()), Manifest::read)?;
        let left = leftovers(&manifest, store)?;
        left.iter().try_for_each(|file| store.remove(file))?;
        Ok((Self { store, manifest, saved }, left))
    }

    /// The manifest as it is now.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The file of a segment.
    ///
    /// # Errors
    /// `Fatal` if it is missing, or not the one that the manifest names.
    pub fn file(&self, segment: &Segment) -> Result<Vec<u8>, PortError> {
        let bytes = self.store.get(&segment.file)?;
        bytes.filter(|bytes| segment.is_file(bytes)).ok_or_else(|| {
            let file = &segment.file;
            PortError::Fatal(format!("{file} is not the file that {MANIFEST} names: restore it from a copy"))
        })
    }

    /// Adds segments whose rows follow the end of their streams.
    ///
    /// # Errors
    /// As [`ColdStore::put`]; then this archive is to be opened anew.
    pub fn add(&mut self, written: Vec<(Segment, Vec<u8>)>) -> Result<(), PortError> {
        for (segment, file) in written {
            self.store.put(&segment.file, &file)?;
            // A crash here leaves files beyond the end: removed by the next run, which writes their rows again.
            self.manifest.segments.push(segment);
        }
        self.save()
        // A crash here leaves the segments whole: the next run goes on after them.
    }

    /// Puts one segment in the place of several that hold the same rows, given by their names.
    ///
    /// # Errors
    /// As [`Archive::add`].
    pub fn replace(&mut self, old: &[String], segment: Segment, file: &[u8]) -> Result<(), PortError> {
        self.store.put(&segment.file, file)?;
        // A crash here leaves a covered file: its rows are in the old ones, too.
        let at = self.manifest.segments.iter().position(|held| old.contains(&held.file));
        let at = at.expect("what is merged was read from the manifest");
        self.manifest.segments[at] = segment;
        self.manifest.segments.retain(|held| !old.contains(&held.file));
        self.save()?;
        // A crash here, or amid the removals, leaves old files, covered by the new one.
        old.iter().try_for_each(|file| self.store.remove(file))
    }

    fn save(&mut self) -> Result<(), PortError> {
        let bytes = self.manifest.bytes();
        self.store.replace(MANIFEST, self.saved.as_deref(), &bytes)?;
        self.saved = Some(bytes);
        Ok(())
    }

    /// Drops the files of segments, given by their names; their lines stay, marked.
    ///
    /// # Errors
    /// As [`Archive::add`].
    pub fn drop_files(&mut self, files: &BTreeSet<String>) -> Result<(), PortError> {
        for segment in self.manifest.segments.iter_mut().filter(|segment| files.contains(&segment.file)) {
            segment.dropped = true;
        }
        self.save()?;
        // A crash here, or amid the removals, leaves files of dropped segments: covered by their lines.
        files.iter().try_for_each(|file| self.store.remove(file))
    }
}

/// The files that a crash may have left.
fn leftovers(manifest: &Manifest, store: &dyn ColdStore) -> Result<Vec<String>, PortError> {
    let files = store.list("")?.into_iter().filter(|name| name.ends_with(".parquet")).collect::<BTreeSet<_>>();
    let named = manifest.segments.iter().filter(|segment| !segment.dropped).map(|segment| segment.file.clone());
    let unknown = files.difference(&named.collect()).cloned().collect::<Vec<_>>();
    let (beyond, within) = unknown.iter().partition::<Vec<_>, _>(|file| is_beyond(file, manifest));
    let foreign = within.into_iter().find(|file| !is_covered(file, manifest, &files));
    match foreign.or_else(|| beyond.first().filter(|_| !are_of_one_step(&beyond)).copied()) {
        None => Ok(unknown),
        Some(file) => Err(PortError::Fatal(format!(
            "{} files are not in the manifest, {file} for one, which no crash leaves: restore the manifest that names \
             them, or remove them",
            unknown.len()
        ))),
    }
}

/// Whether a file's rows follow the end of its stream.
fn is_beyond(file: &str, manifest: &Manifest) -> bool {
    let parsed = Segment::parse(file);
    parsed.is_some_and(|(stream, first, _)| manifest.last(stream).is_none_or(|end| end.last < first))
}

/// Whether segments that are there, or were dropped, hold a file's rows: those of a stream leave none out.
fn is_covered(file: &str, manifest: &Manifest, files: &BTreeSet<String>) -> bool {
    let Some((stream, first, last)) = Segment::parse(file) else { return false };
    let is_held = |segment: &Segment| segment.dropped || files.contains(&segment.file);
    let is_missing = |segment: &Segment| segment.first <= last && first <= segment.last && !is_held(segment);
    manifest.last(stream).is_some_and(|end| last <= end.last) && !manifest.of(stream).any(is_missing)
}

/// One step writes one file, or audit entries with the outcomes among them.
fn are_of_one_step(beyond: &[&String]) -> bool {
    let streams = beyond.iter().filter_map(|file| Segment::parse(file)).map(|(stream, ..)| stream).collect::<Vec<_>>();
    let together = |one: Stream, other: Stream| {
        let pair = [one.0, other.0];
        one.1 == other.1 && pair.contains(&ColdDataset::Outcomes) && pair.contains(&Dataset::Audit.into())
    };
    match streams[..] {
        [] | [_] => true,
        [one, other] => together(one, other),
        _ => false,
    }
}
