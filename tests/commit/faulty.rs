//! Ports that fail when the script says so.

use evenkeel::ports::{Committed, Ledger, Polled, PortError, Source};
use evenkeel_dataflows::Changes;
use evenkeel_schemas::Cut;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What happens to the call that is hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// It has no effect and fails.
    Lost,
    /// It has its effect, and fails all the same.
    ReportedLost,
    /// The process ends before it has an effect.
    GoneBefore,
    /// The process ends after its effect, before anybody hears of it.
    GoneAfter,
}

impl Fault {
    pub const ALL: [Self; 4] = [Self::Lost, Self::ReportedLost, Self::GoneBefore, Self::GoneAfter];

    fn has_effect(self) -> bool {
        matches!(self, Self::ReportedLost | Self::GoneAfter)
    }

    fn error(self) -> PortError {
        match self {
            Self::Lost | Self::ReportedLost => PortError::Retry(format!("injected: {self:?}")),
            Self::GoneBefore | Self::GoneAfter => PortError::Fatal(format!("injected: {self:?}")),
        }
    }
}

/// What can be hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Call {
    Recover,
    Seek,
    Poll,
    Commit,
}

impl Call {
    pub const ALL: [Self; 4] = [Self::Recover, Self::Seek, Self::Poll, Self::Commit];
}

/// By number: the call with this number is hit, or the next one of this kind.
pub type Faults = BTreeMap<u64, (Option<Call>, Fault)>;

/// Which calls fail, counted over all ports and lives of a run; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Script(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    calls: u64,
    faults: Faults,
    hits: Vec<(Call, Fault)>,
}

impl Script {
    pub fn new(faults: Faults) -> Self {
        Self(Arc::new(Mutex::new(State { faults, ..State::default() })))
    }

    /// What was hit so far, in order.
    pub fn hits(&self) -> Vec<(Call, Fault)> {
        self.0.lock().unwrap().hits.clone()
    }

    fn next(&self, call: Call) -> Option<Fault> {
        let mut state = self.0.lock().unwrap();
        let number = state.calls;
        state.calls += 1;
        let hits = |(_, (only, _)): &(&u64, &(Option<Call>, Fault))| only.is_none_or(|only| only == call);
        let (at, _) = state.faults.range(..=number).find(hits)?;
        let at = *at;
        let (_, fault) = state.faults.remove(&at)?;
        state.hits.push((call, fault));
        Some(fault)
    }
}

/// A port that fails when the script says so, and is not to be called again then.
pub struct Faulty<P> {
    port: P,
    script: Script,
    failed: bool,
}

impl<P> Faulty<P> {
    pub fn new(port: P, script: &Script) -> Self {
        Self { port, script: script.clone(), failed: false }
    }

    fn call<T>(&mut self, call: Call, act: impl FnOnce(&mut P) -> Result<T, PortError>) -> Result<T, PortError> {
        assert!(!self.failed, "{call:?} on a port that failed: there is no repair in place");
        let Some(fault) = self.script.next(call) else { return act(&mut self.port) };
        self.failed = true;
        if fault.has_effect() {
            act(&mut self.port)?;
        }
        Err(fault.error())
    }
}

impl<S: Source> Source for Faulty<S> {
    fn seek(&mut self, from: &Cut) -> Result<(), PortError> {
        self.call(Call::Seek, |port| port.seek(from))
    }

    fn poll(&mut self, limit: usize, wait: Duration) -> Result<Polled, PortError> {
        let polled = self.call(Call::Poll, |port| port.poll(limit, wait))?;
        if polled.batches.is_empty() {
            // The workers want the processor, too.
            std::thread::sleep(wait.min(Duration::from_micros(200)));
        }
        Ok(polled)
    }
}

impl<L: Ledger> Ledger for Faulty<L> {
    fn recover(&mut self) -> Result<Committed, PortError> {
        self.call(Call::Recover, L::recover)
    }

    fn commit(&mut self, epochs: &[Changes]) -> Result<(), PortError> {
        self.call(Call::Commit, |port| port.commit(epochs))
    }
}
