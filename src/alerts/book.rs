//! [`Book`]: which alerts there are, who was told what, and what is due. It reads no clock and sends nothing.

use super::alert::Alert;
use super::decision::{Action, Decision, Due, Reason};
use super::receiver::{Kind, Receiver};
use super::silence::{MAX_SILENCES, Silence};
use super::told::Told;
use evenkeel_schemas::Incident;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};

/// Alerts that are held at most; further incidents are refused and counted.
pub const MAX_ALERTS: usize = 10_000;

/// Ended alerts that are kept for the feed.
const KEPT_ENDED: usize = 200;

const HOUR_US: i64 = 3_600_000_000;

/// All that is remembered: the state file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Book {
    /// By partition of incidents: the next offset to read.
    pub offsets: BTreeMap<u32, u64>,
    /// By identity.
    pub alerts: BTreeMap<String, Alert>,
    /// By receiver and alert.
    told: BTreeMap<String, BTreeMap<String, Told>>,
    /// By receiver: when it was paged within the last hour.
    pages: BTreeMap<String, VecDeque<i64>>,
    /// What was asked not to be told.
    pub silences: Vec<Silence>,
    /// What the policy in force says is not to be told.
    #[serde(skip)]
    pub written: Vec<Silence>,
    /// How often what happened.
    pub counts: BTreeMap<String, u64>,
    /// Decisions that are not written yet.
    #[serde(skip)]
    pub decisions: Vec<Decision>,
}

impl Book {
    /// Follows a record of an incident.
    pub fn follow(&mut self, incident: &Incident) {
        let (id, at_us) = (&incident.incident_id, incident.at_us);
        if !self.alerts.contains_key(id) && self.alerts.len() >= MAX_ALERTS {
            tracing::error!(incident_id = id, reason = "too_many", "an incident is not held");
            return self.decide(at_us, id, "", "suppressed", Reason::TooMany.as_str());
        }
        let alert = self.alerts.entry(id.clone()).or_default();
        let is_known = !alert.id.is_empty();
        if is_known && at_us <= alert.at_us && !incident.notify || is_known && at_us < alert.at_us {
            return self.decide(at_us, id, "", "suppressed", Reason::Duplicate.as_str());
        }
        alert.follow(incident);
        if !incident.notify {
            self.decide(at_us, id, "", "suppressed", Reason::NotNotified.as_str());
        }
    }

    /// Lets go of what ended before anybody was there to be told.
    pub fn begin(&mut self) {
        let ended = self.alerts.values().filter(|alert| alert.ended_us.is_some());
        let ended = ended.map(|alert| (alert.id.clone(), alert.at_us)).collect::<Vec<_>>();
        for (id, at_us) in ended {
            self.alerts.remove(&id);
            self.decide(at_us, &id, "", "suppressed", Reason::BeforeStart.as_str());
        }
    }

    /// Gets to know receivers: whoever is new is not told of what is over.
    pub fn welcome(&mut self, receivers: &[Receiver], now_us: i64) {
        let is_new = |receiver: &&Receiver| !self.told.contains_key(&receiver.name);
        let names = receivers.iter().filter(is_new).map(|receiver| receiver.name.clone()).collect::<Vec<_>>();
        let is_over = |alert: &&Alert| alert.paged_us.is_some() && alert.ended_us.is_some();
        let over = self.alerts.values().filter(is_over).map(|alert| alert.id.clone());
        let over = over.collect::<Vec<_>>();
        for name in names {
            self.told.insert(name.clone(), over.iter().map(|id| (id.clone(), Told::OVER)).collect());
            for id in &over {
                self.decide(now_us, id, &name, "suppressed", Reason::BeforeStart.as_str());
            }
        }
    }

    /// What a receiver is to be told now, the oldest first.
    pub fn due(&mut self, receiver: &Receiver, now_us: i64) -> Vec<Due> {
        self.end_groups(now_us);
        let mut due = Vec::new();
        let mut alerts = self.alerts.values().cloned().collect::<Vec<_>>();
        alerts.sort_by_key(|alert| alert.paged_us);
        for alert in alerts {
            match self.next(receiver, &alert, now_us) {
                Ok(action) => {
                    let before = self.told(receiver, &alert.id).messages;
                    due.push(Due { action, alert, before });
                }
                Err(Some(reason)) => self.suppress(receiver, &alert.id, reason, now_us),
                Err(None) => {}
            }
        }
        self.within_budget(receiver, due, now_us)
    }

