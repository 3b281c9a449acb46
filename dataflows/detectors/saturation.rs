//! Does something run out? Utilisation of a limit, and the time to exhaustion by its trend.

use crate::Detection;
use crate::Judgement;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Most samples a trend is taken over.
const SAMPLES: usize = 12;

/// The last samples of a limited gauge, (µs, thousandths of its unit).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trend(VecDeque<(i64, i64)>);

impl Trend {
    /// Takes in a sample; samples older than the newest one are left out.
    pub fn push(&mut self, at_us: i64, value_milli: i64) {
        if self.0.back().is_none_or(|(newest, _)| *newest < at_us) {
            self.0.push_back((at_us, value_milli));
        }
        while self.0.len() > SAMPLES {
            self.0.pop_front();
        }
    }

    /// Seconds until `limit_milli` is reached at the slope of the least-squares line; `None` if it does not rise.
    ///
    /// All in integers: the slope is `(n·Σtv − Σt·Σv) / (n·Σt² − (Σt)²)` in 128 bits.
    pub fn exhaustion_s(&self, limit_milli: i64) -> Option<i64> {
        let (first, _) = self.0.front()?;
        let (_, newest) = self.0.back()?;
        let samples = self.0.iter().map(|(at, value)| (i128::from((at - first) / 1000), i128::from(*value)));
        let (n, t, v, tv, tt) = samples.fold((0i128, 0, 0, 0, 0), |(n, t, v, tv, tt), (ms, value)| {
            (n + 1, t + ms, v + value, tv + ms * value, tt + ms * ms)
        });
        let (rise, run) = (n * tv - t * v, n * tt - t * t);
        if n < 4 || rise <= 0 || run <= 0 {
            return None;
        }
        let left = i128::from(limit_milli) - i128::from(*newest);
        i64::try_from(left.max(0) * run / rise / 1000).ok()
    }
}

/// Judges a gauge against its limit.
pub fn judge_saturation(value_milli: i64, limit_milli: i64, trend: &Trend, limits: &Detection) -> Judgement {
    let share = |per_mille: i64| i128::from(value_milli) * 1000 >= i128::from(limit_milli) * i128::from(per_mille);
    if share(limits.saturated_per_mille) {
        return Judgement { fires: true, exceeds: true, reason: "at_limit" };
    }
    let soon = trend.exhaustion_s(limit_milli).is_some_and(|seconds| seconds <= limits.exhaustion_s);
    match (soon, share(limits.watch_per_mille)) {
        (true, true) => Judgement { fires: true, exceeds: true, reason: "exhaustion_near" },
        (true, false) => Judgement { fires: false, exceeds: true, reason: "far_from_limit" },
        _ => Judgement { fires: false, exceeds: false, reason: "within_limit" },
    }
}
