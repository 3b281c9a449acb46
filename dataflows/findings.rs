//! `findings`: what was found wrong with the audit log in; verdicts out, each standing until nothing was found for a while.
//!
//! # Decision
//! Findings are kept by entity in [`BUCKETS`] buckets, each with a bound of its own: somebody who empties a mirrored table
//! may cause a finding for every row of it. What finds no room is said once of [`OTHER`], and every one of them is an
//! audit entry all the same.

use crate::detect::{cleared, verdict};
use crate::epochs::Moment;
use crate::operators::fold::{Machine, hash_of};
use crate::state::from_json;
use crate::tuning::TICK_US;
use evenkeel_detectors::Detection;
use evenkeel_schemas::{AuditEvent, Change, Coordinates, Detector, Dimension, Key, Verdict};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The service under which findings are said: no service of a user has such a name.
pub(crate) const SERVICE: &str = "~audit";

/// The entity that stands for those that find no room.
const OTHER: &str = "~other";

/// Entities are spread over so many buckets.
const BUCKETS: u64 = 16;

/// Most entities that stand in one bucket, but for [`OTHER`].
const PER_BUCKET: usize = 16;

/// The longest evidence, characters.
const EVIDENCE_CHARACTERS: usize = 200;

/// Something that was found; those of a bucket are heard in this order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Finding {
    pub at: Coordinates,
    /// When, µs since the Unix epoch; 0 if nobody knows.
    pub event_time_us: i64,
    pub entity: String,
    /// What was found, a code.
    pub op: String,
    pub evidence: String,
}

impl From<(Coordinates, &AuditEvent)> for Finding {
    fn from((at, event): (Coordinates, &AuditEvent)) -> Self {
        let AuditEvent { event_time_us, op, actor, entity, detail, .. } = event;
        let evidence = format!("{op} of {entity}, found by {actor}: {}", detail.words());
        Self { at, event_time_us: *event_time_us, entity: entity.clone(), op: op.clone(), evidence: cut(&evidence) }
    }
}

impl Finding {
    /// Somebody changed the mirror of the audit log.
    pub fn of_mirror(at: Coordinates, change: &Change, row: &str, what: &str) -> Self {
        let (event_time_us, op) = (change.event_time_us, "mirror_edit".to_owned());
        let entity = format!("{}/{row}", change.table);
        let evidence = cut(&format!("{what}: {entity}, by {}", change.actor));
        Self { at, event_time_us, entity, op, evidence }
    }

    /// The bucket of its entity.
    pub fn bucket(&self) -> String {
        format!("{:02}", hash_of(&self.entity) % BUCKETS)
    }
}

/// Evidence of a bounded length.
fn cut(evidence: &str) -> String {
    evidence.chars().take(EVIDENCE_CHARACTERS).collect()
}

/// Keeps what was found; keyed by bucket.
pub(crate) struct Findings(pub Detection);

/// What stands of a bucket's entities.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Bucket(BTreeMap<String, Standing>);

/// A finding that stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Standing {
    said: Verdict,
    /// The present when it was found last, µs.
    found_us: i64,
}

impl Machine for Findings {
    type Key = String;
    type Input = Finding;
    type State = Bucket;
    type Said = Verdict;
    const NAME: &'static str = "findings";

    fn hear(&self, _bucket: &String, state: &mut Bucket, finding: Finding, now: Moment, said: &mut Vec<Verdict>) {
        let has_room = state.0.contains_key(&finding.entity) || state.0.len() < PER_BUCKET;
        let entity = if has_room { finding.entity.as_str() } else { OTHER };
        if let Some(standing) = state.0.get_mut(entity) {
            standing.found_us = now.now_us;
            return;
        }
        // It may be told late, but not before it happened.
        let known_us = if finding.event_time_us == 0 { now.now_us } else { finding.event_time_us };
        let at_us = known_us.min(now.now_us);
        let key = Key::new([(Dimension::Service, SERVICE), (Dimension::Node, entity)]);
        let verdict = verdict(&key, Detector::AuditIntegrity, &finding.op, at_us, finding.evidence);
        said.push(verdict.clone());
        state.0.insert(entity.to_owned(), Standing { said: verdict, found_us: now.now_us });
    }

    fn alarm(&self, state: &Bucket) -> Option<i64> {
        state.0.values().map(|standing| standing.found_us + self.stands_us()).min()
    }

    fn wake(&self, _bucket: &String, state: &mut Bucket, now: Moment, said: &mut Vec<Verdict>) {
        for (entity, standing) in std::mem::take(&mut state.0) {
            if standing.found_us + self.stands_us() > now.now_us {
                state.0.insert(entity, standing);
            } else {
                said.push(cleared(standing.said, now.now_us, "not_found_again"));
            }
        }
    }
}

impl Findings {
    fn stands_us(&self) -> i64 {
        self.0.finding_s * TICK_US
    }
}

/// The verdicts that stand in a committed state.
pub(crate) fn standing(state: &[u8]) -> Vec<Verdict> {
    from_json::<Bucket>(state).0.into_values().map(|standing| standing.said).collect()
}
