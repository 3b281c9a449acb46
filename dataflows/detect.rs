//! `detect`: observations of a key in; verdicts out.

use crate::epochs::Moment;
use crate::intervals::Intervals;
use crate::operators::fold::Machine;
use crate::operators::key_state::Frozen;
use crate::operators::minutes::{TRAFFIC_OF, TRAFFIC_PERSIST};
use crate::operators::window::Observation;
use crate::state::from_json;
use crate::tuning::TICK_US;
use evenkeel_detectors::{Detection, Judgement, Latch, Turn, Volume};
use evenkeel_detectors::{judge_burst, judge_errors, judge_latency, judge_traffic};
use evenkeel_schemas::{Decision, Detector, Dimension, Key, KeyId, Statistics, Verdict};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A firing key that shows nothing for so long is cleared: there is no traffic left to judge, µs.
const FORGET_US: i64 = 60 * TICK_US;

/// Spans of a key of few requests are so far apart that they do not overlap, µs.
const APART_US: i64 = 10 * TICK_US;

/// A burst that stands and comes back after so long without one is worth a word: whoever was sent no traffic, and is tried
/// again, fails again, µs. Open ticks hold less than half of that.
const AGAIN_US: i64 = 5 * TICK_US;

/// The reason of that word.
const AGAIN: &str = "burst_again";

/// Judges keys against themselves.
pub(crate) struct Detect {
    pub limits: Detection,
    /// The limits at which what was said ends.
    pub ending: Detection,
    pub intervals: Intervals,
}

/// What is kept of a key that is not quiet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Latches {
    burst: Latch<Verdict>,
    /// When the open ticks last held a burst, µs; kept only while it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    burst_us: Option<i64>,
    errors: Latch<Verdict>,
    latency: Latch<Verdict>,
    #[serde(default)]
    traffic: Latch<Verdict>,
    /// It is silent, and that is no result yet.
    #[serde(default)]
    silent: Option<Silent>,
    /// When the key was last observed, µs; kept only while something fires.
    seen_us: Option<i64>,
    /// Whether it was judged by the second of late, and when, µs; kept only while a judgement is remembered.
    judged: Option<(bool, i64)>,
    /// What it is compared with since something fired.
    pub frozen: Option<Frozen>,
}

/// A silence, µs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Silent {
    since_us: i64,
    /// When it is a result.
    due_us: i64,
    usual: Volume,
    key: Key,
}

/// The reason of a verdict about a silence.
const SILENT: &str = "drop_to_zero";

