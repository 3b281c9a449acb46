//! How values cross between processes where the derived form will not do.
//!
//! Workers of one process hand each other values as they are. Between processes timely writes them with bincode, which
//! takes bytes one by one unless it is told that they are bytes, and cannot read a form that depends on a name inside.

use serde::de::{Deserializer, Error, Visitor};
use serde::ser::Serializer;

/// Bytes, in one piece: `#[serde(with = "wire::bytes")]`.
pub(crate) mod bytes {
    use super::{Bytes, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        deserializer.deserialize_byte_buf(Bytes)
    }
}

/// A value whose serde form is for JSON alone, as JSON: `#[serde(with = "wire::as_json")]`.
pub(crate) mod as_json {
    use super::{Bytes, Deserializer, Error, Serializer};
    use serde::{Serialize, de::DeserializeOwned};

    pub fn serialize<T: Serialize, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&crate::state::json(value))
    }

    pub fn deserialize<'de, T: DeserializeOwned, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
        serde_json::from_slice(&deserializer.deserialize_byte_buf(Bytes)?).map_err(D::Error::custom)
    }
}

struct Bytes;

impl Visitor<'_> for Bytes {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
        Ok(bytes.to_vec())
    }

    fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
        Ok(bytes)
    }
}
