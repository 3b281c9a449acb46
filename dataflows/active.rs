//! `active`: which verdicts stand, and per service what is wrong. The collection shrinks when a verdict is taken back.
//!
//! Verdicts that fire enter a differential collection and leave it when they clear; `reduce` keeps the cause of each
//! service, and says only what changed.

use crate::operators::fold::hash_of;
use differential_dataflow::{AsCollection, VecCollection};
use evenkeel_schemas::{Cause, Decision, Dimension, Verdict};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::Operator;

/// What is wrong with a service now; `None`: nothing any more.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Situation(pub Option<Cause>);

/// Keeps the cause per service of the verdicts that stand.
pub(crate) fn active<'s>(verdicts: Stream<'s, u64, Vec<Verdict>>) -> Stream<'s, u64, Vec<(String, Situation)>> {
    let causes = standing(verdicts).reduce(|_service, verdicts, causes| {
        let standing = verdicts.iter().filter(|(_, count)| *count > 0).map(|(verdict, _)| *verdict);
        causes.extend(cause(&standing.collect::<Vec<_>>()).map(|cause| (cause, 1isize)));
    });
    latest(causes)
}

/// The collection of verdicts that stand, by service.
fn standing<'s>(verdicts: Stream<'s, u64, Vec<Verdict>>) -> VecCollection<'s, u64, (String, Verdict), isize> {
    let changes = verdicts.unary(Pipeline, "standing", |_, _| {
        |input, output| {
            input.for_each(|time, verdicts| {
                let (at, edges) = (*time.time(), verdicts.drain(..).filter(|v| v.decision != Decision::Hold));
                output.session(&time).give_iterator(edges.map(|verdict| change(verdict, at)));
            });
        }
    });
    changes.container::<Vec<_>>().as_collection()
}

fn change(verdict: Verdict, at: u64) -> ((String, Verdict), u64, isize) {
    let sign = if verdict.decision == Decision::Fire { 1 } else { -1 };
    let service = verdict.key.service().to_owned();
    // Fire and clear of one anomaly are the same element: what is said anew at the end is left out.
    let (at_us, reason) = (verdict.since_us, String::new());
    ((service, Verdict { decision: Decision::Fire, at_us, reason, ..verdict }), at, sign)
}

/// The strongest of the verdicts that stand, and how many there are.
fn cause(standing: &[&Verdict]) -> Option<Cause> {
    let strongest = standing.iter().min_by_key(|verdict| (verdict.detector, verdict.since_us, &verdict.key))?;
    let same = standing.iter().filter(|verdict| verdict.detector == strongest.detector);
    let mut nodes = same.filter_map(|verdict| verdict.key.get(Dimension::Node)).map(str::to_owned).collect::<Vec<_>>();
    nodes.sort();
    nodes.dedup();
    Some(Cause {
        detector: strongest.detector,
        key: strongest.key.clone(),
        nodes,
        since_us: standing.iter().map(|verdict| verdict.since_us).min()?,
        evidence: strongest.evidence.clone(),
        verdicts: standing.len() as u32,
    })
}

/// The newest situation per service and epoch, from the changes of the collection of causes.
fn latest<'s>(causes: VecCollection<'s, u64, (String, Cause), isize>) -> Stream<'s, u64, Vec<(String, Situation)>> {
    let by_service = Exchange::new(|((service, _), _, _): &((String, Cause), u64, isize)| hash_of(service));
    let situations = causes.inner.unary_frontier(by_service, "situations", |_, _| {
        let mut waiting = BTreeMap::new();
        move |(input, frontier), output| {
            input.for_each(|time, changes| {
                for ((service, cause), at, sign) in changes.drain(..) {
                    let (_, situations) = waiting
                        .entry(at)
                        .or_insert_with(|| (time.delayed(&at, 0), BTreeMap::<String, Situation>::new()));
                    let situation = situations.entry(service).or_insert(Situation(None));
                    if sign > 0 {
                        situation.0 = Some(cause);
                    }
                }
            });
            while let Some(entry) = waiting.first_entry().filter(|entry| !frontier.less_equal(entry.key())) {
                let (capability, situations) = entry.remove();
                output.session(&capability).give_iterator(situations.into_iter());
            }
        }
    });
    situations.container::<Vec<_>>()
}
