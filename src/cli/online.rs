//! `run`: the pipeline as a service.

use super::config::{Config, pin};
use super::{Ending, RunArgs, fatal};
use crate::canary::{Canaries, Listened};
use crate::cluster::meeting::Terms;
use crate::cluster::{Cluster, Place};
use crate::configuration::Announced;
use crate::embedded::{EmbeddedLedger, EmbeddedSource};
use crate::http;
use crate::kafka::{self, Connection, KafkaLedger, KafkaSource, RecordProducer, topics};
use crate::metrics::Metrics;
use crate::pipeline::Pace;
use crate::ports::{Clock, PortError, SystemClock};
use crate::service::Service;
use crate::ship::stop_signal;
use evenkeel_schemas::{Partition, Topic};
use sha2::{Digest, Sha256};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Partitions of input topics that do not exist yet.
const INPUT_PARTITIONS: u32 = 2;

/// How long the event that says how this process is configured may take to be safe.
const SAID_WITHIN: Duration = Duration::from_secs(10);

pub(super) fn run(args: RunArgs) -> Result<Ending, PortError> {
    let config = Config::new(args)?;
    let metrics = Arc::new(Metrics::default());
    let stop = Arc::new(AtomicBool::new(false));
    let canaries = Arc::new(Canaries::default());
    attend(config.http.as_deref(), (&metrics, &canaries), &stop)?;
    let service = Service {
        tuning: &config.tuning,
        workers: config.workers,
        pace: Pace::default(),
        stop: &stop,
        metrics: &metrics,
    };
    let ended = match (&config.kafka.brokers, &config.data) {
        (Some(_), _) => match &config.place {
            Some(place) => run_in_cluster(place, &config, &canaries, &service),
            None => run_on_kafka(&config, &canaries, &service),
        },
        (None, Some(_)) if config.place.is_some() => Err(fatal(
            "several processes need Kafka: the embedded log has one reader. Give --brokers, or leave out --process",
        )),
        (None, Some(directory)) => run_embedded(directory, &config, &canaries, &service),
        (None, None) => Err(fatal("nothing to run on: give --brokers HOST:PORT, or --data DIR for the embedded log")),
    };
    stop.store(true, Ordering::Relaxed);
    ended.map(|()| Ending::Well)
}

fn run_on_kafka(config: &Config, canaries: &Arc<Canaries>, service: &Service<'_>) -> Result<(), PortError> {
    let connection = config.kafka.connection()?;
    let open = || {
        make_topics(&connection, config)?;
        let source = KafkaSource::new(connection.clone(), &Topic::ALL);
        Ok((source, ledger(&connection, config, canaries), SystemClock))
    };
    service.run(open, |_| {})
}

/// As one process of several. The leader makes the topics; the others come to read them after it has.
fn run_in_cluster(
    place: &Place,
    config: &Config,
    canaries: &Arc<Canaries>,
    service: &Service<'_>,
) -> Result<(), PortError> {
    let connection = config.kafka.connection()?;
    let cluster = Cluster { place, terms: terms(place, config, &connection), service };
    let own = || {
        let source = KafkaSource::new(connection.clone(), &Topic::ALL).with_share(place.share());
        Ok((source, SystemClock))
    };
    let ledger = || {
        make_topics(&connection, config)?;
        Ok(ledger(&connection, config, canaries))
    };
    cluster.run(own, ledger, || kafka::committed(&connection))
}

/// The ledger on Kafka, which says with what it is taken over. (A data directory is pinned to one tuning: there is nothing
/// to say of it.)
fn ledger(connection: &Connection, config: &Config, canaries: &Arc<Canaries>) -> Listened<Announced<KafkaLedger>> {
    let ledger = KafkaLedger::new(connection.clone(), config.transactional_id.clone());
    let connection = connection.clone();
    let say = move |now_us, payload: &[u8]| {
        let mut producer = RecordProducer::new(connection.clone())?;
        producer.send(Partition { topic: Topic::AuditEvents, partition: 0 }, now_us, b"", payload)?;
        producer.flush(SAID_WITHIN)
    };
    let announced = Announced::new(ledger, config.tuning.clone(), || SystemClock.now_us(), Box::new(say));
    Listened::new(announced, Arc::clone(canaries))
}

fn terms(place: &Place, config: &Config, connection: &Connection) -> Terms {
    let tuning = serde_json::to_vec(&config.tuning).expect("a tuning is numbers, names and lists");
    let mut hash = Sha256::new();
    for part in [tuning.as_slice(), connection.prefix.as_bytes(), config.transactional_id.as_bytes()] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    Terms {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        processes: place.processes(),
        workers: config.workers,
        settings: hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect(),
    }
}

fn make_topics(connection: &Connection, config: &Config) -> Result<(), PortError> {
    let mut needed = topics::inputs(INPUT_PARTITIONS);
    needed.extend(topics::outputs(config.tuning.audit_partitions));
    let made = topics::create_missing(connection, &needed)?;
    if !made.is_empty() {
        tracing::info!(topics = made.join(" "), "made topics");
    }
    Ok(())
}

fn run_embedded(
    directory: &Path,
    config: &Config,
    canaries: &Arc<Canaries>,
    service: &Service<'_>,
) -> Result<(), PortError> {
    pin(directory, &config.tuning)?;
    let open = || {
        let ledger = Listened::new(EmbeddedLedger::open(directory)?, Arc::clone(canaries));
        Ok((EmbeddedSource::new(directory), ledger, SystemClock))
    };
    service.run(open, |_| {})
}

/// Serves HTTP and waits for signals, on a thread of its own that ends with the process.
fn attend(
    http: Option<&str>,
    (metrics, canaries): (&Arc<Metrics>, &Arc<Canaries>),
    stop: &Arc<AtomicBool>,
) -> Result<(), PortError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| fatal(format!("starting the runtime: {error}")))?;
    let socket = http.map(|address| {
        TcpListener::bind(address).map_err(|error| fatal(format!("--http {address}: {error}; choose a free address")))
    });
    let socket = socket.transpose()?;
    let signal = runtime.block_on(async { stop_signal() });
    let signal = signal.map_err(|error| fatal(format!("waiting for signals: {error}")))?;
    let (metrics, canaries, stop) = (Arc::clone(metrics), Arc::clone(canaries), Arc::clone(stop));
    std::thread::spawn(move || {
        runtime.block_on(async move {
            if let Some(socket) = socket {
                tokio::spawn(async move {
                    if let Err(error) = http::serve(socket, metrics, canaries, std::future::pending()).await {
                        tracing::error!(%error, "the HTTP server ended");
                    }
                });
            }
            signal.await;
            tracing::info!("asked to stop");
            stop.store(true, Ordering::Relaxed);
            // A second signal ends the process at once: every commit is atomic, nothing is left half done.
            if let Ok(again) = stop_signal() {
                again.await;
                std::process::exit(130);
            }
        });
    });
    Ok(())
}
