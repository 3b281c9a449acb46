//! A shop that does not exist: a dozen services, their requests, gauges, heartbeats and orders, and what goes wrong.
//!
//! The shop is a function of its [`Plan`] and of the commands it is given, and when: no clock, no I/O. How often
//! [`Shop::advance`] is called, and how far each time, changes no byte.
//!
//! 1. Requests are a Poisson process of *ends*: a record arrives when its request ends, its event time lies its
//!    latency before that. So records come in order of arrival, and a little out of order of event time.
//! 2. Everything else is an entry in an agenda, in order of time, then of entry.
//! 3. What a node does follows from circuits, restarts and faults, worked out anew whenever one of them changes and
//!    every second.
//!
//! | topic | partitions | key | rate |
//! |---|---|---|---|
//! | `req.events.v1` | 2 | node | [`Plan::requests_per_s`], ± 8 % over a day of [`DAY_S`] |
//! | `telemetry.events.v1` | 1 | node | five gauges per node and second |
//! | `health.probes.v1` | 1 | node | one heartbeat per node and second |
//! | `db.changes.v1` | 1 | row | about four a second |
//!
//! # Decision
//! Requests are no agenda entries: they are the hot path. All that end before the next entry are drawn in one loop, each
//! written into the same buffer from texts prepared per route and node.

mod actuator;
mod agenda;
mod catalogue;
mod faults;
mod hostile;
mod orders;
mod plan;
mod random;
mod text;
mod traffic;
mod vitals;
mod world;

pub use faults::FaultStatus;
pub use plan::{Fault, FaultKind, Plan};
pub use traffic::DAY_S;
pub use world::node_name;

use agenda::{Agenda, Happening};
use evenkeel_schemas::{Partition, Topic};
use orders::Orders;
use random::Random;
use std::collections::VecDeque;
use traffic::{Fate, Traffic};
use world::World;

const SECOND_US: i64 = 1_000_000;

/// Partitions of the request topic.
pub const REQUEST_PARTITIONS: u32 = 2;

/// The names of its services.
pub fn services() -> impl Iterator<Item = &'static str> {
    catalogue::SERVICES.iter().map(|service| service.name)
}

/// Nodes of each service.
pub const NODES: usize = catalogue::REGIONS.len();

/// What the shop has said so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests that arrived and are events, late ones too.
    pub requests: u64,
    /// Those of them that are server errors.
    pub errors: u64,
    /// Those of them that arrived late.
    pub late: u64,
    /// Records on the request topic that must be rejected.
    pub malformed: u64,
    /// Requests that an open circuit turned away; they are no records.
    pub turned_away: u64,
    /// Gauges.
    pub gauges: u64,
    /// Heartbeats.
    pub heartbeats: u64,
    /// Database changes, tombstones too.
    pub changes: u64,
}

/// The shop.
pub struct Shop {
    world: World,
    faults: Vec<FaultStatus>,
    agenda: Agenda,
    traffic: Traffic,
    orders: Orders,
    random: Random,
    counts: Counts,
    now_us: i64,
    end_us: i64,
    effect_delay_us: i64,
    /// Ids of commands that were accepted, oldest first.
    remembered: VecDeque<String>,
}

/// Where records go: partition, time of arrival in µs since the Unix epoch, key, payload.
pub trait Sink: FnMut(Partition, i64, &[u8], &[u8]) {}

impl<F: FnMut(Partition, i64, &[u8], &[u8])> Sink for F {}

impl Shop {
    /// The shop at the start of a plan.
    ///
    /// # Panics
    /// If a fault names a service or node that the shop does not have.
    pub fn new(plan: Plan) -> Self {
        let mut random = Random::new(plan.seed, 2);
        let mut shop = Self {
            world: World::new(plan.keys),
            agenda: Agenda::default(),
            traffic: Traffic::new(&plan),
            orders: Orders::new(plan.seed),
            counts: Counts::default(),
            now_us: plan.start_us,
            end_us: plan.start_us + i64::from(plan.seconds) * SECOND_US,
            effect_delay_us: plan.effect_delay_us.max(0),
            remembered: VecDeque::new(),
            faults: plan.faults.into_iter().map(|fault| FaultStatus::new(fault, &mut random)).collect(),
            random,
        };
        shop.open();
        shop
    }

    /// Enters what repeats and what goes wrong.
    fn open(&mut self) {
        let (start_us, nodes) = (self.now_us, self.world.nodes.len());
        self.agenda.enter(start_us, Happening::Second);
        for node in 0..nodes {
            // Nodes do not speak all at once.
            self.agenda.enter(start_us + node as i64 * SECOND_US / nodes as i64, Happening::Vitals { node });
        }
        let first_order_us = start_us + self.orders.gap_us();
        self.agenda.enter(first_order_us, Happening::Order);
        for (fault, status) in self.faults.iter().enumerate() {
            let Fault { service, node, start_us, .. } = &status.fault;
            let found = !self.world.nodes_of(service, node.as_deref()).is_empty();
            assert!(found, "the shop has no {service} {}", node.as_deref().unwrap_or_default());
            self.agenda.enter(*start_us, Happening::Begin { fault });
        }
    }

    /// Up to when the shop has spoken, µs since the Unix epoch.
    pub fn now_us(&self) -> i64 {
        self.now_us
    }

    /// When the plan's length is over, µs since the Unix epoch. The shop goes on if asked to: it is for the caller to
    /// stop.
    pub fn end_us(&self) -> i64 {
        self.end_us
    }

