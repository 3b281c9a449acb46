//! Following the committed audit log: rows in, the next batch of a partition out.

use super::sealer::SealError;
use crate::cold::{Tampered, explain};
use crate::ports::{OutputLog, PortError};
use evenkeel_schemas::Dataset;
use evenkeel_schemas::audit::{Batch, Chain, Hash, Seal, View};

/// Entries of a batch at most: a proof's way to its seal has 16 hashes then.
pub const MAX_BATCH_ENTRIES: u64 = 65_536;

/// Rows read at a time.
const READ_ROWS: usize = 4096;

/// A batch that was followed link by link.
pub struct Followed {
    /// Its links.
    pub batch: Batch,
    /// The epoch of its last entry, and when that happened.
    pub last: (u64, i64),
    /// Where reading goes on.
    pub next_offset: u64,
}

impl Followed {
    /// Its seal; `chain` is the one that followed it.
    pub fn seal(&self, chain: &Chain) -> Seal {
        self.batch.seal(chain, self.last, self.next_offset)
    }
}

/// Follows the entries of a partition from `offset`, at most `limit` of them; hands each record, its number and the link
/// before it to `each`. `None` if there are none.
///
/// # Errors
/// [`SealError::Tampered`] at the first entry that does not follow.
pub fn follow(
    log: &mut dyn OutputLog,
    (partition, offset): (u32, u64),
    chain: &mut Chain,
    limit: u64,
    mut each: impl FnMut(&[u8], u64, Hash),
) -> Result<Option<Followed>, SealError> {
    let mut followed = Followed { batch: Batch::after(partition, chain, offset), last: (0, 0), next_offset: offset };
    while followed.batch.count() < limit {
        let rows = READ_ROWS.min((limit - followed.batch.count()) as usize);
        let rows = log.read(Dataset::Audit, partition, followed.next_offset, rows).map_err(|error| {
            // What cannot be read where it was read before is not what it was.
            let (partition, seq, file) = (Some(partition), Some(chain.next_seq()), Dataset::Audit.topic().to_owned());
            match error {
                PortError::Fatal(why) => SealError::Tampered(Tampered { partition, seq, file, why }),
                other => SealError::Port(other),
            }
        })?;
        let Some(last) = rows.last() else { break };
        followed.next_offset = last.offset + 1;
        for row in &rows {
            let (next_seq, before) = (chain.next_seq(), chain.head());
            let tampered = |why: &str| Tampered {
                partition: Some(partition),
                seq: Some(next_seq),
                file: format!("{} offset {}", Dataset::Audit.topic(), row.offset),
                why: why.to_owned(),
            };
            let (entry, envelope, link) = View::open(&row.value).map_err(|error| tampered(&error.to_string()))?;
            if row.key != entry.entity.as_bytes() {
                return Err(tampered("its key is not the entity").into());
            }
            let followed_on = chain.follow_envelope(&entry, envelope, Some(link));
            followed_on.map_err(|broken| tampered(&explain(broken, &entry, next_seq)))?;
            each(&row.value, next_seq, before);
            followed.batch.push(*link);
            followed.last = (entry.epoch, entry.ts_us);
        }
    }
    Ok(Some(followed).filter(|followed| followed.batch.count() > 0))
}

/// Follows a partition from `offset` to its end, and hands every record to `each`.
///
/// # Errors
/// As [`follow`].
pub fn follow_all(
    log: &mut dyn OutputLog,
    (partition, mut offset): (u32, u64),
    chain: &mut Chain,
    mut each: impl FnMut(&[u8]),
) -> Result<(), SealError> {
    while let Some(batch) = follow(log, (partition, offset), chain, MAX_BATCH_ENTRIES, |record, _, _| each(record))? {
        offset = batch.next_offset;
    }
    Ok(())
}

impl From<Tampered> for SealError {
    fn from(tampered: Tampered) -> Self {
        Self::Tampered(tampered)
    }
}

impl From<PortError> for SealError {
    fn from(error: PortError) -> Self {
        Self::Port(error)
    }
}
