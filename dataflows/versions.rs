//! `versions`: each version of a service against the others, minute by minute; verdicts when one is worse.
//!
//! A minute is judged when the next one is heard of: the shards of its keys close a little after one another.

use crate::detect::{cleared, turn};
use crate::epochs::Moment;
use crate::intervals::Intervals;
use crate::minutes::Minute;
use crate::operators::fold::Machine;
use crate::state::from_json;
use crate::tuning::TICK_US;
use evenkeel_detectors::{Canary, Detection, Latch, Share};
use evenkeel_schemas::{Detector, Dimension, Key, Verdict};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Compares versions; keyed by service.
pub(crate) struct Versions {
    pub limits: Detection,
    pub intervals: Intervals,
}

/// So many versions of a service are compared; those that find no place count among the others.
const MAX_VERSIONS: usize = 8;

/// A version that had no requests for so long is forgotten, min.
const FORGET_MIN: i64 = 60;

/// A version that is no worse for so many minutes is cleared.
const PERSISTENCE: (u32, u32) = (1, 10);

/// What is known of a version.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Version {
    canary: Canary,
    latch: Latch<Verdict>,
    /// The last minute in which it had requests.
    seen: i64,
}

/// What is known of a service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Service {
    minute: i64,
    /// Errors and requests of the minute, by version.
    counted: BTreeMap<String, (i64, i64)>,
    versions: BTreeMap<String, Version>,
}

impl Machine for Versions {
    type Key = String;
    type Input = Minute;
    type State = Service;
    type Said = Verdict;
    const NAME: &'static str = "versions";

    fn hear(&self, service: &String, state: &mut Service, heard: Minute, _now: Moment, said: &mut Vec<Verdict>) {
        let Some(version) = heard.key.get(Dimension::Version) else { return };
        if heard.minute > state.minute {
            self.settle(service, state, said);
            state.minute = heard.minute;
        }
        // What is told of a minute that was judged comes too late.
        if heard.minute == state.minute
            && (state.counted.contains_key(version) || state.counted.len() < MAX_VERSIONS * 2)
        {
            state.counted.insert(version.to_owned(), (heard.seen.errors, heard.seen.requests));
        }
    }
}

impl Versions {
    /// Judges the minute that was gathered.
    fn settle(&self, service: &str, state: &mut Service, said: &mut Vec<Verdict>) {
        let (counted, minute) = (std::mem::take(&mut state.counted), state.minute);
        let at_us = (minute + 1) * 60 * TICK_US;
        let all = counted.values().fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1));
        let seconds = minute * 60..(minute + 1) * 60;
        // Maintenance teaches nothing.
        if counted.len() > 1 && self.intervals.excluded(service, &seconds, 60).is_empty() {
            for (name, (errors, requests)) in counted.into_iter().filter(|(_, (_, requests))| *requests > 0) {
                let room = state.versions.len() < MAX_VERSIONS;
                if !room && !state.versions.contains_key(&name) {
                    continue;
                }
                let version = state.versions.entry(name.clone()).or_default();
                version.seen = minute;
                let others = Share { errors: all.0 - errors, requests: all.1 - requests };
                version.canary.take(Share { errors, requests }, others, &self.limits.canary);
                let key = Key::new([(Dimension::Service, service), (Dimension::Version, name.as_str())]);
                self.judge(&key, version, at_us, said);
            }
        }
        let gone = |version: &Version| version.seen + FORGET_MIN <= minute;
        for (_, version) in state.versions.extract_if(.., |_, version| gone(version)) {
            let mut latch = version.latch;
            said.extend(latch.clear().map(|began| cleared(began, at_us, "version_gone")));
        }
    }

    fn judge(&self, key: &Key, version: &mut Version, at_us: i64, said: &mut Vec<Verdict>) {
        let judgement = version.canary.judge(&self.limits.canary);
        let judgement = self.intervals.held(key.service(), at_us - 1, judgement);
        let evidence = || {
            let extra = version.canary.extra_per_million().unwrap_or_default();
            let nats = version.canary.evidence_nano_nats() / 1_000_000;
            format!("{extra} more errors in a million requests than other versions, evidence {nats} millinats")
        };
        let rule = (Detector::Canary, PERSISTENCE);
        turn(&mut version.latch, key, rule, judgement, at_us, &evidence, said);
    }
}

/// The verdicts that stand in a committed state.
pub(crate) fn standing(state: &[u8]) -> Vec<Verdict> {
    from_json::<Service>(state).versions.into_values().filter_map(|version| version.latch.said().cloned()).collect()
}
