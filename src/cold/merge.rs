//! [`merge`]: small neighbouring segments to larger ones.
//!
//! Compaction that runs every minute leaves a file a minute; readers pay for each one they open. Within a stream and a
//! date, neighbours are put together until each file but the last has [`MIN_FILE_BYTES`]. The last one is rewritten with
//! what comes after it until it has them, too: a row is rewritten a few times at most, and a large file never.
//!
//! Rows, their order and the heads stay what they were: the merged segment goes from the first one's `prev_head` to the
//! last one's `head`. What a crash leaves: see [`Archive`].
//!
//! # Decision
//! Audit entries are the rows that are kept for years, and few beside the requests: merged, they are pressed harder. A
//! Debezium change of 596 bytes takes 67 instead of 74, most of it digits that nobody can foretell. Tried, and worse or no
//! better: zstd 3 (76 bytes), pages of 8 MiB, DELTA_LENGTH_BYTE_ARRAY and DELTA_BYTE_ARRAY for payloads (63 and 64 instead
//! of 62, without their columns). Splitting payloads by their template would take half of them, and leave readers without
//! the bytes that were hashed.

use super::archive::Archive;
use super::manifest::{Manifest, Segment, Stream};
use super::parquet_file::{Effort, Writer, open};
use super::store::ColdStore;
use crate::ports::PortError;
use std::collections::BTreeSet;

/// Files below this are merged with their neighbours.
pub const MIN_FILE_BYTES: u64 = 8 << 20;

/// What merging did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// The segments it wrote.
    pub written: Vec<Segment>,
    /// The files that are gone: their rows are in those.
    pub replaced: Vec<String>,
}

/// Merges neighbours until no file of a stream and date is below `min_bytes`, but for the last. Running it again changes
/// nothing.
///
/// # Errors
/// `Fatal` if a file is not what the manifest says. `Retry` if the store cannot be reached now.
pub fn merge(store: &dyn ColdStore, min_bytes: u64) -> Result<Merged, PortError> {
    let (mut archive, _) = Archive::open(store)?;
    let mut merged = Merged::default();
    let streams = archive.manifest().segments.iter().map(Segment::stream).collect::<BTreeSet<_>>();
    for stream in streams {
        // Files whose columns are not those of the next one: an older version wrote them.
        let mut last_of_kind = BTreeSet::new();
        while let Some(group) = next_group(archive.manifest(), stream, min_bytes, &last_of_kind) {
            let (taken, segment, file) = put_together(&archive, &group)?;
            if taken < group.len() {
                last_of_kind.insert(group[taken - 1].file.clone());
            }
            if taken > 1 {
                let old = group[..taken].iter().map(|segment| segment.file.clone()).collect::<Vec<_>>();
                archive.replace(&old, segment.clone(), &file)?;
                merged.written.push(segment);
                merged.replaced.extend(old);
            }
        }
    }
    // What was merged twice was never there for anybody else.
    let written = merged.written.iter().map(|segment| segment.file.clone()).collect::<BTreeSet<_>>();
    let passing = merged.replaced.iter().filter(|file| written.contains(*file)).cloned().collect::<BTreeSet<_>>();
    merged.written.retain(|segment| !passing.contains(&segment.file));
    merged.replaced.retain(|file| !passing.contains(file));
    Ok(merged)
}

/// The next neighbours to be put together; `None` if there are none.
fn next_group(
    manifest: &Manifest,
    stream: Stream,
    min_bytes: u64,
    last_of_kind: &BTreeSet<String>,
) -> Option<Vec<Segment>> {
    let mut group = Vec::<Segment>::new();
    for segment in manifest.of(stream).filter(|segment| !segment.dropped) {
        let is_whole = group.iter().map(|held| held.bytes).sum::<u64>() >= min_bytes;
        let ends = group.last().is_some_and(|last| last.date() != segment.date() || last_of_kind.contains(&last.file));
        if is_whole || ends {
            if group.len() > 1 {
                return Some(group);
            }
            group.clear();
        }
        group.push(segment.clone());
    }
    (group.len() > 1).then_some(group)
}

/// One segment of the first of `group` and all that follow with the same columns; how many those are, and its file.
fn put_together(archive: &Archive<'_>, group: &[Segment]) -> Result<(usize, Segment, Vec<u8>), PortError> {
    let (mut taken, mut writer, mut rows) = (0, None, 0);
    for segment in group {
        let failed = |why: String| PortError::Fatal(format!("{}: {why}", segment.file));
        let tables = open(archive.file(segment)?).map_err(|error| failed(error.to_string()))?;
        let schema = arrow::array::RecordBatchReader::schema(&tables);
        let (of, writer) = match &mut writer {
            Some(begun) => begun,
            none => {
                let effort = if segment.dataset.is_audit() { Effort::Thorough } else { Effort::Quick };
                let writer = Writer::new(schema.clone(), effort).map_err(|error| failed(error.to_string()))?;
                none.insert((schema.clone(), writer))
            }
        };
        if *of != schema {
            break;
        }
        for table in tables {
            let table = table.map_err(|error| failed(error.to_string()))?;
            writer.write(&table).map_err(|error| failed(error.to_string()))?;
        }
        (taken, rows) = (taken + 1, rows + segment.rows);
    }
    let (first, last) = (&group[0], &group[taken - 1]);
    let mut segment = Segment::new(first.stream(), first.date(), (first.first, last.last), rows);
    (segment.prev_head, segment.head) = (first.prev_head.clone(), last.head.clone());
    segment.next_offset = last.next_offset;
    let (_, writer) = writer.expect("a group is not empty");
    let file = writer.finish(&segment.hints());
    let file = file.map_err(|error| PortError::Fatal(format!("{}: {error}", segment.file)))?;
    segment.seal(&file);
    Ok((taken, segment, file))
}
