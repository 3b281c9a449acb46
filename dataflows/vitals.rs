//! `vitals`: what nodes say of themselves in, telemetry and heartbeats, and what was found of the audit log; verdicts about
//! it out.

use crate::budgets::Budgets;
use crate::epochs::Epochs;
use crate::findings::{Finding, Findings};
use crate::operators::epochwise::epochwise;
use crate::operators::fold::{Keys, route_of};
use crate::policy::{Order, Policy};
use crate::recovery::News;
use crate::rules::Rules;
use crate::saturation::{Sample, Saturation};
use crate::signals::{Point, Signals, admit};
use crate::silence::{Sign, Silence};
use crate::versions::Versions;
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
    of_keys: Stream<'s, u64, Vec<News>>,
    epochs: &Epochs,
    start: &Start,
) -> Stream<'s, u64, Vec<News>> {
    let place = (vitals.scope().index() as u64, vitals.scope().peers() as u64);
    let state = &start.recovered.state;
    let mut rules = Rules::recovered(&start.tuning, state);
    let limits = &rules.tuning().detection;
    let intervals = Policy::recovered(state).intervals;
    let mut saturation =
        Keys::recovered(Saturation { limits: limits.clone(), intervals: intervals.clone() }, state, place);
    let mut silence = Keys::recovered(Silence { limits: limits.clone(), intervals: intervals.clone() }, state, place);
    let mut findings = Keys::recovered(Findings(limits.clone()), state, place);
    let machine = Signals { limits: limits.clone(), intervals: intervals.clone() };
    let mut signals = Keys::recovered(machine, state, place);
    let machine = Versions { limits: limits.clone(), intervals: intervals.clone() };
    let mut versions = Keys::recovered(machine, state, place);
    let objectives = rules.tuning().objectives.clone();
    let mut budgets = Keys::recovered(Budgets { limits: limits.clone(), intervals, objectives }, state, place);
    let mut verdicts = Vec::new();
    let by_key = Exchange::new(|(key, vital): &(String, Vital)| match vital {
        Vital::Order(worker, _) => *worker,
        _ => route_of(key),
    });
    epochwise(
        "vitals",
        (vitals, by_key),
        Some((of_keys, Exchange::new(News::route))),
        epochs,
        move |now, vitals, of_keys, news, put| {
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
            let (mut points, mut of_services, mut of_versions) = (Vec::new(), Vec::new(), Vec::new());
            points.extend(samples.iter().map(|(_, sample)| Point::from(sample)).map(|point| (point.key(), point)));
            for minute in of_keys.into_iter().flatten().filter_map(News::minute) {
                let service = minute.key.service().to_owned();
                if minute.key.0.len() > 1 {
                    of_versions.push((service, minute));
                    continue;
                }
                points.extend(Point::of(&minute).into_iter().map(|point| (point.key(), point)));
                of_services.push((service, minute));
            }
            orders.sort();
            for order in &orders {
                saturation.machine.intervals.hear(&order.control);
                silence.machine.intervals.hear(&order.control);
                signals.machine.intervals.hear(&order.control);
                budgets.machine.intervals.hear(&order.control);
                versions.machine.intervals.hear(&order.control);
            }
            if let Some(tuning) = rules.follow(orders.into_iter().filter(Order::is_policy).collect(), now) {
                let limits = &tuning.detection;
                saturation.adapt(|machine| machine.limits = limits.clone());
                silence.adapt(|machine| machine.limits = limits.clone());
                findings.adapt(|machine| machine.0 = limits.clone());
                signals.adapt(|machine| machine.limits = limits.clone());
                versions.adapt(|machine| machine.limits = limits.clone());
                budgets.adapt(|it| (it.limits, it.objectives) = (limits.clone(), tuning.objectives.clone()));
            }
            saturation.step(now, samples, &mut verdicts, put);
            silence.step(now, signs, &mut verdicts, put);
            findings.step(now, found, &mut verdicts, put);
            admit(&signals, &mut points);
            signals.step(now, points, &mut verdicts, put);
            budgets.step(now, of_services, &mut verdicts, put);
            versions.step(now, of_versions, &mut verdicts, put);
            news.extend(verdicts.drain(..).map(News::Verdict));
        },
    )
}
