//! The audit chain in the embedded log: every stored link, and that the cold segments are made of it.

use super::compactor::explain;
use super::verify::{Failure, Followed, Tampered};
use crate::embedded::EmbeddedOutputs;
use crate::ports::{OutputLog, PortError, Row};
use evenkeel_schemas::Dataset;
use evenkeel_schemas::audit::{Chain, ORIGIN, View};
use std::collections::BTreeSet;
use std::path::Path;

/// Rows read at a time.
const READ_ROWS: usize = 4096;

/// Follows the chain of each audit partition of a data directory; `cold` says where the segments' chains ended, and is
/// taken to where the log's end.
pub fn verify_log(directory: &Path, cold: &mut Followed) -> Result<(), Failure> {
    if !directory.join("commits").exists() {
        return Err(tampered(None, None, "the manifest of commits is missing"));
    }
    let mut log = EmbeddedOutputs::new(directory);
    // Partition 0 always: looking for its rows reads every frame.
    let mut partitions = log.partitions(Dataset::Audit).map_err(damage)?.into_iter().collect::<BTreeSet<_>>();
    partitions.extend(cold.chains.keys().chain(&[0]));
    for partition in partitions {
        let chain = follow_partition(&mut log, partition, cold)?;
        if chain.next_seq() > 0 {
            cold.chains.insert(partition, chain);
        }
    }
    Ok(())
}

fn follow_partition(log: &mut EmbeddedOutputs, partition: u32, cold: &Followed) -> Result<Chain, Failure> {
    let (mut chain, mut offset) = (Chain::new(ORIGIN, partition), 0);
    loop {
        let rows = log.read(Dataset::Audit, partition, offset, READ_ROWS).map_err(damage)?;
        let Some(last) = rows.last() else { break };
        offset = last.offset + 1;
        for row in &rows {
            follow_row(row, partition, &mut chain)?;
            let head = cold.heads.get(&(partition, chain.next_seq()));
            if head.is_some_and(|head| *head != chain.head()) {
                let why = "the log's chain is another one than that of the cold segments";
                return Err(tampered(Some(partition), Some(chain.next_seq() - 1), why));
            }
        }
    }
    if cold.chains.get(&partition).is_some_and(|frozen| frozen.next_seq() > chain.next_seq()) {
        let why = "the log ends before the cold segments do: its tail was cut off";
        return Err(tampered(Some(partition), Some(chain.next_seq()), why));
    }
    Ok(chain)
}

fn follow_row(row: &Row, partition: u32, chain: &mut Chain) -> Result<(), Failure> {
    let next_seq = chain.next_seq();
    let bad = |why: &str| {
        let why = format!("the record at offset {}: {why}", row.offset);
        tampered(Some(partition), Some(next_seq), &why)
    };
    let (entry, envelope, link) = View::open(&row.value).map_err(|error| bad(&error.to_string()))?;
    if row.key != entry.entity.as_bytes() {
        return Err(bad("its key is not the entity"));
    }
    let followed = chain.follow_envelope(&entry, envelope, Some(link));
    followed.map_err(|broken| bad(&explain(broken, &entry, next_seq)))
}

fn damage(error: PortError) -> Failure {
    match error {
        PortError::Fatal(why) => tampered(None, None, &why),
        other => other.into(),
    }
}

fn tampered(partition: Option<u32>, seq: Option<u64>, why: &str) -> Failure {
    Failure::Tampered(Tampered { partition, seq, file: "outputs".to_owned(), why: why.to_owned() })
}
