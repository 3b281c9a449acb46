//! [`Sealer`]: follows what is committed, appends seals, signs checkpoints.
//!
//! Steps of a turn, and what a crash after each leaves: 1. follow the log (nothing). 2. Tiles and bundles (files that no
//! checkpoint covers; written anew). 3. The signed checkpoint, in place of the one before (all of it, durably). 4.
//! Cosignatures, in place of that (a checkpoint with fewer of them; asked for again). A witness never sees a checkpoint
//! that could be lost. 5. Now and then where the sealer stands, signed (an older one: a start reads more seals).

use super::files;
use super::follow::{MAX_BATCH_ENTRIES, follow};
use super::signer::{Signer, sign_note};
use super::state::{EVERY, recall, remember};
use super::tiles::Edge;
use super::verify::check_manifest;
use crate::cold::{ColdStore, Manifest, Tampered};
use crate::ports::{OutputLog, PortError};
use evenkeel_schemas::Dataset;
use evenkeel_schemas::audit::tile::{CHECKPOINT, WIDTH};
use evenkeel_schemas::audit::{Audited, Checkpoint, HANDOVERS, Log, Note, Refused, Seal, Trust, VerifierKey, handover};

/// Seals of a checkpoint at most; what is left comes with the next.
const MAX_SEALS: usize = 1024;

/// Why a turn of the sealer failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SealError {
    /// The log is not what was committed; nothing of it was sealed.
    Tampered(Tampered),
    /// The world failed: open the sealer again.
    Port(PortError),
}

impl std::fmt::Display for SealError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tampered(tampered) => write!(f, "{tampered}"),
            Self::Port(error) => write!(f, "{error}"),
        }
    }
}

/// What a turn did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Audit entries it sealed.
    pub entries: u64,
    /// Lines of the cold store's manifest it sealed.
    pub segments: u64,
}

/// The one writer of a log of seals.
pub struct Sealer {
    store: Box<dyn ColdStore>,
    signer: Box<dyn Signer>,
    origin: String,
    edge: Edge,
    audited: Audited,
    note: Option<Note>,
    /// Seals when it was last signed where the sealer stands.
    stated: u64,
}

impl Sealer {
    /// Takes over the log in `store`, which may be empty. `origin` is the name in the chains' beginnings. It goes on from
    /// where this key signed that it stands, after checking that the tiles lead there and the seals since then to the
    /// checkpoint; without such a signature it verifies all of the log.
    ///
    /// # Errors
    /// `Fatal` if the log was tampered with, or its checkpoint is not signed by `signer`'s key.
    pub fn open(store: Box<dyn ColdStore>, signer: Box<dyn Signer>, origin: &str) -> Result<Self, PortError> {
        let (mut edge, mut audited, mut note, mut stated) = (Edge::default(), Audited::default(), None, 0);
        if store.get(CHECKPOINT)?.is_some() {
            let trust = Trust::in_key(signer.key().clone()).map_err(fatal)?;
            let files = files(store.as_ref());
            let log = Log::open(&files, &trust).map_err(fatal)?;
            if log.key != *signer.key() {
                return Err(fatal(Refused(format!("it was handed over to the key {}: seal with that one", log.key))));
            }
            if let Some(stood) = recall(store.as_ref(), &log, origin)? {
                (edge, audited) = stood;
                stated = edge.size();
                catch_up(&log, origin, &mut edge, &mut audited).map_err(fatal)?;
            } else {
                let verified = log.verify(origin, |_, seal| {
                    edge.push(&seal.to_leaf(), |_, _| {});
                    Ok(())
                });
                audited = verified.map_err(fatal)?;
            }
            if edge.root() != log.trusted.checkpoint.root {
                let why =
                    "the seals do not lead to the checkpoint's root: one was changed, or written by another version";
                return Err(fatal(Refused(why.to_owned())));
            }
            note = Some(log.note.clone());
        }
        Ok(Self { store, signer, origin: origin.to_owned(), edge, audited, note, stated })
    }

