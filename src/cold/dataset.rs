//! [`ColdDataset`]: what the rows of a segment are.

use evenkeel_schemas::{Dataset, Topic};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A kind of rows that are kept cold: committed outputs, tables made of them, and what the outputs were computed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ColdDataset {
    /// Committed outputs of one kind.
    Output(Dataset),
    /// What came of commands: the audit entries that say so, as a table.
    Outcomes,
    /// Requests, decoded, for questions that no rollup answers.
    Requests,
    /// Which records each epoch held.
    Bindings,
    /// The records of an input topic as they came, for replay.
    Records(Topic),
}

/// The outputs that are kept cold: all but state, which is a function of the rest.
pub const OUTPUTS: [Dataset; 7] = [
    Dataset::Audit,
    Dataset::Rollups,
    Dataset::Verdicts,
    Dataset::Incidents,
    Dataset::Commands,
    Dataset::Baselines,
    Dataset::Rejections,
];

impl ColdDataset {
    /// Every kind there is.
    pub fn all() -> impl Iterator<Item = Self> {
        let derived = [Self::Outcomes, Self::Requests, Self::Bindings];
        OUTPUTS.into_iter().map(Self::Output).chain(derived).chain(Topic::ALL.into_iter().map(Self::Records))
    }

    /// Its name, which is its folder in the cold store, too.
    pub fn name(self) -> String {
        match self {
            Self::Records(topic) => format!("{}/topic={}", self.family(), topic.name()),
            _ => self.family().to_owned(),
        }
    }

    /// The first part of its name: records of all topics are one family.
    pub fn family(self) -> &'static str {
        match self {
            Self::Output(dataset) => dataset.folder(),
            Self::Outcomes => "outcomes",
            Self::Requests => "requests",
            Self::Bindings => "bindings",
            Self::Records(_) => "records",
        }
    }

    /// The kind with this name, if there is one.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::all().find(|dataset| dataset.name() == name)
    }

    /// Whether its rows are audit entries: numbered without gaps, and chained.
    pub fn is_audit(self) -> bool {
        self == Self::Output(Dataset::Audit)
    }

    /// The column whose values ascend from row to row, and are the first and the last in a segment's name.
    pub fn order(self) -> &'static str {
        match self {
            Self::Output(Dataset::Audit) | Self::Outcomes => "seq",
            Self::Bindings => "epoch",
            _ => "offset",
        }
    }

    /// Whether several rows may have one place: a record may hold many requests.
    pub fn may_repeat(self) -> bool {
        self == Self::Requests
    }
}

impl From<Dataset> for ColdDataset {
    fn from(dataset: Dataset) -> Self {
        Self::Output(dataset)
    }
}

impl PartialEq<Dataset> for ColdDataset {
    fn eq(&self, other: &Dataset) -> bool {
        *self == Self::Output(*other)
    }
}

impl std::fmt::Display for ColdDataset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name())
    }
}

impl Serialize for ColdDataset {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.name())
    }
}

impl<'de> Deserialize<'de> for ColdDataset {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::from_name(&name).ok_or_else(|| D::Error::custom(format!("no dataset {name:?}")))
    }
}
