//! How cost grows with workers, processes, keys and partitions, on a real broker.
//!
//! `KAFKA_BOOTSTRAP=127.0.0.1:9092 cargo bench --bench scale`; without it, it says that it was skipped. Each row fills a
//! topic first, then runs the `evenkeel` binary on it and asks its `/metrics` until every request is committed; the rate
//! is that from the first committed epoch with requests on. Broker and evenkeel share the machine.
//!
//! `-- --rows PROCESSESxWORKERS/KEYS/PARTITIONS,…` measures those instead, e.g. `2x1/1000/10`; `-- --requests N` so many.

mod common;

use common::{Generated, Options, produce, rounded};
use evenkeel::kafka::{Connection, all_bindings, topics};
use evenkeel::ports::{Clock, PortError, SystemClock};
use serde_json::Value;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Requests in a second of event time.
const PER_S: u64 = 200_000;

/// The rows of the table in `SCALE.md`.
const ROWS: &str = "1x1/1000/10,1x2/1000/10,1x4/1000/10,2x1/1000/10,2x2/1000/10,1x2/10000/10,2x1/10000/10,\
                    1x2/100000/10,2x1/100000/10,1x2/1000/100,2x1/1000/100,1x2/1000/1000,2x1/1000/1000";

/// Requests count by service and route alone, and a minute of them is held by no bound.
const CONFIG: &str = "[tuning]\nkey_sets = [[\"service\", \"route\"]]\nmax_keys = 2000000\n";

/// What a row measures.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Row {
    processes: usize,
    workers: usize,
    keys: u64,
    partitions: u32,
}

impl Row {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim().split('/');
        let (processes, workers) = parts.next()?.split_once('x')?;
        let (keys, partitions) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        Some(Self { processes: processes.parse().ok()?, workers: workers.parse().ok()?, keys, partitions })
    }
}

fn main() -> Result<(), PortError> {
    let options = Options::from_args();
    let Ok(brokers) = std::env::var("KAFKA_BOOTSTRAP") else {
        options.report("scale", &[("skipped", Value::from("KAFKA_BOOTSTRAP is not set"))]);
        return Ok(());
    };
    let total = argument("--requests").and_then(|n| n.parse().ok()).unwrap_or(options.pick(3_000_000, 300_000));
    let scratch = std::env::temp_dir().join(format!("evenkeel-scale-{}", std::process::id()));
    std::fs::create_dir_all(&scratch).map_err(|error| PortError::Fatal(error.to_string()))?;
    let rows = argument("--rows").unwrap_or_else(|| ROWS.to_owned());
    for row in rows.split(',') {
        let row =
            Row::parse(row).ok_or_else(|| PortError::Fatal(format!("{row}: PROCESSESxWORKERS/KEYS/PARTITIONS")))?;
        let prefix = format!("scale.{}.", SystemClock.now_us());
        let connection = Connection { brokers: brokers.clone(), prefix, ..Connection::default() };
        measure(options, &connection, row, total, &scratch)?;
    }
    drop(std::fs::remove_dir_all(&scratch));
    Ok(())
}

fn argument(name: &str) -> Option<String> {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.nth(1)
}

/// Puts the requests on their topic; the other topics are empty.
fn fill(options: Options, connection: &Connection, row: Row, total: u64) -> Result<(), PortError> {
    let mut needed = topics::inputs(1);
    needed
        .iter_mut()
        .filter(|topic| topic.name.starts_with("req."))
        .for_each(|topic| topic.partitions = row.partitions);
    topics::create_missing(connection, &needed)?;
    // They end now: a log that ended long ago would be followed by a jump of the present, and all that it closes.
    let start_us = SystemClock.now_us() - (total * 1_000_000 / PER_S) as i64;
    let requests = Generated::new(options, row.keys, row.partitions, total, PER_S).starting_at(start_us);
    produce(requests, connection)
}

/// The processes of a run; they end with it.
struct Run(Vec<Child>);