    /// What comes next between a receiver and an alert, or why nothing does.
    fn next(&self, receiver: &Receiver, alert: &Alert, now_us: i64) -> Result<Action, Option<Reason>> {
        let Some(paged_us) = alert.paged_us else { return Err(None) };
        if alert.only.as_ref().is_some_and(|only| *only != receiver.name) {
            return Err(None);
        }
        let told = self.told(receiver, &alert.id);
        if told.is_grouped || told.is_ended {
            return Err(None);
        }
        let ended_us = alert.ended_us.filter(|_| alert.members.is_empty());
        if told.pages > 0 && alert.ended_us.is_some() {
            return Ok(Action::Resolve);
        }
        if alert.only.is_none() && !receiver.concerns(alert) {
            return Err(Some(Reason::NotRouted));
        }
        if self.all_silences().any(|silence| silence.holds(&alert.labels, now_us)) {
            return Err(Some(Reason::Silenced));
        }
        if told.pages == 0 {
            // What ended while it was held back needs not be told.
            if alert.ended_us.is_some() && matches!(told.reason, Some(Reason::Silenced | Reason::BelowTier)) {
                return Err(None);
            }
            let unacknowledged_us = alert.acknowledged_us.or(ended_us).unwrap_or(now_us) - paged_us;
            let is_turn = alert.only.is_some() || receiver.after_us == 0 || unacknowledged_us >= receiver.after_us;
            return if is_turn { Ok(Action::Trigger) } else { Err(Some(Reason::BelowTier)) };
        }
        if alert.pages > told.pages {
            return Ok(Action::Update);
        }
        if alert.acknowledged_us.is_some() && !told.is_acknowledged && receiver.kind == Kind::Pagerduty {
            return Ok(Action::Acknowledge);
        }
        let is_time = receiver.resend_us > 0 && now_us - told.at_us >= receiver.resend_us;
        if is_time && alert.acknowledged_us.is_none_or(|_| receiver.kind == Kind::Alertmanager) {
            Ok(Action::Resend)
        } else {
            Err(None)
        }
    }

    /// Keeps to the budget: its last page of the hour is one for all that is left, and what comes later joins that one.
    fn within_budget(&mut self, receiver: &Receiver, due: Vec<Due>, now_us: i64) -> Vec<Due> {
        let Some(budget) = receiver.pages_an_hour else { return due };
        let pages = self.pages.entry(receiver.name.clone()).or_default();
        while pages.front().is_some_and(|at_us| *at_us <= now_us - HOUR_US) {
            pages.pop_front();
        }
        let room = (budget as usize).saturating_sub(pages.len());
        let (costly, mut kept): (Vec<_>, Vec<_>) = due.into_iter().partition(|due| due.is_page(receiver.kind));
        if costly.len() < room {
            kept.extend(costly);
            return kept;
        }
        let single = room.saturating_sub(1);
        let (mut rest, mut begun) = (Vec::new(), Vec::new());
        for (index, due) in costly.into_iter().enumerate() {
            if index < single {
                kept.push(due);
            } else if due.action == Action::Trigger && due.alert.only.is_none() {
                begun.push(due.alert);
            } else {
                rest.push(due);
            }
        }
        let is_free = room > 0;
        if let Some(group) = self.group(receiver, &begun, is_free, now_us) {
            kept.push(group);
        } else if is_free && !rest.is_empty() {
            kept.push(rest.remove(0));
        }
        for due in rest {
            self.suppress(receiver, &due.alert.id, Reason::NoiseBudget, now_us);
        }
        kept
    }

