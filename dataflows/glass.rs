//! `glass`: who decides alone for a while. It begins with an order, everybody is told as of an incident, and it ends by
//! itself: when the present of the log is past its time, whether anybody orders anything or not.
//!
//! # Decision
//! * It lifts what approvals ask for, roles and how many persons, and nothing else: the kill switch, the last healthy replica
//!   and targets that were given up stand, and in [`evenkeel_schemas::Mode::Observe`] nothing is issued.
//! * An order counts once: one that is not later than the person's last one is refused, so a copy of it opens nothing again.

use crate::approvals::Refusal;
use crate::epochs::Moment;
use crate::roster::Roster;
use crate::tuning::{FUTURE_TOLERANCE_US, TICK_US};
use evenkeel_schemas::{Cause, Control, Detector, Dimension, Incident, IncidentState, Key, MAX_GLASS_S, Notice};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// So many people and services at once.
const MAX_BROKEN: usize = 64;

/// Somebody decides alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Glass {
    pub by: String,
    /// For which service, or `*`.
    pub service: String,
    pub why: String,
    /// From, inclusive, and to, exclusive, µs since the Unix epoch by the log.
    pub from_us: i64,
    pub to_us: i64,
}

/// All who do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Glasses {
    broken: Vec<Glass>,
    /// When each person's last order was given, µs; kept for as long as it could be heard again.
    heard_us: BTreeMap<String, i64>,
}

impl Glasses {
    /// Who decides alone for a service now, if this person does.
    pub fn of(&self, by: &str, service: &str, now_us: i64) -> Option<&Glass> {
        let is_for = |it: &Glass| it.service == service || it.service == "*";
        self.broken.iter().find(|it| it.by == by && is_for(it) && (it.from_us..it.to_us).contains(&now_us))
    }

    /// Hears an order to begin or end it: what is so since then, or why it is refused. Nothing if it is another order.
    pub fn hear(&mut self, order: &Control, roster: &Roster, now: Moment) -> Option<Result<Glass, Refusal>> {
        let Control::BreakGlass { event_time_us, by, service, for_s, why, .. } = order else { return None };
        let at_us = (*event_time_us).min(now.now_us);
        let to_us = at_us + i64::from(*for_s) * TICK_US;
        self.heard_us.retain(|_, heard_us| *heard_us + i64::from(MAX_GLASS_S) * TICK_US > now.now_us);
        let is_mine = |it: &Glass| it.by == *by && it.service == *service;
        let mine = self.broken.iter().position(is_mine);
        if let Err(refusal) = self.admits(order, roster, (at_us, to_us, now.now_us), mine.is_some()) {
            return Some(Err(refusal));
        }
        self.heard_us.insert(by.clone(), *event_time_us);
        let before = mine.map(|place| self.broken.remove(place));
        let from_us = before.as_ref().map_or(now.now_us, |it| it.from_us);
        let glass = Glass { by: by.clone(), service: service.clone(), why: why.clone(), from_us, to_us };
        if *for_s == 0 {
            return Some(Ok(Glass { to_us: now.now_us, ..glass }));
        }
        self.broken.push(glass.clone());
        Some(Ok(glass))
    }

    fn admits(
        &self,
        order: &Control,
        roster: &Roster,
        (at_us, to_us, now_us): (i64, i64, i64),
        is_broken: bool,
    ) -> Result<(), Refusal> {
        let Control::BreakGlass { by, for_s, event_time_us, .. } = order else { return Err(Refusal::NotBroken) };
        let person = roster.people.get(by).ok_or(Refusal::NotOnRoster)?;
        let is_known = self.heard_us.contains_key(by);
        let rules = [
            (Refusal::NoRole, person.has_one_of(&roster.break_glass.roles)),
            (Refusal::NotProven, !roster.break_glass.totp || roster.proves(order)),
            (Refusal::Early, *event_time_us <= now_us.saturating_add(FUTURE_TOLERANCE_US)),
            (Refusal::Replayed, self.heard_us.get(by).is_none_or(|heard_us| heard_us < event_time_us)),
            (Refusal::NotBroken, *for_s > 0 || is_broken),
            (Refusal::TooLong, *for_s <= roster.break_glass.longest_s),
            (Refusal::Expired, to_us > now_us || *for_s == 0 && at_us + i64::from(MAX_GLASS_S) * TICK_US > now_us),
            (Refusal::TooMany, is_broken || self.broken.len() < MAX_BROKEN),
            (Refusal::TooMany, is_known || self.heard_us.len() < MAX_BROKEN),
        ];
        rules.into_iter().find(|(_, holds)| !holds).map_or(Ok(()), |(refusal, _)| Err(refusal))
    }

    /// Whether one is over that was not taken out.
    pub fn is_due(&self, now_us: i64) -> bool {
        self.broken.iter().any(|it| it.to_us <= now_us)
    }

    /// Takes out those that are over.
    pub fn over(&mut self, now_us: i64) -> Vec<Glass> {
        self.broken.extract_if(.., |it| it.to_us <= now_us).collect()
    }
}

impl Glass {
    /// What everybody is told: an incident that is open as long as the glass is broken.
    pub fn incident(&self, now_us: i64) -> Incident {
        let Self { by, service, why, from_us, to_us } = self;
        let is_over = *to_us <= now_us;
        let left_s = (to_us - now_us).div_euclid(TICK_US);
        let evidence = if is_over {
            format!("{by} no longer decides alone")
        } else {
            format!("{by} decides alone for {left_s} s, without the usual approvals: {why}")
        };
        let key = Key::new([(Dimension::Service, service.as_str()), (Dimension::Node, by.as_str())]);
        let cause =
            Cause { detector: Detector::BreakGlass, key, nodes: Vec::new(), since_us: *from_us, evidence, verdicts: 0 };
        Incident {
            incident_id: Incident::identify(service, &cause),
            service: service.clone(),
            state: if is_over { IncidentState::Resolved } else { IncidentState::Open },
            cause,
            opened_us: *from_us,
            at_us: now_us,
            notify: true,
            notice: if is_over { Notice::Resolved } else { Notice::Opened },
            affected: 0,
            services: Vec::new(),
            victims: Vec::new(),
            candidates: Vec::new(),
            changes: Vec::new(),
            shared: Vec::new(),
            merged_into: String::new(),
        }
    }
}
