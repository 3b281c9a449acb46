//! A copy of the audit log in an SQL table, row by row, and what a captured change of that table says about it.
//!
//! # Decision
//! A row holds what the envelope holds, column by column, and both hashes, so that anybody can follow the chain in SQL.
//! PostgreSQL's `text` has no NUL, and what comes from others may have one: texts are written with `\000` for NUL and `\\`
//! for a backslash ([`to_text`]), as its `decode(…, 'escape')` reads them. Payload and hashes are bytes.
//!
//! An insert is held to itself: its hash must be that of its own columns and its previous hash. Whether it is the entry of
//! the log only who holds the log can say, which is whoever copies it; changes of many rows come in no common order.

use crate::Operation;
use crate::audit::{Entry, Hash, link};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// The columns of the table, in order.
pub const COLUMNS: [&str; 12] = [
    "partition",
    "seq",
    "epoch",
    "ts_us",
    "event_type",
    "table_name",
    "op",
    "actor",
    "entity",
    "payload",
    "previous_hash",
    "current_hash",
];

/// Most changed columns that are named.
const NAMED_COLUMNS: usize = 4;

/// A row of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The entry.
    pub entry: Entry,
    /// The link of the entry before.
    pub previous_hash: Hash,
    /// The entry's own link.
    pub current_hash: Hash,
}

impl Row {
    /// Whether the row's hash is that of its columns and of its previous hash.
    pub fn is_whole(&self) -> bool {
        link(&self.entry.envelope(), &self.previous_hash) == self.current_hash
    }

    /// Reads a row as change capture writes it in JSON: numbers, texts, and bytes in base64.
    fn from_json(json: &str) -> Option<Self> {
        let raw = serde_json::from_str::<RawRow<'_>>(json).ok()?;
        let entry = Entry {
            partition: raw.partition,
            epoch: raw.epoch,
            seq: raw.seq,
            ts_us: raw.ts_us,
            event_type: from_text(&raw.event_type)?,
            table: from_text(&raw.table_name)?,
            op: from_text(&raw.op)?,
            actor: from_text(&raw.actor)?,
            entity: from_text(&raw.entity)?,
            payload: from_base64(&raw.payload)?,
        };
        let hash = |text: &str| from_base64(text)?.try_into().ok();
        let (previous_hash, current_hash) = (hash(&raw.previous_hash)?, hash(&raw.current_hash)?);
        Some(Self { entry, previous_hash, current_hash })
    }
}

#[derive(Deserialize)]
struct RawRow<'a> {
    partition: u32,
    seq: u64,
    epoch: u64,
    ts_us: i64,
    #[serde(borrow)]
    event_type: Cow<'a, str>,
    #[serde(borrow)]
    table_name: Cow<'a, str>,
    #[serde(borrow)]
    op: Cow<'a, str>,
    #[serde(borrow)]
    actor: Cow<'a, str>,
    #[serde(borrow)]
    entity: Cow<'a, str>,
    #[serde(borrow)]
    payload: Cow<'a, str>,
    #[serde(borrow)]
    previous_hash: Cow<'a, str>,
    #[serde(borrow)]
    current_hash: Cow<'a, str>,
}

/// What a captured change of the table was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MirrorChange {
    /// A row that is whole was inserted, or was there: an entry of the log was copied.
    Copied,
    /// Anything else.
    Edited {
        /// `partition/seq` of the row, `*` for all of them, `?` if it names none.
        row: String,
        /// What was done, in words.
        what: String,
    },
}

/// The envelope of change capture, plain or wrapped, as far as rows are concerned.
#[derive(Default, Deserialize)]
struct Rows<'a> {
    #[serde(borrow, default)]
    before: Option<&'a RawValue>,
    #[serde(borrow, default)]
    after: Option<&'a RawValue>,
    #[serde(borrow, default)]
    payload: Option<&'a RawValue>,
}

