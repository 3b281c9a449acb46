//! Is there as much traffic as usual? Drops, silence, surges.
//!
//! # Decision
//! A drop is a large one (a share of what is expected) *and* one that chance does not explain (deviations of a count
//! whose variance is a multiple of its mean, as in quasi-Poisson regression: McCullagh & Nelder, *Generalized Linear
//! Models*, § 6.2). Neither names a rate, so one configuration serves a key of 15 requests a second and one of 2,000;
//! at a lower rate the same drop only needs a longer span. A drop must be one against the last hour *and* against the
//! season, where that is known: the evening is no outage, and neither is Sunday.

use crate::limits::TrafficLimits;
use crate::{Judgement, Volume};

/// How `seen` compares with what a reference span leads to expect.
#[derive(Clone, Copy)]
struct Comparison {
    /// Seen and expected, both times the length of the reference.
    seen: i128,
    expected: i128,
    /// The length of the reference, s.
    reference_s: i128,
    /// Whether chance does not explain the difference.
    significant: bool,
}

impl Comparison {
    /// With the variance `φ·E·(1 + span / reference)`: that of the count, and that of what is expected of it.
    fn of(seen: Volume, reference: Volume, limits: &TrafficLimits) -> Self {
        let ((requests, span_s), (usual, reference_s)) = (seen.wide(), reference.wide());
        let (seen, expected) = (requests * reference_s, usual * span_s);
        let squared = i128::from(limits.deviations * limits.deviations) * i128::from(limits.dispersion_percent);
        // 100 (E - x)² >= z² φ E (1 + s/U), times U²; (2^60)² · 100 stays below 2^127.
        let significant = (seen - expected).pow(2) * 100 >= squared * expected * (reference_s + span_s);
        Self { seen, expected, reference_s, significant }
    }

    fn dropped(&self, limits: &TrafficLimits) -> bool {
        self.expected > 0 && self.seen * 1000 <= self.expected * i128::from(1000 - limits.drop_per_mille)
    }

    fn surged(&self, limits: &TrafficLimits) -> bool {
        self.seen > 0 && self.seen * 100 >= self.expected * i128::from(limits.surge_percent)
    }

    /// Whether so few can be told from none, or the like.
    fn telling(&self, limits: &TrafficLimits) -> bool {
        match self.seen {
            0 => self.expected >= self.reference_s * i128::from(limits.zero_expected),
            _ => self.significant,
        }
    }
}

/// Judges the requests of a span against the `usual` ones (say the last hour's) and against the `season` (the same hour
/// of yesterday or of a week ago), if that is known; a season without any requests is one in which silence is usual.
///
/// ```
/// use evenkeel_detectors::{Volume, judge_traffic};
/// # let limits = evenkeel_detectors::TrafficLimits::default();
/// let (minute, hour) = (Volume { requests: 540, span_s: 60 }, Volume { requests: 54_000, span_s: 3_600 });
/// assert_eq!(judge_traffic(minute, hour, None, &limits).reason, "drop", "540 where 900 are usual");
/// ```
pub fn judge_traffic(seen: Volume, usual: Volume, season: Option<Volume>, limits: &TrafficLimits) -> Judgement {
    if seen.span_s <= 0 || usual.span_s <= 0 || usual.requests < limits.min_history {
        return Judgement::held("cold_start", false);
    }
    let usual = Comparison::of(seen, usual, limits);
    let season = season.filter(|season| season.span_s > 0).map(|season| Comparison::of(seen, season, limits));
    let by_season = |holds: &dyn Fn(&Comparison) -> bool| season.as_ref().is_none_or(holds);
    let (dropped, surged) = (usual.dropped(limits), usual.surged(limits));
    if !dropped && !surged {
        return Judgement::held("within_usual", false);
    }
    let alike = if dropped { by_season(&|it| it.dropped(limits)) } else { by_season(&|it| it.surged(limits)) };
    if !alike {
        Judgement::held("within_season", true)
    } else if seen.span_s < limits.min_span_s {
        Judgement::held("short_span", true)
    } else if !(usual.telling(limits) && by_season(&|it| it.telling(limits))) {
        Judgement::held("low_volume", true)
    } else if dropped {
        Judgement::fires(if usual.seen == 0 { "drop_to_zero" } else { "drop" })
    } else if limits.surge_fires {
        Judgement::fires("surge")
    } else {
        Judgement::held("surge_is_no_fault", true)
    }
}

/// How long a key may be silent until that is a result, µs: as long as `zero_expected` requests usually take, and no
/// shorter than `min_span_s`. `None` if it has no history, or is so rare that it would take longer than `max_silence_s`.
///
/// It is the span from which on [`judge_traffic`] says `drop_to_zero` of no requests: for a key that is not judged any
/// more because nothing comes.
///
/// ```
/// use evenkeel_detectors::{Volume, silence_after};
/// # let limits = evenkeel_detectors::TrafficLimits::default();
/// let rate = |a_second: i64| Volume { requests: a_second * 3_600, span_s: 3_600 };
/// assert_eq!(silence_after(rate(1), &limits), Some(30_000_000));
/// assert_eq!(silence_after(rate(2_000), &limits), Some(10_000_000));
/// ```
pub fn silence_after(usual: Volume, limits: &TrafficLimits) -> Option<i64> {
    if usual.span_s <= 0 || usual.requests < limits.min_history.max(1) {
        return None;
    }
    let (requests, span_s) = usual.wide();
    let needed_us = (i128::from(limits.zero_expected) * span_s * 1_000_000 + requests - 1) / requests;
    let silence_us = needed_us.max(i128::from(limits.min_span_s) * 1_000_000);
    (silence_us <= i128::from(limits.max_silence_s) * 1_000_000).then(|| i64::try_from(silence_us).ok()).flatten()
}
