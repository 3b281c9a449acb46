//! [`Routing`]: who is told of incidents and what is silenced, of documents or of the policy in force; [`Watch`] says when
//! another one is.

use super::document::{Document, Spec};
use super::fault::Faults;
use super::place::Target;
use super::yaml::Node;
use crate::alerts::{Receiver, Silence};
use crate::ports::PortError;
use evenkeel_dataflows::Applied;
use evenkeel_schemas::Control;
use serde_json::Value as Json;

/// Whether there is another policy is asked so often, µs.
const LOOK_EVERY_US: i64 = 5_000_000;

/// What documents say of alerts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routing {
    /// Who is told.
    pub receivers: Vec<Receiver>,
    /// What nobody is told for a while.
    pub silences: Vec<Silence>,
}

impl Routing {
    /// Of documents.
    pub fn of(documents: &[Document]) -> Self {
        let mut routing = Self::default();
        for document in documents {
            match &document.spec {
                Spec::Receiver(receiver) => routing.receivers.push((**receiver).clone()),
                Spec::Silence(silence) => routing.silences.push((**silence).clone()),
                _ => {}
            }
        }
        routing
    }

    /// Of a policy that was applied. What this version of evenkeel does not understand is logged and left out: the others
    /// are told all the same.
    fn of_applied(applied: &Applied) -> Self {
        let Control::ApplyPolicy { documents, version, .. } = &applied.order else { return Self::default() };
        let documents = serde_json::from_str::<Vec<Json>>(documents).unwrap_or_default();
        let mut faults = Faults::of("policy");
        let concerns_alerts = |json: &&Json| ["Receiver", "Silence"].iter().any(|kind| json["kind"] == *kind);
        let nodes = documents.iter().filter(concerns_alerts).map(Node::from_json);
        let documents = nodes.filter_map(|node| Document::read(&node, "policy", &mut faults)).collect::<Vec<_>>();
        for fault in faults.all {
            tracing::error!(version, what = fault.what, fix = fault.fix, "a document of the policy is not understood");
        }
        Self::of(&documents)
    }
}

/// Follows the policy in force.
pub struct Watch {
    target: Target,
    /// Up to where orders were heard when the policy was read last.
    heard: Option<u64>,
    version: Option<u64>,
    next_look_us: i64,
}

impl Watch {
    /// Of what holds at `target`.
    pub fn new(target: Target) -> Self {
        Self { target, heard: None, version: None, next_look_us: i64::MIN }
    }

    /// What the policy in force says of alerts, if that is another one than at the last call, by the machine's time. The
    /// state is read only if an order was heard since; an idle look reads the last binding.
    ///
    /// # Errors
    /// `Retry` if the brokers or the disk cannot be reached now, `Fatal` if what is there is not as it should be.
    pub fn changed(&mut self, now_us: i64) -> Result<Option<Routing>, PortError> {
        if now_us < self.next_look_us {
            return Ok(None);
        }
        self.next_look_us = now_us.saturating_add(LOOK_EVERY_US);
        let heard = self.target.heard()?;
        if self.heard == Some(heard) {
            return Ok(None);
        }
        let kept = self.target.kept()?;
        self.heard = Some(heard);
        let newest = kept.last();
        let version = newest.map_or(0, Applied::version);
        if self.version.replace(version) == Some(version) {
            return Ok(None);
        }
        Ok(Some(newest.map(Routing::of_applied).unwrap_or_default()))
    }

    /// Has the next call say the policy in force, as that of the last one could not be followed.
    pub fn again(&mut self) {
        (self.heard, self.version) = (None, None);
    }
}
