//! [`Hands`]: brings servers of HAProxy into the state that is wanted, and looks whether they are.

use super::map::Place;
use super::runtime::Runtime;
use super::server::{Server, server, servers};
use crate::act::executor::Undone;
use crate::ports::PortError;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// How a server is taken out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum TakeOut {
    /// No new requests but those of sessions that stick to it; health checks go on.
    #[default]
    Drain,
    /// No new requests at all, and no health checks. What is in flight ends here, too.
    Maint,
}

/// What is wanted of the servers of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wanted {
    /// No requests.
    Out,
    /// A few.
    Trial,
    /// As configured.
    Full,
}

/// Acts on every HAProxy that balances over the same servers.
#[derive(Clone, Debug)]
pub struct Hands {
    /// Every one of them.
    pub runtimes: Vec<Runtime>,
    /// How servers are taken out.
    pub take_out: TakeOut,
    /// The part of its weight that a server gets while it is on trial, of a hundred.
    pub trial_percent: u32,
}

impl Hands {
    /// Looks for every server, so that a wrong map is found at the start and not in need. A HAProxy that is away is let be.
    ///
    /// # Errors
    /// `Fatal` if a server is not there.
    pub fn look<'a>(&self, places: impl Iterator<Item = &'a Place> + Clone) -> Result<(), PortError> {
        for runtime in &self.runtimes {
            for place in places.clone() {
                match server(runtime, place) {
                    Err(PortError::Retry(why)) => {
                        tracing::warn!(why, "HAProxy is away; its servers are not looked for");
                        break;
                    }
                    Err(error) => return Err(error),
                    Ok(_) => {}
                }
            }
        }
        Ok(())
    }

    /// Brings the servers of a target into a state; those in `out` were taken out, or are on trial, by this program. Returns
    /// what they are like now, in a few words. What is so already is left.
    ///
    /// # Errors
    /// What was not done, and why. Some of several servers may have been brought there; doing it again does the rest.
    pub fn bring(&self, places: &[Place], wanted: Wanted, out: &BTreeSet<Place>) -> Result<String, Undone> {
        if wanted == Wanted::Out {
            // First all is looked at, then the first is touched.
            for (runtime, place) in self.each(places) {
                self.may_go(runtime, place, places, out)?;
            }
        }
        let mut words = Vec::new();
        for (runtime, place) in self.each(places) {
            words.push(format!("{place} {}", self.bring_one(runtime, place, wanted, out.contains(place))?));
        }
        words.dedup();
        Ok(words.join("; "))
    }

    fn each<'a>(&'a self, places: &'a [Place]) -> impl Iterator<Item = (&'a Runtime, &'a Place)> {
        self.runtimes.iter().flat_map(move |runtime| places.iter().map(move |place| (runtime, place)))
    }

    /// Whether a server may be taken out: another one serves its backend that is not about to go as well.
    fn may_go(&self, runtime: &Runtime, place: &Place, going: &[Place], out: &BTreeSet<Place>) -> Result<(), Undone> {
        let servers = servers(runtime, &place.backend)?;
        let is_out = |name: &str| {
            let other = Place { backend: place.backend.clone(), server: name.to_owned() };
            going.contains(&other) || out.contains(&other)
        };
        if servers.iter().any(|(name, server)| server.serves && !is_out(name)) {
            return Ok(());
        }
        Err(Undone::Refused(format!("{place} is the last healthy server of its backend")))
    }

    fn bring_one(&self, runtime: &Runtime, place: &Place, wanted: Wanted, is_ours: bool) -> Result<String, Undone> {
        let before = server(runtime, place)?;
        let by_others = before.is_in_maintenance() && !(is_ours && self.take_out == TakeOut::Maint);
        if by_others && wanted == Wanted::Out {
            return Ok(format!("{} already", before.words()));
        }
        if by_others {
            return Err(Undone::Refused(format!("{place} is in maintenance, and not by evenkeel")));
        }
        let orders = self.orders(place, wanted, &before);
        if orders.is_empty() {
            return Ok(format!("{} already", before.words()));
        }
        let mut answers = String::new();
        for order in &orders {
            answers.push_str(&runtime.ask(order)?);
            // A crash here leaves the server on its way; the rest is done when it is looked at again.
        }
        let after = server(runtime, place)?;
        if self.orders(place, wanted, &after).is_empty() {
            return Ok(after.words());
        }
        Err(Undone::Failed(format!("{place} is {} after `{}`: {answers:?}", after.words(), orders.join("; "))))
    }

    /// What is to be said to HAProxy to bring a server from where it is to what is wanted; nothing if it is there.
    fn orders(&self, place: &Place, wanted: Wanted, now: &Server) -> Vec<String> {
        let state = |state: &str| format!("set server {place} state {state}");
        let weight = match wanted {
            Wanted::Out => {
                let (is_so, name) = match self.take_out {
                    TakeOut::Drain => (now.is_drained(), "drain"),
                    TakeOut::Maint => (now.is_in_maintenance(), "maint"),
                };
                return if is_so { Vec::new() } else { vec![state(name)] };
            }
            // Percents of a small weight would be none: HAProxy rounds down.
            Wanted::Trial => (now.initial_weight * self.trial_percent / 100).max(1),
            Wanted::Full => now.initial_weight,
        };
        // The weight first: at no time does it get more than is wanted.
        let mut orders = Vec::new();
        if now.weight != weight {
            orders.push(format!("set server {place} weight {weight}"));
        }
        if now.is_in_maintenance() || now.is_drained() {
            orders.push(state("ready"));
        }
        orders
    }
}
