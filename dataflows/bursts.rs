//! `bursts`: errors of the open ticks that begin an anomaly before any of them closes, or come back.

use crate::detect::{Detect, Latches, verdict};
use crate::tuning::TICK_US;
use evenkeel_detectors::judge_burst;
use evenkeel_schemas::{Decision, Detector, Dimension, Key, Verdict};

/// A burst that stands and comes back after so long without one is worth a word: whoever was sent no traffic, and is tried
/// again, fails again, µs. Open ticks hold less than half of that.
const AGAIN_US: i64 = 5 * TICK_US;

/// The reason of that word.
const AGAIN: &str = "burst_again";

impl Detect {
    /// Judges what the open ticks hold, the first of which begins at `open_us`.
    pub fn burst(
        &self,
        key: &Key,
        state: &mut Latches,
        (at_us, open_us): (i64, i64),
        (requests, errors): (i64, i64),
        said: &mut Vec<Verdict>,
    ) {
        let judgement = self.muted(key, at_us, judge_burst(requests, errors, &self.limits));
        if !judgement.fires {
            return;
        }
        let evidence = || format!("{errors} errors in {requests} requests of the open ticks");
        let verdict = |reason| verdict(key, Detector::ErrorBurst, reason, at_us, evidence());
        let before_us = state.burst_us.replace(at_us);
        if state.burst.said().is_none() {
            state.burst.fire(verdict(judgement.reason));
            state.past.burst_began(open_us);
            said.push(verdict(judgement.reason));
        } else if before_us.is_some_and(|before_us| at_us >= before_us + AGAIN_US) {
            // It is no news for people: the verdict stands. Whoever tries the key has to know.
            said.push(Verdict { decision: Decision::Hold, ..verdict(AGAIN) });
        }
    }
}

/// What a burst begins at, or comes back at, if that is what a verdict says: a node, or a service.
pub(crate) fn bursts(verdict: &Verdict) -> Option<&str> {
    let begins = verdict.decision == Decision::Fire || verdict.reason == AGAIN;
    let is_burst = verdict.detector == Detector::ErrorBurst && begins;
    let target = match verdict.key.0.keys().copied().collect::<Vec<_>>().as_slice() {
        [Dimension::Service] => Some(Dimension::Service),
        [Dimension::Service, Dimension::Node] => Some(Dimension::Node),
        _ => None,
    };
    target.filter(|_| is_burst).and_then(|dimension| verdict.key.get(dimension))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::epochs::Moment;
    use crate::intervals::Intervals;
    use crate::operators::fold::Machine;
    use crate::operators::window::Observation;
    use crate::recovery::News;
    use evenkeel_detectors::Detection;
    use evenkeel_schemas::Epoch;
    use std::sync::Arc;

    #[test]
    fn a_burst_that_comes_back_while_it_stands_is_held_with_a_word_and_nothing_else() {
        let machine =
            Detect { limits: Detection::default(), ending: Detection::default(), intervals: Intervals::default() };
        let key = Arc::new(Key::new([(Dimension::Service, "app"), (Dimension::Node, "s1")]));
        let (id, mut state) = (key.id(), Latches::default());
        let mut hear = |now_us: i64| {
            let mut said = Vec::new();
            let now = Moment { epoch: Epoch(1), now_us, warm: false };
            let input = Observation::Errors { at_us: now_us, open_us: 0, requests: 10, errors: 10 };
            machine.hear(&id, &mut state, (input, Arc::clone(&key)), now, &mut said);
            let verdicts = said.iter().filter_map(|news| match news {
                News::Verdict(verdict) => Some(verdict),
                _ => None,
            });
            verdicts.map(|verdict| (verdict.decision, bursts(verdict).map(str::to_owned))).collect::<Vec<_>>()
        };
        assert_eq!(hear(0), [(Decision::Fire, Some("s1".to_owned()))]);
        // It goes on.
        assert_eq!((hear(AGAIN_US - 1), hear(2 * AGAIN_US - 2)), (vec![], vec![]));
        assert_eq!(hear(3 * AGAIN_US), [(Decision::Hold, Some("s1".to_owned()))]);
        assert_eq!(hear(3 * AGAIN_US + 1), []);
    }
}
