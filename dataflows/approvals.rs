//! [`Approval`]: whom a command needs before it is issued, and why somebody's word does not count.

use crate::roster::Roster;
use crate::tuning::Tuning;
use evenkeel_schemas::{CommandKind, Mode};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Most rules.
const MAX_APPROVALS: usize = 1_000;

/// Whom a command needs before it is issued: its mode is at most [`Mode::Approve`] then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Approval {
    /// A person of the roster with one of these roles; if there is none, anybody of the roster.
    pub roles: BTreeSet<String>,
    /// So many different ones.
    pub persons: u32,
    /// Each having proven to be it with a one-time password, at a gate of the roster.
    pub totp: bool,
    /// How long a proposal waits for them, s; 0: as `recovery.expires_s` says.
    pub wait_s: i64,
}

impl Default for Approval {
    fn default() -> Self {
        Self { roles: BTreeSet::new(), persons: 1, totp: false, wait_s: 0 }
    }
}

/// Rules by service, then by kind of command; `*` stands for those without one of their own.
pub(crate) type Approvals = BTreeMap<String, BTreeMap<String, Approval>>;

impl Tuning {
    /// Whom a command of this service and kind needs, if that is said: the service's own rules go before those for all.
    pub fn approval(&self, service: &str, kind: CommandKind) -> Option<&Approval> {
        if self.approvals.is_empty() {
            return None;
        }
        let of = |service: &str| {
            self.approvals.get(service).and_then(|rules| rules.get(kind.name()).or_else(|| rules.get("*")))
        };
        of(service).or_else(|| of("*"))
    }

    /// What is done with a command of this kind where `mode` was ordered or written: what needs an approval waits for it.
    pub(crate) fn mode_of(&self, mode: Mode, service: &str, kind: CommandKind) -> Mode {
        if mode != Mode::Observe && self.approval(service, kind).is_some() { Mode::Approve } else { mode }
    }
}

/// Whether every rule can be met by the people there are.
pub(crate) fn are_sound(approvals: &Approvals, roster: &Roster) -> bool {
    let is_kind = |name: &String| name == "*" || CommandKind::ALL.iter().any(|kind| kind.name() == name);
    let can_be_met = |rule: &Approval| {
        let who = roster.people.values().filter(|person| person.has_one_of(&rule.roles)).count();
        (1..=16).contains(&rule.persons)
            && rule.persons as usize <= who
            && (!rule.totp || !roster.gates.is_empty())
            && (0..=86_400).contains(&rule.wait_s)
    };
    let mut rules = approvals.values().flatten();
    approvals.values().map(BTreeMap::len).sum::<usize>() <= MAX_APPROVALS
        && rules.all(|(kind, rule)| is_kind(kind) && can_be_met(rule))
}

/// Why a person's word does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    NotWaiting,
    Expired,
    Killed,
    GivenUp,
    NotOnRoster,
    NoRole,
    SamePerson,
    NotProven,
    TooLong,
    Early,
    Replayed,
    NotBroken,
    TooMany,
}

impl Refusal {
    /// A code, and what it means.
    pub const fn words(self) -> &'static str {
        match self {
            Self::NotWaiting => "not_waiting: no command of this service and name waits for a person",
            Self::Expired => "expired: it is too late",
            Self::Killed => "killed: the kill switch is engaged",
            Self::GivenUp => "given_up: the target was left to a person; order to resume first",
            Self::NotOnRoster => "not_on_roster: the roster does not know this person",
            Self::NoRole => "no_role: the person has none of the roles that it needs",
            Self::SamePerson => "same_person: who approved once does not count twice",
            Self::NotProven => "not_proven: it needs a one-time password, and the seal of a gate of the roster",
            Self::TooLong => "too_long: longer than the roster lets anybody decide alone",
            Self::Early => "early: it bears a time that is not yet",
            Self::Replayed => "replayed: a later order of this person was heard already",
            Self::NotBroken => "not_broken: there is nothing to end",
            Self::TooMany => "too_many: more people decide alone already than are held",
        }
    }
}
