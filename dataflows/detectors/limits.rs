//! Every number the rules go by.

use serde::{Deserialize, Serialize};

/// The detectors' limits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Detection {
    /// Fewer requests than this in a span say nothing.
    pub min_requests: i64,
    /// Fewer requests than this in the history: there is no baseline yet.
    pub min_history: i64,
    /// An error rate fires from this many errors on.
    pub min_errors: i64,
    /// And from this much above the history's rate, per mille of requests.
    pub error_margin_per_mille: i64,
    /// And from this many times the history's rate, in hundredths.
    pub error_ratio_percent: i64,
    /// An error rate from here on fires without any history, per mille.
    pub error_guard_per_mille: i64,
    /// Median and 90th percentile must both reach this many times the history's, in hundredths.
    pub latency_ratio_percent: u64,
    /// And exceed it by this much, µs.
    pub latency_margin_us: u64,
    /// A limit must be passed in so many …
    pub persist: u32,
    /// … of so many judged ticks (at most 32); and in none of them to end.
    pub of: u32,
    /// A burst: so many errors in the open ticks …
    pub burst_errors: i64,
    /// … that are at least this share of the requests, per mille.
    pub burst_per_mille: i64,
    /// A gauge at this share of its limit is saturated, per mille.
    pub saturated_per_mille: i64,
    /// So is one that will reach its limit within this time, s …
    pub exhaustion_s: i64,
    /// … once it is above this share, per mille.
    pub watch_per_mille: i64,
    /// A node is silent after so many missed heartbeats.
    pub missed_heartbeats: i64,
    /// What was found wrong with the audit log stands so long after it was found last, s; who looks for it on a schedule
    /// should look more often.
    pub finding_s: i64,
}

impl Default for Detection {
    fn default() -> Self {
        Self {
            min_requests: 20,
            min_history: 300,
            min_errors: 5,
            error_margin_per_mille: 20,
            error_ratio_percent: 300,
            error_guard_per_mille: 500,
            latency_ratio_percent: 160,
            latency_margin_us: 1_000,
            persist: 4,
            of: 5,
            burst_errors: 10,
            burst_per_mille: 500,
            saturated_per_mille: 950,
            exhaustion_s: 30,
            watch_per_mille: 700,
            missed_heartbeats: 3,
            finding_s: 600,
        }
    }
}
