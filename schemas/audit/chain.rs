//! The audit chain: `hash = SHA256(envelope ‖ previous hash)`, one chain per audit partition (law L7).
//!
//! The envelope is fixed, length-prefixed and big-endian, around the payload as received:
//! `"audit/v1\0" ‖ u32 partition ‖ u64 epoch ‖ u64 seq ‖ i64 ts_us ‖ lp(event_type) ‖ lp(table) ‖ lp(op) ‖ lp(actor) ‖
//! lp(entity) ‖ lp(payload)`, where `lp` is a u32 length and the bytes. The previous hash is 32 raw bytes, so the
//! concatenation is unambiguous; before the first entry it is [`genesis`].
//!
//! # Decision
//! Not canonical JSON (its numbers are doubles), not re-encoded Protocol Buffers (not canonical), never plain
//! concatenation (`"ab" + "c"` = `"a" + "bc"`). Every column that can be queried is in the envelope.

use sha2::{Digest, Sha256};

/// A link of the chain.
pub type Hash = [u8; 32];

/// The origin in [`genesis`], unless another is configured.
pub const ORIGIN: &str = "evenkeel";

const DOMAIN: &[u8] = b"audit/v1\0";

/// One entry of the audit log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// The audit partition.
    pub partition: u32,
    /// The epoch in which it was chained.
    pub epoch: u64,
    /// Its number in its partition, from 0, without gaps.
    pub seq: u64,
    /// When it happened, µs since the Unix epoch.
    pub ts_us: i64,
    /// `change`, `verdict`, `incident`, `command`, `control`, `outcome`; `finding`, `access`, `configuration`, `erasure`.
    pub event_type: String,
    /// The table or dataset it is about.
    pub table: String,
    /// What was done, e.g. `c`, `u`, `d`, `fire`, `open`, `trip_circuit`.
    pub op: String,
    /// Who did it.
    pub actor: String,
    /// What it was done to.
    pub entity: String,
    /// The bytes themselves.
    pub payload: Vec<u8>,
}

/// An entry where it lies: what verifies millions of them reads no more than it must.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are those of Entry")]
pub struct View<'a> {
    pub partition: u32,
    pub epoch: u64,
    pub seq: u64,
    pub ts_us: i64,
    pub event_type: &'a str,
    pub table: &'a str,
    pub op: &'a str,
    pub actor: &'a str,
    pub entity: &'a str,
    pub payload: &'a [u8],
}

/// Why bytes are no audit record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("not an audit record: the envelope of audit/v1 does not fit the bytes")
    }
}

impl std::error::Error for Malformed {}

/// What precedes the first entry of a partition: `SHA256("evenkeel/audit/v1\0" ‖ lp(origin) ‖ u32 partition)`.
pub fn genesis(origin: &str, partition: u32) -> Hash {
    let mut bytes = b"evenkeel/audit/v1\0".to_vec();
    write_lp(&mut bytes, origin.as_bytes());
    bytes.extend(partition.to_be_bytes());
    Sha256::digest(bytes).into()
}

/// The link after `previous` for an entry with this envelope.
pub fn link(envelope: &[u8], previous: &Hash) -> Hash {
    Sha256::new_with_prefix(envelope).chain_update(previous).finalize().into()
}

impl Entry {
    /// The entry where it lies.
    pub fn view(&self) -> View<'_> {
        View {
            partition: self.partition,
            epoch: self.epoch,
            seq: self.seq,
            ts_us: self.ts_us,
            event_type: &self.event_type,
            table: &self.table,
            op: &self.op,
            actor: &self.actor,
            entity: &self.entity,
            payload: &self.payload,
        }
    }

    /// The envelope: the bytes that are hashed.
    pub fn envelope(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128 + self.payload.len());
        self.view().write_envelope(&mut out);
        out
    }

    /// The record as it lies in the log: the envelope and the 32 bytes of its link.
    pub fn seal(&self, previous: &Hash) -> (Vec<u8>, Hash) {
        let mut record = self.envelope();
        let hash = link(&record, previous);
        record.extend(hash);
        (record, hash)
    }

    /// Reads a record of the log back into its entry and its stored link.
    ///
    /// # Errors
    /// [`Malformed`] if the bytes are not exactly one envelope and 32 bytes.
    pub fn open(record: &[u8]) -> Result<(Self, Hash), Malformed> {
        let (view, _, hash) = View::open(record)?;
        Ok((view.to_entry(), *hash))
    }
}

impl<'a> View<'a> {
    /// Appends the envelope: the bytes that are hashed.
    pub fn write_envelope(&self, out: &mut Vec<u8>) {
        out.extend(DOMAIN);
        out.extend(self.partition.to_be_bytes());
        out.extend(self.epoch.to_be_bytes());
        out.extend(self.seq.to_be_bytes());
        out.extend(self.ts_us.to_be_bytes());
        for text in [self.event_type, self.table, self.op, self.actor, self.entity] {
            write_lp(out, text.as_bytes());
        }
        write_lp(out, self.payload);
    }

