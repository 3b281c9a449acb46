//! A world through the engine: second by second in, verdicts and incidents out.

use super::incidents::Incidents;
use super::meter::Meter;
use super::score::Alert;
use super::traffic::{Traffic, Trouble};
use super::world::{START_US, World};
use super::writer::Writer;
use evenkeel_dataflows::{Changes, Engine, Resume, Tuning};
use evenkeel_schemas::{Binding, Dataset, Decision, Dimension, Epoch, Statistics, Verdict};
use serde::Deserialize;
use std::time::Duration;

const SECOND_US: i64 = 1_000_000;

/// A node says so often that it lives, s.
const HEARTBEAT_S: i64 = 10;

/// Most epochs that are in flight.
const IN_FLIGHT: usize = 8;

/// What came of a world.
pub struct Run {
    pub alerts: Vec<Alert>,
    pub verdicts: Vec<Verdict>,
    /// The last hour of the shown service, as the engine says it: when, s, and what.
    pub usual: Vec<(i64, Statistics)>,
    /// Per service, in slots of ten seconds and of a minute.
    pub meters: Vec<[Meter; 2]>,
    /// Per gauge, its values every so often.
    pub gauges: Vec<Vec<f64>>,
    /// Records the engine refused.
    pub rejected: usize,
    /// Requests that were served.
    pub requests: u64,
}

/// Runs a world through an engine of one worker with the defaults; baselines are said once a minute.
/// Every epoch's changes are passed to `out`, too.
pub fn run(world: &World, out: &mut dyn FnMut(&Changes)) -> Run {
    let tuning = Tuning { baseline_every_s: 60, ..Tuning::default() };
    let mut drive = Drive::new(world, &tuning, out);
    for at_s in 0..world.seconds {
        drive.second(at_s);
        if (at_s + 1) % world.epoch_s == 0 {
            drive.close(at_s + 1);
        }
    }
    drive.end()
}

struct Drive<'w> {
    world: &'w World,
    engine: Engine,
    writer: Writer,
    traffic: Vec<Traffic>,
    troubles: Vec<Trouble>,
    epoch: u64,
    run: Run,
    incidents: Incidents,
    out: &'w mut dyn FnMut(&Changes),
}

impl<'w> Drive<'w> {
    fn new(world: &'w World, tuning: &Tuning, out: &'w mut dyn FnMut(&Changes)) -> Self {
        let mut drive = Self {
            world,
            engine: Engine::new(tuning, 1, Resume::default()),
            writer: Writer::new(),
            traffic: (0..world.services.len()).map(|service| Traffic::new(world, service)).collect(),
            troubles: vec![Trouble::default(); world.services.len()],
            epoch: 0,
            run: Run {
                alerts: Vec::new(),
                verdicts: Vec::new(),
                usual: Vec::new(),
                meters: world.services.iter().map(|_| [Meter::new(10), Meter::new(60)]).collect(),
                gauges: vec![Vec::new(); world.gauges.len()],
                rejected: 0,
                requests: 0,
            },
            incidents: Incidents::default(),
            out,
        };
        drive.close(0);
        drive
    }

    /// What happens in a second.
    fn second(&mut self, at_s: i64) {
        let Self { world, writer, traffic, run, .. } = self;
        let mut troubles = Vec::with_capacity(self.troubles.len());
        for (index, service) in world.services.iter().enumerate() {
            // What a callee suffers reaches its callers a second later.
            let callees = service.callees.iter().map(|callee| self.troubles[*callee]).collect::<Vec<_>>();
            let meters = &mut run.meters[index];
            let trouble = traffic[index].second(service, at_s, &callees, |served| {
                run.requests += 1;
                meters.iter_mut().for_each(|meter| meter.count(served.failed, served.latency_us));
                writer.request(world, service, at_s, &served);
            });
            troubles.push(trouble);
            meters.iter_mut().for_each(|meter| meter.second(at_s));
            for node in (0..service.nodes).filter(|_| at_s % HEARTBEAT_S == 0) {
                if traffic[index].beats(service, node, at_s) {
                    writer.heartbeat(service, node, at_s, HEARTBEAT_S);
                }
            }
        }
        self.troubles = troubles;
        self.measure(at_s);
    }

