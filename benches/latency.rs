//! From an event to its command: 100,000 requests a second, epochs of a millisecond, ports in memory; with
//! `KAFKA_BOOTSTRAP` through a broker and its transactions instead.
//!
//! The *breaker* path: every 47 ms ten errors of a service never seen before are due at once; they open its circuit. A
//! latency is the time from when the tenth was *due* (not from when it was sent: no coordinated omission) until its
//! command is committed. The *window* path: every 250 ms another service, well so far, begins to fail once in four times,
//! which no burst is; its circuit opens when the fourth tick in a row shows it. That latency is counted from when that tick
//! was due to close.

mod common;

use common::{Options, Requests, rounded};
use evenkeel::encode::Format;
use evenkeel::kafka::{Connection, KafkaLedger, KafkaSource, RecordProducer, topics};
use evenkeel::memory::MemoryLedger;
use evenkeel::pipeline::{Committer, Inline, Pace, Pipeline, Threaded};
use evenkeel::ports::{Clock, Committed, Ledger, Polled, PortError, Source, SystemClock};
use evenkeel_dataflows::{Batch, Changes, Detection, SHARD_DELAY_US, SHARDS, Tuning};
use evenkeel_schemas::{Command, CommandKind, Cut, Dataset, Decision, Partition, Topic, Verdict};
use serde_json::Value;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

const PER_S: i64 = 100_000;
/// No divisor of a second: bursts meet every phase of it, the closing of ticks too.
const BURST_EVERY_US: i64 = 47_000;
const PARTITIONS: usize = 2;

/// So many services are well for a while, with a request in each such span; then every so often another begins to fail, and
/// one of four of its requests does.
const SLOW_SERVICES: i64 = 100;
const SLOW_REQUEST_US: i64 = 40_000;
const SLOW_EVERY_US: i64 = 250_000;
/// In so many ticks in a row it has to fail, and so many of a thousand requests, whatever was usual: less than by default,
/// for what is measured is the way from the last of them.
const SLOW_TICKS: u32 = 4;
const SLOW_PER_MILLE: i64 = 200;

/// How the producer goes, and for how long nothing is measured.
#[derive(Clone, Copy)]
struct Load {
    /// It sleeps at most so long before it sends what is due by then, µs.
    pace_us: i64,
    /// For so long before a burst it does not sleep, and the burst is sent when it is due: it stands for other machines,
    /// µs.
    awake_us: i64,
    warm_up_us: i64,
}

/// Into memory.
const AT_ONCE: Load = Load { pace_us: 100, awake_us: 150, warm_up_us: 3_000_000 };

/// To a broker, in batches of a millisecond; its virtual machine takes a while to compile what is hot.
const IN_BATCHES: Load = Load { pace_us: 1_000, awake_us: 0, warm_up_us: 20_000_000 };

/// What was sent and not read yet, per partition, with the next offsets.
#[derive(Clone)]
struct Wire(Arc<(Mutex<Waiting>, Condvar)>);

/// Per partition the records that wait, and the next offset.
type Waiting = [(Batch, u64); PARTITIONS];

impl Wire {
    fn new() -> Self {
        let empty = |partition| (Batch::new(Partition { topic: Topic::Requests, partition }), 0);
        Self(Arc::new((Mutex::new([empty(0), empty(1)]), Condvar::new())))
    }

    fn send(&self, records: &[(i64, Vec<u8>)]) {
        let mut partitions = self.0.0.lock().expect("nobody panics while holding it");
        for (n, (due_us, payload)) in records.iter().enumerate() {
            let (batch, offset) = &mut partitions[n % PARTITIONS];
            batch.push(*offset, *due_us, &[], payload);
            *offset += 1;
        }
        self.0.1.notify_one();
    }
}

impl Source for Wire {
    /// Nothing was read before the start, so there is nowhere to go back to.
    fn seek(&mut self, _from: &Cut) -> Result<(), PortError> {
        Ok(())
    }

    fn poll(&mut self, _limit: usize, wait: Duration) -> Result<Polled, PortError> {
        let partitions = self.0.0.lock().expect("nobody panics while holding it");
        let silent = |partitions: &mut [(Batch, u64); PARTITIONS]| partitions.iter().all(|(batch, _)| batch.is_empty());
        let waited = self.0.1.wait_timeout_while(partitions, wait, silent);
        let mut partitions = waited.expect("nobody panics while holding it").0;
        let taken = partitions.iter_mut().map(|(batch, _)| {
            let empty = Batch::new(batch.partition);
            std::mem::replace(batch, empty)
        });
        let batches = taken.filter(|batch| !batch.is_empty()).collect();
        Ok(Polled { batches, lagging: Vec::new() })
    }
}

