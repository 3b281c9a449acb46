//! Every number the rules go by.

use crate::MissingPolicy;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Most signals of which it can be said what their absence means.
const MAX_FEEDS: usize = 1_000;

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
    /// … of so many judged ticks (at most 32); and in none of them to end. A transient of ten seconds is none.
    pub of: u32,
    /// A key of fewer requests is judged by spans of ten seconds or more that do not overlap: a limit must be passed in so
    /// many …
    pub quiet_persist: u32,
    /// … of so many of them.
    pub quiet_of: u32,
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
    /// Signals that page when they are unlike their own past, by name; the others are recorded.
    pub paging_signals: Vec<String>,
    /// When the number of requests is a finding.
    pub traffic: TrafficLimits,
    /// When an error budget burns too fast.
    pub burn: BurnLimits,
    /// When a version is worse than the others.
    pub canary: CanaryLimits,
    /// When a gauge leaks.
    pub leak: LeakLimits,
    /// When a breach is foreseen.
    pub forecast: ForecastLimits,
    /// When a service is said to flap, of which somebody is paged.
    pub flap: FlapLimits,
    /// What an error rate or a latency is compared with stays as it was when it fired, so long; then the new level is the usual
    /// one, min.
    pub accept_min: i64,
    /// What absence means.
    pub missing: MissingLimits,
}

/// Limits of [`judge_traffic`](crate::judge_traffic) and [`silence_after`](crate::silence_after); none of them is a rate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrafficLimits {
    /// Fewer requests than this in the usual span: there is nothing to compare with.
    pub min_history: i64,
    /// A shorter span says nothing, whatever the rate, s.
    pub min_span_s: i64,
    /// A drop is this much below what is expected, per mille …
    pub drop_per_mille: i64,
    /// … and a surge this many times of it, in hundredths …
    pub surge_percent: i64,
    /// … and either so many standard deviations away.
    pub deviations: i64,
    /// The variance of a count is this many times its mean, in hundredths: 100 is Poisson's.
    pub dispersion_percent: i64,
    /// No request at all is a result where so many were expected.
    pub zero_expected: i64,
    /// Longest silence that is waited for, s; a key so rare that it needs longer is not judged by its silence.
    pub max_silence_s: i64,
    /// Whether a surge fires; it is held back if not, as more customers are no fault.
    pub surge_fires: bool,
}

/// Limits of [`judge_burn`](crate::judge_burn): burn rates as in the SRE Workbook, chapter 5, table 5-8.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BurnLimits {
    /// An hour and five minutes burn the budget this many times too fast, in tenths.
    pub fast_tenths: i64,
    /// Six hours and thirty minutes do, in tenths.
    pub medium_tenths: i64,
    /// Three days and six hours do, in tenths.
    pub slow_tenths: i64,
    /// Fewer errors than this in the long window of a pair are held back.
    pub min_errors: i64,
    /// Fewer requests than this in the short window of a pair are held back.
    pub min_requests: i64,
}

/// Limits of [`Canary`](crate::Canary).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CanaryLimits {
    /// The chance that a version no worse than the others is ever found worse, per million.
    pub alpha_per_million: i64,
    /// The rate of the last quarter of an hour or so must be this much above the others', per mille of requests.
    pub margin_per_mille: i64,
    /// Errors come in clumps of this size, in hundredths: 100 if they are independent; evidence is divided by it.
    pub dispersion_percent: i64,
}

/// Limits of [`Leak`](crate::Leak).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LeakLimits {
    /// Fewer half-hours than this are no trend.
    pub min_points: usize,
    /// The trend is so many standard deviations of Mann-Kendall's statistic from none, in tenths.
    pub deviations_tenths: i64,
    /// It is said if the limit is reached within, h; at most 24.
    pub horizon_h: i64,
    /// And without a yesterday to compare with, only if it is reached within, h.
    pub urgent_h: i64,
    /// A gauge that swings by this share of its limit within half an hour is a saw-tooth, per mille.
    pub saw_tooth_per_mille: i64,
}

/// Limits of [`Forecast`](crate::Forecast).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ForecastLimits {
    /// A breach is foreseen so many slots of ten minutes ahead; at most 6.
    pub lead_slots: usize,
    /// The share of its own recent misses the band holds, in hundredths.
    pub band_percent: i64,
    /// A forecast from fewer trials than this is none.
    pub min_trials: usize,
}

/// Limits of [`Flap`](crate::Flap).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FlapLimits {
    /// More pages than this …
    pub max_fires: usize,
    /// … within this time are flapping, s …
    pub within_s: i64,
    /// … and the incident then stays open until it was calm for, s.
    pub calm_s: i64,
}

/// Limits of [`judge_missing`](crate::judge_missing).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MissingLimits {
    /// What it means that a signal has no value, by its name; of those without a name here it is not judged.
    pub feeds: BTreeMap<String, MissingPolicy>,
    /// A value is held for so many missing ticks; then it is unknown.
    pub hold_ticks: i64,
    /// A feed that must not be silent is a finding after so many.
    pub alarm_ticks: i64,
}

