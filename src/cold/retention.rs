//! [`retain`]: lets go of what is older than it has to be kept.
//!
//! Only whole segments go, the oldest of a stream first; their lines stay in the manifest, marked as dropped. So the
//! chain is followed from the head of the last dropped one, verification says from which `seq` on entries are left, and
//! a file that is missing without a mark is a file that somebody took away.

use super::archive::Archive;
use super::compactor::date_of;
use super::dataset::ColdDataset;
use super::manifest::Segment;
use super::store::ColdStore;
use crate::ports::PortError;
use std::collections::BTreeSet;

/// Drops every segment whose rows were all committed before the time that `keep_from_us` says for its dataset, µs since
/// the Unix epoch, to the UTC day; `None` keeps all. Says which ones. Running it again changes nothing.
///
/// # Errors
/// `Retry` if the store cannot be reached now.
pub fn retain(
    store: &dyn ColdStore,
    keep_from_us: impl Fn(ColdDataset) -> Option<i64>,
) -> Result<Vec<Segment>, PortError> {
    let (mut archive, _) = Archive::open(store)?;
    let is_old = |segment: &Segment| {
        let first_kept = keep_from_us(segment.dataset).and_then(date_of);
        // Dates are written so that they sort by time.
        first_kept.is_some_and(|first_kept| segment.date() < first_kept.as_str())
    };
    let (mut kept, mut dropped) = (BTreeSet::new(), Vec::new());
    for segment in archive.manifest().segments.iter().filter(|segment| !segment.dropped) {
        if !kept.contains(&segment.stream()) && is_old(segment) {
            dropped.push(segment.clone());
        } else {
            kept.insert(segment.stream());
        }
    }
    if !dropped.is_empty() {
        archive.drop_files(&dropped.iter().map(|segment| segment.file.clone()).collect())?;
    }
    Ok(dropped)
}
