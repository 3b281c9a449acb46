//! `detect`: observations of a key in; verdicts out.

use crate::amend::Past;
use crate::epochs::Moment;
use crate::intervals::Intervals;
use crate::operators::fold::Machine;
use crate::operators::key_state::Frozen;
use crate::operators::minutes::{TRAFFIC_OF, TRAFFIC_PERSIST};
use crate::operators::window::{Observation, Told};
use crate::recovery::News;
use crate::state::from_json;
use crate::tuning::TICK_US;
use evenkeel_detectors::{Detection, Judgement, Latch, Turn, Volume};
use evenkeel_detectors::{judge_burst, judge_errors, judge_latency, judge_traffic};
use evenkeel_schemas::{Decision, Detector, Key, KeyId, Statistics, Verdict};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A firing key that shows nothing for so long is cleared: there is no traffic left to judge, µs.
pub(crate) const FORGET_US: i64 = 60 * TICK_US;

/// Spans of a key of few requests are so far apart that they do not overlap, µs.
const APART_US: i64 = 10 * TICK_US;

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
    pub burst: Latch<Verdict>,
    /// When the open ticks last held a burst, µs; kept only while it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst_us: Option<i64>,
    #[serde(flatten)]
    pub judged: Judged,
    #[serde(default, skip_serializing_if = "Past::is_empty")]
    pub past: Past,
    #[serde(default)]
    traffic: Latch<Verdict>,
    /// It is silent, and that is no result yet.
    #[serde(default)]
    silent: Option<Silent>,
    /// When its requests were last observed, µs; kept only while something fires.
    seen_us: Option<i64>,
}

/// What closed ticks were judged to show, as far as late records may amend it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Judged {
    pub errors: Latch<Verdict>,
    pub latency: Latch<Verdict>,
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

impl Judged {
    /// Whether a span is to be judged: one that overlaps the last one is not. What was judged at another pace is forgotten.
    pub fn is_due(&mut self, busy: bool, at_us: i64) -> bool {
        match self.judged {
            Some((before, _)) if before != busy => {
                let latches = [&mut self.errors, &mut self.latency].into_iter();
                latches.filter(|latch| latch.said().is_none()).for_each(|latch| drop(latch.clear()));
                true
            }
            Some((_, judged_us)) => busy || at_us >= judged_us + APART_US,
            None => true,
        }
    }

    fn fires(&self) -> bool {
        self.errors.said().is_some() || self.latency.said().is_some()
    }

    /// Whether nothing is remembered but, maybe, what it is compared with.
    pub fn is_at_rest(&self) -> bool {
        self.errors == Latch::default() && self.latency == Latch::default() && self.judged.is_none()
    }
}

impl Latches {
    fn fires(&self) -> bool {
        self.burst.said().is_some() || self.judged.fires()
    }

    pub fn is_at_rest(&self) -> bool {
        self.burst == Latch::default() && self.judged.is_at_rest()
    }

    /// What it is compared with since something fired.
    pub fn frozen(&self) -> Option<Frozen> {
        self.judged.frozen
    }

    /// What is usual is to be found out anew.
    pub fn thaw(&mut self, now_us: i64) {
        self.judged.frozen = None;
        self.close(now_us);
    }

    /// What was said stands from now on, whatever comes late.
    pub fn close(&mut self, now_us: i64) {
        if !self.past.is_empty() {
            self.past.close(&self.judged, now_us);
        }
    }
}

impl Machine for Detect {
    type Key = KeyId;
    type Input = (Observation, Arc<Key>);
    type State = Latches;
    type Said = News;
    const NAME: &'static str = "detect";

