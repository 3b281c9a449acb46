//! What was done and holds until it is taken back: traffic that is moved, flags that are set, nodes that are drained.
//!
//! 1. A measure holds from the moment its command is issued: its answer may be lost. If the actuator refused it, it never
//!    held.
//! 2. A share of traffic is moved by a step, and `trial_s` after the answer by another, until the goal is reached; the
//!    command before is done then, and the last one is verified.
//! 3. Once what it was for is over, and nothing else stands, it is taken back `hold_s` later: a command of the same kind with
//!    `undo`, by the same steps.
//! 4. If what it was for comes back meanwhile, or within `hold_s` after, it is done again from where it stands, and held
//!    longer: `hold_s` more with every such relapse in a row, up to [`MAX_HOLD_S`].
//! 5. What could not be taken back is tried again after `cooldown_s`, and after `futile` times left to a person. What no
//!    actuator ever said was done is taken back once, in case it was.
//!
//! # Decision
//! A measure hides what it is for, as an open circuit does: to take it back is the trial. A command that takes back is of the
//! kind that did, and not of a kind of its own: there is one live command of a kind for a target (law L8), so what does and
//! what takes back can never cross, and an actuator that knows the kind knows both.

use super::lifecycle::end;
use super::{Commands, Said, Service, slot};
use crate::actions::{is_all_back, next_step, share, step_back};
use crate::epochs::Moment;
use crate::tuning::TICK_US;
use evenkeel_schemas::{Command, CommandState, Mode, OutcomeStatus};
use serde::{Deserialize, Serialize};

/// A measure is held no longer once what it was for is over, s.
const MAX_HOLD_S: i64 = 3600;

/// What holds until it is taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Measure {
    /// What did it or, on the way back, took back the last step of it.
    command: Command,
    /// What it is for.
    episode: String,
    /// Whether an actuator ever said that it was done.
    applied: bool,
    /// Whether what it was for is over.
    over: bool,
    /// Whether it was taken back wholly, and is remembered in case of a relapse.
    spent: bool,
    /// How many relapses in a row.
    relapses: u32,
    /// When it moves on, µs.
    pub next_us: Option<i64>,
}

impl Measure {
    /// Whether it keeps a target out of service.
    pub fn keeps_out(&self, target: &str) -> bool {
        !self.spent && self.command.kind.takes_out() && self.command.target == target
    }

    /// Whether it is on its way to its goal, and what it does is to be seen there.
    pub fn is_on_its_way(&self) -> bool {
        !self.over && next_step(&self.command.params).is_some()
    }
}

/// The share of traffic that was moved already, percent.
pub(super) fn share_moved(state: &Service, place: &str) -> u32 {
    let Some(measure) = state.measures.get(place).filter(|measure| !measure.spent) else { return 0 };
    // One that takes back may have been carried out.
    let back = state.live.get(place).filter(|live| live.command.undo);
    share(&back.map_or(&measure.command, |live| &live.command).params)
}

impl Commands {
    /// A command that does, and is issued: from now on it holds.
    pub(super) fn hold(&self, state: &mut Service, command: &Command, episode: &str) {
        if !command.kind.holds() || command.undo {
            return;
        }
        let place = slot(command.kind, &command.target);
        let before = state.measures.remove(&place);
        let relapses = before.as_ref().map_or(0, |it| it.relapses.saturating_add(u32::from(it.over)));
        let applied = before.is_some_and(|it| it.applied && !it.spent);
        let (command, episode) = (command.clone(), episode.to_owned());
        let measure = Measure { command, episode, applied, over: false, spent: false, relapses, next_us: None };
        state.measures.insert(place, measure);
    }

    /// An actuator answered a command that does, or takes back.
    pub(super) fn felt(&self, state: &mut Service, command: &Command, status: OutcomeStatus, now_us: i64) {
        let place = slot(command.kind, &command.target);
        let Some(measure) = state.measures.get_mut(&place) else { return };
        let after = |seconds: i64| Some(now_us + seconds * TICK_US);
        match (status, command.undo) {
            (OutcomeStatus::Applied, false) => {
                measure.applied = true;
                if measure.is_on_its_way() {
                    measure.next_us = after(self.times().trial_s);
                }
            }
            (OutcomeStatus::Applied, true) => {
                measure.command = command.clone();
                measure.spent = is_all_back(&command.params);
                let next_s = if measure.spent { self.hold_s(measure.relapses) } else { self.times().trial_s };
                measure.next_us = after(next_s);
            }
            (OutcomeStatus::Failed, true) => measure.next_us = after(self.times().cooldown_s),
            (OutcomeStatus::Failed, false) => {}
            (OutcomeStatus::Refused, undo) => {
                if undo || !measure.applied {
                    state.measures.remove(&place);
                }
            }
        }
    }

