//! `incidents`: situations in; incidents out, each with one identity from open to resolved.

use crate::epochs::Moment;
use crate::operators::fold::Machine;
use crate::tuning::{Recovery, TICK_US};
use evenkeel_schemas::{Cause, Incident, IncidentState};
use serde::{Deserialize, Serialize};

/// What is wrong with a service now; `None`: nothing any more.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Situation(pub Option<Cause>);

/// Gives situations an identity over time; keyed by service.
pub(crate) struct Incidents(pub Recovery);

/// The incident of a service, while there is one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Standing {
    incident: Option<Incident>,
    /// When it ends unless something is seen again, µs; `None` while its cause stands.
    ends_us: Option<i64>,
}

impl Machine for Incidents {
    type Key = String;
    type Input = Situation;
    type State = Standing;
    type Said = Incident;
    const NAME: &'static str = "incidents";

    fn hear(&self, key: &String, state: &mut Standing, situation: Situation, now: Moment, said: &mut Vec<Incident>) {
        match (situation.0, &mut state.incident) {
            (None, None) => {}
            (None, Some(_)) => state.ends_us = Some(now.now_us + self.0.linger_s * TICK_US),
            (Some(cause), None) => {
                let incident = open(key, cause, now.now_us);
                said.push(incident.clone());
                state.incident = Some(incident);
            }
            (Some(cause), Some(incident)) => {
                state.ends_us = None;
                let seen_differently =
                    (cause.detector, &cause.nodes) != (incident.cause.detector, &incident.cause.nodes);
                if seen_differently {
                    *incident = Incident { state: IncidentState::Update, cause, at_us: now.now_us, ..incident.clone() };
                    said.push(incident.clone());
                }
            }
        }
    }

    fn alarm(&self, state: &Standing) -> Option<i64> {
        state.ends_us
    }

    fn wake(&self, _key: &String, state: &mut Standing, now: Moment, said: &mut Vec<Incident>) {
        let ended = state.incident.take();
        said.extend(ended.map(|it| Incident { state: IncidentState::Resolved, at_us: now.now_us, ..it }));
        *state = Standing::default();
    }
}

fn open(service: &str, cause: Cause, now_us: i64) -> Incident {
    Incident {
        incident_id: Incident::identify(service, &cause),
        service: service.to_owned(),
        state: IncidentState::Open,
        opened_us: cause.since_us,
        at_us: now_us,
        cause,
    }
}
