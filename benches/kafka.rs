//! End to end on a real broker: records on a topic to outputs in committed transactions.
//!
//! `KAFKA_BOOTSTRAP=127.0.0.1:9092 cargo bench --bench kafka`; without it, it says that it was skipped. The requests
//! are on the topic before the clock starts, as a backlog; broker and evenkeel share the machine. In the first run, which
//! is not `warm`, the broker's virtual machine still compiles what is hot. JSON, or
//! `--encoding protobuf`, `avro`, or `arrow` with `--events-per-record 100`.

mod common;

use common::{Generated, Options, Stopwatch, peak_mb, produce, rounded};
use evenkeel::kafka::{Connection, KafkaLedger, KafkaSource, topics};
use evenkeel::pipeline::{Pace, Pipeline, Threaded};
use evenkeel::ports::{Clock, Committed, Ledger, PortError, Source, SystemClock};
use evenkeel_dataflows::{Changes, Tuning};
use evenkeel_schemas::Dimension::{Route, Service};
use evenkeel_schemas::{Cut, Topic};
use serde_json::Value;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const KEYS: u64 = 1_000;
const PARTITIONS: u32 = 2;
/// Requests in a second of event time.
const PER_S: u64 = 200_000;

fn main() -> Result<(), PortError> {
    let options = Options::from_args();
    let Ok(brokers) = std::env::var("KAFKA_BOOTSTRAP") else {
        options.report("kafka", &[("skipped", Value::from("KAFKA_BOOTSTRAP is not set"))]);
        return Ok(());
    };
    let tuning = Tuning { key_sets: vec![vec![Service, Route]], ..Tuning::default() };
    let total = options.pick(8_000_000, 300_000) * if options.per_record > 1 { 4 } else { 1 } / options.per_record;
    for (workers, warm) in [(2, false), (1, true), (2, true)] {
        // Topics of its own for each run: what one committed is not for the next to go on from.
        let prefix = format!("bench.{}.", SystemClock.now_us());
        let connection = Connection { brokers: brokers.clone(), prefix, ..Connection::default() };
        topics::create_missing(&connection, &topics::inputs(PARTITIONS))?;
        topics::create_missing(&connection, &topics::outputs(tuning.audit_partitions))?;
        let watch = Stopwatch::start();
        produce(Generated::new(options, KEYS, PARTITIONS, total, PER_S / options.per_record), &connection)?;
        run(options, &connection, &tuning, (workers, warm), (total, watch.wall_s()))?;
    }
    Ok(())
}

/// A ledger that says how long its commits took.
struct Timed<L>(L, Arc<Mutex<Vec<f64>>>);

impl<L: Ledger> Ledger for Timed<L> {
    fn recover(&mut self) -> Result<Committed, PortError> {
        self.0.recover()
    }

    fn commit(&mut self, epochs: &[Changes]) -> Result<(), PortError> {
        let started = Instant::now();
        let committed = self.0.commit(epochs);
        self.1.lock().expect("nobody panics while holding it").push(started.elapsed().as_secs_f64());
        committed
    }
}

/// What the client alone can do: takes the records of the topic in bulk, counts them, and lets them go.
fn consume(connection: &Connection, total: u64) -> Result<f64, PortError> {
    let mut source = KafkaSource::new(connection.clone(), &[Topic::Requests]);
    source.seek(&Cut::default())?;
    let (started, mut records) = (Instant::now(), 0);
    while records < total {
        records += source.skip(100_000, Duration::from_millis(100))? as u64;
    }
    Ok(started.elapsed().as_secs_f64())
}

fn run(
    options: Options,
    connection: &Connection,
    tuning: &Tuning,
    (workers, warm): (usize, bool),
    (total, filled_s): (u64, f64),
) -> Result<(), PortError> {
    let times = Arc::new(Mutex::new(Vec::new()));
    let mut ledger =
        Timed(KafkaLedger::new(connection.clone(), format!("{}id", connection.prefix)), Arc::clone(&times));
    let bare_s = consume(connection, total)?;
    let watch = Stopwatch::start();
    let committed = ledger.recover()?;
    let source = KafkaSource::new(connection.clone(), &[Topic::Requests]);
    let settings = (tuning, workers, Pace::default());
    let mut pipeline = Pipeline::open(source, committed, Threaded::new(ledger), SystemClock, settings)?;
    let (opened_s, mut records, mut commits) = (watch.wall_s(), 0, 0);
    while records < total {
        let turn = pipeline.turn()?;
        records += turn.committed.iter().map(|changes| changes.records).sum::<u64>();
        commits += usize::from(!turn.committed.is_empty());
    }
    let (wall_s, total) = (watch.wall_s() - opened_s, total * options.per_record);
    let times = times.lock().expect("nobody panics while holding it").clone();
    let mean_s = times.iter().sum::<f64>() / times.len().max(1) as f64;
    options.report(
        "kafka",
        &[
            ("encoding", Value::from(options.encoding())),
            ("keys", Value::from(KEYS)),
            ("workers", Value::from(workers)),
            ("warm", Value::from(warm)),
            ("events_per_s", rounded(total as f64 / wall_s, 0)),
            ("events_per_cpu_s", rounded(total as f64 / watch.cpu_s(), 0)),
            ("bare_per_s", rounded(total as f64 / bare_s, 0)),
            ("of_bare", rounded(bare_s / wall_s, 2)),
            ("commits", Value::from(commits)),
            ("commit_ms", rounded(mean_s * 1e3, 1)),
            ("recover_s", rounded(opened_s, 2)),
            ("produced_per_s", rounded(total as f64 / filled_s, 0)),
            ("peak_mb", Value::from(peak_mb())),
        ],
    );
    pipeline.stop().map(drop)
}
