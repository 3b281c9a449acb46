//! The scenarios, and those in which something happens to one service.

use super::world::{Canary, DAY_S, HOUR_S, MINUTE_S, Scatter, Scope, Service, Signal, What, World};
use super::{faultless, fleets, gauges};
use serde_json::json;

/// A scenario.
pub struct Scenario {
    pub name: &'static str,
    /// What happens, in a sentence.
    pub about: &'static str,
    /// Days of it are simulated: fewer seeds are run.
    pub is_long: bool,
    /// Makes its world from a seed.
    pub make: fn(u64) -> World,
}

/// Quiet before anything happens: the longest baseline is full by then, s.
pub const QUIET_S: i64 = 65 * MINUTE_S;

const fn short(name: &'static str, about: &'static str, make: fn(u64) -> World) -> Scenario {
    Scenario { name, about, is_long: false, make }
}

const fn long(name: &'static str, about: &'static str, make: fn(u64) -> World) -> Scenario {
    Scenario { name, about, is_long: true, make }
}

/// Every scenario, in the order of the report.
pub const SCENARIOS: [Scenario; 24] = [
    long("calm", "a week, two services at 8 and 2 requests/s, Poisson: nothing happens", faultless::calm),
    long("calm-dispersed", "the same week, counts twice over-dispersed, rates wander by 6 %", faultless::dispersed),
    long("season", "two weeks with day and week season (0.24 to 1.6 of the mean): nothing happens", faultless::season),
    long(
        "daily-job",
        "six days; at 02:00 load × 2.5 and latency × 2.5 for 20 min: false from day 3",
        faultless::daily_job,
    ),
    short(
        "jitter",
        "six hours of transients of 2 to 10 s in latency, errors and load: nobody is paged",
        faultless::jitter,
    ),
    short("level-shift", "latency × 1.8 and load × 1.5 for good: said for at most an hour", faultless::level_shift),
    short("upgrade", "announced maintenance of 20 min (errors, restarts, less load); later latency × 3", upgrade),
    short("step-latency", "latency × 3 for 15 min", step_latency),
    short("step-errors", "5 % errors for 15 min", step_errors),
    short("ramp-latency", "latency grows to × 3 within an hour, and stays there for 20 min", ramp_latency),
    short("burst", "60 % 5xx for a minute", burst),
    short("drop-to-zero", "no request for 15 min, at 15 requests/s", drop_to_zero),
    short("drop-40-at-15", "40 % fewer requests for 20 min, at 15 requests/s, over-dispersed", drop_at_15),
    short("drop-40-at-2000", "40 % fewer requests for 10 min, at 2,000 requests/s, over-dispersed", drop_at_2000),
    short("canary-1", "1 % extra errors on a version with 10 % of 20 requests/s, for 2 h", canary_1),
    short("canary-3", "3 % extra errors on it", canary_3),
    short("canary-10", "10 % extra errors on it", canary_10),
    short("trickle", "a request in 4 s: all fail for 20 min; later none comes for 30 min", trickle),
    short("pool", "a pool fills within 4 min; at its limit latency × 4 and 10 % errors", gauges::pool),
    short("leak", "memory leaks 0.45 GB an hour under a season and a sawtooth, out after about 10 h", gauges::leak),
    short("dead-node", "one of three nodes dies: its heartbeats stop, its requests fail for 20 s", fleets::dead_node),
    short("cascade-40", "the leaf under 40 services fails (80 %) and slows (× 4) for 10 min", fleets::cascade),
    short("zone-outage", "one zone of three under 12 services is gone for 10 min", fleets::zone),
    short("outage-400", "what 400 services call fails (70 %) for 5 min", fleets::outage),
];

/// Services at these rates, of which the first is shown and most things happen to it; over-dispersed counts. The others
/// have fewer keys: it is keys that a simulated second costs most for.
pub fn shop(seed: u64, seconds: i64, rates: &[f64]) -> World {
    let mut world = World::new(seed, seconds);
    for (name, rate) in ["checkout", "search", "cart"].into_iter().zip(rates) {
        let service = Service { scatter: Scatter::Dispersed, ..Service::new(name, *rate) };
        let is_first = world.services.is_empty();
        world.services.push(if is_first { service } else { Service { routes: 1, zones: 1, ..service } });
    }
    world
}

/// Something happens to the shop's first service for `lasts_s`, and is a fault.
fn fault(seed: u64, lasts_s: i64, whats: &[What], (label, signal): (&str, Signal)) -> World {
    let mut world = shop(seed, QUIET_S + 10 * MINUTE_S + lasts_s + 40 * MINUTE_S, &[20.0, 10.0, 5.0]);
    let from_s = world.random.between(QUIET_S, QUIET_S + 10 * MINUTE_S);
    let span = (from_s, from_s + lasts_s);
    whats.iter().for_each(|what| world.happen(0, Scope::Whole, span, *what));
    world.fault(0, label, span);
    world.shown = (0, signal);
    world
}

fn step_latency(seed: u64) -> World {
    fault(seed, 15 * MINUTE_S, &[What::Slow(3.0)], ("latency × 3", Signal::Latency))
}

