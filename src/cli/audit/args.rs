//! What `audit` can be asked for.

use super::super::fatal;
use super::super::log_args::LogArgs;
use super::public_key;
use crate::ports::PortError;
use clap::Subcommand;
use evenkeel_schemas::audit::{ORIGIN, Refused, Trust};
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum AuditCommand {
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
    /// Write entries as JSON lines, those about an incident for instance, and a proof of each: a dossier.
    #[command(
        after_help = "Example:\n  evenkeel audit export --data ./demo --about inc-17 --seals ./seals --key audit.vkey --proofs ./dossier > dossier.jsonl"
    )]
    Export(ExportArgs),
    /// Look at a log of seals and what it sealed again and again; say what is not as it was.
    #[command(
        after_help = "Example:\n  evenkeel audit watch --data ./demo --seals ./seals --key audit.vkey --state ./watched"
    )]
    Watch(WatchArgs),
    /// Carry out the attacks that the audit log is for, on files made for it, and show what finds each of them.
    #[command(after_help = "Example:\n  evenkeel audit tamper-demo")]
    TamperDemo(TamperArgs),
    /// Hand a log over to a new key of the same name; who pinned the old one goes on verifying.
    #[command(
        after_help = "Example:\n  evenkeel audit rotate --seals ./seals --key audit.key --new-key audit-2027.key --reason yearly"
    )]
    Rotate(RotateArgs),
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct KeygenArgs {
    /// The key's name: for a log's key the log's origin, like a URL without its scheme.
    #[arg(long)]
    pub name: String,
    /// Where the private half goes; a new file.
    #[arg(long)]
    pub out: PathBuf,
    /// The key of a witness, not of a log.
    #[arg(long)]
    pub witness: bool,
}

/// Where committed audit entries are.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct RowsArgs {
    #[command(flatten)]
    pub log: LogArgs,
    /// The origin in the chains' beginnings, as in the tuning they were made with.
    #[arg(long, default_value = ORIGIN)]
    pub chain_origin: String,
}

/// Whom to trust.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct TrustArgs {
    /// The log's public key, or a file that holds it.
    #[arg(long)]
    pub key: String,
    /// The public key of a witness, or a file that holds it; may be repeated.
    #[arg(long = "witness-key", value_name = "KEY")]
    pub witnesses: Vec<String>,
    /// How many of the witnesses must have cosigned. Default: all.
    #[arg(long)]
    pub quorum: Option<usize>,
}

impl TrustArgs {
    pub fn trust(&self) -> Result<Trust, PortError> {
        let witnesses = self.witnesses.iter().map(|key| public_key(key)).collect::<Result<Vec<_>, _>>()?;
        let quorum = self.quorum.unwrap_or(witnesses.len());
        Trust::new(public_key(&self.key)?, witnesses, quorum).map_err(|Refused(why)| fatal(why))
    }
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct SealArgs {
    #[command(flatten)]
    pub rows: RowsArgs,
    /// Directory of the log of seals.
    #[arg(long)]
    pub seals: PathBuf,
    /// The log's private key.
    #[arg(long)]
    pub key: PathBuf,
    /// Seal the lines of this cold directory's manifest, too.
    #[arg(long)]
    pub cold: Option<PathBuf>,
    /// Seconds between checkpoints, at least.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub every: u64,
    /// A witness: where it listens, and its public key; may be repeated.
    #[arg(long, num_args = 2, value_names = ["URL", "KEY"])]
    pub witness: Vec<String>,
    /// Serve the log here, read-only.
    #[arg(long)]
    pub http: Option<String>,
    /// Seal what is there, and end.
    #[arg(long)]
    pub once: bool,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct ProveArgs {
    #[command(flatten)]
    pub rows: RowsArgs,
    /// The log of seals: a directory or a URL.
    #[arg(long)]
    pub seals: String,
    #[command(flatten)]
    pub trust: TrustArgs,
    /// The audit partition.
    #[arg(long, default_value_t = 0)]
    pub partition: u32,
    /// The entry's number.
    #[arg(long)]
    pub seq: u64,
    /// Where the proof goes. Default: standard output.
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Who asks; goes into the audit log.
    #[arg(long, env = "USER", default_value = "unknown")]
    pub actor: String,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct VerifyArgs {
    /// A proof's file, or the log of seals: a directory or a URL.
    pub what: String,
    #[command(flatten)]
    pub trust: TrustArgs,
    #[command(flatten)]
    pub rows: RowsArgs,
    /// The cold directory whose manifest was sealed.
    #[arg(long)]
    pub cold: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct WitnessArgs {
    /// Where to listen.
    #[arg(long)]
    pub listen: String,
    /// The witness's private key.
    #[arg(long)]
    pub key: PathBuf,
    /// Directory for what it saw.
    #[arg(long)]
    pub state: PathBuf,
    /// The public key of a log, or a file that holds it; may be repeated.
    #[arg(long = "log-key", required = true)]
    pub logs: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct RotateArgs {
    /// Directory of the log of seals.
    #[arg(long)]
    pub seals: PathBuf,
    /// The log's private key so far.
    #[arg(long)]
    pub key: PathBuf,
    /// The private key from now on.
    #[arg(long)]
    pub new_key: PathBuf,
    /// Why; goes into the log.
    #[arg(long)]
    pub reason: String,
    /// The origin in the chains' beginnings.
    #[arg(long, default_value = ORIGIN)]
    pub chain_origin: String,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct WatchArgs {
    #[command(flatten)]
    pub rows: RowsArgs,
    /// The log of seals: a directory or a URL.
    #[arg(long)]
    pub seals: String,
    #[command(flatten)]
    pub trust: TrustArgs,
    /// The cold directory whose manifest was sealed.
    #[arg(long)]
    pub cold: Option<PathBuf>,
    /// The last checkpoint that was well is kept in this file: out of reach of whoever writes the log.
    #[arg(long)]
    pub state: PathBuf,
    /// Seconds between two looks.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub every: u64,
    /// Older entries that are followed again in a look, about.
    #[arg(long, default_value_t = 20_000)]
    pub budget: u64,
    /// Seconds that an entry may wait for a seal, or a checkpoint for a cosignature.
    #[arg(long, default_value_t = 15)]
    pub stale: u64,
    /// Look once.
    #[arg(long)]
    pub once: bool,
    /// Show what is found, but say no event of it: no incident is opened.
    #[arg(long)]
    pub silent: bool,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct TamperArgs {
    /// Entries of the log that is attacked.
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u64).range(64..=1_000_000))]
    pub entries: u64,
    /// Where the files go; must not be there. Default: a temporary directory.
    #[arg(long)]
    pub data: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct ExportArgs {
    #[command(flatten)]
    pub rows: RowsArgs,
    /// Entries of this entity, or whose payload holds this text.
    #[arg(long)]
    pub about: Option<String>,
    /// Entries of this type, e.g. incident, command, change.
    #[arg(long = "type")]
    pub event_type: Option<String>,
    /// Entries from this time on (RFC 3339, or µs since the Unix epoch).
    #[arg(long)]
    pub from: Option<String>,
    /// Entries before this time.
    #[arg(long)]
    pub to: Option<String>,
    /// A directory for a proof of each entry, made if need be.
    #[arg(long, requires_all = ["seals", "key"])]
    pub proofs: Option<PathBuf>,
    /// The log of seals: a directory or a URL.
    #[arg(long)]
    pub seals: Option<String>,
    /// The log's public key, or a file that holds it.
    #[arg(long)]
    pub key: Option<String>,
    /// Who asks; goes into the audit log.
    #[arg(long, env = "USER", default_value = "unknown")]
    pub actor: String,
}
