//! What every benchmark shares: options, the machine's own numbers, one line of results, seeded requests.
//!
//! `--json` prints one JSON object a line, `--quick` runs a fraction; cargo's own `--bench` is ignored.
#![allow(dead_code, reason = "each benchmark uses its own part")]

mod requests;

pub use requests::Requests;

use evenkeel::encode::Format;
use evenkeel::kafka::{Connection, RecordProducer};
use evenkeel::ports::{Clock, Polled, PortError, Source, Spare};
use evenkeel_dataflows::Batch;
use evenkeel_schemas::{Cut, Partition, Topic};
use serde_json::{Map, Value};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

/// The allocator of the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// 2026-01-01T00:00:00Z, µs.
pub const START_US: i64 = 1_767_225_600_000_000;

/// Clock ticks of `/proc/self/stat` in a second: 100 on every Linux there is.
const TICKS_PER_S: f64 = 100.0;

/// How to run.
#[derive(Clone, Copy)]
pub struct Options {
    pub json: bool,
    pub quick: bool,
    /// How requests are written: `--encoding json|protobuf|avro|arrow`.
    pub format: Format,
    /// Requests in a record, of Arrow streams: `--events-per-record N`.
    pub per_record: u64,
}

impl Options {
    /// As on the command line; pages are those of the binary.
    pub fn from_args() -> Self {
        evenkeel::pages::small();
        let has = |flag: &str| std::env::args().any(|argument| argument == flag);
        let after = |flag: &str| std::env::args().skip_while(|argument| argument != flag).nth(1);
        let format = after("--encoding").map(|name| clap::ValueEnum::from_str(&name, true).expect("a known encoding"));
        let per_record = after("--events-per-record").map(|count| count.parse().expect("a number"));
        Self {
            json: has("--json"),
            quick: has("--quick"),
            format: format.unwrap_or_default(),
            per_record: if format == Some(Format::Arrow) { per_record.unwrap_or(100) } else { 1 },
        }
    }

    /// The encoding's name, with how many requests a record has if it is more than one.
    pub fn encoding(self) -> String {
        let name = format!("{:?}", self.format).to_lowercase();
        if self.per_record > 1 { format!("{name}/{}", self.per_record) } else { name }
    }

    /// The first number, or with `--quick` the second.
    pub fn pick(self, full: u64, quick: u64) -> u64 {
        if self.quick { quick } else { full }
    }

    /// Prints a line of results, the machine's load with it.
    pub fn report(self, bench: &str, fields: &[(&str, Value)]) {
        let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let load = load.split(' ').next().and_then(|minute| minute.parse::<f64>().ok()).unwrap_or(0.0);
        let fields = fields.chain([("load".to_owned(), Value::from(load))]);
        if self.json {
            let mut line = Map::from_iter([("bench".to_owned(), Value::from(bench))]);
            line.extend(fields);
            println!("{}", Value::Object(line));
        } else {
            let cells = fields.map(|(name, value)| format!("{name} {:<10}  ", cell(&value)));
            println!("{bench:<9}{}", cells.collect::<String>().trim_end());
        }
    }
}

fn cell(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

/// A number with so many digits after the point.
pub fn rounded(value: f64, digits: i32) -> Value {
    let scale = 10f64.powi(digits);
    Value::from((value * scale).round() / scale)
}

/// A span of wall time and of this process's CPU time.
pub struct Stopwatch {
    started: Instant,
    cpu_s: f64,
}

impl Stopwatch {
    /// Starts, and forgets the peak of memory so far.
    pub fn start() -> Self {
        // Writing 5 resets VmHWM (proc(5)); where that is not allowed, the peak is that of the whole process.
        let _ = std::fs::write("/proc/self/clear_refs", "5");
        Self { started: Instant::now(), cpu_s: cpu_s() }
    }

    pub fn wall_s(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    pub fn cpu_s(&self) -> f64 {
        cpu_s() - self.cpu_s
    }
}

/// User and system time of this process, all threads, s.
fn cpu_s() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name of the program, in parentheses, may hold anything; utime and stime are the 12th and 13th after it.
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after_name.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok());
    ticks.sum::<f64>() / TICKS_PER_S
}

/// Time on a CPU of the main thread, s (`schedstat` of proc(5), in ns); zero where the kernel does not count it.
pub fn main_thread_cpu_s() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    stat.split_whitespace().next().and_then(|ns| ns.parse::<f64>().ok()).unwrap_or(0.0) / 1e9
}

/// The peak of resident memory since [`Stopwatch::start`], MB.
pub fn peak_mb() -> u64 {
    status_kib("VmHWM:") / 1024
}

/// Resident memory now, KiB.
pub fn resident_kib() -> u64 {
    status_kib("VmRSS:")
}

