//! `incidents`: situations of services in; incidents out, each with one identity from open to resolved.
//!
//! 1. A service stands from its first verdict until nothing of it was seen for a while. It has an *episode* of its own,
//!    which commands go by.
//! 2. Services that stand and hang together, over calls or over a value that they share, are put into [`groups`]. Only what
//!    hangs together with something that changed is looked at.
//! 3. A group goes on with the incident in which its services were; of several it goes on with the one that was paged, then
//!    the oldest, and the others end as merged. An incident goes on with the group that has its root, else most of its services.
//! 4. A record is said for what is new of an incident, once an epoch.
//!
//! # Decision
//! Pages are few whatever happens. The first incident is paged at once. One that opens within `settle_s` of a page is held so
//! long, for a cascade is rarely found from its root: it mostly turns out to belong to the first. A root that moved deeper is
//! paged once it has stayed for `settle_s`, and one time; a root that healed before its callers did is no news to anybody.
//!
//! Every worker keeps all incidents: they are few, and a service's commands need its incident in the same epoch. The worker
//! that owns a key says its outputs.

use crate::Output;
use crate::active::Found;
use crate::commands::Word;
use crate::epochs::Moment;
use crate::groups::{Group, groups};
use crate::known::Known;
use crate::operators::fold::hash_of;
use crate::state::{State, from_json, json, record};
use crate::topology::Topology;
use crate::tuning::{Recovery, TICK_US};
use evenkeel_schemas::{Cause, Dimension, Incident, IncidentState, Notice};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

mod describe;

/// From so many services on, a value that they share joins them.
const SHARED_SERVICES: usize = 3;

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
    ends: BTreeSet<(i64, String)>,
    /// When each was paged first, µs.
    pages: BTreeSet<(i64, String)>,
    settles: BTreeSet<(i64, String)>,
    /// What was changed in this epoch, and has to be kept.
    changed_members: BTreeSet<String>,
    changed_incidents: BTreeSet<String>,
}