    fn measure(&mut self, at_s: i64) {
        for (gauge, values) in self.world.gauges.iter().zip(&mut self.run.gauges) {
            if at_s % gauge.every_s == 0 {
                let scatter = super::random::Random::new(self.world.seed ^ at_s as u64, u64::from(gauge.node)).unit();
                let value = (gauge.value)(at_s, scatter);
                values.push(value);
                self.writer.gauge(&self.world.services[gauge.service], gauge, at_s, value);
            }
        }
        for (_, order) in self.world.orders.iter().filter(|(when_s, _)| *when_s == at_s) {
            self.writer.order(order, at_s);
        }
    }

    /// Closes the open epoch at a time.
    fn close(&mut self, at_s: i64) {
        for batch in self.writer.take() {
            self.engine.push(batch).expect("the engine runs");
        }
        let (epoch, now_us, upper) = (Epoch(self.epoch), START_US + at_s * SECOND_US, self.writer.upper.clone());
        // Nobody recovers from here, so that it does not matter from where.
        self.engine.close(Binding { epoch, now_us, resume: epoch, upper }).expect("the engine runs");
        self.epoch += 1;
        while self.engine.in_flight() > IN_FLIGHT {
            self.hear();
        }
    }

    fn end(mut self) -> Run {
        while self.engine.in_flight() > 0 {
            self.hear();
        }
        Run { alerts: self.incidents.alerts, ..self.run }
    }

    fn hear(&mut self) {
        let Some(changes) = self.engine.wait(Duration::from_millis(100)).expect("the engine runs") else { return };
        self.take(&changes);
        (self.out)(&changes);
    }

    fn take(&mut self, changes: &Changes) {
        let shown = &self.world.services[self.world.shown.0].name;
        for output in &changes.outputs {
            match output.dataset {
                Dataset::Verdicts => self.run.verdicts.push(from_json(&output.value)),
                Dataset::Incidents => self.incidents.hear(&from_json(&output.value)),
                Dataset::Rejections => self.run.rejected += 1,
                Dataset::Baselines => {
                    let said = from_json::<evenkeel_schemas::Baseline>(&output.value);
                    if said.key.0.len() == 1 && said.key.get(Dimension::Service) == Some(shown) {
                        let hour = said.windows.into_iter().find(|(name, _)| name == "1h");
                        self.run.usual.extend(hour.map(|(_, usual)| (second_of(said.at_us), usual)));
                    }
                }
                _ => {}
            }
        }
    }
}

fn second_of(at_us: i64) -> i64 {
    (at_us - START_US).div_euclid(SECOND_US)
}

fn from_json<T: for<'a> Deserialize<'a>>(bytes: &[u8]) -> T {
    serde_json::from_slice(bytes).expect("the engine says JSON")
}

impl Run {
    /// Verdicts that fired, in the order they were said.
    pub fn fired(&self) -> impl Iterator<Item = (i64, &Verdict)> {
        let fired = self.verdicts.iter().filter(|verdict| verdict.decision == Decision::Fire);
        fired.map(|verdict| (second_of(verdict.at_us), verdict))
    }

    /// Rules that were held back about a service in an interval, with their reason codes.
    pub fn held(&self, names: &[String], (from_s, to_s): (i64, i64)) -> impl Iterator<Item = &Verdict> {
        let of = move |verdict: &&Verdict| {
            let at_s = second_of(verdict.at_us);
            verdict.decision == Decision::Hold && (from_s..to_s).contains(&at_s)
        };
        let named = names.to_vec();
        self.verdicts.iter().filter(of).filter(move |verdict| named.iter().any(|name| name == verdict.key.service()))
    }
}
