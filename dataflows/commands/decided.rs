//! What people's words do to a proposal: who may approve or reject it, how many it takes, and why a word does not count.
//!
//! With `suggest` one word of anybody is enough. With `approve`, or wherever an [`Approval`] is written for the service and
//! kind, who speaks has to be on the roster, with a role and a proof if it asks for them; approving takes as many different
//! persons as it says, rejecting one. Who broke the glass needs neither a role nor anybody else. What was approved before is
//! counted by the rules of now: who lost the role meanwhile does not count.

use super::lifecycle::{Live, end, find, say};
use super::{Commands, Said, Service};
use crate::approvals::{Approval, Refusal};
use crate::epochs::Moment;
use crate::glass::Glass;
use crate::tuning::TICK_US;
use evenkeel_schemas::{Command, CommandKind, CommandState, Coordinates, Mode};

/// A person's word about a proposed command.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Decided {
    pub at: Coordinates,
    pub command_id: String,
    pub by: String,
    pub approved: bool,
    /// Whether a gate says that it was this person.
    pub proven: bool,
}

/// A word that does not count, and of which no command tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub word: Decided,
    pub why: Refusal,
}

impl Commands {
    /// Whom a live command needs; nothing if anybody will do.
    fn needs(&self, command: &Command) -> Option<Approval> {
        let rule = self.rules.tuning().approval(&command.service, command.kind).cloned();
        rule.or_else(|| (command.mode == Mode::Approve).then(Approval::default))
    }

    /// Until when a proposal waits, µs.
    pub(super) fn waits_until(&self, command: &Command, now: Moment) -> i64 {
        let wait_s = self.needs(command).map(|rule| rule.wait_s).filter(|wait_s| *wait_s > 0);
        wait_s.map_or(command.expires_us, |wait_s| now.now_us + wait_s * TICK_US)
    }

    /// A person approved or rejected a proposal. Nothing is approved while the kill switch is engaged, or for a target that
    /// was given up.
    pub(super) fn decided(
        &self,
        service: &str,
        state: &mut Service,
        word: &Decided,
        now: Moment,
        said: &mut Vec<Said>,
    ) {
        let Some(place) = find(state, &word.command_id, CommandState::Proposed) else {
            return said.push(Said::Refused(Refused { word: word.clone(), why: Refusal::NotWaiting }));
        };
        let needs = self.needs(&state.live[&place].command);
        let judged = self.judge(state, &state.live[&place], (needs.as_ref(), word), now).map(Option::<&Glass>::cloned);
        let mut live = state.live.remove(&place).expect("just found");
        let alone = match judged {
            Ok(alone) => alone,
            Err(why) => {
                let detail = format!("{} of {} does not count: {}", verb(word), word.by, why.words());
                let live = say(live, CommandState::Proposed, &detail, now, said);
                state.live.insert(place, live);
                return;
            }
        };
        if !word.approved {
            live.command.by.clone_from(&word.by);
            return end(live, CommandState::Rejected, "rejected by a person", now, said);
        }
        live.approved_by.insert(word.by.clone());
        if let Some(rule) = needs.as_ref().filter(|_| alone.is_none()) {
            live.approved_by.retain(|name| self.counts(name, rule));
        }
        live.command.by = live.approved_by.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        let persons = needs.filter(|_| alone.is_none()).map_or(1, |rule| rule.persons as usize);
        if live.approved_by.len() < persons {
            let detail = format!("approved by {} of {persons}", live.approved_by.len());
            let live = say(live, CommandState::Proposed, &detail, now, said);
            state.live.insert(place, live);
            return;
        }
        let Command { kind, target, .. } = &live.command;
        if kind.takes_out() && !self.may_take_out(service, state, target) {
            return end(live, CommandState::Rejected, "too few replicas would be left", now, said);
        }
        let expires_us = now.now_us + self.times().expires_s * TICK_US;
        live.command = Command { expires_us, fence: now.epoch.0, ..live.command };
        if live.command.kind == CommandKind::TripCircuit {
            self.open(state, &live.command, now.now_us);
        }
        self.issued(state, &live.command, &live.episode);
        let detail = alone.map_or_else(
            || "approved".to_owned(),
            |glass| format!("approved by {} alone, who broke the glass: {}", glass.by, glass.why),
        );
        let live = Live { due_us: expires_us, ..say(live, CommandState::Issued, &detail, now, said) };
        state.live.insert(place, live);
    }

    /// Whether a word counts; with the glass that the person broke, if it is that which lets it count.
    fn judge(
        &self,
        state: &Service,
        live: &Live,
        (needs, word): (Option<&Approval>, &Decided),
        now: Moment,
    ) -> Result<Option<&Glass>, Refusal> {
        let Command { service, target, .. } = &live.command;
        if live.due_us <= now.now_us {
            return Err(Refusal::Expired);
        }
        if word.approved && self.policy.killed {
            return Err(Refusal::Killed);
        }
        if word.approved && state.is_given_up(service, target) {
            return Err(Refusal::GivenUp);
        }
        let Some(rule) = needs else { return Ok(None) };
        let roster = &self.rules.tuning().roster;
        let person = roster.people.get(&word.by).ok_or(Refusal::NotOnRoster)?;
        let glass = self.policy.glasses.of(&word.by, service, now.now_us);
        let proof = rule.totp || glass.is_some() && roster.break_glass.totp;
        if proof && !word.proven {
            return Err(Refusal::NotProven);
        }
        if glass.is_some() {
            return Ok(glass);
        }
        if !person.has_one_of(&rule.roles) {
            return Err(Refusal::NoRole);
        }
        if word.approved && live.approved_by.contains(&word.by) {
            return Err(Refusal::SamePerson);
        }
        Ok(None)
    }

    /// Whether a person who approved counts still.
    fn counts(&self, name: &str, rule: &Approval) -> bool {
        let person = self.rules.tuning().roster.people.get(name);
        person.is_some_and(|person| person.has_one_of(&rule.roles))
    }
}

fn verb(word: &Decided) -> &'static str {
    if word.approved { "the approval" } else { "the rejection" }
}
