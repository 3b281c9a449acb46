//! `signals`: any series of numbers by its key, a value a minute; verdicts when it is unlike its own past, when a limited
//! one leaks, and when its limit will be reached.
//!
//! A service has four of them: requests, errors in a million, median and 99th percentile of the latency of each minute. A
//! gauge or counter has one, the first value of each minute.
//!
//! What it means that a value is missing is said signal by signal (`detection.missing.feeds`): it counts as zero, as the value
//! before, or as a fault of the feed, which pages. A minute is missing [`LATE_US`] after it is over; what is not named is
//! neither judged nor guessed.
//!
//! # Decision
//! What is only unlike its own past is recorded and pages nobody unless [`crate::Detection`] names the signal: of a
//! hundred series one is unusual every few hours, and nobody should be woken for that. A leak and a breach that is foreseen
//! are judged against a limit somebody set, and page.

use crate::detect::{cleared, turn, verdict};
use crate::epochs::Moment;
use crate::intervals::Intervals;
use crate::minutes::Minute;
use crate::operators::fold::{Keyed, Keys, Machine, route_of};
use crate::saturation::Sample;
use crate::state::from_json;
use crate::tuning::TICK_US;
use evenkeel_detectors::series::{Assessment, Series};
use evenkeel_detectors::{Detection, Forecast, Judgement, Latch, Leak, judge_forecast, judge_missing};
use evenkeel_schemas::{Decision, Detector, Dimension, Key, Verdict};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A minute, µs.
const MINUTE_US: i64 = 60 * TICK_US;

/// A value of a minute may come so long after the minute, µs.
const LATE_US: i64 = 30 * TICK_US;

/// A signal that is not heard of for so long is forgotten, µs.
const FORGET_US: i64 = 24 * 3600 * TICK_US;

/// An alert ends after so many values without one.
const UNUSUAL: (u32, u32) = (1, 10);
/// A leak is judged twice an hour.
const LEAKS: (u32, u32) = (1, 2);
/// A feed is well again with its next value.
const MISSING: (u32, u32) = (1, 1);
/// A forecast is made every ten minutes.
const FORECASTS: (u32, u32) = (1, 3);

/// So many signals of a shard are judged.
const MAX_SIGNALS_PER_SHARD: usize = 160;

/// Judges signals; keyed by service, node and name.
pub(crate) struct Signals {
    pub limits: Detection,
    pub intervals: Intervals,
}

/// The shard of a signal, and its service, node and name with zeroes between them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SignalKey(u64, String);

impl Keyed for SignalKey {
    fn route(&self) -> u64 {
        self.0
    }

    fn name(&self) -> String {
        format!("{}/{}", self.0, self.1)
    }

    fn named(name: &str) -> Self {
        let (shard, metric) = name.split_once('/').expect("keys were committed whole");
        Self(shard.parse().expect("keys were committed whole"), metric.to_owned())
    }
}

/// Leaves out the points of new signals that find no place: they are not judged as such.
pub(crate) fn admit(signals: &Keys<Signals>, points: &mut Vec<(SignalKey, Point)>) {
    points.sort();
    let mut new = BTreeSet::new();
    points.retain(|(key, _)| {
        if signals.get(key).is_some() || new.contains(key) {
            return true;
        }
        let shard = SignalKey(key.0, String::new())..SignalKey(key.0 + 1, String::new());
        let held = signals.count(shard.clone()) + new.range(shard).count();
        held < MAX_SIGNALS_PER_SHARD && new.insert(key.clone())
    });
}

/// A value of a signal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Point {
    pub at_us: i64,
    pub service: String,
    pub node: String,
    pub name: String,
    pub value_milli: i64,
    pub limit_milli: Option<i64>,
}

impl Point {
    /// The key of its signal.
    pub fn key(&self) -> SignalKey {
        let Self { service, node, name, .. } = self;
        // What a service shows is kept with its minutes, what a node shows with its telemetry.
        let metric = format!("{service}\0{node}\0{name}");
        SignalKey(route_of(if node.is_empty() { service } else { &metric }), metric)
    }

