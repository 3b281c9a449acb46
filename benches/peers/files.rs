//! The requests of the comparison with peers: made, read from their files, put on a topic.
//!
//! There are two files, as there are two partitions of the topic: all requests of a service are in one of them, in the
//! order of event time. So a peer that needs all of a key in one partition has it, and two readers have as much to do.

use crate::Failure;
use crate::common::{START_US, mixed};
use evenkeel::kafka::{Connection, RecordProducer, topics};
use evenkeel::ports::{Polled, PortError, Source, Spare};
use evenkeel_dataflows::Batch;
use evenkeel_schemas::{Cut, Partition, Topic};
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::PathBuf;
use std::time::Duration;

/// Requests in a second of event time.
const PER_S: u64 = 126_000;
/// Bytes read or written at once.
const BUFFER: usize = 1 << 20;
const TIME: &[u8] = b"\"event_time_us\":";

/// Writes so many requests over so many keys; the first of them are the same whatever the number is.
///
/// Latencies have two humps, as of a cache that answers 94 in 100: 0.8–3.8 ms and 15–55 ms, up to twice that by key.
pub fn generate(keys: u64, events: u64, to: &[String]) -> Result<(), Failure> {
    let routes = if keys >= 10_000 { 100 } else { 10 };
    let create = |path: &String| Ok(BufWriter::with_capacity(BUFFER, File::create(path)?));
    let mut files = to.iter().map(create).collect::<Result<Vec<_>, std::io::Error>>()?;
    let count = files.len();
    for n in 0..events {
        let (key, dice) = (mixed(n) % keys, mixed(n ^ 0x5eed_0000_0000_0000));
        let (service, route) = (key / routes, key % routes);
        let time_us = START_US + (n * 1_000_000 / PER_S) as i64;
        let status = if dice % 2_000 == 0 { 503 } else { 200 };
        let (one, other) = (dice >> 16, dice >> 40);
        let latency_us = match dice % 100 {
            0..94 => 800 + one % 1_500 + other % 1_500,
            _ => 15_000 + one % 20_000 + other % 20_000,
        };
        let latency_us = latency_us * (4 + key % 5) / 4;
        writeln!(
            files[service as usize % count],
            "{{\"event_time_us\":{time_us},\"service\":\"service-{service:04}\",\"route\":\"/api/v1/r{route:03}\",\
             \"method\":\"POST\",\"status\":{status},\"latency_us\":{latency_us},\"node\":\"node-{}\",\
             \"region\":\"eu-1\",\"version\":\"1.4.2\",\"trace_id\":\"{dice:032x}\"}}",
            dice % 3
        )?;
    }
    files.iter_mut().try_for_each(|file| file.flush()).map_err(Failure::from)
}

/// The event time of a line, for pacing; the core decodes the whole line itself.
fn time_us(line: &[u8]) -> Option<i64> {
    let at = line.windows(TIME.len()).position(|window| window == TIME)? + TIME.len();
    let digits = line[at..].iter().take_while(|byte| byte.is_ascii_digit());
    Some(digits.fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0')))
}

fn service_and_route(line: &[u8]) -> Option<(&str, &str)> {
    let line = std::str::from_utf8(line).ok()?;
    let value = |name| line.split_once(name)?.1.split('"').next();
    Some((value("\"service\":\"")?, value("\"route\":\"")?))
}

/// Puts the lines of file `i` into partition `i`, with the event time as the record's and service and route as its key.
pub fn fill(connection: &Connection, from: &[String]) -> Result<(), Failure> {
    topics::create_missing(connection, &topics::inputs(from.len() as u32))?;
    let mut source = FileSource::new(from);
    let mut producer = RecordProducer::new(connection.clone())?;
    source.seek(&Cut::default())?;
    loop {
        let polled = source.poll(50_000, Duration::ZERO)?;
        if polled.batches.is_empty() {
            return producer.flush(Duration::from_secs(120)).map_err(Failure::from);
        }
        for record in polled.batches.iter().flat_map(Batch::iter) {
            let (service, route) = service_and_route(record.payload).ok_or("a request without service or route")?;
            let (to, key) = (Partition { topic: Topic::Requests, partition: record.at.partition }, [service, route]);
            producer.send(to, record.timestamp_us, key.join("|").as_bytes(), record.payload)?;
        }
        producer.poll()?;
        polled.batches.into_iter().for_each(|batch| source.reuse(batch));
    }
}

/// Files of JSON lines as the partitions of a log.
pub struct FileSource {
    paths: Vec<PathBuf>,
    open: Vec<Reader>,
    spare: Spare,
}

struct Reader {
    file: BufReader<File>,
    next: u64,
    ended: bool,
    line: Vec<u8>,
}

impl FileSource {
    pub fn new(paths: &[String]) -> Self {
        Self { paths: paths.iter().map(PathBuf::from).collect(), open: Vec::new(), spare: Spare::default() }
    }
}

fn failure(what: impl std::fmt::Display) -> PortError {
    PortError::Fatal(format!("a file of requests: {what}"))
}

impl Reader {
    /// The file from its `next`-th line on.
    fn new(path: &PathBuf, next: u64) -> Result<Self, PortError> {
        let mut file = BufReader::with_capacity(BUFFER, File::open(path).map_err(failure)?);
        let mut line = Vec::new();
        for _ in 0..next {
            line.clear();
            file.read_until(b'\n', &mut line).map_err(failure)?;
        }
        Ok(Self { file, next, ended: false, line })
    }

    /// Adds the next lines to a batch, `limit` at most.
    fn fill(&mut self, batch: &mut Batch, limit: usize) -> Result<(), PortError> {
        for _ in 0..limit {
            self.line.clear();
            self.ended = self.file.read_until(b'\n', &mut self.line).map_err(failure)? == 0;
            if self.ended {
                break;
            }
            let line = self.line.trim_ascii_end();
            let timestamp_us = time_us(line).ok_or_else(|| failure("a line without event_time_us"))?;
            batch.push(self.next, timestamp_us, &[], line);
            self.next += 1;
        }
        Ok(())
    }
}

impl Source for FileSource {
    fn reuse(&mut self, spent: Batch) {
        self.spare.keep(spent);
    }

    fn seek(&mut self, from: &Cut) -> Result<(), PortError> {
        let partition = |number: usize| Partition { topic: Topic::Requests, partition: number as u32 };
        let paths = self.paths.iter().enumerate();
        let open = paths.map(|(number, path)| Reader::new(path, from.next_offset(partition(number))));
        self.open = open.collect::<Result<_, _>>()?;
        Ok(())
    }

    fn poll(&mut self, limit: usize, wait: Duration) -> Result<Polled, PortError> {
        let mut polled = Polled::default();
        let share = (limit / self.paths.len()).max(1);
        for (number, reader) in self.open.iter_mut().enumerate().filter(|(_, reader)| !reader.ended) {
            let partition = Partition { topic: Topic::Requests, partition: number as u32 };
            let mut batch = self.spare.take(partition);
            reader.fill(&mut batch, share)?;
            if !reader.ended {
                polled.lagging.push(partition);
            }
            if !batch.is_empty() {
                polled.batches.push(batch);
            }
        }
        if polled.batches.is_empty() {
            std::thread::sleep(wait);
        }
        Ok(polled)
    }
}
