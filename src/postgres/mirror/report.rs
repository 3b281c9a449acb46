//! What was found, as audit events: they go through the log like everybody else's, and become an incident.

use crate::mirror::check::Wrong;
use evenkeel::kafka::Connection;
use evenkeel::ports::PortError;
use evenkeel_schemas::{AuditEventType, Detail};

/// Most findings of one look that are said one by one.
pub const FINDINGS_BOUND: usize = 100;

/// Who finds.
const ACTOR: &str = "evenkeel-mirror";

/// Says findings.
pub struct Reporter {
    reporter: evenkeel::report::Reporter,
    table: String,
}

impl Reporter {
    /// To the brokers of `connection`, about `table`.
    ///
    /// # Errors
    /// `Fatal` if a property of the connection is wrong.
    pub fn new(connection: Connection, table: &str) -> Result<Self, PortError> {
        Ok(Self { reporter: evenkeel::report::Reporter::to_kafka(connection, ACTOR)?, table: table.to_owned() })
    }

    /// Says what is wrong with rows; returns once it is safe.
    ///
    /// # Errors
    /// `Retry` if the broker cannot be reached now.
    pub fn say(&mut self, wrong: &[Wrong]) -> Result<(), PortError> {
        for wrong in wrong.iter().take(FINDINGS_BOUND) {
            let entity = format!("{}/{}/{}", self.table, wrong.partition, wrong.seq);
            tracing::warn!(entity, op = wrong.op, "{}", wrong.what);
            self.send(wrong.op, &entity, wrong.what)?;
        }
        if wrong.len() > FINDINGS_BOUND {
            let more = format!("and {} more rows", wrong.len() - FINDINGS_BOUND);
            self.send("tamper", &format!("{}/*", self.table), &more)?;
        }
        if wrong.is_empty() { Ok(()) } else { self.reporter.flush() }
    }

    fn send(&mut self, op: &str, entity: &str, what: &str) -> Result<(), PortError> {
        self.reporter.say(AuditEventType::Finding, op, entity, Detail::text(what))
    }
}
