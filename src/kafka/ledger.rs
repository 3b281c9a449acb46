//! Epochs in transactions: all outputs and the bindings of the epochs of one commit become visible together.
//!
//! Terms. A *session* is one producer between its `init_transactions`, which fences every producer before it with the
//! same transactional id, and its first error.
//!
//! Invariant: [`COMMIT_WITHIN`] < [`TRANSACTION_TIMEOUT`]. A commit is given up before the broker gives it up, so that
//! "fenced" always means that somebody else took over, never that we were slow.
//!
//! # Decision
//! The cut is also said as offsets of a consumer group, for lag tools, but outside of the transaction: inside, each
//! commit would wait for two more answers, and a missing right on a group could keep epochs from being committed.

use super::client::{Consumer, Producer};
use super::connection::{CLIENT_EVENTS, FetchAhead};
use super::producer::attend;
use super::topics::{AUDIT_PARTITIONS, BINDINGS, create_missing, outputs};
use super::{Connection, hanging, recovery};
use crate::ports::{Committed, Ledger, PortError};
use evenkeel_dataflows::{Changes, Output};
use evenkeel_schemas::{Cut, Dataset};
use rdkafka::consumer::{CommitMode, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _};
use rdkafka::{Offset, TopicPartitionList};
use std::time::{Duration, Instant};

/// How long a commit is tried before the caller has to recover.
const COMMIT_WITHIN: Duration = Duration::from_secs(30);
/// How long a broker lets a transaction be open.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(60);
/// How long taking over may last: the broker first has to end what the one before left open.
const TAKE_OVER_WITHIN: Duration = Duration::from_secs(60);
/// How long an abort is tried; the next session's start aborts, too.
const ABORT_WITHIN: Duration = Duration::from_secs(2);
/// How often the cut is said as offsets of a consumer group.
const OFFSETS_EVERY: Duration = Duration::from_secs(1);

/// The ledger of one transactional id, on Kafka.
pub struct KafkaLedger {
    connection: Connection,
    transactional_id: String,
    /// Names on the brokers, by the dataset's number.
    topics: [String; Dataset::ALL.len()],
    bindings: String,
    session: Option<Session>,
}

struct Session {
    producer: Producer,
    group: Consumer,
    /// When the group's offsets were last said.
    said: Option<Instant>,
}

impl KafkaLedger {
    /// The ledger that processes with this transactional id write, one at a time. It is also the group id under which
    /// lag tools find the offsets.
    pub fn new(connection: Connection, transactional_id: impl Into<String>) -> Self {
        let topics = Dataset::ALL.map(|dataset| connection.topic(dataset.topic()));
        let bindings = connection.topic(BINDINGS);
        Self { connection, transactional_id: transactional_id.into(), topics, bindings, session: None }
    }

    fn start_session(&self) -> Result<Session, PortError> {
        let id = &self.transactional_id;
        let producer = self.connection.transactional_producer(id, TRANSACTION_TIMEOUT, COMMIT_WITHIN)?;
        producer.init_transactions(TAKE_OVER_WITHIN).map_err(|error| self.failure(&producer, "taking over", &error))?;
        // Crash here: the one before is fenced, and what it left open is aborted. Nothing else changed.
        let topics = self.topics.iter().chain([&self.bindings]);
        hanging::end(&self.connection, &producer, &topics.map(String::as_str).collect::<Vec<_>>())?;
        let group = self.connection.consumer(id, FetchAhead::Little)?;
        Ok(Session { producer, group, said: None })
    }

    /// Steps of a commit, in order.
    fn transact(&self, producer: &Producer, epochs: &[Changes]) -> Result<(), PortError> {
        let failed = |doing, error| self.failure(producer, doing, &error);
        let deadline = Instant::now() + COMMIT_WITHIN;

        producer.begin_transaction().map_err(|error| failed("beginning a transaction", error))?;
        // Crash here: nothing is on the broker yet.
        for changes in epochs {
            self.produce(producer, changes, deadline)?;
        }
        drain(producer, deadline).map_err(|error| failed("delivering outputs", error))?;
        // Crash here: the records lie on the broker without a commit. Readers of committed records do not see them, and
        // whoever takes over aborts them.
        commit(producer, deadline).map_err(|error| failed("committing", error))
        // Crash inside: the coordinator either holds the commit, and finishes it before anybody takes over, or it does
        // not, and the transaction is aborted. Recovery reads which, and ends what the coordinator forgot. Crash after:
        // all of it is visible.
    }

    fn produce(&self, producer: &Producer, changes: &Changes, deadline: Instant) -> Result<(), PortError> {
        let binding = &changes.binding;
        let (epoch, now_us) = (binding.epoch.0.to_string(), binding.now_us.to_string());
        let headers = OwnedHeaders::new_with_capacity(2)
            .insert(Header { key: "epoch", value: Some(&epoch) })
            .insert(Header { key: "now_us", value: Some(&now_us) });
        let record = |topic| BaseRecord::to(topic).timestamp(binding.now_us / 1000).headers(headers.clone());
        for output in &changes.outputs {
            let mut record = record(&self.topics[output.dataset as usize]).key(output.key.as_slice());
            record.payload = payload(output);
            // Elsewhere the key decides, the way the Java clients let it.
            record.partition = (output.dataset == Dataset::Audit).then(|| output.partition.cast_signed());
            self.send(producer, record, deadline)?;
        }
        let json = serde_json::to_vec(binding).expect("a binding is numbers, names and lists");
        let record = record(&self.bindings).partition(0).key(epoch.as_bytes()).payload(json.as_slice());
        self.send(producer, record, deadline)
    }

