//! Commands that make or move input: generate, ship.

use super::{Ending, GenerateArgs, KafkaArgs, fatal, io_error};
use crate::embedded::InputWriter;
use crate::encode::Rewriter;
use crate::kafka::{RecordProducer, topics};
use crate::mask::Masks;
use crate::policy::{Policies, Spec};
use crate::ports::{Clock, PortError, SystemClock};
use crate::ship::{EmbeddedSink, Input, KafkaSink, ShipOptions, Sink, ship as ship_lines, stop_signal};
use crate::shop::{Plan, Shop};
use evenkeel_dataflows::Tuning;
use evenkeel_schemas::{Partition, Topic};
use serde_json::json;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

/// How often records are made while time goes by.
const STEP: Duration = Duration::from_millis(5);

/// Records of a backlog made at a time, µs of their own time.
const BACKLOG_STEP_US: i64 = 100_000;

/// Where generated records go.
enum Target {
    Kafka(RecordProducer),
    Embedded(InputWriter),
    File(std::io::BufWriter<std::fs::File>),
}

impl Target {
    fn open(args: &GenerateArgs) -> Result<Self, PortError> {
        if let Some(directory) = &args.data {
            return Ok(Self::Embedded(InputWriter::new(directory)));
        }
        if let Some(path) = &args.out {
            let file = std::fs::File::create(path).map_err(io_error("making", path))?;
            return Ok(Self::File(std::io::BufWriter::new(file)));
        }
        let connection = args.kafka.connection()?;
        topics::create_missing(&connection, &topics::inputs(crate::shop::REQUEST_PARTITIONS))?;
        Ok(Self::Kafka(RecordProducer::new(connection)?))
    }

    fn put(&mut self, partition: Partition, at_us: i64, key: &[u8], payload: &[u8]) -> Result<(), PortError> {
        match self {
            Self::Kafka(producer) => producer.send(partition, at_us, key, payload),
            Self::Embedded(inputs) => inputs.append(partition, at_us, key, payload),
            // A file holds the lines that `ship` would send to the request topic.
            Self::File(file) if partition.topic == Topic::Requests && !payload.contains(&b'\n') => {
                let written = file.write_all(payload).and_then(|()| file.write_all(b"\n"));
                written.map_err(|error| fatal(format!("writing: {error}")))
            }
            Self::File(_) => Ok(()),
        }
    }

    fn flush(&mut self) -> Result<(), PortError> {
        match self {
            Self::Kafka(producer) => producer.poll(),
            Self::Embedded(inputs) => inputs.flush(),
            Self::File(file) => file.flush().map_err(|error| fatal(format!("writing: {error}"))),
        }
    }

    fn finish(&mut self) -> Result<(), PortError> {
        match self {
            Self::Kafka(producer) => producer.flush(Duration::from_secs(60)),
            Self::Embedded(inputs) => inputs.sync(),
            Self::File(_) => self.flush(),
        }
    }
}

pub(super) fn generate(args: GenerateArgs, json: bool) -> Result<Ending, PortError> {
    let mut target = Target::open(&args)?;
    let begun_us = SystemClock.now_us();
    let start_us = if args.backlog { begun_us - i64::from(args.seconds) * 1_000_000 } else { begun_us };
    let mut plan = Plan::demo(args.seed, start_us, args.seconds);
    plan.requests_per_s = args.rate;
    plan.keys = args.keys;
    plan.malformed_per_million = args.malformed_per_million;
    if args.calm {
        plan.faults.clear();
    }
    let faults = plan.faults.clone();
    let mut shop = Shop::new(plan);
    let mut records = 0u64;
    let mut rewriter = Rewriter::new(args.encoding, args.events_per_record as usize);
    while shop.now_us() < shop.end_us() {
        let to_us = if args.backlog { shop.now_us() + BACKLOG_STEP_US } else { SystemClock.now_us() };
        let mut put = Ok(());
        let mut pass = |partition, at_us, key: &[u8], payload: &[u8]| {
            records += 1;
            target.put(partition, at_us, key, payload)
        };
        shop.advance(to_us.min(shop.end_us()), &mut |partition: Partition, at_us, key: &[u8], payload: &[u8]| {
            if put.is_ok() && partition.topic == Topic::Requests {
                put = rewriter.put((partition, at_us), key, payload, &mut pass);
            } else if put.is_ok() {
                put = pass(partition, at_us, key, payload);
            }
        });
        put?;
        rewriter.flush(&mut pass)?;
        target.flush()?;
        if !args.backlog {
            std::thread::sleep(STEP);
        }
    }
    target.finish()?;
    let counts = shop.counts();
    if json {
        let faults = faults.iter().map(|it| {
            json!({"name": it.name, "service": it.service, "node": it.node, "start_us": it.start_us, "must_page": it.must_page})
        });
        println!(
            "{}",
            json!({"seed": args.seed, "records": records, "requests": counts.requests,
            "malformed": counts.malformed, "late": counts.late, "faults": faults.collect::<Vec<_>>()})
        );
    } else {
        println!(
            "seed {}: {records} records, {} requests, {} malformed, {} late",
            args.seed, counts.requests, counts.malformed, counts.late
        );
        for fault in &faults {
            let after_s = (fault.start_us - start_us) as f64 / 1e6;
            println!("{after_s:>8.1} s  {} on {}", fault.name, fault.node.as_ref().unwrap_or(&fault.service));
        }
    }
    Ok(Ending::Well)
}

