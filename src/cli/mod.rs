//! The command line: what can be asked for, and what a person or a script gets to see.
//!
//! Settings: a flag wins over `EVENKEEL_*` in the environment, which wins over the configuration file. Tables by
//! default, one JSON object with `-o json`. Exit codes: 0 well, 1 not well (what was checked is not as it should be),
//! 2 unusable (wrong arguments, unreachable, unreadable).

mod act;
mod alert;
mod audit;
mod cold;
mod cold_args;
mod config;
mod detect;
mod documents;
mod log_args;
mod offline;
mod online;
mod people;
mod policy;
mod root_cause;
mod traffic;

pub use cold_args::{Access, ColdCommand, OpenStore, open_directory};
pub use config::Config;

use crate::encode::Format;
use crate::ports::PortError;
use clap::{Parser, Subcommand, ValueEnum};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::ExitCode;

/// Keeps live systems on an even keel: finds what goes wrong in request and telemetry events, says what to do about it,
/// and proves every decision.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
struct Cli {
    #[command(flatten)]
    manner: Manner,
    #[command(subcommand)]
    command: Command,
}

/// evenkeel's cold store in S3 and stores like it: where `evenkeel` takes a cold directory, this takes a URL, too:
/// s3://BUCKET/PREFIX?endpoint=URL&region=NAME, gs://BUCKET/PREFIX, az://CONTAINER/PREFIX. Credentials come from the
/// environment, as the stores' own tools read them.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
struct ColdCli {
    #[command(flatten)]
    manner: Manner,
    #[command(subcommand)]
    command: ColdCommand,
}

/// How to speak.
#[derive(Debug, clap::Args)]
struct Manner {
    /// Tables for people or JSON for scripts.
    #[arg(short, long, global = true, value_enum, default_value_t = View::Table)]
    output: View,
    /// Log lines on standard error: off, error, warn, info, debug.
    #[arg(long, global = true, env = "EVENKEEL_LOG", default_value = "info")]
    log: String,
}

/// How results are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum View {
    Table,
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Play a shop with seeded faults, find and recover each of them; needs nothing but this program.
    #[command(after_help = "Example:\n  evenkeel demo --seconds 60 --seed 7 --data ./demo --keep")]
    Demo(DemoArgs),
    /// Run the pipeline: on Kafka with --brokers, else on the embedded log in --data.
    #[command(after_help = RUN_EXAMPLES)]
    Run(RunArgs),
    /// Tell receivers of incidents: Alertmanager, PagerDuty, Slack, webhooks; serve what amtool and a status page ask for.
    #[command(after_help = ALERT_EXAMPLES)]
    Alert(alert::AlertArgs),
    /// Carry out commands at HAProxy, at Envoy, by a webhook, by allow-listed scripts, or as documents for Kubernetes; answer
    /// what came of each.
    #[command(after_help = ACT_EXAMPLES)]
    Act(act::ActArgs),
    #[command(flatten)]
    People(people::PeopleCommand),
    #[command(flatten)]
    Cold(ColdCommand),
    /// Seal the audit log, prove its entries, verify, watch, witness and serve it.
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Say what the columns of the Parquet files mean, of all datasets or of one.
    #[command(after_help = "Example:\n  evenkeel columns rollups")]
    Columns {
        /// Which one, e.g. audit, rollups, requests.
        dataset: Option<String>,
    },
    /// Find what is unusual in time series in CSV files, as it would be found live: scores, alerts with reasons, a
    /// picture a series.
    #[command(
        after_help = "Examples:\n  evenkeel detect cpu.csv latency.csv --out ./found && head ./found/cpu.scores.csv\n  evenkeel detect export.csv --timestamp when --value p99_ms --out ./found -o json"
    )]
    Detect(detect::DetectArgs),
    /// Make seeded traffic with labelled faults, into a broker, a data directory or a file.
    #[command(
        after_help = "Examples:\n  evenkeel generate --seconds 60 --rate 2000 --brokers 127.0.0.1:9092\n  evenkeel generate --encoding arrow --events-per-record 100 --rate 50000 --brokers 127.0.0.1:9092"
    )]
    Generate(GenerateArgs),
    /// Ship lines from TCP, a file or standard input (`-`) to a topic.
    #[command(
        after_help = "Examples:\n  evenkeel ship --listen 127.0.0.1:5514 --topic req.events.v1 --brokers 127.0.0.1:9092\n  evenkeel ship --file access.log --follow --topic req.events.v1 --brokers 127.0.0.1:9092 --masks policies/ --mask-key mask.key"
    )]
    Ship(traffic::ShipArgs),
    /// Check, test, compare and apply policies: limits of detectors, objectives and recovery as YAML documents.
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    /// Rank who may have caused an alert, from a call graph and its metrics in CSV files.
    #[command(
        after_help = "Example:\n  evenkeel root-cause --graph graph.csv --normal noissue/metrics.csv --incident issue_7/metrics.csv --target PetSite --metric latency"
    )]
    RootCause(root_cause::RootCauseArgs),
    /// List the JSON Schemas of everything that goes in and out, or print one.
    #[command(
        after_help = "Examples:\n  evenkeel schema request\n  evenkeel schema request --encoding protobuf > request.proto"
    )]
    Schema {
        /// Which one.
        name: Option<String>,
        /// The schema of requests in another encoding: protobuf (proto3) or avro.
        #[arg(long, value_enum, default_value_t = Format::Json)]
        encoding: Format,
    },
}