    /// The newest checkpoint; `None` before the first.
    pub fn checkpoint(&self) -> Option<&Note> {
        self.note.as_ref()
    }

    /// Number of seals.
    pub fn size(&self) -> u64 {
        self.edge.size()
    }

    /// What is sealed.
    pub fn audited(&self) -> &Audited {
        &self.audited
    }

    /// The files of the log.
    pub fn store(&self) -> &dyn ColdStore {
        self.store.as_ref()
    }

    /// Seals what was committed since the last turn, in `log` and in the manifest of `cold`, and signs a checkpoint over
    /// it. Nothing new, nothing done.
    ///
    /// # Errors
    /// [`SealError::Tampered`] if it does not follow what is sealed: nothing is sealed then. After [`SealError::Port`] open
    /// the sealer again.
    pub fn turn(&mut self, log: &mut dyn OutputLog, cold: Option<&dyn ColdStore>) -> Result<Progress, SealError> {
        let (mut seals, mut progress) = (Vec::new(), Progress::default());
        let mut partitions = log.partitions(Dataset::Audit)?;
        // One that is gone altogether is looked at, too.
        partitions.extend(self.audited.chains.keys());
        partitions.sort_unstable();
        partitions.dedup();
        for partition in partitions {
            let (mut chain, mut offset) = self.audited.stands(&self.origin, partition);
            while seals.len() < MAX_SEALS {
                let at = (partition, offset);
                let Some(batch) = follow(log, at, &mut chain, MAX_BATCH_ENTRIES, |_, _, _| {})? else { break };
                offset = batch.next_offset;
                progress.entries += batch.batch.count();
                seals.push(batch.seal(&chain));
            }
        }
        if let Some(cold) = cold {
            let segments = self.segments(cold, MAX_SEALS.saturating_sub(seals.len()))?;
            progress.segments = segments.len() as u64;
            seals.extend(segments);
            // What is dropped is new only where something is: a line, or the entries that it waited for.
            if !seals.is_empty() {
                let minimums = self.minimums(cold, &seals)?;
                seals.extend(minimums);
            }
        }
        if !seals.is_empty() {
            self.append(&seals, None)?;
        }
        Ok(progress)
    }

    /// The lines of the manifest that are not sealed yet, after making sure that those that are stand there still.
    fn segments(&self, cold: &dyn ColdStore, limit: usize) -> Result<Vec<Seal>, SealError> {
        let hashes = check_manifest(&self.audited, cold)?;
        let new = hashes.into_iter().enumerate().skip(self.audited.manifest.len()).take(limit);
        Ok(new.map(|(line, sha256)| Seal::Segment { line: line as u64, sha256 }).collect())
    }

    /// What the manifest says is no longer kept, once it is sealed: the oldest entry that is left of each partition.
    fn minimums(&self, cold: &dyn ColdStore, seals: &[Seal]) -> Result<Vec<Seal>, SealError> {
        let mut audited = self.audited.clone();
        for seal in seals {
            audited.follow(&self.origin, seal).expect("what was followed follows");
        }
        let mut minimums = Vec::new();
        for segment in Manifest::load(cold)?.unwrap_or_default().segments {
            let (partition, seq) = (segment.partition, segment.last.saturating_add(1));
            let is_known = audited.chains.get(&partition).is_some_and(|chain| seq <= chain.next_seq());
            let is_new = audited.minimums.get(&partition).is_none_or(|minimum| *minimum < seq);
            if segment.dataset.is_audit() && segment.dropped && is_known && is_new {
                let seal = Seal::Minimum { partition, seq };
                audited.follow(&self.origin, &seal).expect("it is above the last, and not above what is sealed");
                minimums.push(seal);
            }
        }
        Ok(minimums)
    }

