//! How far detection can be trusted: worlds with known faults, through the engine and past two peers.
//!
//! `cargo bench --bench scenarios -- [NAME…] [--seeds N] [--threads N] [--out DIR] [-o json]`

mod simulation;

use simulation::catalogue::SCENARIOS;
use simulation::drive::run;
use simulation::score::score;
use std::time::Instant;

fn main() {
    let names = std::env::args().skip(1).filter(|it| !it.starts_with('-')).collect::<Vec<_>>();
    for scenario in SCENARIOS.iter().filter(|it| names.is_empty() || names.iter().any(|name| name == it.name)) {
        let started = Instant::now();
        let world = (scenario.make)(1);
        let run = run(&world);
        let score = score(&run.alerts, &world);
        println!("{} {:.1} s, {} requests, {} s, rejected {}: {score:?}", scenario.name, started.elapsed().as_secs_f64(), run.requests, world.seconds, run.rejected);
        for alert in run.alerts.iter().take(6) {
            println!("   {} {:?} {} {} | {}", alert.at_s, alert.end_s, alert.root, alert.rule, alert.evidence);
        }
    }
}
