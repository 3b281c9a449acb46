//! The callbacks of every client: log lines and errors become trace events, and the last error is kept for messages.

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, ProducerContext};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A client repeats the same error at every reconnect; one event in this time is enough.
const REPEAT_AFTER: Duration = Duration::from_secs(10);

pub(super) type Consumer = BaseConsumer<Reporter>;
pub(super) type Producer = BaseProducer<Reporter>;

/// Context of a client.
#[derive(Debug, Default)]
pub(crate) struct Reporter {
    errors: Gate,
    lines: Gate,
    last_error: Mutex<Option<String>>,
    delivered: AtomicU64,
    lost: AtomicU64,
}

impl Reporter {
    /// What the client complained about last; says more than the error of the call that timed out.
    pub(super) fn last_error(&self) -> Option<String> {
        self.last_error.lock().expect("nobody panics while holding it").clone()
    }

    /// Records that were delivered, and that were given up.
    pub(crate) fn deliveries(&self) -> (u64, u64) {
        (self.delivered.load(Ordering::Relaxed), self.lost.load(Ordering::Relaxed))
    }

    fn keep(&self, error: String) {
        *self.last_error.lock().expect("nobody panics while holding it") = Some(error);
    }
}

impl ClientContext for Reporter {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        let serious = (level as i32) <= (RDKafkaLogLevel::Warning as i32);
        match (serious, serious && self.lines.opens()) {
            (true, true) => tracing::warn!(target: "kafka", facility, "{line}"),
            _ => tracing::debug!(target: "kafka", facility, "{line}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // That all brokers are down follows each broker's own reason, and says less.
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::AllBrokersDown) {
            self.keep(reason.to_owned());
        }
        if self.errors.opens() {
            tracing::warn!(target: "kafka", %error, "{reason}");
        }
    }
}

impl ConsumerContext for Reporter {}

impl ProducerContext for Reporter {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Ok(_) => {
                self.delivered.fetch_add(1, Ordering::Relaxed);
            }
            Err((error, _)) => {
                self.lost.fetch_add(1, Ordering::Relaxed);
                self.keep(format!("a record was not delivered: {error}"));
            }
        }
    }
}

/// Opens at most once in [`REPEAT_AFTER`].
#[derive(Debug, Default)]
struct Gate(Mutex<Option<Instant>>);

impl Gate {
    fn opens(&self) -> bool {
        let mut opened = self.0.lock().expect("nobody panics while holding it");
        let open = opened.is_none_or(|at| at.elapsed() >= REPEAT_AFTER);
        if open {
            *opened = Some(Instant::now());
        }
        open
    }
}
