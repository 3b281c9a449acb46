//! Hanging transactions: records whose transaction has ended, without the marker that says how.
//!
//! Terms. The *stable end* of a partition is the offset before which every transaction has ended; records from there on
//! *hang* if no transaction is open any more. Nobody sees them — until the next transaction of the same producer ends,
//! whose marker then ends them, too.
//!
//! A coordinator leaves out the marker of a partition that has no leader, for it takes the partition for deleted. A
//! broker that comes back alone after a crash sees all of its partitions so for a moment; with replicas in sync on other
//! brokers it does not happen.
//!
//! # Decision
//! What hangs is ended before anything else is written, by a transaction that writes something there and aborts. That is
//! right as long as nothing of it is visible anywhere: an epoch nobody sees never was, and is computed again. If some of
//! it is visible, neither way gives whole epochs, and a person has to choose.

use super::Connection;
use super::client::Producer;
use super::connection::FetchAhead;
use super::ledger::drain;
use super::queue::Message;
use super::reader::{GROUP, Reader, extents, extents_for};
use crate::ports::PortError;
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseRecord, Producer as _};
use std::time::{Duration, Instant};

/// A marker that was just written may take a moment to show.
const SETTLES_WITHIN: Duration = Duration::from_secs(1);
/// How long ending what hangs may take.
const ENDS_WITHIN: Duration = Duration::from_secs(30);
/// Offsets before the end among which the last visible record is looked for at first; doubled until there is one.
const LOOK_BACK: u64 = 64;
/// Records read in one turn.
const TURN: usize = 10_000;

/// A partition in which records hang.
struct Hanging<'a> {
    topic: &'a str,
    partition: i32,
    /// The stable end.
    from: u64,
}

impl std::fmt::Display for Hanging<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} partition {} from offset {} on", self.topic, self.partition, self.from)
    }
}

/// Ends what hangs in `topics` (their names on the brokers). `producer` has just taken over, and nobody else writes.
pub(super) fn end(connection: &Connection, producer: &Producer, topics: &[&str]) -> Result<(), PortError> {
    let hanging = find(connection, topics)?;
    let Some(first) = hanging.first() else { return Ok(()) };
    if let Some((topic, epoch)) = torn(connection, topics, &hanging)? {
        return Err(PortError::Fatal(format!(
            "the brokers ended a transaction in {topic}, where epoch {epoch} is visible, and not in {first}. Abort it \
             there with kafka-transactions.sh, which loses those records, or start with another topic prefix"
        )));
    }
    tracing::warn!(target: "kafka", partitions = hanging.len(), "a transaction hangs in {first}; aborting it");
    abort(connection, producer, &hanging)?;
    // Crash here: nothing hangs any more, and nothing else changed.
    match find(connection, topics)?.first() {
        None => Ok(()),
        Some(open) => Err(PortError::Retry(format!("a transaction of another producer is open in {open}"))),
    }
}

/// Partitions whose stable end stays before their end.
fn find<'a>(connection: &Connection, topics: &[&'a str]) -> Result<Vec<Hanging<'a>>, PortError> {
    let all = connection.uncommitted_consumer(GROUP)?;
    let committed = connection.consumer(GROUP, FetchAhead::Little)?;
    let started = Instant::now();
    loop {
        let mut hanging = Vec::new();
        for topic in topics {
            // In this order: what ends in between does not look as if it hung.
            let ends = extents_for(connection, &all, topic)?;
            let stable = extents_for(connection, &committed, topic)?;
            let pairs = ends.iter().zip(&stable).filter(|(end, stable)| stable.end < end.end);
            hanging.extend(pairs.map(|(_, it)| Hanging { topic, partition: it.partition, from: it.end }));
        }
        if hanging.is_empty() || started.elapsed() > SETTLES_WITHIN {
            return Ok(hanging);
        }
        std::thread::sleep(SETTLES_WITHIN / 4);
    }
}

/// A topic in which something of the transaction that hangs is visible, and its last epoch there.
fn torn<'a>(
    connection: &Connection,
    topics: &[&'a str],
    hanging: &[Hanging<'_>],
) -> Result<Option<(&'a str, u64)>, PortError> {
    let mut least = u64::MAX;
    for Hanging { topic, partition, from } in hanging {
        let consumer = connection.uncommitted_consumer(GROUP)?;
        let (mut reader, _) = Reader::open_for(connection, consumer, topic, *partition, *from)?;
        reader.read(1, |message| least = least.min(epoch(message).unwrap_or(0)))?;
    }
    for topic in topics {
        if let Some(epoch) = last_visible(connection, topic)?.filter(|epoch| *epoch >= least) {
            return Ok(Some((topic, epoch)));
        }
    }
    Ok(None)
}

/// The epoch of the last visible record of a topic.
fn last_visible(connection: &Connection, topic: &str) -> Result<Option<u64>, PortError> {
    let mut newest = None;
    for extent in extents(connection, topic)? {
        let (mut look_back, mut last) = (LOOK_BACK, None);
        // Markers and aborted records may fill the whole look-back.
        while last.is_none() && look_back / 2 < extent.end - extent.low {
            let from = extent.end.saturating_sub(look_back).max(extent.low);
            let (mut reader, _) = Reader::open(connection, topic, extent.partition, from)?;
            while reader.read(TURN, |message| last = epoch(message))? > 0 {}
            look_back *= 2;
        }
        newest = newest.max(last);
    }
    Ok(newest)
}

fn epoch(message: Message<'_>) -> Option<u64> {
    std::str::from_utf8(message.header(c"epoch")?).ok()?.parse().ok()
}

/// Writes something where records hang, and aborts it: its marker ends them, too.
fn abort(connection: &Connection, producer: &Producer, hanging: &[Hanging<'_>]) -> Result<(), PortError> {
    let deadline = Instant::now() + ENDS_WITHIN;
    let failed =
        |error: KafkaError| connection.failure("aborting what hangs", &error, Some(producer.client().context()));
    producer.begin_transaction().map_err(failed)?;
    for Hanging { topic, partition, .. } in hanging {
        let record = BaseRecord::<[u8], [u8]>::to(topic).partition(*partition).key(b"").payload(b"");
        producer.send(record).map_err(|(error, _)| failed(error))?;
    }
    drain(producer, deadline).map_err(failed)?;
    producer.abort_transaction(ENDS_WITHIN).map_err(failed)
}
