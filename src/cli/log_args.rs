//! Where the log is that a command follows, and says something to.

use super::config::pinned;
use super::{KafkaArgs, fatal};
use crate::embedded::EmbeddedOutputs;
use crate::kafka::KafkaOutputs;
use crate::policy::Target;
use crate::ports::{OutputLog, PortError};
use crate::report::{Inbox, Reporter, Writer};
use std::path::PathBuf;

/// A data directory, or brokers.
#[derive(Debug, clap::Args)]
pub(super) struct LogArgs {
    #[command(flatten)]
    pub kafka: KafkaArgs,
    /// Data directory of the embedded log.
    #[arg(long, env = "EVENKEEL_DATA", conflicts_with = "brokers")]
    pub data: Option<PathBuf>,
}

impl LogArgs {
    /// The committed outputs; nothing if nobody said where they are.
    pub fn open(&self) -> Result<Option<Box<dyn OutputLog>>, PortError> {
        Ok(match (&self.data, &self.kafka.brokers) {
            (Some(directory), _) => Some(Box::new(EmbeddedOutputs::new(directory))),
            (None, Some(_)) => Some(Box::new(KafkaOutputs::new(self.kafka.connection()?))),
            (None, None) => None,
        })
    }

    /// The committed outputs, in which `what` is looked for.
    pub fn must(&self, what: &str) -> Result<Box<dyn OutputLog>, PortError> {
        self.open()?.ok_or_else(|| fatal(format!("where are the {what}? give --data DIR or --brokers HOST:PORT")))
    }

    /// Where policies hold.
    pub fn target(&self) -> Result<Target, PortError> {
        match (&self.data, &self.kafka.brokers) {
            (Some(directory), _) => Ok(Target::Directory(directory.clone(), Box::new(pinned(directory)?))),
            (None, Some(_)) => Ok(Target::Kafka(self.kafka.connection()?)),
            (None, None) => Err(fatal("where do policies hold? give --data DIR or --brokers HOST:PORT")),
        }
    }

    /// To whom orders and outcomes are said; in a directory each writer has a partition of its own.
    pub fn inbox(&self, partition: u32) -> Result<Inbox, PortError> {
        match &self.data {
            Some(directory) => Ok(Inbox::in_directory(directory, partition)),
            None => Inbox::on_kafka(self.kafka.connection()?),
        }
    }

    /// Who says events to the audit log.
    pub fn reporter(&self, writer: Writer, actor: &str) -> Result<Reporter, PortError> {
        match &self.data {
            Some(directory) => Ok(Reporter::to_directory(directory, writer, actor)),
            None => Reporter::to_kafka(self.kafka.connection()?, actor),
        }
    }

    /// A directory that belongs to a command: what it was given, or `name` in the data directory.
    pub fn state(&self, given: Option<&PathBuf>, name: &str) -> Result<PathBuf, PortError> {
        let in_data = || self.data.as_ref().map(|data| data.join(name));
        given.cloned().or_else(in_data).ok_or_else(|| fatal("where is it remembered? give --state DIR"))
    }
}
