//! How faults show, and how they end.

use super::plan::{Fault, FaultKind};
use super::random::Random;

const SECOND_US: i64 = 1_000_000;

/// How long jitter lasts, µs.
pub(super) const JITTER_US: i64 = 2 * SECOND_US;

/// How long a node that gets no more traffic takes to stop failing, µs.
pub(super) const REST_US: i64 = 4 * SECOND_US;

/// How long a scaled service takes to be as fast as before, µs.
pub(super) const SCALE_US: i64 = SECOND_US;

/// How long a restart takes, µs.
pub(super) const RESTART_US: i64 = 2 * SECOND_US;

/// How long a pool takes to fill, µs.
const FILL_US: i64 = 10 * SECOND_US;

/// Requests that begin to wait each second once a pool is full.
const WAITING_PER_S: i64 = 3;

/// A fault and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultStatus {
    /// The fault as planned.
    pub fault: Fault,
    /// When it began, µs since the Unix epoch; none if it has not.
    pub started_us: Option<i64>,
    /// When the last of its nodes was well again, µs since the Unix epoch; none if it is not over.
    pub healed_us: Option<i64>,
    /// The command that did it; none if it passed by itself or a person mended it.
    pub healed_by: Option<String>,
    /// Nodes that are sick now.
    pub(super) sick: Vec<usize>,
    /// The share of server errors it causes, in 1/65536.
    pub(super) errors: u32,
    /// Connections a node might hold when it began.
    full: u64,
}

impl FaultStatus {
    pub(super) fn new(fault: Fault, random: &mut Random) -> Self {
        let percent = if fault.kind == FaultKind::ErrorBurst { 60 + random.below(31) } else { 0 };
        let errors = (percent * u64::from(fault.strength) / 100).min(100) as u32 * 65_536 / 100;
        Self { fault, started_us: None, healed_us: None, healed_by: None, sick: Vec::new(), errors, full: 0 }
    }

    /// Begins on these nodes, each of which may hold `pool_limit` connections.
    pub(super) fn start(&mut self, nodes: Vec<usize>, pool_limit: u64, now_us: i64) {
        (self.started_us, self.sick, self.full) = (Some(now_us), nodes, pool_limit);
    }

    /// Leaves these nodes; it is over when it left the last one.
    pub(super) fn leave(&mut self, nodes: &[usize], command_id: Option<&str>, now_us: i64) {
        let before = self.sick.len();
        self.sick.retain(|node| !nodes.contains(node));
        if before > 0 && self.sick.is_empty() {
            (self.healed_us, self.healed_by) = (Some(now_us), command_id.map(str::to_owned));
        }
    }

    /// Whether a node that has it says nothing at all.
    pub(super) fn silences(&self) -> bool {
        self.fault.kind == FaultKind::DeadNode
    }

    fn elapsed_us(&self, now_us: i64) -> i64 {
        self.started_us.map_or(0, |started_us| now_us - started_us)
    }

    fn fill_us(&self) -> i64 {
        FILL_US * 100 / i64::from(self.fault.strength.max(1))
    }

    /// How long requests to a node that has it take, in percent of the usual time.
    pub(super) fn latency_percent(&self, now_us: i64) -> u64 {
        match self.fault.kind {
            FaultKind::LatencyStep => 100 + 3 * u64::from(self.fault.strength),
            FaultKind::Jitter => 300,
            FaultKind::PoolExhaustion => {
                // Who waits for a connection waits the longer, the more wait: half as long again a second, up to six times.
                let full_us = (self.elapsed_us(now_us) - self.fill_us()).max(0);
                100 + (full_us * 50 / SECOND_US).min(500) as u64
            }
            FaultKind::ErrorBurst | FaultKind::DeadNode => 100,
        }
    }

    /// Connections in use and requests waiting for one, of a node that has it and may hold `limit` of them; `idle` are
    /// in use without it. What scaling added stays free: nobody waits any more.
    pub(super) fn pool(&self, idle: u64, limit: u64, now_us: i64) -> (u64, u64) {
        if self.fault.kind != FaultKind::PoolExhaustion {
            return (idle, 0);
        }
        let elapsed_us = self.elapsed_us(now_us);
        let fill_us = self.fill_us();
        let climbed = self.full.saturating_sub(idle) as i64 * elapsed_us.min(fill_us) / fill_us;
        let waiting = (elapsed_us - fill_us).max(0) * WAITING_PER_S / SECOND_US;
        (idle + climbed as u64, if limit > self.full { 0 } else { waiting as u64 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_fills_in_ten_seconds_then_requests_wait_then_scaling_helps() {
        let fault = Fault::new(FaultKind::PoolExhaustion, "orders", None, 0);
        let mut status = FaultStatus::new(fault, &mut Random::new(1, 1));
        status.start(vec![3], 20, 0);
        assert_eq!(status.pool(8, 20, 0), (8, 0));
        assert_eq!(status.pool(8, 20, 5 * SECOND_US), (14, 0));
        assert_eq!(status.latency_percent(FILL_US), 100);
        assert_eq!(status.pool(8, 20, 14 * SECOND_US), (20, 12));
        assert_eq!(status.latency_percent(14 * SECOND_US), 300);
        assert_eq!(status.latency_percent(60 * SECOND_US), 600);
        assert_eq!(status.pool(8, 30, 14 * SECOND_US), (20, 0));
        status.fault.strength = 200;
        assert_eq!(
            (status.pool(8, 20, 9 * SECOND_US), status.latency_percent(9 * SECOND_US)),
            ((20, 12), 300),
            "twice as fast"
        );
    }

    #[test]
    fn a_fault_is_over_when_its_last_node_is_well() {
        let mut status = FaultStatus::new(Fault::new(FaultKind::ErrorBurst, "cart", None, 5), &mut Random::new(1, 1));
        assert!((39_321..=58_983).contains(&status.errors), "60 to 90 %");
        status.start(vec![9, 10, 11], 20, 5);
        status.leave(&[9, 10], Some("CMD-1"), 6);
        assert_eq!(status.healed_us, None);
        status.leave(&[11], Some("CMD-2"), 7);
        assert_eq!((status.healed_us, status.healed_by.as_deref()), (Some(7), Some("CMD-2")));
    }
}
