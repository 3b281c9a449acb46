//! Scenarios in which nobody ought to be paged, or not for long.

use super::catalogue::{QUIET_S, days, shop};
use super::world::{DAY_S, HOUR_S, MINUTE_S, Scatter, Scope, Season, Signal, What, World};

/// Epochs of scenarios that last for days, s.
const LONG_EPOCH_S: i64 = 5;

fn week(seed: u64, scatter: Scatter) -> World {
    let mut world = shop(seed, days(7), &[8.0, 2.0]);
    world.services.iter_mut().for_each(|service| service.scatter = scatter);
    (world.epoch_s, world.shown) = (LONG_EPOCH_S, (0, Signal::Volume));
    world
}

pub fn calm(seed: u64) -> World {
    week(seed, Scatter::Poisson)
}

pub fn dispersed(seed: u64) -> World {
    week(seed, Scatter::Dispersed)
}

pub fn season(seed: u64) -> World {
    let mut world = shop(seed, days(14), &[6.0, 1.0]);
    world.services.iter_mut().for_each(|service| service.season = Season::Week);
    (world.epoch_s, world.calm_s, world.shown) = (LONG_EPOCH_S, DAY_S, (0, Signal::Volume));
    world
}

pub fn daily_job(seed: u64) -> World {
    let mut world = shop(seed, days(6), &[8.0, 2.0]);
    for day in 0..6 {
        let from_s = days(day) + 2 * HOUR_S + world.random.between(0, MINUTE_S);
        let span = (from_s, from_s + 20 * MINUTE_S);
        world.happen(0, Scope::Whole, span, What::Volume(2.5));
        world.happen(0, Scope::Whole, span, What::Slow(2.5));
        if day < 2 {
            world.excuse(0, "job, not known yet", span).grace_s = HOUR_S;
        }
    }
    (world.epoch_s, world.calm_s, world.shown) = (LONG_EPOCH_S, HOUR_S, (0, Signal::Latency));
    world
}

pub fn jitter(seed: u64) -> World {
    let mut world = shop(seed, 6 * HOUR_S, &[20.0, 10.0, 5.0]);
    let mut at_s = 10 * MINUTE_S;
    while at_s < world.seconds {
        let service = world.random.below(3) as usize;
        let (lasts_s, what) = match world.random.below(4) {
            0 => (2, What::Slow(6.0)),
            1 => (2, What::Errors(0.3)),
            2 => (10, What::Slow(1.5)),
            _ => (3, What::Volume(0.0)),
        };
        world.happen(service, Scope::Whole, (at_s, at_s + lasts_s), what);
        at_s += world.random.between(MINUTE_S, 4 * MINUTE_S);
    }
    world.shown = (0, Signal::ErrorShare);
    world
}

pub fn level_shift(seed: u64) -> World {
    let mut world = shop(seed, 4 * HOUR_S, &[20.0, 10.0, 5.0]);
    let from_s = world.random.between(QUIET_S, QUIET_S + 10 * MINUTE_S);
    let for_good = (from_s, world.seconds);
    world.happen(0, Scope::Whole, for_good, What::Slow(1.8));
    world.happen(0, Scope::Whole, for_good, What::Volume(1.5));
    let accepted_s = from_s + HOUR_S;
    world.excuse(0, "new level, to be accepted", (from_s, accepted_s)).over_by_s = Some(accepted_s + 5 * MINUTE_S);
    world.shown = (0, Signal::Latency);
    world
}