const RUN_EXAMPLES: &str = "Examples:
  evenkeel run --brokers 127.0.0.1:9092 --http 127.0.0.1:9464

Two processes that share the work, started in any order; an input topic should have a few partitions for each:
  printf '10.0.0.1:7701\\n10.0.0.2:7701\\n' > hosts
  evenkeel run --brokers 10.0.0.9:9092 --hosts hosts --process 0/2
  evenkeel run --brokers 10.0.0.9:9092 --hosts hosts --process 1/2";

const ALERT_EXAMPLES: &str = "Examples:
  evenkeel policy apply tests/policies/shop --data ./demo --by \"$USER\"    # its Receivers are told from now on
  evenkeel alert --data ./demo
  evenkeel alert --data ./demo --policies receivers.yaml                  # these instead, without applying anything
  amtool --alertmanager.url=http://127.0.0.1:9095 alert query
  evenkeel alert --data ./demo --why INC-e7d6e353c1dc";

const ACT_EXAMPLES: &str = "Examples:
  evenkeel act --brokers 127.0.0.1:9092 --haproxy /run/haproxy/admin.sock --state ./act --map s1=app/s1 --map s2=app/s2
  evenkeel act --brokers 127.0.0.1:9092 --envoy /etc/envoy/eds --endpoints ./endpoints --envoy-admin http://127.0.0.1:9901 --state ./act
  evenkeel act --brokers 127.0.0.1:9092 --webhook https://deploy.example/commands --secret-file ./key --state ./hook --kinds rollback,set_flag
  evenkeel act --brokers 127.0.0.1:9092 --scripts scripts.toml --state ./scripts
  evenkeel act --brokers 127.0.0.1:9092 --kubernetes-dry-run ./requests --namespace shop --state ./kubernetes";

/// Where a broker is.
#[derive(Clone, Debug, Default, clap::Args)]
struct KafkaArgs {
    /// Kafka brokers, host:port, comma separated.
    #[arg(long, env = "EVENKEEL_BROKERS")]
    brokers: Option<String>,
    /// A librdkafka setting, e.g. security.protocol=SASL_SSL; may be repeated.
    #[arg(long = "kafka", value_name = "KEY=VALUE")]
    properties: Vec<String>,
    /// Put before every topic name.
    #[arg(long, env = "EVENKEEL_TOPIC_PREFIX")]
    topic_prefix: Option<String>,
}

#[derive(Debug, clap::Args)]
struct DemoArgs {
    /// How long to play, s.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(5..=3600))]
    seconds: u32,
    /// Decides everything that is left to chance.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where to write; must be empty or not there. Default: a temporary directory.
    #[arg(long)]
    data: Option<PathBuf>,
    /// Keep what was written.
    #[arg(long)]
    keep: bool,
}

#[derive(Debug, Default, clap::Args)]
struct RunArgs {
    #[command(flatten)]
    kafka: KafkaArgs,
    /// Data directory of the embedded log.
    #[arg(long, env = "EVENKEEL_DATA")]
    data: Option<PathBuf>,
    /// Configuration file (TOML).
    #[arg(long, env = "EVENKEEL_CONFIG")]
    config: Option<PathBuf>,
    /// What is done with commands: observe, suggest, approve, auto.
    #[arg(long, env = "EVENKEEL_MODE")]
    mode: Option<String>,
    /// Worker threads.
    #[arg(long, env = "EVENKEEL_WORKERS", value_parser = clap::value_parser!(u16).range(1..=256))]
    workers: Option<u16>,
    /// Serve /metrics, /healthz and /readyz here.
    #[arg(long, env = "EVENKEEL_HTTP")]
    http: Option<String>,
    /// One pipeline at a time commits under this name; a second one takes over.
    #[arg(long, env = "EVENKEEL_TRANSACTIONAL_ID")]
    transactional_id: Option<String>,
    /// This is process I of N that share the work; they count from 0, and process 0 commits for all. Needs --hosts.
    #[arg(long, env = "EVENKEEL_PROCESS", value_name = "I/N")]
    process: Option<String>,
    /// Where the processes listen for each other: one host:port a line, process 0 first; the same file for all.
    #[arg(long, env = "EVENKEEL_HOSTS", value_name = "FILE")]
    hosts: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct GenerateArgs {
    #[command(flatten)]
    kafka: KafkaArgs,
    /// Write into this data directory.
    #[arg(long, conflicts_with = "brokers")]
    data: Option<PathBuf>,
    /// Write the request lines into this file.
    #[arg(long, conflicts_with_all = ["brokers", "data"])]
    out: Option<PathBuf>,
    /// How long, s.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// Requests a second.
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// Decides everything that is left to chance.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// At least so many distinct keys; for load tests.
    #[arg(long, default_value_t = 0)]
    keys: u32,
    /// Share of hostile records, per million.
    #[arg(long, default_value_t = 20)]
    malformed_per_million: u32,
    /// Without faults.
    #[arg(long)]
    calm: bool,
    /// Do not wait: write the last SECONDS at once, as a backlog.
    #[arg(long)]
    backlog: bool,
    /// How requests are written; a file holds lines, and so JSON.
    #[arg(long, value_enum, default_value_t = Format::Json, conflicts_with = "out")]
    encoding: Format,
    /// Requests of an Arrow record.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=i64::from(evenkeel_schemas::MAX_BATCH_ROWS)))]
    events_per_record: u32,
}

/// How a command ended that did what it was asked to.
enum Ending {
    Well,
    NotWell,
    Unusable,
}

/// Parses the arguments, runs the command, tells what went wrong.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    start_log(&cli.manner.log);
    end_quietly_with_the_reader();
    let json = cli.manner.output == View::Json;
    exit(match cli.command {
        Command::Demo(args) => offline::demo(args, json),
        Command::Run(args) => online::run(args),
        Command::Alert(args) => alert::alert(&args, json),
        Command::Act(args) => act::act(&args, json),
        Command::People(command) => people::run(command, json),
        Command::Audit(command) => audit::run(command, json),
        Command::Cold(command) => command.run(open_directory, json),
        Command::Columns { dataset } => cold::columns(dataset.as_deref(), json),
        Command::Detect(args) => detect::detect(&args, json),
        Command::Generate(args) => traffic::generate(args, json),
        Command::Ship(args) => traffic::ship(args),
        Command::Policy(command) => policy::run(command, json),
        Command::RootCause(args) => root_cause::run(&args, json),
        Command::Schema { name, encoding } => offline::schema(name.as_deref(), encoding, json),
    })
}

