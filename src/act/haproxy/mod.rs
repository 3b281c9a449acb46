//! [`Haproxy`]: carries out circuits and drains at HAProxy, by its Runtime API.
//!
//! A *target* is what a command is about, a node or a service; the [`Map`] says which servers of HAProxy it is, and what is
//! not in it is somebody else's to carry out.
//!
//! # Decision
//! * Of HAProxy's ways to take a server out, `drain` is the default: no new requests, while those in flight end, connections
//!   that live long go on, and its health checks, too. Who has sessions that stick to servers takes `maint`, which draining
//!   would not move.
//! * A server is never taken out that is the last one serving its backend, whatever was asked: HAProxy itself is asked. A
//!   server on trial does not count as one that serves.
//! * Success is what HAProxy shows afterwards, not what it answers: its answers to the same command are empty, or not, on
//!   success, and empty on some failures.
//! * A HAProxy that is started anew, or reloaded, has forgotten. It is asked ten times a second who it is
//!   ([`RESTART_LOOK`]); if it is another, what was taken out is taken out again. What a person changed there by hand is
//!   left.

mod hands;
mod map;
mod runtime;
mod server;
#[cfg(test)]
mod tests;

pub use hands::{Hands, TakeOut, Wanted};
pub use map::{Map, Place};
pub use runtime::{Address, Runtime};

use super::book::Book;
use super::executor::{Executor, Undone};
use evenkeel_schemas::{Command, CommandKind};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// So often it is asked whether a HAProxy was started anew; an answer takes it some 70 µs.
pub const RESTART_LOOK: Duration = Duration::from_millis(100);

/// Carries out commands at HAProxy.
pub struct Haproxy {
    map: Map,
    hands: Hands,
    looked_at: Option<Instant>,
}

/// What a command wants of servers; `None` if HAProxy cannot do it.
const fn wanted(command: &Command) -> Option<Wanted> {
    match (command.kind, command.undo) {
        (CommandKind::TripCircuit, _) | (CommandKind::Drain, false) => Some(Wanted::Out),
        (CommandKind::HalfOpen, _) => Some(Wanted::Trial),
        (CommandKind::CloseCircuit, _) | (CommandKind::Drain, true) => Some(Wanted::Full),
        // A balancer starts nothing, and knows nothing of what it balances.
        _ => None,
    }
}

impl Haproxy {
    /// One for the servers of `map`.
    pub const fn new(map: Map, hands: Hands) -> Self {
        Self { map, hands, looked_at: None }
    }

    /// The servers that were taken out here, or are on trial.
    fn out(&self, book: &Book) -> BTreeSet<Place> {
        book.wanted.keys().flat_map(|target| self.map.named(target)).cloned().collect()
    }
}

impl Executor for Haproxy {
    fn concern(&self, command: &Command) -> Option<String> {
        let (target, _) = self.map.servers(command).filter(|_| wanted(command).is_some())?;
        Some(target.to_owned())
    }

    fn execute(&mut self, command: &Command, book: &mut Book) -> Result<String, Undone> {
        let (Some((target, places)), Some(wanted)) = (self.map.servers(command), wanted(command)) else {
            return Err(Undone::Failed("its target is not in the map".to_owned()));
        };
        let detail = self.hands.bring(places, wanted, &self.out(book))?;
        match wanted {
            Wanted::Full => drop(book.wanted.remove(target)),
            wanted => drop(book.wanted.insert(target.to_owned(), wanted)),
        }
        Ok(detail)
    }

    /// Takes out again what a HAProxy that was started anew has forgotten; whether there was one.
    fn look_after(&mut self, book: &mut Book) -> bool {
        if self.looked_at.is_some_and(|at| at.elapsed() < RESTART_LOOK) {
            return false;
        }
        self.looked_at = Some(Instant::now());
        let mut was_restarted = false;
        for runtime in self.hands.runtimes.clone() {
            // One that is away is asked again with the next look.
            let Ok(pid) = runtime.pid() else { continue };
            let name = runtime.address.to_string();
            if book.pids.get(&name) == Some(&pid) {
                continue;
            }
            let only = Hands { runtimes: vec![runtime], ..self.hands.clone() };
            let is_reminded = book.wanted.iter().all(|(target, wanted)| {
                let mut out = self.out(book);
                let places = self.map.named(target);
                out.retain(|place| !places.contains(place));
                let brought = only.bring(places, *wanted, &out);
                tracing::info!(haproxy = name, pid, target, ?brought, "another HAProxy process answers");
                !matches!(brought, Err(Undone::Later(_)))
            });
            if is_reminded {
                book.pids.insert(name, pid);
                was_restarted = true;
            }
        }
        was_restarted
    }
}
