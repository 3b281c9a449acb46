//! Records of the input topics.
//!
//! Terms, per partition. *Next*: the offset from which on nothing was read. *End*: where the partition ended when its
//! broker last answered. A partition *lags* if its next is below its end.
//!
//! Markers of transactions, aborted records and compaction take up offsets that no record fills, so records alone never
//! bring next up to the end. Two other witnesses do: the client's position, which counts markers, and the end that the
//! broker reports once a fetch finds nothing. The latter also settles a transaction that is still open: what is not
//! committed is not there yet.

use super::Connection;
use super::connection::{ANSWER_WITHIN, FetchAhead, by_code};
use super::queue::{Bell, Event, Queue};
use crate::ports::{Polled, PortError, Share, Source, Spare, Waker};
use evenkeel_dataflows::Batch;
use evenkeel_schemas::{Cut, Partition, Topic};
use rdkafka::Offset;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often new partitions and topics are looked for.
const REFRESH_EVERY: Duration = Duration::from_secs(30);
/// The consumer group's name; nothing is committed for it, but some brokers want a right for it.
const GROUP: &str = "evenkeel-source";

/// Records of the input topics, from Kafka. Brokers that are away are waited for: until they are back polls bring
/// nothing, and nothing is lost.
pub struct KafkaSource {
    connection: Connection,
    topics: Vec<Topic>,
    share: Share,
    bell: Arc<Bell>,
    open: Option<Open>,
    spare: Spare,
}

struct Open {
    queue: Queue,
    share: Share,
    positions: Vec<Position>,
    refreshed: Instant,
}

/// Where reading stands in one partition.
struct Position {
    partition: Partition,
    next: u64,
    end: u64,
    /// The broker said that nothing is left, and nothing came since.
    ended: bool,
}

impl KafkaSource {
    /// A source of all partitions of those `topics` that exist, and of those that come to be.
    pub fn new(connection: Connection, topics: &[Topic]) -> Self {
        let (topics, share) = (topics.to_vec(), Share::WHOLE);
        Self { connection, topics, share, bell: Arc::default(), open: None, spare: Spare::default() }
    }

    /// The same of the partitions of one process of several.
    pub fn with_share(self, share: Share) -> Self {
        Self { share, ..self }
    }
}

impl KafkaSource {
    /// Takes at most `limit` records and lets them go, waiting at most `wait` for the first; returns how many there were.
    /// So much the client alone can do: benchmarks compare with it.
    ///
    /// # Errors
    /// As [`Source::poll`].
    pub fn skip(&mut self, limit: usize, wait: Duration) -> Result<usize, PortError> {
        let Some(open) = self.open.as_mut() else { return self.seek(&Cut::default()).map(|()| 0) };
        let mut records = 0;
        let taken = open.queue.take(limit, wait, |event| records += usize::from(matches!(event, Event::Record(..))));
        taken.map_err(|e| self.connection.consumer_failure("reading", &e, open.queue.consumer()))?;
        Ok(records)
    }
}

impl Source for KafkaSource {
    fn seek(&mut self, from: &Cut) -> Result<(), PortError> {
        // A new client: nothing that was fetched for the old place can come out of it.
        self.open = None;
        let queue = Queue::new(self.connection.consumer(GROUP, FetchAhead::Much)?, &self.bell);
        let mut open = Open { queue, share: self.share, positions: Vec::new(), refreshed: Instant::now() };
        let partitions = open.partitions(&self.connection, &self.topics)?;
        let lost = from.0.keys().find(|p| self.topics.contains(&p.topic) && !partitions.contains(p));
        if let Some(Partition { topic, partition }) = lost {
            let name = self.connection.topic(topic.name());
            return Err(PortError::Fatal(format!(
                "{name} has no partition {partition} any more, from which records were read; to go on without them \
                 start with another topic prefix"
            )));
        }
        open.add(&self.connection, &partitions, from)?;
        self.open = Some(open);
        Ok(())
    }

    fn poll(&mut self, limit: usize, wait: Duration) -> Result<Polled, PortError> {
        if self.open.is_none() {
            self.seek(&Cut::default())?;
        }
        let open = self.open.as_mut().expect("just opened");
        if open.refreshed.elapsed() >= REFRESH_EVERY {
            open.refresh(&self.connection, &self.topics);
        }
        let (batches, drained) = open.take(&self.connection, &mut self.spare, limit, wait)?;
        Ok(Polled { batches, lagging: open.lagging(drained) })
    }

    fn reuse(&mut self, spent: Batch) {
        self.spare.keep(spent);
    }

    fn waker(&self) -> Option<Waker> {
        let bell = Arc::clone(&self.bell);
        Some(Arc::new(move || bell.ring()))
    }
}

impl Open {
    /// The partitions of the topics that exist and are to be read here.
    fn partitions(&self, connection: &Connection, topics: &[Topic]) -> Result<Vec<Partition>, PortError> {
        let consumer = self.queue.consumer();
        let mut partitions = Vec::new();
        for &topic in topics {
            let name = connection.topic(topic.name());
            let metadata = consumer
                .fetch_metadata(Some(&name), ANSWER_WITHIN)
                .map_err(|e| connection.consumer_failure(&format!("asking for {name}"), &e, consumer))?;
            let topics = metadata.topics().first();
            partitions.extend(
                topics
                    .iter()
                    .flat_map(|t| t.partitions())
                    .filter_map(|p| Some(Partition { topic, partition: u32::try_from(p.id()).ok()? })),
            );
        }
        partitions.retain(|partition| self.share.holds(*partition));
        partitions.sort_unstable();
        Ok(partitions)
    }

