//! Commands that need no server: demo, replay, schema.

use super::cold::time_us;
use super::cold_args::{Access, OpenStore, ReplayArgs};
use super::config::{Config, pin, pinned};
use super::{DemoArgs, Ending, RunArgs, fatal, io_error};
use crate::cold::ColdSource;
use crate::demo::{self, Summary};
use crate::embedded::{EmbeddedOutputs, EmbeddedSource, bindings};
use crate::encode::Format;
use crate::kafka::{self, KafkaOutputs, KafkaSource};
use crate::metrics::Metrics;
use crate::ports::{PortError, Source};
use crate::replay;
use crate::restore::Heads;
use evenkeel_dataflows::{Changes, State, Tuning};
use evenkeel_schemas::{Binding, Dataset, Topic};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

pub(super) fn demo(args: DemoArgs, json: bool) -> Result<Ending, PortError> {
    let (directory, keep) = match args.data {
        Some(directory) => (directory, true),
        None => (std::env::temp_dir().join(format!("evenkeel-demo-{}", std::process::id())), args.keep),
    };
    if directory.read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(fatal(format!("{} is not empty: the demo needs a new directory", directory.display())));
    }
    pin(&directory, &demo::tuning())?;
    let options = demo::Options { seconds: args.seconds, seed: args.seed, silent: json };
    let summary = demo::play(&directory, options, &Arc::new(Metrics::default()))?;
    if json {
        println!("{}", json!(summary));
    } else {
        print_summary(&summary);
    }
    if keep {
        if !json {
            println!("kept in {}", directory.display());
        }
    } else {
        std::fs::remove_dir_all(&directory).map_err(io_error("removing", &directory))?;
    }
    Ok(if summary.is_well() { Ending::Well } else { Ending::NotWell })
}

fn print_summary(summary: &Summary) {
    let Summary { seed, events, events_per_s, .. } = summary;
    println!("\nseed {seed}: {events} events, {events_per_s} events/s");
    println!("{:<16} {:<10} {:>10} {:>11} {:<10}", "fault", "service", "detected", "command", "recovered");
    let after = |ms: Option<i64>| ms.map_or("–".to_owned(), |ms| format!("{:.1} s", ms as f64 / 1e3));
    for fault in &summary.faults {
        let ending = match (fault.must_page, fault.found, fault.recovered) {
            (false, false, _) => "harmless, nobody was paged",
            (false, true, _) => "harmless, and yet it paged",
            (true, _, true) => "yes",
            (true, _, false) => "NO",
        };
        let (detected, command) = (after(fault.detect_ms), after(fault.command_ms));
        println!("{:<16} {:<10} {detected:>10} {command:>11} {ending}", fault.name, fault.service);
    }
    println!("false alarms: {}", summary.false_alarms);
    println!("audit entries: {}, Parquet files: {}, {}", summary.audit_entries, summary.files, summary.verification);
    println!("{}", if summary.is_well() { "all well" } else { "NOT well: see above" });
}

/// What is compacted there: only the newest value of each key is sure to be found.
const COMPACTED: [Dataset; 2] = [Dataset::State, Dataset::Baselines];

pub(super) fn replay(args: ReplayArgs, open: OpenStore, json: bool) -> Result<Ending, PortError> {
    let to_us = args.to.as_deref().map_or(Ok(i64::MAX), time_us)?;
    if let Some(cold) = &args.from {
        let (mut source, tuning) = ColdSource::open(open(cold, Access::Read)?)?;
        let (bindings, mut heads) = (source.bindings_until(to_us)?, Heads::new(source.heads()));
        let report = compute(&mut source, &bindings, &tuning, &args, |changes| heads.take(changes))?;
        heads.finish()?;
        return Ok(tell(&report, None, &args, json));
    }
    let until = |mut bindings: Vec<Binding>| {
        bindings.retain(|binding| binding.now_us <= to_us);
        bindings
    };
    if let Some(directory) = &args.dir {
        let (tuning, bindings) = (pinned(directory)?, until(bindings(directory)?));
        let outputs = EmbeddedOutputs::new(directory);
        let mut check = args.check.then(|| replay::Check::new(outputs, &COMPACTED[..1]));
        let each = |changes: &Changes| check.iter_mut().for_each(|check| check.compare(changes));
        let report = compute(&mut EmbeddedSource::new(directory), &bindings, &tuning, &args, each)?;
        return Ok(tell(&report, check.and_then(replay::Check::finish), &args, json));
    }
    let settings = RunArgs { kafka: args.kafka.clone(), config: args.config.clone(), ..RunArgs::default() };
    let config = Config::new(settings)?;
    let connection = config.kafka.connection()?;
    let (bindings, committed) = (until(kafka::all_bindings(&connection)?), kafka::committed(&connection)?);
    let mut check = args.check.then(|| replay::Check::new(KafkaOutputs::new(connection.clone()), &COMPACTED));
    let mut state = State::default();
    let each = |changes: &Changes| {
        state.apply(&changes.outputs);
        check.iter_mut().for_each(|check| check.compare(changes));
    };
    let mut source = KafkaSource::new(connection, &Topic::ALL);
    let report = compute(&mut source, &bindings, &config.tuning, &args, each)?;
    let compared = (args.check && args.to.is_none()).then(|| state_difference(state.into_records(), committed.state));
    Ok(tell(&report, check.and_then(replay::Check::finish).or(compared.flatten()), &args, json))
}