fn step_errors(seed: u64) -> World {
    fault(seed, 15 * MINUTE_S, &[What::Errors(0.05)], ("5 % errors", Signal::ErrorShare))
}

fn ramp_latency(seed: u64) -> World {
    let mut world = fault(seed, 80 * MINUTE_S, &[What::Slow(3.0)], ("latency ramps to × 3", Signal::Latency));
    world.effects[0].ramp_s = HOUR_S;
    world
}

fn burst(seed: u64) -> World {
    fault(seed, MINUTE_S, &[What::Errors(0.6)], ("60 % 5xx", Signal::ErrorShare))
}

fn drop_to_zero(seed: u64) -> World {
    let mut world = fault(seed, 15 * MINUTE_S, &[What::Volume(0.0)], ("no requests", Signal::Volume));
    world.services[0].rate = 15.0;
    world
}

fn drop_at_15(seed: u64) -> World {
    let mut world = fault(seed, 20 * MINUTE_S, &[What::Volume(0.6)], ("40 % fewer", Signal::Volume));
    world.services[0].rate = 15.0;
    world
}

fn drop_at_2000(seed: u64) -> World {
    let mut world = fault(seed, 10 * MINUTE_S, &[What::Volume(0.6)], ("40 % fewer", Signal::Volume));
    world.services.truncate(1);
    world.services[0].rate = 2_000.0;
    world.seconds -= 20 * MINUTE_S;
    world
}

fn canary(seed: u64, extra: f64) -> World {
    let mut world = shop(seed, 4 * HOUR_S, &[20.0, 10.0, 5.0]);
    let from_s = world.random.between(QUIET_S, QUIET_S + 10 * MINUTE_S);
    let span = (from_s, from_s + 2 * HOUR_S);
    world.services[0].canary = Some(Canary { from_s: span.0, to_s: span.1, share: 0.1 });
    world.happen(0, Scope::Canary, span, What::Errors(extra));
    world.fault(0, &format!("v2: {} % more errors", extra * 100.0), span);
    world.shown = (0, Signal::ErrorShare);
    world
}

fn canary_1(seed: u64) -> World {
    canary(seed, 0.01)
}

fn canary_3(seed: u64) -> World {
    canary(seed, 0.03)
}

fn canary_10(seed: u64) -> World {
    canary(seed, 0.1)
}

fn trickle(seed: u64) -> World {
    let mut world = shop(seed, 6 * HOUR_S, &[0.25, 0.5]);
    let errors_s = world.random.between(2 * HOUR_S, 2 * HOUR_S + 15 * MINUTE_S);
    let silence_s = world.random.between(4 * HOUR_S, 4 * HOUR_S + 15 * MINUTE_S);
    let spans = [(errors_s, errors_s + 20 * MINUTE_S), (silence_s, silence_s + 30 * MINUTE_S)];
    world.happen(0, Scope::Whole, spans[0], What::Errors(1.0));
    world.fault(0, "all requests fail", spans[0]);
    world.happen(0, Scope::Whole, spans[1], What::Volume(0.0));
    world.fault(0, "no requests", spans[1]);
    world.shown = (0, Signal::ErrorShare);
    world
}

/// What announces maintenance of a service on the control topic.
fn maintenance(service: &str, given_s: i64, (from_s, to_s): (i64, i64)) -> (i64, serde_json::Value) {
    let time_us = |at_s: i64| super::world::START_US + at_s * 1_000_000;
    let order = json!({
        "order": "maintenance",
        "event_time_us": time_us(given_s),
        "by": "ann",
        "service": service,
        "from_us": time_us(from_s),
        "to_us": time_us(to_s),
    });
    (given_s, order)
}

fn upgrade(seed: u64) -> World {
    let mut world = shop(seed, QUIET_S + 2 * HOUR_S + 15 * MINUTE_S, &[20.0, 10.0, 5.0]);
    let from_s = world.random.between(QUIET_S, QUIET_S + 10 * MINUTE_S);
    let planned = (from_s, from_s + 20 * MINUTE_S);
    world.orders.push(maintenance("checkout", from_s - 10 * MINUTE_S, planned));
    world.plan(0, "maintenance", planned);
    for node in 0..2 {
        let down_s = from_s + 2 * MINUTE_S + i64::from(node) * 8 * MINUTE_S;
        let down = (down_s, down_s + 4 * MINUTE_S);
        world.happen(0, Scope::Node(node), down, What::Errors(0.6));
        world.happen(0, Scope::Node(node), down, What::Silent);
        world.happen(0, Scope::Whole, down, What::Volume(0.6));
    }
    let fault_s = from_s + 80 * MINUTE_S;
    let span = (fault_s, fault_s + 15 * MINUTE_S);
    world.happen(0, Scope::Whole, span, What::Slow(3.0));
    world.fault(0, "latency × 3", span);
    world.shown = (0, Signal::ErrorShare);
    world
}

/// Days as seconds.
pub const fn days(count: i64) -> i64 {
    count * DAY_S
}
