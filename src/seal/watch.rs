//! [`Watcher`]: looks at the log of seals again and again, at its tail and by and by at all of its past, and says what is
//! not as it was.
//!
//! One turn: 1. The checkpoint: signed as it must be, and going on from the one that is remembered. 2. Its new seals, and
//! the entries that they cover. 3. The newest batch of each partition once more: a tail is what gets cut. 4. As many older
//! entries as the budget allows, going round; the cold store's manifest, and some of its
//! files. 5. What is committed and not sealed: it must
//! follow, and not wait for long.

use super::follow::{MAX_BATCH_ENTRIES, follow};
use super::sealer::SealError;
use super::verify::{check_batch, check_files, check_manifest, tampered};
use crate::cold::{ColdStore, Tampered};
use crate::ports::{OutputLog, PortError};
use evenkeel_schemas::Dataset;
use evenkeel_schemas::audit::{Audited, Checkpoint, Fetch, Log, Refused, Seal, Trust};
use std::collections::BTreeMap;

/// Bytes of cold files that are hashed in a turn, about: a few hundredths of a second.
const FILE_BUDGET_BYTES: u64 = 32 << 20;

/// What a watcher found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Something is not what it was.
    Tampered(Tampered),
    /// Committed entries wait for a seal, or the checkpoint for a cosignature, longer than they may: who seals is gone, or
    /// kept from it.
    Stale(String),
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tampered(tampered) => write!(f, "tampered: {tampered}"),
            Self::Stale(why) => write!(f, "stale: {why}"),
        }
    }
}

/// How a watcher watches.
#[derive(Clone, Debug)]
pub struct Watch {
    /// Whom it trusts.
    pub trust: Trust,
    /// The name in the chains' beginnings.
    pub origin: String,
    /// Older entries that are followed again in a turn, about.
    pub budget: u64,
    /// How long something may wait, s.
    pub stale_s: u64,
}

/// What was found, and how far the round through the past got.
#[derive(Clone, Debug, Default)]
pub struct Turn {
    /// What is wrong, first things first.
    pub findings: Vec<Finding>,
    /// Entries that were followed.
    pub entries: u64,
    /// Seals of the log.
    pub seals: u64,
    /// The next seal that the round looks at.
    pub at: u64,
}

/// Watches one log.
pub struct Watcher {
    watch: Watch,
    remembered: Option<Checkpoint>,
    audited: Audited,
    newest: BTreeMap<u32, (u64, Seal)>,
    cursor: u64,
    file_cursor: usize,
    last_now_s: u64,
}

impl Watcher {
    /// A watcher that remembers the checkpoint of an earlier one, if it is given.
    pub fn new(watch: Watch, remembered: Option<Checkpoint>) -> Self {
        let (audited, newest) = (Audited::default(), BTreeMap::new());
        Self { watch, remembered, audited, newest, cursor: 0, file_cursor: 0, last_now_s: 0 }
    }

    /// The last checkpoint that was all right: to be kept where whoever writes the log cannot reach it.
    pub fn remembered(&self) -> Option<&Checkpoint> {
        self.remembered.as_ref()
    }

    /// Looks once; `now_s` is the time, s since the Unix epoch.
    ///
    /// # Errors
    /// If somebody cannot be reached: nothing was found, and nothing was found to be well.
    pub fn turn(
        &mut self,
        files: &dyn Fetch,
        rows: &mut dyn OutputLog,
        cold: Option<&dyn ColdStore>,
        now_s: u64,
    ) -> Result<Turn, PortError> {
        let mut turn = Turn::default();
        if now_s < self.last_now_s {
            let back = self.last_now_s - now_s;
            turn.findings
                .push(Finding::Stale(format!("the clock stepped back by {back} s: times are not to be trusted")));
        }
        self.last_now_s = now_s;
        let looked = self.look(files, rows, cold, now_s, &mut turn);
        match looked {
            Ok(()) => {}
            Err(SealError::Tampered(tampered)) => turn.findings.push(Finding::Tampered(tampered)),
            Err(SealError::Port(error)) => return Err(error),
        }
        turn.at = self.cursor;
        Ok(turn)
    }

