//! Verdicts with one root.
//!
//! # Decision
//! An incident is amended, not opened anew: services join it, its root moves, and its identity stays. Its records are many,
//! those worth a page few: at most one each when it opened, when its root turned out to be another, and when it was resolved
//! ([`Incident::notify`]).

use crate::{Detector, Dimension, Key};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Where an incident stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IncidentState {
    /// It began.
    Open,
    /// Its cause is seen differently now.
    Update,
    /// Nothing of it was seen for a while.
    Resolved,
}

/// What is wrong with a service, as far as its verdicts tell: the strongest one, and how many stand.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Cause {
    /// The strongest detector that fires.
    pub detector: Detector,
    /// What it fires about.
    pub key: Key,
    /// The nodes about which that detector fires; empty if it names none.
    pub nodes: Vec<String>,
    /// Since when, µs since the Unix epoch: the earliest of its verdicts.
    pub since_us: i64,
    /// What was seen.
    pub evidence: String,
    /// How many verdicts stand for the service.
    pub verdicts: u32,
}

/// Why a record of an incident was said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Notice {
    /// It began; or it was held, and stands by itself still.
    #[default]
    Opened,
    /// It began shortly after another was paged, and may turn out to belong to it: no page yet.
    Held,
    /// More services belong to it.
    Joined,
    /// Fewer services belong to it.
    Left,
    /// Its root is another service.
    RootChanged,
    /// The cause of its root is seen differently.
    CauseChanged,
    /// What stands around it changed: victims, changes, what its services share.
    ContextChanged,
    /// It was part of another incident, and a call between them is no more.
    Split,
    /// It belongs to another incident, `merged_into`, and goes on there.
    Merged,
    /// Nothing of it was seen for a while.
    Resolved,
    /// It began, as others of this service did again and again: it stays open until it is calm for longer.
    Flapping,
}

/// What makes a service a candidate for the root: follows from the graph and the times, see [`Suspect`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Clue {
    /// No service that it calls stands, but for those in a cycle with it.
    NoStandingCallee,
    /// It calls services that stand.
    CallsStanding,
    /// No other service of the incident began before it.
    EarliestStart,
    /// It, or a service that it calls, was changed shortly before.
    ChangedBefore,
    /// It shares a value with other services of the incident, and its other values are well.
    SharesValue,
}

/// A service that may be the root: what was seen, and apart from it what follows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Suspect {
    /// The service.
    pub service: String,
    /// Seen: the strongest detector that fires.
    pub detector: Detector,
    /// Seen: since when, µs since the Unix epoch.
    pub since_us: i64,
    /// Seen: in words with numbers.
    pub evidence: String,
    /// Follows: calls from it to the root.
    pub hops: u32,
    /// Follows: why it stands where it stands.
    pub inference: Vec<Clue>,
}

/// A change of a service shortly before an incident.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Changed {
    /// When it took effect, µs since the Unix epoch.
    pub at_us: i64,
    /// The service.
    pub service: String,
    /// What, e.g. `deploy`.
    pub what: String,
    /// The version since then; empty if it has none.
    pub version: String,
    /// Who did it.
    pub by: String,
}

/// A value that services of an incident share, while they are well elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Shared {
    /// Of what, e.g. the region.
    pub dimension: Dimension,
    /// The value.
    pub value: String,
    /// How many services share it.
    pub services: u32,
}

/// An incident of one service, or of several with one root.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Incident {
    /// Stable from open to resolved: a hash of the first root's cause and start, see [`Incident::identify`].
    pub incident_id: String,
    /// The root: of the services that stand the deepest one, in the order of calls; it may become another.
    pub service: String,
    /// Where it stands.
    pub state: IncidentState,
    /// What is wrong with the root.
    pub cause: Cause,
    /// When it opened, µs since the Unix epoch.
    pub opened_us: i64,
    /// The time of this word about it, µs since the Unix epoch.
    pub at_us: i64,
    /// Whether this record is worth a page.
    #[serde(default)]
    pub notify: bool,
    /// Why it was said.
    #[serde(default)]
    pub notice: Notice,
    /// How many services stand in it, the root too.
    #[serde(default)]
    pub affected: u32,
    /// The first of them, nearest to the root first.
    #[serde(default)]
    pub services: Vec<String>,
    /// The first services, by name, that call one of them and do not stand: expected to be next.
    #[serde(default)]
    pub victims: Vec<String>,
    /// Who may be the root, most likely first.
    #[serde(default)]
    pub candidates: Vec<Suspect>,
    /// Changes of the root or of what it calls, shortly before it opened; newest first.
    #[serde(default)]
    pub changes: Vec<Changed>,
    /// What its services share, the widest first.
    #[serde(default)]
    pub shared: Vec<Shared>,
    /// The incident that it belongs to; empty if it stands by itself.
    #[serde(default)]
    pub merged_into: String,
}

impl Incident {
    /// `INC-` and the first 12 hex digits of the SHA-256 of service, detector, key and start.
    pub fn identify(service: &str, cause: &Cause) -> String {
        let text = format!("{service}\0{:?}\0{}\0{}", cause.detector, cause.key.to_json(), cause.since_us);
        format!("INC-{}", short_hex(text.as_bytes()))
    }
}

/// The first 12 hex digits of the SHA-256 of `bytes`.
pub(crate) fn short_hex(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest[..6].iter().map(|byte| format!("{byte:02x}")).collect()
}
