//! `fold`: a keyed state machine over an ordered stream, with alarms on the present.
//!
//! In each epoch a machine hears first what is for everybody, then what is for each key, by key and in the order of the
//! inputs themselves, then the alarms that are due. States are said whenever they change, and so survive a restart.

use super::epochwise::{Said, epochwise};
use super::window::shard_of;
use crate::Output;
use crate::calendar::{Calendar, Moment};
use crate::state::{State, from_json, json, record};
use evenkeel_schemas::KeyId;
use serde::{Serialize, de::DeserializeOwned};
use std::collections::{BTreeMap, BTreeSet};
use timely::ExchangeData;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::{Exchange, Pipeline};

/// What a machine is keyed by.
pub(crate) trait Keyed: ExchangeData + Ord + Clone {
    /// Keys with equal routes are kept by one worker.
    fn route(&self) -> u64;
    /// Its name in the state dataset.
    fn name(&self) -> String;
    /// The key of that name.
    fn named(name: &str) -> Self;
}

impl Keyed for String {
    fn route(&self) -> u64 {
        hash_of(self)
    }

    fn name(&self) -> String {
        self.clone()
    }

    fn named(name: &str) -> Self {
        name.to_owned()
    }
}

impl Keyed for KeyId {
    /// Where the windows of the key are, too.
    fn route(&self) -> u64 {
        shard_of(*self)
    }

    fn name(&self) -> String {
        self.to_string()
    }

    fn named(name: &str) -> Self {
        name.parse().expect("keys were committed whole")
    }
}

/// A keyed state machine.
pub(crate) trait Machine: 'static {
    /// Whose states it keeps.
    type Key: Keyed;
    /// What one key hears; its order is the order in which it is heard within an epoch.
    type Input: ExchangeData + Ord;
    /// What every key hears; broadcast to all workers.
    type Notice: ExchangeData + Ord;
    /// What is kept of one key; of most keys nothing, which is the default.
    type State: Serialize + DeserializeOwned + Default + Clone + PartialEq + 'static;
    /// What it says.
    type Said: ExchangeData;

    /// The machine's name in the state dataset.
    const NAME: &'static str;

    /// Hears what is for everybody.
    fn notice(&mut self, _notice: Self::Notice) {}

    /// Hears what is for one key.
    fn hear(
        &self,
        key: &Self::Key,
        state: &mut Self::State,
        input: Self::Input,
        now: Moment,
        said: &mut Vec<Self::Said>,
    );

    /// When this state wants to be woken, µs; the past means at the end of this epoch.
    fn alarm(&self, _state: &Self::State) -> Option<i64> {
        None
    }

    /// Is woken: the alarm is due.
    fn wake(&self, _key: &Self::Key, _state: &mut Self::State, _now: Moment, _said: &mut Vec<Self::Said>) {}
}

/// A key and what it hears.
type Heard<M> = (<M as Machine>::Key, <M as Machine>::Input);

/// The worker hash of a text: FNV-1a with 64 bits, fixed for all time.
pub(crate) fn hash_of(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The states and alarms of one machine on one worker.
struct Keys<M: Machine> {
    machine: M,
    states: BTreeMap<M::Key, M::State>,
    alarms: BTreeSet<(i64, M::Key)>,
}

impl<M: Machine> Keys<M> {
    fn recovered(machine: M, state: &State, mine: impl Fn(&M::Key) -> bool) -> Self {
        let mut keys = Self { machine, states: BTreeMap::new(), alarms: BTreeSet::new() };
        let prefix = format!("fold/{}/", M::NAME);
        let all = state.under(&prefix).map(|(name, value)| (M::Key::named(name), value));
        for (key, value) in all.filter(|(key, _)| mine(key)) {
            let state: M::State = from_json(value);
            keys.alarms.extend(keys.machine.alarm(&state).map(|alarm| (alarm, key.clone())));
            keys.states.insert(key, state);
        }
        keys
    }

    /// Lets `change` change the state of `key`; says the state if it did.
    fn with(&mut self, key: &M::Key, put: &mut Vec<Output>, change: impl FnOnce(&M, &mut M::State)) {
        let before = self.states.remove(key).unwrap_or_default();
        let mut after = before.clone();
        change(&self.machine, &mut after);
        let (old, new) = (self.machine.alarm(&before), self.machine.alarm(&after));
        if old != new {
            old.map(|alarm| self.alarms.remove(&(alarm, key.clone())));
            new.map(|alarm| self.alarms.insert((alarm, key.clone())));
        }
        let gone = after == M::State::default();
        if after != before {
            put.push(record(format!("fold/{}/{}", M::NAME, key.name()), (!gone).then(|| json(&after))));
        }
        if !gone {
            self.states.insert(key.clone(), after);
        }
    }

    fn wake_due(&mut self, now: Moment, said: &mut Vec<M::Said>, put: &mut Vec<Output>) {
        let due = self.alarms.iter().take_while(|(alarm, _)| *alarm <= now.now_us);
        let due = due.map(|(_, key)| key.clone()).collect::<BTreeSet<_>>();
        for key in due {
            self.with(&key, put, |machine, state| machine.wake(&key, state, now, said));
        }
    }
}

/// Runs a machine over `inputs`, each for one key, and `notices`, each for all of them.
pub(crate) fn fold<'s, M: Machine>(
    machine: M,
    inputs: Stream<'s, u64, Vec<Heard<M>>>,
    notices: Stream<'s, u64, Vec<M::Notice>>,
    calendar: &Calendar,
    state: &State,
) -> Said<'s, M::Said> {
    let (index, peers) = (inputs.scope().index() as u64, inputs.scope().peers() as u64);
    let mut keys = Keys::recovered(machine, state, |key| key.route() % peers == index);
    let by_key = Exchange::new(|(key, _): &Heard<M>| key.route());
    epochwise(M::NAME, (inputs, by_key), (notices, Pipeline), calendar, move |now, inputs, notices, said, put| {
        if now.warm {
            return;
        }
        let mut notices = notices.into_iter().flatten().collect::<Vec<_>>();
        notices.sort();
        notices.into_iter().for_each(|notice| keys.machine.notice(notice));
        let mut inputs = inputs.into_iter().flatten().collect::<Vec<_>>();
        inputs.sort();
        for (key, input) in inputs {
            keys.with(&key, put, |machine, state| machine.hear(&key, state, input, now, said));
        }
        keys.wake_due(now, said, put);
    })
}
