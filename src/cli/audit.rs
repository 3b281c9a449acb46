//! `audit`: keys, sealing, proofs, verification, witnesses.

use super::{Ending, KafkaArgs, fatal, io_error};
use crate::cold::{ColdStore, DirectoryStore};
use crate::embedded::EmbeddedOutputs;
use crate::kafka::KafkaOutputs;
use crate::ports::{OutputLog, PortError};
use crate::seal::{self, FileKey, Remote, SealError, Sealer, Signer, Witness, Witnesses};
use clap::Subcommand;
use evenkeel_schemas::audit::tile::CHECKPOINT;
use evenkeel_schemas::audit::{Fetch, Log, ORIGIN, Proof, Refused, Trust, Trusted, VerifierKey, hex};
use serde_json::json;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

#[derive(Debug, Subcommand)]
pub(super) enum AuditCommand {
    /// Make a key, and print its public half: the one that verifiers pin.
    #[command(after_help = "Example:\n  evenkeel audit keygen --name example.com/shop --out audit.key > audit.vkey")]
    Keygen(KeygenArgs),
    /// Follow the committed audit log, seal what is new, sign a checkpoint every second, and serve all of it.
    #[command(
        after_help = "Example:\n  evenkeel audit seal --data ./demo --seals ./seals --key audit.key --http 127.0.0.1:8790"
    )]
    Seal(SealArgs),
    /// Write the proof of one entry: a file that anybody can check offline.
    #[command(
        after_help = "Example:\n  evenkeel audit prove --data ./demo --seals ./seals --key audit.vkey --seq 17 --out 17.tlog-proof"
    )]
    Prove(ProveArgs),
    /// Check a proof, a log of seals, or a log and everything that it sealed: exit 0 whole, 1 tampered, 2 unusable.
    #[command(
        after_help = "Examples:\n  evenkeel audit verify 17.tlog-proof --key audit.vkey\n  evenkeel audit verify ./seals --key audit.vkey --data ./demo\n  evenkeel audit verify http://127.0.0.1:8790 --key audit.vkey"
    )]
    Verify(VerifyArgs),
    /// Cosign checkpoints of other logs that never shrink or fork.
    #[command(
        after_help = "Example:\n  evenkeel audit keygen --witness --name example.org/w1 --out w1.key > w1.vkey\n  evenkeel audit witness --listen 127.0.0.1:8791 --key w1.key --state ./w1 --log-key audit.vkey"
    )]
    Witness(WitnessArgs),
    /// Hand a log over to a new key of the same name; who pinned the old one goes on verifying.
    #[command(
        after_help = "Example:\n  evenkeel audit rotate --seals ./seals --key audit.key --new-key audit-2027.key --reason yearly"
    )]
    Rotate(RotateArgs),
}

#[derive(Debug, clap::Args)]
pub(super) struct KeygenArgs {
    /// The key's name: for a log's key the log's origin, like a URL without its scheme.
    #[arg(long)]
    name: String,
    /// Where the private half goes; a new file.
    #[arg(long)]
    out: PathBuf,
    /// The key of a witness, not of a log.
    #[arg(long)]
    witness: bool,
}

/// Where committed audit entries are.
#[derive(Debug, clap::Args)]
struct RowsArgs {
    #[command(flatten)]
    kafka: KafkaArgs,
    /// Data directory of the embedded log.
    #[arg(long, conflicts_with = "brokers")]
    data: Option<PathBuf>,
    /// The origin in the chains' beginnings, as in the tuning they were made with.
    #[arg(long, default_value = ORIGIN)]
    chain_origin: String,
}

impl RowsArgs {
    fn open(&self) -> Result<Option<Box<dyn OutputLog>>, PortError> {
        Ok(match (&self.data, &self.kafka.brokers) {
            (Some(directory), _) => Some(Box::new(EmbeddedOutputs::new(directory))),
            (None, Some(_)) => Some(Box::new(KafkaOutputs::new(self.kafka.connection()?))),
            (None, None) => None,
        })
    }

    fn must(&self) -> Result<Box<dyn OutputLog>, PortError> {
        self.open()?.ok_or_else(|| fatal("where are the entries? give --data DIR or --brokers HOST:PORT"))
    }
}

/// Whom to trust.
#[derive(Debug, clap::Args)]
struct TrustArgs {
    /// The log's public key, or a file that holds it.
    #[arg(long)]
    key: String,
    /// The public key of a witness, or a file that holds it; may be repeated.
    #[arg(long = "witness-key", value_name = "KEY")]
    witnesses: Vec<String>,
    /// How many of the witnesses must have cosigned. Default: all.
    #[arg(long)]
    quorum: Option<usize>,
}

