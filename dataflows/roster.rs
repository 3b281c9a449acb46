//! [`Roster`]: who people are, who of them is on call, who may break the glass, and which gates speak for them.
//!
//! # Decision
//! A rotation hands over at fixed steps from a fixed instant: a wall clock that jumps twice a year would make two equal logs
//! differ by whose time zone table was installed. Who wants nine o'clock all year writes the change of the clock as an
//! override, or a new `from`.

use crate::tuning::TICK_US;
use evenkeel_schemas::audit::{Note, Signature, VerifierKey};
use evenkeel_schemas::{Control, MAX_GLASS_S, Proof};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Most people, and most teams.
const MAX_PEOPLE: usize = 1_000;

/// Most tiers of a team, gates, and overrides of a tier.
const MAX_TIERS: usize = 16;
const MAX_GATES: usize = 4;
const MAX_OVERRIDES: usize = 256;

/// People, who is on call, and how they prove who they are. People and teams are known by their names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Roster {
    /// Who there is.
    pub people: BTreeMap<String, Person>,
    /// Who is on call, by team: who is told first, who next.
    pub on_call: BTreeMap<String, Vec<Rotation>>,
    /// Public keys of gates, as `evenkeel audit keygen` prints them: what they sealed was proven.
    pub gates: Vec<String>,
    /// Who may decide alone for a while.
    pub break_glass: BreakGlass,
}

/// A person.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Person {
    /// What the person may decide, see [`crate::Approval::roles`].
    pub roles: BTreeSet<String>,
    /// The teams for which the person may be on call.
    pub teams: BTreeSet<String>,
    /// Where the person is told, e.g. an e-mail address. It stands in the audit log, as policies do.
    pub contact: String,
}

/// People who take turns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rotation {
    /// In their order.
    pub people: Vec<String>,
    /// When the first of them begins a turn, µs since the Unix epoch; it went on before alike.
    pub from_us: i64,
    /// How long a turn is, s.
    pub turn_s: i64,
    /// Who stands in; of several at one time the last.
    #[serde(default)]
    pub overrides: Vec<Override>,
}

/// Somebody stands in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Override {
    /// Who.
    pub person: String,
    /// From, inclusive, µs since the Unix epoch.
    pub from_us: i64,
    /// To, exclusive, µs since the Unix epoch.
    pub to_us: i64,
}

/// Who may break the glass: decide alone for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BreakGlass {
    /// One of these roles is needed; if there is none, everybody of the roster may.
    pub roles: BTreeSet<String>,
    /// Whether it, and every approval meanwhile, has to be proven with a one-time password.
    pub totp: bool,
    /// The longest at once, s.
    pub longest_s: u32,
}

impl Default for BreakGlass {
    fn default() -> Self {
        Self { roles: BTreeSet::new(), totp: false, longest_s: MAX_GLASS_S }
    }
}

impl Person {
    /// Whether the person has one of these roles; if there is none, everybody has.
    pub fn has_one_of(&self, roles: &BTreeSet<String>) -> bool {
        roles.is_empty() || !self.roles.is_disjoint(roles)
    }
}

impl Rotation {
    /// Who is on call at a time, µs since the Unix epoch; nobody if there are no people.
    pub fn on_call(&self, at_us: i64) -> Option<&str> {
        let stands_in = self.overrides.iter().rev().find(|it| (it.from_us..it.to_us).contains(&at_us));
        let turn = at_us.saturating_sub(self.from_us).div_euclid(self.turn_s.max(1).saturating_mul(TICK_US));
        let place = turn.checked_rem_euclid(self.people.len() as i64)?;
        Some(stands_in.map_or(&self.people[place as usize], |it| &it.person))
    }
}

impl Roster {
    /// Who of a team is on call at a time, µs since the Unix epoch, in a tier, from 1: name and person.
    pub fn on_call(&self, team: &str, tier: usize, at_us: i64) -> Option<(&str, &Person)> {
        let name = self.on_call.get(team)?.get(tier.checked_sub(1)?)?.on_call(at_us)?;
        self.people.get_key_value(name).map(|(name, person)| (name.as_str(), person))
    }

    /// Whether a gate says that the person who gave an order proved to be it with a one-time password.
    pub fn proves(&self, order: &Control) -> bool {
        let Some((_, seal)) = order.proof().filter(|(proofs, _)| proofs.contains(&Proof::Totp)) else { return false };
        let Ok(signature) = seal.parse::<Signature>() else { return false };
        let note = Note { text: order.sealed_text(), signatures: vec![signature] };
        let mut gates = self.gates.iter().filter_map(|key| key.parse::<VerifierKey>().ok());
        gates.any(|key| matches!(note.signed_by(&key), Ok(Some(None))))
    }

    /// Whether there is room for all, and every name has a few bytes.
    pub(crate) fn is_bounded(&self) -> bool {
        let fits = |text: &String| (1..=256).contains(&text.len());
        let people = self.people.iter().all(|(name, person)| {
            let lists = [&person.roles, &person.teams];
            fits(name) && person.contact.len() <= 256 && lists.iter().all(|it| it.len() <= 32 && it.iter().all(fits))
        });
        people && self.people.len() <= MAX_PEOPLE
    }

