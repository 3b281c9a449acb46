//! Which topics there are, and how they are made when missing. A topic that exists is left as it is.

use super::Connection;
use super::client::Reporter;
use super::connection::{ANSWER_WITHIN, FetchAhead, MAX_RECORD_BYTES, by_code};
use crate::ports::PortError;
use evenkeel_schemas::{Dataset, Topic};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::consumer::Consumer as _;
use rdkafka::error::RDKafkaErrorCode;
use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

/// The topic of the bindings: one partition, so that they are in order.
pub const BINDINGS: &str = "evenkeel.bindings.v1";
/// Partitions of the audit log, if it has to be made.
pub const AUDIT_PARTITIONS: u32 = 4;
/// Partitions of an input topic, if it has to be made.
pub const INPUT_PARTITIONS: u32 = 2;
/// Bindings kept at least, bytes: they are kept by size and never by age, for the last one must outlive any pause.
const BINDINGS_BYTES: u64 = 1 << 30;
/// How long a topic may take to be known to the brokers.
const KNOWN_WITHIN: Duration = Duration::from_secs(20);

/// A topic to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSpec {
    /// Its name, without the connection's prefix.
    pub name: String,
    /// How many partitions.
    pub partitions: u32,
    /// Its settings.
    pub config: Vec<(&'static str, String)>,
}

/// The input topics.
pub fn inputs(partitions: u32) -> Vec<TopicSpec> {
    Topic::ALL
        .into_iter()
        .map(|topic| TopicSpec { name: topic.name().to_owned(), partitions, config: vec![] })
        .collect()
}

/// The topics of every dataset, and that of the bindings.
pub fn outputs(audit_partitions: u32) -> Vec<TopicSpec> {
    let bindings = TopicSpec {
        name: BINDINGS.to_owned(),
        partitions: 1,
        config: vec![
            ("cleanup.policy", "delete".to_owned()),
            ("retention.ms", "-1".to_owned()),
            ("retention.bytes", BINDINGS_BYTES.to_string()),
        ],
    };
    let datasets = Dataset::ALL.into_iter().map(|dataset| TopicSpec {
        name: dataset.topic().to_owned(),
        partitions: if dataset == Dataset::Audit { audit_partitions } else { 1 },
        config: settings(dataset),
    });
    datasets.chain([bindings]).collect()
}

fn settings(dataset: Dataset) -> Vec<(&'static str, String)> {
    let owned = |pairs: &[(&'static str, &str)]| pairs.iter().map(|(k, v)| (*k, (*v).to_owned())).collect();
    let mut settings: Vec<(&'static str, String)> = match dataset {
        // The newest of each key is all that is read; compacted early and often, so that a restart reads little.
        Dataset::State | Dataset::Baselines => owned(&[
            ("cleanup.policy", "compact"),
            ("segment.ms", "600000"),
            ("segment.bytes", "67108864"),
            ("min.cleanable.dirty.ratio", "0.1"),
            ("max.compaction.lag.ms", "3600000"),
        ]),
        // Only a compactor may decide that an audit entry is safe elsewhere.
        Dataset::Audit => owned(&[("cleanup.policy", "delete"), ("retention.ms", "-1")]),
        _ => vec![],
    };
    if dataset == Dataset::State {
        settings.push(("max.message.bytes", MAX_RECORD_BYTES.to_string()));
    }
    settings
}

/// Makes those of `topics` that do not exist, with the brokers' default replication. Returns the names made.
///
/// # Errors
/// `Retry` if the brokers cannot be reached now; `Fatal` if this principal may not make topics.
pub fn create_missing(connection: &Connection, topics: &[TopicSpec]) -> Result<Vec<String>, PortError> {
    let existing = names(connection)?;
    let missing: Vec<(String, &TopicSpec)> = topics
        .iter()
        .map(|topic| (connection.topic(&topic.name), topic))
        .filter(|(name, _)| !existing.contains(name))
        .collect();
    if missing.is_empty() {
        return Ok(vec![]);
    }
    let specs: Vec<NewTopic<'_>> = missing.iter().map(|(name, topic)| new_topic(name, topic)).collect();
    let admin: AdminClient<Reporter> = connection.client(&[], &[("allow.auto.create.topics", "false")])?;
    let options = AdminOptions::new().operation_timeout(Some(ANSWER_WITHIN)).request_timeout(Some(ANSWER_WITHIN));
    let results = block_on(admin.create_topics(&specs, &options))
        .map_err(|error| connection.failure("making topics", &error, Some(admin.inner().context())))?;
    for result in results {
        match result {
            // Another process may have been quicker.
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((name, code)) => return Err(by_code(code, format!("making topic {name}: {code}"))),
        }
    }
    let made: Vec<String> = missing.into_iter().map(|(name, _)| name).collect();
    wait_until_known(connection, &made)?;
    Ok(made)
}

fn new_topic<'a>(name: &'a str, topic: &'a TopicSpec) -> NewTopic<'a> {
    let partitions = i32::try_from(topic.partitions).unwrap_or(i32::MAX);
    let new = NewTopic::new(name, partitions, TopicReplication::Fixed(-1));
    topic.config.iter().fold(new, |new, (key, value)| new.set(key, value))
}

/// A topic that was just made is not known to every broker at once, and reading or writing it would fail.
fn wait_until_known(connection: &Connection, made: &[String]) -> Result<(), PortError> {
    let start = Instant::now();
    loop {
        let known = names(connection)?;
        if made.iter().all(|name| known.contains(name)) {
            return Ok(());
        }
        if start.elapsed() > KNOWN_WITHIN {
            return Err(PortError::Retry(format!("topics {made:?} were made and are still not known to the brokers")));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Names of the topics whose every partition has a leader.
fn names(connection: &Connection) -> Result<BTreeSet<String>, PortError> {
    // A consumer asks: unlike a producer's question, its question makes no topic.
    let consumer = connection.consumer("evenkeel-topics", FetchAhead::Little)?;
    let metadata = consumer
        .fetch_metadata(None, ANSWER_WITHIN)
        .map_err(|error| connection.consumer_failure("asking for the topics", &error, &consumer))?;
    let whole =
        metadata.topics().iter().filter(|t| t.error().is_none() && t.partitions().iter().all(|p| p.leader() >= 0));
    Ok(whole.map(|topic| topic.name().to_owned()).collect())
}

/// Waits for a future on this thread; the admin client's own thread wakes it. Works inside and outside of tokio.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_dataset_has_a_topic_and_only_audit_is_split() {
        let topics = outputs(AUDIT_PARTITIONS);
        assert_eq!(topics.len(), Dataset::ALL.len() + 1);
        let split: Vec<&str> = topics.iter().filter(|t| t.partitions > 1).map(|t| t.name.as_str()).collect();
        assert_eq!(split, ["audit.log.v1"]);
    }
}
