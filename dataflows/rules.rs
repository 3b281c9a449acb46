//! `rules`: policies in; the tuning that holds, kept for a restart.
//!
//! A policy is an order that brings settings: a part of a [`Tuning`], laid over the one the run was started with. The next
//! one takes its place whole: what it does not name is as it was at the start. It holds from the epoch that brought it, for
//! everything that is judged or decided in that epoch or later; no epoch before it knows of it.
//!
//! # Decision
//! Every operator that goes by limits hears every policy itself, in the order of their coordinates, and decides alike
//! whether it may follow: what one worker refused, every worker refused, and nobody has to wait for another.

use crate::Output;
use crate::epochs::Moment;
use crate::policy::Order;
use crate::state::{State, from_json, json, record};
use crate::tuning::Tuning;
use evenkeel_schemas::Control;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// So many policies are kept, the newest of them in force; those before can be returned to.
pub const KEPT_POLICIES: u64 = 16;

/// What settings may name; the rest of a tuning is fixed while a run lasts.
const HOT: [&str; 8] = ["answers", "approvals", "detection", "mode", "modes", "objectives", "recovery", "roster"];

/// A policy that holds, or held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// The epoch that brought it.
    pub epoch: u64,
    /// The present in it, µs since the Unix epoch.
    pub at_us: i64,
    /// The order: [`Control::ApplyPolicy`].
    pub order: Control,
}

/// SHA-256 of a policy's documents, in lower-case hexadecimal digits.
pub fn documents_sha256(documents: &str) -> String {
    evenkeel_schemas::audit::hex(&Sha256::digest(documents))
}

impl Applied {
    /// Those that a committed state keeps, oldest first; the last one is in force.
    pub fn kept_in(state: &[(Vec<u8>, Vec<u8>)]) -> Vec<Self> {
        Self::all(&State::new(state.iter().filter(|(key, _)| key.starts_with(b"policy/")).cloned()))
    }

    fn all(state: &State) -> Vec<Self> {
        let mut all = state.under("policy/").map(|(_, value)| from_json(value)).collect::<Vec<Self>>();
        all.sort_by_key(Self::version);
        all
    }

    /// Its version, from 1.
    pub fn version(&self) -> u64 {
        match &self.order {
            Control::ApplyPolicy { version, .. } => *version,
            _ => 0,
        }
    }

    /// The settings it brought.
    pub fn settings(&self) -> &str {
        match &self.order {
            Control::ApplyPolicy { settings, .. } => settings,
            _ => "{}",
        }
    }

    /// What the state keeps of it; it takes the place of one that is too old to be returned to.
    pub(crate) fn kept(&self) -> Output {
        record(format!("policy/{}", self.version() % KEPT_POLICIES), Some(json(self)))
    }
}

/// The tuning that holds.
pub(crate) struct Rules {
    /// What the run was started with.
    base: Tuning,
    tuning: Tuning,
    /// The version in force; 0 if there is none.
    version: u64,
}

impl Rules {
    /// Those that hold after a committed state.
    ///
    /// A run is not started with a tuning over which its policy cannot be laid, see [`Tuning::with`]; here it would go on
    /// with what it was started with.
    pub fn recovered(base: &Tuning, state: &State) -> Self {
        let newest = Applied::all(state).pop();
        let tuning = newest.as_ref().and_then(|newest| base.with(newest.settings()).ok());
        let version = newest.map_or(0, |newest| newest.version());
        Self { base: base.clone(), tuning: tuning.unwrap_or_else(|| base.clone()), version }
    }

    /// What holds.
    pub fn tuning(&self) -> &Tuning {
        &self.tuning
    }

    /// The version in force; 0 if there is none.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Hears an order, if it is a policy: what held until now and what holds from now on, or why it is refused.
    pub fn hear(&mut self, order: &Order, now: Moment) -> Option<Result<(Tuning, Applied), String>> {
        let Control::ApplyPolicy { version, sha256, documents, settings, .. } = &order.control else { return None };
        let next = self.version.saturating_add(1);
        if *version != next {
            return Some(Err(format!("version {version}: the next one is {next}")));
        }
        if documents_sha256(documents) != *sha256 {
            return Some(Err("sha256 is not that of the documents".to_owned()));
        }
        let tuning = match self.base.with(settings) {
            Ok(tuning) => tuning,
            Err(why) => return Some(Err(why)),
        };
        self.version = next;
        let applied = Applied { epoch: now.epoch.0, at_us: now.now_us, order: order.control.clone() };
        Some(Ok((std::mem::replace(&mut self.tuning, tuning), applied)))
    }

