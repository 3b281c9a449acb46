//! Who is paged, and when: at once, after a while, or not at all.

use super::{Incidents, SHARED_SERVICES, Said, Standing};
use crate::tuning::TICK_US;
use evenkeel_schemas::{Incident, IncidentState, Notice};

impl Incidents {
    /// A new incident; `was_paged`: somebody heard of its services in another, from which it was split.
    pub(super) fn opened(&mut self, incident: Incident, was_paged: bool, now_us: i64) -> Standing {
        let settle_us = self.rules.settle_s * TICK_US;
        let crowded = self.pages.range((now_us - settle_us + 1, String::new())..).next().is_some()
            || self.pages.iter().any(|(_, id)| *id != incident.incident_id && self.spreads(id));
        let (notify, notice) = match (was_paged, crowded) {
            (true, _) => (false, Notice::Split),
            (false, true) => (false, Notice::Held),
            (false, false) if self.flaps.page(&incident.service, now_us) => (true, Notice::Flapping),
            (false, false) => (true, Notice::Opened),
        };
        let flaps = notice == Notice::Flapping;
        let paged_root = incident.service.clone();
        let said = Incident { notify, notice, ..incident };
        let settle_us = (notice == Notice::Held).then_some(now_us + settle_us);
        let paged_us = notify.then_some(now_us);
        Standing { said, paged_us, paged_root, root_paged: false, settle_us, flaps, calm_us: None }
    }

    /// Whether an incident has, or had, so many services that what begins beside it is likely to be of it.
    fn spreads(&self, id: &str) -> bool {
        self.services.get(id).is_some_and(|services| services.len() >= SHARED_SERVICES)
    }

    /// Pages what was held and stands by itself still, and roots that stayed.
    pub(super) fn settle(&mut self, now_us: i64, said: &mut Said) {
        while self.settles.first().is_some_and(|(at, _)| *at <= now_us) {
            let (_, id) = self.settles.pop_first().expect("just seen");
            let standing = self.standing.get_mut(&id).expect("what settles stands");
            standing.settle_us = None;
            let notice = if standing.paged_us.is_some() {
                Notice::RootChanged
            } else if self.flaps.page(&standing.said.service, now_us) {
                standing.flaps = true;
                Notice::Flapping
            } else {
                Notice::Opened
            };
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
}
