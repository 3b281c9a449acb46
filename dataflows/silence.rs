//! `silence`: heartbeats in; verdicts out when they stop. Missing is a result here, not silence.

use crate::detect::{cleared, verdict};
use crate::epochs::Moment;
use crate::intervals::Intervals;
use crate::operators::fold::Machine;
use crate::state::from_json;
use crate::tuning::TICK_US;
use evenkeel_detectors::Detection;
use evenkeel_schemas::{Detector, Dimension, Key, Probe, Verdict};
use serde::{Deserialize, Serialize};

/// A node that stays silent for so long is gone, and forgotten, µs.
const FORGET_US: i64 = 24 * 3600 * TICK_US;

/// Waits for heartbeats; keyed by service and node.
pub(crate) struct Silence {
    pub limits: Detection,
    pub intervals: Intervals,
}

/// What a node's key hears.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Sign {
    Probe(Probe),
    Retire,
}

/// When a node was last heard of.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Pulse {
    /// The present when it was last heard of, µs.
    heard_us: Option<i64>,
    interval_us: i64,
    said: Option<Verdict>,
}

impl Machine for Silence {
    type Key = String;
    type Input = Sign;
    type State = Pulse;
    type Said = Verdict;
    const NAME: &'static str = "silence";

    fn hear(&self, _key: &String, state: &mut Pulse, sign: Sign, now: Moment, said: &mut Vec<Verdict>) {
        match sign {
            // An outside look is no sign of life: only the node's own heartbeat is.
            Sign::Probe(probe) if probe.vantage.is_empty() => {
                said.extend(state.said.take().map(|began| cleared(began, now.now_us, "heartbeat")));
                *state = Pulse { heard_us: Some(now.now_us), interval_us: probe.interval_us, said: None };
            }
            Sign::Probe(_) => {}
            Sign::Retire => {
                said.extend(state.said.take().map(|began| cleared(began, now.now_us, "retired")));
                *state = Pulse::default();
            }
        }
    }

    fn alarm(&self, state: &Pulse) -> Option<i64> {
        let patience_us = match state.said {
            None => state.interval_us * self.limits.missed_heartbeats,
            Some(_) => FORGET_US,
        };
        state.heard_us.map(|heard| heard.saturating_add(patience_us))
    }

    fn wake(&self, key: &String, state: &mut Pulse, now: Moment, said: &mut Vec<Verdict>) {
        if let Some(began) = state.said.take() {
            said.push(cleared(began, now.now_us, "forgotten"));
            *state = Pulse::default();
            return;
        }
        let key = Key::from_json(key);
        if self.intervals.mute(key.service(), now.now_us) {
            // Patience begins anew, as if it had been heard of.
            state.heard_us = Some(now.now_us);
            return;
        }
        let silent_us = now.now_us - state.heard_us.unwrap_or(now.now_us);
        let evidence = format!("no heartbeat for {} ms, one every {} ms", silent_us / 1000, state.interval_us / 1000);
        let verdict = verdict(&key, Detector::NodeSilent, "missed_heartbeats", now.now_us, evidence);
        state.said = Some(verdict.clone());
        said.push(verdict);
    }
}

/// The key of a node, as verdicts name it.
pub(crate) fn node_key(service: &str, node: &str) -> String {
    Key::new([(Dimension::Service, service), (Dimension::Node, node)]).to_json()
}

/// The verdict that stands in a committed state.
pub(crate) fn standing(state: &[u8]) -> Option<Verdict> {
    from_json::<Pulse>(state).said
}
