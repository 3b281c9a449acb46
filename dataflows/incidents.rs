//! `incidents`: situations of services in; incidents out, each with one identity from open to resolved.
//!
//! 1. A service stands from its first verdict until nothing of it was seen for a while. It has an *episode* of its own,
//!    which commands go by.
//! 2. Services that stand and hang together, over calls or over a value that they share, are put into [`groups`]. Only what
//!    hangs together with something that changed is looked at.
//! 3. A group goes on with the incident in which its services were; of several it goes on with the one that was paged, then
//!    the oldest, and the others end as merged. An incident goes on with the group that has its root, else most of its services.
//! 4. A service that healed stays in its incident as its *ghost*: what was joined over it does not fall apart while all of it
//!    heals, and if it fails again it is no news. Ghosts go when the incident is resolved.
//! 5. A record is said for what is new of an incident, once an epoch.
//!
//! # Decision
//! Pages are few whatever happens. The first incident is paged at once. One that opens within `settle_s` of a page is held so
//! long, for a cascade is rarely found from its root: it mostly turns out to belong to the first. So is one that opens beside
//! an incident of three services or more: the last services of a zone fail, or are found, long after the first, and show what
//! they share a little later. A root that moved deeper is paged once it has stayed for `settle_s`, and one time; a root that
//! healed before its callers did is no news to anybody. A service that is paged for the fifth time within an hour flaps
//! ([`flaps`]): its incident stays open over what comes and goes.
//!
//! Every worker keeps all incidents: they are few, and a service's commands need its incident in the same epoch. The worker
//! that owns a key says its outputs.

use crate::Output;
use crate::active::Found;
use crate::commands::Word;
use crate::epochs::Moment;
use crate::groups::{Group, groups};
use crate::known::Known;
use crate::operators::fold::route_of;

use crate::topology::Topology;
use crate::tuning::{Recovery, TICK_US, Tuning};
use evenkeel_schemas::{Cause, Dimension, Incident, IncidentState, Notice};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

mod describe;
mod flaps;
mod index;
mod pages;

use flaps::Flaps;

/// From so many services on, a value that they share joins them.
const SHARED_SERVICES: usize = 3;

/// A value is shown once a service stood at it alone for so long, µs: keys of a service do not fail all in one epoch.
const RIPE_US: i64 = 2 * TICK_US;

/// What is wrong with a service now; `None`: nothing any more.
pub(crate) type Situation = Option<Found>;

/// A service that stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Member {
    cause: Cause,
    /// When it began, µs; stays while its cause is seen differently.
    since_us: i64,
    /// Values at which alone it stands, although it has others.
    shows: Vec<(Dimension, String)>,
    /// When they count, µs; `None`: they do.
    ripe_us: Option<i64>,
    /// Whether it healed: it stands no more, and is a ghost.
    is_ghost: bool,
    /// Its own identity from begin to end.
    episode: String,
    incident_id: String,
    /// When it ends unless something is seen again, µs; `None` while its cause stands.
    ends_us: Option<i64>,
}

/// An incident that is not resolved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Standing {
    said: Incident,
    /// When it was paged first, µs.
    paged_us: Option<i64>,
    /// The root as it was paged.
    paged_root: String,
    /// Whether a change of the root was paged.
    root_paged: bool,
    /// When it is to be looked at again for a page, µs.
    settle_us: Option<i64>,
    /// Whether it was said to flap.
    #[serde(default)]
    flaps: bool,
    /// When it is resolved unless somebody of it fails again, µs: it flapped, and all of it healed.
    #[serde(default)]
    calm_us: Option<i64>,
}

/// What an epoch brings.
pub(crate) struct News<'a> {
    pub situations: Vec<(String, Situation)>,
    /// Services about whom the topology is different now.
    pub touched: BTreeSet<String>,
    pub topology: &'a Topology,
    pub known: &'a Known,
}

/// What comes of it; words are for services of this worker only.
#[derive(Default)]
pub(crate) struct Said {
    pub incidents: Vec<Incident>,
    pub words: Vec<(String, Word)>,
}

