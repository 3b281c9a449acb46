//! How soon users are well again after a fault: seeded incidents of the shop, each with automation off and on.
//!
//! `cargo bench --bench recovery [-- --incidents N] [--seed N] [--person MINUTES] [--threads N] [--out DIR] [-o json]`: the
//! table on standard output; with `--out` also `RESULTS.md` and `recovery.svg` in that directory.
//!
//! Off is mode `observe`: nothing is carried out, and the fault lasts until a person mends it. How long people take is no
//! measurement but an assumption: log-normal from the page on, median `--person` (30 min). On is mode `auto`, with the same
//! person for the same incident. What the machine alone does is printed beside it.

mod chart;
mod incident;
mod play;
#[path = "../scenarios/simulation/random.rs"]
#[allow(dead_code, reason = "the scenarios use more of it")]
mod random;
mod report;
#[path = "../scenarios/svg.rs"]
#[allow(dead_code, reason = "the scenarios use more of it")]
mod svg;
mod users;

use evenkeel_schemas::Mode;
use incident::Incident;
use play::play;
use report::Row;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// The allocator of the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What is asked for.
#[derive(clap::Parser)]
struct Options {
    /// Incidents to play, each twice.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    incidents: u64,
    /// Decides all that is left to chance.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How long a person takes from the page until the fault is mended: the median, minutes. An assumption.
    #[arg(long, default_value_t = 30.0)]
    person: f64,
    /// Runs at a time; no figure depends on it.
    #[arg(long, default_value_t = std::thread::available_parallelism().map_or(1, usize::from))]
    threads: usize,
    /// Where the table and the picture go, if anywhere.
    #[arg(long)]
    out: Option<PathBuf>,
    /// `json`: a line an incident.
    #[arg(short, long)]
    output: Option<String>,
    /// Cargo's own.
    #[arg(long = "bench", hide = true)]
    _bench: bool,
}

fn main() -> ExitCode {
    let options = <Options as clap::Parser>::parse();
    let rows = all(&options);
    if options.output.as_deref() == Some("json") {
        rows.iter().for_each(|row| println!("{}", row.json()));
    } else {
        println!("{}", report::table(&rows));
    }
    match options.out.as_deref().map_or(Ok(()), |directory| publish(directory, &options, &rows)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Plays every incident, so many at a time; they come back in order.
fn all(options: &Options) -> Vec<Row> {
    let (next, done) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..options.threads {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= options.incidents {
                        return;
                    }
                    let incident = Incident::draw(options.seed, number, options.person);
                    let courses = [Mode::Observe, Mode::Auto].map(|mode| play(&incident, mode));
                    let row = Row { number, fault: incident.fault().clone(), courses };
                    eprintln!("{}", row.line());
                    done.lock().expect("nobody panics while holding it").push(row);
                }
            });
        }
    });
    let mut rows = done.into_inner().expect("nobody panicked while holding it");
    rows.sort_by_key(|row| row.number);
    rows
}

fn publish(directory: &Path, options: &Options, rows: &[Row]) -> Result<(), String> {
    let write = |name: &str, text: &str| {
        let path = directory.join(name);
        std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
    };
    write("RESULTS.md", &report::page(rows, options.seed, options.person))?;
    write("recovery.svg", &chart::draw(rows))
}