/// The first key whose newest value was computed otherwise than committed, if there is one.
fn state_difference(computed: Vec<(Vec<u8>, Vec<u8>)>, committed: Vec<(Vec<u8>, Vec<u8>)>) -> Option<String> {
    let (computed, committed) = (BTreeMap::from_iter(computed), BTreeMap::from_iter(committed));
    let keys = computed.keys().chain(committed.keys()).collect::<BTreeSet<_>>();
    let differ = keys.into_iter().filter(|key| computed.get(*key) != committed.get(*key)).collect::<Vec<_>>();
    let first = differ.first()?;
    let value = |state: &BTreeMap<Vec<u8>, Vec<u8>>| {
        state
            .get(*first)
            .map_or("nothing".to_owned(), |value| value[..value.len().min(MOST_SHOWN)].escape_ascii().to_string())
    };
    let (is, was) = (value(&computed), value(&committed));
    let (count, key) = (differ.len(), first.escape_ascii());
    Some(format!(
        "the newest state of {count} keys is not what was committed; first {key}: computed {is}, committed {was}"
    ))
}

/// Bytes of a value that differs which are shown.
const MOST_SHOWN: usize = 2000;

/// A replay, and the seconds it took.
fn compute(
    source: &mut impl Source,
    bindings: &[Binding],
    tuning: &Tuning,
    args: &ReplayArgs,
    each: impl FnMut(&Changes),
) -> Result<(replay::Replay, f64), PortError> {
    let started = Instant::now();
    let report = replay::replay(source, bindings, tuning, usize::from(args.workers), args.batch as usize, each)?;
    Ok((report, started.elapsed().as_secs_f64()))
}

fn tell(
    (report, seconds): &(replay::Replay, f64),
    difference: Option<String>,
    args: &ReplayArgs,
    json: bool,
) -> Ending {
    let workers = args.workers;
    let hash = evenkeel_schemas::audit::hex(&report.hash);
    if json {
        let (epochs, records, outputs) = (report.epochs, report.records, report.outputs);
        println!(
            "{}",
            json!({"epochs": epochs, "records": records, "outputs": outputs, "seconds": seconds,
            "workers": workers, "hash": hash, "difference": difference})
        );
    } else {
        let rate = report.records as f64 / *seconds;
        println!("{} epochs, {} records, {} outputs", report.epochs, report.records, report.outputs);
        println!("{seconds:.1} s, {rate:.0} records/s, {workers} workers");
        match (&difference, args.check) {
            (Some(difference), _) => println!("differs from what was committed: {difference}"),
            (None, true) => println!("equal to what was committed"),
            (None, false) => {}
        }
        println!("hash {hash}");
    }
    if difference.is_none() { Ending::Well } else { Ending::NotWell }
}

pub(super) fn schema(name: Option<&str>, encoding: Format, json: bool) -> Result<Ending, PortError> {
    let other = match (name, encoding) {
        (_, Format::Json) => None,
        (Some("request"), Format::Protobuf) => Some(evenkeel_schemas::REQUEST_PROTO),
        (Some("request"), Format::Avro) => Some(evenkeel_schemas::REQUEST_AVSC),
        (Some("request"), Format::Arrow) => {
            return Err(fatal("Arrow streams bring their schema: name columns as in `evenkeel schema request`"));
        }
        _ => return Err(fatal("only requests have other encodings: evenkeel schema request --encoding …")),
    };
    if let Some(text) = other {
        print!("{text}");
        return Ok(Ending::Well);
    }
    let schemas = evenkeel_schemas::json_schemas();
    let names = schemas.iter().map(|(name, _)| *name).collect::<Vec<_>>();
    match name {
        None if json => println!("{}", json!(names)),
        None => names.iter().for_each(|name| println!("{name}")),
        Some(wanted) => {
            let found = schemas.iter().find(|(name, _)| *name == wanted);
            let (_, text) =
                found.ok_or_else(|| fatal(format!("no schema {wanted:?}; there are: {}", names.join(", "))))?;
            print!("{text}");
        }
    }
    Ok(Ending::Well)
}
