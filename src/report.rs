//! [`Reporter`]: what programs beside the pipeline have to say to the audit log, as events on its input topic. They go
//! the way of everybody's events: a finding opens an incident, an access is an entry.

use crate::embedded::InputWriter;
use crate::kafka::{Connection, RecordProducer};
use crate::ports::{Clock, PortError, SystemClock};
use evenkeel_schemas::{AuditEvent, AuditEventType, Detail, Partition, Topic};
use std::path::Path;
use std::time::Duration;

/// How long an event may take to be safe on the broker.
const SAFE_WITHIN: Duration = Duration::from_secs(30);

/// Longest name of an actor or entity, bytes: what events are allowed.
const MAX_NAME_BYTES: usize = 256;

/// Says audit events in somebody's name.
pub struct Reporter {
    target: Target,
    actor: String,
}

enum Target {
    Kafka(RecordProducer),
    Embedded(InputWriter, Partition),
}

/// Who writes into a data directory; each has a partition of its own there, for a partition has one writer.
#[derive(Clone, Copy, Debug)]
pub enum Writer {
    /// `audit watch`.
    Watcher = 1,
    /// `audit seal`.
    Sealer = 2,
    /// `audit prove`.
    Prover = 3,
}

impl Reporter {
    /// To the brokers of `connection`.
    ///
    /// # Errors
    /// `Fatal` if a property of the connection is wrong.
    pub fn to_kafka(connection: Connection, actor: &str) -> Result<Self, PortError> {
        Ok(Self { target: Target::Kafka(RecordProducer::new(connection)?), actor: cut(actor) })
    }

    /// To a data directory.
    pub fn to_directory(directory: &Path, writer: Writer, actor: &str) -> Self {
        let partition = Partition { topic: Topic::AuditEvents, partition: writer as u32 };
        Self { target: Target::Embedded(InputWriter::new(directory), partition), actor: cut(actor) }
    }

    /// Says an event of now; it is safe once [`Reporter::flush`] returns.
    ///
    /// # Errors
    /// `Fatal` if it can never be taken, `Retry` if the disk fails.
    pub fn say(&mut self, event_type: AuditEventType, op: &str, entity: &str, detail: Detail) -> Result<(), PortError> {
        let event_time_us = SystemClock.now_us();
        let (actor, entity) = (self.actor.clone(), cut(entity));
        let event = AuditEvent { event_time_us, event_type, op: op.to_owned(), actor, entity, detail };
        let payload = serde_json::to_vec(&event).expect("an event of ours is JSON");
        match &mut self.target {
            Target::Kafka(producer) => {
                producer.send(Partition { topic: Topic::AuditEvents, partition: 0 }, event_time_us, b"", &payload)
            }
            Target::Embedded(inputs, partition) => inputs.append(*partition, event_time_us, b"", &payload),
        }
    }

    /// Waits until everything that was said is safe.
    ///
    /// # Errors
    /// `Retry` if the broker or the disk is not there now.
    pub fn flush(&mut self) -> Result<(), PortError> {
        match &mut self.target {
            Target::Kafka(producer) => producer.flush(SAFE_WITHIN),
            Target::Embedded(inputs, _) => inputs.sync(),
        }
    }
}

/// A name within its bounds, and not empty.
fn cut(name: &str) -> String {
    let end = name.floor_char_boundary(MAX_NAME_BYTES.min(name.len()));
    if end == 0 { "unknown".to_owned() } else { name[..end].to_owned() }
}
