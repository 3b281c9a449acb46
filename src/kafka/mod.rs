//! Apache Kafka behind the ports: records in, whole epochs out, one transaction each time.
//!
//! | file | holds |
//! |---|---|
//! | [`connection`] | where the brokers are, what every client shares, and what an error asks of the caller |
//! | `client` | the callbacks of every client: its log lines and its last words |
//! | [`topics`] | which topics there are, and how they are made when missing |
//! | `queue` | many partitions in one queue, taken in bulk (the only `unsafe` here) |
//! | [`source`] | [`KafkaSource`]: records of the input topics |
//! | `reader` | one partition of one output topic, from an offset to its end |
//! | `hanging` | ends transactions whose markers a broker left out |
//! | `recovery` | what is committed: the last bindings and the newest state |
//! | [`ledger`] | [`KafkaLedger`]: epochs in transactions |
//! | [`output_log`] | [`KafkaOutputs`]: committed outputs, read back |
//!
//! # Decision
//! The truth about what was read is the last committed binding, never the offsets of a consumer group: a binding and
//! its outputs are in one transaction, and a transactional id admits one writer. So partitions are assigned by hand,
//! nothing rebalances, and the group's offsets, said once a second, only serve lag tools.
//!
//! Records are taken with `rd_kafka_consume_batch_queue`: 2–3 times the records a second of one call a record.
//! All partitions share one queue, so that one wait covers them all and one bound holds for what is fetched ahead.
//!
//! Where the cycles go, of a backlog of small JSON records at 2.6 M events a second, 2 workers, a broker on the same two
//! cores (`perf record -a` of `benches/kafka.rs`): the client's fetching threads 31 % (a quarter of it LZ4), taking
//! messages and letting go of them 15 %, decoding, counting and windows 28 %, the broker 10 to 25 % (the more, the more its
//! virtual machine still compiles), idle 4 %. The limit is the client: one of its threads brings a broker's messages to us
//! in 0.23 µs each, so 4.4 M a second with nothing else on the machine. Copying payloads out of its memory, which lets
//! every message go at once, is 1.3 %: a batch that borrowed the fetch buffer could save no more.

pub(crate) mod client;
pub mod connection;
mod hanging;
pub mod ledger;
pub mod output_log;
mod producer;
mod queue;
mod reader;
mod recovery;
pub mod source;
pub mod topics;

pub use connection::Connection;
pub use ledger::KafkaLedger;
pub use output_log::KafkaOutputs;
pub use producer::RecordProducer;
pub use recovery::{all_bindings, committed, last_binding};
pub use source::KafkaSource;
