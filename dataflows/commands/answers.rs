//! What a situation is answered with: of the actions that policies name for its detector the first that can be done.

use super::measures::share_moved;
use super::{Commands, Said, Service, slot};
use crate::actions::{Action, Facts};
use crate::deploys::Deploy;
use crate::epochs::Moment;
use evenkeel_schemas::{Cause, Changed, CommandKind};

/// What is wrong with a service, and what was changed of it of late, oldest first.
pub(super) struct Finding<'a> {
    pub incident_id: &'a str,
    pub episode: &'a str,
    pub cause: &'a Cause,
    pub changes: &'a [Changed],
}

impl Commands {
    pub(super) fn answer(
        &self,
        service: &str,
        state: &mut Service,
        finding: &Finding<'_>,
        now: Moment,
        said: &mut Vec<Said>,
    ) {
        for action in self.rules.tuning().actions(service, finding.cause.detector) {
            if self.take(service, state, (action, finding), now, said) {
                return;
            }
        }
    }

    /// Asks for an action; whether it can be done.
    fn take(
        &self,
        service: &str,
        state: &mut Service,
        (action, finding): (&Action, &Finding<'_>),
        now: Moment,
        said: &mut Vec<Said>,
    ) -> bool {
        let Finding { incident_id, episode, cause, changes } = *finding;
        let (kind, share) = (action.kind(), share_moved(state, &slot(action.kind(), service)));
        let withdrawn = state.withdrawn.clone();
        let deploy = Deploy::suspect(changes, cause, &withdrawn);
        let facts = Facts { service, incident_id, cause, replicas: state.replicas.len(), deploy, share };
        let Some(params) = action.params(&facts) else { return false };
        let Some(targets) = self.targets(service, state, kind, cause) else { return false };
        let reason = format!("{:?}: {}", cause.detector, cause.evidence);
        for target in &targets {
            // Of several nodes those after the first may be too many.
            if kind != CommandKind::TripCircuit && kind.takes_out() && !self.spare(state, target) {
                continue;
            }
            let asked = (kind, target.as_str(), &params);
            self.say(service, state, asked, (incident_id, episode, reason.as_str()), now, said);
        }
        true
    }

    /// Whom an action of this kind is about, as far as it is not done already; `None` if it cannot be done.
    fn targets(&self, service: &str, state: &Service, kind: CommandKind, cause: &Cause) -> Option<Vec<String>> {
        let nodes = &cause.nodes;
        match kind {
            CommandKind::RestartNode => (!nodes.is_empty()).then(|| nodes.clone()),
            CommandKind::Drain | CommandKind::Isolate => {
                let left = nodes.iter().filter(|node| !state.is_out(node)).collect::<Vec<_>>();
                let spared = left.iter().filter(|node| self.spare(state, node)).map(|node| (*node).clone());
                let spared = spared.collect::<Vec<_>>();
                (!nodes.is_empty() && (left.is_empty() || !spared.is_empty())).then_some(spared)
            }
            CommandKind::TripCircuit => Some(match nodes.as_slice() {
                [node] if self.spare(state, node) => vec![node.clone()],
                _ => vec![service.to_owned()],
            }),
            _ => Some(vec![service.to_owned()]),
        }
    }
}