/// Judges a change of the table; `payload` is one that decodes as a [`Change`](crate::Change).
pub fn judge_mirror(operation: Operation, payload: &[u8]) -> MirrorChange {
    let rows = serde_json::from_slice::<Rows<'_>>(payload).unwrap_or_default();
    let wrapped = rows.payload.and_then(|inner| serde_json::from_str::<Rows<'_>>(inner.get()).ok());
    let Rows { before, after, .. } = wrapped.unwrap_or(rows);
    let row = [before, after].into_iter().flatten().find_map(|row| identity(row.get())).unwrap_or("?".to_owned());
    let what = match operation {
        Operation::Create | Operation::Read => {
            if after.and_then(|row| Row::from_json(row.get())).is_some_and(|row| row.is_whole()) {
                return MirrorChange::Copied;
            }
            "a row was inserted whose hash is not that of its columns".to_owned()
        }
        Operation::Update => format!("a row was changed: {}", differences(before, after)),
        Operation::Delete => "a row was deleted".to_owned(),
        Operation::Truncate => {
            return MirrorChange::Edited { row: "*".to_owned(), what: "all rows were deleted".to_owned() };
        }
        Operation::Message => "a message in place of a row".to_owned(),
    };
    MirrorChange::Edited { row, what }
}

/// `partition/seq` of a row.
fn identity(row: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Identity {
        partition: i64,
        seq: i64,
    }
    let Identity { partition, seq } = serde_json::from_str(row).ok()?;
    Some(format!("{partition}/{seq}"))
}

/// The names of the columns that differ.
fn differences(before: Option<&RawValue>, after: Option<&RawValue>) -> String {
    let columns = |row: Option<&RawValue>| {
        let row = row.map_or("{}", RawValue::get);
        serde_json::from_str::<BTreeMap<String, serde_json::Value>>(row).unwrap_or_default()
    };
    let (before, after) = (columns(before), columns(after));
    let changed = after.iter().filter(|(name, value)| before.get(*name) != Some(value)).map(|(name, _)| name.as_str());
    let changed = changed.take(NAMED_COLUMNS).collect::<Vec<_>>();
    if before.is_empty() { "the old row is not known".to_owned() } else { changed.join(", ") }
}

/// A text as the table holds it.
pub fn to_text(text: &str) -> Cow<'_, str> {
    if text.contains(['\\', '\0']) {
        Cow::Owned(text.replace('\\', "\\\\").replace('\0', "\\000"))
    } else {
        Cow::Borrowed(text)
    }
}

/// The text that the table holds as `text`; `None` if it can be none.
pub fn from_text(text: &str) -> Option<String> {
    let mut parts = text.split('\\');
    let mut out = parts.next()?.to_owned();
    while let Some(part) = parts.next() {
        // Behind a backslash comes another one, or the number of NUL.
        match part.strip_prefix("000") {
            Some(rest) => {
                out.push('\0');
                out.push_str(rest);
            }
            None if part.is_empty() => {
                out.push('\\');
                out.push_str(parts.next()?);
            }
            None => return None,
        }
    }
    Some(out)
}

/// Bytes from base64 with padding (RFC 4648, section 4).
fn from_base64(text: &str) -> Option<Vec<u8>> {
    let (whole, []) = text.as_bytes().as_chunks::<4>() else { return None };
    let mut bytes = Vec::with_capacity(whole.len() * 3);
    for (number, four) in whole.iter().enumerate() {
        let padding = four.iter().rev().take_while(|letter| **letter == b'=').count();
        if padding > 2 || (padding > 0 && number + 1 < whole.len()) {
            return None;
        }
        let letters = four.iter().take(4 - padding).map(|letter| digit(*letter));
        let value =
            letters.chain(std::iter::repeat_n(Some(0), padding)).try_fold(0, |all, next| Some(all << 6 | next?))?;
        bytes.extend_from_slice(&u32::to_be_bytes(value)[1..4 - padding]);
    }
    Some(bytes)
}

fn digit(letter: u8) -> Option<u32> {
    let value = match letter {
        b'A'..=b'Z' => letter - b'A',
        b'a'..=b'z' => letter - b'a' + 26,
        b'0'..=b'9' => letter - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(u32::from(value))
}
