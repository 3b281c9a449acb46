//! Numbers about a key: [`Statistics`] of one window, a [`Baseline`] of all its windows, a [`Rollup`] of one minute.

use crate::{Key, Tally};
use serde::{Deserialize, Serialize};

/// What a tally says, in the numbers people read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Statistics {
    /// Requests.
    pub requests: i64,
    /// Server errors.
    pub errors: i64,
    /// Mean latency, µs.
    pub mean_us: i64,
    /// Median latency, µs.
    pub p50_us: u64,
    /// 90th percentile, µs.
    pub p90_us: u64,
    /// 99th percentile, µs.
    pub p99_us: u64,
    /// 99.9th percentile, µs.
    pub p999_us: u64,
}

impl From<&Tally> for Statistics {
    fn from(tally: &Tally) -> Self {
        let [p50_us, p90_us, p99_us, p999_us] = tally.histogram.quantiles([500, 900, 990, 999]).unwrap_or_default();
        let (requests, errors) = (tally.requests, tally.errors);
        Self { requests, errors, mean_us: tally.mean_us(), p50_us, p90_us, p99_us, p999_us }
    }
}

/// The rolling windows of a key after a tick closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Baseline {
    /// The key.
    pub key: Key,
    /// End of the closed tick, µs since the Unix epoch.
    pub at_us: i64,
    /// Statistics per window; the name says its length: `10s`, `1m`, `5m`, `1h`.
    pub windows: Vec<(String, Statistics)>,
}

/// One closed minute of a key; a later one for the same key and minute replaces it (late data).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollup {
    /// The key.
    pub key: Key,
    /// Start of the minute, µs since the Unix epoch.
    pub start_us: i64,
    /// Sum of latencies, µs.
    pub latency_sum_us: i64,
    /// What the tally says.
    #[serde(flatten)]
    pub statistics: Statistics,
    /// Buckets and their counts, see [`crate::value_of`].
    pub histogram: Vec<(u16, i64)>,
}

impl Rollup {
    /// The rollup of a minute's tally.
    pub fn new(key: Key, start_us: i64, tally: &Tally) -> Self {
        let histogram = tally.histogram.iter().collect();
        Self { key, start_us, latency_sum_us: tally.latency_sum_us, statistics: Statistics::from(tally), histogram }
    }
}
