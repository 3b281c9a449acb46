//! Committed outputs, read back in order.

use super::Connection;
use super::queue::Message;
use super::reader::{Reader, extents};
use crate::ports::{OutputLog, PortError, Row};
use evenkeel_schemas::Dataset;
use std::collections::BTreeMap;
use std::time::Duration;

/// Committed outputs, from Kafka. Reading on where the last read of a partition ended is cheap; any other place costs a
/// new reader.
pub struct KafkaOutputs {
    connection: Connection,
    open: BTreeMap<(Dataset, u32), Reader>,
}

impl KafkaOutputs {
    /// A log of the outputs on the brokers of `connection`.
    pub fn new(connection: Connection) -> Self {
        Self { connection, open: BTreeMap::new() }
    }

    /// A reader that stands at `offset`.
    fn reader(&mut self, dataset: Dataset, partition: u32, offset: u64) -> Result<&mut Reader, PortError> {
        if self.open.get(&(dataset, partition)).is_none_or(|reader| !reader.stands_at(offset)) {
            self.open.remove(&(dataset, partition));
            let reader = self.start(dataset, partition, offset)?;
            self.open.insert((dataset, partition), reader);
        }
        Ok(self.open.get_mut(&(dataset, partition)).expect("just opened"))
    }

    /// What `read` takes from the reader that stands at an offset.
    fn rows(
        &mut self,
        (dataset, partition, offset): (Dataset, u32, u64),
        read: impl FnOnce(&mut Reader, &mut Vec<Row>) -> Result<(), PortError>,
    ) -> Result<Vec<Row>, PortError> {
        let mut rows = Vec::new();
        let read = read(self.reader(dataset, partition, offset)?, &mut rows);
        if read.is_err() {
            // Where a reader stands after an error is unclear.
            self.open.remove(&(dataset, partition));
        }
        read.map(|()| rows)
    }

    fn start(&self, dataset: Dataset, partition: u32, offset: u64) -> Result<Reader, PortError> {
        let topic = self.connection.topic(dataset.topic());
        let number = i32::try_from(partition).expect("a broker's partition numbers are i32");
        let (reader, low) = Reader::open(&self.connection, &topic, number, offset)?;
        if offset > 0 && offset < low {
            return Err(PortError::Fatal(format!(
                "{topic} partition {partition} begins at offset {low}, but it was read only up to {offset}: outputs \
                 expired unread. Raise its retention.ms; to go on without them read from offset 0"
            )));
        }
        Ok(reader)
    }
}

impl OutputLog for KafkaOutputs {
    fn partitions(&mut self, dataset: Dataset) -> Result<Vec<u32>, PortError> {
        let topic = self.connection.topic(dataset.topic());
        let holding = extents(&self.connection, &topic)?.into_iter().filter(|extent| extent.low < extent.end);
        Ok(holding.map(|extent| extent.partition.unsigned_abs()).collect())
    }

    fn read(&mut self, dataset: Dataset, partition: u32, offset: u64, limit: usize) -> Result<Vec<Row>, PortError> {
        self.rows((dataset, partition, offset), |reader, rows| {
            reader.read(limit, |message| rows.push(row(message))).map(drop)
        })
    }

    fn read_on(
        &mut self,
        dataset: Dataset,
        partition: u32,
        offset: u64,
        limit: usize,
        wait: Duration,
    ) -> Result<Vec<Row>, PortError> {
        self.rows((dataset, partition, offset), |reader, rows| {
            reader.await_some(limit, wait, |message| rows.push(row(message)))
        })
    }
}

fn row(message: Message<'_>) -> Row {
    Row {
        offset: message.offset(),
        at_us: now_us(message).unwrap_or_else(|| message.timestamp_us()),
        key: message.key().to_vec(),
        value: message.payload().to_vec(),
    }
}

/// The epoch's `now_us` stands in a header: a record's timestamp holds whole milliseconds only.
fn now_us(message: Message<'_>) -> Option<i64> {
    std::str::from_utf8(message.header(c"now_us")?).ok()?.parse().ok()
}
