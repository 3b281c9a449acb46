//! `saturation`: telemetry in; verdicts out when a pool, socket table or memory runs out, with the time that is left.

use crate::detect::{cleared, verdict};
use crate::epochs::Moment;
use crate::intervals::Intervals;
use crate::operators::fold::Machine;
use crate::state::from_json;
use crate::tuning::TICK_US;
use evenkeel_detectors::Detection;
use evenkeel_detectors::{Latch, Trend, Turn, judge_saturation};
use evenkeel_schemas::{Coordinates, Detector, Dimension, Key, Telemetry, Verdict};
use serde::{Deserialize, Serialize};

/// So many of the last samples decide: telemetry comes about once a second.
const PERSIST: (u32, u32) = (3, 6);

/// So many quiet samples end what stands while the metric is above the watch line: a trend over a few noisy samples falls
/// now and then though the pool fills.
const WATCHED: u32 = 30;

/// A metric that is not heard of for so long is forgotten, µs.
const FORGET_US: i64 = 300 * TICK_US;

/// A telemetry value in thousandths.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Sample {
    pub event_time_us: i64,
    pub at: Coordinates,
    pub service: String,
    pub node: String,
    pub name: String,
    pub value_milli: i64,
    pub limit_milli: Option<i64>,
}

impl From<(Coordinates, Telemetry)> for Sample {
    fn from((at, telemetry): (Coordinates, Telemetry)) -> Self {
        let (value_milli, limit_milli) = (telemetry.value_milli(), telemetry.limit_milli());
        let Telemetry { event_time_us, service, node, name, .. } = telemetry;
        Self { event_time_us, at, service, node, name, value_milli, limit_milli }
    }
}

impl Sample {
    /// The key of its metric.
    pub fn key(&self) -> String {
        format!("{}\0{}\0{}", self.service, self.node, self.name)
    }
}

/// Judges limited gauges; keyed by service, node and metric.
pub(crate) struct Saturation {
    pub limits: Detection,
    pub intervals: Intervals,
}

/// What is kept of a metric that is above the watch line.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Gauge {
    trend: Trend,
    latch: Latch<Verdict>,
    heard_us: Option<i64>,
}

impl Machine for Saturation {
    type Key = String;
    type Input = Sample;
    type State = Gauge;
    type Said = Verdict;
    const NAME: &'static str = "saturation";

    fn hear(&self, _key: &String, state: &mut Gauge, sample: Sample, now: Moment, said: &mut Vec<Verdict>) {
        let Some(limit_milli) = sample.limit_milli else { return };
        state.trend.push(sample.event_time_us, sample.value_milli);
        state.heard_us = Some(now.now_us);
        let judgement = judge_saturation(sample.value_milli, limit_milli, &state.trend, &self.limits);
        let judgement = self.intervals.held(&sample.service, sample.event_time_us, judgement);
        let watched = state.latch.said().is_some() && self.watches(sample.value_milli, limit_milli);
        match state.latch.judge(judgement.fires, PERSIST.0, if watched { WATCHED } else { PERSIST.1 }) {
            Turn::Fire => {
                let verdict = saturated(&sample, limit_milli, judgement.reason, &state.trend);
                state.latch.fire(verdict.clone());
                said.push(verdict);
            }
            Turn::Clear(began) => said.push(cleared(began, sample.event_time_us, judgement.reason)),
            Turn::Pending | Turn::Quiet => {}
        }
        let below_watch = i128::from(sample.value_milli) * 2 < i128::from(limit_milli);
        if below_watch && state.latch.said().is_none() {
            // Most gauges stand below half of their limit most of the time: nothing of them is kept.
            *state = Gauge::default();
        }
    }

    fn alarm(&self, state: &Gauge) -> Option<i64> {
        state.heard_us.map(|heard| heard + FORGET_US)
    }

    fn wake(&self, _key: &String, state: &mut Gauge, now: Moment, said: &mut Vec<Verdict>) {
        said.extend(state.latch.clear().map(|began| cleared(began, now.now_us, "no_telemetry")));
        *state = Gauge::default();
    }
}

impl Saturation {
    fn watches(&self, value_milli: i64, limit_milli: i64) -> bool {
        i128::from(value_milli) * 1000 >= i128::from(limit_milli) * i128::from(self.limits.watch_per_mille)
    }
}

fn saturated(sample: &Sample, limit_milli: i64, reason: &str, trend: &Trend) -> Verdict {
    let key = Key::new([(Dimension::Service, sample.service.as_str()), (Dimension::Node, sample.node.as_str())]);
    let units = |milli: i64| format!("{}.{:03}", milli / 1000, milli.rem_euclid(1000));
    let left = trend.exhaustion_s(limit_milli).map_or(String::new(), |seconds| format!(", full in {seconds} s"));
    let evidence = format!("{} at {} of {}{left}", sample.name, units(sample.value_milli), units(limit_milli));
    verdict(&key, Detector::Saturation, reason, sample.event_time_us, evidence)
}

/// The verdict that stands in a committed state.
pub(crate) fn standing(state: &[u8]) -> Option<Verdict> {
    from_json::<Gauge>(state).latch.said().cloned()
}