/// Gives situations an identity over time.
pub(crate) struct Incidents {
    rules: Recovery,
    /// Worker and workers: who says what is about a key.
    place: (u64, u64),
    members: BTreeMap<String, Member>,
    standing: BTreeMap<String, Standing>,
    /// The services of each incident.
    services: BTreeMap<String, BTreeSet<String>>,
    /// The services that show each value.
    showing: BTreeMap<(Dimension, String), BTreeSet<String>>,
    /// When a service ends, or what it shows ripens.
    ends: BTreeSet<(i64, String)>,
    /// When each was paged first, µs.
    pages: BTreeSet<(i64, String)>,
    settles: BTreeSet<(i64, String)>,
    calms: BTreeSet<(i64, String)>,
    flaps: Flaps,
    /// What was changed in this epoch, and has to be kept.
    changed_members: BTreeSet<String>,
    changed_incidents: BTreeSet<String>,
}

impl Incidents {
    /// Whether this worker says what is about `key`.
    pub fn owns(&self, key: &str) -> bool {
        route_of(key) % self.place.1 == self.place.0
    }

    /// From now on these times hold, for what begins or ends from now on.
    pub fn follow(&mut self, tuning: &Tuning) {
        self.rules = tuning.recovery.clone();
        self.flaps.follow(&tuning.detection.flap);
    }

    /// An epoch that is not warm.
    pub fn step(&mut self, now: Moment, news: News<'_>, put: &mut Vec<Output>) -> Said {
        let News { situations, mut touched, topology, known } = news;
        let mut said = Said::default();
        touched.retain(|service| self.stands_near(service, topology));
        let (mut begun, mut incidents) = (Vec::new(), BTreeSet::new());
        for (service, situation) in situations {
            self.hear(&service, situation, now.now_us, known, (&mut touched, &mut begun));
        }
        while self.ends.first().is_some_and(|(at, _)| *at <= now.now_us) {
            let (_, service) = self.ends.pop_first().expect("just seen");
            let member = self.remove(&service).expect("what ends stands");
            if member.ends_us.is_some_and(|at| at <= now.now_us) {
                self.tell(&mut said, (&service, &member), true, topology);
                incidents.insert(member.incident_id.clone());
                let (ends_us, ripe_us, shows) = (None, None, Vec::new());
                self.insert(&service, Member { is_ghost: true, ends_us, ripe_us, shows, ..member });
            } else {
                self.insert(&service, Member { ripe_us: None, ..member });
            }
            touched.insert(service);
        }
        if !touched.is_empty() {
            self.regroup(now.now_us, &touched, incidents, topology, &mut said);
        }
        for service in begun {
            if let Some(member) = self.members.get(&service) {
                let member = member.clone();
                self.tell(&mut said, (&service, &member), false, topology);
            }
        }
        self.settle(now.now_us, &mut said);
        while let Some((_, id)) = self.calms.first().filter(|(at, _)| *at <= now.now_us).cloned() {
            self.resolve(&id, String::new(), now.now_us, &mut said);
        }
        self.keep(put);
        said
    }

    /// Whether something of an incident may change with what is around this service.
    fn stands_near(&self, service: &str, topology: &Topology) -> bool {
        let stands = |name: &String| self.members.contains_key(name);
        self.members.contains_key(service) || topology.callers(service).chain(topology.callees(service)).any(stands)
    }

