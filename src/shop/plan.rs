//! What a run of the shop is to be: its length, its load, and what goes wrong when.

use super::catalogue::{REGIONS, SERVICES};
use super::random::Random;
use super::world::node_name;
use evenkeel_schemas::CommandKind;

const SECOND_US: i64 = 1_000_000;

/// A run of the shop; two runs of one plan and the same commands give the same bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Decides everything that is left to chance.
    pub seed: u64,
    /// When it begins, µs since the Unix epoch.
    pub start_us: i64,
    /// How long it is meant to last, s; see [`super::Shop::end_us`].
    pub seconds: u32,
    /// Requests a second, the mean over a day of the shop ([`super::DAY_S`]).
    pub requests_per_s: u32,
    /// At least so many distinct routes, at most a million; 0 leaves the shop as it is. For load tests.
    pub keys: u32,
    /// What goes wrong. Faults of one service should not overlap.
    pub faults: Vec<Fault>,
    /// How many requests in a million are hostile bytes instead.
    pub malformed_per_million: u32,
    /// How many requests in a million arrive 1 to 50 s late.
    pub late_per_million: u32,
    /// How long after its arrival a command takes effect, µs.
    pub effect_delay_us: i64,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            seed: 1,
            start_us: 1_767_225_600 * SECOND_US, // 2026-01-01T00:00:00Z
            seconds: 240,
            requests_per_s: 2_000,
            keys: 0,
            faults: Vec::new(),
            malformed_per_million: 0,
            late_per_million: 0,
            effect_delay_us: SECOND_US,
        }
    }
}

/// A fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What to call it.
    pub name: &'static str,
    /// What goes wrong.
    pub kind: FaultKind,
    /// Where.
    pub service: String,
    /// On which node; all nodes of the service if none is named.
    pub node: Option<String>,
    /// When it begins, µs since the Unix epoch.
    pub start_us: i64,
    /// The kind of command that heals it; none if it passes by itself, or no command helps and a person has to mend it.
    pub expects: Option<CommandKind>,
    /// How strong it is in percent of what its kind says: how many answers are errors, by how much they take longer, how
    /// fast a pool fills. At least 1.
    pub strength: u32,
    /// Whether a person would want to know.
    pub must_page: bool,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultKind {
    /// 60 to 90 % of the answers are 5xx, until a while after the circuit is tripped.
    ErrorBurst,
    /// Latencies are four times as long, until the service is scaled.
    LatencyStep,
    /// The connection pool fills within ten seconds, then requests wait, until the service is scaled.
    PoolExhaustion,
    /// The node is silent: no requests, no heartbeats, no telemetry, until it is restarted.
    DeadNode,
    /// Latencies are three times as long for two seconds, and that is all.
    Jitter,
}

impl FaultKind {
    /// Every kind.
    pub const ALL: [Self; 5] =
        [Self::ErrorBurst, Self::LatencyStep, Self::PoolExhaustion, Self::DeadNode, Self::Jitter];

    /// What to call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ErrorBurst => "error burst",
            Self::LatencyStep => "latency step",
            Self::PoolExhaustion => "pool exhaustion",
            Self::DeadNode => "dead node",
            Self::Jitter => "jitter",
        }
    }

    /// The kind of command that heals it.
    pub const fn remedy(self) -> Option<CommandKind> {
        match self {
            Self::ErrorBurst => Some(CommandKind::TripCircuit),
            Self::LatencyStep | Self::PoolExhaustion => Some(CommandKind::Scale),
            Self::DeadNode => Some(CommandKind::RestartNode),
            Self::Jitter => None,
        }
    }
}

impl Fault {
    /// A fault of a whole service, or of one of its nodes; a person would want to know of every kind but jitter.
    pub fn new(kind: FaultKind, service: &str, node: Option<&str>, start_us: i64) -> Self {
        Self {
            name: kind.name(),
            kind,
            service: service.to_owned(),
            node: node.map(str::to_owned),
            start_us,
            expects: kind.remedy(),
            strength: 100,
            must_page: kind != FaultKind::Jitter,
        }
    }
}

impl Plan {
    /// One fault of every kind, each on another service, in an order and at times that the seed decides.
    ///
    /// From 240 s on: a quiet minute first, and at least 40 s after the last fault began; shorter runs shrink both.
    pub fn demo(seed: u64, start_us: i64, seconds: u32) -> Self {
        let mut random = Random::new(seed, 0);
        let (mut kinds, mut services) = (FaultKind::ALL, SERVICES.each_ref().map(|service| service.name));
        random.shuffle(&mut kinds);
        random.shuffle(&mut services);
        let length_us = i64::from(seconds) * SECOND_US;
        let quiet_us = (length_us / 4).min(60 * SECOND_US);
        let tail_us = (length_us / 5).min(45 * SECOND_US);
        let gap_us = (length_us - quiet_us - tail_us) / (kinds.len() as i64 - 1);
        let faults = kinds.iter().zip(services).zip(0..).map(|((kind, service), number)| {
            // Up to a tenth of the gap, and never past the tail: faults do not begin on the second.
            let jitter_us = random.below((gap_us / 10).clamp(1, 4 * SECOND_US) as u64) as i64;
            let node = random_target(&mut random, *kind, service);
            Fault::new(*kind, service, node.as_deref(), start_us + quiet_us + number * gap_us + jitter_us)
        });
        let faults = faults.collect();
        Self { seed, start_us, seconds, faults, malformed_per_million: 20, late_per_million: 200, ..Self::default() }
    }
}

/// A node that dies is one; errors come from one node or from all; everything else is the whole service's.
fn random_target(random: &mut Random, kind: FaultKind, service: &str) -> Option<String> {
    let node = node_name(service, random.below(REGIONS.len() as u64) as usize);
    let single = match kind {
        FaultKind::DeadNode => true,
        FaultKind::ErrorBurst => random.below(2) == 0,
        FaultKind::LatencyStep | FaultKind::PoolExhaustion | FaultKind::Jitter => false,
    };
    single.then_some(node)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shop::Shop;
    use std::collections::BTreeSet;

    #[test]
    fn every_demo_has_each_fault_once_apart_and_in_time() {
        for (seed, seconds) in (0..200).flat_map(|seed| [(seed, 60), (seed, 240), (seed, 900)]) {
            let plan = Plan::demo(seed, 0, seconds);
            let (quiet_us, tail_us) = if seconds < 240 { (15, 10) } else { (60, 40) };
            let services = plan.faults.iter().map(|fault| fault.service.as_str()).collect::<BTreeSet<_>>();
            let mut kinds = plan.faults.iter().map(|fault| fault.kind).collect::<Vec<_>>();
            kinds.sort_unstable();
            assert_eq!((services.len(), kinds), (5, FaultKind::ALL.to_vec()));
            assert!(plan.faults.is_sorted_by_key(|fault| fault.start_us));
            assert!(plan.faults[0].start_us >= quiet_us * SECOND_US);
            assert!(
                plan.faults[4].start_us <= (i64::from(seconds) - tail_us) * SECOND_US,
                "seed {seed}: {:?}",
                plan.faults[4]
            );
            Shop::new(plan);
        }
        let order = |seed| Plan::demo(seed, 0, 240).faults;
        assert_eq!(order(3), order(3));
        assert!((1..10).any(|seed| order(seed) != order(0)));
    }
}
