//! What the absence of data means, feed by feed: nothing happened, nothing changed, or something is wrong.

use crate::Judgement;
use crate::limits::MissingLimits;
use serde::{Deserialize, Serialize};

/// What a tick without data counts as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MissingPolicy {
    /// As none: for counts, of which absence is a number.
    #[default]
    Zero,
    /// As the last value, for so many ticks; then it is unknown: for gauges that are said when they change.
    Hold,
    /// As a fault of the feed: for what must come in every tick. The value is unknown meanwhile.
    Alarm,
}

/// What a tick counts as, and what is said of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MissingJudgement {
    /// The value to go on with; `None`: no rule may judge it.
    pub value: Option<i64>,
    /// The answer.
    pub judgement: Judgement,
}

/// Judges a feed whose last value came `missed_ticks` ticks ago (0: it came in this one), by its policy.
///
/// A feed that never brought anything is `never_seen` and does not fire: nobody knows yet that it exists.
///
/// ```
/// use evenkeel_detectors::{MissingLimits, MissingPolicy, judge_missing};
/// let limits = MissingLimits::default();
/// let answer = |policy| judge_missing(policy, Some(7), 3, &limits);
/// assert_eq!((answer(MissingPolicy::Zero).value, answer(MissingPolicy::Zero).judgement.fires), (Some(0), false));
/// assert_eq!((answer(MissingPolicy::Hold).value, answer(MissingPolicy::Hold).judgement.fires), (Some(7), false));
/// assert_eq!((answer(MissingPolicy::Alarm).value, answer(MissingPolicy::Alarm).judgement.fires), (None, true));
/// ```
pub fn judge_missing(
    policy: MissingPolicy,
    last: Option<i64>,
    missed_ticks: i64,
    limits: &MissingLimits,
) -> MissingJudgement {
    let answer = |value, judgement| MissingJudgement { value, judgement };
    if last.is_none() {
        return answer(None, Judgement::held("never_seen", false));
    }
    if missed_ticks <= 0 {
        return answer(last, Judgement::held("present", false));
    }
    match policy {
        MissingPolicy::Zero => answer(Some(0), Judgement::held("counted_as_zero", false)),
        MissingPolicy::Hold if missed_ticks <= limits.hold_ticks => answer(last, Judgement::held("held", false)),
        MissingPolicy::Hold => answer(None, Judgement::held("unknown", true)),
        MissingPolicy::Alarm if missed_ticks < limits.alarm_ticks => answer(None, Judgement::held("late", true)),
        MissingPolicy::Alarm => answer(None, Judgement::fires("missing_data")),
    }
}
