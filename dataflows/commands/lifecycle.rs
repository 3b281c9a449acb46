//! What becomes of a command after it was decided: approval, answer, verification, and giving up.
//!
//! 1. With `observe` a command is written down as proposed, and that is all. With `suggest` it is proposed until somebody
//!    approves or rejects it, or it expires. With `auto` it is issued.
//! 2. One that is issued is acknowledged when an actuator says so. What is answered late, twice or for an older command
//!    changes nothing.
//! 3. One that is acknowledged helped if the episode for which it was said is over `verify_s` later; the verdicts that began
//!    the episode are what ends it, so it is asked of the same baselines. If it did not help, it is said once more. What a
//!    circuit kept away is seen only after it closed: its time begins then.
//! 4. After `futile` commands in a row that did not help, the target is given up: nothing more is said for it until a person
//!    orders to resume, and its circuit stays as it is.
//!
//! # Decision
//! Commands that bring back what was taken away, half-open and close, are part of what was approved already, and are done
//! when they are acknowledged: whether they were right is for the next episode to say.

use super::{Commands, Service, slot};
use crate::epochs::Moment;
use crate::tuning::TICK_US;
use evenkeel_schemas::{Command, CommandKind, CommandState, Mode, Outcome, OutcomeStatus};
use serde::{Deserialize, Serialize};

/// A command that is not over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Live {
    /// As it was said last.
    pub command: Command,
    /// What it was said for.
    pub episode: String,
    /// When its state ends by itself, µs.
    pub due_us: i64,
}

impl Live {
    /// Whether it opened a circuit, and is to be verified once that closed.
    fn awaits_circuit(&self) -> bool {
        self.command.kind == CommandKind::TripCircuit && self.command.state == CommandState::Acknowledged
    }
}

/// Whether a command brings back what another took away.
const fn returns(kind: CommandKind) -> bool {
    matches!(kind, CommandKind::HalfOpen | CommandKind::CloseCircuit)
}

impl Commands {
    /// Says a command for the first time: proposed to people, or issued to actuators.
    pub(super) fn begin(
        &self,
        state: &mut Service,
        command: Command,
        episode: String,
        now: Moment,
        said: &mut Vec<Command>,
    ) {
        let place = slot(command.kind, &command.target);
        if let Some(older) = state.live.remove(&place) {
            end(older, CommandState::Expired, "another one took its place", now, said);
        }
        let waits = command.mode == Mode::Suggest && !returns(command.kind);
        let command = match command.mode {
            Mode::Observe => Command { state: CommandState::Proposed, ..command },
            Mode::Suggest if waits => Command { state: CommandState::Proposed, ..command },
            Mode::Suggest | Mode::Auto => Command { state: CommandState::Issued, fence: now.epoch.0, ..command },
        };
        if command.mode != Mode::Observe {
            let due_us = command.expires_us;
            state.live.insert(place, Live { command: command.clone(), episode, due_us });
        }
        if command.kind == CommandKind::TripCircuit && !waits {
            self.open(state, &command, now.now_us);
        }
        said.push(command);
    }

    /// A person approved or rejected a proposal. Nothing is approved while the kill switch is engaged, or for a target that
    /// was given up.
    pub(super) fn decided(
        &self,
        service: &str,
        state: &mut Service,
        (command_id, by, approved): (&str, String, bool),
        now: Moment,
        said: &mut Vec<Command>,
    ) {
        let Some(place) = find(state, command_id, CommandState::Proposed) else { return };
        let is_given_up = state.is_given_up(service, &state.live[&place].command.target);
        if approved && (self.policy.killed || is_given_up) {
            return;
        }
        let mut live = state.live.remove(&place).expect("just found");
        live.command.by = by;
        if !approved {
            return end(live, CommandState::Rejected, "rejected by a person", now, said);
        }
        let trips = live.command.kind == CommandKind::TripCircuit;
        if trips && !self.may_trip(service, state, &live.command.target) {
            return end(live, CommandState::Rejected, "too few replicas would be left", now, said);
        }
        let expires_us = now.now_us + self.times().expires_s * TICK_US;
        live.command = Command { expires_us, fence: now.epoch.0, ..live.command };
        if trips {
            self.open(state, &live.command, now.now_us);
        }
        let live = Live { due_us: expires_us, ..say(live, CommandState::Issued, "approved", now, said) };
        state.live.insert(place, live);
    }

    /// An actuator answered.
    pub(super) fn answered(
        &self,
        service: &str,
        state: &mut Service,
        outcome: &Outcome,
        now: Moment,
        said: &mut Vec<Command>,
    ) {
        let Some(place) = find(state, &outcome.command_id, CommandState::Issued) else { return };
        let live = state.live.remove(&place).expect("just found");
        match outcome.status {
            OutcomeStatus::Applied if returns(live.command.kind) => {
                end(live, CommandState::Done, &outcome.detail, now, said);
            }
            OutcomeStatus::Applied => {
                let due_us = now.now_us + self.times().verify_s * TICK_US;
                let live = Live { due_us, ..say(live, CommandState::Acknowledged, &outcome.detail, now, said) };
                state.live.insert(place, live);
            }
            // What an actuator could not do may be asked for again at once.
            OutcomeStatus::Failed => self.failed(service, state, live, &outcome.detail, now, said),
            OutcomeStatus::Refused => end(live, CommandState::Rejected, &outcome.detail, now, said),
        }
    }