    /// Reads a record of the log: the entry, its envelope, its stored link.
    ///
    /// # Errors
    /// [`Malformed`] if the bytes are not exactly one envelope and 32 bytes.
    pub fn open(record: &'a [u8]) -> Result<(Self, &'a [u8], &'a Hash), Malformed> {
        let (envelope, hash) = record.split_last_chunk::<32>().ok_or(Malformed)?;
        Ok((Self::from_envelope(envelope).ok_or(Malformed)?, envelope, hash))
    }

    fn from_envelope(bytes: &'a [u8]) -> Option<Self> {
        let mut rest = bytes.strip_prefix(DOMAIN)?;
        let view = Self {
            partition: u32::from_be_bytes(take(&mut rest)?),
            epoch: u64::from_be_bytes(take(&mut rest)?),
            seq: u64::from_be_bytes(take(&mut rest)?),
            ts_us: i64::from_be_bytes(take(&mut rest)?),
            event_type: take_text(&mut rest)?,
            table: take_text(&mut rest)?,
            op: take_text(&mut rest)?,
            actor: take_text(&mut rest)?,
            entity: take_text(&mut rest)?,
            payload: take_lp(&mut rest)?,
        };
        rest.is_empty().then_some(view)
    }

    /// An entry of its own.
    pub fn to_entry(&self) -> Entry {
        Entry {
            partition: self.partition,
            epoch: self.epoch,
            seq: self.seq,
            ts_us: self.ts_us,
            event_type: self.event_type.to_owned(),
            table: self.table.to_owned(),
            op: self.op.to_owned(),
            actor: self.actor.to_owned(),
            entity: self.entity.to_owned(),
            payload: self.payload.to_vec(),
        }
    }
}

fn write_lp(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).expect("payloads are bounded far below 4 GiB");
    out.extend(length.to_be_bytes());
    out.extend(bytes);
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}

fn take_lp<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = u32::from_be_bytes(take(rest)?) as usize;
    let (head, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    Some(head)
}

fn take_text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    std::str::from_utf8(take_lp(rest)?).ok()
}

/// Why a record does not follow the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Break {
    /// The envelope names another partition.
    Partition,
    /// Entries are missing, repeated or out of order.
    Sequence,
    /// The stored link is not the one computed: the entry or its neighbour was changed.
    Link,
}

/// Follows the chain of one partition, entry by entry.
#[derive(Clone, Debug)]
pub struct Chain {
    partition: u32,
    next_seq: u64,
    head: Hash,
}

impl Chain {
    /// The empty chain of a partition.
    pub fn new(origin: &str, partition: u32) -> Self {
        Self { partition, next_seq: 0, head: genesis(origin, partition) }
    }

    /// A chain known up to `head`, whose next entry has number `next_seq`.
    pub fn resume(partition: u32, next_seq: u64, head: Hash) -> Self {
        Self { partition, next_seq, head }
    }

    /// The number the next entry must have.
    pub fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// The link of the last entry.
    pub fn head(&self) -> Hash {
        self.head
    }

    /// Numbers and links a new entry; returns its record.
    pub fn append(&mut self, mut entry: Entry) -> Vec<u8> {
        entry.partition = self.partition;
        entry.seq = self.next_seq;
        let (record, hash) = entry.seal(&self.head);
        self.next_seq = self.next_seq.checked_add(1).expect("nobody writes 2^64 entries");
        self.head = hash;
        record
    }

    /// Follows an entry that somebody stored; `stored` is its link if it was stored with one.
    ///
    /// # Errors
    /// The [`Break`] between it and the chain so far; the chain then stays where it was.
    pub fn follow(&mut self, entry: &Entry, stored: Option<&Hash>) -> Result<(), Break> {
        self.follow_envelope(&entry.view(), &entry.envelope(), stored)
    }

    /// As [`Chain::follow`], with the entry's envelope at hand.
    ///
    /// # Errors
    /// As [`Chain::follow`].
    pub fn follow_envelope(&mut self, entry: &View<'_>, envelope: &[u8], stored: Option<&Hash>) -> Result<(), Break> {
        if entry.partition != self.partition {
            return Err(Break::Partition);
        }
        if entry.seq != self.next_seq {
            return Err(Break::Sequence);
        }
        let next_seq = self.next_seq.checked_add(1).ok_or(Break::Sequence)?;
        let hash = link(envelope, &self.head);
        if stored.is_some_and(|stored| *stored != hash) {
            return Err(Break::Link);
        }
        (self.head, self.next_seq) = (hash, next_seq);
        Ok(())
    }
}
