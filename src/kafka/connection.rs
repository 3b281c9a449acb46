//! Where the brokers are, what every client shares, and what an error asks of the caller.

use super::client::{Consumer, Producer, Reporter};
use crate::ports::PortError;
use rdkafka::ClientConfig;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long a question to the brokers (metadata, offsets) may take.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// How long a client that failed may take to say why.
const LAST_WORDS: Duration = Duration::from_millis(10);
/// Client events (errors, log lines) served in one go, so that a flood of them cannot hold back anything else.
pub(super) const CLIENT_EVENTS: usize = 64;
/// Largest record, bytes.
pub const MAX_RECORD_BYTES: usize = 8 << 20;
/// A batch stays below the brokers' default limit of 1,048,588 bytes a batch.
const BATCH_BYTES: usize = 1_000_000;
/// How long a broker waits for records before it says that there are none, ms: bounds how late an end is noticed.
const FETCH_WAIT_MS: u32 = 100;
/// How soon a full queue asks again, ms: the default of a second would starve a reader that empties it in less.
const FETCH_BACKOFF_MS: u32 = 10;

/// How to reach a cluster. Its secrets are in `properties`: it has no `Debug`.
#[derive(Clone, Default)]
pub struct Connection {
    /// `host:port`, comma separated.
    pub brokers: String,
    /// Settings passed on to librdkafka as they are: `security.protocol`, `sasl.*`, `ssl.*`, `client.rack`, …
    pub properties: BTreeMap<String, String>,
    /// Put before every topic name; empty by default.
    pub prefix: String,
}

/// How much a consumer fetches ahead.
#[derive(Clone, Copy)]
pub(super) enum FetchAhead {
    /// For the source: about 50,000 records or 16 MiB. More would be read again from memory that no cache holds: measured
    /// a third fewer events a CPU second with a million.
    Much,
    /// For recovery and views: at most 100,000 records or 16 MiB.
    Little,
}

impl Connection {
    /// A connection without security settings and without a prefix.
    pub fn plain(brokers: impl Into<String>) -> Self {
        Self { brokers: brokers.into(), ..Self::default() }
    }

