//! The commands about cold stores: what they are told, and how they open one.

use super::{Ending, KafkaArgs, cold, fatal, offline};
use crate::cold::{ColdStore, DirectoryStore};
use crate::ports::PortError;
use clap::Subcommand;
use std::path::{Path, PathBuf};

/// What a store is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// To be changed.
    Write,
    /// To be read; nothing is put or removed.
    Read,
}

/// Opens a cold store by its name: a directory, or whatever a program knows beside.
pub type OpenStore = fn(&str, Access) -> Result<Box<dyn ColdStore>, PortError>;

/// Opens a directory.
///
/// # Errors
/// `Fatal` if the name is a URL, or another compactor has the directory.
pub fn open_directory(name: &str, access: Access) -> Result<Box<dyn ColdStore>, PortError> {
    if is_url(name) {
        return Err(fatal(format!(
            "{name}: evenkeel-objects opens URLs, with the same arguments: cargo build --release -p evenkeel-objects"
        )));
    }
    Ok(match access {
        Access::Write => Box::new(DirectoryStore::open(Path::new(name))?),
        Access::Read => Box::new(DirectoryStore::read_only(Path::new(name))),
    })
}

/// Whether a name is a URL's.
pub(super) fn is_url(name: &str) -> bool {
    name.contains("://")
}

/// A command about a cold store.
#[derive(Debug, Subcommand)]
pub enum ColdCommand {
    /// Compute a data directory, what is on a broker, or what a cold directory keeps, again from its records and bindings;
    /// ends with one hash over all outputs.
    #[command(
        after_help = "Examples:\n  evenkeel replay ./demo --workers 4\n  evenkeel replay --brokers 127.0.0.1:9092 --check\n  evenkeel replay --from ./cold --to 2026-11-21T12:00:00Z"
    )]
    Replay(ReplayArgs),
    /// Follow the audit chain of a data or cold directory: exit 0 whole, 1 tampered, 2 unusable.
    #[command(after_help = "Example:\n  evenkeel verify ./demo")]
    Verify {
        /// A data directory, or a cold directory.
        dir: String,
    },
    /// Write what was committed since the last time into Parquet files, merge small ones, drop old ones.
    #[command(
        after_help = "Examples:\n  evenkeel compact --data ./demo --cold ./demo/cold --records\n  evenkeel compact --brokers 127.0.0.1:9092 --cold ./cold --requests sampled:100 --keep 400d --keep requests=7d\n  evenkeel-objects compact --brokers 127.0.0.1:9092 --cold s3://bucket/evenkeel"
    )]
    Compact(CompactArgs),
    /// Make a data directory as it was at a point in time from a cold directory that keeps records.
    #[command(
        after_help = "Example:\n  evenkeel restore --from ./demo/cold --to 2026-11-21T12:00:00Z --data ./restored"
    )]
    Restore(RestoreArgs),
}

impl ColdCommand {
    /// Does it.
    pub(super) fn run(self, open: OpenStore, json: bool) -> Result<Ending, PortError> {
        match self {
            Self::Replay(args) => offline::replay(args, open, json),
            Self::Verify { dir } => cold::verify(&dir, open, json),
            Self::Compact(args) => cold::compact(args, open, json),
            Self::Restore(args) => cold::restore(args, open, json),
        }
    }
}

/// What `replay` is told.
#[derive(Debug, clap::Args)]
pub struct ReplayArgs {
    /// The data directory.
    #[arg(required_unless_present_any = ["brokers", "from"])]
    pub(super) dir: Option<PathBuf>,
    /// A cold directory that keeps records, instead.
    #[arg(long, conflicts_with_all = ["dir", "check"])]
    pub(super) from: Option<String>,
    /// Only epochs that closed at this time or before: RFC 3339, or µs since the Unix epoch.
    #[arg(long, value_name = "TIME")]
    pub(super) to: Option<String>,
    #[command(flatten)]
    pub(super) kafka: KafkaArgs,
    /// Configuration file (TOML) with the tuning that what is on the broker was computed with.
    #[arg(long)]
    pub(super) config: Option<PathBuf>,
    /// Worker threads; no result depends on them.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(super) workers: u16,
    /// Records handed over at a time; no result depends on it.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) batch: u32,
    /// Compare with what was committed, output by output.
    #[arg(long)]
    pub(super) check: bool,
}

/// What `compact` is told.
#[derive(Debug, clap::Args)]
pub struct CompactArgs {
    #[command(flatten)]
    pub(super) kafka: KafkaArgs,
    /// Data directory of the embedded log.
    #[arg(long)]
    pub(super) data: Option<PathBuf>,
    /// Where Parquet goes. Default: DATA/cold.
    #[arg(long)]
    pub(super) cold: Option<String>,
    /// Leave the last, incomplete segment for the next time.
    #[arg(long)]
    pub(super) only_full: bool,
    /// Keep every input record and binding as well: what `replay --from` and `restore` need.
    #[arg(long)]
    pub(super) records: bool,
    /// Keep requests as a table: full, sampled:N (one in N, the same ones on every run), or ephemeral (none).
    #[arg(long, default_value = "ephemeral")]
    pub(super) requests: String,
    /// Drop segments older than this, of all datasets or of one; may be repeated. Their heads stay.
    #[arg(long, value_name = "[DATASET=]DAYSd")]
    pub(super) keep: Vec<String>,
    /// Configuration file (TOML) with the tuning that what is on the broker was computed with, for --records.
    #[arg(long)]
    pub(super) config: Option<PathBuf>,
}

/// What `restore` is told.
#[derive(Debug, clap::Args)]
pub struct RestoreArgs {
    /// The cold directory.
    #[arg(long)]
    pub(super) from: String,
    /// Up to this time: RFC 3339, or µs since the Unix epoch. Default: all that is kept.
    #[arg(long, value_name = "TIME")]
    pub(super) to: Option<String>,
    /// The data directory to be made; must be empty or not there.
    #[arg(long)]
    pub(super) data: PathBuf,
    /// Worker threads; no result depends on them.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(super) workers: u16,
}
