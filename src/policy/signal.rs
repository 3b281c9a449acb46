//! [`Signal`]: a series that is compared with its own past.

use super::fields::{Fields, boolean};
use super::shape::{Field, Shape, may, must};
use super::tuned::Setting;
use serde_json::json;

/// A series that is compared with its own past.
#[derive(Clone, Debug, PartialEq)]
pub struct Signal {
    /// Its name: a gauge's, or that of one of the four that every service has.
    pub series: String,
    /// Whether it pages when it is unlike its own past, or is recorded only.
    pub pages: bool,
    /// What it means that it has no value, as a field of the tuning, if that is said.
    pub missing: Option<Setting>,
}

/// What its spec holds.
pub const FIELDS: [Field; 3] = [
    must(
        "series",
        Shape::Text("pool.used"),
        "pool.used",
        "A gauge's name, or one that services have by themselves: `requests`, `errors_per_million`, `latency_p50_us`, `latency_p99_us`.",
    ),
    may("page", Shape::Bool, "Whether it pages when it is unlike its own past; `true` by default."),
    may(
        "missing",
        Shape::Choice("meaning of a missing value", &["zero", "hold", "alarm"]),
        "What a minute without a value means: 0, the value before, or a fault that pages; not judged by default.",
    ),
];

impl Signal {
    /// Reads one.
    pub fn read(fields: &Fields<'_>) -> Option<Self> {
        let pages = fields.get("page").is_none() || fields.read("page", boolean)?;
        let series = fields.text("series")?;
        let missing = match fields.get("missing") {
            Some(node) => {
                let path = ["detection", "missing", "feeds", &series];
                Some(Setting::new(&path, node.at, json!(fields.text("missing")?)))
            }
            None => None,
        };
        Some(Self { series, pages, missing })
    }
}
