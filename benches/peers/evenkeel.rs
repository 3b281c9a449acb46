//! evenkeel's side of `benches/peers/run.sh`, and the requests that every peer reads.
//!
//! `generate` writes the requests as two files of JSON lines, `fill` puts the lines of such files on a Kafka topic of two
//! partitions, `run` does the job that `benches/peers/run.sh --help` describes. All of it is told by the environment, as
//! every peer is (`benches/peers/job.py`).

#[path = "../common/mod.rs"]
mod common;
#[path = "files.rs"]
mod files;

use common::START_US;
use evenkeel::kafka::{Connection, KafkaLedger, KafkaSource, topics};
use evenkeel::memory::FixedClock;
use evenkeel::pipeline::{Pace, Pipeline, Threaded};
use evenkeel::ports::{Committed, Ledger, PortError, Source};
use evenkeel_dataflows::{Changes, FUTURE_TOLERANCE_US, TICK_US, Tuning};
use evenkeel_schemas::Dimension::{Route, Service};
use evenkeel_schemas::{Baseline, Dataset, Topic};
use files::FileSource;
use std::fs::File;
use std::io::{BufWriter, Write};

type Failure = Box<dyn std::error::Error>;

/// The window that is compared.
const WINDOW: &str = "1m";

fn main() -> Result<(), Failure> {
    evenkeel::pages::small();
    match std::env::args().nth(1).as_deref() {
        Some("generate") => files::generate(number("PEERS_KEYS")?, number("PEERS_EVENTS")?, &list("PEERS_FILES")?),
        Some("fill") => files::fill(&connection()?, &list("PEERS_FILES")?),
        Some("run") => run(),
        _ => {
            println!("peers    skipped: benches/peers/run.sh runs it");
            Ok(())
        }
    }
}

fn set(name: &str) -> Result<String, Failure> {
    std::env::var(name).map_err(|_| format!("{name} is not set; benches/peers/run.sh sets it").into())
}

fn number(name: &str) -> Result<u64, Failure> {
    Ok(set(name)?.parse()?)
}

/// Values separated by colons.
fn list(name: &str) -> Result<Vec<String>, Failure> {
    Ok(set(name)?.split(':').map(str::to_owned).collect())
}

/// The topic is `<prefix>req.events.v1`; what evenkeel commits goes to topics of the same prefix.
fn connection() -> Result<Connection, Failure> {
    let prefix = set("PEERS_TOPIC")?.strip_suffix(Topic::Requests.name()).ok_or("a topic of requests")?.to_owned();
    Ok(Connection { brokers: set("PEERS_BROKERS")?, prefix, ..Connection::default() })
}

fn run() -> Result<(), Failure> {
    if std::env::var_os("PEERS_BROKERS").is_none() {
        return through(FileSource::new(&list("PEERS_FILES")?), Nowhere);
    }
    let connection = connection()?;
    let tuning = tuning();
    topics::create_missing(&connection, &topics::outputs(tuning.audit_partitions))?;
    let ledger = KafkaLedger::new(connection.clone(), format!("{}id", connection.prefix));
    through(KafkaSource::new(connection, &[Topic::Requests]), ledger)
}

/// A ledger that keeps nothing: the peers' outputs are kept nowhere either, but for the rows.
struct Nowhere;

impl Ledger for Nowhere {
    fn recover(&mut self) -> Result<Committed, PortError> {
        Ok(Committed::default())
    }

    fn commit(&mut self, _epochs: &[Changes]) -> Result<(), PortError> {
        Ok(())
    }
}

/// Every key's minute, every second; nothing else is changed.
fn tuning() -> Tuning {
    Tuning {
        key_sets: vec![vec![Service, Route]],
        baseline_every_s: 1,
        baseline_windows: vec![WINDOW.to_owned()],
        ..Tuning::default()
    }
}

/// Everything from the source to its end, and on until the last second that counts has closed in every shard.
fn through(source: impl Source, mut ledger: impl Ledger + 'static) -> Result<(), Failure> {
    let (tuning, events, end_s) = (tuning(), number("PEERS_EVENTS")?, number("PEERS_END_S")? as i64);
    tuning.check()?;
    let closed = |now_us: i64| tuning.oldest_open_tick(now_us) >= end_s;
    // The wall clock of the job: the log tells the time while there is some, and once it is read this does.
    let last_us = (end_s + 1) * TICK_US + tuning.grace_ms * 1_000 + FUTURE_TOLERANCE_US;
    let clock = FixedClock::new(last_us);
    let committed = ledger.recover()?;
    let settings = (&tuning, 2, Pace::default());
    let mut pipeline = Pipeline::open(source, committed, Threaded::new(ledger), clock, settings)?;
    let mut rows = Rows::new(end_s)?;
    let (mut records, mut now_us) = (0, START_US);
    while records < events || !closed(now_us) {
        for changes in pipeline.turn()?.committed {
            records += changes.records;
            now_us = changes.binding.now_us;
            rows.take(&changes)?;
        }
    }
    rows.out.flush()?;
    pipeline.stop().map(drop).map_err(|error: PortError| error.into())
}

/// Writes the rows of committed baselines.
struct Rows {
    out: BufWriter<File>,
    end_s: i64,
    /// Only rows of this route are written; empty: all.
    route: String,
}

impl Rows {
    fn new(end_s: i64) -> Result<Self, Failure> {
        let out = BufWriter::new(File::create(set("PEERS_OUT")?)?);
        Ok(Self { out, end_s, route: std::env::var("PEERS_ROUTE").unwrap_or_default() })
    }

    fn take(&mut self, changes: &Changes) -> Result<(), Failure> {
        let said = changes.outputs.iter().filter(|output| output.dataset == Dataset::Baselines);
        // The key is `{"service":"…","route":"…"}`.
        let end_of_key = if self.route.is_empty() { String::new() } else { format!("{}\"}}", self.route) };
        for output in said.filter(|output| output.key.ends_with(end_of_key.as_bytes())) {
            let Baseline { key, at_us, windows } = serde_json::from_slice(&output.value)?;
            let tick_s = at_us / TICK_US;
            let window = windows.iter().find(|(name, _)| name == WINDOW);
            if let Some((_, of)) = window.filter(|_| tick_s <= self.end_s) {
                let (service, route) = (key.service(), key.get(Route).unwrap_or_default());
                writeln!(self.out, "{tick_s},{service},{route},{},{},{}", of.requests, of.errors, of.p99_us)?;
            }
        }
        Ok(())
    }
}
