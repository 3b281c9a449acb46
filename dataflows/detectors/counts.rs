//! What was counted over a span: the numbers the counting rules take.

use serde::{Deserialize, Serialize};

/// Requests of a span of time.
///
/// Counts above 2^40 and spans above 2^20 s (twelve days) count as that: so products of them fit in 128 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Volume {
    /// Requests.
    pub requests: i64,
    /// The length of the span, s.
    pub span_s: i64,
}

impl Volume {
    /// Both as wide integers, within their bounds.
    pub(crate) fn wide(self) -> (i128, i128) {
        (i128::from(self.requests.clamp(0, 1 << 40)), i128::from(self.span_s.clamp(0, 1 << 20)))
    }
}

/// How many of the requests failed, or were slow, or whatever the rule asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// Requests that count as errors; more than there are requests count as all of them.
    pub errors: i64,
    /// Requests; above 2^40 they count as that.
    pub requests: i64,
}

impl Share {
    /// Within its bounds.
    pub(crate) fn bounded(self) -> Self {
        let requests = self.requests.clamp(0, 1 << 40);
        Self { errors: self.errors.clamp(0, requests), requests }
    }
}
