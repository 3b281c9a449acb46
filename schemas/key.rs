//! What is counted together: a [`Key`] names values of some dimensions of a request.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// A dimension of a request by which it can be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dimension {
    /// The service that answered.
    Service,
    /// The route's template.
    Route,
    /// The node that answered.
    Node,
    /// The service's version.
    Version,
    /// Where the node stands.
    Region,
    /// For whom the request was served.
    Tenant,
}

/// Values of the dimensions of one key set, e.g. `{"service":"checkout","route":"/pay"}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Key(pub BTreeMap<Dimension, String>);

impl Key {
    /// A key of these values.
    pub fn new<'a>(values: impl IntoIterator<Item = (Dimension, &'a str)>) -> Self {
        Self(values.into_iter().map(|(dimension, value)| (dimension, value.to_owned())).collect())
    }

    /// The value of a dimension, if the key has it.
    pub fn get(&self, dimension: Dimension) -> Option<&str> {
        self.0.get(&dimension).map(String::as_str)
    }

    /// The service; empty if the key has none.
    pub fn service(&self) -> &str {
        self.get(Dimension::Service).unwrap_or("")
    }

    /// The key's canonical bytes: a JSON object, dimensions in their order.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a map of strings is JSON")
    }

    /// The key whose canonical bytes these are; the empty key if they are none.
    pub fn from_json(json: &str) -> Self {
        serde_json::from_str(json).unwrap_or_default()
    }

    /// The key's identity: the first 16 bytes of the SHA-256 of its canonical bytes, so that workers and processes
    /// agree on it without talking, and no two keys share one (collision resistance of SHA-256, 128 bits).
    pub fn id(&self) -> KeyId {
        let digest: [u8; 32] = Sha256::digest(self.to_json()).into();
        let (high, low) = (digest[..8].try_into(), digest[8..16].try_into());
        KeyId(u64::from_be_bytes(high.expect("8 bytes")), u64::from_be_bytes(low.expect("8 bytes")))
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let values = self.0.values().map(String::as_str).collect::<Vec<_>>();
        f.write_str(&values.join(" "))
    }
}

/// A key's identity, see [`Key::id`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct KeyId(pub u64, pub u64);

impl std::fmt::Display for KeyId {
    /// 32 hexadecimal digits.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}{:016x}", self.0, self.1)
    }
}

impl std::str::FromStr for KeyId {
    type Err = std::num::ParseIntError;

    fn from_str(hex: &str) -> Result<Self, Self::Err> {
        let both = u128::from_str_radix(hex, 16)?;
        Ok(Self((both >> 64) as u64, both as u64))
    }
}
