//! Requests: Poisson arrivals, log-logistic latencies, and the hot path that writes their JSON.

use super::hostile;
use super::plan::Plan;
use super::random::{Quantiles, Random};
use super::text::{push_decimal, push_hex};
use super::world::World;

/// A day of the shop, s: short enough that a demo sees one rise and one fall of the load.
pub const DAY_S: i64 = 240;

/// The load swings by this share of its mean, per mille.
const SWING_PER_MILLE: i64 = 80;

/// The spread of the latencies: their 99th percentile is 99^0.22 = 2.75 times their median.
const SPREAD: f64 = 0.22;

/// Requests answered with 404, in 1/65536: 1 %.
const NOT_FOUND: u64 = 655;

/// Late requests arrive so many µs late, and up to so many more.
const LATE_US: (i64, u64) = (1_000_000, 49_000_000);

/// The stream of requests; [`Traffic::payload`] is the last one drawn.
pub(super) struct Traffic {
    random: Random,
    gaps: Quantiles,
    latencies: Quantiles,
    start_us: i64,
    requests_per_s: u32,
    /// The mean gap between requests as the load is now, in 1/256 ns; `None` without any load.
    mean_gap: Option<u64>,
    /// When the next request ends, ns after the start.
    next_ns: i64,
    /// Below this, 32 random bits make a request hostile; below the second, late.
    hostile_below: u64,
    late_below: u64,
    pub payload: Vec<u8>,
}

/// What became of a request.
pub(super) enum Fate {
    /// Its service turned it away.
    TurnedAway,
    /// It arrives now, from this node.
    Arrives { node: usize, error: bool },
    /// It arrives later by so much, from this node.
    Late { node: usize, error: bool, by_us: i64 },
    /// It arrives now, and is no event.
    Hostile { node: usize },
}

impl Traffic {
    /// The requests of a plan, from its start on.
    pub fn new(plan: &Plan) -> Self {
        let share = |per_million: u32| (u64::from(per_million.min(1_000_000)) << 32) / 1_000_000;
        let hostile_below = share(plan.malformed_per_million);
        let mut traffic = Self {
            random: Random::new(plan.seed, 1),
            gaps: Quantiles::exponential(),
            latencies: Quantiles::log_logistic(SPREAD),
            start_us: plan.start_us,
            requests_per_s: plan.requests_per_s,
            mean_gap: None,
            next_ns: 0,
            hostile_below,
            late_below: hostile_below + share(plan.late_per_million),
            payload: Vec::with_capacity(1024),
        };
        traffic.set_load(plan.start_us);
        traffic.wait();
        traffic
    }

    /// Sets the load to what it is at this time of day.
    pub fn set_load(&mut self, now_us: i64) {
        let day_us = DAY_S * 1_000_000;
        let per_mille = 1000 + SWING_PER_MILLE * wave((now_us - self.start_us).rem_euclid(day_us), day_us) / 1000;
        let per_1000_s = u64::from(self.requests_per_s) * per_mille as u64;
        self.mean_gap = (256_000_000_000_u64 * 1000).checked_div(per_1000_s);
    }

    /// When the next request ends, µs since the Unix epoch; the end of time without any load.
    #[inline]
    pub fn next_us(&self) -> i64 {
        if self.mean_gap.is_some() { self.start_us + self.next_ns / 1000 } else { i64::MAX }
    }

    /// Draws the next request, writes it to [`Traffic::payload`], and moves on to the one after it.
    #[inline]
    pub fn draw(&mut self, world: &World) -> Fate {
        let at_us = self.next_us();
        self.wait();
        let (first, second) = (self.random.next(), self.random.next());
        let route = world.route(first, first >> 12);
        let service = &world.services[route.service];
        let Some(node_at) = service.pick(second, first >> 28) else { return Fate::TurnedAway };
        let node = &world.nodes[node_at];
        let latency_us = self.latencies.draw(first >> 44, route.median_us) * node.latency_percent / 100;
        let (status, error) = status(second >> 16 & 0xffff, u64::from(node.errors));

        let out = &mut self.payload;
        out.clear();
        out.extend_from_slice(br#"{"event_time_us":"#);
        push_decimal(out, (at_us - latency_us as i64).max(0) as u64);
        out.extend_from_slice(&route.text);
        push_decimal(out, status);
        out.extend_from_slice(br#","latency_us":"#);
        push_decimal(out, latency_us);
        out.extend_from_slice(&node.text);
        let (high, low) = (self.random.next(), self.random.next());
        push_decimal(out, high % 40);
        out.extend_from_slice(br#"","trace_id":""#);
        push_hex(out, high);
        push_hex(out, low);
        out.extend_from_slice(&service.tail);

        self.fate(second >> 32, node_at, error)
    }

    fn fate(&mut self, bits: u64, node: usize, error: bool) -> Fate {
        if bits >= self.late_below {
            return Fate::Arrives { node, error };
        }
        if bits < self.hostile_below {
            hostile::spoil(&mut self.payload, &mut self.random);
            return Fate::Hostile { node };
        }
        Fate::Late { node, error, by_us: LATE_US.0 + self.random.below(LATE_US.1) as i64 }
    }

    /// Moves on by one gap.
    #[inline]
    fn wait(&mut self) {
        let gap = self.gaps.draw(self.random.next(), self.mean_gap.unwrap_or(0));
        self.next_ns += ((gap + 128) >> 8) as i64;
    }
}

/// The status that 16 random bits pick, and whether it is a server error.
#[inline]
fn status(bits: u64, errors: u64) -> (u64, bool) {
    const ERRORS: [u64; 4] = [500, 502, 503, 504];
    if bits < errors {
        (ERRORS[(bits & 3) as usize], true)
    } else if bits >= 0x1_0000 - NOT_FOUND {
        (404, false)
    } else {
        (200, false)
    }
}

/// A sine in parabolas (off by at most 6 %), per mille: up in the first half of `period`, down in the second.
fn wave(at: i64, period: i64) -> i64 {
    let half = period / 2;
    let (along, sign) = if at < half { (at, 1) } else { (at - half, -1) };
    // 4x(1 − x) with x from 0 to 1, in per mille twice over.
    let x = along * 1000 / half;
    sign * 4 * x * (1000 - x) / 1000
}