impl Run {
    fn start(connection: &Connection, row: Row, ports: &[u16], scratch: &Path) -> std::io::Result<Self> {
        let (config, hosts) = (scratch.join("config.toml"), scratch.join("hosts"));
        std::fs::write(&config, CONFIG)?;
        let lines = ports[1..=row.processes].iter().map(|port| format!("127.0.0.1:{port}\n")).collect::<String>();
        std::fs::write(&hosts, lines)?;
        let start = |process: usize| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_evenkeel"));
            command.args(["run", "--brokers", &connection.brokers, "--topic-prefix", &connection.prefix]);
            command.args(["--workers", &row.workers.to_string()]).arg("--config").arg(&config);
            command.args(["--transactional-id", &connection.prefix, "--log", "warn"]);
            if row.processes > 1 {
                command.args(["--process", &format!("{process}/{}", row.processes)]).arg("--hosts").arg(&hosts);
            }
            if process == 0 {
                command.args(["--http", &format!("127.0.0.1:{}", ports[0])]);
            }
            command.stdin(Stdio::null()).spawn()
        };
        (0..row.processes).map(start).collect::<Result<_, _>>().map(Self)
    }

    /// User and system time of all of them, s, and their resident memory, MB.
    fn usage(&self) -> (f64, u64) {
        let of = |child: &Child| {
            let read = |file: &str| std::fs::read_to_string(format!("/proc/{}/{file}", child.id())).unwrap_or_default();
            let (stat, status) = (read("stat"), read("status"));
            let after_name = stat.rsplit(')').next().unwrap_or_default();
            let ticks = after_name.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok());
            let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let kib = peak.and_then(|peak| peak.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0);
            (ticks.sum::<f64>() / 100.0, kib / 1024)
        };
        self.0.iter().map(of).fold((0.0, 0), |(cpu_s, mb), (cpu, peak)| (cpu_s + cpu, mb + peak))
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        for child in &mut self.0 {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

fn measure(options: Options, connection: &Connection, row: Row, total: u64, scratch: &Path) -> Result<(), PortError> {
    let failed = |error: std::io::Error| PortError::Fatal(error.to_string());
    fill(options, connection, row, total)?;
    let ports = (0..=row.processes).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<Vec<_>, _>>();
    let ports = ports.and_then(|them| them.iter().map(|it| Ok(it.local_addr()?.port())).collect::<Result<Vec<_>, _>>());
    let (ports, started) = (ports.map_err(failed)?, Instant::now());
    let run = Run::start(connection, row, &ports, scratch).map_err(failed)?;
    let mut first = None;
    let (seconds, records, outputs) = loop {
        std::thread::sleep(Duration::from_millis(20));
        let metrics = metrics(ports[0]);
        let records = metric(&metrics, "evenkeel_records_total");
        if records == 0 {
            if started.elapsed() > Duration::from_secs(120) {
                return Err(PortError::Fatal("nothing was committed for two minutes".to_owned()));
            }
            continue;
        }
        let (since, before, _) = *first.get_or_insert((Instant::now(), records, run.usage().0));
        if records >= total {
            let outputs = metrics.lines().filter(|line| line.starts_with("evenkeel_outputs_total{"));
            let outputs = outputs.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum::<u64>();
            break (since.elapsed().as_secs_f64(), records - before, outputs);
        }
    };
    let (cpu_s, peak_mb) = run.usage();
    drop(run);
    let epochs = all_bindings(connection)?.len();
    let rate = if records == 0 { Value::from("too few requests") } else { rounded(records as f64 / seconds, 0) };
    options.report(
        "scale",
        &[
            ("processes", Value::from(row.processes)),
            ("workers", Value::from(row.workers)),
            ("keys", Value::from(row.keys)),
            ("partitions", Value::from(row.partitions)),
            ("events_per_s", rate),
            ("events_per_cpu_s", rounded(total as f64 / cpu_s, 0)),
            ("epochs", Value::from(epochs)),
            ("outputs", Value::from(outputs)),
            ("peak_mb", Value::from(peak_mb)),
        ],
    );
    Ok(())
}

/// What a process says about itself; nothing before it serves.
fn metrics(port: u16) -> String {
    use std::io::{Read, Write};
    let ask = || {
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok::<_, std::io::Error>(text)
    };
    ask().unwrap_or_default()
}

fn metric(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}