fn status_kib(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Puts every request of a log on its topic.
pub fn produce(mut requests: Generated, connection: &Connection) -> Result<(), PortError> {
    let mut producer = RecordProducer::new(connection.clone())?;
    loop {
        let polled = requests.poll(50_000, Duration::ZERO)?;
        if polled.batches.is_empty() {
            return producer.flush(Duration::from_secs(120));
        }
        for batch in &polled.batches {
            for record in batch.iter() {
                producer.send(batch.partition, record.timestamp_us, record.key, record.payload)?;
            }
        }
        producer.poll()?;
    }
}

/// Runs this benchmark once more with other arguments, in a process of its own: what memory it takes is its own, too.
pub fn again(arguments: &[&str]) {
    let program = std::env::current_exe().expect("a running program has a file");
    let flags = std::env::args().filter(|argument| argument == "--json" || argument == "--quick");
    let status = std::process::Command::new(program).args(arguments).args(flags).status().expect("it ran before");
    assert!(status.success(), "{arguments:?}: {status}");
}

/// Runs `work` so often, and returns the median of the seconds it took.
pub fn median_s(runs: usize, mut work: impl FnMut()) -> f64 {
    let timed = |_| {
        let started = Instant::now();
        work();
        started.elapsed().as_secs_f64()
    };
    let mut seconds = (0..runs).map(timed).collect::<Vec<_>>();
    seconds.sort_by(f64::total_cmp);
    seconds[runs / 2]
}

/// A number as good as random (the finaliser of SplitMix64: Steele, Lea, Flood 2014).
pub fn mixed(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A log of requests that is made as it is read, so that it needs no memory; its present is the last one read.
pub struct Generated {
    requests: Requests,
    partitions: u32,
    total: u64,
    per_s: u64,
    next: Cut,
    clock: LogClock,
    spare: Spare,
    start_us: i64,
    /// After so many requests a row of a database changes.
    change_every: Option<u64>,
}

/// A clock that shows how far a [`Generated`] log was read.
#[derive(Clone)]
pub struct LogClock(Arc<AtomicI64>);

impl Clock for LogClock {
    fn now_us(&mut self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Generated {
    /// `total` records over `keys`, `per_s` of them in each second of event time.
    pub fn new(options: Options, keys: u64, partitions: u32, total: u64, per_s: u64) -> Self {
        let clock = LogClock(Arc::new(AtomicI64::new(START_US)));
        let (requests, next) = (Requests::new(keys, (options.format, options.per_record)), Cut::default());
        let spare = Spare::default();
        Self { requests, partitions, total, per_s, next, clock, spare, start_us: START_US, change_every: None }
    }

    /// The same at another time.
    pub fn starting_at(self, start_us: i64) -> Self {
        Self { start_us, ..self }
    }

    /// The same with one change of a database row after so many requests.
    pub fn with_changes(self, every: u64) -> Self {
        Self { change_every: Some(every), ..self }
    }

    /// The changes up to the time of the last request that was read, in Debezium's envelope, about 400 bytes each.
    fn changes(&mut self) -> Option<Batch> {
        let every = self.change_every?;
        let at = Partition { topic: Topic::Changes, partition: 0 };
        let from = self.next.next_offset(at);
        let mut batch = self.spare.take(at);
        let read = self.next.0.iter().filter(|(partition, _)| partition.topic == Topic::Requests);
        for offset in from..read.map(|(_, next)| next).sum::<u64>() / every {
            let time_us = self.clock.0.load(Ordering::Relaxed);
            let row = format!(
                "{{\"order_id\":{offset},\"customer_id\":{},\"total_cents\":{}}}",
                offset % 977,
                offset % 9_973
            );
            let payload = format!(
                "{{\"before\":{row},\"after\":{row},\"source\":{{\"version\":\"3.7.0.Final\",\"connector\":\"postgresql\",\
                 \"name\":\"shop\",\"ts_us\":{time_us},\"db\":\"shop\",\"schema\":\"public\",\"table\":\"orders\",\
                 \"txId\":{offset},\"lsn\":{offset}}},\"op\":\"u\",\"ts_ms\":{}}}",
                time_us / 1000
            );
            batch.push(offset, time_us, offset.to_string().as_bytes(), payload.as_bytes());
        }
        self.next.0.extend(batch.next_offset().map(|next| (at, next)));
        (!batch.is_empty()).then_some(batch)
    }

    pub fn clock(&self) -> LogClock {
        self.clock.clone()
    }
}

impl Source for Generated {
    fn reuse(&mut self, spent: Batch) {
        self.spare.keep(spent);
    }

    fn seek(&mut self, from: &Cut) -> Result<(), PortError> {
        self.next = from.clone();
        self.clock.0.store(self.start_us, Ordering::Relaxed);
        Ok(())
    }

    fn poll(&mut self, limit: usize, wait: Duration) -> Result<Polled, PortError> {
        let (share, mut scratch) = (limit as u64 / u64::from(self.partitions), Vec::new());
        let mut polled = Polled::default();
        for partition in 0..self.partitions {
            let at = Partition { topic: Topic::Requests, partition };
            let (from, end) = (self.next.next_offset(at), self.total / u64::from(self.partitions));
            let mut batch = self.spare.take(at);
            for offset in from..(from + share).min(end) {
                let n = offset * u64::from(self.partitions) + u64::from(partition);
                let time_us = self.start_us + (n * 1_000_000 / self.per_s) as i64;
                self.requests.write(n, time_us, &mut scratch);
                batch.push(offset, time_us, &[], &scratch);
            }
            if let (Some(next), Some(last_us)) = (batch.next_offset(), batch.last_timestamp_us()) {
                self.next.0.insert(at, next);
                self.clock.0.fetch_max(last_us, Ordering::Relaxed);
                polled.batches.push(batch);
            }
        }
        polled.batches.extend(self.changes());
        if polled.batches.is_empty() {
            std::thread::sleep(wait);
        }
        Ok(polled)
    }
}
