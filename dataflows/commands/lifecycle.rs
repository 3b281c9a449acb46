//! What becomes of a command after it was decided: approval, answer, verification, and giving up.
//!
//! 1. With `observe` a command is written down as proposed, and that is all. With `suggest` it is proposed until somebody
//!    approves or rejects it, or it expires; with `approve` until those do who may, see [`super::decided`]. With `auto` it is
//!    issued.
//! 2. One that is issued is acknowledged when an actuator says so. What is answered late, twice or for an older command
//!    changes nothing.
//! 3. One that is acknowledged helped if the episode for which it was said is over `verify_s` later; the verdicts that began
//!    the episode are what ends it, so it is asked of the same baselines. If it did not help, it is said once more. What a
//!    circuit kept away is seen only after it closed: its time begins then. What gets no requests any more after a command
//!    is known to be over only once it showed nothing for a while: so much longer is waited.
//! 4. After `futile` commands in a row that did not help, the target is given up: nothing more is said for it until a person
//!    orders to resume, and its circuit stays as it is.
//!
//! # Decision
//! Commands that bring back what was taken away, half-open, close and those with `undo`, are part of what was approved already, and are done
//! when they are acknowledged: whether they were right is for the next episode to say.

use super::{Commands, MAX_WITHDRAWN, Said, Service, slot};
use crate::detect::FORGET_US;
use crate::epochs::Moment;
use crate::tuning::TICK_US;
use evenkeel_schemas::{Command, CommandKind, CommandState, Mode, Outcome, OutcomeStatus};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A command that is not over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Live {
    /// As it was said last.
    pub command: Command,
    /// What it was said for.
    pub episode: String,
    /// When its state ends by itself, µs.
    pub due_us: i64,
    /// Who approved it so far.
    #[serde(default)]
    pub approved_by: BTreeSet<String>,
}

impl Live {
    /// Whether it opened a circuit, and is to be verified once that closed.
    fn awaits_circuit(&self) -> bool {
        self.command.kind == CommandKind::TripCircuit && self.command.state == CommandState::Acknowledged
    }
}

/// Whether a command brings back what another took away.
fn returns(command: &Command) -> bool {
    command.undo || matches!(command.kind, CommandKind::HalfOpen | CommandKind::CloseCircuit)
}

impl Commands {
    /// Says a command for the first time: proposed to people, or issued to actuators.
    pub(super) fn begin(
        &self,
        state: &mut Service,
        command: Command,
        episode: String,
        now: Moment,
        said: &mut Vec<Said>,
    ) {
        let place = slot(command.kind, &command.target);
        if let Some(older) = state.live.remove(&place) {
            end(older, CommandState::Expired, "another one took its place", now, said);
        }
        let waits = matches!(command.mode, Mode::Suggest | Mode::Approve) && !returns(&command);
        let command = if command.mode == Mode::Observe {
            Command { state: CommandState::Proposed, ..command }
        } else if waits {
            Command { state: CommandState::Proposed, expires_us: self.waits_until(&command, now), ..command }
        } else {
            Command { state: CommandState::Issued, fence: now.epoch.0, ..command }
        };
        if command.kind == CommandKind::TripCircuit && !waits {
            self.open(state, &command, now.now_us);
        }
        if command.state == CommandState::Issued {
            self.issued(state, &command, &episode);
        }
        if command.mode != Mode::Observe {
            let due_us = command.expires_us;
            state.live.insert(place, Live { command: command.clone(), episode, due_us, approved_by: BTreeSet::new() });
        }
        said.push(Said::Command(command));
    }

    /// A command goes to actuators.
    pub(super) fn issued(&self, state: &mut Service, command: &Command, episode: &str) {
        self.hold(state, command, episode);
        if let (CommandKind::Rollback, Some(version)) = (command.kind, command.params.get("version")) {
            state.withdrawn.retain(|known| known != version);
            state.withdrawn.push(version.clone());
            let oldest = state.withdrawn.len().saturating_sub(MAX_WITHDRAWN);
            state.withdrawn.drain(..oldest);
        }
    }

