//! The `evenkeel-vault` binary; see `evenkeel-vault --help`.

use clap::{Parser, Subcommand};
use evenkeel::kafka::{Connection, KafkaSource, RecordProducer, topics};
use evenkeel::ports::{Clock, PortError, Source, SystemClock};
use evenkeel_dataflows::Batch;
use evenkeel_postgres::vault::rewrite::{MARK, Personal, rewrite};
use evenkeel_postgres::vault::store::Store;
use evenkeel_schemas::audit::hex;
use evenkeel_schemas::{AuditEvent, AuditEventType, Detail, Partition, Topic};
use std::process::ExitCode;
use std::time::Duration;

/// Records taken at a time.
const RECORDS: usize = 1_000;

/// How long one wait for records lasts.
const WAIT: Duration = Duration::from_millis(100);

/// How long records may take to be safe on the broker.
const SAFE_WITHIN: Duration = Duration::from_secs(30);

/// Pause before another attempt.
const PAUSE: Duration = Duration::from_secs(1);

/// Keeps personal data out of the audit log: listed columns go on as salted commitments, and what is behind them into a vault,
/// where it can be erased. Exit codes: 0 well, 1 nothing there, 2 unusable.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The vault's database: postgres://USER:PASSWORD@HOST:PORT/DATABASE. The connection is not encrypted.
    #[arg(long, env = "EVENKEEL_VAULT", hide_env_values = true, global = true, default_value = "")]
    vault: String,
    /// Kafka brokers, host:port, comma separated.
    #[arg(long, env = "EVENKEEL_BROKERS", global = true, default_value = "")]
    brokers: String,
    /// Put before every topic name.
    #[arg(long, env = "EVENKEEL_TOPIC_PREFIX", global = true, default_value = "")]
    topic_prefix: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Bring changes from raw.db.changes.v1 to db.changes.v1.
    #[command(
        after_help = "Example:\n  evenkeel-vault run --brokers 127.0.0.1:9092 --vault postgres://vault@127.0.0.1/vault --personal public.orders:customer_id:name,mail"
    )]
    Run {
        /// Put before the names of the topics that are read, after the prefix of all.
        #[arg(long, default_value = "raw.")]
        from: String,
        /// What is personal: TABLE:SUBJECT:COLUMN,COLUMN. SUBJECT is the column that says whose row it is. May be repeated.
        #[arg(long, required = true)]
        personal: Vec<Personal>,
    },
    /// Show what is behind a commitment, and the salt with which anybody can check it. It is audited.
    Open {
        /// The commitment, as it is in the log.
        commitment: String,
        /// Who asks.
        #[arg(long)]
        by: String,
    },
    /// Delete all of a person's values, and the salt without which commitments mean nothing. It is audited.
    Erase {
        /// The person, as the SUBJECT column says.
        subject: String,
        /// Who asks.
        #[arg(long)]
        by: String,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let ended = match &arguments.command {
        Command::Run { from, personal } => run(&arguments, from, personal),
        Command::Open { commitment, by } => open(&arguments, commitment, by),
        Command::Erase { subject, by } => erase(&arguments, subject, by),
    };
    ended.unwrap_or_else(|error| {
        eprintln!("evenkeel-vault: {error}");
        ExitCode::from(2)
    })
}

fn connection(arguments: &Arguments, more: &str) -> Connection {
    let mut connection = Connection::plain(&arguments.brokers);
    connection.prefix = format!("{}{more}", arguments.topic_prefix);
    connection
}

fn run(arguments: &Arguments, from: &str, personal: &[Personal]) -> Result<ExitCode, PortError> {
    loop {
        match bring(arguments, from, personal) {
            Err(PortError::Retry(why)) => {
                tracing::warn!(why, "trying again");
                std::thread::sleep(PAUSE);
            }
            Err(error) => return Err(error),
            Ok(never) => match never {},
        }
    }
}

