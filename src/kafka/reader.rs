//! One partition of one output topic, from an offset to its end.

use super::Connection;
use super::client::Consumer;
use super::connection::{ANSWER_WITHIN, FetchAhead, by_code};
use super::queue::{Event, Message, Queue};
use crate::ports::PortError;
use rdkafka::Offset;
use rdkafka::consumer::Consumer as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long one wait for records lasts before the end is asked for again.
const SLICE: Duration = Duration::from_millis(100);
/// How long reading may stand still before the end.
const STALLED_AFTER: Duration = Duration::from_secs(30);
/// The consumer group's name; nothing is committed for it.
pub(super) const GROUP: &str = "evenkeel-reader";

/// Reads committed records of one partition in order.
pub(super) struct Reader {
    connection: Connection,
    queue: Queue,
    topic: String,
    partition: i32,
    /// Everything below was read.
    next: u64,
    /// The offset after the last record that was read; from here to `next` there is none.
    after_last: u64,
}

/// What a partition holds.
pub(super) struct Extent {
    pub(super) partition: i32,
    /// Lowest offset.
    pub(super) low: u64,
    /// End of the committed records.
    pub(super) end: u64,
}

/// What every partition of `topic` (its name on the brokers) holds, ascending; none if there is no such topic.
pub(super) fn extents(connection: &Connection, topic: &str) -> Result<Vec<Extent>, PortError> {
    extents_for(connection, &connection.consumer(GROUP, FetchAhead::Little)?, topic)
}

/// As [`extents`], as `consumer` sees it.
pub(super) fn extents_for(connection: &Connection, consumer: &Consumer, topic: &str) -> Result<Vec<Extent>, PortError> {
    let failure = |error| connection.consumer_failure(&format!("asking for {topic}"), &error, consumer);
    let metadata = consumer.fetch_metadata(Some(topic), ANSWER_WITHIN).map_err(failure)?;
    let mut partitions: Vec<i32> = metadata.topics().iter().flat_map(|t| t.partitions()).map(|p| p.id()).collect();
    partitions.sort_unstable();
    let bounds = |partition| consumer.fetch_watermarks(topic, partition, ANSWER_WITHIN).map_err(failure);
    let extent = |partition| {
        let (low, end) = bounds(partition)?;
        Ok(Extent { partition, low: low.unsigned_abs(), end: end.unsigned_abs() })
    };
    partitions.into_iter().map(extent).collect()
}

impl Reader {
    /// A reader of `topic` (its name on the brokers) from the first record at or after `from`; returns the lowest
    /// offset that is still there, too.
    pub(super) fn open(
        connection: &Connection,
        topic: &str,
        partition: i32,
        from: u64,
    ) -> Result<(Self, u64), PortError> {
        let consumer = connection.consumer(GROUP, FetchAhead::Little)?;
        Self::open_for(connection, consumer, topic, partition, from)
    }

    /// As [`Self::open`], of what `consumer` sees.
    pub(super) fn open_for(
        connection: &Connection,
        consumer: Consumer,
        topic: &str,
        partition: i32,
        from: u64,
    ) -> Result<(Self, u64), PortError> {
        let queue = Queue::new(consumer, &Arc::default());
        let connection = connection.clone();
        let mut reader = Self { connection, queue, topic: topic.to_owned(), partition, next: 0, after_last: 0 };
        let (low, end) = reader.bounds()?;
        reader.next = from.max(low).min(end);
        reader.after_last = from.min(reader.next);
        let assignment = [(reader.topic.clone(), partition, Offset::Offset(reader.next.cast_signed()))];
        reader.queue.assign(&assignment).map_err(|error| reader.failure("assigning", &error))?;
        Ok((reader, low))
    }

    /// Whether the next record at or after `offset` is the one that would be read next.
    pub(super) fn stands_at(&self, offset: u64) -> bool {
        (self.after_last..=self.next).contains(&offset)
    }

    /// The partition's lowest offset and its end (of committed records), as of now.
    fn bounds(&self) -> Result<(u64, u64), PortError> {
        let asked = self.queue.consumer().fetch_watermarks(&self.topic, self.partition, ANSWER_WITHIN);
        let (low, end) = asked.map_err(|error| self.failure("asking for the offsets", &error))?;
        Ok((low.unsigned_abs(), end.unsigned_abs()))
    }

    /// Hands at most `limit` records to `each`; returns how many there were. None means the end, as of this call.
    pub(super) fn read(&mut self, limit: usize, mut each: impl FnMut(Message<'_>)) -> Result<usize, PortError> {
        let mut wait = Duration::ZERO;
        let start = Instant::now();
        while start.elapsed() < STALLED_AFTER {
            let (records, moved) = self.take(limit, wait, &mut each)?;
            if records > 0 {
                return Ok(records);
            }
            // Nothing is here: perhaps because it has not come yet.
            if !moved && self.next >= self.bounds()?.1 {
                return Ok(0);
            }
            wait = SLICE;
        }
        let Self { topic, partition, next, .. } = self;
        Err(PortError::Retry(format!(
            "reading {topic} partition {partition}: nothing came from offset {next} for 30 s"
        )))
    }

    /// Hands at most `limit` records to `each`, waiting at most `wait` for the first: the broker's answer ends the wait.
    pub(super) fn await_some(
        &mut self,
        limit: usize,
        wait: Duration,
        mut each: impl FnMut(Message<'_>),
    ) -> Result<(), PortError> {
        self.take(limit, wait, &mut each).map(drop)
    }

    /// One turn: how many records, and whether it got on without one.
    fn take(
        &mut self,
        limit: usize,
        wait: Duration,
        each: &mut impl FnMut(Message<'_>),
    ) -> Result<(usize, bool), PortError> {
        let before = self.next;
        let (mut next, mut after_last, mut records, mut failed) = (before, self.after_last, 0, None);
        let taken = self.queue.take(limit, wait, |event| match event {
            Event::Record(_, message) => {
                next = message.offset() + 1;
                after_last = next;
                records += 1;
                each(message);
            }
            Event::End(_, end) => next = next.max(end),
            Event::Failed(_, code, why) => failed = Some((code, why)),
        });
        taken.map_err(|error| self.failure("reading", &error))?;
        if let Some((code, why)) = failed {
            let Self { topic, partition, .. } = self;
            return Err(by_code(code, format!("reading {topic} partition {partition}: {code} ({why})")));
        }
        // Markers move the client's position on; what was asked for and not handed out is not behind it.
        self.after_last = after_last;
        self.next = next.max(self.queue.positions()[0].unwrap_or(0));
        Ok((records, self.next > before))
    }

    fn failure(&self, doing: &str, error: &rdkafka::error::KafkaError) -> PortError {
        let doing = format!("{doing} {} partition {}", self.topic, self.partition);
        self.connection.consumer_failure(&doing, error, self.queue.consumer())
    }
}