impl Default for TrafficLimits {
    fn default() -> Self {
        Self {
            min_history: 300,
            min_span_s: 10,
            drop_per_mille: 300,
            surge_percent: 300,
            deviations: 5,
            dispersion_percent: 200,
            zero_expected: 30,
            max_silence_s: 3_600,
            surge_fires: false,
        }
    }
}

impl Default for BurnLimits {
    fn default() -> Self {
        Self { fast_tenths: 144, medium_tenths: 60, slow_tenths: 10, min_errors: 10, min_requests: 20 }
    }
}

impl Default for CanaryLimits {
    fn default() -> Self {
        Self { alpha_per_million: 1_000, margin_per_mille: 5, dispersion_percent: 200 }
    }
}

impl Default for LeakLimits {
    fn default() -> Self {
        Self { min_points: 9, deviations_tenths: 35, horizon_h: 24, urgent_h: 4, saw_tooth_per_mille: 100 }
    }
}

impl Default for ForecastLimits {
    fn default() -> Self {
        Self { lead_slots: 6, band_percent: 60, min_trials: 12 }
    }
}

impl Default for FlapLimits {
    fn default() -> Self {
        Self { max_fires: 4, within_s: 3_600, calm_s: 1_800 }
    }
}

impl Default for MissingLimits {
    fn default() -> Self {
        Self { feeds: BTreeMap::new(), hold_ticks: 60, alarm_ticks: 3 }
    }
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
            persist: 12,
            of: 15,
            quiet_persist: 3,
            quiet_of: 4,
            burst_errors: 10,
            burst_per_mille: 500,
            saturated_per_mille: 950,
            exhaustion_s: 30,
            watch_per_mille: 700,
            missed_heartbeats: 3,
            finding_s: 600,
            paging_signals: Vec::new(),
            traffic: TrafficLimits::default(),
            burn: BurnLimits::default(),
            canary: CanaryLimits::default(),
            leak: LeakLimits::default(),
            forecast: ForecastLimits::default(),
            flap: FlapLimits::default(),
            accept_min: 60,
            missing: MissingLimits::default(),
        }
    }
}

impl TrafficLimits {
    /// Whether every number is within its range.
    pub fn is_sound(&self) -> bool {
        self.min_history >= 1
            && (1..=86_400).contains(&self.min_span_s)
            && (1..=1_000).contains(&self.drop_per_mille)
            && (101..=100_000).contains(&self.surge_percent)
            && (1..=100).contains(&self.deviations)
            && (100..=10_000).contains(&self.dispersion_percent)
            && (1..=1_000_000).contains(&self.zero_expected)
            && (1..=1 << 20).contains(&self.max_silence_s)
    }
}

impl BurnLimits {
    /// Whether every number is within its range.
    pub fn is_sound(&self) -> bool {
        let rates = [self.fast_tenths, self.medium_tenths, self.slow_tenths];
        rates.iter().all(|tenths| (1..=10_000_000).contains(tenths)) && self.min_errors >= 0 && self.min_requests >= 0
    }
}

impl CanaryLimits {
    /// Whether every number is within its range.
    pub fn is_sound(&self) -> bool {
        (1..=1_000_000).contains(&self.alpha_per_million)
            && (0..=1_000).contains(&self.margin_per_mille)
            && (100..=10_000).contains(&self.dispersion_percent)
    }
}

impl LeakLimits {
    /// Whether every number is within its range.
    pub fn is_sound(&self) -> bool {
        (4..=24).contains(&self.min_points)
            && (1..=100).contains(&self.deviations_tenths)
            && (1..=24).contains(&self.horizon_h)
            && (1..=24).contains(&self.urgent_h)
            && (1..=1_000).contains(&self.saw_tooth_per_mille)
    }
}

impl ForecastLimits {
    /// Whether every number is within its range.
    pub fn is_sound(&self) -> bool {
        (1..=6).contains(&self.lead_slots)
            && (1..=100).contains(&self.band_percent)
            && (1..=72).contains(&self.min_trials)
    }
}

impl FlapLimits {
    /// Whether every number is within its range.
    pub fn is_sound(&self) -> bool {
        (1..crate::MOST_FIRES).contains(&self.max_fires)
            && (1..=86_400).contains(&self.within_s)
            && (1..=86_400).contains(&self.calm_s)
    }
}

impl MissingLimits {
    /// Whether every number is within its range.
    pub fn is_sound(&self) -> bool {
        self.feeds.len() <= MAX_FEEDS
            && (1..=86_400).contains(&self.hold_ticks)
            && (1..=86_400).contains(&self.alarm_ticks)
    }
}

impl Detection {
    /// The lines at which what was said ends: halfway between the usual and the line at which it began, so that what lies at
    /// a line does not begin and end with every breath.
    pub fn ending(&self) -> Self {
        Self {
            error_margin_per_mille: self.error_margin_per_mille / 2,
            error_ratio_percent: (self.error_ratio_percent + 100) / 2,
            latency_ratio_percent: self.latency_ratio_percent.midpoint(100),
            latency_margin_us: self.latency_margin_us / 2,
            ..self.clone()
        }
    }
}