    /// No actuator answered a command that takes back.
    pub(super) fn unanswered(&self, state: &mut Service, command: &Command, now_us: i64) -> bool {
        let place = slot(command.kind, &command.target);
        let is_to_be_done = state.measures.get(&place).is_some_and(|measure| measure.applied);
        if is_to_be_done {
            self.felt(state, command, OutcomeStatus::Failed, now_us);
        } else {
            state.measures.remove(&place);
        }
        is_to_be_done
    }

    /// What measures were for is over.
    pub(super) fn outlived(&self, state: &mut Service, episode: &str, now_us: i64) {
        for measure in state.measures.values_mut().filter(|it| it.episode == episode && !it.over) {
            measure.over = true;
            measure.next_us = Some(now_us + self.hold_s(measure.relapses) * TICK_US);
        }
    }

    /// What a measure was for is back before it was taken back. If nobody approves that it is done again, it is still to be
    /// taken back.
    pub(super) fn comes_back(&self, state: &mut Service, place: &str, now_us: i64) {
        if let Some(measure) = state.measures.get_mut(place) {
            measure.next_us = Some(now_us + self.hold_s(measure.relapses) * TICK_US);
        }
    }

    fn hold_s(&self, relapses: u32) -> i64 {
        let hold_s = self.times().hold_s;
        hold_s.saturating_mul(i64::from(relapses) + 1).min(hold_s.max(MAX_HOLD_S))
    }

    /// Moves on what is due: a step on, a step back, or forgotten.
    pub(super) fn measures_due(&self, service: &str, state: &mut Service, now: Moment, said: &mut Vec<Said>) {
        let is_due = |measure: &Measure| measure.next_us.is_some_and(|at_us| at_us <= now.now_us);
        let due = state.measures.iter().filter(|(_, measure)| is_due(measure)).map(|(place, _)| place.clone());
        for place in due.collect::<Vec<_>>() {
            let measure = state.measures.get_mut(&place).expect("just found");
            measure.next_us = None;
            if measure.spent {
                state.measures.remove(&place);
                continue;
            }
            let measure = measure.clone();
            let observes = self.policy.mode(service, self.rules.tuning()) == Mode::Observe;
            let later_s = if self.policy.killed || observes || state.is_given_up(service, &measure.command.target) {
                // It stays as it is, and asks again a while later.
                Some(self.times().open_s)
            } else if measure.over && !state.answered.is_empty() {
                Some(self.times().hold_s)
            } else {
                None
            };
            if let Some(later_s) = later_s {
                let next_us = Some(now.now_us + later_s * TICK_US);
                state.measures.insert(place, Measure { next_us, ..measure });
            } else if measure.over {
                self.take_back(service, state, (place, measure), now, said);
            } else {
                self.go_on(service, state, (place, measure), now, said);
            }
        }
    }

    /// A step on, while what it is for stands.
    fn go_on(
        &self,
        service: &str,
        state: &mut Service,
        (place, measure): (String, Measure),
        now: Moment,
        said: &mut Vec<Said>,
    ) {
        let is_done = |state: &CommandState| *state == CommandState::Acknowledged;
        let live = state.live.get(&place).is_some_and(|live| is_done(&live.command.state));
        let Some(params) = next_step(&measure.command.params).filter(|_| live) else { return };
        let live = state.live.remove(&place).expect("just found");
        end(live, CommandState::Done, "the next step follows", now, said);
        state.cooling.remove(&place);
        let Command { kind, target, incident_id, reason, .. } = &measure.command;
        let why = (incident_id.as_str(), measure.episode.as_str(), reason.as_str());
        self.say(service, state, (*kind, target, &params), why, now, said);
    }

    /// A step back, unless an answer is waited for.
    fn take_back(
        &self,
        service: &str,
        state: &mut Service,
        (place, measure): (String, Measure),
        now: Moment,
        said: &mut Vec<Said>,
    ) {
        match state.live.remove(&place) {
            Some(live) if live.command.state == CommandState::Acknowledged => self.helped(state, live, now, said),
            Some(live) => {
                let next_us = Some(live.due_us.max(now.now_us + TICK_US));
                state.live.insert(place.clone(), live);
                state.measures.insert(place, Measure { next_us, ..measure });
                return;
            }
            None => {}
        }
        let Command { kind, target, incident_id, params, .. } = &measure.command;
        let reason = "what it was for is over".to_owned();
        let command = self.command(service, (*kind, target, &step_back(params)), incident_id, reason, now);
        state.cooling.remove(&place);
        self.begin(state, Command { undo: true, ..command }, String::new(), now, said);
    }
}
