//! The configuration file: TOML, unknown fields refused with line and column, bounds checked once.

use super::{KafkaArgs, RunArgs, fatal, io_error};
use crate::cluster::Place;
use crate::ports::PortError;
use evenkeel_dataflows::Tuning;
use evenkeel_schemas::Mode;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The file as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawConfig {
    brokers: Option<String>,
    topic_prefix: Option<String>,
    data: Option<PathBuf>,
    workers: Option<u16>,
    http: Option<String>,
    transactional_id: Option<String>,
    process: Option<String>,
    hosts: Option<PathBuf>,
    /// librdkafka settings.
    kafka: BTreeMap<String, String>,
    tuning: Tuning,
}

/// What `run` goes by.
#[derive(Debug)]
pub struct Config {
    pub(super) kafka: KafkaArgs,
    pub(super) data: Option<PathBuf>,
    pub(super) workers: usize,
    pub(super) http: Option<String>,
    pub(super) transactional_id: String,
    /// Set if this is one process of several.
    pub(super) place: Option<Place>,
    pub(super) tuning: Tuning,
}

impl Config {
    /// Puts arguments over the environment over the file.
    pub(super) fn new(args: RunArgs) -> Result<Self, PortError> {
        let raw = args.config.as_deref().map_or(Ok(RawConfig::default()), read)?;
        let mut tuning = raw.tuning;
        if let Some(mode) = &args.mode {
            tuning.mode = parse_mode(mode)?;
        }
        tuning.check().map_err(|what| fatal(format!("tuning is {what}")))?;
        let mut properties = raw.kafka.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>();
        properties.extend(args.kafka.properties);
        let kafka = KafkaArgs {
            brokers: args.kafka.brokers.or(raw.brokers),
            properties,
            topic_prefix: args.kafka.topic_prefix.or(raw.topic_prefix),
        };
        let transactional_id = args.transactional_id.or(raw.transactional_id);
        let place = place(args.process.or(raw.process), args.hosts.or(raw.hosts))?;
        Ok(Self {
            kafka,
            data: args.data.or(raw.data),
            workers: usize::from(args.workers.or(raw.workers).unwrap_or(2)),
            http: args.http.or(raw.http),
            transactional_id: transactional_id.unwrap_or_else(|| "evenkeel".to_owned()),
            place,
            tuning,
        })
    }
}

/// Which process of several this is, if it is.
fn place(process: Option<String>, hosts: Option<PathBuf>) -> Result<Option<Place>, PortError> {
    match (process, hosts) {
        (None, None) => Ok(None),
        (Some(process), Some(hosts)) => {
            let text = std::fs::read_to_string(&hosts).map_err(io_error("reading hosts", &hosts))?;
            Place::parse(&process, &text).map(|place| Some(place).filter(|place| place.processes() > 1))
        }
        _ => Err(fatal("--process I/N and --hosts FILE go together: which process this is, and where all of them are")),
    }
}

fn read(path: &Path) -> Result<RawConfig, PortError> {
    let text = std::fs::read_to_string(path).map_err(io_error("reading configuration", path))?;
    // The parser's message names line and column, and shows the line.
    toml::from_str(&text).map_err(|error| fatal(format!("configuration {}: {error}", path.display())))
}

fn parse_mode(mode: &str) -> Result<Mode, PortError> {
    match mode {
        "observe" => Ok(Mode::Observe),
        "suggest" => Ok(Mode::Suggest),
        "approve" => Ok(Mode::Approve),
        "auto" => Ok(Mode::Auto),
        _ => Err(fatal(format!("mode {mode:?}: it is one of observe, suggest, approve, auto"))),
    }
}

/// The file in a data directory that pins its tuning: a log is a function of it.
const TUNING_FILE: &str = "tuning.json";

/// Reads the tuning that a data directory was written with.
pub(super) fn pinned(directory: &Path) -> Result<Tuning, PortError> {
    let path = directory.join(TUNING_FILE);
    let text = std::fs::read_to_string(&path).map_err(io_error("reading tuning", &path))?;
    serde_json::from_str(&text).map_err(|error| fatal(format!("{}: {error}", path.display())))
}

/// Pins the tuning of a data directory, or checks that it is the same as before.
pub(super) fn pin(directory: &Path, tuning: &Tuning) -> Result<(), PortError> {
    std::fs::create_dir_all(directory).map_err(io_error("making directory", directory))?;
    let path = directory.join(TUNING_FILE);
    if path.exists() {
        let before = pinned(directory)?;
        return if before == *tuning {
            Ok(())
        } else {
            Err(fatal(format!(
                "{} was written with another tuning, and its log is a function of it: start a new directory, or go on \
                 with the one in {TUNING_FILE}",
                directory.display()
            )))
        };
    }
    let text = serde_json::to_vec_pretty(tuning).map_err(|error| fatal(error.to_string()))?;
    std::fs::write(&path, text).map_err(io_error("writing tuning", &path))
}
