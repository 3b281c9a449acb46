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
    inbox: Inbox,
    actor: String,
}

/// Where events are put for the pipeline, for programs beside it.
pub struct Inbox(Target);

enum Target {
    Kafka(RecordProducer),
    /// With the number of the partition that is this program's alone.
    Embedded(InputWriter, u32),
}

impl Inbox {
    /// Topics on the brokers of `connection`.
    ///
    /// # Errors
    /// `Fatal` if a property of the connection is wrong.
    pub fn on_kafka(connection: Connection) -> Result<Self, PortError> {
        Ok(Self(Target::Kafka(RecordProducer::new(connection)?)))
    }

    /// The inputs of a data directory; a partition there has one writer.
    pub fn in_directory(directory: &Path, partition: u32) -> Self {
        Self(Target::Embedded(InputWriter::new(directory), partition))
    }

    /// Puts an event into a topic; it is safe once [`Inbox::flush`] returns.
    ///
    /// # Errors
    /// `Fatal` if it can never be taken, `Retry` if the disk fails.
    pub fn send(&mut self, topic: Topic, event_time_us: i64, payload: &[u8]) -> Result<(), PortError> {
        match &mut self.0 {
            Target::Kafka(producer) => producer.send(Partition { topic, partition: 0 }, event_time_us, b"", payload),
            Target::Embedded(inputs, number) => {
                inputs.append(Partition { topic, partition: *number }, event_time_us, b"", payload)
            }
        }
    }

    /// Waits until everything that was sent is safe.
    ///
    /// # Errors
    /// `Retry` if the broker or the disk is not there now.
    pub fn flush(&mut self) -> Result<(), PortError> {
        match &mut self.0 {
            Target::Kafka(producer) => producer.flush(SAFE_WITHIN),
            Target::Embedded(inputs, _) => inputs.sync(),
        }
    }
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
        Ok(Self { inbox: Inbox::on_kafka(connection)?, actor: cut(actor) })
    }

    /// To a data directory.
    pub fn to_directory(directory: &Path, writer: Writer, actor: &str) -> Self {
        Self { inbox: Inbox::in_directory(directory, writer as u32), actor: cut(actor) }
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
        self.inbox.send(Topic::AuditEvents, event_time_us, &payload)
    }

    /// Waits until everything that was said is safe.
    ///
    /// # Errors
    /// `Retry` if the broker or the disk is not there now.
    pub fn flush(&mut self) -> Result<(), PortError> {
        self.inbox.flush()
    }
}

/// A name within its bounds, and not empty.
fn cut(name: &str) -> String {
    let end = name.floor_char_boundary(MAX_NAME_BYTES.min(name.len()));
    if end == 0 { "unknown".to_owned() } else { name[..end].to_owned() }
}