    /// Hears the policies of an epoch; what holds from now on, if that may be other than before.
    pub fn follow(&mut self, mut policies: Vec<Order>, now: Moment) -> Option<&Tuning> {
        policies.sort();
        let heard = policies.iter().filter_map(|order| self.hear(order, now)).filter(Result::is_ok).count();
        (heard > 0).then_some(&self.tuning)
    }
}

impl Tuning {
    /// This one with `settings` over it: a JSON object of some of its fields, down to single numbers. Objectives and modes
    /// are by service, and those of other services stay.
    ///
    /// # Errors
    /// Names the field that is unknown, of the wrong type, out of its range, or fixed while a run lasts.
    pub fn with(&self, settings: &str) -> Result<Self, String> {
        let tuning = self.with_unchecked(settings)?;
        tuning.check()?;
        Ok(tuning)
    }

    /// As [`Tuning::with`], but for the ranges.
    ///
    /// # Errors
    /// Names the field that is unknown, of the wrong type, or fixed while a run lasts.
    pub fn with_unchecked(&self, settings: &str) -> Result<Self, String> {
        let wrong = |error: serde_json::Error| format!("settings: {error}");
        let settings = serde_json::from_str::<Map<String, Value>>(settings).map_err(wrong)?;
        if let Some(field) = settings.keys().find(|field| !HOT.contains(&field.as_str())) {
            return Err(format!("settings: {field}: only {} can be set while a run lasts", HOT.join(", ")));
        }
        let mut all = serde_json::to_value(self).expect("a tuning is numbers, names and lists");
        lay(&mut all, Value::Object(settings));
        serde_json::from_value(all).map_err(wrong)
    }
}

/// Lays a value over another: objects field by field, anything else whole.
fn lay(below: &mut Value, above: Value) {
    match (below, above) {
        (Value::Object(below), Value::Object(above)) => {
            for (field, value) in above {
                lay(below.entry(field).or_insert(Value::Null), value);
            }
        }
        (below, above) => *below = above,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_schemas::{Coordinates, Epoch, Topic};

    const NOW: Moment = Moment { epoch: Epoch(7), now_us: 1, warm: false };

    fn order(version: u64, settings: &str) -> Order {
        let (documents, settings) = ("[]".to_owned(), settings.to_owned());
        let sha256 = documents_sha256(&documents);
        let control = Control::ApplyPolicy { event_time_us: 0, by: "ann".into(), version, sha256, documents, settings };
        Order { at: Coordinates { topic: Topic::Control, partition: 0, offset: version }, control }
    }

    #[test]
    fn only_the_next_version_within_bounds_is_followed() {
        let mut rules = Rules::recovered(&Tuning::default(), &State::default());
        for (wrong, why) in [
            (order(2, "{}"), "the next one is 1"),
            (order(1, r#"{"recovery":{"futile":0}}"#), "recovery.futile"),
            (order(1, r#"{"recovery":{"futil":1}}"#), "futil"),
            (order(1, r#"{"audit_partitions":8}"#), "audit_partitions"),
            (order(1, "[]"), "settings"),
        ] {
            let refused = rules.hear(&wrong, NOW).expect("a policy").expect_err("refused");
            assert!(refused.contains(why), "{refused}");
        }
        let settings = r#"{"recovery":{"futile":9},"objectives":{"a":990000}}"#;
        assert!(rules.hear(&order(1, settings), NOW).expect("a policy").is_ok());
        assert_eq!((rules.tuning().recovery.futile, rules.tuning().objectives["a"]), (9, 990_000));
        assert!(rules.follow(vec![order(2, r#"{"recovery":{"open_s":3}}"#)], NOW).is_some());
        let Tuning { recovery, objectives, .. } = rules.tuning();
        assert_eq!((recovery.futile, recovery.open_s, objectives.len()), (3, 3, 0), "the next one holds alone");
    }

    #[test]
    fn a_state_keeps_the_newest_ones() {
        let mut rules = Rules::recovered(&Tuning::default(), &State::default());
        let mut state = State::default();
        for version in 1..=KEPT_POLICIES + 2 {
            let settings = format!(r#"{{"recovery":{{"open_s":{version}}}}}"#);
            let (_, applied) = rules.hear(&order(version, &settings), NOW).expect("a policy").expect("the next one");
            state.apply(&[applied.kept()]);
        }
        let all = Applied::kept_in(&state.clone().into_records());
        assert_eq!(all.iter().map(Applied::version).collect::<Vec<_>>(), (3..=KEPT_POLICIES + 2).collect::<Vec<_>>());
        let again = Rules::recovered(&Tuning::default(), &state);
        assert_eq!((again.tuning(), again.version), (rules.tuning(), rules.version));
    }
}
