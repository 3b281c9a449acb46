//! `topology`: orders about calls and changes in; who calls whom, and what was changed of late. Every worker keeps all of
//! it: it is small, and whoever asks wants to know at once.
//!
//! Bounds: a call holds [`LINK_US`] after it was said last; a service calls at most [`MAX_CALLEES`], and there are at most
//! [`MAX_CALLS`] calls. At a bound a new call is refused and counted, in the state `fold/refused/`; the order is an audit entry
//! all the same. Of a service the last [`MAX_CHANGES`] changes of an hour are kept, of at most [`MAX_CHANGED`] services.
//!
//! # Decision
//! Calls come from orders, which a mesh, a tracing backend or a person may give, and not from the `upstream` of requests:
//! that is one look-up for each request on the path that has 60 ns for all of it.

use crate::Output;
use crate::epochs::Moment;
use crate::operators::fold::route_of;
use crate::state::{State, from_json, json, record};
use crate::tuning::TICK_US;
use evenkeel_schemas::{Changed, Control};
use std::collections::{BTreeMap, BTreeSet};

/// A call holds so long after it was said last, µs: a week.
const LINK_US: i64 = 7 * 24 * 3600 * TICK_US;

/// Most services that one service calls.
const MAX_CALLEES: usize = 100;

/// Most calls in all.
const MAX_CALLS: usize = 20_000;

/// A change is forgotten after, µs: an hour.
const CHANGE_US: i64 = 3600 * TICK_US;

/// Most changes kept of a service; the oldest goes.
const MAX_CHANGES: usize = 4;

/// Most services of which changes are kept; beyond it changes of others are refused and counted.
const MAX_CHANGED: usize = 10_000;

/// Who calls whom, and what was changed.
#[derive(Default)]
pub(crate) struct Topology {
    /// Worker and workers: who says the state of a key.
    place: (u64, u64),
    /// Callees by caller, and until when each call holds, µs.
    callees: BTreeMap<String, BTreeMap<String, i64>>,
    callers: BTreeMap<String, BTreeSet<String>>,
    changes: BTreeMap<String, Vec<Changed>>,
    /// When something ends, and of whom: the name of a caller or of a changed service.
    ends: BTreeSet<(i64, String)>,
    calls: usize,
    refused: u64,
}

impl Topology {
    /// That of worker `index` of `peers`, as it is in the committed state.
    pub fn recovered(state: &State, place: (u64, u64)) -> Self {
        let mut topology = Self { place, ..Self::default() };
        for (caller, value) in state.under("fold/topology/") {
            for (callee, until_us) in from_json::<BTreeMap<String, i64>>(value) {
                topology.insert(caller, callee, until_us);
            }
        }
        for (service, value) in state.under("fold/changes/") {
            let changes = from_json::<Vec<Changed>>(value);
            topology.ends.extend(changes.iter().map(|change| (change.at_us + CHANGE_US, service.to_owned())));
            topology.changes.insert(service.to_owned(), changes);
        }
        topology.refused = state.under("fold/refused/").next().map_or(0, |(_, value)| from_json(value));
        topology
    }

    /// Whom a service calls.
    pub fn callees(&self, service: &str) -> impl Iterator<Item = &String> {
        self.callees.get(service).into_iter().flat_map(BTreeMap::keys)
    }

    /// Who calls a service.
    pub fn callers(&self, service: &str) -> impl Iterator<Item = &String> {
        self.callers.get(service).into_iter().flatten()
    }

    /// What was changed of a service within the hour.
    pub fn changes(&self, service: &str) -> &[Changed] {
        self.changes.get(service).map_or(&[], Vec::as_slice)
    }