    /// What a minute of a service says: its four signals.
    pub fn of(minute: &Minute) -> Vec<Self> {
        let seen = &minute.seen;
        let errors = (seen.requests > 0).then(|| seen.errors.saturating_mul(1_000_000) / seen.requests);
        let latency = |us: u64| (seen.requests > 0).then_some(us.cast_signed());
        let values = [
            ("requests", Some(seen.requests)),
            ("errors_per_million", errors),
            ("latency_p50_us", latency(seen.p50_us)),
            ("latency_p99_us", latency(seen.p99_us)),
        ];
        let point = |(name, value): (&str, Option<i64>)| {
            Some(Self {
                at_us: minute.minute * MINUTE_US,
                service: minute.key.service().to_owned(),
                node: String::new(),
                name: name.to_owned(),
                value_milli: value?.saturating_mul(1_000),
                limit_milli: None,
            })
        };
        values.into_iter().filter_map(point).collect()
    }
}

impl From<&Sample> for Point {
    fn from(sample: &Sample) -> Self {
        let Sample { event_time_us: at_us, service, node, name, value_milli, limit_milli, .. } = sample.clone();
        Self { at_us, service, node, name, value_milli, limit_milli }
    }
}

/// What is kept of a signal.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Signal {
    /// The last minute of which a value was heard.
    minute: Option<i64>,
    series: Series,
    unusual: Latch<Verdict>,
    limited: Option<Limited>,
    #[serde(default)]
    feed: Option<Feed>,
}

/// What is kept of a signal of which it means something that a value is missing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Feed {
    /// The last value that came.
    last: Point,
    missing: Latch<Verdict>,
}

/// What is kept of a signal with a limit besides.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Limited {
    leak: Leak,
    leaks: Latch<Verdict>,
    forecast: Forecast,
    foreseen: Latch<Verdict>,
}

impl Machine for Signals {
    type Key = SignalKey;
    type Input = Point;
    type State = Signal;
    type Said = Verdict;
    const NAME: &'static str = "signals";

    fn hear(&self, _key: &SignalKey, state: &mut Signal, point: Point, _now: Moment, said: &mut Vec<Verdict>) {
        let minute = point.at_us.div_euclid(MINUTE_US);
        let seconds = minute * 60..(minute + 1) * 60;
        let known = state.minute.is_some_and(|last| minute <= last);
        // What is excluded teaches nothing.
        if known || !self.intervals.excluded(&point.service, &seconds, 60).is_empty() {
            return;
        }
        self.take(state, minute, &point, said);
        self.came(state, point, said);
    }

    fn alarm(&self, state: &Signal) -> Option<i64> {
        let minute = state.minute?;
        let forgotten_us = |minute: i64| minute * MINUTE_US + FORGET_US;
        Some(match &state.feed {
            Some(feed) => missing_us(minute).min(forgotten_us(feed.last.at_us.div_euclid(MINUTE_US))),
            None => forgotten_us(minute),
        })
    }

    fn wake(&self, _key: &SignalKey, state: &mut Signal, now: Moment, said: &mut Vec<Verdict>) {
        while let Some(mut feed) = state.feed.take_if(|feed| now.now_us < feed.last.at_us + FORGET_US) {
            let Some(minute) = state.minute.filter(|minute| missing_us(*minute) <= now.now_us) else {
                state.feed = Some(feed);
                return;
            };
            self.misses(state, &mut feed, minute + 1, said);
            state.feed = Some(feed);
        }
        if self.alarm(state).is_some_and(|alarm_us| alarm_us <= now.now_us) {
            said.extend(standing_in(std::mem::take(state)).map(|began| cleared(began, now.now_us, "no_values")));
        }
    }
}

/// When the minute after this one counts as missing, µs.
const fn missing_us(minute: i64) -> i64 {
    (minute + 2) * MINUTE_US + LATE_US
}