    fn hear(&self, _id: &KeyId, state: &mut Latches, (input, key): Self::Input, now: Moment, news: &mut Vec<News>) {
        let said = &mut Vec::new();
        // A minute without requests is spoken of, too.
        let is_traffic =
            matches!(input, Observation::Errors { .. } | Observation::Mended { .. } | Observation::Tick(_));
        match input {
            Observation::Admitted | Observation::Minute(_) => {}
            Observation::Errors { at_us, open_us, requests, errors } => {
                self.burst(&key, state, (at_us, open_us), (requests, errors), said);
            }
            Observation::Mended { told_us, told } => self.mend(&key, state, (told_us, &told), now.now_us, news),
            Observation::Tick(told) => self.tick(&key, state, &told, (said, news)),
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
        let seen_us = if is_traffic { Some(now.now_us) } else { state.seen_us };
        state.seen_us = seen_us.filter(|_| state.fires());
        state.burst_us = state.burst_us.filter(|_| state.burst.said().is_some());
        news.extend(said.drain(..).map(News::Verdict));
    }

    fn alarm(&self, state: &Latches) -> Option<i64> {
        let forgotten = state.seen_us.map(|seen| seen + FORGET_US);
        let silent = state.silent.as_ref().map(|silent| silent.due_us);
        let past = state.is_at_rest().then(|| state.past.until_us()).flatten();
        [forgotten, silent, past, state.frozen().map(|frozen| frozen.until_us)].into_iter().flatten().min()
    }

    fn wake(&self, _id: &KeyId, state: &mut Latches, now: Moment, news: &mut Vec<News>) {
        let said = &mut Vec::new();
        if state.seen_us.is_some_and(|seen| seen + FORGET_US <= now.now_us) {
            self.forget(state, now.now_us, "no_traffic", said);
            state.seen_us = None;
        }
        if state.judged.frozen.take_if(|frozen| frozen.until_us <= now.now_us).is_some() {
            self.forget(state, now.now_us, "new_level", said);
            state.past.close(&state.judged, now.now_us);
            state.seen_us = None;
        }
        if let Some(silent) = state.silent.take_if(|silent| silent.due_us <= now.now_us) {
            self.silent(state, &silent, said);
        }
        if state.is_at_rest() && state.past.until_us().is_some_and(|until_us| until_us <= now.now_us) {
            state.past = Past::default();
        }
        news.extend(said.drain(..).map(News::Verdict));
    }
}

impl Detect {
    fn tick(&self, key: &Key, state: &mut Latches, told: &Told, (said, news): (&mut Vec<Verdict>, &mut Vec<News>)) {
        let Told { at_us, busy, span, .. } = told;
        let (at_us, busy) = (*at_us, *busy);
        if span.requests > 0 {
            self.heard(state, at_us, said);
        }
        let before = (state.judged.is_at_rest(), state.past.is_due(at_us).then(|| state.judged.clone()));
        if state.judged.is_due(busy, at_us) {
            // A burst is begun by the open ticks alone; closed ones can only end it.
            if state.burst.said().is_some() {
                let history = state.frozen().map_or(told.usual, |frozen| frozen.usual);
                let evidence = || Verdict::compare(span, &history);
                let burst = self.muted(key, at_us, judge_burst(span.requests, span.errors, &self.limits));
                let rule = (Detector::ErrorBurst, self.persistence(busy));
                turn(&mut state.burst, key, rule, burst, at_us, &evidence, said);
                if state.burst.said().is_none() {
                    state.past.burst_ended(at_us);
                }
            }
            let from = said.len();
            self.judge(key, &mut state.judged, told, state.burst.said().is_some(), said);
            state.past.say(&said[from..]);
            state.judged.confirm(news);
        }
        state.past.keep(before, &state.judged, at_us);
    }

    /// In how many of the last judgements a limit must be passed.
    fn persistence(&self, busy: bool) -> (u32, u32) {
        let Detection { persist, of, quiet_persist, quiet_of, .. } = self.limits;
        if busy { (persist, of) } else { (quiet_persist, quiet_of) }
    }

    /// Judges errors and latency of a span that is due; a burst stands, or does not.
    pub fn judge(&self, key: &Key, state: &mut Judged, told: &Told, bursts: bool, said: &mut Vec<Verdict>) {
        let Told { at_us, busy, span, usual, precedented } = told;
        let (at_us, persistence, frozen) = (*at_us, self.persistence(*busy), state.frozen);
        let history = frozen.as_ref().map_or(usual, |frozen| &frozen.usual);
        // Most ticks say nothing: words are made only when they are said.
        let evidence = || Verdict::compare(span, history);
        let stood = state.fires();
        let limits = |latch: &Latch<Verdict>| if latch.said().is_some() { &self.ending } else { &self.limits };
        let errors = usual_now(judge_errors(span, history, limits(&state.errors)), precedented.0);
        let errors = self.muted(key, at_us, errors);
        turn(&mut state.errors, key, (Detector::ErrorRate, persistence), errors, at_us, &evidence, said);
        let latency = usual_now(judge_latency(span, history, limits(&state.latency)), precedented.1);
        let latency = self.muted(key, at_us, latency);
        turn(&mut state.latency, key, (Detector::Latency, persistence), latency, at_us, &evidence, said);
        if state.fires() && !stood {
            self.freeze(key, state, at_us, usual);
        }
        let nothing = !bursts && state.errors == Latch::default() && state.latency == Latch::default();
        state.judged = (!nothing).then_some((*busy, at_us));
    }

    /// Once something fires, it is not what it is compared with; an interval that is excluded is not anyway, and what began
    /// in it may be said a little later.
    fn freeze(&self, key: &Key, state: &mut Judged, at_us: i64, usual: &Statistics) {
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
    pub fn muted(&self, key: &Key, at_us: i64, judgement: Judgement) -> Judgement {
        self.intervals.held(key.service(), at_us - 1, judgement)
    }

    fn forget(&self, state: &mut Latches, at_us: i64, reason: &str, said: &mut Vec<Verdict>) {
        for latch in [&mut state.burst, &mut state.judged.errors, &mut state.judged.latency] {
            said.extend(latch.clear().map(|began| cleared(began, at_us, reason)));
        }
        (state.judged.judged, state.burst_us) = (None, None);
        state.close(at_us);
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
    let (decision, since_us, amended_us) = (Decision::Fire, at_us, None);
    // Recovery, which says it, knows when and by what.
    let (epoch, policy) = (0, 0);
    Verdict { key, detector, decision, reason, at_us, since_us, evidence, amended_us, epoch, policy }
}

/// The verdict that ends what `began` began.
pub(crate) fn cleared(began: Verdict, at_us: i64, reason: &str) -> Verdict {
    Verdict { decision: Decision::Clear, reason: reason.to_owned(), at_us, ..began }
}

/// The verdicts that stand in a committed state.
pub(crate) fn standing(state: &[u8]) -> Vec<Verdict> {
    let Latches { burst, judged: Judged { errors, latency, .. }, traffic, .. } = from_json(state);
    let said = [burst, errors, latency, traffic].into_iter().filter_map(|latch| latch.said().cloned());
    said.filter(|verdict| verdict.amended_us.is_none()).collect()
}