    /// Every fault of the plan, in its order, and what became of it.
    pub fn faults(&self) -> &[FaultStatus] {
        &self.faults
    }

    /// What was said so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Passes on every record that arrives from [`Shop::now_us`] on and before `to_us`, in order of arrival.
    pub fn advance(&mut self, to_us: i64, out: &mut impl Sink) {
        loop {
            self.serve(self.agenda.next_us().min(to_us), out);
            let Some((at_us, happening)) = self.agenda.take(to_us) else { break };
            self.now_us = self.now_us.max(at_us);
            self.happen(happening, at_us, out);
        }
        self.now_us = self.now_us.max(to_us);
    }

    /// The requests that end before `until_us`.
    fn serve(&mut self, until_us: i64, out: &mut impl Sink) {
        loop {
            let at_us = self.traffic.next_us();
            if at_us >= until_us {
                return;
            }
            match self.traffic.draw(&self.world) {
                Fate::Arrives { node, error } => {
                    self.counts.errors += u64::from(error);
                    self.counts.requests += 1;
                    pass(out, Topic::Requests, &self.world.nodes[node], at_us, &self.traffic.payload);
                }
                Fate::TurnedAway => self.counts.turned_away += 1,
                Fate::Hostile { node } => {
                    self.counts.malformed += 1;
                    pass(out, Topic::Requests, &self.world.nodes[node], at_us, &self.traffic.payload);
                }
                Fate::Late { node, error, by_us } => {
                    let payload = self.traffic.payload.clone();
                    self.agenda.enter(at_us + by_us, Happening::Arrive { node, error, payload });
                }
            }
        }
    }

    fn happen(&mut self, happening: Happening, now_us: i64, out: &mut impl Sink) {
        match happening {
            Happening::Second => {
                self.traffic.set_load(now_us);
                self.refresh(now_us);
                self.agenda.enter(now_us + SECOND_US, Happening::Second);
            }
            Happening::Vitals { node } => {
                self.speak(node, now_us, out);
                self.agenda.enter(now_us + SECOND_US, Happening::Vitals { node });
            }
            Happening::Order => {
                self.change_order(now_us, out);
                let next_us = now_us + self.orders.gap_us();
                self.agenda.enter(next_us, Happening::Order);
            }
            Happening::Begin { fault } => self.begin(fault, now_us),
            Happening::Effect(effect) => self.take_effect(&effect, now_us),
            Happening::Leave { fault, nodes, command_id } => {
                self.faults[fault].leave(&nodes, command_id.as_deref(), now_us);
                self.refresh(now_us);
            }
            Happening::Back { node, command_id } => self.come_back(node, &command_id, now_us),
            Happening::Arrive { node, error, payload } => {
                self.counts.errors += u64::from(error);
                self.counts.requests += 1;
                self.counts.late += 1;
                pass(out, Topic::Requests, &self.world.nodes[node], now_us, &payload);
            }
        }
    }

    fn refresh(&mut self, now_us: i64) {
        self.world.refresh(&self.faults, now_us);
    }

    fn begin(&mut self, fault: usize, now_us: i64) {
        let status = &mut self.faults[fault];
        let nodes = self.world.nodes_of(&status.fault.service, status.fault.node.as_deref());
        let service = self.world.nodes[nodes[0]].service;
        status.start(nodes.clone(), self.world.services[service].pool_limit, now_us);
        if status.fault.kind == FaultKind::Jitter {
            self.agenda.enter(now_us + faults::JITTER_US, Happening::Leave { fault, nodes, command_id: None });
        }
        self.refresh(now_us);
    }

    /// A node says how it is, unless it is down.
    fn speak(&mut self, at: usize, now_us: i64, out: &mut impl Sink) {
        let node = &self.world.nodes[at];
        if node.down {
            return;
        }
        let service = &self.world.services[node.service];
        let limit = service.pool_limit;
        let idle = vitals::idle_connections(&mut self.random);
        let pools = self.faults.iter().filter(|status| status.sick.contains(&at));
        let (used, waiting) = pools.map(|status| status.pool(idle, limit, now_us)).max().unwrap_or((idle, 0));
        let strained = node.latency_percent > 100;
        let gauges = vitals::Gauges { pool_used: used, pool_limit: limit, pool_waiting: waiting, strained };
        let gauge = |payload: &[u8]| {
            self.counts.gauges += 1;
            pass(out, Topic::Telemetry, node, now_us, payload);
        };
        vitals::write_gauges(&gauges, service.name, &node.name, now_us, &mut self.random, gauge);
        self.counts.heartbeats += 1;
        pass(out, Topic::Probes, node, now_us, &vitals::heartbeat(service.name, &node.name, now_us));
    }

    fn change_order(&mut self, now_us: i64, out: &mut impl Sink) {
        let change = self.orders.change(now_us);
        let partition = Partition { topic: Topic::Changes, partition: 0 };
        self.counts.changes += 1 + u64::from(change.tombstone);
        out(partition, now_us, change.key.as_bytes(), change.value.as_bytes());
        if change.tombstone {
            out(partition, now_us, change.key.as_bytes(), b"");
        }
    }
}

/// Passes on a record of a node.
#[inline]
fn pass(out: &mut impl Sink, topic: Topic, node: &world::Node, at_us: i64, payload: &[u8]) {
    let partition = if topic == Topic::Requests { node.partition } else { 0 };
    out(Partition { topic, partition }, at_us, node.name.as_bytes(), payload);
}