    /// Puts alerts into the group that is open, or a new one if there is room for it; says what is due of it now.
    fn group(&mut self, receiver: &Receiver, begun: &[Alert], is_free: bool, now_us: i64) -> Option<Due> {
        if begun.is_empty() {
            return None;
        }
        let of_receiver = |alert: &&Alert| alert.only.as_ref() == Some(&receiver.name) && alert.ended_us.is_none();
        let open = self.alerts.values().rfind(of_receiver).filter(|_| !is_free || receiver.kind.is_keyed()).cloned();
        if open.is_none() && !is_free {
            begun.iter().for_each(|alert| self.suppress(receiver, &alert.id, Reason::NoiseBudget, now_us));
            return None;
        }
        let old = open.iter().flat_map(|group| &group.members).filter_map(|id| self.alerts.get(id));
        let members = old.chain(begun).collect::<Vec<_>>();
        let mut group = Alert::digest(&receiver.name, &members, now_us);
        if let Some(open) = open {
            let (id, labels) = (open.id, open.labels);
            group = Alert {
                id,
                labels,
                opened_us: open.opened_us,
                paged_us: open.paged_us,
                pages: open.pages + 1,
                ..group
            };
        }
        for alert in begun {
            self.suppress(receiver, &alert.id, Reason::Grouped, now_us);
            self.tell(receiver, &alert.id, |told| told.is_grouped = true);
        }
        self.alerts.insert(group.id.clone(), group.clone());
        let action = self.next(receiver, &group, now_us).ok()?;
        let before = self.told(receiver, &group.id).messages;
        let due = Due { action, alert: group, before };
        if is_free || !due.is_page(receiver.kind) { Some(due) } else { None }
    }

    /// A group ends with the last of its alerts.
    fn end_groups(&mut self, now_us: i64) {
        let is_open = |id: &String| self.alerts.get(id).is_some_and(|alert| alert.ended_us.is_none());
        let over = |group: &&Alert| {
            !group.members.is_empty() && group.ended_us.is_none() && !group.members.iter().any(is_open)
        };
        let ended = self.alerts.values().filter(over).map(|group| group.id.clone()).collect::<Vec<_>>();
        for id in ended {
            if let Some(group) = self.alerts.get_mut(&id) {
                group.ended_us = Some(now_us);
            }
        }
    }

    /// A receiver took what was due.
    pub fn sent(&mut self, receiver: &Receiver, due: &Due, now_us: i64) {
        if due.is_page(receiver.kind) {
            self.pages.entry(receiver.name.clone()).or_default().push_back(now_us);
        }
        self.settle(receiver, due, now_us);
        self.decide(now_us, &due.alert.id, &receiver.name, "sent", due.action.as_str());
    }

    /// A receiver took what was due, but some of those behind it did not get it.
    pub fn sent_in_part(&mut self, receiver: &Receiver, due: &Due, why: &str, now_us: i64) {
        self.sent(receiver, due, now_us);
        self.decide(now_us, &due.alert.id, &receiver.name, "refused", why);
    }

    /// A receiver refused what was due, and would again.
    pub fn refused(&mut self, receiver: &Receiver, due: &Due, why: &str, now_us: i64) {
        self.settle(receiver, due, now_us);
        self.decide(now_us, &due.alert.id, &receiver.name, "refused", why);
    }

    fn settle(&mut self, receiver: &Receiver, due: &Due, now_us: i64) {
        self.tell(receiver, &due.alert.id, |told| {
            (told.pages, told.at_us, told.reason) = (due.alert.pages.max(1), now_us, None);
            told.messages += 1;
            told.is_ended |= due.action == Action::Resolve;
            told.is_acknowledged |= due.action == Action::Acknowledge;
        });
        let is_open = self.alerts.get(&due.alert.id).is_some_and(|alert| alert.ended_us.is_none());
        if due.action == Action::Resolve && is_open {
            // A farewell: if it is a receiver again, it begins anew.
            self.told.entry(receiver.name.clone()).or_default().remove(&due.alert.id);
        }
    }

    /// What somebody who is no receiver any more is still to be told: the end of all that it knows of, as nobody else would
    /// close it there. What is not over has no end: it is told there no more.
    pub fn farewell(&self, receiver: &Receiver) -> Vec<Due> {
        let told = self.told.get(&receiver.name).into_iter().flatten().filter(|(_, told)| told.is_unfinished());
        let end = |(id, told): (&String, &Told)| {
            let alert = self.alerts.get(id)?.clone();
            Some(Due { action: Action::Resolve, alert, before: told.messages })
        };
        told.filter_map(end).collect()
    }