/// The same of the commands about cold stores alone, for a program that opens others than directories.
pub fn cold_main(open: OpenStore) -> ExitCode {
    let cli = ColdCli::parse();
    start_log(&cli.manner.log);
    end_quietly_with_the_reader();
    exit(cli.command.run(open, cli.manner.output == View::Json))
}

fn exit(ending: Result<Ending, PortError>) -> ExitCode {
    match ending {
        Ok(Ending::Well) => ExitCode::SUCCESS,
        Ok(Ending::NotWell) => ExitCode::from(1),
        Ok(Ending::Unusable) => ExitCode::from(2),
        Err(error) => {
            eprintln!("evenkeel: {error}");
            ExitCode::from(2)
        }
    }
}

/// Whoever reads standard output may stop, as `head` does: that is no fault, and ends the process as other tools end.
fn end_quietly_with_the_reader() {
    const BY_SIGPIPE: i32 = 128 + 13;
    let otherwise = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let is_printing = |why: &str| why.starts_with("failed printing to stdout") && why.contains("Broken pipe");
        if panic.payload_as_str().is_some_and(is_printing) {
            std::process::exit(BY_SIGPIPE);
        }
        otherwise(panic);
    }));
}

/// Log lines on standard error: text on a terminal, JSON elsewhere.
fn start_log(level: &str) {
    use std::io::IsTerminal;
    use tracing_subscriber::{EnvFilter, fmt};
    let filter = EnvFilter::try_new(level).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() { builder.init() } else { builder.json().init() }
}

impl KafkaArgs {
    fn connection(&self) -> Result<crate::kafka::Connection, PortError> {
        let brokers = self.brokers.clone().ok_or_else(|| fatal("no brokers: give --brokers HOST:PORT"))?;
        let mut connection = crate::kafka::Connection::plain(brokers);
        connection.prefix = self.topic_prefix.clone().unwrap_or_default();
        for property in &self.properties {
            let (key, value) = property.split_once('=').ok_or_else(|| {
                fatal(format!("--kafka {property}: write it as KEY=VALUE, e.g. security.protocol=SSL"))
            })?;
            connection.properties.insert(key.to_owned(), value.to_owned());
        }
        Ok(connection)
    }
}

fn fatal(what: impl Into<String>) -> PortError {
    PortError::Fatal(what.into())
}

/// A file operation's error: what and where.
fn io_error(doing: &str, path: &std::path::Path) -> impl FnOnce(std::io::Error) -> PortError {
    let what = format!("{doing} {}", path.display());
    move |error| PortError::Fatal(format!("{what}: {error}"))
}

/// Serves on a thread of its own, which ends with the process.
fn serve<F: Future<Output = std::io::Result<()>> + Send + 'static>(
    address: &str,
    server: impl FnOnce(TcpListener) -> F,
) -> Result<std::thread::JoinHandle<()>, PortError> {
    let socket = TcpListener::bind(address);
    let socket = socket.map_err(|error| fatal(format!("listening on {address}: {error}; choose a free address")))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(|error| fatal(format!("starting the runtime: {error}")))?;
    let server = server(socket);
    Ok(std::thread::spawn(move || {
        if let Err(error) = runtime.block_on(server) {
            tracing::error!(%error, "the HTTP server ended");
        }
    }))
}
