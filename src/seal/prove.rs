//! [`prove`]: one entry's way to the checkpoint, from the rows of its batch and the log's tiles.

use super::follow::follow;
use super::sealer::SealError;
use crate::ports::{OutputLog, PortError};
use evenkeel_schemas::audit::tile::WIDTH;
use evenkeel_schemas::audit::{Chain, Log, Proof, Refused, Seal};

/// The proof of entry `seq` of an audit partition.
///
/// # Errors
/// `Fatal` if it is not sealed, [`SealError::Tampered`] if its batch's rows are not those that were sealed.
pub fn prove(log: &Log<'_>, rows: &mut dyn OutputLog, partition: u32, seq: u64) -> Result<Proof, SealError> {
    let (index, leaf) = find(log, partition, seq).map_err(fatal)?.ok_or_else(|| {
        let sealed = log.size();
        fatal(Refused(format!("entry {seq} of partition {partition} is in none of the log's {sealed} seals (yet)")))
    })?;
    let seal = Seal::from_leaf(&leaf).map_err(fatal)?;
    let Seal::Batch { first_seq, count, previous_head, from_offset, .. } = seal else {
        unreachable!("found as a batch")
    };
    let mut chain = Chain::resume(partition, first_seq, previous_head);
    let mut found = None;
    let followed = follow(rows, (partition, from_offset), &mut chain, count, |record, number, before| {
        if number == seq {
            found = Some((record.to_vec(), before));
        }
    })?;
    let (Some(followed), Some((record, previous))) = (followed, found) else {
        return Err(fatal(Refused(format!("the rows of entry {seq} are no longer there; prove it from a copy"))).into());
    };
    let (batch_path, path) = (followed.batch.path(seq - first_seq), log.inclusion(index).map_err(fatal)?);
    Ok(Proof { record, previous, batch_path, leaf, index, path, checkpoint: log.note.clone() })
}

fn fatal(refused: Refused) -> PortError {
    PortError::Fatal(refused.0)
}

/// The batch that holds an entry, and its index. Batches of a partition follow each other, so bundles can be halved.
fn find(log: &Log<'_>, partition: u32, seq: u64) -> Result<Option<(u64, Vec<u8>)>, Refused> {
    let (mut low, mut high) = (0, log.size().div_ceil(WIDTH));
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        match batches(log, partition, middle..high).next() {
            Some(Ok((_, _, first_seq, _))) if first_seq <= seq => low = middle,
            Some(Err(refused)) => return Err(refused),
            _ => high = middle,
        }
    }
    for batch in batches(log, partition, low..log.size().div_ceil(WIDTH)) {
        let (index, leaf, first_seq, count) = batch?;
        if first_seq > seq {
            break;
        }
        if seq - first_seq < count {
            return Ok(Some((index, leaf)));
        }
    }
    Ok(None)
}

type Found = (u64, Vec<u8>, u64, u64);

/// The batches of a partition in some bundles: index, leaf, first entry and count.
fn batches(
    log: &Log<'_>,
    partition: u32,
    bundles: std::ops::Range<u64>,
) -> impl Iterator<Item = Result<Found, Refused>> {
    let leaves = move |bundle| {
        let leaves =
            log.bundle(bundle).map_or_else(|refused| vec![Err(refused)], |all| all.into_iter().map(Ok).collect());
        (bundle * WIDTH..).zip(leaves)
    };
    bundles.flat_map(leaves).filter_map(move |(index, leaf)| {
        let read = leaf.and_then(|leaf| Ok((Seal::from_leaf(&leaf)?, leaf)));
        match read {
            Ok((Seal::Batch { partition: of, first_seq, count, .. }, leaf)) if of == partition => {
                Some(Ok((index, leaf, first_seq, count)))
            }
            Ok(_) => None,
            Err(refused) => Some(Err(refused)),
        }
    })
}
