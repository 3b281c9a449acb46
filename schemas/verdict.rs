//! A detector's word about one subject at one time, the negative ones with their reason too.

use crate::{Key, Statistics};
use serde::{Deserialize, Serialize};

/// Which rule spoke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Detector {
    /// A node missed its heartbeats.
    NodeSilent,
    /// A pool, socket table or memory runs out.
    Saturation,
    /// A burst of errors, judged on the tick that is still open.
    ErrorBurst,
    /// The error rate against its own longer baseline.
    ErrorRate,
    /// The number of requests against what is usual: a drop, or none at all.
    Traffic,
    /// The latency against its own longer baseline.
    Latency,
    /// An error budget burns too fast.
    BudgetBurn,
    /// A version against the other versions of its service.
    Canary,
    /// A gauge that creeps towards its limit over hours.
    Leak,
    /// A breach that is foreseen.
    Forecast,
    /// A signal, any series of numbers, against its own past.
    Signal,
    /// Somebody found the audit log, or a copy of it, other than it should be.
    AuditIntegrity,
    /// Somebody decides alone for a while; no rule spoke, a person did.
    BreakGlass,
}

/// What the rule decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// An anomaly began.
    Fire,
    /// The anomaly ended.
    Clear,
    /// A limit was passed and yet nothing was said; the reason tells which guard held it back.
    Hold,
}

/// A verdict.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Verdict {
    /// What it is about; has at least the service.
    pub key: Key,
    /// Which rule spoke.
    pub detector: Detector,
    /// What it decided.
    pub decision: Decision,
    /// Why: a reason code in snake case, e.g. `above_baseline`, `not_persistent`, `low_volume`, `cold_start`; `withdrawn`:
    /// with the late records it never was.
    pub reason: String,
    /// The time it is about, µs since the Unix epoch.
    pub at_us: i64,
    /// Since when the anomaly holds, µs; equal to `at_us` when it fires.
    pub since_us: i64,
    /// What was seen, in words with numbers and units.
    pub evidence: String,
    /// It is the last word about this key, detector and `since_us`, and was found when late records came in, at this time, µs
    /// since the Unix epoch; nobody is paged for it. Nothing if it was said in time.
    #[serde(default)]
    pub amended_us: Option<i64>,
    /// The epoch in which it was said: all that was known is in the records up to its binding, and in no others.
    #[serde(default)]
    pub epoch: u64,
    /// The version of the policy that it was judged by; 0 if none was applied.
    #[serde(default)]
    pub policy: u64,
}

impl Verdict {
    /// Words for two windows side by side.
    pub fn compare(recent: &Statistics, history: &Statistics) -> String {
        format!(
            "errors {}/{} against {}/{}, p50 {} µs against {}, p99 {} µs against {}",
            recent.errors,
            recent.requests,
            history.errors,
            history.requests,
            recent.p50_us,
            history.p50_us,
            recent.p99_us,
            history.p99_us
        )
    }
}
