//! A database change in Debezium's envelope (Debezium documentation, "Data change events").

use crate::Reason;
use crate::event::{Refusal, check_names, is_believable};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// What happened to the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// `c`: the row is new.
    Create,
    /// `u`: the row has new values.
    Update,
    /// `d`: the row is gone.
    Delete,
    /// `r`: the row was there when the connector started.
    Read,
    /// `t`: the table was emptied.
    Truncate,
    /// `m`: a logical message, no row at all.
    Message,
}

impl Operation {
    /// Debezium's letter.
    pub const fn letter(self) -> &'static str {
        match self {
            Self::Create => "c",
            Self::Update => "u",
            Self::Delete => "d",
            Self::Read => "r",
            Self::Truncate => "t",
            Self::Message => "m",
        }
    }

    fn from_letter(letter: &str) -> Option<Self> {
        [Self::Create, Self::Update, Self::Delete, Self::Read, Self::Truncate, Self::Message]
            .into_iter()
            .find(|operation| operation.letter() == letter)
    }
}

/// A row change: what the audit chain needs of it; the payload itself is chained as received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// When the database committed it, µs since the Unix epoch: the first of `source.ts_us`, `source.ts_ms` and `ts_ms`
    /// that lies in the years 2000 to 9999, or 0. A change is audited even if nobody knows when it was.
    pub event_time_us: i64,
    /// What happened.
    pub operation: Operation,
    /// `database.schema.table`, empty parts left out.
    pub table: String,
    /// Who made it, as far as Debezium knows: `connector/name/transaction`.
    pub actor: String,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    op: Cow<'a, str>,
    #[serde(borrow)]
    source: Source<'a>,
    #[serde(default)]
    ts_ms: Option<i64>,
    #[serde(borrow, default)]
    before: Option<&'a RawValue>,
    #[serde(borrow, default)]
    after: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Source<'a> {
    #[serde(borrow, default)]
    connector: Cow<'a, str>,
    #[serde(borrow, default)]
    name: Cow<'a, str>,
    #[serde(borrow, default)]
    db: Cow<'a, str>,
    #[serde(borrow, default)]
    schema: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    table: Option<Cow<'a, str>>,
    #[serde(default)]
    ts_us: Option<i64>,
    #[serde(default)]
    ts_ms: Option<i64>,
    #[serde(rename = "txId", borrow, default)]
    transaction: Option<&'a RawValue>,
}

/// With `schemas.enable=true` the converter wraps the envelope once more.
#[derive(Deserialize)]
struct Wrapped<'a> {
    // Named so, the field must be there: an object that is no envelope shall not pass for a tombstone.
    #[serde(borrow, deserialize_with = "Option::deserialize")]
    payload: Option<Envelope<'a>>,
}

impl Change {
    /// Decodes an envelope, plain or wrapped in `{"schema":…,"payload":…}`; an empty or `null` payload is a tombstone.
    pub(crate) fn decode(payload: &[u8]) -> Result<Option<Self>, Refusal> {
        if payload.is_empty() || payload.trim_ascii() == b"null" {
            return Ok(None);
        }
        match serde_json::from_slice::<Envelope<'_>>(payload) {
            Ok(envelope) => Self::from_envelope(&envelope).map(Some),
            Err(error) if !error.is_data() => Err(Refusal(Reason::NotJson, error.to_string())),
            Err(error) => match serde_json::from_slice::<Wrapped<'_>>(payload) {
                Ok(Wrapped { payload: Some(envelope) }) => Self::from_envelope(&envelope).map(Some),
                Ok(Wrapped { payload: None }) => Ok(None),
                Err(_) => Err(Refusal(Reason::WrongShape, error.to_string())),
            },
        }
    }

    fn from_envelope(envelope: &Envelope<'_>) -> Result<Self, Refusal> {
        let operation = Operation::from_letter(&envelope.op).ok_or_else(|| Refusal::out_of_range("op"))?;
        let row = matches!(operation, Operation::Create | Operation::Update | Operation::Delete | Operation::Read);
        if row && envelope.before.is_none() && envelope.after.is_none() {
            return Err(Refusal::out_of_range("before and after are both absent"));
        }
        let source = &envelope.source;
        let from_ms = |ms: Option<i64>| ms.and_then(|ms| ms.checked_mul(1000));
        let times = [source.ts_us, from_ms(source.ts_ms), from_ms(envelope.ts_ms)];
        let event_time_us = times.into_iter().flatten().find(|time| is_believable(*time)).unwrap_or(0);
        let parts = [Some(&source.db), source.schema.as_ref(), source.table.as_ref()];
        let table = parts.into_iter().flatten().filter(|part| !part.is_empty());
        let table = table.map(|part| part.as_ref()).collect::<Vec<_>>().join(".");
        let transaction = source.transaction.map_or("", RawValue::get).trim_matches('"');
        let actor = format!("{}/{}/{transaction}", source.connector, source.name);
        check_names([("source", &table), ("source", &actor)])?;
        Ok(Self { event_time_us, operation, table, actor })
    }
}