    /// Puts a record into the producer's queue; when that is full, waits for room.
    fn send(
        &self,
        producer: &Producer,
        mut record: BaseRecord<'_, [u8], [u8]>,
        deadline: Instant,
    ) -> Result<(), PortError> {
        loop {
            match producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back))
                    if Instant::now() < deadline =>
                {
                    attend(producer);
                    record = back;
                }
                Err((error, record)) => {
                    let doing =
                        format!("producing {} bytes to {}", record.payload.map_or(0, <[u8]>::len), record.topic);
                    return Err(self.failure(producer, &doing, &error));
                }
            }
        }
    }

    /// Says what was read as the group's offsets, once in a while. A crash before or inside leaves older ones, which
    /// mislead nobody but a lag tool, and for a second.
    fn say_offsets(&self, session: &mut Session, upper: &Cut) {
        let Session { group, said, .. } = session;
        // Serves the client's answers and log lines; nothing is assigned to it.
        let _answers = (0..CLIENT_EVENTS).map_while(|_| group.poll(Duration::ZERO)).count();
        if said.is_some_and(|at| at.elapsed() < OFFSETS_EVERY) {
            return;
        }
        let mut list = TopicPartitionList::new();
        for (partition, offset) in &upper.0 {
            let topic = self.connection.topic(partition.topic.name());
            let offset = Offset::Offset(offset.cast_signed());
            let number = partition.partition.cast_signed();
            list.add_partition_offset(&topic, number, offset).expect("a plain offset is representable");
        }
        if list.count() > 0
            && let Err(error) = group.commit(&list, CommitMode::Async)
        {
            tracing::debug!(target: "kafka", %error, "the group's offsets were not said");
        }
        *said = Some(Instant::now());
    }

    /// What `error` asks of the caller. A producer that is past use says so in every call, and why in its fatal error.
    fn failure(&self, producer: &Producer, doing: &str, error: &KafkaError) -> PortError {
        let by_fence = |code: &RDKafkaErrorCode| {
            use RDKafkaErrorCode as Code;
            matches!(code, Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch)
        };
        producer.poll(Duration::ZERO);
        if producer.client().fatal_error().is_some_and(|(code, _)| by_fence(&code)) {
            return PortError::Fenced;
        }
        self.connection.failure(doing, error, Some(producer.client().context()))
    }
}

impl Ledger for KafkaLedger {
    fn recover(&mut self) -> Result<Committed, PortError> {
        self.session = None;
        create_missing(&self.connection, &outputs(AUDIT_PARTITIONS))?;
        // Crash here: empty topics.
        let session = self.start_session()?;
        let committed = recovery::committed(&self.connection)?;
        self.session = Some(session);
        Ok(committed)
    }

    fn commit(&mut self, epochs: &[Changes]) -> Result<(), PortError> {
        let Some(last) = epochs.last() else { return Ok(()) };
        let Some(mut session) = self.session.take() else {
            return Err(PortError::Retry("commit without a session: recover first".to_owned()));
        };
        let done = self.transact(&session.producer, epochs);
        match &done {
            Ok(()) => {
                self.say_offsets(&mut session, &last.binding.upper);
                self.session = Some(session);
            }
            // So that readers need not wait for the next session's start; if it fails, that one aborts.
            Err(PortError::Retry(_) | PortError::Fatal(_)) => drop(session.producer.abort_transaction(ABORT_WITHIN)),
            Err(PortError::Fenced) => {}
        }
        done
    }
}

/// An empty state means that its key is gone: a tombstone, so that compaction forgets the key, too.
fn payload(output: &Output) -> Option<&[u8]> {
    let gone = output.dataset == Dataset::State && output.value.is_empty();
    (!gone).then_some(output.value.as_slice())
}

/// Waits until every record was delivered: the client's own flush sleeps 100 ms while anything is in flight.
pub(super) fn drain(producer: &Producer, deadline: Instant) -> KafkaResult<()> {
    while producer.in_flight_count() > 0 {
        if Instant::now() >= deadline {
            return Err(KafkaError::Flush(RDKafkaErrorCode::OperationTimedOut));
        }
        attend(producer);
    }
    Ok(())
}

/// Commits; what may be tried again is tried again until the deadline.
fn commit(producer: &Producer, deadline: Instant) -> KafkaResult<()> {
    loop {
        match producer.commit_transaction(remaining(deadline)) {
            Err(KafkaError::Transaction(error)) if error.is_retriable() && Instant::now() < deadline => {
                tracing::debug!(target: "kafka", %error, "commit is tried again");
                attend(producer);
            }
            done => return done,
        }
    }
}

/// Time left, and at least a moment: zero would be a call without a chance.
fn remaining(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))
}
