//! `amend`: what was said of closed ticks, once more with the late records (law L4).
//!
//! When late records come in for one of the last thirty ticks, those that are held are told once more, and judged again from
//! what was remembered before. Verdicts that differ are said with `amended_us`; the last word about a key, a detector and
//! a `since_us` is what would have been said had the records come in time. Nobody is paged for the past: what stands only
//! since it was amended begins to count, for incidents and commands, with the next tick in time that passes its limit. What
//! should not have been said ends there at once.
//!
//! # Decision
//! Errors and latencies are amended. Not amended: bursts, which are about what has come in by now; traffic, signals, budgets
//! and versions, which are judged once when their minute is over; guards (`hold`) and words of evidence; and what lies before
//! a key fell silent, a new level was accepted, an interval was ordered or limits changed.
//!
//! Before images of what is remembered are kept every [`APART_US`] while it is not at rest, so what is quiet costs nothing.

use crate::detect::{Detect, Judged, Latches, cleared};
use crate::operators::mend::{MENDED_S, TOLD_S};
use crate::operators::window::Told;
use crate::recovery::News;
use crate::tuning::TICK_US;
use evenkeel_detectors::{Latch, is_quiet};
use evenkeel_schemas::{Decision, Detector, Key, Verdict};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// So far apart before images are taken, µs: with the thirty seconds that may be amended less than is told once more.
const APART_US: i64 = 20 * TICK_US;

/// So long after the first tick that is told once more lies an image from which to judge, µs: more than [`APART_US`].
const AMENDED_US: i64 = (TOLD_S - MENDED_S) * TICK_US;
const _: () = assert!(AMENDED_US > APART_US, "there is an image among the ticks that are told once more");

/// What happened longer ago is forgotten, µs.
const HELD_US: i64 = 60 * TICK_US;

/// What a verdict says that with the late records would never have been said.
const WITHDRAWN: &str = "withdrawn";

/// What is needed to judge the last ticks once more; bounded by [`HELD_US`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Past {
    /// What was remembered, and after which judged tick, by its end, µs; ascending.
    images: Vec<(i64, Judged)>,
    /// The end of the last tick that was judged, unless it left nothing to remember, µs.
    last_us: Option<i64>,
    /// Nothing before is amended, µs.
    closed_us: Option<i64>,
    /// Fires and clears as they stand.
    said: Vec<Verdict>,
    /// From which time to which a burst stood, µs.
    bursts: Vec<(i64, Option<i64>)>,
}

impl Past {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether nothing was remembered lately.
    fn is_at_rest(&self) -> bool {
        self.said.is_empty() && self.images.iter().all(|(_, image)| image.is_at_rest())
    }

    /// When it is of no use any more if nothing is remembered, µs.
    pub fn until_us(&self) -> Option<i64> {
        let image = self.images.last().map(|(at_us, _)| *at_us);
        let said = self.said.last().map(|verdict| verdict.at_us);
        let burst = self.bursts.last().map(|(from_us, until_us)| until_us.unwrap_or(*from_us));
        [image, said, burst, self.closed_us].into_iter().flatten().max().map(|at_us| at_us + HELD_US)
    }

    /// Whether an image is to be taken before the tick that ends at `at_us`.
    pub fn is_due(&self, at_us: i64) -> bool {
        self.images.last().is_none_or(|(last_us, _)| at_us - TICK_US >= last_us + APART_US)
    }

    /// Takes an image, if one is due, of what was remembered before the tick that ends at `at_us`, or of coming to rest with
    /// it. Ticks that find and leave it at rest leave no trace, whether they are told or not.
    pub fn keep(&mut self, (was_at_rest, before): (bool, Option<Judged>), after: &Judged, at_us: i64) {
        let is_at_rest = after.is_at_rest();
        match before {
            _ if was_at_rest && is_at_rest => return,
            _ if is_at_rest => self.images.push((at_us, after.clone())),
            Some(before) if was_at_rest => self.images.push((at_us - TICK_US, before)),
            // It stands for every moment since the last tick; another one may yet come between.
            Some(before) => self.images.push((self.last_us.unwrap_or(at_us - TICK_US), before)),
            None => {}
        }
        self.last_us = (!is_at_rest).then_some(at_us);
        self.trim(at_us);
    }