    /// Somebody takes an alert on; whether there is such a one.
    pub fn acknowledge(&mut self, id: &str, now_us: i64) -> bool {
        let open = self.alerts.get_mut(id).filter(|alert| alert.ended_us.is_none());
        open.map(|alert| alert.acknowledged_us.get_or_insert(now_us)).is_some()
    }

    /// Adds a silence, or changes the one of its identity; its identity.
    ///
    /// # Errors
    /// Says why it is refused.
    pub fn silence(&mut self, mut silence: Silence, now_us: i64) -> Result<String, String> {
        self.silences.retain(|old| now_us < old.to_us + 24 * HOUR_US);
        if let Some(old) = self.silences.iter_mut().find(|old| old.id == silence.id) {
            silence.from_us = silence.from_us.min(old.from_us);
            *old = silence.clone();
            return Ok(silence.id);
        }
        if self.silences.len() >= MAX_SILENCES {
            return Err(format!("{MAX_SILENCES} silences are held already: expire some"));
        }
        self.silences.push(silence.clone());
        Ok(silence.id)
    }

    /// Those that were asked for, and those of the policy.
    pub fn all_silences(&self) -> impl Iterator<Item = &Silence> {
        self.silences.iter().chain(&self.written)
    }

    /// Ends a silence that was asked for; whether there is such a one.
    pub fn expire(&mut self, id: &str, now_us: i64) -> bool {
        let found = self.silences.iter_mut().find(|silence| silence.id == id);
        found.map(|silence| (silence.to_us, silence.updated_us) = (silence.to_us.min(now_us), now_us)).is_some()
    }

    /// Forgets who is no receiver any more, and says of what they were not told the end; forgets alerts that ended and of which
    /// there is nothing more to tell, but for the newest.
    pub fn forget(&mut self, receivers: &[&Receiver], now_us: i64) {
        let is_there = |name: &String| receivers.iter().any(|receiver| receiver.name == *name);
        let gone = self.told.keys().filter(|name| !is_there(name)).cloned().collect::<Vec<_>>();
        for name in gone {
            for (id, told) in self.told.remove(&name).unwrap_or_default() {
                if told.is_unfinished() {
                    self.decide(now_us, &id, &name, "suppressed", Reason::Removed.as_str());
                }
            }
            self.alerts.retain(|_, alert| alert.only.as_ref() != Some(&name));
        }
        self.pages.retain(|name, pages| is_there(name) || pages.back().is_some_and(|at_us| *at_us > now_us - HOUR_US));
        let over = |alert: &&Alert| {
            let is_done = |receiver: &&Receiver| self.next(receiver, alert, now_us).is_err();
            alert.ended_us.is_some() && receivers.iter().all(is_done)
        };
        let mut over = self.alerts.values().filter(over).map(|it| (it.ended_us, it.id.clone())).collect::<Vec<_>>();
        over.sort();
        over.truncate(over.len().saturating_sub(KEPT_ENDED));
        for (_, id) in over {
            self.alerts.remove(&id);
            for told in self.told.values_mut() {
                told.remove(&id);
            }
        }
    }

    fn told(&self, receiver: &Receiver, id: &str) -> Told {
        self.told.get(&receiver.name).and_then(|told| told.get(id)).copied().unwrap_or_default()
    }

    fn tell(&mut self, receiver: &Receiver, id: &str, change: impl FnOnce(&mut Told)) {
        change(self.told.entry(receiver.name.clone()).or_default().entry(id.to_owned()).or_default());
    }

    /// Remembers why a receiver is not told, and says so if it is another reason than before.
    fn suppress(&mut self, receiver: &Receiver, id: &str, reason: Reason, now_us: i64) {
        if self.told(receiver, id).reason != Some(reason) {
            self.tell(receiver, id, |told| told.reason = Some(reason));
            self.decide(now_us, id, &receiver.name, "suppressed", reason.as_str());
        }
    }

    fn decide(&mut self, at_us: i64, id: &str, receiver: &str, what: &str, reason: &str) {
        let name = if what == "refused" { what.to_owned() } else { format!("{what}_{reason}") };
        *self.counts.entry(name).or_default() += 1;
        let [incident_id, receiver, what, reason] = [id, receiver, what, reason].map(str::to_owned);
        self.decisions.push(Decision { at_us, incident_id, receiver, what, reason });
    }
}

#[cfg(test)]
#[path = "book_tests.rs"]
mod tests;
