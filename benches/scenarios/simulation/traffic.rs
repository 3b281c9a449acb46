//! Requests of a service, second by second.

use super::random::Random;
use super::world::{Effect, Scatter, Scope, Service, What, World};

/// Spread of latencies: the 90th percentile is 1.6 times the median, the 99th 2.7 times.
const SPREAD: f64 = 0.22;

/// An error of a callee reaches its caller this often: some calls are repeated, or can be done without.
const PASSED_ON: f64 = 0.9;

/// The share of arrivals that are three at once where counts are over-dispersed: with it their variance is
/// `(1 + 8 / 4) / (1 + 2 / 4)` = 2 times their mean.
const TRIPLES: f64 = 0.25;

/// A served request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Served {
    /// Offset in its second, µs.
    pub at_us: i64,
    pub route: u32,
    pub node: u32,
    pub canary: bool,
    /// Which of the service's callees was called.
    pub callee: Option<usize>,
    pub failed: bool,
    pub latency_us: u32,
}

/// What callers of a service see of its troubles.
#[derive(Clone, Copy, Debug, Default)]
pub struct Trouble {
    errors: f64,
    extra_us: f64,
}

/// Makes the requests of a service.
pub struct Traffic {
    random: Random,
    /// How many arrivals are expected until the next one.
    due: f64,
    /// The rate's own way, as a factor less one.
    wander: f64,
    effects: Vec<Effect>,
}

impl Traffic {
    /// The traffic of a world's service.
    pub fn new(world: &World, service: usize) -> Self {
        let mut random = Random::new(world.seed, service as u64);
        let due = random.exponential();
        let effects = world.effects.iter().filter(|effect| effect.service == service).copied().collect();
        Self { random, due, wander: 0.0, effects }
    }

    /// Makes the requests of a second, given what the callees' troubles were; says what callers see.
    pub fn second(
        &mut self,
        service: &Service,
        at_s: i64,
        callees: &[Trouble],
        mut out: impl FnMut(Served),
    ) -> Trouble {
        let active = self.effects.iter().map(|it| (it.scope, it.what, it.strength(at_s)));
        let active = active.filter(|(_, _, strength)| *strength > 0.0).collect::<Vec<_>>();
        let canary = service.canary.filter(|it| (it.from_s..it.to_s).contains(&at_s)).map_or(0.0, |it| it.share);
        let season = service.season.factor(at_s);
        let rate = service.rate * season * self.own_way(service, at_s) * volume(&active);
        // The busier, the slower, a little.
        let median_us = service.latency_us * (1.0 + 0.15 * (season - 1.0));
        let (bulk, mean_arrivals) = match service.scatter {
            Scatter::Poisson => (0.0, 1.0),
            Scatter::Dispersed => (TRIPLES, 1.0 + 2.0 * TRIPLES),
        };
        while self.due < rate {
            let at_us = (self.due / rate * 1e6) as i64;
            for _ in 0..if self.random.chance(bulk) { 3 } else { 1 } {
                out(self.request(service, (at_us, median_us, canary), &active, callees));
            }
            self.due += self.random.exponential() * mean_arrivals;
        }
        self.due -= rate;
        trouble(service, canary, &active, callees)
    }

    fn own_way(&mut self, service: &Service, at_s: i64) -> f64 {
        if service.scatter == Scatter::Dispersed && at_s % 60 == 0 {
            self.wander = 0.9 * self.wander + 0.026 * self.random.normal();
        }
        1.0 + self.wander.clamp(-0.3, 0.3)
    }

    fn request(
        &mut self,
        service: &Service,
        (at_us, median_us, canary): (i64, f64, f64),
        active: &[(Scope, What, f64)],
        callees: &[Trouble],
    ) -> Served {
        let random = &mut self.random;
        let node = random.below(u64::from(service.nodes)) as u32;
        let route = random.below(u64::from(service.routes)) as u32;
        let canary = random.chance(canary);
        let callee = (!callees.is_empty()).then(|| random.below(callees.len() as u64) as usize);
        let seen = callee.map_or(Trouble::default(), |it| callees[it]);
        let (mut errors, mut slow) = (service.errors + seen.errors, 1.0);
        for (scope, what, strength) in active {
            let hit = match scope {
                Scope::Whole => true,
                Scope::Zone(zone) => node % service.zones == *zone,
                Scope::Node(it) => node == *it,
                Scope::Canary => canary,
            };
            match what {
                What::Errors(share) if hit => errors += share * strength,
                What::Slow(factor) if hit => slow *= 1.0 + (factor - 1.0) * strength,
                _ => {}
            }
        }
        let latency_us = median_us * slow * random.log_logistic(SPREAD) + seen.extra_us * (0.5 + random.unit());
        let failed = random.chance(errors);
        Served { at_us, route, node, canary, callee, failed, latency_us: latency_us.clamp(1.0, 3e9) as u32 }
    }

    /// Whether a node's heartbeat comes: now and then one is lost.
    pub fn beats(&mut self, service: &Service, node: u32, at_s: i64) -> bool {
        let lost = self.random.chance(0.000_5);
        let silent = self.effects.iter().any(|it| {
            let hit = match it.scope {
                Scope::Whole => true,
                Scope::Zone(zone) => node % service.zones == zone,
                Scope::Node(at) => node == at,
                Scope::Canary => false,
            };
            it.what == What::Silent && hit && it.strength(at_s) > 0.0
        });
        !lost && !silent
    }
}

fn volume(active: &[(Scope, What, f64)]) -> f64 {
    let factor = |(_, what, strength): &(Scope, What, f64)| match what {
        What::Volume(factor) => 1.0 + (factor - 1.0) * strength,
        _ => 1.0,
    };
    active.iter().map(factor).product()
}

fn trouble(service: &Service, canary: f64, active: &[(Scope, What, f64)], callees: &[Trouble]) -> Trouble {
    let count = callees.len().max(1) as f64;
    let mut errors = callees.iter().map(|it| it.errors).sum::<f64>() / count;
    let mut extra_us = callees.iter().map(|it| it.extra_us).sum::<f64>() / count;
    for (scope, what, strength) in active {
        let share = match scope {
            Scope::Whole => 1.0,
            Scope::Zone(_) => 1.0 / f64::from(service.zones),
            Scope::Node(_) => 1.0 / f64::from(service.nodes),
            Scope::Canary => canary,
        };
        match what {
            What::Errors(part) => errors += share * part * strength,
            What::Slow(factor) => extra_us += share * service.latency_us * (factor - 1.0) * strength,
            What::Volume(_) | What::Silent => {}
        }
    }
    Trouble { errors: (errors * PASSED_ON).min(1.0), extra_us }
}
