//! `commands`: situations in; commands out, one live one per target and kind (law L8).
//!
//! What is asked for is policy ([`answers`]). A circuit goes closed → open → half-open → closed. It opens for an episode of errors, stays open `open_s`, is tried
//! for `trial_s`, and closes if errors did not come back meanwhile; if they do, it opens again, each time for longer. Every
//! other command is said once and then not again for `cooldown_s`; what becomes of it then, see [`lifecycle`], and how what
//! it did is taken back, see [`measures`].
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

use crate::actions::Params;
use crate::epochs::Moment;
use crate::operators::fold::Machine;
use crate::policy::{Order, Policy};
use crate::roster::Roster;
use crate::rules::Rules;
use crate::tuning::{Recovery, TICK_US};
use evenkeel_schemas::{Cause, Changed, Command, CommandKind, CommandState, Control, Coordinates, Detector, Outcome};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

mod answers;
#[cfg(test)]
mod approval_tests;
mod decided;
mod lifecycle;
mod measures;
#[cfg(test)]
mod measures_tests;
#[cfg(test)]
mod plays;
#[cfg(test)]
mod tests;

use answers::Finding;
pub(crate) use decided::{Decided, Refused};
use lifecycle::Live;
use measures::Measure;

/// Params of what needs none.
const NONE: &Params = &Params::new();

/// Most versions of a service that are remembered as taken back: the oldest is forgotten.
const MAX_WITHDRAWN: usize = 8;

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
    Decided(Decided),
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
        /// What was changed of the service of late, oldest first.
        changes: Vec<Changed>,
    },
}

impl Word {
    /// What an order says to the commands of a service.
    pub fn ordered(Order { at, control }: &Order, roster: &Roster) -> Option<(String, Self)> {
        let decided = |service: &String, command_id: &String, by: &String, approved| {
            let (at, command_id, by, proven) = (*at, command_id.clone(), by.clone(), roster.proves(control));
            (service.clone(), Self::Decided(Decided { at, command_id, by, approved, proven }))
        };
        match control {
            Control::Approve { service, command_id, by, .. } => Some(decided(service, command_id, by, true)),
            Control::Reject { service, command_id, by, .. } => Some(decided(service, command_id, by, false)),
            Control::Resume { service, .. } => Some((service.clone(), Self::Resumed)),
            _ => None,
        }
    }
}

/// What is said of commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Command(Command),
    /// A person's word that no command waited for.
    Refused(Refused),
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
    /// What was done and holds until it is taken back, by kind and target.
    #[serde(default)]
    measures: BTreeMap<String, Measure>,
    /// The last versions that were taken back: nothing goes back to them.
    #[serde(default)]
    withdrawn: Vec<String>,
}

impl Service {
    /// Whether nothing more is tried for a target until a person says so.
    fn is_given_up(&self, service: &str, target: &str) -> bool {
        self.frozen.contains(target) || self.frozen.contains(service)
    }

    /// Whether a replica is taken out, by its circuit or otherwise.
    fn is_out(&self, node: &str) -> bool {
        self.circuits.contains_key(node) || self.measures.values().any(|measure| measure.keeps_out(node))
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
    type Said = Said;
    const NAME: &'static str = "commands";

    fn hear(&self, key: &String, state: &mut Service, word: Word, now: Moment, said: &mut Vec<Said>) {
        match word {
            Word::Joined(node) => drop(state.replicas.insert(node)),
            Word::Left(node) => drop(state.replicas.remove(&node)),
            Word::Outcome(_, outcome) => self.answered(key, state, &outcome, now, said),
            Word::Decided(word) => self.decided(key, state, &word, now, said),
            Word::Errors(target) => self.came_back(key, state, &target, now, said),
            Word::Resumed => {
                state.frozen.clear();
                state.futile.clear();
            }
            Word::Situation { ended: true, episode, .. } => {
                state.answered.remove(&episode);
                self.relieved(state, &episode, now, said);
            }
            Word::Situation { episode, incident_id, cause, changes, .. } => {
                if worsened(state, episode.clone(), &cause) {
                    let (incident_id, episode) = (incident_id.as_str(), episode.as_str());
                    let finding = Finding { incident_id, episode, cause: &cause, changes: &changes };
                    self.answer(key, state, &finding, now, said);
                }
            }
        }
    }

    fn alarm(&self, state: &Service) -> Option<i64> {
        let circuits = state.circuits.values().map(|circuit| circuit.next_us);
        let live = state.live.values().map(|live| live.due_us);
        let measures = state.measures.values().filter_map(|measure| measure.next_us);
        circuits.chain(state.cooling.values().copied()).chain(live).chain(measures).min()
    }

    fn wake(&self, key: &String, state: &mut Service, now: Moment, said: &mut Vec<Said>) {
        state.cooling.retain(|_, until| *until > now.now_us);
        self.due(key, state, now, said);
        self.measures_due(key, state, now, said);
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

    /// Says a command unless one like it is live or was said a moment ago, or its target was given up.
    fn say(
        &self,
        service: &str,
        state: &mut Service,
        asked @ (kind, target, _): (CommandKind, &str, &Params),
        (incident_id, episode, reason): (&str, &str, &str),
        now: Moment,
        said: &mut Vec<Said>,
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
            if !trial_failed && !live.command.undo {
                return;
            }
            let live = state.live.remove(&place).expect("just found");
            if trial_failed {
                state.futile.remove(target);
                lifecycle::end(live, CommandState::Done, "it helped; errors came back in the trial", now, said);
            } else {
                self.comes_back(state, &place, now.now_us);
                lifecycle::end(live, CommandState::Expired, "what it was for came back", now, said);
            }
        }
        state.cooling.insert(place, now.now_us + self.times().cooldown_s * TICK_US);
        let command = self.command(service, asked, incident_id, reason.to_owned(), now);
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
    fn came_back(&self, service: &str, state: &mut Service, target: &str, now: Moment, said: &mut Vec<Said>) {
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
                let target = if self.may_take_out(service, state, target) { target } else { service };
                self.say(service, state, (CommandKind::TripCircuit, target, NONE), reason, now, said);
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
        said: &mut Vec<Said>,
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
        let command = self.command(service, (kind, &target, NONE), &circuit.incident_id, reason, now);
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
        (kind, target, params): (CommandKind, &str, &Params),
        incident_id: &str,
        reason: String,
        Moment { epoch, now_us: at_us, .. }: Moment,
    ) -> Command {
        let tuning = self.rules.tuning();
        Command {
            command_id: Command::identify(incident_id, kind, target, (epoch, at_us)),
            kind,
            target: target.to_owned(),
            service: service.to_owned(),
            incident_id: incident_id.to_owned(),
            mode: tuning.mode_of(self.policy.mode(service, tuning), service, kind),
            reason,
            at_us,
            expires_us: at_us + self.times().expires_s * TICK_US,
            state: CommandState::Proposed,
            detail: String::new(),
            decided_us: at_us,
            fence: 0,
            by: String::new(),
            params: params.clone(),
            undo: false,
        }
    }

    /// Whether `node` may be taken out: another replica is in service, and no more than the allowed part is out then.
    fn spare(&self, state: &Service, node: &str) -> bool {
        let is_out = |other: &&String| *other == node || state.is_out(other);
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