    fn hear(
        &mut self,
        service: &str,
        situation: Situation,
        now_us: i64,
        known: &Known,
        (touched, begun): (&mut BTreeSet<String>, &mut Vec<String>),
    ) {
        // A ghost that fails again begins anew, in the incident in which it was.
        let (before, incident_id) = match self.remove(service) {
            Some(ghost) if ghost.is_ghost => (None, ghost.incident_id),
            before => (before, String::new()),
        };
        match (situation, before) {
            (None, None) => return,
            (None, Some(member)) => {
                self.insert(service, Member { ends_us: Some(now_us + self.rules.linger_s * TICK_US), ..member });
                return;
            }
            (Some(found), None) => {
                let (episode, since_us) = (Incident::identify(service, &found.cause), found.cause.since_us);
                let shows = known.shown(service, &found.values);
                let ripe_us = (!shows.is_empty()).then_some(now_us + RIPE_US);
                let (cause, ends_us, is_ghost) = (found.cause, None, false);
                self.insert(
                    service,
                    Member { cause, since_us, shows, ripe_us, is_ghost, episode, incident_id, ends_us },
                );
            }
            (Some(found), Some(mut member)) => {
                let shows = known.shown(service, &found.values);
                let unseen = (found.cause.detector, &found.cause.nodes) == (member.cause.detector, &member.cause.nodes);
                let as_before = unseen && shows == member.shows;
                if shows != member.shows {
                    member.ripe_us = (!shows.is_empty()).then_some(now_us + RIPE_US);
                }
                (member.ends_us, member.shows) = (None, shows);
                if !unseen {
                    member.cause = found.cause;
                }
                self.insert(service, member);
                if as_before {
                    return;
                }
            }
        }
        touched.insert(service.to_owned());
        begun.push(service.to_owned());
    }

    /// Tells commands of a service.
    fn tell(&self, said: &mut Said, (service, member): (&str, &Member), ended: bool, topology: &Topology) {
        if self.owns(service) {
            let (episode, incident_id) = (member.episode.clone(), member.incident_id.clone());
            let (cause, changes) = (member.cause.clone(), topology.changes(service).to_vec());
            let word = Word::Situation { ended, episode, incident_id, cause, changes };
            said.words.push((service.to_owned(), word));
        }
    }

    /// Groups what hangs together with what was touched, and says what is new of its incidents.
    fn regroup(
        &mut self,
        now_us: i64,
        touched: &BTreeSet<String>,
        mut incidents: BTreeSet<String>,
        topology: &Topology,
        said: &mut Said,
    ) {
        // Who called, or was called by, somebody that does not stand may be told of a new victim or change.
        let around =
            |service: &String| topology.callers(service).chain(topology.callees(service)).cloned().collect::<Vec<_>>();
        let mut waiting = touched.iter().flat_map(around).chain(touched.iter().cloned()).collect::<Vec<_>>();
        waiting.extend(incidents.iter().filter_map(|id| self.services.get(id)).flatten().cloned());
        let mut together = BTreeMap::new();
        let mut calls = BTreeSet::new();
        while let Some(service) = waiting.pop() {
            let Some(member) = self.members.get(&service).filter(|_| !together.contains_key(&service)) else {
                continue;
            };
            together.insert(service.clone(), member.since_us);
            incidents.insert(member.incident_id.clone());
            calls.extend(topology.callees(&service).map(|callee| (service.clone(), callee.clone())));
            for pool in member.shown().iter().filter_map(|shown| self.pool(shown)) {
                // A ring: all of them reach each other.
                let next = pool.range(service.clone()..).nth(1).or_else(|| pool.first());
                calls.extend(next.map(|next| (service.clone(), next.clone())));
            }
            waiting.extend(self.neighbours(&service, topology));
        }
        let parts = self.living(groups(&together, &calls));
        incidents.remove("");
        let heirs = self.heirs(&parts, &incidents);
        let mut merged = BTreeMap::new();
        for ((group, ghosts), inherited) in parts.iter().zip(heirs) {
            let (id, was_paged) = self.go_on((group, ghosts), &inherited, now_us);
            merged.extend(inherited.into_iter().filter(|other| *other != id).map(|other| (other, id.clone())));
            self.describe(&id, (group, was_paged), &calls, topology, now_us, said);
        }
        for id in incidents {
            let services = self.services.get(&id);
            let healed = services.is_none_or(|services| services.iter().all(|name| self.members[name].is_ghost));
            if healed && !self.waits_for_calm(&id, now_us) {
                let into = merged.get(&id).cloned().unwrap_or_default();
                self.resolve(&id, into, now_us, said);
            }
        }
    }

    /// Groups of those who stand, and the ghosts apart. If the root is one, who stands nearest to it is the root.
    fn living(&self, groups: Vec<Group>) -> Vec<(Group, Vec<String>)> {
        let part = |group: Group| {
            let is_ghost = |(name, _): &(String, usize)| self.members[name].is_ghost;
            let (ghosts, services): (Vec<_>, Vec<_>) = group.services.into_iter().partition(is_ghost);
            let root = services.first()?.0.clone();
            Some((Group { root, services }, ghosts.into_iter().map(|(name, _)| name).collect()))
        };
        groups.into_iter().filter_map(part).collect()
    }