impl Signals {
    /// Judges the value of a minute.
    fn take(&self, state: &mut Signal, minute: i64, point: &Point, said: &mut Vec<Verdict>) {
        state.minute = Some(minute);
        self.unusual(state, point, said);
        if let Some(limit_milli) = point.limit_milli {
            self.limited(state.limited.get_or_insert_default(), point, limit_milli, said);
        }
    }

    /// A value came: the feed is well.
    fn came(&self, state: &mut Signal, point: Point, said: &mut Vec<Verdict>) {
        let before = state.feed.take();
        let Some(policy) = self.limits.missing.feeds.get(&point.name) else {
            let stood = before.and_then(|feed| feed.missing.said().cloned());
            return said.extend(stood.map(|began| cleared(began, point.at_us, "not_watched")));
        };
        let missing = before.map_or_else(Latch::default, |feed| feed.missing);
        let mut feed = Feed { last: point, missing };
        let judgement = judge_missing(*policy, Some(feed.last.value_milli), 0, &self.limits.missing).judgement;
        self.absent(&mut feed, (judgement, 0), said);
        state.feed = Some(feed);
    }

    /// No value came of a minute.
    fn misses(&self, state: &mut Signal, feed: &mut Feed, minute: i64, said: &mut Vec<Verdict>) {
        state.minute = Some(minute);
        let excluded = self.intervals.excluded(&feed.last.service, &(minute * 60..(minute + 1) * 60), 60);
        let Some(policy) = self.limits.missing.feeds.get(&feed.last.name).filter(|_| excluded.is_empty()) else {
            return;
        };
        let missed = minute - feed.last.at_us.div_euclid(MINUTE_US);
        let answer = judge_missing(*policy, Some(feed.last.value_milli), missed, &self.limits.missing);
        if let Some(value_milli) = answer.value {
            let point = Point { at_us: minute * MINUTE_US, value_milli, ..feed.last.clone() };
            self.take(state, minute, &point, said);
        }
        self.absent(feed, (answer.judgement, missed), said);
    }

    fn absent(&self, feed: &mut Feed, (judgement, missed): (Judgement, i64), said: &mut Vec<Verdict>) {
        let Feed { last, missing } = feed;
        let at_us = last.at_us + missed * MINUTE_US;
        let evidence = || format!("{} has no value for {missed} min, {} before", last.name, last.value_milli / 1_000);
        turn(missing, &key(last), (Detector::Signal, MISSING), judgement, at_us, &evidence, said);
    }

    fn unusual(&self, state: &mut Signal, point: &Point, said: &mut Vec<Verdict>) {
        // The value is exact to the thousandth up to 2^53 thousandths; beyond, it is rounded alike everywhere.
        let value = point.value_milli as f64 / 1_000.0;
        let Ok(assessment) = state.series.next(point.at_us.div_euclid(TICK_US), value) else { return };
        let alerts = assessment.alert > 0.0;
        let reason = assessment.reason.name();
        let judgement = Judgement { fires: alerts, exceeds: alerts, reason };
        let evidence = || words(point, value, &assessment);
        if self.limits.paging_signals.contains(&point.name) {
            return turn(
                &mut state.unusual,
                &key(point),
                (Detector::Signal, UNUSUAL),
                judgement,
                point.at_us,
                &evidence,
                said,
            );
        }
        if alerts {
            let verdict = verdict(&key(point), Detector::Signal, reason, point.at_us, evidence());
            said.push(Verdict { decision: Decision::Hold, ..verdict });
        }
    }

