//! Who stands, who is in which incident, who shows what: the maps of [`Incidents`], changed together, and what of them
//! survives a restart.

use super::{Flaps, Incidents, Member, SHARED_SERVICES, Standing};
use crate::Output;
use crate::operators::fold::route_of;
use crate::state::{State, from_json, json, record};
use crate::topology::Topology;
use crate::tuning::Tuning;
use evenkeel_schemas::Dimension;
use std::collections::{BTreeMap, BTreeSet};

impl Member {
    /// The values that it shows by now.
    pub(super) fn shown(&self) -> &[(Dimension, String)] {
        if self.ripe_us.is_none() { &self.shows } else { &[] }
    }
}

impl Incidents {
    /// Those that worker `index` of `peers` knows of, as they are in the committed state.
    pub fn recovered(tuning: &Tuning, state: &State, place: (u64, u64)) -> Self {
        let (rules, flaps) = (tuning.recovery.clone(), Flaps::recovered(tuning.detection.flap.clone(), state));
        let (members, standing) = (BTreeMap::new(), BTreeMap::new());
        let (services, showing) = (BTreeMap::new(), BTreeMap::new());
        let (ends, pages) = (BTreeSet::new(), BTreeSet::new());
        let (settles, calms) = (BTreeSet::new(), BTreeSet::new());
        let (changed_members, changed_incidents) = (BTreeSet::new(), BTreeSet::new());
        let mut all = Self {
            rules,
            place,
            members,
            standing,
            services,
            showing,
            ends,
            pages,
            settles,
            calms,
            flaps,
            changed_members,
            changed_incidents,
        };
        for (service, value) in state.under("fold/members/") {
            all.insert(service, from_json(value));
        }
        for (id, value) in state.under("fold/incidents/") {
            let standing: Standing = from_json(value);
            all.settles.extend(standing.settle_us.map(|at| (at, id.to_owned())));
            all.calms.extend(standing.calm_us.map(|at| (at, id.to_owned())));
            all.pages.extend(standing.paged_us.map(|at| (at, id.to_owned())));
            all.standing.insert(id.to_owned(), standing);
        }
        all.changed_members.clear();
        all
    }

    pub(super) fn insert(&mut self, service: &str, member: Member) {
        let due = member.ends_us.into_iter().chain(member.ripe_us);
        self.ends.extend(due.map(|at| (at, service.to_owned())));
        for shown in member.shown() {
            self.showing.entry(shown.clone()).or_default().insert(service.to_owned());
        }
        if !member.incident_id.is_empty() {
            self.services.entry(member.incident_id.clone()).or_default().insert(service.to_owned());
        }
        self.changed_members.insert(service.to_owned());
        self.members.insert(service.to_owned(), member);
    }

    pub(super) fn remove(&mut self, service: &str) -> Option<Member> {
        let member = self.members.remove(service)?;
        for at in member.ends_us.into_iter().chain(member.ripe_us) {
            self.ends.remove(&(at, service.to_owned()));
        }
        for shown in member.shown() {
            remove_from(&mut self.showing, shown, service);
        }
        remove_from(&mut self.services, &member.incident_id, service);
        self.changed_members.insert(service.to_owned());
        Some(member)
    }

    /// Whom a service that stands hangs together with: callers, callees, those of its incident, those who show what it does.
    pub(super) fn neighbours(&self, service: &str, topology: &Topology) -> BTreeSet<String> {
        let member = self.members.get(service);
        let shared = member.iter().flat_map(|member| member.shown()).filter_map(|shown| self.pool(shown)).flatten();
        let incident = member.and_then(|member| self.services.get(&member.incident_id)).into_iter().flatten();
        let near = topology.callers(service).chain(topology.callees(service)).chain(shared).chain(incident);
        near.filter(|name| self.members.contains_key(*name)).cloned().collect()
    }

    /// The services that show a value, if they are so many that it joins them.
    pub(super) fn pool(&self, shown: &(Dimension, String)) -> Option<&BTreeSet<String>> {
        self.showing.get(shown).filter(|services| services.len() >= SHARED_SERVICES)
    }

    /// Says what has to survive a restart.
    pub(super) fn keep(&mut self, put: &mut Vec<Output>) {
        for service in std::mem::take(&mut self.changed_members).iter().filter(|service| self.owns(service)) {
            put.push(record(format!("fold/members/{service}"), self.members.get(service).map(json)));
        }
        let (index, peers) = self.place;
        self.flaps.keep(|service| route_of(service) % peers == index, put);
        for id in std::mem::take(&mut self.changed_incidents).iter().filter(|id| self.owns(id)) {
            put.push(record(format!("fold/incidents/{id}"), self.standing.get(id).map(json)));
        }
    }
}

/// Takes `name` from a set among sets; leaves no empty one.
fn remove_from<K: Ord>(sets: &mut BTreeMap<K, BTreeSet<String>>, key: &K, name: &str) {
    if let Some(set) = sets.get_mut(key) {
        set.remove(name);
        if set.is_empty() {
            sets.remove(key);
        }
    }
}
