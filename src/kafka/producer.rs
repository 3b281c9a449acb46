//! A plain idempotent producer of whole records: partition, time, key and payload are the caller's.

use super::client::Producer;
use super::connection::Connection;
use crate::ports::PortError;
use evenkeel_schemas::Partition;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, Producer as _};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long the client is left alone between two looks at what it delivered.
const TICK: Duration = Duration::from_micros(200);

/// Writes records; order within a partition is kept, nothing is doubled by retries.
pub struct RecordProducer {
    connection: Connection,
    producer: Producer,
    topics: BTreeMap<Partition, String>,
}

impl RecordProducer {
    /// A producer; brokers need not be there yet.
    ///
    /// # Errors
    /// `Fatal` if a property of the connection is wrong.
    pub fn new(connection: Connection) -> Result<Self, PortError> {
        let defaults = [
            ("linger.ms", "5"),
            ("compression.type", "lz4"),
            ("batch.size", "1000000"),
            ("queue.buffering.max.messages", "1000000"),
        ];
        let producer = connection.client(&defaults, &[("enable.idempotence", "true"), ("message.timeout.ms", "0")])?;
        Ok(Self { connection, producer, topics: BTreeMap::new() })
    }

    /// Takes a record; waits while the buffer is full.
    ///
    /// # Errors
    /// `Fatal` if the broker can never take it.
    pub fn send(&mut self, to: Partition, timestamp_us: i64, key: &[u8], payload: &[u8]) -> Result<(), PortError> {
        let topic = self.topics.entry(to).or_insert_with(|| self.connection.topic(to.topic.name()));
        let mut record = BaseRecord::<[u8], [u8]>::to(topic).partition(to.partition as i32);
        record = record.timestamp(timestamp_us / 1000).key(key);
        if !payload.is_empty() {
            record = record.payload(payload);
        }
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    attend(&self.producer);
                    record = back;
                }
                Err((error, _)) => return Err(PortError::Fatal(format!("producing to {topic}: {error}"))),
            }
        }
    }

    /// Lets the client do its work.
    ///
    /// # Errors
    /// Never so far.
    pub fn poll(&mut self) -> Result<(), PortError> {
        while take_delivered(&self.producer) {}
        Ok(())
    }

    /// Waits until everything is delivered.
    ///
    /// # Errors
    /// `Retry` if that took longer than `within`.
    pub fn flush(&mut self, within: Duration) -> Result<(), PortError> {
        self.producer.flush(within).map_err(|error| PortError::Retry(format!("delivering the last records: {error}")))
    }
}

/// Takes some of what was delivered; returns whether there was any.
fn take_delivered(producer: &Producer) -> bool {
    let before = producer.in_flight_count();
    producer.poll(Duration::ZERO);
    producer.in_flight_count() < before
}

/// Takes what was delivered or, if nothing was, sleeps a moment: given time to wait, the client's poll waits whole
/// milliseconds and spins through what is left of them.
pub(super) fn attend(producer: &Producer) {
    if !take_delivered(producer) {
        std::thread::sleep(TICK);
    }
}