/// Sends what is due until `end_us`, and what was due by then if it comes late.
fn produce(mut send: impl FnMut(&[(i64, Vec<u8>)]), load: Load, start_us: i64, end_us: i64) {
    let (requests, mut records, mut sent_us, mut n) =
        (Requests::new(1_000, (Format::Json, 1)), Vec::new(), start_us, 0u64);
    let bursts = |us: i64| (us - start_us) / BURST_EVERY_US;
    while sent_us < end_us {
        let until_us = SystemClock.now_us().min(end_us);
        records.clear();
        while start_us + n as i64 * 1_000_000 / PER_S < until_us {
            let (due_us, mut payload) = (start_us + n as i64 * 1_000_000 / PER_S, Vec::new());
            requests.write(n, due_us, &mut payload);
            records.push((due_us, payload));
            n += 1;
        }
        for burst in bursts(sent_us)..bursts(until_us) {
            let due_us = start_us + (burst + 1) * BURST_EVERY_US;
            records.extend((0..10).map(|_| (due_us, failing(due_us, &format!("fresh-{due_us}"), 503))));
        }
        records.extend(slow((start_us, start_us + load.warm_up_us), sent_us, until_us));
        send(&records);
        sent_us = sent_us.max(until_us);
        let left_us = start_us + (bursts(sent_us) + 1) * BURST_EVERY_US - SystemClock.now_us();
        if left_us > load.awake_us {
            std::thread::sleep(Duration::from_micros(load.pace_us.min(left_us - load.awake_us) as u64));
        }
    }
}

fn failing(event_time_us: i64, service: &str, status: u16) -> Vec<u8> {
    format!(
        "{{\"event_time_us\":{event_time_us},\"service\":\"{service}\",\"route\":\"/\",\"status\":{status},\
         \"latency_us\":900}}"
    )
    .into_bytes()
}

/// The requests of the services that fail slowly which are due in a span of time; the first fails from `fails_us` on.
fn slow((start_us, fails_us): (i64, i64), from_us: i64, to_us: i64) -> impl Iterator<Item = (i64, Vec<u8>)> {
    let steps = (from_us - start_us).div_euclid(SLOW_REQUEST_US) + 1..=(to_us - start_us).div_euclid(SLOW_REQUEST_US);
    steps.flat_map(move |step| {
        let due_us = start_us + step * SLOW_REQUEST_US;
        (0..SLOW_SERVICES).map(move |service| {
            // Services begin at each part of a second.
            let fails = due_us >= fails_us + service * (SLOW_EVERY_US + SLOW_EVERY_US / 10) && step % 4 == 0;
            (due_us, failing(due_us, &format!("slow-{service}"), if fails { 503 } else { 200 }))
        })
    })
}

/// When those circuits were due to open that these epochs open, µs: fresh ones, and slow ones.
fn tripped(committed: &[Changes], tuning: &Tuning) -> (Vec<i64>, Vec<i64>) {
    let (mut fresh, mut slow) = (Vec::new(), Vec::new());
    for changes in committed {
        let of = |dataset| changes.outputs.iter().filter(move |output| output.dataset == dataset);
        let commands = of(Dataset::Commands).filter_map(|output| serde_json::from_slice::<Command>(&output.value).ok());
        for command in commands.filter(|command| command.kind == CommandKind::TripCircuit) {
            if let Some(due_us) = command.service.strip_prefix("fresh-") {
                fresh.extend(due_us.parse::<i64>());
                continue;
            }
            let verdicts =
                of(Dataset::Verdicts).filter_map(|output| serde_json::from_slice::<Verdict>(&output.value).ok());
            let mine = verdicts.filter(|it| it.decision == Decision::Fire && it.key.service() == command.service);
            let due_us =
                mine.map(|it| it.at_us + tuning.grace_ms * 1_000 + (it.key.id().0 % SHARDS) as i64 * SHARD_DELAY_US);
            slow.extend(due_us.min());
        }
    }
    (fresh, slow)
}

fn main() {
    let options = Options::from_args();
    if let Ok(brokers) = std::env::var("KAFKA_BOOTSTRAP") {
        return on_kafka(options, brokers).expect("a broker that answers");
    }
    for workers in [1, 2] {
        let (wire, mut ledger) = (Wire::new(), MemoryLedger::default());
        let committed = ledger.recover().expect("memory answers");
        let producer = wire.clone();
        let forget = ledger.clone();
        let send = move |records: &[(i64, Vec<u8>)]| producer.send(records);
        run(options, ("memory", workers, AT_ONCE), (wire, committed, Inline(ledger)), send, || forget.forget());
    }
}

