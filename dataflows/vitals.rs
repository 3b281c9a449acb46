//! `vitals`: what nodes say of themselves in, telemetry and heartbeats, and what was found of the audit log; verdicts about
//! it out.

use crate::epochs::Epochs;
use crate::findings::{Finding, Findings};
use crate::operators::epochwise::{alone, epochwise};
use crate::operators::fold::{Keys, hash_of};
use crate::policy::{Order, Policy};
use crate::recovery::News;
use crate::saturation::{Sample, Saturation};
use crate::silence::{Sign, Silence};
use crate::worker::Start;
use serde::{Deserialize, Serialize};
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Exchange;

/// What is said of a metric, a node or the audit log.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Vital {
    /// Of a metric.
    Sample(Sample),
    /// Of a node.
    Sign(Sign),
    /// Of the audit log.
    Finding(Finding),
    /// An order that concerns what is judged; every worker gets it, this is for one of them.
    Order(u64, Order),
}

/// Judges metrics, heartbeats and findings, by their keys.
pub(crate) fn vitals<'s>(
    vitals: Stream<'s, u64, Vec<(String, Vital)>>,
    epochs: &Epochs,
    start: &Start,
) -> Stream<'s, u64, Vec<News>> {
    let place = (vitals.scope().index() as u64, vitals.scope().peers() as u64);
    let (limits, state) = (&start.tuning.detection, &start.recovered.state);
    let intervals = Policy::recovered(state).intervals;
    let mut saturation =
        Keys::recovered(Saturation { limits: limits.clone(), intervals: intervals.clone() }, state, place);
    let mut silence = Keys::recovered(Silence { limits: limits.clone(), intervals: intervals.clone() }, state, place);
    let mut findings = Keys::recovered(Findings(limits.clone()), state, place);
    let mut verdicts = Vec::new();
    let by_key = Exchange::new(|(key, vital): &(String, Vital)| match vital {
        Vital::Order(worker, _) => *worker,
        _ => hash_of(key),
    });
    epochwise("vitals", (vitals, by_key), alone(), epochs, move |now, vitals, _, news, put| {
        if now.warm {
            return;
        }
        let (mut samples, mut signs, mut found, mut orders) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (key, vital) in vitals.into_iter().flatten() {
            match vital {
                Vital::Sample(sample) => samples.push((key, sample)),
                Vital::Sign(sign) => signs.push((key, sign)),
                Vital::Finding(finding) => found.push((key, finding)),
                Vital::Order(_, order) => orders.push(order),
            }
        }
        orders.sort();
        for order in &orders {
            saturation.machine.intervals.hear(&order.control);
            silence.machine.intervals.hear(&order.control);
        }
        saturation.step(now, samples, &mut verdicts, put);
        silence.step(now, signs, &mut verdicts, put);
        findings.step(now, found, &mut verdicts, put);
        news.extend(verdicts.drain(..).map(News::Verdict));
    })
}
