//! `budgets`: the error budget of each service that has an objective; verdicts when it burns too fast.

use crate::detect::turn;
use crate::epochs::Moment;
use crate::intervals::Intervals;
use crate::minutes::Minute;
use crate::operators::fold::Machine;
use crate::state::from_json;
use crate::tuning::TICK_US;
use evenkeel_detectors::{BURN_WINDOWS_S, Detection, Latch, judge_burn};
use evenkeel_schemas::{Detector, Verdict};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Judges burn rates; keyed by service.
pub(crate) struct Budgets {
    pub limits: Detection,
    pub intervals: Intervals,
    /// Shares of good requests, parts per million, by service.
    pub objectives: BTreeMap<String, i64>,
}

/// It ends after so many minutes in which no budget burns too fast.
const PERSISTENCE: (u32, u32) = (1, 3);

/// Whether a budget burns.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Burning(Latch<Verdict>);

/// The objective of a service: its own, or that of `*`.
pub(crate) fn objective(objectives: &BTreeMap<String, i64>, service: &str) -> Option<i64> {
    objectives.get(service).or_else(|| objectives.get("*")).copied()
}

impl Machine for Budgets {
    type Key = String;
    type Input = Minute;
    type State = Burning;
    type Said = Verdict;
    const NAME: &'static str = "budgets";

    fn hear(&self, service: &String, state: &mut Burning, minute: Minute, _now: Moment, said: &mut Vec<Verdict>) {
        let (Some(objective), Some(pairs)) = (objective(&self.objectives, service), minute.pairs()) else { return };
        let at_us = (minute.minute + 1) * 60 * TICK_US;
        let judgement = judge_burn(objective, &pairs, &self.limits.burn);
        let judgement = self.intervals.held(service, at_us - 1, judgement);
        let evidence = || {
            let of =
                |(errors, requests): (i64, i64), span_s: i64| format!("{errors}/{requests} in {} min", span_s / 60);
            let pairs = minute.budget.iter().zip(BURN_WINDOWS_S);
            let words = pairs
                .map(|((long, short), (long_s, short_s))| format!("{}, {}", of(*long, long_s), of(*short, short_s)));
            let words = words.collect::<Vec<_>>().join("; ");
            format!("errors {words}, where {objective} of a million requests should be good")
        };
        turn(&mut state.0, &minute.key, (Detector::BudgetBurn, PERSISTENCE), judgement, at_us, &evidence, said);
    }
}

/// The verdict that stands in a committed state.
pub(crate) fn standing(state: &[u8]) -> Option<Verdict> {
    from_json::<Burning>(state).0.said().cloned()
}