    /// An actuator answered.
    pub(super) fn answered(
        &self,
        service: &str,
        state: &mut Service,
        outcome: &Outcome,
        now: Moment,
        said: &mut Vec<Said>,
    ) {
        let Some(place) = find(state, &outcome.command_id, CommandState::Issued) else { return };
        let live = state.live.remove(&place).expect("just found");
        self.felt(state, &live.command, outcome.status, now.now_us);
        match outcome.status {
            OutcomeStatus::Applied if returns(&live.command) => {
                end(live, CommandState::Done, &outcome.detail, now, said);
            }
            OutcomeStatus::Applied => {
                let due_us = now.now_us + self.verify_us(live.command.kind);
                let live = Live { due_us, ..say(live, CommandState::Acknowledged, &outcome.detail, now, said) };
                state.live.insert(place, live);
            }
            // What an actuator could not do may be asked for again at once.
            OutcomeStatus::Failed => self.failed(service, state, live, &outcome.detail, now, said),
            OutcomeStatus::Refused => end(live, CommandState::Rejected, &outcome.detail, now, said),
        }
    }

    /// An episode is over: what was asked for it helped, and what nobody approved is not needed any more.
    pub(super) fn relieved(&self, state: &mut Service, episode: &str, now: Moment, said: &mut Vec<Said>) {
        self.outlived(state, episode, now.now_us);
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
    pub(super) fn due(&self, service: &str, state: &mut Service, now: Moment, said: &mut Vec<Said>) {
        let due = state.live.iter().filter(|(_, live)| live.due_us <= now.now_us).map(|(place, _)| place.clone());
        for place in due.collect::<Vec<_>>() {
            // What failed before may have been said once more in this very place.
            let Some(live) = state.live.get(&place).filter(|live| live.due_us <= now.now_us).cloned() else { continue };
            state.live.remove(&place);
            let stands = state.answered.contains_key(&live.episode);
            let waits = stands && live.awaits_circuit() && !state.is_given_up(service, &live.command.target);
            if let Some(circuit) = state.circuits.get(&live.command.target).filter(|_| waits) {
                let due_us = circuit.next_us.max(now.now_us) + self.times().verify_s * TICK_US;
                state.live.insert(place, Live { due_us, ..live });
                continue;
            }
            // What it does is seen once it reached its goal.
            let step = state.measures.get(&place).filter(|measure| measure.is_on_its_way());
            let is_done = live.command.state == CommandState::Acknowledged;
            if let Some(next_us) = step.and_then(|measure| measure.next_us).filter(|_| stands && is_done) {
                let due_us = next_us.max(now.now_us) + self.verify_us(live.command.kind);
                state.live.insert(place, Live { due_us, ..live });
                continue;
            }
            if live.command.undo && self.unanswered(state, &live.command, now.now_us) {
                self.failed(service, state, live, "no actuator answered", now, said);
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

    /// How long after its answer it is known whether a command helped, µs.
    pub(super) fn verify_us(&self, kind: CommandKind) -> i64 {
        self.times().verify_s * TICK_US + if kind.diverts() { FORGET_US } else { 0 }
    }

    pub(super) fn helped(&self, state: &mut Service, live: Live, now: Moment, said: &mut Vec<Said>) {
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
        said: &mut Vec<Said>,
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
        if !stands || tried_anyway || returns(&command) {
            return;
        }
        let may = !command.kind.takes_out() || self.may_take_out(service, state, &command.target);
        if !may && !trips {
            return;
        }
        let target = if may { &command.target } else { service };
        state.cooling.remove(&slot(command.kind, target));
        let incident = (command.incident_id.as_str(), episode.as_str(), command.reason.as_str());
        self.say(service, state, (command.kind, target, &command.params), incident, now, said);
    }

    /// Whether a circuit may open, or a node be taken out: a whole service's circuit always, a node while it can be spared.
    pub(super) fn may_take_out(&self, service: &str, state: &Service, target: &str) -> bool {
        target == service || self.spare(state, target)
    }
}

/// The place of a command that stands so.
pub(super) fn find(state: &Service, command_id: &str, stands: CommandState) -> Option<String> {
    let is = |live: &Live| live.command.command_id == command_id && live.command.state == stands;
    state.live.iter().find(|(_, live)| is(live)).map(|(place, _)| place.clone())
}

pub(super) fn say(live: Live, state: CommandState, detail: &str, now: Moment, said: &mut Vec<Said>) -> Live {
    let command = Command { state, detail: detail.to_owned(), at_us: now.now_us, ..live.command };
    said.push(Said::Command(command.clone()));
    Live { command, ..live }
}

pub(super) fn end(live: Live, state: CommandState, detail: &str, now: Moment, said: &mut Vec<Said>) {
    say(live, state, detail, now, said);
}