impl Latches {
    /// Whether a span is to be judged: one that overlaps the last one is not. What was judged at another pace is forgotten.
    fn is_due(&mut self, busy: bool, at_us: i64) -> bool {
        match self.judged {
            Some((before, _)) if before != busy => {
                let latches = [&mut self.burst, &mut self.errors, &mut self.latency].into_iter();
                latches.filter(|latch| latch.said().is_none()).for_each(|latch| drop(latch.clear()));
                true
            }
            Some((_, judged_us)) => busy || at_us >= judged_us + APART_US,
            None => true,
        }
    }

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
            Observation::Admitted | Observation::Minute(_) => {}
            Observation::Errors { at_us, requests, errors } => self.burst(&key, state, (at_us, requests, errors), said),
            Observation::Tick { at_us, busy, span, usual, precedented } => {
                self.tick(&key, state, (at_us, busy), (&span, &usual, precedented), said);
            }
            Observation::Volume { at_us, seen, usual, precedented } => {
                self.volume(&key, state, at_us, (seen, usual, precedented), said);
            }
            Observation::Silent { since_us, due_us, usual } => {
                let key = (*key).clone();
                state.silent = state.traffic.said().is_none().then_some(Silent { since_us, due_us, usual, key });
            }
            Observation::Evicted => {
                self.forget(state, now.now_us, "evicted", said);
                said.extend(state.traffic.clear().map(|began| cleared(began, now.now_us, "evicted")));
                state.silent = None;
            }
        }
        state.seen_us = state.fires().then_some(now.now_us);
        state.burst_us = state.burst_us.filter(|_| state.burst.said().is_some());
    }

    fn alarm(&self, state: &Latches) -> Option<i64> {
        let forgotten = state.seen_us.map(|seen| seen + FORGET_US);
        let silent = state.silent.as_ref().map(|silent| silent.due_us);
        [forgotten, silent, state.frozen.map(|frozen| frozen.until_us)].into_iter().flatten().min()
    }

    fn wake(&self, _id: &KeyId, state: &mut Latches, now: Moment, said: &mut Vec<Verdict>) {
        if state.seen_us.is_some_and(|seen| seen + FORGET_US <= now.now_us) {
            self.forget(state, now.now_us, "no_traffic", said);
            state.seen_us = None;
        }
        if state.frozen.take_if(|frozen| frozen.until_us <= now.now_us).is_some() {
            self.forget(state, now.now_us, "new_level", said);
            state.seen_us = None;
        }
        if let Some(silent) = state.silent.take_if(|silent| silent.due_us <= now.now_us) {
            self.silent(state, &silent, said);
        }
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
        if !judgement.fires {
            return;
        }
        let evidence = || format!("{errors} errors in {requests} requests of the open ticks");
        let verdict = |reason| verdict(key, Detector::ErrorBurst, reason, at_us, evidence());
        let before_us = state.burst_us.replace(at_us);
        if state.burst.said().is_none() {
            state.burst.fire(verdict(judgement.reason));
            said.push(verdict(judgement.reason));
        } else if before_us.is_some_and(|before_us| at_us >= before_us + AGAIN_US) {
            // It is no news for people: the verdict stands. Whoever tries the key has to know.
            said.push(Verdict { decision: Decision::Hold, ..verdict(AGAIN) });
        }
    }

    fn tick(
        &self,
        key: &Key,
        state: &mut Latches,
        (at_us, busy): (i64, bool),
        (span, usual, precedented): (&Statistics, &Statistics, (bool, bool)),
        said: &mut Vec<Verdict>,
    ) {
        if span.requests > 0 {
            self.heard(state, at_us, said);
        }
        if !state.is_due(busy, at_us) {
            return;
        }
        let frozen = state.frozen;
        let history = frozen.as_ref().map_or(usual, |frozen| &frozen.usual);
        // Most ticks say nothing: words are made only when they are said.
        let evidence = || Verdict::compare(span, history);
        let Detection { persist, of, quiet_persist, quiet_of, .. } = self.limits;
        let persistence = if busy { (persist, of) } else { (quiet_persist, quiet_of) };
        let burst = self.muted(key, at_us, judge_burst(span.requests, span.errors, &self.limits));
        // A burst is begun by the open ticks alone; closed ones can only end it.
        if state.burst.said().is_some() {
            turn(&mut state.burst, key, (Detector::ErrorBurst, persistence), burst, at_us, &evidence, said);
        }
        let stood = state.errors.said().is_some() || state.latency.said().is_some();
        let limits = |latch: &Latch<Verdict>| if latch.said().is_some() { &self.ending } else { &self.limits };
        let errors = usual_now(judge_errors(span, history, limits(&state.errors)), precedented.0);
        let errors = self.muted(key, at_us, errors);
        turn(&mut state.errors, key, (Detector::ErrorRate, persistence), errors, at_us, &evidence, said);
        let latency = usual_now(judge_latency(span, history, limits(&state.latency)), precedented.1);
        let latency = self.muted(key, at_us, latency);
        turn(&mut state.latency, key, (Detector::Latency, persistence), latency, at_us, &evidence, said);
        let stands = state.errors.said().is_some() || state.latency.said().is_some();
        if stands && !stood {
            self.freeze(key, state, at_us, usual);
        }
        let nothing = [&state.burst, &state.errors, &state.latency].iter().all(|latch| **latch == Latch::default());
        state.judged = (!nothing).then_some((busy, at_us));
    }

    /// Once something fires, it is not what it is compared with; an interval that is excluded is not anyway, and what began
    /// in it may be said a little later.
    fn freeze(&self, key: &Key, state: &mut Latches, at_us: i64, usual: &Statistics) {
        let end = at_us.div_euclid(TICK_US);
        let known = usual.requests >= self.limits.min_history;
        if known && state.frozen.is_none() && self.intervals.excluded(key.service(), &(end - 60..end), 60).is_empty() {
            let until_us = at_us + self.limits.accept_min * 60 * TICK_US;
            state.frozen = Some(Frozen { usual: *usual, until_us });
        }
    }

    /// A minute's requests against what is usual.
    fn volume(
        &self,
        key: &Key,
        state: &mut Latches,
        at_us: i64,
        (seen, usual, precedented): (Volume, Volume, bool),
        said: &mut Vec<Verdict>,
    ) {
        let judgement = usual_now(judge_traffic(seen, usual, None, &self.limits.traffic), precedented);
        let judgement = self.muted(key, at_us, judgement);
        let evidence = || volumes(seen, usual);
        let rule = (Detector::Traffic, (TRAFFIC_PERSIST, TRAFFIC_OF));
        turn(&mut state.traffic, key, rule, judgement, at_us, &evidence, said);
    }

    /// A silence that lasted too long.
    fn silent(&self, state: &mut Latches, silent: &Silent, said: &mut Vec<Verdict>) {
        let Silent { since_us, due_us, usual, key } = silent;
        if self.intervals.mute(key.service(), *since_us) || self.intervals.mute(key.service(), *due_us) {
            return;
        }
        let seen = Volume { requests: 0, span_s: (due_us - since_us) / TICK_US };
        let verdict = verdict(key, Detector::Traffic, SILENT, *due_us, volumes(seen, *usual));
        state.traffic.fire(verdict.clone());
        said.push(verdict);
    }

    /// There is traffic: a silence is over.
    fn heard(&self, state: &mut Latches, at_us: i64, said: &mut Vec<Verdict>) {
        state.silent = None;
        if state.traffic.said().is_some_and(|said| said.reason == SILENT) {
            said.extend(state.traffic.clear().map(|began| cleared(began, at_us, "traffic_returned")));
        }
    }

    /// During maintenance nothing is said.
    fn muted(&self, key: &Key, at_us: i64, judgement: Judgement) -> Judgement {
        self.intervals.held(key.service(), at_us - 1, judgement)
    }

    fn forget(&self, state: &mut Latches, at_us: i64, reason: &str, said: &mut Vec<Verdict>) {
        for latch in [&mut state.burst, &mut state.errors, &mut state.latency] {
            said.extend(latch.clear().map(|began| cleared(began, at_us, reason)));
        }
        (state.judged, state.burst_us) = (None, None);
    }
}

