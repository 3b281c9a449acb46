//! `commands`: situations in; commands out, one live one per target and kind (law L8).
//!
//! A circuit goes closed → open → half-open → closed. It opens for an episode of errors, stays open `open_s`, is tried
//! for `trial_s`, and closes if no new episode of errors named it meanwhile. Every other command is said once and then
//! not again for `cooldown_s`.
//!
//! # Decision
//! The last healthy replica is never taken out: if every other replica of the service is known to be out, the circuit of
//! the whole service is opened instead (its callers then use their fallback). Replicas are the nodes counted as keys.

use crate::epochs::Moment;
use crate::operators::fold::Machine;
use crate::policy::Policy;
use crate::tuning::{Recovery, TICK_US};
use evenkeel_schemas::{Cause, Command, CommandKind, Coordinates, Detector, Mode, Outcome, OutcomeStatus};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Decides about commands; keyed by service.
pub(crate) struct Commands {
    pub rules: Recovery,
    pub default_mode: Mode,
    pub policy: Policy,
}

/// What a service's key hears, in this order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Word {
    Joined(String),
    Left(String),
    Outcome(Coordinates, Outcome),
    /// What is wrong with the service: seen for the first time, or differently, or over.
    Situation {
        ended: bool,
        /// The same from begin to end.
        episode: String,
        incident_id: String,
        cause: Cause,
    },
}

/// Where a circuit stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Circuit {
    incident_id: String,
    half_open: bool,
    /// When it moves on, µs.
    next_us: i64,
}

/// What is kept of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Service {
    replicas: BTreeSet<String>,
    /// Open and half-open circuits by target.
    circuits: BTreeMap<String, Circuit>,
    /// What was answered of each episode that is not over: its detector, and the nodes it named.
    answered: BTreeMap<String, (Detector, BTreeSet<String>)>,
    /// Until when no second command of this kind may go to this target, µs.
    cooling: BTreeMap<String, i64>,
}

impl Machine for Commands {
    type Key = String;
    type Input = Word;
    type State = Service;
    type Said = Command;
    const NAME: &'static str = "commands";

    fn hear(&self, key: &String, state: &mut Service, word: Word, now: Moment, said: &mut Vec<Command>) {
        match word {
            Word::Joined(node) => drop(state.replicas.insert(node)),
            Word::Left(node) => drop(state.replicas.remove(&node)),
            // What an actuator could not do may be asked for again at once.
            Word::Outcome(_, outcome) if outcome.status == OutcomeStatus::Failed => state.cooling.clear(),
            Word::Outcome(..) => {}
            Word::Situation { ended: true, episode, .. } => drop(state.answered.remove(&episode)),
            Word::Situation { episode, incident_id, cause, .. } => {
                if worsened(state, episode, &cause) {
                    self.answer(key, state, (&incident_id, &cause), now.now_us, said);
                }
            }
        }
    }

    fn alarm(&self, state: &Service) -> Option<i64> {
        let circuits = state.circuits.values().map(|circuit| circuit.next_us);
        circuits.chain(state.cooling.values().copied()).min()
    }

    fn wake(&self, key: &String, state: &mut Service, now: Moment, said: &mut Vec<Command>) {
        state.cooling.retain(|_, until| *until > now.now_us);
        for (target, circuit) in std::mem::take(&mut state.circuits) {
            if circuit.next_us > now.now_us {
                state.circuits.insert(target, circuit);
            } else {
                self.move_on(key, state, target, circuit, now.now_us, said);
            }
        }
    }
}

impl Commands {
    fn answer(
        &self,
        service: &str,
        state: &mut Service,
        incident @ (_, cause): (&str, &Cause),
        now_us: i64,
        said: &mut Vec<Command>,
    ) {
        let one_node = (cause.nodes.len() == 1).then(|| cause.nodes[0].clone());
        let (kind, target) = match (cause.detector, one_node) {
            (Detector::NodeSilent, Some(node)) => (CommandKind::RestartNode, node),
            (Detector::NodeSilent, None) => {
                return cause.nodes.iter().for_each(|node| {
                    self.say(service, state, (CommandKind::RestartNode, node), incident, now_us, said);
                });
            }
            (Detector::ErrorBurst | Detector::ErrorRate, Some(node)) if spare(state, &node) => {
                (CommandKind::TripCircuit, node)
            }
            (Detector::ErrorBurst | Detector::ErrorRate, _) => (CommandKind::TripCircuit, service.to_owned()),
            (Detector::Saturation | Detector::Latency, _) => (CommandKind::Scale, service.to_owned()),
            (Detector::Forecast, _) => (CommandKind::Scale, service.to_owned()),
            // What to do about these is for a person to decide.
            (
                Detector::Traffic
                | Detector::BudgetBurn
                | Detector::Canary
                | Detector::Leak
                | Detector::Signal
                | Detector::AuditIntegrity,
                _,
            ) => return,
        };
        self.say(service, state, (kind, &target), incident, now_us, said);
    }

