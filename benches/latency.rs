//! From an event to its command: 100,000 requests a second, two workers, epochs of a millisecond, ports in memory.
//!
//! Every 47 ms ten errors of a service never seen before are due at once; they open its circuit. A latency is the time
//! from when the tenth was *due* (not from when it was sent: no coordinated omission) until its command is committed.

mod common;

use common::{Options, Requests, rounded};
use evenkeel::encode::Format;
use evenkeel::memory::MemoryLedger;
use evenkeel::pipeline::{Inline, Pace, Pipeline};
use evenkeel::ports::{Clock, Ledger, Polled, PortError, Source, SystemClock};
use evenkeel_dataflows::{Batch, Changes, Tuning};
use evenkeel_schemas::{Command, CommandKind, Cut, Dataset, Partition, Topic};
use serde_json::Value;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

const PER_S: i64 = 100_000;
/// No divisor of a second: bursts meet every phase of it, the closing of ticks too.
const BURST_EVERY_US: i64 = 47_000;
const PARTITIONS: usize = 2;

/// How often the producer wakes up, to send what is due by then.
const PACE: Duration = Duration::from_micros(100);

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
fn produce(wire: &Wire, start_us: i64, end_us: i64) {
    let (requests, mut records, mut sent_us, mut n) =
        (Requests::new(1_000, (Format::Json, 1)), Vec::new(), start_us, 0u64);
    while sent_us < end_us {
        let until_us = SystemClock.now_us().min(end_us);
        records.clear();
        while start_us + n as i64 * 1_000_000 / PER_S < until_us {
            let (due_us, mut payload) = (start_us + n as i64 * 1_000_000 / PER_S, Vec::new());
            requests.write(n, due_us, &mut payload);
            records.push((due_us, payload));
            n += 1;
        }
        let bursts = |us: i64| (us - start_us) / BURST_EVERY_US;
        for burst in bursts(sent_us)..bursts(until_us) {
            let due_us = start_us + (burst + 1) * BURST_EVERY_US;
            let payload = format!(
                "{{\"event_time_us\":{due_us},\"service\":\"fresh-{due_us}\",\"route\":\"/\",\"status\":503,\
                 \"latency_us\":900}}"
            );
            records.extend((0..10).map(|_| (due_us, payload.clone().into_bytes())));
        }
        wire.send(&records);
        sent_us = sent_us.max(until_us);
        std::thread::sleep(PACE);
    }
}

/// When the errors were due for which these epochs open a circuit, µs.
fn tripped(committed: &[Changes]) -> impl Iterator<Item = i64> + '_ {
    let commands = committed.iter().flat_map(|changes| &changes.outputs);
    let commands = commands.filter(|output| output.dataset == Dataset::Commands);
    let commands = commands.filter_map(|output| serde_json::from_slice::<Command>(&output.value).ok());
    let trips = commands.filter(|command| command.kind == CommandKind::TripCircuit);
    trips.filter_map(|command| command.service.strip_prefix("fresh-")?.parse().ok())
}

fn main() {
    let options = Options::from_args();
    let (workers, warm_up_us) = (2, 1_000_000);
    let (wire, tuning, mut ledger) = (Wire::new(), Tuning::default(), MemoryLedger::default());
    let committed = ledger.recover().expect("memory answers");
    let settings = (&tuning, workers, Pace::default());
    let mut pipeline =
        Pipeline::open(wire.clone(), committed, Inline(ledger.clone()), SystemClock, settings).expect("memory answers");

    let start_us = SystemClock.now_us() + 10_000;
    let end_us = start_us + warm_up_us + options.pick(30, 4) as i64 * 1_000_000;
    let producer = std::thread::spawn(move || produce(&wire, start_us, end_us));
    let (mut latencies, mut epochs) = (Vec::new(), 0);
    while SystemClock.now_us() < end_us + 1_000_000 {
        let turn = pipeline.turn().expect("memory answers");
        let now_us = SystemClock.now_us();
        let due = tripped(&turn.committed).filter(|due_us| *due_us >= start_us + warm_up_us);
        latencies.extend(due.map(|due_us| now_us - due_us));
        epochs += turn.committed.len();
        ledger.forget();
    }
    producer.join().expect("it was told when to end");

    latencies.sort_unstable();
    let expected = (end_us - start_us - warm_up_us) / BURST_EVERY_US;
    assert!((latencies.len() as i64 - expected).abs() <= 1, "{} commands for {expected} bursts", latencies.len());
    let at = |per_mille: usize| Value::from(latencies[(latencies.len() * per_mille / 1000).min(latencies.len() - 1)]);
    options.report(
        "latency",
        &[
            ("workers", Value::from(workers)),
            ("events_per_s", Value::from(PER_S)),
            ("commands", Value::from(latencies.len())),
            ("p50_us", at(500)),
            ("p90_us", at(900)),
            ("p99_us", at(990)),
            ("max_us", at(1000)),
            ("epochs_per_s", rounded(epochs as f64 * 1e6 / (end_us - start_us) as f64, 0)),
        ],
    );
}