    fn limited(&self, state: &mut Limited, point: &Point, limit_milli: i64, said: &mut Vec<Verdict>) {
        let muted = |judgement| self.intervals.held(&point.service, point.at_us, judgement);
        let of = |milli: i64| milli / 1_000;
        if state.leak.take(point.at_us, point.value_milli) {
            let found = state.leak.judge(limit_milli, &self.limits.leak);
            let evidence = || {
                let (name, slope, hours) =
                    (&point.name, of(found.slope_milli_per_hour), found.hours_to_limit.unwrap_or(0));
                format!(
                    "{name} at {} of {}, {slope} more an hour, full in {hours} h",
                    of(point.value_milli),
                    of(limit_milli)
                )
            };
            let rule = (Detector::Leak, LEAKS);
            turn(&mut state.leaks, &key(point), rule, muted(found.judgement), point.at_us, &evidence, said);
        }
        if state.forecast.take(point.at_us, point.value_milli) {
            let next = state.forecast.next(&self.limits.forecast);
            let (judgement, ahead) = judge_forecast(state.forecast.last_milli(), &next, limit_milli);
            let evidence = || {
                let band =
                    ahead.and_then(|ahead| next.get(ahead - 1)).map(|band| (of(band.low_milli), of(band.high_milli)));
                let (low, high) = band.unwrap_or_default();
                let minutes = ahead.unwrap_or_default() * 10;
                format!("{} {low} to {high} in {minutes} min, where {} is the limit", point.name, of(limit_milli))
            };
            let rule = (Detector::Forecast, FORECASTS);
            turn(&mut state.foreseen, &key(point), rule, muted(judgement), point.at_us, &evidence, said);
        }
    }
}

/// The key of a signal's verdicts.
fn key(point: &Point) -> Key {
    let node = (!point.node.is_empty()).then_some((Dimension::Node, point.node.as_str()));
    Key::new([(Dimension::Service, point.service.as_str())].into_iter().chain(node))
}

fn words(point: &Point, value: f64, assessment: &Assessment) -> String {
    let Assessment { score, expected, low, high, .. } = assessment;
    format!("{} {value:.3}, expected {expected:.3} ({low:.3} to {high:.3}), score {score:.3}", point.name)
}

fn standing_in(state: Signal) -> impl Iterator<Item = Verdict> {
    let limited = state.limited.into_iter().flat_map(|limited| [limited.leaks, limited.foreseen]);
    let missing = state.feed.into_iter().map(|feed| feed.missing);
    let latches = std::iter::once(state.unusual).chain(limited).chain(missing);
    latches.filter_map(|latch| latch.said().cloned()).collect::<Vec<_>>().into_iter()
}

/// The verdicts that stand in a committed state.
pub(crate) fn standing(state: &[u8]) -> Vec<Verdict> {
    standing_in(from_json(state)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::State;
    use evenkeel_schemas::Epoch;
    use std::collections::BTreeMap;

    fn point(at_us: i64, number: usize) -> (SignalKey, Point) {
        let (service, node, name) = ("s".to_owned(), format!("n{number}"), "used".to_owned());
        let point = Point { at_us, service, node, name, value_milli: 1_000, limit_milli: None };
        (point.key(), point)
    }

    #[test]
    fn signals_that_find_no_place_are_left_out_and_those_that_have_one_stay() {
        let machine = Signals { limits: Detection::default(), intervals: Intervals::default() };
        let mut signals = Keys::recovered(machine, &State::default(), (0, 1));
        let mut points = (0..30_000).map(|number| point(0, number)).collect();
        admit(&signals, &mut points);
        let mut shards = BTreeMap::<u64, usize>::new();
        points.iter().for_each(|(key, _)| *shards.entry(key.route()).or_default() += 1);
        assert!(shards.len() == 64 && shards.values().all(|held| *held == MAX_SIGNALS_PER_SHARD), "{shards:?}");
        let now = Moment { epoch: Epoch(0), now_us: 0, warm: false };
        signals.step(now, points.clone(), &mut Vec::new(), &mut Vec::new());
        let mut next = (0..30_000).map(|number| point(MINUTE_US, number)).collect();
        admit(&signals, &mut next);
        assert!(next.iter().map(|(key, _)| key).eq(points.iter().map(|(key, _)| key)));
    }
}
