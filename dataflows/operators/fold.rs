//! `fold`: a keyed state machine over an ordered stream, with alarms on the present.
//!
//! In each epoch a machine hears what is for each key, by key and in the order of the inputs themselves, then the alarms
//! that are due. States are said whenever they change, and so survive a restart.

use super::window::shard_of;
use crate::Output;
use crate::epochs::Moment;
use crate::state::{State, from_json, json, record};
use crate::tuning::SHARDS;
use evenkeel_schemas::KeyId;
use serde::{Serialize, de::DeserializeOwned};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// What a machine is keyed by.
pub(crate) trait Keyed: Ord + Clone {
    /// Keys with equal routes are kept by one worker.
    fn route(&self) -> u64;
    /// Its name in the state dataset.
    fn name(&self) -> String;
    /// The key of that name.
    fn named(name: &str) -> Self;
}

impl Keyed for String {
    fn route(&self) -> u64 {
        route_of(self)
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
    type Input: Ord;
    /// What is kept of one key; of most keys nothing, which is the default.
    type State: Serialize + DeserializeOwned + Default + Clone + PartialEq + 'static;
    /// What it says.
    type Said;

    /// The machine's name in the state dataset.
    const NAME: &'static str;

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

/// The worker hash of a text: FNV-1a with 64 bits, fixed for all time.
pub(crate) fn hash_of(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Where what is about a text goes: its shard, the same for any number of workers.
pub(crate) fn route_of(text: &str) -> u64 {
    hash_of(text) % SHARDS
}

/// The states and alarms of one machine on one worker.
pub(crate) struct Keys<M: Machine> {
    /// What is the same for all of them.
    pub machine: M,
    states: BTreeMap<M::Key, M::State>,
    alarms: BTreeSet<(i64, M::Key)>,
}

impl<M: Machine> Keys<M> {
    /// Those of worker `index` of `peers`, as they are in the committed state.
    pub fn recovered(machine: M, state: &State, (index, peers): (u64, u64)) -> Self {
        let mut keys = Self { machine, states: BTreeMap::new(), alarms: BTreeSet::new() };
        let prefix = format!("fold/{}/", M::NAME);
        let all = state.under(&prefix).map(|(name, value)| (M::Key::named(name), value));
        for (key, value) in all.filter(|(key, _)| key.route() % peers == index) {
            let state: M::State = from_json(value);
            keys.alarms.extend(keys.machine.alarm(&state).map(|alarm| (alarm, key.clone())));
            keys.states.insert(key, state);
        }
        keys
    }

    /// Changes what is the same for all of them; when each wakes may depend on it.
    pub fn adapt(&mut self, change: impl FnOnce(&mut M)) {
        change(&mut self.machine);
        let alarms = self.states.iter().filter_map(|(key, state)| Some((self.machine.alarm(state)?, key.clone())));
        self.alarms = alarms.collect();
    }

    /// What is kept of a key, if anything is.
    pub fn get(&self, key: &M::Key) -> Option<&M::State> {
        self.states.get(key)
    }

    /// All of which something is kept.
    pub fn iter(&self) -> impl Iterator<Item = (&M::Key, &M::State)> {
        self.states.iter()
    }

    /// Of how many keys in `range` something is kept.
    pub fn count(&self, range: Range<M::Key>) -> usize {
        self.states.range(range).count()
    }

    /// Lets `change` change every state of which something is kept.
    pub fn each(&mut self, put: &mut Vec<Output>, change: impl Fn(&mut M::State)) {
        for key in self.states.keys().cloned().collect::<Vec<_>>() {
            self.with(&key, put, |_, state| change(state));
        }
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

    /// An epoch that is not warm: hears `inputs`, and wakes who is due.
    pub fn step(
        &mut self,
        now: Moment,
        mut inputs: Vec<(M::Key, M::Input)>,
        said: &mut Vec<M::Said>,
        put: &mut Vec<Output>,
    ) {
        inputs.sort();
        // All that is for one key at once: its state is compared and said once.
        let mut inputs = inputs.into_iter().peekable();
        while let Some((key, first)) = inputs.next() {
            self.with(&key, put, |machine, state| {
                machine.hear(&key, state, first, now, said);
                while let Some((_, input)) = inputs.next_if(|(next, _)| *next == key) {
                    machine.hear(&key, state, input, now, said);
                }
            });
        }
        self.wake_due(now, said, put);
    }
}