    /// The name on the brokers of the topic called `name` everywhere else.
    pub fn topic(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// A consumer of committed records whose partitions are assigned by hand.
    pub(super) fn consumer(&self, group: &str, ahead: FetchAhead) -> Result<Consumer, PortError> {
        self.isolated_consumer(group, ahead, "read_committed")
    }

    /// A consumer that sees records of transactions that have not ended, too.
    pub(super) fn uncommitted_consumer(&self, group: &str) -> Result<Consumer, PortError> {
        self.isolated_consumer(group, FetchAhead::Little, "read_uncommitted")
    }

    fn isolated_consumer(&self, group: &str, ahead: FetchAhead, isolation: &str) -> Result<Consumer, PortError> {
        let (records, kilobytes) = match ahead {
            FetchAhead::Much => ("50000", "16384"),
            FetchAhead::Little => ("100000", "16384"),
        };
        let defaults = [
            ("group.id", group),
            ("queued.min.messages", records),
            ("queued.max.messages.kbytes", kilobytes),
            ("fetch.message.max.bytes", "2097152"),
            ("fetch.wait.max.ms", &FETCH_WAIT_MS.to_string()),
            ("fetch.queue.backoff.ms", &FETCH_BACKOFF_MS.to_string()),
            ("socket.receive.buffer.bytes", "4194304"),
        ];
        let required = [
            ("isolation.level", isolation),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("enable.partition.eof", "true"),
            // An offset that is gone is an error, never a silent jump.
            ("auto.offset.reset", "error"),
            ("allow.auto.create.topics", "false"),
        ];
        self.client(&defaults, &required)
    }

    /// A producer whose records become visible with its transactions.
    pub(super) fn transactional_producer(
        &self,
        transactional_id: &str,
        transaction_timeout: Duration,
        message_timeout: Duration,
    ) -> Result<Producer, PortError> {
        let defaults = [
            ("linger.ms", "0"),
            ("batch.size", &*BATCH_BYTES.to_string()),
            ("compression.type", "lz4"),
            ("queue.buffering.max.messages", "1000000"),
            ("queue.buffering.max.kbytes", "262144"),
        ];
        let required = [
            ("transactional.id", transactional_id),
            ("transaction.timeout.ms", &*transaction_timeout.as_millis().to_string()),
            ("message.timeout.ms", &*message_timeout.as_millis().to_string()),
            ("message.max.bytes", &*MAX_RECORD_BYTES.to_string()),
            // As the Java clients do, so that their producers and ours agree on the partition of a key.
            ("partitioner", "murmur2"),
        ];
        self.client(&defaults, &required)
    }

    /// A client with these defaults, then the user's properties, then what correctness rests on.
    pub(crate) fn client<T: FromClientConfigAndContext<C>, C: rdkafka::ClientContext + Default>(
        &self,
        defaults: &[(&str, &str)],
        required: &[(&str, &str)],
    ) -> Result<T, PortError> {
        let mut config = ClientConfig::new();
        config.set_log_level(RDKafkaLogLevel::Warning);
        config.set("client.id", "evenkeel");
        for (key, value) in defaults {
            config.set(*key, *value);
        }
        config.extend(self.properties.clone());
        config.set("bootstrap.servers", &self.brokers);
        for (key, value) in required {
            config.set(*key, *value);
        }
        config.create_with_context(C::default()).map_err(|error| self.failure("making a Kafka client", &error, None))
    }

    /// As [`Self::failure`], of a call to a consumer: lets it say first why it cannot reach anybody.
    pub(super) fn consumer_failure(&self, doing: &str, error: &KafkaError, consumer: &Consumer) -> PortError {
        // Not without any wait: such a poll ends at the first log line.
        let _words = (0..CLIENT_EVENTS).map_while(|_| consumer.poll(LAST_WORDS)).count();
        self.failure(doing, error, Some(consumer.client().context()))
    }

    /// What `error` asks of the caller; `doing` says what was going on, `reporter` what the client said last.
    pub(super) fn failure(&self, doing: &str, error: &KafkaError, reporter: Option<&Reporter>) -> PortError {
        let last = reporter.and_then(Reporter::last_error).map(|last| format!(" (last: {last})")).unwrap_or_default();
        let text = format!("{doing} at {}: {error}{last}", self.brokers);
        match error {
            KafkaError::ClientConfig(_, why, key, _) => {
                PortError::Fatal(format!("Kafka property `{key}`: {why}; correct it in the configuration"))
            }
            KafkaError::ClientCreation(_) | KafkaError::Nul(_) | KafkaError::AdminOpCreation(_) => {
                PortError::Fatal(format!("{text}; correct the Kafka properties in the configuration"))
            }
            KafkaError::AdminOp(code) => by_code(*code, text),
            _ => error.rdkafka_error_code().map_or(PortError::Retry(text.clone()), |code| by_code(code, text)),
        }
    }
}

/// Sorts a librdkafka error code by what helps: nothing but stopping, a hand at the settings, or another try.
pub(super) fn by_code(code: RDKafkaErrorCode, text: String) -> PortError {
    use RDKafkaErrorCode as Code;
    match code {
        Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch => PortError::Fenced,
        Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed => {
            PortError::Fatal(format!("{text}; grant this principal the right on the broker"))
        }
        Code::MessageSizeTooLarge | Code::MessageBatchTooLarge | Code::InvalidMessageSize => {
            PortError::Fatal(format!("{text}; raise max.message.bytes of the topic"))
        }
        Code::UnsupportedVersion | Code::UnsupportedFeature | Code::UnsupportedSASLMechanism => {
            PortError::Fatal(format!("{text}; the broker must be Kafka 2.5 or newer and speak what is configured"))
        }
        Code::InvalidTransactionTimeout => {
            PortError::Fatal(format!("{text}; raise transaction.max.timeout.ms on the broker"))
        }
        Code::InvalidTopic | Code::PolicyViolation | Code::InvalidConfig | Code::InvalidReplicationFactor => {
            PortError::Fatal(format!("{text}; make the topic by hand"))
        }
        _ => PortError::Retry(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_property_is_named() {
        let mut connection = Connection::plain("127.0.0.1:1");
        connection.properties.insert("sasl.pasword".to_owned(), "secret".to_owned());
        let Err(PortError::Fatal(text)) = connection.consumer("group", FetchAhead::Little) else {
            panic!("a typo is fatal");
        };
        assert!(text.contains("sasl.pasword") && !text.contains("secret"), "{text}");
    }

    #[test]
    fn codes_are_sorted_by_what_helps() {
        let sort = |code| by_code(code, "text".to_owned());
        assert_eq!(sort(RDKafkaErrorCode::ProducerFenced), PortError::Fenced);
        assert_eq!(sort(RDKafkaErrorCode::Fenced), PortError::Fenced);
        assert!(matches!(sort(RDKafkaErrorCode::TopicAuthorizationFailed), PortError::Fatal(_)));
        assert!(matches!(sort(RDKafkaErrorCode::BrokerTransportFailure), PortError::Retry(_)));
        assert!(matches!(sort(RDKafkaErrorCode::CoordinatorLoadInProgress), PortError::Retry(_)));
    }
}