    /// Whether everybody who is ever on call for a team is of that team, and turns and overrides last.
    pub(crate) fn is_on_call_sound(&self) -> bool {
        let is_of = |team: &str, name: &String| self.people.get(name).is_some_and(|it| it.teams.contains(team));
        let is_sound = |team: &str, it: &Rotation| {
            let people = it.people.iter().chain(it.overrides.iter().map(|it| &it.person));
            (1..=64).contains(&it.people.len())
                && people.into_iter().all(|name| is_of(team, name))
                && (3_600..=366 * 86_400).contains(&it.turn_s)
                && it.overrides.len() <= MAX_OVERRIDES
                && it.overrides.iter().all(|it| it.from_us < it.to_us)
        };
        let mut teams = self.on_call.iter();
        self.on_call.len() <= MAX_PEOPLE
            && teams.all(|(team, tiers)| tiers.len() <= MAX_TIERS && tiers.iter().all(|it| is_sound(team, it)))
    }

    /// Whether gates are public keys that sign as gates do.
    pub(crate) fn are_gates_sound(&self) -> bool {
        let is_key = |text: &String| {
            text.parse::<VerifierKey>().is_ok_and(|key| key.kind() == evenkeel_schemas::audit::note::ED25519)
        };
        self.gates.len() <= MAX_GATES && self.gates.iter().all(is_key)
    }

    /// Whether the glass can be broken as it says.
    pub(crate) fn is_glass_sound(&self) -> bool {
        let BreakGlass { totp, longest_s, .. } = &self.break_glass;
        (60..=MAX_GLASS_S).contains(longest_s) && (!totp || !self.gates.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_US: i64 = 86_400 * TICK_US;

    /// A week's turns from Monday, 2026-03-23 09:00 UTC, over the night in which clocks in Europe jump.
    #[test]
    fn turns_hand_over_at_the_same_instant_of_utc_and_overrides_stand_in() {
        let from_us = 1_774_256_400 * TICK_US;
        let stands_in = Override { person: "cy".into(), from_us: from_us + DAY_US, to_us: from_us + 2 * DAY_US };
        let people = vec!["ann".to_owned(), "bob".to_owned(), "cy".to_owned()];
        let rotation = Rotation { people, from_us, turn_s: 7 * 86_400, overrides: vec![stands_in] };
        let at = |us: i64| rotation.on_call(from_us + us).expect("somebody");
        assert_eq!(
            [at(0), at(DAY_US - 1), at(DAY_US), at(2 * DAY_US - 1), at(2 * DAY_US)],
            ["ann", "ann", "cy", "cy", "ann"]
        );
        for week in -60..60_i64 {
            let expected = ["ann", "bob", "cy"][week.rem_euclid(3) as usize];
            let begins_us = week * 7 * DAY_US;
            assert_eq!(at(begins_us), expected, "week {week}");
            assert_eq!(at(begins_us + 7 * DAY_US - 1), expected, "the end of week {week}");
        }
        assert_eq!(Rotation { people: Vec::new(), ..rotation }.on_call(0), None);
    }

    #[test]
    fn an_order_is_proven_by_the_seal_of_a_gate_and_by_nothing_else() {
        use ed25519_dalek::{Signer, SigningKey};
        let secret = SigningKey::from_bytes(&[0; 32]);
        let key = VerifierKey::new("gate", 1, secret.verifying_key().to_bytes()).expect("a key");
        let roster = Roster { gates: vec![key.to_string()], ..Roster::default() };
        assert!(roster.are_gates_sound());
        let [by, service, command_id] = ["ann", "shop", "CMD-1"].map(str::to_owned);
        let (proofs, seal) = (vec![Proof::Totp], String::new());
        let open = Control::Approve { event_time_us: 1, by, service, command_id, proofs, seal };
        let sign = |order: &Control| {
            let bytes = secret.sign(order.sealed_text().as_bytes()).to_bytes().to_vec();
            Signature { name: "gate".into(), key_id: key.id(), bytes }.to_string().trim_end().to_owned()
        };
        let sealed = open.clone().sealed(vec![Proof::Totp], sign(&open));
        assert!(roster.proves(&sealed));
        assert!(!Roster::default().proves(&sealed), "no gate is known");
        assert!(!roster.proves(&open), "no seal");
        let bare = open.clone().sealed(Vec::new(), String::new());
        assert!(!roster.proves(&bare.clone().sealed(Vec::new(), sign(&bare))), "a gate that made sure of nothing");
        assert!(
            !roster.proves(&bare.clone().sealed(vec![Proof::Totp], sign(&bare))),
            "a proof that the gate did not say"
        );
        let Control::Approve { event_time_us, service, command_id, proofs, seal, .. } = sealed else { unreachable!() };
        let stolen = Control::Approve { event_time_us, by: "eve".into(), service, command_id, proofs, seal };
        assert!(!roster.proves(&stolen), "another person's seal");
    }
}