    /// The incidents that each group goes on with.
    fn heirs(&self, groups: &[(Group, Vec<String>)], incidents: &BTreeSet<String>) -> Vec<Vec<String>> {
        let mut heirs = vec![Vec::new(); groups.len()];
        for id in incidents {
            let Some(standing) = self.standing.get(id) else { continue };
            let mine = |name: &str| self.members.get(name).is_some_and(|member| member.incident_id == *id);
            let weigh = |(group, _): &(Group, Vec<String>)| {
                let count = group.services.iter().filter(|(name, _)| mine(name)).count();
                let has_root = mine(&standing.said.service)
                    && group.services.iter().any(|(name, _)| *name == standing.said.service);
                (has_root, count)
            };
            let weights = groups.iter().map(weigh).enumerate().filter(|(_, (_, count))| *count > 0);
            let most = weights.max_by_key(|(at, weight)| (*weight, std::cmp::Reverse(*at)));
            if let Some((at, _)) = most {
                heirs[at].push(id.clone());
            }
        }
        heirs
    }

    /// Moves a group's services into the incident that it goes on with, or into a new one; its id, and whether somebody was
    /// paged for an incident in which they were.
    fn go_on(&mut self, (group, ghosts): (&Group, &[String]), inherited: &[String], now_us: i64) -> (String, bool) {
        let names = || group.services.iter().map(|(name, _)| name);
        let before = names().filter_map(|name| self.standing.get(&self.members[name].incident_id));
        let was_paged = before.clone().any(|standing| standing.paged_us.is_some());
        let is_split = before.count() > 0;
        let rank =
            |id: &&String| self.standing.get(*id).map(|it| (it.paged_us.is_none(), it.said.opened_us, (*id).clone()));
        let oldest = inherited.iter().min_by_key(rank).cloned();
        let id = oldest.unwrap_or_else(|| {
            let root = &self.members[&group.root];
            let since_us = if is_split { now_us } else { root.cause.since_us };
            Incident::identify(&group.root, &Cause { since_us, ..root.cause.clone() })
        });
        for name in names().chain(ghosts) {
            if self.members[name].incident_id == id {
                continue;
            }
            let member = self.remove(name).expect("services of a group stand");
            self.insert(name, Member { incident_id: id.clone(), ..member });
        }
        (id, was_paged)
    }

    /// Whether an incident of which all healed stays open still: it flapped a moment ago.
    fn waits_for_calm(&mut self, id: &str, now_us: i64) -> bool {
        if !self.services.contains_key(id) {
            return false;
        }
        let Some(standing) = self.standing.get_mut(id).filter(|standing| standing.flaps) else { return false };
        let at = *standing.calm_us.get_or_insert(now_us + self.flaps.calm_us());
        self.calms.insert((at, id.to_owned()));
        self.changed_incidents.insert(id.to_owned());
        at > now_us
    }

    fn resolve(&mut self, id: &str, merged_into: String, now_us: i64, said: &mut Said) {
        let Some(standing) = self.standing.remove(id) else { return };
        for ghost in self.services.get(id).cloned().unwrap_or_default() {
            self.remove(&ghost);
        }
        standing.settle_us.map(|at| self.settles.remove(&(at, id.to_owned())));
        standing.paged_us.map(|at| self.pages.remove(&(at, id.to_owned())));
        standing.calm_us.map(|at| self.calms.remove(&(at, id.to_owned())));
        self.changed_incidents.insert(id.to_owned());
        let notice = if merged_into.is_empty() { Notice::Resolved } else { Notice::Merged };
        // Of a merged one the other will say how it ends.
        let notify = standing.paged_us.is_some() && merged_into.is_empty();
        let state = IncidentState::Resolved;
        let incident = Incident { state, at_us: now_us, notify, notice, merged_into, ..standing.said };
        if self.owns(id) {
            said.incidents.push(incident);
        }
    }
}