    /// Starts to read `partitions` at the offsets of `from`, or at their beginning.
    fn add(&mut self, connection: &Connection, partitions: &[Partition], from: &Cut) -> Result<(), PortError> {
        let mut assignment = Vec::new();
        for &partition in partitions {
            let (position, offset) = self.start(connection, partition, from.0.get(&partition).copied())?;
            assignment.push((connection.topic(partition.topic.name()), number(partition), offset));
            self.positions.push(position);
        }
        let assigned = self.queue.assign(&assignment);
        assigned.map_err(|e| connection.consumer_failure("assigning partitions", &e, self.queue.consumer()))
    }

    /// Where to begin in `partition`, and where it ends now.
    fn start(
        &self,
        connection: &Connection,
        partition: Partition,
        next: Option<u64>,
    ) -> Result<(Position, Offset), PortError> {
        let name = connection.topic(partition.topic.name());
        let consumer = self.queue.consumer();
        let (low, end) = consumer
            .fetch_watermarks(&name, number(partition), ANSWER_WITHIN)
            .map_err(|e| connection.consumer_failure(&format!("asking for the offsets of {name}"), &e, consumer))?;
        let (low, end) = (low.unsigned_abs(), end.unsigned_abs());
        if let Some(next) = next.filter(|next| *next < low || *next > end) {
            return Err(gone(&name, partition.partition, &format!("{next}, but it holds {low} to {end}")));
        }
        let offset = next.map_or(Offset::Beginning, |next| Offset::Offset(next.cast_signed()));
        Ok((Position { partition, next: next.unwrap_or(low), end, ended: false }, offset))
    }

    /// Looks for new partitions; they start at their beginning. A broker that does not answer is asked again later.
    fn refresh(&mut self, connection: &Connection, topics: &[Topic]) {
        self.refreshed = Instant::now();
        let added = self.partitions(connection, topics).and_then(|mut partitions| {
            partitions.retain(|p| self.positions.iter().all(|position| position.partition != *p));
            if partitions.is_empty() { Ok(()) } else { self.add(connection, &partitions, &Cut::default()) }
        });
        if let Err(error) = added {
            tracing::warn!(target: "kafka", %error, "could not look for new partitions; next try in 30 s");
        }
    }

    /// At most `limit` events, as one batch a partition, and whether none were left.
    fn take(
        &mut self,
        connection: &Connection,
        spare: &mut Spare,
        limit: usize,
        wait: Duration,
    ) -> Result<(Vec<Batch>, bool), PortError> {
        let mut batches = self.positions.iter().map(|_| None::<Batch>).collect::<Vec<_>>();
        let mut failed = None;
        let positions = &mut self.positions;
        let drained = self.queue.take(limit, wait, |event| match event {
            Event::Record(number, message) => {
                let position = &mut positions[number];
                position.next = message.offset() + 1;
                position.ended = false;
                batches[number].get_or_insert_with(|| spare.take(position.partition)).push(
                    message.offset(),
                    message.timestamp_us(),
                    message.key(),
                    message.payload(),
                );
            }
            Event::End(number, end) => {
                let position = &mut positions[number];
                position.next = position.next.max(end);
                position.ended = true;
            }
            Event::Failed(number, code, why) => failed = Some((positions[number].partition, code, why)),
        });
        let drained = drained.map_err(|e| connection.consumer_failure("reading", &e, self.queue.consumer()))?;
        match failed {
            Some((partition, code, why)) => Err(partition_failure(connection, partition, code, &why)),
            None => Ok((batches.into_iter().flatten().collect(), drained)),
        }
    }

    /// Partitions whose next is below their end; `drained` says that nothing fetched is left to take.
    fn lagging(&mut self, drained: bool) -> Vec<Partition> {
        let mut asked = false;
        let mut lagging = Vec::new();
        for number in 0..self.positions.len() {
            let end = self.queue.cached_end(number);
            let position = &mut self.positions[number];
            position.end = end.map_or(position.end, |end| end.max(position.end));
            if position.next >= position.end || (position.ended && drained) {
                continue;
            }
            // Perhaps only markers are left: the client's positions tell. They hold for what was taken.
            if drained && !asked {
                asked = true;
                self.catch_up();
            }
            let position = &self.positions[number];
            if position.next < position.end {
                lagging.push(position.partition);
            }
        }
        lagging
    }

    /// Moves every next up to the client's position.
    fn catch_up(&mut self) {
        for (position, at) in self.positions.iter_mut().zip(self.queue.positions()) {
            position.next = position.next.max(at.unwrap_or(0));
        }
    }
}

fn number(partition: Partition) -> i32 {
    i32::try_from(partition.partition).expect("a broker's partition numbers are i32")
}

fn gone(name: &str, partition: u32, what: &str) -> PortError {
    PortError::Fatal(format!(
        "reading {name} partition {partition} goes on at offset {what}: records expired unread, or the topic was made \
         anew. Raise its retention.ms; to go on without them start with another topic prefix"
    ))
}

fn partition_failure(connection: &Connection, partition: Partition, code: RDKafkaErrorCode, why: &str) -> PortError {
    let name = connection.topic(partition.topic.name());
    match code {
        RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange | RDKafkaErrorCode::LogTruncation => {
            gone(&name, partition.partition, &format!("that is not there ({why})"))
        }
        code => {
            let error = KafkaError::MessageConsumption(code);
            by_code(code, format!("reading {name} partition {}: {error} ({why})", partition.partition))
        }
    }
}
