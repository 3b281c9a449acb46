//! The demo: a shop of a dozen services with seeded faults, through the same pipeline as everything else.

mod score;
mod view;
mod world;

pub use score::{FaultReport, Score};

use crate::cold::{self, DirectoryStore, Verification};
use crate::embedded::{EmbeddedLedger, EmbeddedOutputs, EmbeddedSource};
use crate::metrics::{Metric, Metrics};
use crate::pipeline::Pace;
use crate::ports::{Clock, PortError};
use crate::service::Service;
use crate::shop::{Plan, Shop};
use evenkeel_dataflows::{Changes, Detection, Tuning};
use evenkeel_schemas::{Command, CommandState, Dataset, Mode};
use serde::Serialize;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use view::View;
use world::{ShopClock, World};

/// Length of the shop's story, s of its own time; it is played faster than that.
const STORY_S: u32 = 240;

/// How long after its story the shop goes on at most until every incident is resolved, s of its own time.
const AFTERMATH_S: f64 = 60.0;

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How long to play, s of the wall clock.
    pub seconds: u32,
    /// Decides everything that is left to chance.
    pub seed: u64,
    /// Show nothing while it runs.
    pub silent: bool,
}

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// The seed.
    pub seed: u64,
    /// Events committed.
    pub events: u64,
    /// Events a second of the wall clock.
    pub events_per_s: u64,
    /// Each fault.
    pub faults: Vec<FaultReport>,
    /// Incidents that belong to no fault of which somebody must hear.
    pub false_alarms: usize,
    /// Audit entries committed.
    pub audit_entries: u64,
    /// Parquet files written.
    pub files: usize,
    /// Whether the audit chain is whole, in the log and in the files.
    pub verified: bool,
    /// What verification found.
    pub verification: String,
}

impl Summary {
    /// Whether every fault was found and recovered, nothing else paged, and the chain verifies.
    pub fn is_well(&self) -> bool {
        self.faults.iter().all(FaultReport::is_well) && self.false_alarms == 0 && self.verified
    }
}

/// The demo's tuning: commands are carried out.
pub fn tuning() -> Tuning {
    // Its faults last seconds: what persists is asked of fewer of them.
    let detection = Detection { persist: 4, of: 5, quiet_persist: 2, quiet_of: 3, ..Detection::default() };
    Tuning { mode: Mode::Auto, detection, ..Tuning::default() }
}

/// Plays the story in the data directory `directory`, which is empty.
///
/// # Errors
/// What the ports say.
pub fn play(directory: &Path, options: Options, metrics: &Arc<Metrics>) -> Result<Summary, PortError> {
    let plan = Plan::demo(options.seed, Plan::default().start_us, STORY_S);
    let (start_us, shop) = (plan.start_us, Shop::new(plan));
    let (end_us, speed) = (shop.end_us(), f64::from(STORY_S) / f64::from(options.seconds.max(1)));
    let clock = ShopClock::new(start_us, speed);
    let world = World::start(shop, directory, clock);
    let (stop, started) = (AtomicBool::new(false), Instant::now());
    let (mut score, mut view) = (Score::default(), View::new(start_us, options.silent));
    let tuning = tuning();
    let pace = Pace { idle: Duration::from_millis(100).div_f64(speed.max(1.0)), ..Pace::default() };
    let service = Service { tuning: &tuning, workers: 2, pace, stop: &stop, metrics };
    let ports = || Ok((EmbeddedSource::new(directory), EmbeddedLedger::open(directory)?, clock));
    service.run(ports, |epochs| {
        score.take(epochs);
        view.take(epochs);
        commands(epochs).for_each(|command| world.carry_out(command));
        view.show(metrics.get(Metric::BehindUs));
        let over_us = { clock }.now_us() - end_us;
        if over_us > 0 && (score.is_quiet() || over_us as f64 > AFTERMATH_S * 1e6) {
            stop.store(true, Ordering::Relaxed);
        }
    })?;
    let elapsed = started.elapsed().as_secs_f64();
    let faults = world.end()?;
    let (files, verification) = archive(directory)?;
    let (faults, false_alarms) = score.report(&faults);
    Ok(Summary {
        seed: options.seed,
        events: score.events(),
        events_per_s: (score.events() as f64 / elapsed) as u64,
        faults,
        false_alarms,
        audit_entries: score.audit_entries(),
        files,
        verified: matches!(verification, Verification::Whole { .. }),
        verification: verification.to_string(),
    })
}

fn commands(epochs: &[Changes]) -> impl Iterator<Item = Command> {
    let outputs = epochs.iter().flat_map(|changes| &changes.outputs);
    let commands = outputs.filter(|output| output.dataset == Dataset::Commands);
    let commands = commands.filter_map(|output| serde_json::from_slice::<Command>(&output.value).ok());
    commands.filter(|command| command.state == CommandState::Issued)
}

/// Compacts everything to Parquet and verifies log and files.
fn archive(directory: &Path) -> Result<(usize, Verification), PortError> {
    let store = DirectoryStore::open(&directory.join("cold"))?;
    let options = cold::Options { whole: true, ..cold::Options::default() };
    let report = cold::compact(&mut EmbeddedOutputs::new(directory), &store, &options)?;
    Ok((report.written.len(), cold::verify(directory)))
}
