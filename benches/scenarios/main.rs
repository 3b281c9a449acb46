//! How far detection can be trusted: worlds with known faults, through the engine and past two peers.
//!
//! `cargo bench --bench scenarios [-- NAME…] [--seeds N] [--first-seed N] [--threads N] [--out DIR] [--data DIR] [-o json]`:
//! the table on standard output; with `--out` also `RESULTS.md`, what it is made of, and a picture per scenario, of seed 1,
//! in that directory; with `--data` what the first run says is committed to an embedded log in that directory, without the
//! records it is made of.

mod evidence;
mod options;
mod peers;
mod plot;
mod report;
mod simulation;
mod svg;

use evenkeel::embedded::EmbeddedLedger;
use evenkeel::ports::{Ledger, PortError};
use evidence::Evidence;
use options::Options;
use report::{BY_HAND, Row};
use simulation::catalogue::{SCENARIOS, Scenario};
use simulation::drive::run;
use simulation::score::{Score, score};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// The allocator of the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What came of one seed of a scenario.
struct Done {
    scores: [Score; 3],
    evidence: Evidence,
    picture: Option<String>,
}

fn main() -> ExitCode {
    let options = Options::parse(std::env::args().skip(1));
    let known = |options: &Options| options.names.iter().all(|name| SCENARIOS.iter().any(|it| it.name == name));
    match options {
        Ok(options) if known(&options) => work(&options).map_or_else(|error| stop(&error), |()| ExitCode::SUCCESS),
        Ok(options) => stop(&format!("scenarios are {}, not {}", names().join(", "), options.names.join(", "))),
        Err(error) => stop(&error),
    }
}

fn stop(error: &str) -> ExitCode {
    eprintln!("{error}");
    ExitCode::FAILURE
}

fn names() -> Vec<&'static str> {
    SCENARIOS.iter().map(|scenario| scenario.name).collect()
}

fn work(options: &Options) -> Result<(), String> {
    let asked = |scenario: &&Scenario| options.names.is_empty() || options.names.iter().any(|it| it == scenario.name);
    let scenarios = SCENARIOS.iter().filter(asked).collect::<Vec<_>>();
    let jobs =
        scenarios.iter().enumerate().flat_map(|(index, it)| options.seeds(it.is_long).map(move |seed| (index, seed)));
    // Before minutes of work, not after.
    if let Some(directory) = &options.out {
        std::fs::create_dir_all(directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    }
    let ledger = options.data.as_deref().map(log).transpose().map_err(|error| error.to_string())?;
    let done = all(&scenarios, &jobs.collect::<Vec<_>>(), options.threads, ledger);
    let mut rows = Vec::new();
    let mut done = done.into_iter().peekable();
    for (index, scenario) in scenarios.iter().enumerate() {
        let (name, about) = (scenario.name.to_owned(), scenario.about.to_owned());
        let mut row = Row { name, about, scores: Default::default(), evidence: Evidence::default() };
        while let Some((_, it)) = done.next_if(|((of, _), _)| *of == index) {
            row.scores.iter_mut().zip(&it.scores).for_each(|(sum, score)| sum.add(score));
            row.evidence.merge(&it.evidence);
            if let (Some(directory), Some(picture)) = (&options.out, it.picture) {
                write(&directory.join(format!("{}.svg", scenario.name)), &picture)?;
            }
        }
        rows.push(row);
    }
    if options.json {
        rows.iter().flat_map(report::json_lines).for_each(|line| println!("{line}"));
    } else {
        println!("{}\n{}", report::table(&rows), report::comparison(&rows));
        for row in &rows {
            row.evidence.lines().iter().for_each(|line| println!("{}: {line}", row.name));
        }
    }
    options.out.as_deref().map_or(Ok(()), |directory| publish(directory, rows))
}

/// Runs every scenario and seed, so many at a time; what came of them is in order.
fn all(
    scenarios: &[&Scenario],
    jobs: &[(usize, u64)],
    threads: usize,
    ledger: Option<EmbeddedLedger>,
) -> Vec<((usize, u64), Done)> {
    let (next, done, ledger) = (AtomicUsize::new(0), Mutex::new(Vec::new()), Mutex::new(ledger));
    std::thread::scope(|scope| {
        for _ in 0..threads.min(jobs.len()) {
            scope.spawn(|| {
                while let Some((index, seed)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let log = ledger.lock().expect("nobody panics while holding it").take();
                    let it = one(scenarios[*index], *seed, log);
                    done.lock().expect("nobody panics while holding it").push(((*index, *seed), it));
                }
            });
        }
    });
    let mut done = done.into_inner().expect("nobody panicked while holding it");
    done.sort_by_key(|(job, _)| *job);
    done
}

/// A log in a directory, ready for the first epoch.
fn log(directory: &Path) -> Result<EmbeddedLedger, PortError> {
    let mut ledger = EmbeddedLedger::open(directory)?;
    ledger.recover()?;
    Ok(ledger)
}

fn one(scenario: &Scenario, seed: u64, mut log: Option<EmbeddedLedger>) -> Done {
    let started = Instant::now();
    let world = (scenario.make)(seed);
    let run = run(&world, &mut |changes| {
        let committed = log.as_mut().map_or(Ok(()), |log| log.commit(std::slice::from_ref(changes)));
        committed.expect("the log is written");
    });
    let peers = [peers::static_thresholds(&world, &run), peers::burn_rates(&world, &run)];
    let scores = [&run.alerts, &peers[0], &peers[1]].map(|alerts| score(alerts, &world));
    let picture = (seed == 1).then(|| plot::draw(scenario.name, scenario.about, &world, &run, [&peers[0], &peers[1]]));
    let (took_s, hours) = (started.elapsed().as_secs_f64(), world.seconds as f64 / 3600.0);
    let (requests, refused) = (run.requests, run.rejected);
    eprintln!(
        "{} seed {seed}: {hours:.1} h, {requests} requests in {took_s:.1} s, {refused} records refused",
        scenario.name
    );
    Done { scores, evidence: Evidence::of(&run, &world), picture }
}

/// Writes the page and what it is made of; scenarios that were not run keep what they had.
fn publish(directory: &Path, rows: Vec<Row>) -> Result<(), String> {
    let (page, data) = (directory.join("RESULTS.md"), directory.join("results.json"));
    let before = std::fs::read_to_string(&data).unwrap_or_default();
    let mut all = serde_json::from_str::<Vec<Row>>(&before).unwrap_or_default();
    all.retain(|old| rows.iter().all(|row| row.name != old.name));
    all.extend(rows);
    let place = |row: &Row| names().iter().position(|name| *name == row.name);
    all.retain(|row| place(row).is_some());
    all.sort_by_key(place);
    let text = std::fs::read_to_string(&page).unwrap_or_default();
    let by_hand = text.split_once(BY_HAND).map_or("", |(_, after)| after.trim_start_matches('\n'));
    write(&page, &report::page(&all, by_hand))?;
    write(&data, &(serde_json::to_string_pretty(&all).map_err(|error| error.to_string())? + "\n"))
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}