/// What a judgement changes, said.
pub(crate) fn turn(
    latch: &mut Latch<Verdict>,
    key: &Key,
    (detector, (persist, of)): (Detector, (u32, u32)),
    judgement: Judgement,
    at_us: i64,
    evidence: &impl Fn() -> String,
    said: &mut Vec<Verdict>,
) {
    let verdict = |reason: &str| verdict(key, detector, reason, at_us, evidence());
    match latch.judge(judgement.fires, persist, of) {
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

/// Words for two volumes side by side.
fn volumes(seen: Volume, usual: Volume) -> String {
    format!("{} requests in {} s, usually {} in {} s", seen.requests, seen.span_s, usual.requests, usual.span_s)
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

/// The verdict that ends what `began` began.
pub(crate) fn cleared(began: Verdict, at_us: i64, reason: &str) -> Verdict {
    Verdict { decision: Decision::Clear, reason: reason.to_owned(), at_us, ..began }
}

/// What a key is compared with, in a committed state.
pub(crate) fn frozen(state: &[u8]) -> Option<Frozen> {
    from_json::<Latches>(state).frozen
}

/// The verdicts that stand in a committed state.
pub(crate) fn standing(state: &[u8]) -> Vec<Verdict> {
    let Latches { burst, errors, latency, traffic, .. } = from_json(state);
    [burst, errors, latency, traffic].iter().filter_map(|latch| latch.said().cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_schemas::Epoch;

    #[test]
    fn a_burst_that_comes_back_while_it_stands_is_held_with_a_word_and_nothing_else() {
        let machine =
            Detect { limits: Detection::default(), ending: Detection::default(), intervals: Intervals::default() };
        let key = Arc::new(Key::new([(Dimension::Service, "app"), (Dimension::Node, "s1")]));
        let (id, mut state) = (key.id(), Latches::default());
        let mut hear = |now_us: i64| {
            let mut said = Vec::new();
            let now = Moment { epoch: Epoch(1), now_us, warm: false };
            let input = Observation::Errors { at_us: now_us, requests: 10, errors: 10 };
            machine.hear(&id, &mut state, (input, Arc::clone(&key)), now, &mut said);
            said.iter().map(|verdict| (verdict.decision, bursts(verdict).map(str::to_owned))).collect::<Vec<_>>()
        };
        assert_eq!(hear(0), [(Decision::Fire, Some("s1".to_owned()))]);
        // It goes on.
        assert_eq!((hear(AGAIN_US - 1), hear(2 * AGAIN_US - 2)), (vec![], vec![]));
        assert_eq!(hear(3 * AGAIN_US), [(Decision::Hold, Some("s1".to_owned()))]);
        assert_eq!(hear(3 * AGAIN_US + 1), []);
    }
}
