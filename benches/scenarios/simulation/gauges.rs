//! Scenarios in which something runs out, as gauges tell.

use super::catalogue::{QUIET_S, shop};
use super::world::{DAY_S, Effect, Gauge, HOUR_S, MINUTE_S, Scope, Signal, What, World};

/// What a pool holds.
const POOL: f64 = 100.0;

pub fn pool(seed: u64) -> World {
    let mut world = shop(seed, 2 * HOUR_S + 15 * MINUTE_S, &[20.0, 10.0, 5.0]);
    let from_s = world.random.between(QUIET_S, QUIET_S + 10 * MINUTE_S);
    let (full_s, to_s) = (from_s + 4 * MINUTE_S, from_s + 14 * MINUTE_S);
    for node in 0..2 {
        let value = move |at_s: i64, scatter: f64| {
            let filling = if at_s < to_s { (at_s - from_s).clamp(0, 240) as f64 / 240.0 } else { 0.0 };
            (40.0 + 65.0 * filling + 10.0 * (scatter - 0.5)).min(POOL)
        };
        let (limit, value) = (POOL, Box::new(value));
        world.gauges.push(Gauge { service: 0, node, name: "pool.used", limit, every_s: 1, value });
    }
    let slow = What::Slow(4.0);
    world.effects.push(Effect {
        service: 0,
        scope: Scope::Whole,
        from_s: full_s - MINUTE_S,
        to_s,
        ramp_s: MINUTE_S,
        what: slow,
    });
    world.happen(0, Scope::Whole, (full_s, to_s), What::Errors(0.1));
    world.fault(0, "pool fills", (from_s, to_s));
    world.shown = (0, Signal::Gauge);
    world
}

/// What a node has, in bytes, and what a process takes of it.
const MEMORY: f64 = 8e9;
const USUAL: f64 = 3e9;

/// What leaks in an hour, bytes.
const LEAK: f64 = 0.45e9;

/// A garbage collector's sawtooth: how high, bytes, and how long, s.
const SAW: (f64, i64) = (0.4e9, 15 * MINUTE_S);

fn memory(at_s: i64, scatter: f64, leaked_s: i64) -> f64 {
    let season = 0.3e9 * libm::sin(2.0 * std::f64::consts::PI * (at_s % DAY_S) as f64 / DAY_S as f64);
    let saw = SAW.0 * (at_s % SAW.1) as f64 / SAW.1 as f64;
    USUAL + season + saw + 0.05e9 * scatter + LEAK * leaked_s as f64 / HOUR_S as f64
}

pub fn leak(seed: u64) -> World {
    let mut world = shop(seed, 18 * HOUR_S, &[5.0, 2.0]);
    let from_s = world.random.between(5 * HOUR_S, 6 * HOUR_S);
    // The process is killed where the gauge passes its limit, and begins anew.
    let killed_s = (from_s..world.seconds).find(|at_s| memory(*at_s, 0.0, at_s - from_s) >= MEMORY);
    let killed_s = killed_s.expect("it leaks for long enough");
    for node in 0..2 {
        let value = move |at_s: i64, scatter: f64| {
            let leaks = node == 0 && (from_s..killed_s).contains(&at_s);
            memory(at_s, scatter, if leaks { at_s - from_s } else { 0 }).min(MEMORY)
        };
        let (limit, value) = (MEMORY, Box::new(value));
        world.gauges.push(Gauge { service: 0, node, name: "memory.used_bytes", limit, every_s: 10, value });
    }
    world.happen(0, Scope::Node(0), (killed_s, killed_s + 30), What::Errors(1.0));
    world.fault(0, "memory leaks", (from_s, killed_s));
    world.shown = (0, Signal::Gauge);
    world
}
