//! `commands`: situations in; commands out, one live one per target and kind (law L8).
//!
//! A circuit goes closed → open → half-open → closed. It opens for an episode of errors, stays open `open_s`, is tried
//! for `trial_s`, and closes if errors did not come back meanwhile; if they do, it opens again, each time for longer. Every
//! other command is said once and then not again for `cooldown_s`; what becomes of it then, see [`lifecycle`].
//!
//! # Decision
//! The last healthy replica is never taken out, nor more of them than `max_out_percent`, this one counted: else the circuit
//! of the whole service is opened instead (its callers then use their fallback). Replicas are the nodes counted as keys. A
//! service that cannot spare a node is better off answering late than on too few nodes, which would fail one by one; Envoy
//! ends outlier ejection at the same half by default.
//!
//! A trial that fails is no failure of the command that opened the circuit: that one keeps the errors from the users, and
//! what is tried is whether it is needed still. So it is not counted as futile; as Envoy's ejections do, the circuit opens
//! for `open_s` more with every trial in a row that failed, up to [`MAX_OPEN_S`].

use crate::epochs::Moment;
use crate::operators::fold::Machine;
use crate::policy::{Order, Policy};
use crate::rules::Rules;
use crate::tuning::{Recovery, TICK_US};
use evenkeel_schemas::{Cause, Command, CommandKind, CommandState, Control, Coordinates, Detector, Outcome};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

mod lifecycle;
#[cfg(test)]
mod tests;

use lifecycle::Live;

/// A circuit stays open no longer before it is tried, s: Envoy's `max_ejection_time`.
const MAX_OPEN_S: i64 = 300;

/// Decides about commands; keyed by service.
pub(crate) struct Commands {
    /// The rules in force; every number of them is in the tuning.
    pub rules: Rules,
    pub policy: Policy,
}

/// What a service's key hears, in this order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Word {
    Joined(String),
    Left(String),
    Outcome(Coordinates, Outcome),
    /// A person's word about a proposed command.
    Decided {
        at: Coordinates,
        command_id: String,
        by: String,
        approved: bool,
    },
    /// A burst of errors at a node, or at the service, after a while without: in a trial, if there is one.
    Errors(String),
    /// What was given up may be tried again.
    Resumed,
    /// What is wrong with the service: seen for the first time, or differently, or over.
    Situation {
        ended: bool,
        /// The same from begin to end.
        episode: String,
        incident_id: String,
        cause: Cause,
    },
}

impl Word {
    /// What an order says to the commands of a service.
    pub fn ordered(Order { at, control }: &Order) -> Option<(String, Self)> {
        let decided = |service: &String, command_id: &String, by: &String, approved| {
            let (at, command_id, by) = (*at, command_id.clone(), by.clone());
            (service.clone(), Self::Decided { at, command_id, by, approved })
        };
        match control {
            Control::Approve { service, command_id, by, .. } => Some(decided(service, command_id, by, true)),
            Control::Reject { service, command_id, by, .. } => Some(decided(service, command_id, by, false)),
            Control::Resume { service, .. } => Some((service.clone(), Self::Resumed)),
            _ => None,
        }
    }
}

/// Where a circuit stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Circuit {
    incident_id: String,
    half_open: bool,
    /// When it moves on, µs.
    next_us: i64,
    /// How many trials in a row failed.
    #[serde(default)]
    failed: u32,
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
    /// The command of each kind and target that is not over.
    live: BTreeMap<String, Live>,
    /// How many commands in a row did not help, by target.
    futile: BTreeMap<String, u32>,
    /// Targets that were given up.
    frozen: BTreeSet<String>,
}

impl Service {
    /// Whether nothing more is tried for a target until a person says so.
    fn is_given_up(&self, service: &str, target: &str) -> bool {
        self.frozen.contains(target) || self.frozen.contains(service)
    }
}

