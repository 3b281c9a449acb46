//! Commands about the cold store: compact, verify, restore.

use super::cold_args::{Access, CompactArgs, OpenStore, RestoreArgs, is_url};
use super::config::{Config, pin, pinned};
use super::{Ending, RunArgs, fatal};
use crate::cold::{self, ColdDataset, ColdSource, ColdStore, KeptInputs, Report, Requests, Verification};
use crate::embedded::{EmbeddedOutputs, EmbeddedSource, bindings};
use crate::kafka::{self, KafkaOutputs, KafkaSource};
use crate::ports::{Clock, PortError, SystemClock};
use crate::restore;
use arrow::compute::kernels::cast_utils::string_to_timestamp_nanos;
use evenkeel_schemas::Topic;
use evenkeel_schemas::audit::hex;
use serde_json::json;
use std::path::{Path, PathBuf};

/// A day, µs.
const DAY_US: i64 = 86_400_000_000;

pub(super) fn verify(name: &str, open: OpenStore, json: bool) -> Result<Ending, PortError> {
    let verification =
        if is_url(name) { cold::verify_store(&*open(name, Access::Read)?) } else { cold::verify(Path::new(name)) };
    if json {
        let (entries, segments, heads, min_seqs) = match &verification {
            Verification::Whole { entries, segments, heads, min_seqs } => {
                (*entries, *segments, heads.clone(), min_seqs.clone())
            }
            _ => Default::default(),
        };
        let (whole, what) = (matches!(verification, Verification::Whole { .. }), verification.to_string());
        let counts = json!({"whole": whole, "what": what, "entries": entries, "segments": segments, "heads": heads,
            "min_seqs": min_seqs});
        println!("{counts}");
    } else {
        println!("{verification}");
        if let Verification::Whole { heads, .. } = &verification {
            heads.iter().for_each(|(partition, head)| println!("partition {partition} head {head}"));
        }
    }
    Ok(match verification {
        Verification::Whole { .. } => Ending::Well,
        Verification::Tampered(_) => Ending::NotWell,
        Verification::Unusable(_) => Ending::Unusable,
    })
}

pub(super) fn compact(args: CompactArgs, open: OpenStore, json: bool) -> Result<Ending, PortError> {
    let keep = args.keep.iter().map(|text| Keep::parse(text)).collect::<Result<Vec<_>, _>>()?;
    let requests = args.requests.parse::<Requests>().map_err(|why| fatal(format!("--requests: {why}")))?;
    let inputs = KeptInputs { records: args.records, requests };
    let below = |data: &PathBuf| data.join("cold").to_string_lossy().into_owned();
    let cold = args.cold.clone().or(args.data.as_ref().map(below));
    let store = open(&cold.ok_or_else(|| fatal("where to? give --cold DIR"))?, Access::Write)?;
    let store = store.as_ref();
    let options = cold::Options { whole: !args.only_full, ..cold::Options::default() };
    let mut report = Report::default();
    for part in [compact_outputs(&args, store, &options)?, compact_inputs(&args, store, (inputs, &options))?] {
        report.written.extend(part.written);
        report.removed.extend(part.removed);
    }
    let merged = cold::merge(store, cold::MIN_FILE_BYTES)?;
    let now_us = SystemClock.now_us();
    let dropped = cold::retain(store, |dataset| Keep::from_us(&keep, dataset, now_us))?;
    if json {
        let (written, removed, dropped) = (&report.written, &report.removed, &dropped);
        let (merged, replaced) = (&merged.written, &merged.replaced);
        let what = json!({"written": written, "removed": removed, "merged": merged, "replaced": replaced,
            "dropped": dropped});
        println!("{what}");
        return Ok(Ending::Well);
    }
    for segment in &report.written {
        println!("{:>9} rows {:>11} bytes  {}", segment.rows, segment.bytes, segment.file);
    }
    let (written, replaced, large, dropped) =
        (report.written.len(), merged.replaced.len(), merged.written.len(), dropped.len());
    println!("{written} segments written, {replaced} merged into {large}, {dropped} dropped");
    Ok(Ending::Well)
}

fn compact_outputs(args: &CompactArgs, store: &dyn ColdStore, options: &cold::Options) -> Result<Report, PortError> {
    match &args.data {
        Some(directory) => cold::compact(&mut EmbeddedOutputs::new(directory), store, options),
        None => cold::compact(&mut KafkaOutputs::new(args.kafka.connection()?), store, options),
    }
}

