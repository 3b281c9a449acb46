//! `requests`: sheaves in; verdicts about keys, and replicas that come and go, out. The windows of a key and its
//! detectors are kept by the same worker, and are one operator.

use crate::detect::{Detect, Latches};
use crate::epochs::Epochs;
use crate::known::dimension_of;
use crate::operators::epochwise::{alone, epochwise};
use crate::operators::fold::Keys;
use crate::operators::window::{Observation, Observed, Windows};
use crate::policy::Policy;
use crate::recovery::News;
use crate::rules::Rules;
use crate::sheaf::Sheaf;
use crate::worker::Start;
use evenkeel_schemas::Dimension;
use std::collections::BTreeSet;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Exchange;

/// Counts, and judges what was counted.
pub(crate) fn requests<'s>(
    sheaves: Stream<'s, u64, Vec<Sheaf>>,
    epochs: &Epochs,
    start: &Start,
) -> Stream<'s, u64, Vec<News>> {
    let place = (sheaves.scope().index() as u64, sheaves.scope().peers() as u64);
    let state = &start.recovered.state;
    let mut rules = Rules::recovered(&start.tuning, state);
    let mut windows = Windows::recovered(place, rules.tuning(), &start.recovered);
    let limits = rules.tuning().detection.clone();
    let intervals = Policy::recovered(state).intervals;
    let mut detect = Keys::recovered(Detect { ending: limits.ending(), limits, intervals }, state, place);
    detect.iter().for_each(|(id, kept)| windows.watch(*id, Some(kept.frozen())));
    let (peers, mut verdicts) = (place.1, Vec::new());
    let sheaves = (sheaves, Exchange::new(|sheaf: &Sheaf| sheaf.to));
    epochwise("requests", sheaves, alone(), epochs, move |now, sheaves, _, news, put| {
        let mut observed = Vec::new();
        let mut sheaves = sheaves.into_iter().flatten().collect::<Vec<_>>();
        let orders = sheaves.iter_mut().flat_map(|sheaf| std::mem::take(&mut sheaf.orders));
        // What was ordered before a restart is known.
        let (policies, intervals) = orders.filter(|_| !now.warm).partition::<Vec<_>, _>(|order| order.is_policy());
        if let Some(tuning) = rules.follow(policies, now) {
            windows.follow(tuning);
            let limits = tuning.detection.clone();
            detect.adapt(|machine| (machine.ending, machine.limits) = (limits.ending(), limits));
            // What was said by other limits is not judged by these.
            detect.each(put, |state| state.close(now.now_us));
        }
        if let Some(intervals) = windows.hear(intervals) {
            detect.machine.intervals = intervals;
            // What was usual then may hold what is excluded now.
            detect.each(put, |state| state.thaw(now.now_us));
        }
        windows.step(now, sheaves, &mut observed, put);
        if !now.warm {
            news.extend(observed.iter().filter_map(replica));
            news.extend(
                observed.iter().filter_map(value).flat_map(|it| (0..peers).map(move |worker| it.known(worker))),
            );
            news.extend(minutes(&mut observed));
            let told = observed.iter().map(|(id, _)| *id).collect::<BTreeSet<_>>();
            detect.step(now, observed, &mut verdicts, put);
            told.iter().for_each(|id| windows.watch(*id, detect.get(id).map(Latches::frozen)));
            news.append(&mut verdicts);
        }
    })
}

/// Takes what was said of minutes out of what was observed.
fn minutes(observed: &mut Vec<Observed>) -> impl Iterator<Item = News> {
    let told = observed.extract_if(.., |(_, (seen, _))| matches!(seen, Observation::Minute(_)));
    told.filter_map(|(_, (seen, _))| match seen {
        Observation::Minute(minute) => Some(News::Minute(*minute)),
        _ => None,
    })
}

/// A key of exactly service and node, taken in or let go, is a replica that joined or left.
fn replica((_, (observation, key)): &Observed) -> Option<News> {
    let node = key.get(Dimension::Node).filter(|node| key.0.len() == 2 && !node.is_empty())?.to_owned();
    let service = key.service().to_owned();
    match observation {
        Observation::Admitted => Some(News::Joined { service, node }),
        Observation::Evicted => Some(News::Left { service, node }),
        _ => None,
    }
}

/// A value of a dimension at which a service is counted from now on, or not any more.
struct Value {
    service: String,
    dimension: Dimension,
    came: bool,
}

impl Value {
    fn known(&self, worker: u64) -> News {
        News::Known { worker, service: self.service.clone(), dimension: self.dimension, came: self.came }
    }
}

fn value((_, (observation, key)): &Observed) -> Option<Value> {
    let came = match observation {
        Observation::Admitted => true,
        Observation::Evicted => false,
        _ => return None,
    };
    Some(Value { service: key.service().to_owned(), dimension: dimension_of(key)?, came })
}