fn on_kafka(options: Options, brokers: String) -> Result<(), PortError> {
    let prefix = format!("latency.{}.", SystemClock.now_us());
    let mut connection = Connection { brokers, prefix, ..Connection::default() };
    topics::create_missing(&connection, &topics::inputs(PARTITIONS as u32))?;
    topics::create_missing(&connection, &topics::outputs(Tuning::default().audit_partitions))?;
    let source = KafkaSource::new(connection.clone(), &[Topic::Requests]);
    let mut ledger = KafkaLedger::new(connection.clone(), format!("{}id", connection.prefix));
    let committed = ledger.recover()?;
    connection.properties.insert("linger.ms".to_owned(), "1".to_owned());
    let mut producer = RecordProducer::new(connection.clone())?;
    let send = move |records: &[(i64, Vec<u8>)]| {
        for (n, (due_us, payload)) in records.iter().enumerate() {
            let to = Partition { topic: Topic::Requests, partition: (n % PARTITIONS) as u32 };
            producer.send(to, *due_us, &[], payload).expect("a broker that answers");
        }
        producer.poll().expect("a broker that answers");
    };
    run(options, ("kafka", 1, IN_BATCHES), (source, committed, Threaded::new(ledger)), send, || ());
    Ok(())
}

/// Runs the pipeline beside a producer, and says how long commands took.
fn run(
    options: Options,
    (ports, workers, load): (&str, usize, Load),
    (source, committed, committer): (impl Source, Committed, impl Committer),
    send: impl FnMut(&[(i64, Vec<u8>)]) + Send + 'static,
    forget: impl Fn(),
) {
    let detection = Detection {
        persist: SLOW_TICKS,
        of: SLOW_TICKS,
        error_guard_per_mille: SLOW_PER_MILLE,
        ..Detection::default()
    };
    let tuning = Tuning { detection, ..Tuning::default() };
    let settings = (&tuning, workers, Pace::default());
    let mut pipeline = Pipeline::open(source, committed, committer, SystemClock, settings).expect("the ports answer");
    let start_us = SystemClock.now_us() + 10_000;
    let end_us = start_us + load.warm_up_us + options.pick(30, 10) as i64 * 1_000_000;
    let producer = std::thread::spawn(move || produce(send, load, start_us, end_us));
    let (mut breaker, mut window, mut epochs) = (Vec::new(), Vec::new(), 0);
    while SystemClock.now_us() < end_us + 1_000_000 {
        let turn = pipeline.turn().expect("the ports answer");
        let now_us = SystemClock.now_us();
        let (fresh, slow) = tripped(&turn.committed, &tuning);
        let measured = |due: Vec<i64>| {
            // Afterwards nothing comes in, and epochs close ten times a second only.
            let span = start_us + load.warm_up_us..=end_us;
            due.into_iter().filter(move |due_us| span.contains(due_us)).map(move |due_us| now_us - due_us)
        };
        breaker.extend(measured(fresh));
        window.extend(measured(slow));
        epochs += turn.committed.len();
        forget();
    }
    producer.join().expect("it was told when to end");
    let expected = (end_us - start_us - load.warm_up_us) / BURST_EVERY_US;
    assert!((breaker.len() as i64 - expected).abs() <= 1, "{} commands for {expected} bursts", breaker.len());
    for (path, latencies) in [("breaker", &mut breaker), ("window", &mut window)] {
        report(options, (ports, workers, path), latencies, epochs as f64 * 1e6 / (end_us - start_us) as f64);
    }
}

fn report(options: Options, (ports, workers, path): (&str, usize, &str), latencies: &mut [i64], epochs_per_s: f64) {
    latencies.sort_unstable();
    let at = |per_mille: usize| {
        let at = (latencies.len() * per_mille / 1000).min(latencies.len().saturating_sub(1));
        Value::from(latencies.get(at).copied())
    };
    options.report(
        "latency",
        &[
            ("ports", Value::from(ports)),
            ("workers", Value::from(workers)),
            ("path", Value::from(path)),
            ("events_per_s", Value::from(PER_S)),
            ("commands", Value::from(latencies.len())),
            ("p50_us", at(500)),
            ("p90_us", at(900)),
            ("p99_us", at(990)),
            ("max_us", at(1000)),
            ("epochs_per_s", rounded(epochs_per_s, 0)),
        ],
    );
}
