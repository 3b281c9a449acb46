//! Verification with everything at hand: the log of seals, the committed rows, the manifest of the cold store.

use super::follow::{follow, follow_all};
use super::sealer::SealError;
use crate::cold::{ColdStore, MANIFEST, Manifest, Tampered};
use crate::ports::{OutputLog, PortError};
use evenkeel_schemas::Dataset;
use evenkeel_schemas::audit::{Audited, Chain, Hash, Log, Refused, Seal};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// What verification went through.
#[derive(Clone, Debug, Default)]
pub struct Verified {
    /// Seals of the log.
    pub seals: u64,
    /// What they say.
    pub audited: Audited,
    /// Entries that were followed and are sealed.
    pub entries: u64,
    /// Entries that follow them, and are not sealed yet.
    pub unsealed: u64,
}

/// Verifies a log of seals by itself.
///
/// # Errors
/// [`SealError::Tampered`] at the first seal or tile that is not what it must be.
pub fn verify_log(log: &Log<'_>, origin: &str) -> Result<Verified, SealError> {
    let audited = log.verify(origin, |_, _| Ok(())).map_err(tampered)?;
    Ok(Verified { seals: log.size(), audited, ..Verified::default() })
}

/// Verifies a log of seals, and that committed rows and the cold store's manifest are what it sealed.
///
/// # Errors
/// [`SealError::Tampered`] at the first entry, seal, tile or line that is not what it must be.
pub fn verify_data(
    log: &Log<'_>,
    origin: &str,
    rows: &mut dyn OutputLog,
    cold: Option<&dyn ColdStore>,
) -> Result<Verified, SealError> {
    let mut batches = Vec::new();
    let audited = log.verify(origin, |index, seal| {
        if matches!(seal, Seal::Batch { .. }) {
            batches.push((index, seal.clone()));
        }
        Ok(())
    });
    let audited = audited.map_err(tampered)?;
    let mut verified = Verified { seals: log.size(), audited, ..Verified::default() };
    for (index, seal) in &batches {
        verified.entries += check_batch(*index, seal, rows, &verified.audited.minimums)?;
    }
    for partition in rows.partitions(Dataset::Audit)? {
        let (mut chain, offset) = verified.audited.stands(origin, partition);
        follow_all(rows, (partition, offset), &mut chain, |_| verified.unsealed += 1)?;
    }
    if let Some(cold) = cold {
        check_manifest(&verified.audited, cold)?;
        check_files(cold, &mut 0, u64::MAX)?;
    }
    Ok(verified)
}

/// Follows the rows of a batch, unless they are no longer kept; how many there are.
///
/// # Errors
/// [`SealError::Tampered`] if they are not those that were sealed.
pub fn check_batch(
    index: u64,
    seal: &Seal,
    rows: &mut dyn OutputLog,
    minimums: &BTreeMap<u32, u64>,
) -> Result<u64, SealError> {
    let Seal::Batch { partition, first_seq, count, previous_head, from_offset, .. } = seal else { return Ok(0) };
    if first_seq < minimums.get(partition).unwrap_or(&0) {
        return Ok(0);
    }
    let mut chain = Chain::resume(*partition, *first_seq, *previous_head);
    let followed = follow(rows, (*partition, *from_offset), &mut chain, *count, |_, _, _| {})?;
    let found = followed.as_ref().map_or(0, |followed| followed.batch.count());
    let at = |seq: u64, why: String| {
        let file = Dataset::Audit.topic().to_owned();
        SealError::Tampered(Tampered { partition: Some(*partition), seq: Some(seq), file, why })
    };
    if found < *count {
        let why =
            format!("seal {index} covers {count} entries from {first_seq}, {found} are there: the tail was cut off");
        return Err(at(first_seq + found, why));
    }
    if followed.map(|followed| followed.seal(&chain)).as_ref() != Some(seal) {
        return Err(at(*first_seq, format!("the entries are not those that seal {index} covers: they were rewritten")));
    }
    Ok(found)
}

/// SHA-256 of each line of the cold store's manifest, if those that were sealed still stand there.
///
/// # Errors
/// [`SealError::Tampered`] if not.
pub fn check_manifest(audited: &Audited, cold: &dyn ColdStore) -> Result<Vec<Hash>, SealError> {
    let bytes = cold.get(MANIFEST)?.unwrap_or_default();
    let lines = bytes.strip_suffix(b"\n").unwrap_or(&bytes).split(|byte| *byte == b'\n');
    let hashes = lines.filter(|line| !line.is_empty()).map(|line| Sha256::digest(line).into()).collect::<Vec<_>>();
    match manifest_difference(&audited.manifest, &hashes) {
        Some(why) => Err(Tampered { file: MANIFEST.to_owned(), why, ..Tampered::default() }.into()),
        None => Ok(hashes),
    }
}

/// What a manifest lacks of the lines that are sealed.
fn manifest_difference(sealed: &[Hash], found: &[Hash]) -> Option<String> {
    if found.len() < sealed.len() {
        let (found, sealed) = (found.len(), sealed.len());
        return Some(format!("{found} lines, but {sealed} are sealed: it was cut or rolled back"));
    }
    let changed = sealed.iter().zip(found).position(|(sealed, found)| sealed != found)?;
    Some(format!("line {} is not the one that is sealed", changed + 1))
}

/// That files are those that the manifest names: from the one at `cursor` on, which goes round, about `budget` bytes.
///
/// # Errors
/// [`SealError::Tampered`] at the first that is not.
pub fn check_files(cold: &dyn ColdStore, cursor: &mut usize, budget: u64) -> Result<(), SealError> {
    let manifest = match Manifest::load(cold) {
        Err(PortError::Fatal(why)) => {
            return Err(Tampered { file: MANIFEST.to_owned(), why, ..Tampered::default() }.into());
        }
        manifest => manifest?.unwrap_or_default(),
    };
    let segments = manifest.segments.into_iter().filter(|segment| !segment.dropped).collect::<Vec<_>>();
    let mut read = 0;
    for _ in 0..segments.len() {
        if read >= budget {
            break;
        }
        *cursor %= segments.len();
        let segment = &segments[*cursor];
        let bytes = cold.get(&segment.file)?;
        if !bytes.as_ref().is_some_and(|bytes| segment.is_file(bytes)) {
            let (partition, file) = (Some(segment.partition), segment.file.clone());
            let why = if bytes.is_some() { "not the file that was written" } else { "the file is missing" };
            return Err(Tampered { partition, seq: None, file, why: why.to_owned() }.into());
        }
        (*cursor, read) = (*cursor + 1, read + segment.bytes);
    }
    Ok(())
}

/// What a log's files say wrong is tampering, too.
pub fn tampered(Refused(why): Refused) -> SealError {
    Tampered { file: "log of seals".to_owned(), why, ..Tampered::default() }.into()
}