/// What is live or cools down: one of each.
fn slot(kind: CommandKind, target: &str) -> String {
    format!("{kind:?} {target}")
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
            Word::Outcome(_, outcome) => self.answered(key, state, &outcome, now, said),
            Word::Decided { command_id, by, approved, .. } => {
                self.decided(key, state, (&command_id, by, approved), now, said);
            }
            Word::Errors(target) => self.came_back(key, state, &target, now, said),
            Word::Resumed => {
                state.frozen.clear();
                state.futile.clear();
            }
            Word::Situation { ended: true, episode, .. } => {
                state.answered.remove(&episode);
                self.relieved(state, &episode, now, said);
            }
            Word::Situation { episode, incident_id, cause, .. } => {
                if worsened(state, episode.clone(), &cause) {
                    self.answer(key, state, (&incident_id, &episode, &cause), now, said);
                }
            }
        }
    }

    fn alarm(&self, state: &Service) -> Option<i64> {
        let circuits = state.circuits.values().map(|circuit| circuit.next_us);
        let live = state.live.values().map(|live| live.due_us);
        circuits.chain(state.cooling.values().copied()).chain(live).min()
    }

    fn wake(&self, key: &String, state: &mut Service, now: Moment, said: &mut Vec<Command>) {
        state.cooling.retain(|_, until| *until > now.now_us);
        self.due(key, state, now, said);
        for (target, circuit) in std::mem::take(&mut state.circuits) {
            if circuit.next_us > now.now_us {
                state.circuits.insert(target, circuit);
            } else {
                self.move_on(key, state, (target, circuit), now, said);
            }
        }
    }
}

impl Commands {
    fn times(&self) -> &Recovery {
        &self.rules.tuning().recovery
    }

