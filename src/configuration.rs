//! With what `run` goes on, when that is other than before: said once, as an audit event, before the first epoch.
//!
//! # Decision
//! It goes through the input topic like everybody's events, and so a replay hears of it, too. What was recorded last is in
//! the committed state, where the core keeps it: whoever takes over a ledger has just read that. A crash between saying it and
//! committing it says it again, which is no harm.

use crate::ports::{Committed, Ledger, PortError};
use evenkeel_dataflows::{Applied, CONFIGURED, Changes, Tuning};
use evenkeel_schemas::{AuditEvent, AuditEventType, Detail};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Says an event: returns once it is safe.
pub type Say = Box<dyn FnMut(i64, &[u8]) -> Result<(), PortError> + Send>;

/// A ledger that says what it goes on with when it is taken over.
pub struct Announced<L> {
    ledger: L,
    tuning: Tuning,
    now_us: fn() -> i64,
    say: Say,
}

impl<L: Ledger> Announced<L> {
    /// Around `ledger`, of a run with this tuning.
    pub fn new(ledger: L, tuning: Tuning, now_us: fn() -> i64, say: Say) -> Self {
        Self { ledger, tuning, now_us, say }
    }
}

impl<L: Ledger> Ledger for Announced<L> {
    fn recover(&mut self) -> Result<Committed, PortError> {
        let committed = self.ledger.recover()?;
        fits(&self.tuning, &committed)?;
        let now_us = (self.now_us)();
        if let Some(event) = event(&self.tuning, &committed, now_us) {
            // Crash here: it is said at the next start.
            (self.say)(now_us, &serde_json::to_vec(&event).expect("an event of ours is JSON"))?;
        }
        Ok(committed)
    }

    fn commit(&mut self, epochs: &[Changes]) -> Result<(), PortError> {
        self.ledger.commit(epochs)
    }
}

/// Whether the policy in force can be laid over this tuning.
fn fits(tuning: &Tuning, committed: &Committed) -> Result<(), PortError> {
    let Some(policy) = Applied::kept_in(&committed.state).pop() else { return Ok(()) };
    tuning.with(policy.settings()).map(drop).map_err(|why| {
        let version = policy.version();
        PortError::Fatal(format!(
            "policy version {version} is in force, and does not go with this tuning: {why}; change the tuning"
        ))
    })
}

/// The event that is due, if this tuning is other than the one recorded last.
fn event(tuning: &Tuning, committed: &Committed, now_us: i64) -> Option<AuditEvent> {
    let now = serde_json::to_value(tuning).expect("a tuning is numbers, names and lists");
    let before = recorded(committed);
    if before.as_ref() == Some(&now) {
        return None;
    }
    let sha256 = evenkeel_schemas::audit::hex(&Sha256::digest(now.to_string()));
    let changed = before.map_or(Map::new(), |before| changes(&before, &now));
    let fields = Map::from_iter([
        ("version".to_owned(), json!(env!("CARGO_PKG_VERSION"))),
        ("sha256".to_owned(), json!(sha256)),
        ("changed".to_owned(), Value::Object(changed)),
        ("tuning".to_owned(), now),
    ]);
    let (event_type, detail) = (AuditEventType::Configuration, Detail::fields(&fields));
    let [op, entity, actor] = [CONFIGURED.op, CONFIGURED.entity, CONFIGURED.entity].map(str::to_owned);
    Some(AuditEvent { event_time_us: now_us, event_type, op, actor, entity, detail })
}

/// The tuning that was recorded last.
pub fn recorded(committed: &Committed) -> Option<Value> {
    let (_, payload) = committed.state.iter().find(|(key, _)| key == CONFIGURED.state_key.as_bytes())?;
    let event = serde_json::from_slice::<AuditEvent>(payload).ok()?;
    let mut fields = serde_json::from_str::<Value>(&event.detail.words()).ok()?;
    Some(fields.get_mut("tuning")?.take())
}

/// The settings that differ, by their path: what they were and what they are.
pub fn changes(before: &Value, now: &Value) -> Map<String, Value> {
    let (mut old, mut new) = (BTreeMap::new(), BTreeMap::new());
    flatten(String::new(), before, &mut old);
    flatten(String::new(), now, &mut new);
    let paths = old.keys().chain(new.keys()).filter(|path| old.get(*path) != new.get(*path));
    paths.map(|path| (path.clone(), json!({"from": old.get(path), "to": new.get(path)}))).collect()
}

fn flatten(path: String, value: &Value, into: &mut BTreeMap<String, Value>) {
    let Value::Object(fields) = value else {
        into.insert(path, value.clone());
        return;
    };
    for (name, value) in fields {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        flatten(path, value, into);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_schemas::Mode;
    use std::sync::{Arc, Mutex};

    /// A ledger with this state.
    struct Fixed(Vec<(Vec<u8>, Vec<u8>)>);

    impl Ledger for Fixed {
        fn recover(&mut self) -> Result<Committed, PortError> {
            Ok(Committed { state: self.0.clone(), ..Committed::default() })
        }

        fn commit(&mut self, _: &[Changes]) -> Result<(), PortError> {
            Ok(())
        }
    }

    /// What is said when a ledger with this state is taken over.
    fn said(tuning: &Tuning, state: Vec<(Vec<u8>, Vec<u8>)>) -> Vec<Vec<u8>> {
        let said = Arc::<Mutex<Vec<Vec<u8>>>>::default();
        let hears = Arc::clone(&said);
        let say = move |_, payload: &[u8]| {
            hears.lock().expect("nobody panics holding it").push(payload.to_vec());
            Ok(())
        };
        let mut ledger = Announced::new(Fixed(state), tuning.clone(), || 1_795_246_474_000_000, Box::new(say));
        ledger.recover().expect("it cannot fail");
        let said = said.lock().expect("nobody panics holding it");
        said.clone()
    }

    #[test]
    fn only_a_change_is_said_and_what_changed_is_named() {
        let calm = Tuning::default();
        let first = said(&calm, Vec::new());
        assert_eq!(first.len(), 1, "nothing was recorded yet");
        let recorded = |payload: &[u8]| vec![(CONFIGURED.state_key.as_bytes().to_vec(), payload.to_vec())];
        assert_eq!(said(&calm, recorded(&first[0])), Vec::<Vec<u8>>::new());

        let mut changed = Tuning { mode: Mode::Auto, ..calm.clone() };
        changed.recovery.open_s = 11;
        let second = said(&changed, recorded(&first[0]));
        let event = serde_json::from_slice::<AuditEvent>(&second[0]).expect("our own JSON");
        let detail = serde_json::from_str::<Value>(&event.detail.words()).expect("an object");
        let expected = json!({"mode": {"from": "observe", "to": "auto"}, "recovery.open_s": {"from": 10, "to": 11}});
        assert_eq!(detail["changed"], expected);
        assert_eq!(said(&changed, recorded(&second[0])), Vec::<Vec<u8>>::new());
        assert_eq!(said(&calm, recorded(&second[0])).len(), 1, "back again is a change, too");
        assert_eq!(said(&calm, recorded(b"no event")).len(), 1);
    }
}
