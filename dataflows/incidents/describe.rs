//! What a record of an incident says.

use super::{Incidents, Member, Said, Standing};
use crate::deploys::{AFTER_US, BEFORE_US};
use crate::groups::Group;
use crate::topology::Topology;
use crate::tuning::TICK_US;
use evenkeel_schemas::{Changed, Clue, Dimension, Incident, IncidentState, Notice, Shared, Suspect};
use std::collections::{BTreeMap, BTreeSet};

/// Most services that a record names.
const SERVICES: usize = 50;

/// Most victims that a record names.
const VICTIMS: usize = 20;

/// Most candidates of a record.
const CANDIDATES: usize = 5;

/// Most changes of a record.
const CHANGES: usize = 5;

/// A group, and what is around it.
struct View<'a> {
    group: &'a Group,
    calls: &'a BTreeSet<(String, String)>,
    topology: &'a Topology,
    members: &'a BTreeMap<String, Member>,
    opened_us: i64,
}

impl View<'_> {
    fn members(&self) -> impl Iterator<Item = &Member> {
        self.group.services.iter().map(|(name, _)| &self.members[name])
    }

    fn victims(&self) -> Vec<String> {
        let callers = self.group.services.iter().flat_map(|(name, _)| self.topology.callers(name));
        let stands = |name: &String| self.members.get(name).is_some_and(|member| !member.is_ghost);
        let spared = callers.filter(|caller| !stands(caller)).collect::<BTreeSet<_>>();
        spared.into_iter().take(VICTIMS).cloned().collect()
    }

    /// Changes of a service and of what it calls, shortly before it all began; newest first.
    fn changes(&self, service: &String) -> Vec<Changed> {
        let near = std::iter::once(service).chain(self.topology.callees(service));
        let span = self.opened_us - BEFORE_US..=self.opened_us + AFTER_US;
        let all = near.flat_map(|service| self.topology.changes(service));
        let mut changes = all.filter(|change| span.contains(&change.at_us)).cloned().collect::<Vec<_>>();
        changes.sort_by(|a, b| b.cmp(a));
        changes.truncate(CHANGES);
        changes
    }

    /// Values that at least half of the services show.
    fn shared(&self) -> Vec<Shared> {
        let mut counts = BTreeMap::<&(Dimension, String), u32>::new();
        self.members().flat_map(Member::shown).for_each(|shown| *counts.entry(shown).or_default() += 1);
        let most = counts.into_iter().filter(|(_, count)| *count as usize * 2 >= self.group.services.len());
        let shared = |((dimension, value), services): (&(Dimension, String), u32)| Shared {
            dimension: *dimension,
            value: value.clone(),
            services,
        };
        let mut shared = most.map(shared).collect::<Vec<_>>();
        // Of equally many services the wider dimension: a region holds nodes.
        shared.sort_by(|a, b| (b.services, b.dimension, &a.value).cmp(&(a.services, a.dimension, &b.value)));
        shared.truncate(3);
        shared
    }

    fn candidates(&self, shared: &[Shared]) -> Vec<Suspect> {
        let mut near = self.group.services.iter().map(|(name, hops)| (*hops, self.members[name].since_us, name));
        let earliest_us = self.members().map(|member| member.since_us).min();
        let root = near.next();
        let mut rest = near.collect::<Vec<_>>();
        rest.sort_unstable();
        let suspect = |(hops, since_us, name): (usize, i64, &String)| {
            let member = &self.members[name];
            let calls = self.calls.range((name.clone(), String::new())..).take_while(|(caller, _)| caller == name);
            let deeper =
                hops > 0 && calls.clone().any(|(_, callee)| self.members.get(callee).is_some_and(|it| !it.is_ghost));
            let shares =
                |it: &Shared| member.shown().iter().any(|(at, value)| (*at, value) == (it.dimension, &it.value));
            let clues = [
                (Clue::NoStandingCallee, !deeper),
                (Clue::CallsStanding, deeper),
                (Clue::EarliestStart, Some(since_us) == earliest_us),
                (Clue::ChangedBefore, !self.changes(name).is_empty()),
                (Clue::SharesValue, shared.iter().any(shares)),
            ];
            Suspect {
                service: name.clone(),
                detector: member.cause.detector,
                since_us: member.cause.since_us,
                evidence: member.cause.evidence.clone(),
                hops: hops as u32,
                inference: clues.into_iter().filter(|(_, holds)| *holds).map(|(clue, _)| clue).collect(),
            }
        };
        root.into_iter().chain(rest).take(CANDIDATES).map(suspect).collect()
    }
}

