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

/// Whether a version that is rolled out may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Phase {
    /// It is no worse than the others, as far as enough requests tell.
    Successful,
    /// It is worse.
    Failed,
    /// Nobody knows: it has no requests, or few, or there is none to compare it with.
    Inconclusive,
}

/// What is known of a version that is rolled out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Assessment {
    /// Whether it may go on.
    pub phase: Phase,
    /// Why, in one line.
    pub why: String,
    /// Minutes in which it was compared.
    pub minutes: u32,
    /// How many more errors it has in a million requests than the others, of late; less if it is negative.
    pub extra_per_million: Option<i64>,
}

/// A version that was compared for less has not shown that it is no worse, min.
const MIN_MINUTES: u32 = 5;

/// Nor has one with fewer requests of late.
const MIN_REQUESTS: i64 = 100;

/// A version without requests for so long is not rolled out any more, or not yet, min.
const SILENT_MIN: i64 = 3;

/// What a service's state in [`Dataset::State`](evenkeel_schemas::Dataset::State), under [`VERSIONS`], tells of a version.
/// A state that cannot be read tells nothing.
pub fn assess(state: &[u8], version: &str, now_us: i64) -> Assessment {
    let unknown = |why: &str| {
        let (phase, why) = (Phase::Inconclusive, why.to_owned());
        Assessment { phase, why, minutes: 0, extra_per_million: None }
    };
    let state = serde_json::from_slice::<Service>(state).unwrap_or_default();
    let Some(known) = state.versions.get(version) else {
        return unknown("no requests of this version beside another one are known");
    };
    let ((minutes, requests), extra_per_million) = (known.canary.weighed(), known.canary.extra_per_million());
    let now_min = now_us.div_euclid(60 * TICK_US);
    let (phase, why) = match known.latch.said() {
        Some(verdict) => (Phase::Failed, verdict.evidence.clone()),
        None if now_min - known.seen > SILENT_MIN => {
            (Phase::Inconclusive, format!("no requests for {} min", now_min - known.seen))
        }
        None if minutes < MIN_MINUTES || requests < MIN_REQUESTS => {
            (Phase::Inconclusive, format!("{minutes} min and {requests} requests are too few"))
        }
        None => (Phase::Successful, format!("no worse than the other versions in {minutes} min")),
    };
    Assessment { phase, why, minutes, extra_per_million }
}

/// Under which keys the states of services lie; what follows is the service.
pub const VERSIONS: &str = "fold/versions/";

/// The verdicts that stand in a committed state.
pub(crate) fn standing(state: &[u8]) -> Vec<Verdict> {
    from_json::<Service>(state).versions.into_values().filter_map(|version| version.latch.said().cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_schemas::Decision;

    const SERVICE: &str = "shop";

    /// Plays minutes, each with requests and errors by version; the state then.
    fn played(minutes: i64, counts: &[(&str, i64, i64)]) -> Service {
        let machine = Versions { limits: Detection::default(), intervals: Intervals::default() };
        let (mut state, mut said) = (Service::default(), Vec::new());
        for minute in 0..=minutes {
            state.minute = minute;
            let counted =
                counts.iter().map(|(version, requests, errors)| ((*version).to_owned(), (*errors, *requests)));
            state.counted = counted.collect();
            machine.settle(SERVICE, &mut state, &mut said);
        }
        assert!(said.iter().all(|verdict| verdict.decision != Decision::Clear));
        state
    }

    fn phase(state: &Service, version: &str, minute: i64) -> Phase {
        assess(&crate::state::json(state), version, minute * 60 * TICK_US).phase
    }

    #[test]
    fn a_version_goes_on_only_if_enough_requests_say_so() {
        let well = played(10, &[("1", 900, 9), ("2", 100, 1)]);
        assert_eq!(phase(&well, "2", 11), Phase::Successful);
        assert_eq!((phase(&well, "3", 11), phase(&well, "2", 20)), (Phase::Inconclusive, Phase::Inconclusive));
        assert_eq!(assess(b"?", "2", 0).phase, Phase::Inconclusive);
        let worse = played(10, &[("1", 900, 9), ("2", 100, 40)]);
        assert_eq!((phase(&worse, "2", 11), phase(&worse, "2", 20)), (Phase::Failed, Phase::Failed));
        // Few requests, few minutes, none to compare with.
        assert_eq!(phase(&played(10, &[("1", 900, 9), ("2", 2, 0)]), "2", 11), Phase::Inconclusive);
        assert_eq!(phase(&played(3, &[("1", 900, 9), ("2", 100, 1)]), "2", 4), Phase::Inconclusive);
        assert_eq!(phase(&played(10, &[("2", 100, 1)]), "2", 11), Phase::Inconclusive);
    }
}
