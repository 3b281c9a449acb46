//! Does an error budget burn too fast? Burn rates over pairs of windows.
//!
//! # Decision
//! Multiwindow, multi-burn-rate alerts as in Google's *Site Reliability Workbook*, chapter 5 ("Alerting on SLOs", its
//! sixth way): the long window says that much of the budget is gone, the short one that it still burns, so that the
//! alert ends soon after the errors do. Floors keep a service of few requests from being paged for one error in ten.

use crate::limits::BurnLimits;
use crate::{Judgement, Share};

/// The pairs of windows, (long, short), s: fast, medium, slow.
pub const BURN_WINDOWS_S: [(i64, i64); 3] = [(3_600, 300), (21_600, 1_800), (259_200, 21_600)];

/// Errors and requests of a pair of windows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BurnPair {
    /// Of the long one.
    pub long: Share,
    /// Of the short one.
    pub short: Share,
}

/// How many times too fast a window burns the budget, in thousandths: 1,000 spends it exactly. `None` without requests
/// or without an objective, which is a share of good requests in parts per million, above none and below all.
///
/// ```
/// use evenkeel_detectors::{Share, burn_rate_milli};
/// let hour = Share { errors: 144, requests: 10_000 };
/// assert_eq!(burn_rate_milli(999_000, hour), Some(14_400), "1.44 % of errors where 0.1 % are allowed");
/// ```
pub fn burn_rate_milli(objective_per_million: i64, window: Share) -> Option<i64> {
    let Share { errors, requests } = window.bounded();
    let budget = i128::from(1_000_000 - objective_per_million.clamp(0, 1_000_000));
    if requests == 0 || budget == 0 || objective_per_million <= 0 {
        return None;
    }
    i64::try_from(i128::from(errors) * 1_000_000_000 / (i128::from(requests) * budget)).ok()
}

/// Whether a window burns at least `tenths` / 10 times too fast; exact, by cross-multiplication.
fn burns(window: Share, budget_per_million: i64, tenths: i64) -> bool {
    let Share { errors, requests } = window.bounded();
    let wide = |number: i64| i128::from(number);
    errors > 0 && wide(errors) * 10_000_000 >= wide(requests) * wide(budget_per_million) * wide(tenths)
}

/// Judges the three pairs of [`BURN_WINDOWS_S`] against an objective, a share of good requests in parts per million.
///
/// The fastest pair that fires is the reason. If none does: `low_volume` where a pair is held back by a floor,
/// `burn_ended` where only a long window still says so, `burn_is_brief` where only a short one does.
///
/// ```
/// use evenkeel_detectors::{BurnPair, Share, judge_burn};
/// # let limits = evenkeel_detectors::BurnLimits::default();
/// let hour = BurnPair { long: Share { errors: 150, requests: 10_000 }, short: Share { errors: 15, requests: 900 } };
/// assert_eq!(judge_burn(999_000, &[hour, BurnPair::default(), BurnPair::default()], &limits).reason, "burn_fast");
/// ```
pub fn judge_burn(objective_per_million: i64, pairs: &[BurnPair; 3], limits: &BurnLimits) -> Judgement {
    if !(1..1_000_000).contains(&objective_per_million) {
        return Judgement::held("no_objective", false);
    }
    if pairs.iter().all(|pair| pair.long.requests <= 0) {
        return Judgement::held("no_traffic", false);
    }
    let budget = 1_000_000 - objective_per_million;
    let kinds =
        [("burn_fast", limits.fast_tenths), ("burn_medium", limits.medium_tenths), ("burn_slow", limits.slow_tenths)];
    let mut answer = Judgement::held("within_budget", false);
    for (pair, (reason, tenths)) in pairs.iter().zip(kinds) {
        let enough = pair.long.errors >= limits.min_errors && pair.short.requests >= limits.min_requests;
        match (burns(pair.long, budget, tenths), burns(pair.short, budget, tenths)) {
            (true, true) if enough => return Judgement::fires(reason),
            (true, true) => answer = Judgement::held("low_volume", true),
            (true, false) if !answer.exceeds => answer = Judgement::held("burn_ended", false),
            (false, true) if answer.reason == "within_budget" => answer = Judgement::held("burn_is_brief", false),
            _ => {}
        }
    }
    answer
}
