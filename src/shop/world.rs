//! The shop as it stands: services, nodes, routes, circuits, and where the next request goes.

use super::catalogue::{REGIONS, RouteSpec, SERVICES, ServiceSpec, WHOLE};
use super::faults::FaultStatus;

/// Connections a node may hold to its database before it is scaled.
pub(super) const POOL_LIMIT: u64 = 20;

/// Connections that scaling adds to the pool of each node.
const POOL_STEP: u64 = 10;

/// Errors without any fault: 0.2 % in 1/65536.
const BACKGROUND_ERRORS: u32 = 131;

/// Slots of a node with all its traffic, and of one on trial: 5 %.
const FULL_SLOTS: usize = 20;
const TRIAL_SLOTS: usize = 1;

/// Slots in the table that spreads requests over routes; an index is 12 random bits.
const ROUTE_SLOTS: usize = 4096;

/// A route is copied at most so often for load tests.
const MAX_ROUTES: usize = 1_000_000;

/// What a circuit lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Circuit {
    Closed,
    HalfOpen,
    Open,
}

impl Circuit {
    fn slots(self) -> usize {
        match self {
            Self::Closed => FULL_SLOTS,
            Self::HalfOpen => TRIAL_SLOTS,
            Self::Open => 0,
        }
    }
}

pub(super) struct Service {
    pub name: &'static str,
    pub circuit: Circuit,
    /// Connections each of its nodes may hold.
    pub pool_limit: u64,
    /// Which node answers: one is picked at random.
    slots: Vec<u16>,
    /// The share of requests that is let in, in 1/65536.
    admitted: u32,
    /// The end of a request's JSON.
    pub tail: Vec<u8>,
}

pub(super) struct Node {
    pub name: String,
    pub service: usize,
    pub circuit: Circuit,
    /// Whether it is being restarted.
    pub restarting: bool,
    /// Whether it is silent, by a fault or a restart.
    pub down: bool,
    /// Its latencies in percent of the usual ones.
    pub latency_percent: u64,
    /// Its share of server errors, in 1/65536.
    pub errors: u32,
    /// The partition of its requests.
    pub partition: u32,
    /// The JSON of its names in a request.
    pub text: Vec<u8>,
}

pub(super) struct Route {
    pub service: usize,
    pub median_us: u64,
    /// The JSON of its names in a request.
    pub text: Vec<u8>,
}

pub(super) struct World {
    pub services: Vec<Service>,
    pub nodes: Vec<Node>,
    routes: Vec<Route>,
    /// The first copy of the route that 12 random bits pick.
    route_slots: Vec<u32>,
    copies: u64,
}

/// The name of a node of a service; its nodes are counted from 0.
pub fn node_name(service: &str, index: usize) -> String {
    format!("{service}-{}", index + 1)
}

impl World {
    /// The shop with at least `keys` routes and every circuit closed.
    pub fn new(keys: u32) -> Self {
        let specs = || SERVICES.iter().enumerate().flat_map(|(at, spec)| spec.routes.iter().map(move |r| (at, r)));
        let base = specs().count();
        let copies = (keys as usize).min(MAX_ROUTES).div_ceil(base).max(1);
        let routes = specs().flat_map(|(at, spec)| (0..copies).map(move |copy| Route::new(at, spec, copy)));
        let ends = specs().scan(0, |end, (_, spec)| {
            *end += spec.per_mille * ROUTE_SLOTS;
            Some(*end / WHOLE)
        });
        let mut route_slots = Vec::with_capacity(ROUTE_SLOTS);
        ends.enumerate().for_each(|(at, end)| route_slots.resize(end, (at * copies) as u32));
        let nodes = (0..SERVICES.len()).flat_map(|at| (0..REGIONS.len()).map(move |index| Node::new(at, index)));
        let mut world = Self {
            services: SERVICES.iter().map(Service::new).collect(),
            nodes: nodes.collect(),
            routes: routes.collect(),
            route_slots,
            copies: copies as u64,
        };
        world.refresh(&[], 0);
        world
    }