    /// An episode is over: what was asked for it helped, and what nobody approved is not needed any more.
    pub(super) fn relieved(&self, state: &mut Service, episode: &str, now: Moment, said: &mut Vec<Command>) {
        let over = |live: &Live| live.episode == episode && live.command.state != CommandState::Issued;
        for (place, live) in std::mem::take(&mut state.live) {
            if !over(&live) {
                state.live.insert(place, live);
            } else if live.command.state == CommandState::Acknowledged {
                self.helped(state, live, now, said);
            } else {
                end(live, CommandState::Expired, "what it was for is over", now, said);
            }
        }
    }

    /// What is due: proposals and commands that nobody answered, and what is to be verified.
    pub(super) fn due(&self, service: &str, state: &mut Service, now: Moment, said: &mut Vec<Command>) {
        let due = state.live.iter().filter(|(_, live)| live.due_us <= now.now_us).map(|(place, _)| place.clone());
        for place in due.collect::<Vec<_>>() {
            let live = state.live.remove(&place).expect("just found");
            let stands = state.answered.contains_key(&live.episode);
            let waits = stands && live.awaits_circuit() && !state.is_given_up(service, &live.command.target);
            if let Some(circuit) = state.circuits.get(&live.command.target).filter(|_| waits) {
                let due_us = circuit.next_us.max(now.now_us) + self.times().verify_s * TICK_US;
                state.live.insert(place, Live { due_us, ..live });
                continue;
            }
            match live.command.state {
                CommandState::Proposed => end(live, CommandState::Expired, "nobody approved it", now, said),
                CommandState::Acknowledged if !stands => self.helped(state, live, now, said),
                CommandState::Acknowledged => self.failed(service, state, live, "it did not help", now, said),
                _ => end(live, CommandState::Expired, "no actuator answered", now, said),
            }
        }
    }

    /// A circuit closed: whether opening it helped is seen from now on.
    pub(super) fn closed(&self, state: &mut Service, target: &str, now_us: i64) {
        let trip = state.live.get_mut(&slot(CommandKind::TripCircuit, target));
        if let Some(live) = trip.filter(|live| live.awaits_circuit()) {
            live.due_us = now_us + self.times().verify_s * TICK_US;
        }
    }

    fn helped(&self, state: &mut Service, live: Live, now: Moment, said: &mut Vec<Command>) {
        state.futile.remove(&live.command.target);
        end(live, CommandState::Done, "what it was for is over", now, said);
    }

    /// A command did not help, or could not be carried out: it is said once more, or given up.
    pub(super) fn failed(
        &self,
        service: &str,
        state: &mut Service,
        live: Live,
        why: &str,
        now: Moment,
        said: &mut Vec<Command>,
    ) {
        if state.is_given_up(service, &live.command.target) {
            return end(live, CommandState::Failed, why, now, said);
        }
        let count = state.futile.get(&live.command.target).map_or(1, |count| count + 1);
        let (episode, command) = (live.episode.clone(), live.command.clone());
        if count >= self.times().futile {
            state.futile.remove(&command.target);
            state.frozen.insert(command.target);
            return end(live, CommandState::Escalated, why, now, said);
        }
        state.futile.insert(command.target.clone(), count);
        end(live, CommandState::Failed, why, now, said);
        let stands = state.answered.contains_key(&episode);
        // A circuit that is open is tried, and opened again, by itself.
        let trips = command.kind == CommandKind::TripCircuit;
        let tried_anyway = trips && state.circuits.contains_key(&command.target);
        if !stands || tried_anyway || returns(command.kind) {
            return;
        }
        let whole = trips && !self.may_trip(service, state, &command.target);
        let target = if whole { service } else { &command.target };
        state.cooling.remove(&slot(command.kind, target));
        let incident = (command.incident_id.as_str(), episode.as_str(), command.reason.as_str());
        self.say(service, state, (command.kind, target), incident, now, said);
    }

    /// Whether a circuit may open: that of a whole service always, that of a node while it can be spared.
    pub(super) fn may_trip(&self, service: &str, state: &Service, target: &str) -> bool {
        target == service || self.spare(state, target)
    }
}

/// The place of a command that stands so.
fn find(state: &Service, command_id: &str, stands: CommandState) -> Option<String> {
    let is = |live: &Live| live.command.command_id == command_id && live.command.state == stands;
    state.live.iter().find(|(_, live)| is(live)).map(|(place, _)| place.clone())
}

fn say(live: Live, state: CommandState, detail: &str, now: Moment, said: &mut Vec<Command>) -> Live {
    let command = Command { state, detail: detail.to_owned(), at_us: now.now_us, ..live.command };
    said.push(command.clone());
    Live { command, ..live }
}

pub(super) fn end(live: Live, state: CommandState, detail: &str, now: Moment, said: &mut Vec<Command>) {
    say(live, state, detail, now, said);
}