#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("from").required(true).args(["listen", "file", "stdin"])))]
pub(super) struct ShipArgs {
    #[command(flatten)]
    kafka: KafkaArgs,
    /// Take lines from every connection to this address.
    #[arg(long)]
    listen: Vec<String>,
    /// Take lines from this file.
    #[arg(long)]
    file: Option<PathBuf>,
    /// Go on at the end of the file, as lines are appended.
    #[arg(long, requires = "file")]
    follow: bool,
    /// `-`: take lines from standard input.
    #[arg(value_parser = ["-"])]
    stdin: Option<String>,
    /// The topic.
    #[arg(long)]
    topic: String,
    /// Write into this data directory instead of a broker.
    #[arg(long, conflicts_with = "brokers")]
    data: Option<PathBuf>,
    /// Replace in every line what the MaskRules of these policies find, before it is sent. May be repeated.
    #[arg(long, value_name = "FILE|DIR")]
    masks: Vec<PathBuf>,
    /// The key that pseudonyms follow from, 16 bytes or more.
    #[arg(long, requires = "masks", value_name = "FILE")]
    mask_key: Option<PathBuf>,
}

/// What is replaced in lines.
fn masks(args: &ShipArgs) -> Result<Masks, PortError> {
    let policies = Policies::read(&args.masks, &Tuning::default())?.sound()?;
    let rules = policies.documents.into_iter().filter_map(|document| match document.spec {
        Spec::Mask(rule) => Some(rule),
        _ => None,
    });
    let rules = rules.collect::<Vec<_>>();
    if rules.is_empty() && !args.masks.is_empty() {
        return Err(fatal("there is no MaskRule among these policies: what is to be replaced?"));
    }
    Masks::new(rules, args.mask_key.as_deref())
}

pub(super) fn ship(args: ShipArgs) -> Result<Ending, PortError> {
    let options = ShipOptions { masks: masks(&args)?, ..ShipOptions::default() };
    let sink: Box<dyn Sink> = match &args.data {
        Some(directory) => {
            let topic = Topic::from_name(&args.topic).ok_or_else(|| fatal(unknown_topic(&args.topic)))?;
            Box::new(EmbeddedSink::new(directory, topic))
        }
        None => Box::new(KafkaSink::new(args.kafka.connection()?, &args.topic)?),
    };
    let input = match args.file {
        Some(path) => Input::File { path, follow: args.follow },
        None if args.stdin.is_some() => Input::Stdin,
        None => Input::Listen(args.listen.iter().map(|address| bind(address)).collect::<Result<_, _>>()?),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(|error| fatal(format!("starting the runtime: {error}")))?;
    let shipped = runtime.block_on(async { ship_lines(input, sink, options, stop_signal()?).await });
    runtime.shutdown_background();
    let report = shipped.map_err(|error| fatal(format!("ship: {error}")))?;
    Ok(if report.delivered == report.lines { Ending::Well } else { Ending::NotWell })
}

fn bind(address: &str) -> Result<std::net::TcpListener, PortError> {
    std::net::TcpListener::bind(address)
        .map_err(|error| fatal(format!("--listen {address}: {error}; choose a free address")))
}

fn unknown_topic(name: &str) -> String {
    let names = Topic::ALL.map(Topic::name).join(", ");
    format!("no input topic {name:?}: the embedded log has {names}")
}
