//! What was found, as audit events: they go through the log like everybody else's, and become an incident.

use crate::mirror::check::Wrong;
use evenkeel::kafka::{Connection, RecordProducer};
use evenkeel::ports::{Clock, PortError, SystemClock};
use evenkeel_schemas::{AuditEvent, AuditEventType, Detail, Partition, Topic};
use std::time::Duration;

/// Most findings of one look that are said one by one.
pub const FINDINGS_BOUND: usize = 100;

/// Who finds.
const ACTOR: &str = "evenkeel-mirror";

/// How long a finding may take to be safe on the broker.
const SAID_WITHIN: Duration = Duration::from_secs(30);

/// Says findings.
pub struct Reporter {
    producer: RecordProducer,
    table: String,
}

impl Reporter {
    /// To the brokers of `connection`, about `table`.
    ///
    /// # Errors
    /// `Fatal` if a property of the connection is wrong.
    pub fn new(connection: Connection, table: &str) -> Result<Self, PortError> {
        Ok(Self { producer: RecordProducer::new(connection)?, table: table.to_owned() })
    }

    /// Says what is wrong with rows; returns once it is safe.
    ///
    /// # Errors
    /// `Retry` if the broker cannot be reached now.
    pub fn say(&mut self, wrong: &[Wrong]) -> Result<(), PortError> {
        for wrong in wrong.iter().take(FINDINGS_BOUND) {
            let entity = format!("{}/{}/{}", self.table, wrong.partition, wrong.seq);
            tracing::warn!(entity, op = wrong.op, "{}", wrong.what);
            self.send(wrong.op, entity, wrong.what)?;
        }
        if wrong.len() > FINDINGS_BOUND {
            let more = format!("and {} more rows", wrong.len() - FINDINGS_BOUND);
            self.send("tamper", format!("{}/*", self.table), &more)?;
        }
        if wrong.is_empty() { Ok(()) } else { self.producer.flush(SAID_WITHIN) }
    }

    fn send(&mut self, op: &str, entity: String, what: &str) -> Result<(), PortError> {
        let event_time_us = SystemClock.now_us();
        let (op, actor, detail) = (op.to_owned(), ACTOR.to_owned(), Detail::text(what));
        let event = AuditEvent { event_time_us, event_type: AuditEventType::Finding, op, actor, entity, detail };
        let payload = serde_json::to_vec(&event).expect("an event of ours is JSON");
        self.producer.send(Partition { topic: Topic::AuditEvents, partition: 0 }, event_time_us, b"", &payload)
    }
}