fn compact_inputs(
    args: &CompactArgs,
    store: &dyn ColdStore,
    kept: (KeptInputs, &cold::Options),
) -> Result<Report, PortError> {
    if kept.0 == KeptInputs::default() {
        return Ok(Report::default());
    }
    if let Some(directory) = &args.data {
        let (bindings, tuning) = (bindings(directory)?, pinned(directory)?);
        return cold::keep_inputs(&mut EmbeddedSource::new(directory), &bindings, &tuning, store, kept);
    }
    let settings = RunArgs { kafka: args.kafka.clone(), config: args.config.clone(), ..RunArgs::default() };
    let config = Config::new(settings)?;
    let connection = config.kafka.connection()?;
    let bindings = kafka::all_bindings(&connection)?;
    cold::keep_inputs(&mut KafkaSource::new(connection, &Topic::ALL), &bindings, &config.tuning, store, kept)
}

/// How long a dataset is kept, or every one that is not named.
struct Keep {
    dataset: Option<String>,
    days: i64,
}

impl Keep {
    /// `30d`, or `records=30d`.
    fn parse(text: &str) -> Result<Self, PortError> {
        let (dataset, time) = text.split_once('=').map_or((None, text), |(name, time)| (Some(name.to_owned()), time));
        let known = |name: &str| ColdDataset::all().any(|dataset| dataset.family() == name);
        if let Some(name) = dataset.as_deref().filter(|name| !known(name)) {
            return Err(fatal(format!("--keep {text}: there is no dataset {name:?}")));
        }
        let days = time.strip_suffix('d').and_then(|days| days.parse().ok()).filter(|days| (1..=36_500).contains(days));
        let days = days.ok_or_else(|| fatal(format!("--keep {text}: write days, 1d to 36500d, e.g. 30d")))?;
        Ok(Self { dataset, days })
    }

    /// From when on a dataset is kept: what is said of it by name, else of all.
    fn from_us(keep: &[Self], dataset: ColdDataset, now_us: i64) -> Option<i64> {
        let named = keep.iter().rev().find(|keep| keep.dataset.as_deref() == Some(dataset.family()));
        let keep = named.or_else(|| keep.iter().rev().find(|keep| keep.dataset.is_none()))?;
        Some(now_us - keep.days * DAY_US)
    }
}

pub(super) fn columns(family: Option<&str>, json: bool) -> Result<Ending, PortError> {
    let mut families = ColdDataset::all().collect::<Vec<_>>();
    families.dedup_by_key(|dataset| dataset.family());
    if let Some(family) = family {
        families.retain(|dataset| dataset.family() == family);
    }
    if families.is_empty() {
        return Err(fatal(format!(
            "there is no dataset {:?}: `evenkeel columns` lists them",
            family.unwrap_or_default()
        )));
    }
    for dataset in families {
        for column in cold::columns(dataset) {
            let (family, cold::Column { name, kind, meaning }) = (dataset.family(), column);
            if json {
                println!("{}", json!({"dataset": family, "column": name, "type": kind, "meaning": meaning}));
            } else {
                println!("{family:<11} {name:<16} {kind:<19} {meaning}");
            }
        }
    }
    Ok(Ending::Well)
}

pub(super) fn restore(args: RestoreArgs, open: OpenStore, json: bool) -> Result<Ending, PortError> {
    let directory = &args.data;
    if directory.read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(fatal(format!("{} is not empty: restore into a new directory", directory.display())));
    }
    let (mut source, tuning) = ColdSource::open(open(&args.from, Access::Read)?)?;
    let bindings = source.bindings_until(args.to.as_deref().map_or(Ok(i64::MAX), time_us)?)?;
    pin(directory, &tuning)?;
    let restored = restore::restore(source, &bindings, (&tuning, usize::from(args.workers)), directory)?;
    let (hash, state_hash, now_us) =
        (hex(&restored.replay.hash), hex(&restored.state_hash), bindings.last().map(|b| b.now_us));
    let (epochs, records, heads) = (restored.replay.epochs, restored.replay.records, restored.heads);
    if json {
        let what = json!({"epochs": epochs, "records": records, "now_us": now_us, "heads": heads, "hash": hash,
            "state_hash": state_hash});
        println!("{what}");
    } else {
        println!("{epochs} epochs, {records} records, up to {} µs", now_us.unwrap_or_default());
        println!("{heads} heads of the audit chain met");
        println!("state {state_hash}\nhash {hash}");
    }
    Ok(Ending::Well)
}

/// A time in RFC 3339, UTC if it names no zone, or in µs since the Unix epoch.
pub(super) fn time_us(text: &str) -> Result<i64, PortError> {
    let number = text.parse().ok();
    number.or_else(|| string_to_timestamp_nanos(text).ok().map(|ns| ns.div_euclid(1000))).ok_or_else(|| {
        fatal(format!("{text:?} is no time: write it as 2026-11-21T12:00:00Z, or in µs since the Unix epoch"))
    })
}