    /// Nothing before `at_us` is amended any more.
    pub fn close(&mut self, judged: &Judged, at_us: i64) {
        *self = Self { images: vec![(at_us, judged.clone())], closed_us: Some(at_us), ..Self::default() };
    }

    pub fn say(&mut self, verdicts: &[Verdict]) {
        self.said.extend(verdicts.iter().filter(|verdict| verdict.decision != Decision::Hold).cloned());
    }

    pub fn burst_began(&mut self, open_us: i64) {
        self.bursts.push((open_us, None));
    }

    pub fn burst_ended(&mut self, at_us: i64) {
        if let Some((_, until_us)) = self.bursts.last_mut() {
            *until_us = Some(at_us);
        }
    }

    /// Whether a burst stood after the tick that ends at `at_us` was judged.
    fn bursts(&self, at_us: i64) -> bool {
        self.bursts.iter().any(|(from_us, until_us)| *from_us < at_us && until_us.is_none_or(|until| at_us < until))
    }

    fn trim(&mut self, at_us: i64) {
        let old = self.images.iter().rposition(|(image_us, _)| *image_us <= at_us - HELD_US).unwrap_or(0);
        self.images.drain(..old);
        let first_us = self.images.first().map_or(at_us, |(image_us, _)| *image_us);
        self.said.retain(|verdict| verdict.at_us > first_us);
        self.bursts.retain(|(_, until_us)| until_us.is_none_or(|until_us| until_us > first_us));
        self.closed_us.take_if(|closed_us| *closed_us < first_us);
    }

    /// What to judge from if the ticks after `told_us` are told: what was remembered last before the first tick that may
    /// differ, `judged` being what is remembered now; and after which tick.
    ///
    /// An image from before `told_us` was still true then: had a tick that it does not know come before, the next tick
    /// [`APART_US`] after the image would have taken another.
    fn image(&self, told_us: i64, judged: &Judged) -> Option<(i64, Judged)> {
        let from_us = told_us + AMENDED_US;
        let closed_us = self.closed_us.unwrap_or(i64::MIN);
        let last = self.last_us.map(|last_us| (last_us, judged));
        let known = self.images.iter().map(|(at_us, image)| (*at_us, image)).chain(last);
        let image = known.filter(|(at_us, _)| *at_us <= from_us).max_by_key(|(at_us, _)| *at_us);
        match (image, self.images.first()) {
            (Some((at_us, image)), _) => Some((at_us.max(told_us), image.clone())),
            // Before something was remembered there was nothing.
            (None, Some((_, first))) if first.is_at_rest() => Some((told_us.max(closed_us), first.clone())),
            (None, Some((at_us, first))) => Some((*at_us, first.clone())),
            (None, None) => judged.is_at_rest().then(|| (told_us, judged.clone())),
        }
    }

    /// What it was after the tick that ends at `at_us`, where `judged` was remembered; and what was said later.
    fn until(&self, at_us: i64, judged: &Judged) -> (Self, Vec<Verdict>) {
        let (said, later) = self.said.iter().cloned().partition(|said| said.at_us <= at_us);
        let mut images = self.images.iter().filter(|(image_us, _)| *image_us <= at_us).cloned().collect::<Vec<_>>();
        if images.is_empty() {
            images.push((at_us, judged.clone()));
        }
        let last_us = (!judged.is_at_rest()).then_some(at_us);
        (Self { images, last_us, closed_us: self.closed_us, said, bursts: self.bursts.clone() }, later)
    }
}

impl Judged {
    fn latches(&mut self) -> [&mut Latch<Verdict>; 2] {
        [&mut self.errors, &mut self.latency]
    }

    /// What stands since it was amended, and is so still, stands from now on.
    pub fn confirm(&mut self, news: &mut Vec<News>) {
        for latch in self.latches() {
            let Some(said) = latch.said().filter(|said| said.amended_us.is_some() && latch.passed()) else { continue };
            let said = Verdict { amended_us: None, ..said.clone() };
            latch.reword(said.clone());
            news.push(News::Standing(said));
        }
    }
}