fn bring(arguments: &Arguments, from: &str, personal: &[Personal]) -> Result<std::convert::Infallible, PortError> {
    let (input, output) = (connection(arguments, from), connection(arguments, ""));
    let spec = topics::inputs(topics::INPUT_PARTITIONS);
    topics::create_missing(&output, &spec)?;
    let changes = spec.into_iter().filter(|topic| topic.name == Topic::Changes.name()).collect::<Vec<_>>();
    topics::create_missing(&input, &changes)?;
    let mut store = Store::open(&arguments.vault)?;
    let mut source = KafkaSource::new(input, &[Topic::Changes]);
    source.seek(&store.positions()?)?;
    let mut producer = RecordProducer::new(output)?;
    loop {
        for batch in source.poll(RECORDS, WAIT)?.batches {
            pass_on(&batch, personal, &mut store, &mut producer)?;
        }
    }
}

/// Salts and values are safe before a change goes on; how far was read, after.
fn pass_on(
    batch: &Batch,
    personal: &[Personal],
    store: &mut Store,
    producer: &mut RecordProducer,
) -> Result<(), PortError> {
    let Some(next_offset) = batch.next_offset() else { return Ok(()) };
    let (mut records, mut fields) = (Vec::with_capacity(batch.len()), Vec::new());
    for record in batch.iter() {
        let mut rewritten = rewrite((record.key, record.payload), personal, |subject| store.salt(subject))?;
        fields.append(&mut rewritten.fields);
        records.push((record.timestamp_us, rewritten));
    }
    store.keep(&fields)?;
    // Crash here: the same commitments are made again.
    for (timestamp_us, record) in &records {
        producer.send(batch.partition, *timestamp_us, &record.key, &record.payload)?;
    }
    producer.flush(SAFE_WITHIN)?;
    // Crash here: these changes go on a second time.
    store.advance(batch.partition.partition, next_offset)
}

fn open(arguments: &Arguments, commitment: &str, by: &str) -> Result<ExitCode, PortError> {
    let digits = commitment.strip_prefix(MARK).unwrap_or(commitment);
    let bytes = from_hex(digits)
        .ok_or_else(|| PortError::Fatal(format!("{commitment:?}: 64 hexadecimal digits, with {MARK} or not")))?;
    audit(arguments, AuditEventType::Access, "open", by, digits, "")?;
    match Store::open(&arguments.vault)?.reveal(bytes)? {
        Some(opened) => {
            println!(
                "{} {} of {}: {}",
                opened.field.table, opened.field.column, opened.field.subject, opened.field.value
            );
            println!("salt {}", hex(&opened.salt));
            Ok(ExitCode::SUCCESS)
        }
        None => {
            println!("nothing: it was erased, or is none of this vault");
            Ok(ExitCode::from(1))
        }
    }
}

fn erase(arguments: &Arguments, subject: &str, by: &str) -> Result<ExitCode, PortError> {
    // Said before it is done, too: a crash in between leaves an entry, and doing it again does no harm.
    audit(arguments, AuditEventType::Erasure, "erase_asked", by, subject, "")?;
    let fields = Store::open(&arguments.vault)?.erase(subject)?;
    let words =
        fields.map_or("nobody of this name is known".to_owned(), |fields| format!("{fields} values and their salt"));
    audit(arguments, AuditEventType::Erasure, "erased", by, subject, &words)?;
    println!("{subject}: {words}");
    Ok(ExitCode::from(u8::from(fields.is_none())))
}

fn audit(
    arguments: &Arguments,
    event_type: AuditEventType,
    op: &str,
    by: &str,
    entity: &str,
    words: &str,
) -> Result<(), PortError> {
    let connection = connection(arguments, "");
    topics::create_missing(&connection, &topics::inputs(topics::INPUT_PARTITIONS))?;
    let mut producer = RecordProducer::new(connection)?;
    let (event_time_us, detail) = (SystemClock.now_us(), Detail::text(words));
    let [op, actor, entity] = [op, by, entity].map(str::to_owned);
    let event = AuditEvent { event_time_us, event_type, op, actor, entity, detail };
    let payload = serde_json::to_vec(&event).expect("an event of ours is JSON");
    producer.send(Partition { topic: Topic::AuditEvents, partition: 0 }, event_time_us, b"", &payload)?;
    producer.flush(SAFE_WITHIN)
}

fn from_hex(digits: &str) -> Option<[u8; 32]> {
    let (pairs, []) = digits.as_bytes().as_chunks::<2>() else { return None };
    let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    pairs.iter().map(byte).collect::<Option<Vec<_>>>()?.try_into().ok()
}