    fn look(
        &mut self,
        files: &dyn Fetch,
        rows: &mut dyn OutputLog,
        cold: Option<&dyn ColdStore>,
        now_s: u64,
        turn: &mut Turn,
    ) -> Result<(), SealError> {
        let log = Log::open(files, &self.watch.trust).map_err(tampered)?;
        turn.seals = log.size();
        self.check_history(&log)?;
        turn.entries += self.check_new(&log, rows)?;
        for (index, seal) in self.newest.values() {
            turn.entries += check_batch(*index, seal, rows, &self.audited.minimums)?;
        }
        if let Some(cold) = cold {
            check_manifest(&self.audited, cold)?;
            check_files(cold, &mut self.file_cursor, FILE_BUDGET_BYTES)?;
        }
        turn.entries += self.check_past(&log, rows)?;
        self.check_waiting(rows, now_s, turn)?;
        if let Some(age_s) = log.trusted.cosigned_s.first().map(|at_s| now_s.saturating_sub(*at_s))
            && age_s > self.watch.stale_s
        {
            turn.findings.push(Finding::Stale(format!("the checkpoint was cosigned {age_s} s ago")));
        }
        self.remembered = Some(log.trusted.checkpoint.clone());
        Ok(())
    }

    /// The log goes on from what is remembered.
    fn check_history(&self, log: &Log<'_>) -> Result<(), SealError> {
        let Some(Checkpoint { size, root, .. }) = &self.remembered else { return Ok(()) };
        let forked = |why: String| tampered(Refused(why));
        if log.size() < *size {
            let now = log.size();
            return Err(forked(format!("the log shrank from {size} to {now} seals: it was rolled back")));
        }
        if log.root(*size).map_err(tampered)? != *root {
            return Err(forked(format!("the first {size} seals are not those that were seen: the log was forked")));
        }
        Ok(())
    }

    /// Seals that were not seen yet, and their entries.
    fn check_new(&mut self, log: &Log<'_>, rows: &mut dyn OutputLog) -> Result<u64, SealError> {
        if log.root(log.size()).map_err(tampered)? != log.trusted.checkpoint.root {
            return Err(tampered(Refused("the tiles do not lead to the checkpoint's root".to_owned())));
        }
        let (mut audited, mut newest, mut entries) = (self.audited.clone(), self.newest.clone(), 0);
        for index in self.audited.seals..log.size() {
            let seal = log.seal(index).map_err(tampered)?;
            audited.follow(&self.watch.origin, &seal).map_err(tampered)?;
            entries += check_batch(index, &seal, rows, &audited.minimums)?;
            if let Seal::Batch { partition, .. } = seal {
                newest.insert(partition, (index, seal));
            }
        }
        (self.audited, self.newest) = (audited, newest);
        Ok(entries)
    }

    /// Goes on with the round through the past.
    fn check_past(&mut self, log: &Log<'_>, rows: &mut dyn OutputLog) -> Result<u64, SealError> {
        let (mut entries, mut looked) = (0, 0);
        while entries < self.watch.budget && looked < log.size() {
            if self.cursor >= log.size() {
                self.cursor = 0;
            }
            let seal = log.seal(self.cursor).map_err(tampered)?;
            entries += check_batch(self.cursor, &seal, rows, &self.audited.minimums)?;
            (self.cursor, looked) = (self.cursor + 1, looked + 1);
        }
        Ok(entries)
    }

    /// What is committed and not sealed: the next batch of each partition.
    fn check_waiting(&self, rows: &mut dyn OutputLog, now_s: u64, turn: &mut Turn) -> Result<(), SealError> {
        for partition in rows.partitions(Dataset::Audit)? {
            let (mut chain, offset) = self.audited.stands(&self.watch.origin, partition);
            let oldest = rows.read(Dataset::Audit, partition, offset, 1)?.first().map(|row| row.at_us);
            let waiting = follow(rows, (partition, offset), &mut chain, MAX_BATCH_ENTRIES, |_, _, _| {})?;
            let Some((oldest_us, waiting)) = oldest.zip(waiting) else { continue };
            turn.entries += waiting.batch.count();
            let age_s = now_s.saturating_sub(u64::try_from(oldest_us / 1_000_000).unwrap_or(0));
            if age_s > self.watch.stale_s {
                let count = waiting.batch.count();
                let why = format!("{count} entries of partition {partition} wait for a seal, the first for {age_s} s");
                turn.findings.push(Finding::Stale(why));
            }
        }
        Ok(())
    }
}
