//! Verdicts with one root.

use crate::{Detector, Key};
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

/// An incident of one service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Incident {
    /// Stable from open to resolved: a hash of cause and start, see [`Incident::identify`].
    pub incident_id: String,
    /// The service.
    pub service: String,
    /// Where it stands.
    pub state: IncidentState,
    /// What is wrong.
    pub cause: Cause,
    /// When it opened, µs since the Unix epoch.
    pub opened_us: i64,
    /// The time of this word about it, µs since the Unix epoch.
    pub at_us: i64,
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