/// What of an incident is news; evidence and counts that only move on are not.
fn news(incident: &Incident) -> impl PartialEq + '_ {
    let Incident { service, cause, affected, services, victims, changes, shared, .. } = incident;
    (service, cause.detector, &cause.nodes, *affected, services, victims, changes, shared)
}

impl Incidents {
    /// Says what is new of the incident of a group.
    pub(super) fn describe(
        &mut self,
        id: &str,
        (group, was_paged): (&Group, bool),
        calls: &BTreeSet<(String, String)>,
        topology: &Topology,
        now_us: i64,
        said: &mut Said,
    ) {
        let root = &self.members[&group.root];
        let before = self.standing.get(id);
        let opened_us = before.map_or(root.cause.since_us, |standing| standing.said.opened_us);
        // While an incident heals its root is what it was: who calls it recovers after it.
        let is_ghost = |name: &String| self.members.get(name).is_some_and(|it| it.is_ghost && it.incident_id == id);
        let healed = before.map(|standing| &standing.said).filter(|said| is_ghost(&said.service));
        let named = healed.map_or((&group.root, &root.cause), |said| (&said.service, &said.cause));
        let (service, cause) = (named.0.clone(), named.1.clone());
        let view = View { group, calls, topology, members: &self.members, opened_us };
        let (victims, changes, shared) = (view.victims(), view.changes(&group.root), view.shared());
        let incident = Incident {
            incident_id: id.to_owned(),
            service,
            state: if before.is_some() { IncidentState::Update } else { IncidentState::Open },
            cause,
            opened_us,
            at_us: now_us,
            notify: false,
            notice: Notice::Opened,
            affected: group.services.len() as u32,
            services: group.services.iter().take(SERVICES).map(|(name, _)| name.clone()).collect(),
            candidates: view.candidates(&shared),
            victims,
            changes,
            shared,
            merged_into: String::new(),
        };
        // Somebody of it stands.
        let calm_us = self.standing.get_mut(id).and_then(|standing| standing.calm_us.take());
        if let Some(at) = calm_us {
            self.calms.remove(&(at, id.to_owned()));
            self.changed_incidents.insert(id.to_owned());
        }
        let standing = match self.standing.get(id) {
            Some(before) if news(&before.said) == news(&incident) => return,
            Some(before) => self.amended(before, incident),
            None => self.opened(incident, was_paged, now_us),
        };
        self.pages.extend(standing.paged_us.map(|at| (at, id.to_owned())));
        let old = self.standing.get(id).and_then(|before| before.settle_us);
        old.map(|at| self.settles.remove(&(at, id.to_owned())));
        self.settles.extend(standing.settle_us.map(|at| (at, id.to_owned())));
        if self.owns(id) {
            said.incidents.push(standing.said.clone());
        }
        self.changed_incidents.insert(id.to_owned());
        self.standing.insert(id.to_owned(), standing);
    }

    fn amended(&self, before: &Standing, incident: Incident) -> Standing {
        let was = &before.said;
        let old_root = self.members.get(&was.service).filter(|member| !member.is_ghost);
        let still_stands = old_root.is_some_and(|member| member.incident_id == incident.incident_id);
        let deeper = was.service != incident.service && still_stands;
        let notice = if was.service != incident.service {
            Notice::RootChanged
        } else if was.affected < incident.affected {
            Notice::Joined
        } else if was.affected > incident.affected {
            Notice::Left
        } else if was.cause.detector != incident.cause.detector || was.cause.nodes != incident.cause.nodes {
            Notice::CauseChanged
        } else if was.services != incident.services {
            Notice::Joined
        } else {
            Notice::ContextChanged
        };
        // What is held waits on; a root that moved again waits anew.
        let settles = deeper && before.paged_us.is_some() && !before.root_paged;
        let settle_us = if settles { Some(incident.at_us + self.rules.settle_s * TICK_US) } else { before.settle_us };
        Standing { said: Incident { notice, ..incident }, settle_us, ..before.clone() }
    }
}
