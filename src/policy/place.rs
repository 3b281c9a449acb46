//! [`Target`]: where a policy holds. What is in force there comes from the committed state; another one is brought by an
//! order on the control topic.

use super::set::Compiled;
use crate::configuration::recorded;
use crate::embedded::{committed_state, last_binding};
use crate::kafka::{self, Connection};
use crate::ports::{Clock, PortError, SystemClock};
use crate::report::Inbox;
use evenkeel_dataflows::{Applied, Tuning};
use evenkeel_schemas::Topic;
use std::path::PathBuf;

/// The control partition of a data directory that policies are written to: a partition has one writer there.
const PARTITION: u32 = 1;

/// Where a policy holds.
pub enum Target {
    /// Brokers.
    Kafka(Connection),
    /// A data directory, and the tuning that is pinned to it.
    Directory(PathBuf, Box<Tuning>),
}

/// What holds somewhere.
pub struct InForce {
    /// The policies that are kept, oldest first; the last one is in force.
    pub kept: Vec<Applied>,
    /// What the run was started with.
    pub base: Tuning,
}

impl InForce {
    /// The tuning in force.
    ///
    /// # Errors
    /// `Fatal` if the policy cannot be laid over what the run was started with.
    pub fn tuning(&self) -> Result<Tuning, PortError> {
        let settings = self.kept.last().map_or("{}", Applied::settings);
        self.base.with(settings).map_err(PortError::Fatal)
    }

    /// The version in force; 0 if there is none.
    pub fn version(&self) -> u64 {
        self.kept.last().map_or(0, Applied::version)
    }
}

impl Target {
    /// What holds now.
    ///
    /// # Errors
    /// `Retry` if the brokers or the disk cannot be reached now, `Fatal` if what is there is not as it should be.
    pub fn in_force(&self) -> Result<InForce, PortError> {
        match self {
            Self::Directory(directory, base) => {
                let state = committed_state(directory)?.into_iter().collect::<Vec<_>>();
                Ok(InForce { kept: Applied::kept_in(&state), base: (**base).clone() })
            }
            Self::Kafka(connection) => {
                let committed = kafka::committed(connection)?;
                let base = match recorded(&committed) {
                    Some(tuning) => serde_json::from_value(tuning).map_err(|error| {
                        PortError::Fatal(format!(
                            "the run there goes by a tuning of another version of evenkeel: {error}"
                        ))
                    })?,
                    None => Tuning::default(),
                };
                Ok(InForce { kept: Applied::kept_in(&committed.state), base })
            }
        }
    }

    /// The policies that are kept, oldest first; the last one is in force.
    ///
    /// # Errors
    /// As [`Target::in_force`].
    pub fn kept(&self) -> Result<Vec<Applied>, PortError> {
        self.in_force().map(|in_force| in_force.kept)
    }

    /// How far the orders go that the last binding covers: while this stands still, so does the policy.
    ///
    /// # Errors
    /// As [`Target::in_force`].
    pub fn heard(&self) -> Result<u64, PortError> {
        let last = match self {
            Self::Directory(directory, _) => last_binding(directory)?,
            Self::Kafka(connection) => kafka::last_binding(connection)?,
        };
        let upper = last.map(|binding| binding.upper).unwrap_or_default();
        Ok(upper.0.iter().filter(|(partition, _)| partition.topic == Topic::Control).map(|(_, offset)| offset).sum())
    }

    /// Orders a policy as version `version`, by the name of `by`; it is safe once this returns, and holds once it is
    /// in force.
    ///
    /// # Errors
    /// `Fatal` if it can never be taken, `Retry` if the brokers or the disk are not there now.
    pub fn order(&self, policy: &Compiled, version: u64, by: &str) -> Result<(), PortError> {
        let event_time_us = SystemClock.now_us();
        let mut inbox = match self {
            Self::Kafka(connection) => Inbox::on_kafka(connection.clone())?,
            Self::Directory(directory, _) => Inbox::in_directory(directory, PARTITION),
        };
        for order in policy.orders(event_time_us, version, by) {
            let payload = serde_json::to_vec(&order).expect("an order is JSON");
            inbox.send(Topic::Control, event_time_us, &payload)?;
        }
        inbox.flush()
    }
}