impl TrustArgs {
    fn trust(&self) -> Result<Trust, PortError> {
        let witnesses = self.witnesses.iter().map(|key| public_key(key)).collect::<Result<Vec<_>, _>>()?;
        let quorum = self.quorum.unwrap_or(witnesses.len());
        Trust::new(public_key(&self.key)?, witnesses, quorum).map_err(|Refused(why)| fatal(why))
    }
}

#[derive(Debug, clap::Args)]
pub(super) struct SealArgs {
    #[command(flatten)]
    rows: RowsArgs,
    /// Directory of the log of seals.
    #[arg(long)]
    seals: PathBuf,
    /// The log's private key.
    #[arg(long)]
    key: PathBuf,
    /// Seal the lines of this cold directory's manifest, too.
    #[arg(long)]
    cold: Option<PathBuf>,
    /// Seconds between checkpoints, at least.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=3600))]
    every: u64,
    /// A witness: where it listens, and its public key; may be repeated.
    #[arg(long, num_args = 2, value_names = ["URL", "KEY"])]
    witness: Vec<String>,
    /// Serve the log here, read-only.
    #[arg(long)]
    http: Option<String>,
    /// Seal what is there, and end.
    #[arg(long)]
    once: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct ProveArgs {
    #[command(flatten)]
    rows: RowsArgs,
    /// The log of seals: a directory or a URL.
    #[arg(long)]
    seals: String,
    #[command(flatten)]
    trust: TrustArgs,
    /// The audit partition.
    #[arg(long, default_value_t = 0)]
    partition: u32,
    /// The entry's number.
    #[arg(long)]
    seq: u64,
    /// Where the proof goes. Default: standard output.
    #[arg(long)]
    out: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(super) struct VerifyArgs {
    /// A proof's file, or the log of seals: a directory or a URL.
    what: String,
    #[command(flatten)]
    trust: TrustArgs,
    #[command(flatten)]
    rows: RowsArgs,
    /// The cold directory whose manifest was sealed.
    #[arg(long)]
    cold: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(super) struct WitnessArgs {
    /// Where to listen.
    #[arg(long)]
    listen: String,
    /// The witness's private key.
    #[arg(long)]
    key: PathBuf,
    /// Directory for what it saw.
    #[arg(long)]
    state: PathBuf,
    /// The public key of a log, or a file that holds it; may be repeated.
    #[arg(long = "log-key", required = true)]
    logs: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct RotateArgs {
    /// Directory of the log of seals.
    #[arg(long)]
    seals: PathBuf,
    /// The log's private key so far.
    #[arg(long)]
    key: PathBuf,
    /// The private key from now on.
    #[arg(long)]
    new_key: PathBuf,
    /// Why; goes into the log.
    #[arg(long)]
    reason: String,
    /// The origin in the chains' beginnings.
    #[arg(long, default_value = ORIGIN)]
    chain_origin: String,
}

pub(super) fn run(command: AuditCommand, json: bool) -> Result<Ending, PortError> {
    match command {
        AuditCommand::Keygen(args) => keygen(&args),
        AuditCommand::Seal(args) => seal(&args, json),
        AuditCommand::Prove(args) => prove(&args),
        AuditCommand::Verify(args) => verify(&args, json),
        AuditCommand::Witness(args) => witness(&args),
        AuditCommand::Rotate(args) => rotate(&args),
    }
}

fn keygen(args: &KeygenArgs) -> Result<Ending, PortError> {
    let key = FileKey::generate(&args.name, args.witness)?;
    key.write(&args.out)?;
    println!("{}", key.key());
    Ok(Ending::Well)
}

fn seal(args: &SealArgs, json: bool) -> Result<Ending, PortError> {
    let mut rows = args.rows.must()?;
    let pair = |pair: &[String]| Ok((pair[0].clone(), public_key(&pair[1])?));
    let mut witnesses = Witnesses::new(args.witness.chunks(2).map(pair).collect::<Result<_, PortError>>()?);
    let cold = args.cold.as_deref().map(DirectoryStore::read_only);
    let mut sealer = open_sealer(args)?;
    if let Some(address) = &args.http {
        let store: Box<dyn ColdStore> = Box::new(DirectoryStore::read_only(&args.seals));
        serve(address, |socket| seal::serve_log(socket, Arc::new(Mutex::new(store)), log_access))?;
    }
    loop {
        let began = Instant::now();
        match sealer.turn(rows.as_mut(), cold.as_ref().map(|cold| cold as &dyn ColdStore)) {
            Ok(progress) => {
                if !witnesses.is_empty() {
                    cosign(&mut sealer, &mut witnesses)?;
                }
                if progress != seal::Progress::default() || args.once {
                    said(&sealer, progress, began.elapsed(), json);
                }
            }
            Err(SealError::Tampered(tampered)) => {
                tracing::error!(%tampered, "the audit log is not what was committed; nothing is sealed");
                if args.once {
                    return Ok(Ending::NotWell);
                }
            }
            Err(SealError::Port(PortError::Retry(why))) if !args.once => {
                tracing::warn!(why, "sealing is tried again");
                drop(sealer);
                std::thread::sleep(Duration::from_secs(1));
                sealer = open_sealer(args)?;
            }
            Err(SealError::Port(error)) => return Err(error),
        }
        if args.once {
            return Ok(Ending::Well);
        }
        std::thread::sleep(Duration::from_secs(args.every).saturating_sub(began.elapsed()));
    }
}

fn open_sealer(args: &SealArgs) -> Result<Sealer, PortError> {
    let store = Box::new(DirectoryStore::open(&args.seals)?);
    Sealer::open(store, Box::new(FileKey::read(&args.key)?), &args.rows.chain_origin)
}

/// Adds the witnesses' cosignatures to the checkpoint.
fn cosign(sealer: &mut Sealer, witnesses: &mut Witnesses) -> Result<(), PortError> {
    let Some(note) = sealer.checkpoint().cloned() else { return Ok(()) };
    let asked = {
        let files = seal::files(sealer.store());
        let trust = Trust::in_key(sealer.key().clone()).map_err(|Refused(why)| fatal(why))?;
        witnesses.ask(&Log::open(&files, &trust).map_err(|Refused(why)| fatal(why))?)
    };
    let mut signatures = Vec::new();
    for (url, answer) in asked {
        match answer {
            Ok(signature) => signatures.push(signature),
            Err(PortError::Fatal(why)) => tracing::error!(why, "a witness refuses"),
            Err(error) => tracing::warn!(%error, url, "a witness did not cosign"),
        }
    }
    if signatures.is_empty() { Ok(()) } else { sealer.publish(Witnesses::add(&note, signatures)) }
}

fn said(sealer: &Sealer, progress: seal::Progress, took: Duration, json: bool) {
    let (seals, took_ms) = (sealer.size(), took.as_secs_f64() * 1e3);
    let seal::Progress { entries, segments } = progress;
    if json {
        println!("{}", json!({"seals": seals, "entries": entries, "segments": segments, "took_ms": took_ms}));
    } else {
        println!("{entries:>9} entries and {segments} segments sealed in {took_ms:.1} ms; the log has {seals} seals");
    }
}

/// Reading the audit log is worth a line, too.
fn log_access(name: &str, headers: &axum::http::HeaderMap) {
    let agent = headers.get("user-agent").and_then(|value| value.to_str().ok()).unwrap_or("unknown");
    tracing::info!(target: "access", name, agent, "the log of seals was read");
}

fn prove(args: &ProveArgs) -> Result<Ending, PortError> {
    let (trust, files) = (args.trust.trust()?, log_files(&args.seals));
    let log = Log::open(files.as_ref(), &trust).map_err(|Refused(why)| fatal(why))?;
    let proof = match seal::prove(&log, args.rows.must()?.as_mut(), args.partition, args.seq) {
        Ok(proof) => proof,
        Err(SealError::Port(error)) => return Err(error),
        Err(SealError::Tampered(tampered)) => {
            println!("tampered: {tampered}");
            return Ok(Ending::NotWell);
        }
    };
    proof.verify(&trust).map_err(|Refused(why)| fatal(format!("the proof that was made does not hold: {why}")))?;
    match &args.out {
        Some(path) => std::fs::write(path, proof.to_string()).map_err(io_error("writing", path))?,
        None => print!("{proof}"),
    }
    Ok(Ending::Well)
}

fn verify(args: &VerifyArgs, json: bool) -> Result<Ending, PortError> {
    let (trust, path) = (args.trust.trust()?, Path::new(&args.what));
    let verified = if path.is_file() { verify_proof(path, &trust)? } else { verify_whole(args, &trust)? };
    Ok(match verified {
        Ok((words, object)) => {
            if json {
                println!("{object}")
            } else {
                println!("{words}")
            }
            Ending::Well
        }
        Err(why) => {
            if json {
                println!("{}", json!({"whole": false, "what": why}))
            } else {
                println!("tampered: {why}")
            }
            Ending::NotWell
        }
    })
}

/// What verification says, in words and as an object; or what is wrong.
type Said = Result<(String, serde_json::Value), String>;

fn verify_proof(path: &Path, trust: &Trust) -> Result<Said, PortError> {
    let text = std::fs::read_to_string(path).map_err(io_error("reading the proof", path))?;
    Ok(text.parse::<Proof>().and_then(|proof| proof.verify(trust)).map_err(|Refused(why)| why).map(|(entry, trusted)| {
        let Trusted { checkpoint, cosigned_s } = trusted;
        let payload = String::from_utf8_lossy(&entry.payload);
        let (partition, seq, size) = (entry.partition, entry.seq, checkpoint.size);
        let mut words = format!("proven: entry {seq} of partition {partition} is in the log of {size} seals\n");
        words += &format!("{} {} {} by {}\n{payload}", entry.event_type, entry.op, entry.entity, entry.actor);
        let object = json!({"whole": true, "partition": partition, "seq": seq, "ts_us": entry.ts_us, "epoch": entry.epoch,
            "event_type": entry.event_type, "op": entry.op, "table": entry.table, "actor": entry.actor,
            "entity": entry.entity, "payload": payload, "seals": size, "cosigned_s": cosigned_s});
        (words, object)
    }))
}

fn verify_whole(args: &VerifyArgs, trust: &Trust) -> Result<Said, PortError> {
    let (files, origin) = (log_files(&args.what), args.rows.chain_origin.as_str());
    if matches!(files.fetch(CHECKPOINT), Ok(None)) {
        return Err(fatal(format!("{} holds no checkpoint: neither a proof nor a log of seals", args.what)));
    }
    let log = match Log::open(files.as_ref(), trust) {
        Ok(log) => log,
        Err(Refused(why)) => return Ok(Err(why)),
    };
    let cold = args.cold.as_deref().map(DirectoryStore::read_only);
    let cold = cold.as_ref().map(|cold| cold as &dyn ColdStore);
    let verified = match args.rows.open()? {
        Some(mut rows) => seal::verify_data(&log, origin, rows.as_mut(), cold),
        None => seal::verify_log(&log, origin),
    };
    let verified = match verified {
        Ok(verified) => verified,
        Err(SealError::Tampered(tampered)) => return Ok(Err(tampered.to_string())),
        Err(SealError::Port(error)) => return Err(error),
    };
    let (seals, entries, unsealed) = (verified.seals, verified.entries, verified.unsealed);
    let mut words = format!("whole: {seals} seals, {entries} entries followed, {unsealed} not sealed yet");
    let mut heads = serde_json::Map::new();
    for (partition, chain) in &verified.audited.chains {
        let (next_seq, head) = (chain.next_seq(), hex(&chain.head()));
        words += &format!("\npartition {partition}: {next_seq} entries sealed, head {head}");
        heads.insert(partition.to_string(), json!({"entries": next_seq, "head": head}));
    }
    let object = json!({"whole": true, "seals": seals, "entries": entries, "unsealed": unsealed, "heads": heads,
        "cosigned_s": log.trusted.cosigned_s});
    Ok(Ok((words, object)))
}

fn witness(args: &WitnessArgs) -> Result<Ending, PortError> {
    let logs = args.logs.iter().map(|key| public_key(key)).collect::<Result<_, _>>()?;
    let store = Box::new(DirectoryStore::open(&args.state)?);
    let witness = Witness::new(store, Box::new(FileKey::read(&args.key)?), logs);
    println!("{}", witness.key());
    let served = serve(&args.listen, |socket| seal::serve_witness(socket, witness))?;
    served.join().map_err(|_| fatal("the witness's server ended"))?;
    Ok(Ending::Well)
}

fn rotate(args: &RotateArgs) -> Result<Ending, PortError> {
    let store = Box::new(DirectoryStore::open(&args.seals)?);
    let sealer = Sealer::open(store, Box::new(FileKey::read(&args.key)?), &args.chain_origin)?;
    let sealer = sealer.hand_over(Box::new(FileKey::read(&args.new_key)?), &args.reason)?;
    println!("{}", sealer.key());
    Ok(Ending::Well)
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

/// A log's files, from a directory or a URL.
fn log_files(log: &str) -> Box<dyn Fetch> {
    if log.starts_with("http://") {
        return Box::new(Remote::new(log));
    }
    let store = DirectoryStore::read_only(Path::new(log));
    Box::new(move |name: &str| store.get(name).map_err(|error| Refused(error.to_string())))
}

/// A public key, or the one in a file.
fn public_key(text: &str) -> Result<VerifierKey, PortError> {
    let path = Path::new(text);
    let from_file = path.is_file().then(|| std::fs::read_to_string(path).map_err(io_error("reading the key", path)));
    let found = from_file.transpose()?.unwrap_or_else(|| text.to_owned());
    found.parse().map_err(|Refused(why)| fatal(format!("{text}: {why}")))
}
