//! The committed log, partition by partition, into the table.

use crate::mirror::check::{Check, Wrong};
use crate::mirror::table::Table;
use evenkeel::ports::{OutputLog, PortError};
use evenkeel_schemas::Dataset;
use evenkeel_schemas::audit::{Entry, Hash, genesis};
use evenkeel_schemas::mirror::Row;
use std::collections::BTreeMap;

/// Entries that are read and inserted at a time.
const BATCH: usize = 1_000;

/// Batches of one partition in one go, so that none keeps the others waiting.
const TURNS: usize = 64;

/// Rows that are checked at a time.
const PAGE: i64 = 5_000;

/// How far a partition was copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Progress {
    /// The number of the next entry.
    next_seq: u64,
    /// The link of the last one, as the log has it.
    head: Hash,
    /// The offset to read next.
    offset: u64,
    /// The last row of the table that was not compared with the log yet.
    unsure: Option<Hash>,
}

/// Copies the log.
pub struct Copier<L> {
    log: L,
    origin: String,
    partitions: BTreeMap<u32, Progress>,
}

impl<L: OutputLog> Copier<L> {
    /// From this log, whose chain has this origin.
    pub fn new(log: L, origin: &str) -> Self {
        Self { log, origin: origin.to_owned(), partitions: BTreeMap::new() }
    }

    /// Copies what was committed since; returns how many rows, and what was found wrong with rows that were there.
    ///
    /// # Errors
    /// `Retry` if log or table cannot be reached now; `Fatal` if the log holds what is no entry, or no longer holds what
    /// was not copied yet.
    pub fn copy(&mut self, table: &mut Table) -> Result<(u64, Vec<Wrong>), PortError> {
        let (mut copied, mut wrong) = (0, Vec::new());
        for partition in self.log.partitions(Dataset::Audit)? {
            let mut progress = match self.partitions.get(&partition) {
                Some(progress) => *progress,
                None => self.begin(table, partition)?,
            };
            for _ in 0..TURNS {
                let Some(rows) = self.read(partition, &mut progress, &mut wrong)? else { break };
                let inserted = table.insert(&rows)?;
                if inserted < rows.len() as u64 {
                    wrong.extend(compare(table, partition, &rows)?);
                }
                copied += inserted;
                // Crash before this line: the rows are found in the table again.
                self.partitions.insert(partition, progress);
            }
            self.partitions.insert(partition, progress);
        }
        Ok((copied, wrong))
    }

    fn begin(&mut self, table: &mut Table, partition: u32) -> Result<Progress, PortError> {
        let start = Progress { next_seq: 0, head: genesis(&self.origin, partition), offset: 0, unsure: None };
        let Some((seq, hash)) = table.last(partition)? else { return Ok(start) };
        // The last row is compared with its entry, which is read again. A number that the log does not reach is nobody's:
        // then everything is gone through from the beginning, and what is there already is compared.
        let reached = self.log.read(Dataset::Audit, partition, seq, 1)?;
        let reached = reached.first().and_then(|record| Entry::open(&record.value).ok());
        let is_reached = reached.is_some_and(|(entry, _)| entry.seq <= seq);
        Ok(if is_reached { Progress { next_seq: seq, offset: seq, unsure: Some(hash), ..start } } else { start })
    }

    /// The next rows; `None` at the end of the log.
    fn read(
        &mut self,
        partition: u32,
        progress: &mut Progress,
        wrong: &mut Vec<Wrong>,
    ) -> Result<Option<Vec<Row>>, PortError> {
        let records = self.log.read(Dataset::Audit, partition, progress.offset, BATCH)?;
        let Some(last) = records.last() else { return Ok(None) };
        progress.offset = last.offset + 1;
        let mut rows = Vec::new();
        for record in &records {
            let (entry, current_hash) = Entry::open(&record.value).map_err(|error| {
                PortError::Fatal(format!("audit partition {partition} offset {}: {error}", record.offset))
            })?;
            if entry.seq > progress.next_seq {
                return Err(PortError::Fatal(format!(
                    "audit partition {partition} goes on with number {}, and {} comes next: entries expired before they were \
                     copied; raise retention of the topic, and begin a new table",
                    entry.seq, progress.next_seq
                )));
            }
            if entry.seq < progress.next_seq {
                progress.head = current_hash;
            } else if let Some(known) = progress.unsure.take() {
                if known != current_hash {
                    let what = "it is not the entry that the log has under this number";
                    wrong.push(Wrong { partition, seq: entry.seq, op: "tamper", what });
                }
                (progress.next_seq, progress.head) = (entry.seq + 1, current_hash);
            } else {
                let previous_hash = progress.head;
                (progress.next_seq, progress.head) = (entry.seq + 1, current_hash);
                rows.push(Row { entry, previous_hash, current_hash });
            }
        }
        Ok(Some(rows))
    }

    /// Whether a row lies behind the last one that was copied: the one there, if so.
    ///
    /// # Errors
    /// `Retry` if the table cannot be reached now.
    pub fn ahead(&self, table: &mut Table) -> Result<Vec<Wrong>, PortError> {
        let mut wrong = Vec::new();
        for (partition, progress) in self.sure() {
            let beyond = table.last(partition)?.filter(|(seq, _)| *seq >= progress.next_seq);
            let what = "nobody copied this row: the log has no such entry yet";
            wrong.extend(beyond.map(|(seq, _)| Wrong { partition, seq, op: "forged", what }));
        }
        Ok(wrong)
    }

    /// Follows the chain over every row that was copied; returns how many there are, and what was found.
    ///
    /// # Errors
    /// `Retry` if the table cannot be reached now.
    pub fn verify(&self, table: &mut Table) -> Result<(u64, Vec<Wrong>), PortError> {
        let (mut rows, mut wrong) = (0, Vec::new());
        for (partition, progress) in self.sure() {
            let (mut check, mut from) = (Check::new(&self.origin, partition), 0);
            loop {
                let page = table.rows(partition, from, PAGE)?;
                wrong.extend(page.iter().filter_map(|row| check.row(row)));
                rows += page.len() as u64;
                if (page.len() as i64) < PAGE {
                    break;
                }
                from = check.next_seq();
            }
            wrong.extend(check.end(progress.next_seq, progress.head));
        }
        let known = self.partitions.keys().copied().collect::<Vec<_>>();
        let what = "no partition of the log has such a row";
        let stranger = |(partition, seq)| Wrong { partition, seq, op: "forged", what };
        wrong.extend(table.strangers(&known)?.into_iter().map(stranger));
        Ok((rows, wrong))
    }

    /// The partitions whose last row was compared with the log.
    fn sure(&self) -> impl Iterator<Item = (u32, Progress)> {
        let sure = self.partitions.iter().filter(|(_, progress)| progress.unsure.is_none());
        sure.map(|(partition, progress)| (*partition, *progress))
    }
}

/// Rows that should have been inserted, and some of which were there already: those that differ.
fn compare(table: &mut Table, partition: u32, rows: &[Row]) -> Result<Vec<Wrong>, PortError> {
    let Some(first) = rows.first() else { return Ok(Vec::new()) };
    let there = table.rows(partition, first.entry.seq, rows.len() as i64)?;
    let differ = there.iter().zip(rows).filter(|(there, row)| there.as_ref() != Ok(row));
    let what = "a row was there before it was copied, and is not the entry of the log";
    Ok(differ.map(|(_, row)| Wrong { partition, seq: row.entry.seq, op: "forged", what }).collect())
}