    /// Appends seals and signs; `also` signs beside the log's key.
    fn append(&mut self, seals: &[Seal], also: Option<&mut dyn Signer>) -> Result<(), PortError> {
        let mut audited = self.audited.clone();
        for seal in seals {
            audited.follow(&self.origin, seal).expect("what was followed follows");
        }
        let leaves = seals.iter().map(Seal::to_leaf).collect::<Vec<_>>();
        self.edge.append(&leaves, self.store.as_ref())?;
        // A crash here leaves tiles that no checkpoint covers.
        let origin = self.signer.key().name().to_owned();
        let checkpoint = Checkpoint { origin, size: self.edge.size(), root: self.edge.root() };
        let mut note = Note { text: checkpoint.to_string(), signatures: Vec::new() };
        sign_note(&mut note, self.signer.as_mut())?;
        also.map_or(Ok(()), |signer| sign_note(&mut note, signer))?;
        self.publish(note)?;
        self.audited = audited;
        if self.edge.size() - self.stated >= EVERY {
            remember(self.store.as_ref(), self.signer.as_mut(), &self.origin, (&self.edge, &self.audited))?;
            self.stated = self.edge.size();
        }
        Ok(())
    }

    /// Puts a note in place of the checkpoint: a newer one, or the same with more signatures.
    ///
    /// # Errors
    /// As [`ColdStore::replace`]: `Fenced` if another sealer wrote to this log.
    pub fn publish(&mut self, note: Note) -> Result<(), PortError> {
        let before = self.note.as_ref().map(|note| note.to_string().into_bytes());
        self.store.replace(CHECKPOINT, before.as_deref(), note.to_string().as_bytes())?;
        self.note = Some(note);
        Ok(())
    }

    /// Hands the log over to another key of the same name: its seal, in a checkpoint that both keys sign. The log goes on
    /// with the new one.
    ///
    /// # Errors
    /// `Fatal` if the name is another one; else as a turn's.
    pub fn hand_over(mut self, mut to: Box<dyn Signer>, reason: &str) -> Result<Self, PortError> {
        let (from, key) = (self.signer.key(), to.key().to_string());
        if from.name() != to.key().name() || from.kind() != to.key().kind() {
            let name = from.name();
            return Err(PortError::Fatal(format!("the new key is not of the log {name}: give it that name")));
        }
        self.append(&[Seal::Key { key, reason: reason.to_owned() }], Some(to.as_mut()))?;
        // A crash here leaves a checkpoint that both keys sign, and no handover: verifiers of the old key still follow,
        // and `rotate` with both keys again writes another one.
        let size = self.edge.size();
        let note = self.note.as_ref().expect("just appended").to_string();
        self.store.put(&handover(size), note.as_bytes())?;
        let mut sizes = self.store.get(HANDOVERS)?.unwrap_or_default();
        sizes.extend(format!("{size}\n").into_bytes());
        self.store.put(HANDOVERS, &sizes)?;
        // What the old key signed of where the sealer stands counts no more.
        (self.signer, self.stated) = (to, 0);
        Ok(self)
    }

    /// The key that signs.
    pub fn key(&self) -> &VerifierKey {
        self.signer.key()
    }
}

/// Takes in the seals that follow the edge.
fn catch_up(log: &Log<'_>, origin: &str, edge: &mut Edge, audited: &mut Audited) -> Result<(), Refused> {
    let first = edge.size() / WIDTH;
    for bundle in first..log.size().div_ceil(WIDTH) {
        let known = edge.size() - bundle * WIDTH;
        for leaf in log.bundle(bundle)?.iter().skip(known as usize) {
            audited.follow(origin, &Seal::from_leaf(leaf)?)?;
            edge.push(leaf, |_, _| {});
        }
    }
    Ok(())
}

fn fatal(Refused(why): Refused) -> PortError {
    PortError::Fatal(format!("the log of seals: {why}"))
}