impl Incidents {
    /// Those that worker `index` of `peers` knows of, as they are in the committed state.
    pub fn recovered(rules: Recovery, state: &State, place: (u64, u64)) -> Self {
        let (members, standing) = (BTreeMap::new(), BTreeMap::new());
        let (services, showing) = (BTreeMap::new(), BTreeMap::new());
        let (ends, pages, settles) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
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
            changed_members,
            changed_incidents,
        };
        for (service, value) in state.under("fold/members/") {
            all.insert(service, from_json(value));
        }
        for (id, value) in state.under("fold/incidents/") {
            let standing: Standing = from_json(value);
            all.settles.extend(standing.settle_us.map(|at| (at, id.to_owned())));
            all.pages.extend(standing.paged_us.map(|at| (at, id.to_owned())));
            all.standing.insert(id.to_owned(), standing);
        }
        all.changed_members.clear();
        all
    }

    /// Whether this worker says what is about `key`.
    pub fn owns(&self, key: &str) -> bool {
        hash_of(key) % self.place.1 == self.place.0
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
            incidents.insert(member.incident_id.clone());
            self.tell(&mut said, &service, &member, true);
            touched.insert(service);
        }
        if !touched.is_empty() {
            self.regroup(now.now_us, &touched, incidents, topology, &mut said);
        }
        for service in begun {
            if let Some(member) = self.members.get(&service) {
                let member = member.clone();
                self.tell(&mut said, &service, &member, false);
            }
        }
        self.settle(now.now_us, &mut said);
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
        match (situation, self.remove(service)) {
            (None, None) => return,
            (None, Some(member)) => {
                self.insert(service, Member { ends_us: Some(now_us + self.rules.linger_s * TICK_US), ..member });
                return;
            }
            (Some(found), None) => {
                let (episode, since_us) = (Incident::identify(service, &found.cause), found.cause.since_us);
                let (shows, incident_id) = (known.shown(service, &found.values), String::new());
                self.insert(
                    service,
                    Member { cause: found.cause, since_us, shows, episode, incident_id, ends_us: None },
                );
            }
            (Some(found), Some(mut member)) => {
                let shows = known.shown(service, &found.values);
                let unseen = (found.cause.detector, &found.cause.nodes) == (member.cause.detector, &member.cause.nodes);
                let as_before = unseen && shows == member.shows;
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
    fn tell(&self, said: &mut Said, service: &str, member: &Member, ended: bool) {
        if self.owns(service) {
            let (episode, incident_id) = (member.episode.clone(), member.incident_id.clone());
            let word = Word::Situation { ended, episode, incident_id, cause: member.cause.clone() };
            said.words.push((service.to_owned(), word));
        }
    }

    fn insert(&mut self, service: &str, member: Member) {
        self.ends.extend(member.ends_us.map(|at| (at, service.to_owned())));
        for shown in &member.shows {
            self.showing.entry(shown.clone()).or_default().insert(service.to_owned());
        }
        if !member.incident_id.is_empty() {
            self.services.entry(member.incident_id.clone()).or_default().insert(service.to_owned());
        }
        self.changed_members.insert(service.to_owned());
        self.members.insert(service.to_owned(), member);
    }

    fn remove(&mut self, service: &str) -> Option<Member> {
        let member = self.members.remove(service)?;
        member.ends_us.map(|at| self.ends.remove(&(at, service.to_owned())));
        for shown in &member.shows {
            remove_from(&mut self.showing, shown, service);
        }
        remove_from(&mut self.services, &member.incident_id, service);
        self.changed_members.insert(service.to_owned());
        Some(member)
    }

    /// Whom a service that stands hangs together with: callers, callees, those of its incident, those who show what it does.
    fn neighbours(&self, service: &str, topology: &Topology) -> BTreeSet<String> {
        let member = self.members.get(service);
        let shared = member.iter().flat_map(|member| &member.shows).filter_map(|shown| self.pool(shown)).flatten();
        let incident = member.and_then(|member| self.services.get(&member.incident_id)).into_iter().flatten();
        let near = topology.callers(service).chain(topology.callees(service)).chain(shared).chain(incident);
        near.filter(|name| self.members.contains_key(*name)).cloned().collect()
    }

    /// The services that show a value, if they are so many that it joins them.
    fn pool(&self, shown: &(Dimension, String)) -> Option<&BTreeSet<String>> {
        self.showing.get(shown).filter(|services| services.len() >= SHARED_SERVICES)
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
            for pool in member.shows.iter().filter_map(|shown| self.pool(shown)) {
                // A ring: all of them reach each other.
                let next = pool.range(service.clone()..).nth(1).or_else(|| pool.first());
                calls.extend(next.map(|next| (service.clone(), next.clone())));
            }
            waiting.extend(self.neighbours(&service, topology));
        }
        let groups = groups(&together, &calls);
        incidents.remove("");
        let heirs = self.heirs(&groups, &incidents);
        let mut merged = BTreeMap::new();
        for (group, inherited) in groups.iter().zip(heirs) {
            let (id, was_paged) = self.go_on(group, &inherited, now_us);
            merged.extend(inherited.into_iter().filter(|other| *other != id).map(|other| (other, id.clone())));
            self.describe(&id, (group, was_paged), &calls, topology, now_us, said);
        }
        for id in incidents {
            if !self.services.contains_key(&id) {
                let into = merged.get(&id).cloned().unwrap_or_default();
                self.resolve(&id, into, now_us, said);
            }
        }
    }

    /// The incidents that each group goes on with.
    fn heirs(&self, groups: &[Group], incidents: &BTreeSet<String>) -> Vec<Vec<String>> {
        let mut heirs = vec![Vec::new(); groups.len()];
        for id in incidents {
            let Some(standing) = self.standing.get(id) else { continue };
            let mine = |name: &str| self.members.get(name).is_some_and(|member| member.incident_id == *id);
            let weigh = |group: &Group| {
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
    fn go_on(&mut self, group: &Group, inherited: &[String], now_us: i64) -> (String, bool) {
        let before = group.services.iter().filter_map(|(name, _)| self.standing.get(&self.members[name].incident_id));
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
        for (name, _) in &group.services {
            if self.members[name].incident_id == id {
                continue;
            }
            let member = self.remove(name).expect("services of a group stand");
            self.insert(name, Member { incident_id: id.clone(), ..member });
        }
        (id, was_paged)
    }

    fn resolve(&mut self, id: &str, merged_into: String, now_us: i64, said: &mut Said) {
        let Some(standing) = self.standing.remove(id) else { return };
        standing.settle_us.map(|at| self.settles.remove(&(at, id.to_owned())));
        standing.paged_us.map(|at| self.pages.remove(&(at, id.to_owned())));
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

    /// Pages what was held and stands by itself still, and roots that stayed.
    fn settle(&mut self, now_us: i64, said: &mut Said) {
        while self.settles.first().is_some_and(|(at, _)| *at <= now_us) {
            let (_, id) = self.settles.pop_first().expect("just seen");
            let standing = self.standing.get_mut(&id).expect("what settles stands");
            standing.settle_us = None;
            let notice = if standing.paged_us.is_none() { Notice::Opened } else { Notice::RootChanged };
            self.changed_incidents.insert(id.clone());
            if notice == Notice::RootChanged && standing.said.service == standing.paged_root {
                continue;
            }
            standing.root_paged = notice == Notice::RootChanged;
            let paged_us = *standing.paged_us.get_or_insert(now_us);
            self.pages.insert((paged_us, id.clone()));
            standing.paged_root = standing.said.service.clone();
            let state = IncidentState::Update;
            standing.said = Incident { state, at_us: now_us, notify: true, notice, ..standing.said.clone() };
            let incident = standing.said.clone();
            if self.owns(&id) {
                said.incidents.push(incident);
            }
        }
    }

    /// Says what has to survive a restart.
    fn keep(&mut self, put: &mut Vec<Output>) {
        for service in std::mem::take(&mut self.changed_members).iter().filter(|service| self.owns(service)) {
            put.push(record(format!("fold/members/{service}"), self.members.get(service).map(json)));
        }
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
