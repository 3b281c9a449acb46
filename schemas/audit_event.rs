//! What others have to say to the audit log, version 1: who found it damaged, read it, set something or erased something.
//!
//! # Decision
//! `detail` is kept as it was written and looked at no further: who writes it knows its fields, and the entry in the chain
//! holds the whole payload as received. Bounded it is all the same, for a finding carries it between workers.

use crate::Reason;
use crate::event::{Checked, Refusal, check_names, check_time};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// The longest `op`, bytes.
pub const MAX_OP_BYTES: usize = 64;

/// The longest `detail`, bytes as it is written in JSON; the quotes around a text do not count.
pub const MAX_DETAIL_BYTES: usize = 65_536;

/// What an audit event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditEventType {
    /// Somebody found the audit log, or a copy of it, other than it should be. Opens an incident.
    Finding,
    /// Somebody read what is audited.
    Access,
    /// Something was set.
    Configuration,
    /// Personal data were erased.
    Erasure,
}

impl AuditEventType {
    /// Its name in events and in the audit log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Finding => "finding",
            Self::Access => "access",
            Self::Configuration => "configuration",
            Self::Erasure => "erasure",
        }
    }
}

/// An event for the audit log: it becomes an entry of its type, payload as received.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEvent {
    /// When, µs since the Unix epoch, UTC. It is audited however late it comes.
    pub event_time_us: i64,
    /// What it is about.
    pub event_type: AuditEventType,
    /// What was found or done, a code in snake case of at most [`MAX_OP_BYTES`], e.g. `tamper`, `stale`, `mirror_edit`,
    /// `read`, `set`, `erase`.
    pub op: String,
    /// Who found or did it; 1 to 256 bytes.
    pub actor: String,
    /// What it was found of or done to: a file, a row of a table, `partition/seq`, a setting; 1 to 256 bytes.
    pub entity: String,
    /// More about it.
    #[serde(default)]
    pub detail: Detail,
}

/// More about an event: a text, or an object of any fields, kept as it was written in JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detail(String);

impl Detail {
    /// A text.
    pub fn text(words: &str) -> Self {
        Self(serde_json::to_string(words).expect("a text is JSON"))
    }

    /// An object.
    pub fn fields(fields: &serde_json::Map<String, serde_json::Value>) -> Self {
        Self(serde_json::to_string(fields).expect("a map of JSON values is JSON"))
    }

    /// What it says to a person: the text, or the object in JSON.
    pub fn words(&self) -> String {
        serde_json::from_str::<String>(&self.0).unwrap_or_else(|_| self.0.clone())
    }

    fn bytes(&self) -> usize {
        if self.0.starts_with('"') { self.0.len() - 2 } else { self.0.len() }
    }
}

impl Default for Detail {
    fn default() -> Self {
        Self::text("")
    }
}

impl Serialize for Detail {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw = RawValue::from_string(self.0.clone()).map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Detail {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        match raw.get().as_bytes().first() {
            Some(b'"' | b'{') => Ok(Self(raw.get().to_owned())),
            _ => Err(serde::de::Error::custom("detail: an object or a text")),
        }
    }
}

impl Checked for AuditEvent {
    fn check(&self) -> Result<(), Refusal> {
        check_time(self.event_time_us)?;
        check_names([("op", &self.op), ("actor", &self.actor), ("entity", &self.entity)])?;
        if self.actor.is_empty() || self.entity.is_empty() {
            return Err(Refusal::out_of_range("actor or entity is empty"));
        }
        if self.op.len() > MAX_OP_BYTES || !is_code(&self.op) {
            return Err(Refusal::out_of_range("op: a code in snake case, at most 64 bytes"));
        }
        if self.detail.bytes() > MAX_DETAIL_BYTES {
            return Err(Refusal(Reason::StringTooLong, format!("detail: {} bytes", self.detail.bytes())));
        }
        Ok(())
    }
}

/// Whether a text is a code in snake case.
fn is_code(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}
