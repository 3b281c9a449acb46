//! Scenarios in which one cause shows in many services.

use super::catalogue::{QUIET_S, shop};
use super::world::{HOUR_S, MINUTE_S, START_US, Scope, Service, Signal, What, World};
use serde_json::json;

pub fn dead_node(seed: u64) -> World {
    let mut world = shop(seed, 2 * HOUR_S + 15 * MINUTE_S, &[20.0, 10.0, 5.0]);
    (world.services[0].nodes, world.services[0].zones) = (3, 3);
    let from_s = world.random.between(QUIET_S, QUIET_S + 10 * MINUTE_S);
    let span = (from_s, from_s + 15 * MINUTE_S);
    world.happen(0, Scope::Node(1), span, What::Silent);
    // Then the balancer has noticed.
    world.happen(0, Scope::Node(1), (from_s, from_s + 20), What::Errors(1.0));
    world.fault(0, "node dies", span);
    world.shown = (0, Signal::ErrorShare);
    world
}

/// Says who calls whom, as a mesh or a tracing system would.
fn say_calls(world: &mut World) {
    let services = &world.services;
    let links = services.iter().flat_map(|caller| {
        caller.callees.iter().map(|callee| {
            let (at_s, callee) = (1, &services[*callee].name);
            let event_time_us = START_US + at_s * 1_000_000;
            let order = json!({
                "order": "link",
                "event_time_us": event_time_us,
                "by": "mesh",
                "caller": caller.name,
                "callee": callee,
            });
            (at_s, order)
        })
    });
    world.orders = links.collect();
}

/// A fault that shows in every service, and began in one of them.
fn fault_everywhere(world: &mut World, root: usize, label: &str, span: (i64, i64)) {
    let names = world.services.iter().map(|service| service.name.clone()).collect();
    world.fault(root, label, span).names = names;
}

pub fn cascade(seed: u64) -> World {
    let mut world = World::new(seed, HOUR_S + 45 * MINUTE_S);
    // Layers of 15, 15 and 9 services; each calls two of the next layer, and the last layer the leaf.
    for layer in [0..15, 15..30, 30..39, 39..40] {
        for index in layer.clone() {
            let mut service = Service::new(if index == 39 { "ledger".to_owned() } else { format!("s{index:02}") }, 6.0);
            let (next, count) = (layer.end, if layer.end == 30 { 9 } else { 15 });
            service.callees = match layer.end {
                15 | 30 => (0..2).map(|call| next + (index + 4 * call) % count).collect(),
                39 => vec![39],
                _ => Vec::new(),
            };
            (service.routes, service.zones) = (1, 1);
            world.services.push(service);
        }
    }
    say_calls(&mut world);
    let from_s = world.random.between(QUIET_S, QUIET_S + 10 * MINUTE_S);
    let span = (from_s, from_s + 10 * MINUTE_S);
    world.happen(39, Scope::Whole, span, What::Errors(0.8));
    world.happen(39, Scope::Whole, span, What::Slow(4.0));
    fault_everywhere(&mut world, 39, "leaf fails", span);
    world.shown = (39, Signal::ErrorShare);
    world
}

pub fn zone(seed: u64) -> World {
    let mut world = World::new(seed, HOUR_S + 45 * MINUTE_S);
    for index in 0..12 {
        let service = Service::new(format!("s{index:02}"), 8.0);
        world.services.push(Service { nodes: 3, zones: 3, routes: 1, ..service });
    }
    let from_s = world.random.between(QUIET_S, QUIET_S + 10 * MINUTE_S);
    let span = (from_s, from_s + 10 * MINUTE_S);
    for service in 0..world.services.len() {
        world.happen(service, Scope::Zone(1), span, What::Errors(0.95));
        world.happen(service, Scope::Zone(1), span, What::Silent);
    }
    fault_everywhere(&mut world, 0, "zone-1 is gone", span);
    if let Some(truth) = world.truth.last_mut() {
        truth.root = "zone-1".to_owned();
        truth.names.push("zone-1".to_owned());
    }
    world.shown = (0, Signal::ErrorShare);
    world
}

pub fn outage(seed: u64) -> World {
    let mut world = World::new(seed, 30 * MINUTE_S);
    world.calm_s = 12 * MINUTE_S;
    world.services.push(Service::new("identity", 20.0));
    for index in 0..400 {
        let service = Service::new(format!("s{index:03}"), 3.0);
        world.services.push(Service { routes: 1, nodes: 1, zones: 1, callees: vec![0], ..service });
    }
    say_calls(&mut world);
    let from_s = world.random.between(13 * MINUTE_S, 15 * MINUTE_S);
    let span = (from_s, from_s + 5 * MINUTE_S);
    world.happen(0, Scope::Whole, span, What::Errors(0.7));
    fault_everywhere(&mut world, 0, "identity fails", span);
    world.shown = (0, Signal::ErrorShare);
    world
}
