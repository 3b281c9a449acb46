//! `detect`: observations of a key in; verdicts out.

use crate::epochs::Moment;
use crate::intervals::Intervals;
use crate::operators::fold::Machine;
use crate::operators::window::Observation;
use crate::state::from_json;
use crate::tuning::TICK_US;
use evenkeel_detectors::Detection;
use evenkeel_detectors::{Judgement, Latch, Turn, judge_burst, judge_errors, judge_latency};
use evenkeel_schemas::{Decision, Detector, Key, KeyId, Statistics, Verdict};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A firing key that shows nothing for so long is cleared: there is no traffic left to judge, µs.
const FORGET_US: i64 = 15 * TICK_US;

/// Judges keys against themselves.
pub(crate) struct Detect {
    pub limits: Detection,
    pub intervals: Intervals,
}

/// What is kept of a key that is not quiet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Latches {
    burst: Latch<Verdict>,
    errors: Latch<Verdict>,
    latency: Latch<Verdict>,
    /// When the key was last observed, µs; kept only while something fires.
    seen_us: Option<i64>,
}

impl Latches {
    fn fires(&self) -> bool {
        [&self.burst, &self.errors, &self.latency].iter().any(|latch| latch.said().is_some())
    }
}

impl Machine for Detect {
    type Key = KeyId;
    type Input = (Observation, Arc<Key>);
    type State = Latches;
    type Said = Verdict;
    const NAME: &'static str = "detect";

    fn hear(&self, _id: &KeyId, state: &mut Latches, (input, key): Self::Input, now: Moment, said: &mut Vec<Verdict>) {
        match input {
            Observation::Admitted => {}
            Observation::Errors { at_us, requests, errors } => self.burst(&key, state, (at_us, requests, errors), said),
            Observation::Tick { at_us, span, usual, precedented } => {
                self.tick(&key, state, at_us, (&span, &usual, precedented), said);
            }
            Observation::Evicted => self.forget(state, now.now_us, "evicted", said),
        }
        state.seen_us = state.fires().then_some(now.now_us);
    }

    fn alarm(&self, state: &Latches) -> Option<i64> {
        state.seen_us.map(|seen| seen + FORGET_US)
    }

    fn wake(&self, _id: &KeyId, state: &mut Latches, now: Moment, said: &mut Vec<Verdict>) {
        self.forget(state, now.now_us, "no_traffic", said);
        state.seen_us = None;
    }
}

impl Detect {
    fn burst(
        &self,
        key: &Key,
        state: &mut Latches,
        (at_us, requests, errors): (i64, i64, i64),
        said: &mut Vec<Verdict>,
    ) {
        let judgement = self.muted(key, at_us, judge_burst(requests, errors, &self.limits));
        if state.burst.said().is_none() && judgement.fires {
            let evidence = format!("{errors} errors in {requests} requests of the open ticks");
            let verdict = verdict(key, Detector::ErrorBurst, judgement.reason, at_us, evidence);
            state.burst.fire(verdict.clone());
            said.push(verdict);
        }
    }

    fn tick(
        &self,
        key: &Key,
        state: &mut Latches,
        at_us: i64,
        (span, history, precedented): (&Statistics, &Statistics, (bool, bool)),
        said: &mut Vec<Verdict>,
    ) {
        // Most ticks say nothing: words are made only when they are said.
        let evidence = || Verdict::compare(span, history);
        let burst = self.muted(key, at_us, judge_burst(span.requests, span.errors, &self.limits));
        // A burst is begun by the open ticks alone; closed ones can only end it.
        if state.burst.said().is_some() {
            self.turn(&mut state.burst, key, Detector::ErrorBurst, burst, at_us, &evidence, said);
        }
        let errors = usual_now(judge_errors(span, history, &self.limits), precedented.0);
        let errors = self.muted(key, at_us, errors);
        self.turn(&mut state.errors, key, Detector::ErrorRate, errors, at_us, &evidence, said);
        let latency = usual_now(judge_latency(span, history, &self.limits), precedented.1);
        let latency = self.muted(key, at_us, latency);
        self.turn(&mut state.latency, key, Detector::Latency, latency, at_us, &evidence, said);
    }

    /// During maintenance nothing is said.
    fn muted(&self, key: &Key, at_us: i64, judgement: Judgement) -> Judgement {
        held_back(judgement, "maintenance", || self.intervals.mute(key.service(), at_us - 1))
    }

    #[expect(clippy::too_many_arguments, reason = "one verdict has these parts, and only `tick` calls this")]
    fn turn(
        &self,
        latch: &mut Latch<Verdict>,
        key: &Key,
        detector: Detector,
        judgement: Judgement,
        at_us: i64,
        evidence: &impl Fn() -> String,
        said: &mut Vec<Verdict>,
    ) {
        let verdict = |reason: &str| verdict(key, detector, reason, at_us, evidence());
        match latch.judge(judgement.fires, self.limits.persist, self.limits.of) {
            Turn::Fire => {
                latch.fire(verdict(judgement.reason));
                said.push(verdict(judgement.reason));
            }
            Turn::Clear(began) => said.push(cleared(began, at_us, judgement.reason)),
            Turn::Pending => hold(latch, Some("not_persistent"), verdict, said),
            Turn::Quiet => {
                let guard = judgement.exceeds && !judgement.fires && latch.said().is_none();
                hold(latch, guard.then_some(judgement.reason), verdict, said);
            }
        }
    }

    fn forget(&self, state: &mut Latches, at_us: i64, reason: &str, said: &mut Vec<Verdict>) {
        for latch in [&mut state.burst, &mut state.errors, &mut state.latency] {
            said.extend(latch.clear().map(|began| cleared(began, at_us, reason)));
        }
    }
}

/// What is so at this time of the day or the week is no news.
fn usual_now(judgement: Judgement, precedented: bool) -> Judgement {
    held_back(judgement, "usual_at_this_time", || precedented)
}

/// Holds a rule that fires back for `reason`, if there is one.
pub(crate) fn held_back(judgement: Judgement, reason: &'static str, holds: impl Fn() -> bool) -> Judgement {
    if judgement.fires && holds() { Judgement { fires: false, reason, ..judgement } } else { judgement }
}

/// Says which guard holds a rule back, once.
fn hold(
    latch: &mut Latch<Verdict>,
    guard: Option<&'static str>,
    verdict: impl Fn(&str) -> Verdict,
    said: &mut Vec<Verdict>,
) {
    if latch.hold(guard) {
        let reason = guard.expect("only a guard is news");
        said.push(Verdict { decision: Decision::Hold, ..verdict(reason) });
    }
}

/// A verdict that an anomaly began.
pub(crate) fn verdict(key: &Key, detector: Detector, reason: &str, at_us: i64, evidence: String) -> Verdict {
    let (key, reason) = (key.clone(), reason.to_owned());
    Verdict { key, detector, decision: Decision::Fire, reason, at_us, since_us: at_us, evidence }
}

/// The verdict that ends what `began` began.
pub(crate) fn cleared(began: Verdict, at_us: i64, reason: &str) -> Verdict {
    Verdict { decision: Decision::Clear, reason: reason.to_owned(), at_us, ..began }
}

/// The verdicts that stand in a committed state.
pub(crate) fn standing(state: &[u8]) -> Vec<Verdict> {
    let Latches { burst, errors, latency, .. } = from_json(state);
    [burst, errors, latency].iter().filter_map(|latch| latch.said().cloned()).collect()
}
