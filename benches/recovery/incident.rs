//! What goes wrong in a run, and how long a person would take over it: drawn from a seed.

use crate::random::Random;
use evenkeel::shop::{Fault, FaultKind, NODES, Plan, node_name, services};

const SECOND_US: i64 = 1_000_000;

/// Quiet before a fault, s: from, and before.
const QUIET_S: (i64, i64) = (300, 600);

/// Requests a second to the whole shop.
const REQUESTS_PER_S: u32 = 600;

/// Kinds of faults, whether it is one node's, and how many of a hundred incidents are so.
const MIX: [(FaultKind, bool, u64); 5] = [
    (FaultKind::ErrorBurst, true, 25),
    (FaultKind::ErrorBurst, false, 15),
    (FaultKind::LatencyStep, false, 25),
    (FaultKind::PoolExhaustion, false, 15),
    (FaultKind::DeadNode, true, 20),
];

/// Of any of these, so many cannot be mended by a command: only a person ends them.
const BEYOND_COMMANDS: f64 = 0.15;

/// The weakest and the strongest fault, percent of what its kind says.
const STRENGTH: (f64, f64) = (40.0, 200.0);

/// The spread of how long a person takes (σ of its logarithm): a tenth take 2.8 times the median, or longer.
const SPREAD: f64 = 0.8;

/// An incident to be played.
pub struct Incident {
    /// The run, with one fault.
    pub plan: Plan,
    /// How long a person who was paged takes until it is mended, µs.
    pub person_us: i64,
}

impl Incident {
    /// Number `number` of a seed; people take `median_min` minutes (the median).
    pub fn draw(seed: u64, number: u64, median_min: f64) -> Self {
        let random = &mut Random::new(seed, number);
        let (kind, single) = drawn_kind(random);
        let service = services().nth(random.below(services().count() as u64) as usize).expect("below their count");
        let node = node_name(service, random.below(NODES as u64) as usize);
        let plan = Plan { seed: random.bits(), requests_per_s: REQUESTS_PER_S, ..Plan::default() };
        // Anywhere in a second, and in the shop's day.
        let after_us = random.between(QUIET_S.0 * SECOND_US, QUIET_S.1 * SECOND_US);
        let fault = Fault::new(kind, service, single.then_some(node.as_str()), plan.start_us + after_us);
        let expects = fault.expects.filter(|_| !random.chance(BEYOND_COMMANDS));
        let ratio = libm::log(STRENGTH.1 / STRENGTH.0);
        let strength = (STRENGTH.0 * libm::exp(ratio * random.unit())) as u32;
        let person_us = (median_min * 60e6 * libm::exp(SPREAD * random.normal())) as i64;
        let faults = vec![Fault { expects, strength, ..fault }];
        Self { plan: Plan { faults, malformed_per_million: 20, late_per_million: 200, ..plan }, person_us }
    }

    /// What goes wrong.
    pub fn fault(&self) -> &Fault {
        &self.plan.faults[0]
    }
}

fn drawn_kind(random: &mut Random) -> (FaultKind, bool) {
    let mut left = random.below(MIX.iter().map(|(_, _, weight)| weight).sum());
    for (kind, single, weight) in MIX {
        match left.checked_sub(weight) {
            Some(less) => left = less,
            None => return (kind, single),
        }
    }
    unreachable!("it is below the sum")
}
