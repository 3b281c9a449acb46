//! Recent against history: does a key behave unlike itself?
//!
//! # Decision
//! Effect size with a volume floor, not a significance test: at a million requests every difference is significant, and
//! people are paged for large ones. Latency is judged by the median *and* the 90th percentile, because one slow second
//! in ten moves the second and not the first.

use crate::Detection;
use evenkeel_schemas::Statistics;

/// A rule's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// Whether the limit is passed and nothing speaks against saying so.
    pub fires: bool,
    /// Whether the limit is passed at all; if it does not fire, `reason` names the guard that held it back.
    pub exceeds: bool,
    /// Reason code.
    pub reason: &'static str,
}

impl Judgement {
    pub(crate) const fn fires(reason: &'static str) -> Self {
        Self { fires: true, exceeds: true, reason }
    }

    pub(crate) const fn held(reason: &'static str, exceeds: bool) -> Self {
        Self { fires: false, exceeds, reason }
    }
}

/// Judges the error rate of `recent` against `history`.
pub fn judge_errors(recent: &Statistics, history: &Statistics, limits: &Detection) -> Judgement {
    if recent.requests <= 0 {
        return Judgement::held("no_traffic", false);
    }
    // Rates are compared by cross-multiplication in 128 bits: exact, and no division by zero.
    let scaled = |errors: i64, requests: i64| i128::from(errors) * i128::from(requests.max(1));
    let (seen, usual) = (scaled(recent.errors, history.requests), scaled(history.errors, recent.requests));
    let both = scaled(recent.requests, history.requests);
    let above_margin = (seen - usual) * 1000 >= both * i128::from(limits.error_margin_per_mille);
    let above_ratio = seen * 100 >= usual * i128::from(limits.error_ratio_percent);
    let guard = i128::from(recent.errors) * 1000 >= scaled(recent.requests, limits.error_guard_per_mille);
    let exceeds = (above_margin && above_ratio) || guard;
    if !exceeds {
        Judgement::held("within_baseline", false)
    } else if recent.requests < limits.min_requests || recent.errors < limits.min_errors {
        Judgement::held("low_volume", true)
    } else if guard {
        Judgement::fires("above_guard")
    } else if history.requests < limits.min_history {
        Judgement::held("cold_start", true)
    } else {
        Judgement::fires("above_baseline")
    }
}

/// Judges the latency of `recent` against `history`.
pub fn judge_latency(recent: &Statistics, history: &Statistics, limits: &Detection) -> Judgement {
    let above = |seen: u64, usual: u64| {
        seen * 100 >= usual * limits.latency_ratio_percent && seen >= usual + limits.latency_margin_us
    };
    if recent.requests <= 0 {
        Judgement::held("no_traffic", false)
    } else if history.requests < limits.min_history {
        Judgement::held("cold_start", false)
    } else if !(above(recent.p50_us, history.p50_us) && above(recent.p90_us, history.p90_us)) {
        Judgement::held("within_baseline", false)
    } else if recent.requests < limits.min_requests {
        Judgement::held("low_volume", true)
    } else {
        Judgement::fires("above_baseline")
    }
}

/// Whether no rule's limit is passed, so that there is nothing to say of a key that was quiet before.
pub fn is_quiet(recent: &Statistics, history: &Statistics, limits: &Detection) -> bool {
    !judge_burst(recent.requests, recent.errors, limits).exceeds
        && !judge_errors(recent, history, limits).exceeds
        && !judge_latency(recent, history, limits).exceeds
}

/// Judges the open ticks of a key for a burst of errors.
pub fn judge_burst(requests: i64, errors: i64, limits: &Detection) -> Judgement {
    let exceeds = errors > 0 && errors * 1000 >= requests * limits.burst_per_mille;
    if !exceeds {
        Judgement::held("within_baseline", false)
    } else if errors < limits.burst_errors {
        Judgement::held("low_volume", true)
    } else {
        Judgement::fires("error_burst")
    }
}
