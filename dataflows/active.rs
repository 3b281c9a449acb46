//! `active`: which verdicts stand, and per service what is wrong. The collection shrinks when a verdict is taken back.
//!
//! Verdicts that fire enter a differential collection and leave it when they clear; `reduce` keeps the cause of each
//! service, and says only what changed.

use crate::known::DIMENSIONS;
use crate::recovery::News;
use differential_dataflow::{AsCollection, VecCollection};
use evenkeel_schemas::{Cause, Decision, Dimension, Verdict};
use serde::{Deserialize, Serialize};
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Operator;

/// What is wrong with a service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Found {
    pub cause: Cause,
    /// Of each dimension that services may share, the value of the verdicts that stand, if it is one.
    pub values: Vec<(Dimension, String)>,
}

/// What is wrong with a service begins or ends to be so, in an epoch: for every worker, by number.
pub(crate) type CauseChange = ((String, (u64, Found)), u64, isize);

/// Keeps the cause per service of the verdicts that stand.
pub(crate) fn active<'s>(news: Stream<'s, u64, Vec<News>>) -> Stream<'s, u64, Vec<CauseChange>> {
    let workers = news.scope().peers() as u64;
    let causes = standing(news).reduce(move |_service, verdicts, causes| {
        let standing = verdicts.iter().filter(|(_, count)| *count > 0).map(|(verdict, _)| *verdict);
        if let Some(found) = found(&standing.collect::<Vec<_>>()) {
            causes.extend((0..workers).map(|worker| ((worker, found.clone()), 1isize)));
        }
    });
    causes.inner
}

/// The collection of verdicts that stand, by service.
fn standing<'s>(news: Stream<'s, u64, Vec<News>>) -> VecCollection<'s, u64, (String, Verdict), isize> {
    let changes = news.unary(Pipeline, "standing", |_, _| {
        |input, output| {
            input.for_each(|time, news| {
                let at = *time.time();
                let verdicts = news.drain(..).filter_map(|news| match news {
                    // What was amended changes what stands only as far as is said so.
                    News::Verdict(verdict) => verdict.amended_us.is_none().then_some(verdict),
                    News::Standing(verdict) => Some(verdict),
                    _ => None,
                });
                let edges = verdicts.filter(|verdict| verdict.decision != Decision::Hold);
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

fn found(standing: &[&Verdict]) -> Option<Found> {
    let one_value = |dimension: Dimension| {
        let mut values =
            standing.iter().filter_map(|verdict| verdict.key.get(dimension)).filter(|value| !value.is_empty());
        let first = values.next()?;
        values.all(|value| value == first).then(|| (dimension, first.to_owned()))
    };
    Some(Found { cause: cause(standing)?, values: DIMENSIONS.into_iter().filter_map(one_value).collect() })
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