    /// Hears orders in their order, and ends what is due; the services about whom something is different now.
    pub fn step<'a>(
        &mut self,
        now: Moment,
        orders: impl Iterator<Item = &'a Control>,
        put: &mut Vec<Output>,
    ) -> BTreeSet<String> {
        let (mut touched, before) = (BTreeSet::new(), self.refused);
        for order in orders {
            match order {
                Control::Link { caller, callee, .. } => self.link(caller, callee, now.now_us, &mut touched),
                Control::Unlink { caller, callee, .. } => self.unlink(caller, callee, &mut touched),
                Control::Change { event_time_us, by, service, what, version } => {
                    let (service, what, version, by) = (service.clone(), what.clone(), version.clone(), by.clone());
                    self.change(
                        Changed { at_us: *event_time_us, service, what, version, by },
                        now.now_us,
                        &mut touched,
                    );
                }
                Control::SetMode { .. }
                | Control::KillSwitch { .. }
                | Control::Approve { .. }
                | Control::Reject { .. }
                | Control::Resume { .. }
                | Control::RetireNode { .. }
                | Control::Maintenance { .. }
                | Control::ExcludeFromBaseline { .. }
                | Control::ApplyPolicy { .. } => {}
            }
        }
        while self.ends.first().is_some_and(|(end_us, _)| *end_us <= now.now_us) {
            let (_, service) = self.ends.pop_first().expect("just seen");
            self.end(&service, now.now_us, &mut touched);
        }
        touched.iter().filter(|service| route_of(service) % self.place.1 == self.place.0).for_each(|service| {
            let said = |value: Option<Vec<u8>>, name: &str| record(format!("fold/{name}/{service}"), value);
            put.push(said(self.callees.get(service).map(json), "topology"));
            put.push(said(self.changes.get(service).map(json), "changes"));
        });
        if self.refused != before && self.place.0 == 0 {
            put.push(record("fold/refused/links".to_owned(), Some(json(&self.refused))));
        }
        touched
    }

    fn link(&mut self, caller: &str, callee: &str, now_us: i64, touched: &mut BTreeSet<String>) {
        let known = self.callees.get(caller).is_some_and(|callees| callees.contains_key(callee));
        let full = self.callees(caller).count() >= MAX_CALLEES || self.calls >= MAX_CALLS;
        if caller == callee || (full && !known) {
            self.refused += u64::from(caller != callee);
            return;
        }
        self.insert(caller, callee.to_owned(), now_us + LINK_US);
        touched.extend([caller, callee].map(str::to_owned));
    }

    fn insert(&mut self, caller: &str, callee: String, until_us: i64) {
        self.callers.entry(callee.clone()).or_default().insert(caller.to_owned());
        self.ends.insert((until_us, caller.to_owned()));
        let before = self.callees.entry(caller.to_owned()).or_default().insert(callee, until_us);
        self.calls += usize::from(before.is_none());
    }

    fn unlink(&mut self, caller: &str, callee: &str, touched: &mut BTreeSet<String>) {
        let Some(callees) = self.callees.get_mut(caller).filter(|callees| callees.contains_key(callee)) else { return };
        callees.remove(callee);
        if callees.is_empty() {
            self.callees.remove(caller);
        }
        self.calls -= 1;
        if let Some(callers) = self.callers.get_mut(callee) {
            callers.remove(caller);
            if callers.is_empty() {
                self.callers.remove(callee);
            }
        }
        touched.extend([caller, callee].map(str::to_owned));
    }

    fn change(&mut self, change: Changed, now_us: i64, touched: &mut BTreeSet<String>) {
        let full = self.changes.len() >= MAX_CHANGED && !self.changes.contains_key(&change.service);
        // What is told late is too late; what lies ahead counts from now.
        if full || change.at_us + CHANGE_US <= now_us {
            self.refused += u64::from(full);
            return;
        }
        let change = Changed { at_us: change.at_us.min(now_us), ..change };
        let service = change.service.clone();
        self.ends.insert((change.at_us + CHANGE_US, service.clone()));
        let changes = self.changes.entry(service.clone()).or_default();
        changes.push(change);
        changes.sort();
        changes.dedup();
        if changes.len() > MAX_CHANGES {
            changes.remove(0);
        }
        touched.insert(service);
    }

    /// Ends what of a service is due.
    fn end(&mut self, service: &str, now_us: i64, touched: &mut BTreeSet<String>) {
        let callees = self.callees.get(service).into_iter().flatten();
        let over = callees.filter(|(_, until_us)| **until_us <= now_us).map(|(callee, _)| callee.clone());
        for callee in over.collect::<Vec<_>>() {
            self.unlink(service, &callee, touched);
        }
        if let Some(changes) = self.changes.get_mut(service) {
            let before = changes.len();
            changes.retain(|change| change.at_us + CHANGE_US > now_us);
            if changes.len() < before {
                touched.insert(service.to_owned());
            }
            if changes.is_empty() {
                self.changes.remove(service);
            }
        }
    }
}
