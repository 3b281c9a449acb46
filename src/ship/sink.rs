//! Where lines go: [`Sink`], and [`KafkaSink`], an idempotent producer whose queue is the buffer.

use crate::kafka::client::Reporter;
use crate::kafka::connection::Connection;
use crate::ports::PortError;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, Producer as _, ThreadedProducer};
use std::sync::Arc;
use std::time::Duration;

/// Lines that wait for the broker at most; after that, lines are dropped and counted.
pub const BUFFER_LINES: usize = 500_000;
/// Bytes that wait for the broker at most.
pub const BUFFER_BYTES: usize = 64 << 20;
/// How long a line may wait for company, ms: nothing at low rates, a batch at high ones.
const LINGER_MS: &str = "1";

/// What became of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// It is delivered, or will be, or will count as lost.
    Taken,
    /// There is no room now.
    Full,
    /// It can never be delivered.
    Refused,
}

/// What became of the lines that were taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Lines that are safe where they went.
    pub delivered: u64,
    /// Lines that were taken and are given up.
    pub lost: u64,
}

/// Where lines go.
pub trait Sink: Send {
    /// Takes a line, without waiting for anything.
    fn send(&mut self, line: &[u8]) -> Delivery;

    /// What became of the lines so far.
    fn progress(&mut self) -> Progress;

    /// Waits at most `within` until every line that was taken is delivered.
    fn flush(&mut self, within: Duration);
}

/// Lines as records of one topic.
pub struct KafkaSink {
    connection: Connection,
    topic: String,
    producer: ThreadedProducer<Reporter>,
    /// What earlier producers came to.
    before: Progress,
}

impl KafkaSink {
    /// Lines go to `topic` (without the connection's prefix). Brokers need not be there yet.
    ///
    /// # Errors
    /// `Fatal` if a property of the connection is wrong.
    pub fn new(connection: Connection, topic: &str) -> Result<Self, PortError> {
        let topic = connection.topic(topic);
        let producer = producer(&connection)?;
        Ok(Self { connection, topic, producer, before: Progress::default() })
    }

    /// A producer that lost track of what the broker has (it says so in a fatal error) is past use: a new one goes on.
    fn replace(&mut self) -> bool {
        tracing::warn!(target: "kafka", error = ?self.producer.client().fatal_error(), "a new producer goes on");
        let Ok(new) = producer(&self.connection) else { return false };
        let old = std::mem::replace(&mut self.producer, new);
        let reporter = Arc::clone(old.client().context());
        // Gives up what is in flight, and counts it.
        drop(old);
        self.before = sum(self.before, &reporter);
        true
    }
}

impl Sink for KafkaSink {
    fn send(&mut self, line: &[u8]) -> Delivery {
        match self.producer.send(BaseRecord::<(), [u8]>::to(&self.topic).payload(line)) {
            Ok(()) => Delivery::Taken,
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => Delivery::Full,
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::Fatal), _)) => {
                if self.replace() {
                    Delivery::Full
                } else {
                    Delivery::Refused
                }
            }
            Err((error, _)) => {
                tracing::warn!(target: "kafka", %error, topic = self.topic, "a line was refused");
                Delivery::Refused
            }
        }
    }

    fn progress(&mut self) -> Progress {
        sum(self.before, self.producer.client().context())
    }

    fn flush(&mut self, within: Duration) {
        if let Err(error) = self.producer.flush(within) {
            tracing::warn!(target: "kafka", %error, "not every line was delivered in time");
        }
    }
}

fn producer(connection: &Connection) -> Result<ThreadedProducer<Reporter>, PortError> {
    let defaults = [
        ("linger.ms", LINGER_MS),
        ("compression.type", "lz4"),
        ("message.max.bytes", "1048576"),
        ("queue.buffering.max.messages", &*BUFFER_LINES.to_string()),
        ("queue.buffering.max.kbytes", &*(BUFFER_BYTES / 1024).to_string()),
    ];
    // A line waits as long as it takes: the buffer is the only bound.
    let required = [("enable.idempotence", "true"), ("message.timeout.ms", "0")];
    connection.client(&defaults, &required)
}

fn sum(before: Progress, reporter: &Reporter) -> Progress {
    let (delivered, lost) = reporter.deliveries();
    Progress { delivered: before.delivered + delivered, lost: before.lost + lost }
}