    /// Says a command unless one like it is live or was said a moment ago.
    fn say(
        &self,
        service: &str,
        state: &mut Service,
        (kind, target): (CommandKind, &str),
        (incident_id, cause): (&str, &Cause),
        now_us: i64,
        said: &mut Vec<Command>,
    ) {
        let cooling = format!("{kind:?} {target}");
        let trips = kind == CommandKind::TripCircuit;
        // With the whole service's circuit open, no request reaches the node either.
        let is_open = |target: &str| state.circuits.get(target).is_some_and(|circuit| !circuit.half_open);
        let already_open = is_open(target) || is_open(service);
        if self.policy.killed || state.cooling.contains_key(&cooling) || (trips && already_open) {
            return;
        }
        state.cooling.insert(cooling, now_us + self.rules.cooldown_s * TICK_US);
        let reason = format!("{:?}: {}", cause.detector, cause.evidence);
        said.push(self.command(service, (kind, target), incident_id, reason, now_us));
        if trips {
            let next_us = now_us + self.rules.open_s * TICK_US;
            let circuit = Circuit { incident_id: incident_id.to_owned(), half_open: false, next_us };
            state.circuits.insert(target.to_owned(), circuit);
        }
    }

    /// Moves a circuit on: open → half-open → closed.
    fn move_on(
        &self,
        service: &str,
        state: &mut Service,
        target: String,
        circuit: Circuit,
        now_us: i64,
        said: &mut Vec<Command>,
    ) {
        if self.policy.killed {
            // The switch holds everything as it is; the circuit asks again a while later.
            let next_us = now_us + self.rules.open_s * TICK_US;
            state.circuits.insert(target, Circuit { next_us, ..circuit });
            return;
        }
        let (kind, reason) = match circuit.half_open {
            false => (CommandKind::HalfOpen, format!("open for {} s", self.rules.open_s)),
            true => (CommandKind::CloseCircuit, format!("no errors in a trial of {} s", self.rules.trial_s)),
        };
        said.push(self.command(service, (kind, &target), &circuit.incident_id, reason, now_us));
        if kind == CommandKind::HalfOpen {
            // A trial that fails must be able to open the circuit again.
            state.cooling.remove(&format!("{:?} {target}", CommandKind::TripCircuit));
            let next_us = now_us + self.rules.trial_s * TICK_US;
            state.circuits.insert(target, Circuit { half_open: true, next_us, ..circuit });
        }
    }

    fn command(
        &self,
        service: &str,
        (kind, target): (CommandKind, &str),
        incident_id: &str,
        reason: String,
        at_us: i64,
    ) -> Command {
        Command {
            command_id: Command::identify(incident_id, kind, target, at_us),
            kind,
            target: target.to_owned(),
            service: service.to_owned(),
            incident_id: incident_id.to_owned(),
            mode: self.policy.mode(service).unwrap_or(self.default_mode),
            reason,
            at_us,
            expires_us: at_us + self.rules.expires_s * TICK_US,
        }
    }
}

/// Whether an episode is new, or has a stronger cause or more nodes than what was answered; what only gets better needs no
/// answer.
fn worsened(state: &mut Service, episode: String, cause: &Cause) -> bool {
    let (detector, nodes) = (cause.detector, cause.nodes.iter().cloned().collect::<BTreeSet<_>>());
    let before = state.answered.insert(episode, (detector, nodes.clone()));
    before.is_none_or(|(answered, known)| detector < answered || (detector == answered && !nodes.is_subset(&known)))
}

/// Whether another replica than `node` is in service.
fn spare(state: &Service, node: &str) -> bool {
    state.replicas.iter().any(|other| other != node && !state.circuits.contains_key(other))
}
