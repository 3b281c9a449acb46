//! The `evenkeel-mirror` binary; see `evenkeel-mirror --help`.

use clap::Parser;
use evenkeel::kafka::{Connection, KafkaOutputs, topics};
use evenkeel::ports::PortError;
use evenkeel_postgres::mirror::copy::Copier;
use evenkeel_postgres::mirror::report::Reporter;
use evenkeel_postgres::mirror::table::Table;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How long to rest when there was nothing to copy.
const REST: Duration = Duration::from_millis(50);

/// How often a look is taken at the row behind the last one.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Copies evenkeel's committed audit log into a PostgreSQL table, exactly once and in order, and watches the table: what is
/// found becomes an incident. Exit codes: 0 well, 1 with --once: something was found, 2 unusable.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Example:\n  evenkeel-mirror --brokers 127.0.0.1:9092 --postgres postgres://audit@127.0.0.1/app --table public.audit_log\n\nWith the table captured by Debezium and `mirror_table = \"app.public.audit_log\"` under [tuning], evenkeel itself hears of\nevery change of it at once."
)]
struct Arguments {
    /// Kafka brokers, host:port, comma separated.
    #[arg(long, env = "EVENKEEL_BROKERS")]
    brokers: String,
    /// A librdkafka setting, e.g. security.protocol=SASL_SSL; may be repeated.
    #[arg(long = "kafka", value_name = "KEY=VALUE", value_parser = property)]
    properties: Vec<(String, String)>,
    /// Put before every topic name.
    #[arg(long, env = "EVENKEEL_TOPIC_PREFIX", default_value = "")]
    topic_prefix: String,
    /// The database: postgres://USER:PASSWORD@HOST:PORT/DATABASE. The connection is not encrypted.
    #[arg(long, env = "EVENKEEL_POSTGRES", hide_env_values = true)]
    postgres: String,
    /// The table; made if it is not there.
    #[arg(long, default_value = "public.audit_log")]
    table: String,
    /// The origin in the genesis of the chain, as in the tuning.
    #[arg(long, default_value = evenkeel_schemas::audit::ORIGIN)]
    origin: String,
    /// How often every row is hashed again, s; below half of `detection.finding_s`, so that an incident stands.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    verify_every_s: u64,
    /// Copy what is there, check all of it, and end.
    #[arg(long)]
    once: bool,
}

fn property(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write it as KEY=VALUE, e.g. security.protocol=SSL")?;
    Ok((key.to_owned(), value.to_owned()))
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let mut pause = Duration::from_millis(100);
    loop {
        match run(&arguments, &mut pause) {
            Ok(found) => return ExitCode::from(u8::from(found > 0)),
            Err(PortError::Retry(why)) if !arguments.once => {
                tracing::warn!(why, pause_ms = pause.as_millis() as u64, "trying again");
                std::thread::sleep(pause);
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            Err(error) => {
                eprintln!("evenkeel-mirror: {error}");
                return ExitCode::from(2);
            }
        }
    }
}

/// Copies and watches; with `--once` ends, and says how much was found.
fn run(arguments: &Arguments, pause: &mut Duration) -> Result<usize, PortError> {
    let mut connection = Connection::plain(&arguments.brokers);
    connection.prefix.clone_from(&arguments.topic_prefix);
    connection.properties = arguments.properties.iter().cloned().collect();
    topics::create_missing(&connection, &topics::inputs(topics::INPUT_PARTITIONS))?;
    let mut table = Table::open(&arguments.postgres, &arguments.table)?;
    let mut reporter = Reporter::new(connection.clone(), &arguments.table)?;
    let mut copier = Copier::new(KafkaOutputs::new(connection), &arguments.origin);
    let every = Duration::from_secs(arguments.verify_every_s);
    let (mut looked, mut verified, mut ahead) = (Instant::now(), None::<Instant>, Vec::new());
    loop {
        let (copied, wrong) = copier.copy(&mut table)?;
        reporter.say(&wrong)?;
        *pause = Duration::from_millis(100);
        let mut found = wrong.len();
        if looked.elapsed() >= LOOK_EVERY {
            looked = Instant::now();
            let now = copier.ahead(&mut table)?;
            // The same is said again only when every row was looked at: what is said is audited, and copied, too.
            if now != ahead {
                reporter.say(&now)?;
                ahead = now;
            }
        }
        if verified.is_none_or(|at| at.elapsed() >= every) {
            let started = Instant::now();
            let (rows, wrong) = copier.verify(&mut table)?;
            reporter.say(&wrong)?;
            found += wrong.len();
            tracing::info!(
                rows,
                wrong = wrong.len(),
                ms = started.elapsed().as_millis() as u64,
                "hashed every row again"
            );
            verified = Some(Instant::now());
        }
        if arguments.once {
            return Ok(found);
        }
        if copied == 0 {
            std::thread::sleep(REST);
        }
    }
}