    fn answer(
        &self,
        service: &str,
        state: &mut Service,
        (incident_id, episode, cause): (&str, &str, &Cause),
        now: Moment,
        said: &mut Vec<Command>,
    ) {
        let reason = format!("{:?}: {}", cause.detector, cause.evidence);
        let incident = (incident_id, episode, reason.as_str());
        let one_node = (cause.nodes.len() == 1).then(|| cause.nodes[0].clone());
        let (kind, target) = match (cause.detector, one_node) {
            (Detector::NodeSilent, Some(node)) => (CommandKind::RestartNode, node),
            (Detector::NodeSilent, None) => {
                return cause.nodes.iter().for_each(|node| {
                    self.say(service, state, (CommandKind::RestartNode, node), incident, now, said);
                });
            }
            (Detector::ErrorBurst | Detector::ErrorRate, Some(node)) if self.spare(state, &node) => {
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
        self.say(service, state, (kind, &target), incident, now, said);
    }

    /// Says a command unless one like it is live or was said a moment ago, or its target was given up.
    fn say(
        &self,
        service: &str,
        state: &mut Service,
        (kind, target): (CommandKind, &str),
        (incident_id, episode, reason): (&str, &str, &str),
        now: Moment,
        said: &mut Vec<Command>,
    ) {
        let place = slot(kind, target);
        let trips = kind == CommandKind::TripCircuit;
        // With the whole service's circuit open, no request reaches the node either.
        let is_open = |target: &str| state.circuits.get(target).is_some_and(|circuit| !circuit.half_open);
        let already_open = is_open(target) || is_open(service);
        if self.policy.killed
            || state.is_given_up(service, target)
            || state.cooling.contains_key(&place)
            || (trips && already_open)
        {
            return;
        }
        if let Some(live) = state.live.get(&place) {
            let trial_failed = trips && live.command.state == CommandState::Acknowledged;
            if !trial_failed {
                return;
            }
            let live = state.live.remove(&place).expect("just found");
            state.futile.remove(target);
            lifecycle::end(live, CommandState::Done, "it helped; errors came back in the trial", now, said);
        }
        state.cooling.insert(place, now.now_us + self.times().cooldown_s * TICK_US);
        let command = self.command(service, (kind, target), incident_id, reason.to_owned(), now);
        self.begin(state, command, episode.to_owned(), now, said);
    }

    /// A circuit opens.
    fn open(&self, state: &mut Service, trip: &Command, now_us: i64) {
        let tried = state.circuits.get(&trip.target).filter(|circuit| circuit.half_open);
        let failed = tried.map_or(0, |circuit| circuit.failed.saturating_add(1));
        let longest_s = self.times().open_s.max(MAX_OPEN_S);
        let open_s = self.times().open_s.saturating_mul(i64::from(failed) + 1).min(longest_s);
        let (incident_id, next_us) = (trip.incident_id.clone(), now_us + open_s * TICK_US);
        state.circuits.insert(trip.target.clone(), Circuit { incident_id, half_open: false, next_us, failed });
    }

    /// Errors came back at a target: in its trial the circuit opens again; after it closed, opening it did not help. While it
    /// is open they are stragglers.
    fn came_back(&self, service: &str, state: &mut Service, target: &str, now: Moment, said: &mut Vec<Command>) {
        let place = slot(CommandKind::TripCircuit, target);
        // Else it was not evenkeel that took it out, or what it was for is over: then the next episode tells.
        let Some(live) = state.live.get(&place).filter(|live| live.command.state == CommandState::Acknowledged) else {
            return;
        };
        match state.circuits.get(target) {
            Some(circuit) if circuit.half_open => {
                let (incident_id, episode) = (circuit.incident_id.clone(), live.episode.clone());
                let reason = (incident_id.as_str(), episode.as_str(), "errors came back in the trial");
                // Replicas may have gone meanwhile.
                let target = if self.may_trip(service, state, target) { target } else { service };
                self.say(service, state, (CommandKind::TripCircuit, target), reason, now, said);
            }
            Some(_) => {}
            None => {
                let live = state.live.remove(&place).expect("just found");
                self.failed(service, state, live, "errors came back once it closed", now, said);
            }
        }
    }

    /// Moves a circuit on: open → half-open → closed.
    fn move_on(
        &self,
        service: &str,
        state: &mut Service,
        (target, circuit): (String, Circuit),
        now: Moment,
        said: &mut Vec<Command>,
    ) {
        if self.policy.killed || state.is_given_up(service, &target) {
            // It stays as it is; the circuit asks again a while later.
            let next_us = now.now_us + self.times().open_s * TICK_US;
            state.circuits.insert(target, Circuit { next_us, ..circuit });
            return;
        }
        let (kind, reason) = match circuit.half_open {
            false => (CommandKind::HalfOpen, format!("open for {} s", self.times().open_s)),
            true => (CommandKind::CloseCircuit, format!("no errors in a trial of {} s", self.times().trial_s)),
        };
        let command = self.command(service, (kind, &target), &circuit.incident_id, reason, now);
        self.begin(state, command, String::new(), now, said);
        if kind == CommandKind::HalfOpen {
            // A trial that fails must be able to open the circuit again.
            state.cooling.remove(&slot(CommandKind::TripCircuit, &target));
            let next_us = now.now_us + self.times().trial_s * TICK_US;
            state.circuits.insert(target, Circuit { half_open: true, next_us, ..circuit });
        } else {
            self.closed(state, &target, now.now_us);
        }
    }

    /// A command as it is decided now.
    fn command(
        &self,
        service: &str,
        (kind, target): (CommandKind, &str),
        incident_id: &str,
        reason: String,
        Moment { epoch, now_us: at_us, .. }: Moment,
    ) -> Command {
        Command {
            command_id: Command::identify(incident_id, kind, target, (epoch, at_us)),
            kind,
            target: target.to_owned(),
            service: service.to_owned(),
            incident_id: incident_id.to_owned(),
            mode: self.policy.mode(service, self.rules.tuning()),
            reason,
            at_us,
            expires_us: at_us + self.times().expires_s * TICK_US,
            state: CommandState::Proposed,
            detail: String::new(),
            decided_us: at_us,
            fence: 0,
            by: String::new(),
        }
    }

    /// Whether `node` may be taken out: another replica is in service, and no more than the allowed part is out then.
    fn spare(&self, state: &Service, node: &str) -> bool {
        let is_out = |other: &&String| *other == node || state.circuits.contains_key(*other);
        let (all, out) = (state.replicas.len(), state.replicas.iter().filter(is_out).count());
        out < all && out * 100 <= all * self.times().max_out_percent as usize
    }
}

/// Whether an episode is new, or has a stronger cause or more nodes than what was answered; what only gets better needs no
/// answer.
fn worsened(state: &mut Service, episode: String, cause: &Cause) -> bool {
    let (detector, nodes) = (cause.detector, cause.nodes.iter().cloned().collect::<BTreeSet<_>>());
    let before = state.answered.insert(episode, (detector, nodes.clone()));
    before.is_none_or(|(answered, known)| detector < answered || (detector == answered && !nodes.is_subset(&known)))
}