    /// The nodes of a service, or the one named.
    pub fn nodes_of(&self, service: &str, node: Option<&str>) -> Vec<usize> {
        let matches = |at: &usize| {
            let candidate = &self.nodes[*at];
            self.services[candidate.service].name == service && node.is_none_or(|name| candidate.name == name)
        };
        (0..self.nodes.len()).filter(matches).collect()
    }

    /// Works out from circuits, restarts and faults what each node does at `now_us`.
    pub fn refresh(&mut self, faults: &[FaultStatus], now_us: i64) {
        for (at, node) in self.nodes.iter_mut().enumerate() {
            let afflicting = || faults.iter().filter(|status| status.sick.contains(&at));
            node.down = node.restarting || afflicting().any(FaultStatus::silences);
            node.latency_percent = afflicting().fold(100, |so_far, s| so_far * s.latency_percent(now_us) / 100);
            node.errors = afflicting().fold(BACKGROUND_ERRORS, |so_far, status| so_far.max(status.errors));
        }
        for (at, service) in self.services.iter_mut().enumerate() {
            service.spread(self.nodes.iter().enumerate().filter(|(_, node)| node.service == at));
        }
    }

    /// The route that 12 bits pick, and of its copies the one that 16 bits pick.
    #[inline]
    pub fn route(&self, route_bits: u64, copy_bits: u64) -> &Route {
        let first = self.route_slots[route_bits as usize % ROUTE_SLOTS] as usize;
        &self.routes[first + (((copy_bits & 0xffff) * self.copies) >> 16) as usize]
    }
}

impl Service {
    fn new(spec: &ServiceSpec) -> Self {
        let tail = format!(r#"","upstream":"{}"}}"#, spec.upstream).into_bytes();
        let (circuit, pool_limit) = (Circuit::Closed, POOL_LIMIT);
        Self { name: spec.name, circuit, pool_limit, slots: Vec::new(), admitted: 0, tail }
    }

    /// More connections for each node.
    pub fn scale(&mut self) {
        self.pool_limit += POOL_STEP;
    }

    /// Shares the traffic out. Siblings take over what a tripped node no longer gets, but only those with all their
    /// traffic: if every node that is left is on trial, the rest of the requests is turned away.
    fn spread<'a>(&mut self, nodes: impl Iterator<Item = (usize, &'a Node)>) {
        self.slots.clear();
        for (at, node) in nodes.filter(|(_, node)| !node.down) {
            self.slots.resize(self.slots.len() + node.circuit.slots(), at as u16);
        }
        let full = FULL_SLOTS * REGIONS.len();
        let open = if self.slots.len() < FULL_SLOTS { self.slots.len() } else { full };
        self.admitted = (65_536 * open / full * self.circuit.slots() / FULL_SLOTS) as u32;
    }

    /// The node that answers the request with these twice 16 random bits; `None` if it is turned away.
    #[inline]
    pub fn pick(&self, admission_bits: u64, slot_bits: u64) -> Option<usize> {
        let admitted = (admission_bits & 0xffff) < u64::from(self.admitted);
        let slot = ((slot_bits & 0xffff) as usize * self.slots.len()) >> 16;
        admitted.then(|| usize::from(self.slots[slot]))
    }
}

impl Node {
    fn new(service: usize, index: usize) -> Self {
        let spec = &SERVICES[service];
        let name = node_name(spec.name, index);
        let (region, version) = (REGIONS[index], spec.version);
        let text = format!(r#","node":"{name}","region":"{region}","version":"{version}","tenant":"t"#).into_bytes();
        Self {
            name,
            service,
            circuit: Circuit::Closed,
            restarting: false,
            down: false,
            latency_percent: 100,
            errors: 0,
            // Two of a service's three nodes lie in one partition, of the next service in the other.
            partition: ((service * REGIONS.len() + index) as u32) % super::REQUEST_PARTITIONS,
            text,
        }
    }
}

impl Route {
    fn new(service: usize, spec: &RouteSpec, copy: usize) -> Self {
        let name = SERVICES[service].name;
        let path = if copy == 0 { spec.path.to_owned() } else { format!("{}~{copy}", spec.path) };
        let method = spec.method;
        let text = format!(r#","service":"{name}","route":"{path}","method":"{method}","status":"#).into_bytes();
        Self { service, median_us: u64::from(spec.median_us), text }
    }
}