/// By what a verdict is told from others: its words alone do not make it another one.
fn identity(verdict: &Verdict) -> (Detector, Decision, i64, i64, &str) {
    (verdict.detector, verdict.decision, verdict.at_us, verdict.since_us, &verdict.reason)
}

impl Detect {
    /// Judges ticks once more: `told` are those after `told_us`, of which the last thirty may differ.
    pub fn mend(
        &self,
        key: &Key,
        state: &mut Latches,
        (told_us, told): (i64, &[Told]),
        now_us: i64,
        news: &mut Vec<News>,
    ) {
        let was_at_rest = state.judged.is_at_rest() && state.past.is_at_rest();
        if was_at_rest && told.iter().all(|told| is_quiet(&told.span, &told.usual, &self.limits)) {
            return;
        }
        let Some((at_us, mut judged)) = state.past.image(told_us, &state.judged) else { return };
        let (mut past, old) = state.past.until(at_us, &judged);
        let mut new = Vec::new();
        for told in told.iter().filter(|told| told.at_us > at_us) {
            let image = (judged.is_at_rest(), past.is_due(told.at_us).then(|| judged.clone()));
            if judged.is_due(told.busy, told.at_us) {
                self.judge(key, &mut judged, told, past.bursts(told.at_us), &mut new);
            }
            past.keep(image, &judged, told.at_us);
        }
        new.retain(|verdict| verdict.decision != Decision::Hold);
        for verdict in &mut new {
            if let Some(old) = old.iter().find(|old| identity(old) == identity(verdict)) {
                verdict.clone_from(old);
            }
        }
        differ(&old, &new, &judged, now_us, news);
        stand(&mut state.judged, &mut judged, now_us, news);
        past.said.extend(new);
        (state.judged, state.past) = (judged, past);
    }
}

/// Says what differs, by detector and since when.
fn differ(old: &[Verdict], new: &[Verdict], judged: &Judged, now_us: i64, news: &mut Vec<News>) {
    let mut groups = BTreeMap::<_, [Vec<&Verdict>; 2]>::new();
    for (at, verdicts) in [old, new].into_iter().enumerate() {
        for verdict in verdicts {
            groups.entry((verdict.detector, verdict.since_us)).or_default()[at].push(verdict);
        }
    }
    let mut amend = |verdict: Verdict| news.push(News::Verdict(Verdict { amended_us: Some(now_us), ..verdict }));
    for ((detector, since_us), [old, new]) in groups {
        if old.iter().map(|it| identity(it)).eq(new.iter().map(|it| identity(it))) {
            continue;
        }
        let fired = old.iter().find(|verdict| verdict.decision == Decision::Fire);
        let latch = if detector == Detector::Latency { &judged.latency } else { &judged.errors };
        match (fired, latch.said()) {
            _ if !new.is_empty() => new.into_iter().for_each(|verdict| amend(verdict.clone())),
            (Some(fired), _) => amend(cleared((*fired).clone(), since_us, WITHDRAWN)),
            // It was said to be over, and is not.
            (None, Some(stands)) => amend(stands.clone()),
            (None, None) => {}
        }
    }
}

/// What stood and still does goes on to stand, also if it began at another time; what does not any more ends; what did not
/// waits to be confirmed.
fn stand(old: &mut Judged, new: &mut Judged, now_us: i64, news: &mut Vec<News>) {
    for (old, new) in old.latches().into_iter().zip(new.latches()) {
        let stood = old.said().filter(|said| said.amended_us.is_none());
        match (old.said(), new.said().cloned()) {
            (Some(before), Some(now)) if before.since_us == now.since_us => new.reword(before.clone()),
            (_, now) => {
                if let Some(stood) = stood {
                    news.push(News::Standing(Verdict { decision: Decision::Clear, ..stood.clone() }));
                }
                if let Some(now) = now {
                    let now = Verdict { amended_us: stood.is_none().then_some(now_us), ..now };
                    news.extend(stood.map(|_| News::Standing(now.clone())));
                    new.reword(now);
                }
            }
        }
    }
    if let (Some(before), Some(frozen)) = (old.frozen, &mut new.frozen)
        && before.until_us == frozen.until_us
    {
        *frozen = before;
    }
}
