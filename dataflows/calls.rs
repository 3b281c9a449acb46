//! `calls`: who calls whom, of one origin: what somebody told, or what requests show.
//!
//! Bounds: a service calls at most [`MAX_CALLEES`], and there are at most [`MAX_CALLS`] calls; a call beyond is refused.

use crate::state::{State, from_json, json};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Most services that one service calls.
pub(crate) const MAX_CALLEES: usize = 100;

/// Most calls of one origin.
pub(crate) const MAX_CALLS: usize = 20_000;

/// A call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Call {
    /// Until when it holds, µs.
    until_us: i64,
    /// Whether somebody said that it is no more, and is believed more than the requests that show it.
    #[serde(default)]
    cut: bool,
}

/// Calls of one origin.
#[derive(Default)]
pub(crate) struct Calls {
    /// Calls by caller and callee.
    of: BTreeMap<String, BTreeMap<String, Call>>,
    callers: BTreeMap<String, BTreeSet<String>>,
    /// When a call of a caller may end.
    ends: BTreeSet<(i64, String)>,
    count: usize,
}

/// What became of a call that was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// It was known, for as long or longer.
    Known,
    /// It is new, or holds for longer now.
    Noted,
    /// There is no room.
    Refused,
}

impl Calls {
    /// As they are in the committed state, under `prefix` and the caller.
    pub fn recovered(state: &State, prefix: &str) -> Self {
        let mut calls = Self::default();
        for (caller, value) in state.under(prefix) {
            for (callee, call) in from_json::<BTreeMap<String, Call>>(value) {
                calls.insert(caller, &callee, call);
            }
        }
        calls
    }

    /// What the state keeps of a caller.
    pub fn kept(&self, caller: &str) -> Option<Vec<u8>> {
        self.of.get(caller).map(json)
    }

    /// Whether a call holds.
    pub fn holds(&self, caller: &str, callee: &str) -> bool {
        self.of.get(caller).and_then(|callees| callees.get(callee)).is_some_and(|call| !call.cut)
    }

    /// Whom a service calls.
    pub fn callees<'a>(&'a self, service: &str) -> impl Iterator<Item = &'a String> {
        let calls = self.of.get(service).into_iter().flatten();
        calls.filter(|(_, call)| !call.cut).map(|(callee, _)| callee)
    }

    /// Who calls a service.
    pub fn callers<'a>(&'a self, service: &'a str) -> impl Iterator<Item = &'a String> {
        let callers = self.callers.get(service).into_iter().flatten();
        callers.filter(move |caller| self.holds(caller, service))
    }

    /// A call holds until then at least. One that was cut stays so.
    pub fn hear(&mut self, caller: &str, callee: &str, until_us: i64) -> Heard {
        let callees = self.of.get(caller);
        let call = match callees.and_then(|callees| callees.get(callee)) {
            Some(call) if call.until_us >= until_us => return Heard::Known,
            Some(call) => Call { until_us, ..*call },
            None if self.count >= MAX_CALLS || callees.is_some_and(|it| it.len() >= MAX_CALLEES) => {
                return Heard::Refused;
            }
            None => Call { until_us, cut: false },
        };
        self.insert(caller, callee, call);
        Heard::Noted
    }

    fn insert(&mut self, caller: &str, callee: &str, call: Call) {
        self.callers.entry(callee.to_owned()).or_default().insert(caller.to_owned());
        self.ends.insert((call.until_us, caller.to_owned()));
        let before = self.of.entry(caller.to_owned()).or_default().insert(callee.to_owned(), call);
        self.count += usize::from(before.is_none());
    }

    /// Cuts a call, or has it hold again; whether that is something new. What is cut keeps its place until its time is out.
    pub fn cut(&mut self, caller: &str, callee: &str, cut: bool) -> bool {
        let call = self.of.get_mut(caller).and_then(|callees| callees.get_mut(callee));
        call.is_some_and(|call| std::mem::replace(&mut call.cut, cut) != cut)
    }

    /// Removes a call; whether it was there.
    pub fn remove(&mut self, caller: &str, callee: &str) -> bool {
        let Some(callees) = self.of.get_mut(caller) else { return false };
        if callees.remove(callee).is_none() {
            return false;
        }
        if callees.is_empty() {
            self.of.remove(caller);
        }
        self.count -= 1;
        if let Some(callers) = self.callers.get_mut(callee) {
            callers.remove(caller);
            if callers.is_empty() {
                self.callers.remove(callee);
            }
        }
        true
    }

    /// Removes what has ended, and adds to `touched` about whom that is.
    pub fn end(&mut self, now_us: i64, touched: &mut BTreeSet<String>) {
        while self.ends.first().is_some_and(|(end_us, _)| *end_us <= now_us) {
            let (_, caller) = self.ends.pop_first().expect("just seen");
            let callees = self.of.get(&caller).into_iter().flatten();
            let over = callees.filter(|(_, call)| call.until_us <= now_us).map(|(callee, _)| callee.clone());
            for callee in over.collect::<Vec<_>>() {
                self.remove(&caller, &callee);
                touched.extend([caller.clone(), callee]);
            }
        }
    }
}
