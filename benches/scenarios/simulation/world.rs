//! A world: services, what goes wrong with them and when, and what a detector ought to say of it.
//!
//! Times are seconds after the start, which is a Monday, 00:00 UTC.

use super::random::Random;
use serde_json::Value;

/// 2026-01-05T00:00:00Z, a Monday, µs.
pub const START_US: i64 = 1_767_571_200_000_000;

/// A minute, an hour and a day, s.
pub const MINUTE_S: i64 = 60;
pub const HOUR_S: i64 = 60 * MINUTE_S;
pub const DAY_S: i64 = 24 * HOUR_S;

/// How traffic changes with the hour, around a mean of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Season {
    Flat,
    /// 0.4 at four in the morning, 1.6 at four in the afternoon; on Saturdays and Sundays 0.6 of that.
    Week,
}

impl Season {
    /// The factor at a time.
    pub fn factor(self, at_s: i64) -> f64 {
        let angle = 2.0 * std::f64::consts::PI * (at_s % DAY_S - 4 * HOUR_S) as f64 / DAY_S as f64;
        let day = || 1.0 - 0.6 * libm::cos(angle);
        let weekend = at_s.div_euclid(DAY_S) % 7 >= 5;
        match self {
            Self::Flat => 1.0,
            Self::Week if weekend => 0.6 * day(),
            Self::Week => day(),
        }
    }
}

/// How arrivals scatter around their rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scatter {
    Poisson,
    /// Counts have twice the variance of a Poisson process (a quarter of the arrivals are three at once), and the rate
    /// wanders by about 6 % from minute to minute.
    Dispersed,
}

/// A second version that takes a share of the traffic for a while.
#[derive(Clone, Copy, Debug)]
pub struct Canary {
    pub from_s: i64,
    pub to_s: i64,
    pub share: f64,
}

/// A service, in calm.
#[derive(Clone, Debug)]
pub struct Service {
    pub name: String,
    /// Mean requests in a second.
    pub rate: f64,
    pub season: Season,
    pub scatter: Scatter,
    pub routes: u32,
    /// Node `i` stands in zone `i mod zones`.
    pub nodes: u32,
    pub zones: u32,
    /// Share of requests that fail.
    pub errors: f64,
    /// Median latency, µs.
    pub latency_us: f64,
    pub canary: Option<Canary>,
    /// Services of the world that are called, by index: each request calls one of them.
    pub callees: Vec<usize>,
}

impl Service {
    /// A service of two routes and two nodes in two zones; 0.05 % of its requests fail, the median takes 20 ms.
    pub fn new(name: impl Into<String>, rate: f64) -> Self {
        Self {
            name: name.into(),
            rate,
            season: Season::Flat,
            scatter: Scatter::Poisson,
            routes: 2,
            nodes: 2,
            zones: 2,
            errors: 0.0005,
            latency_us: 20_000.0,
            canary: None,
            callees: Vec::new(),
        }
    }
}

/// Which requests of a service something happens to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Whole,
    Zone(u32),
    Node(u32),
    /// Those of the canary.
    Canary,
}

/// What happens to them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum What {
    /// This share fails, besides what fails anyway.
    Errors(f64),
    /// Latencies are this many times as long.
    Slow(f64),
    /// There are this many times as many.
    Volume(f64),
    /// Heartbeats do not come.
    Silent,
}

/// Something that happens to a service.
#[derive(Clone, Copy, Debug)]
pub struct Effect {
    pub service: usize,
    pub scope: Scope,
    pub from_s: i64,
    pub to_s: i64,
    /// It grows linearly for so long; 0: it is there at once.
    pub ramp_s: i64,
    pub what: What,
}

impl Effect {
    /// How far it has grown, 0 to 1.
    pub fn strength(&self, at_s: i64) -> f64 {
        if !(self.from_s..self.to_s).contains(&at_s) {
            return 0.0;
        }
        let grown = (at_s - self.from_s) as f64 / self.ramp_s.max(1) as f64;
        if self.ramp_s == 0 { 1.0 } else { grown.min(1.0) }
    }
}

/// A gauge of a node; its value is a function of time and of a number from 0 to 1 that scatters.
pub struct Gauge {
    pub service: usize,
    pub node: u32,
    pub name: &'static str,
    pub limit: f64,
    pub every_s: i64,
    pub value: Box<dyn Fn(i64, f64) -> f64 + Send + Sync>,
}

/// What a detector ought to say of an interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A cause to be found, once.
    Fault,
    /// Nobody is blamed for saying something here, nor for saying nothing.
    Excused,
    /// Known beforehand: nobody ought to be spoken to; shown, and whoever speaks is not right.
    Planned,
}

/// An interval of which the truth is known.
#[derive(Clone, Debug)]
pub struct Truth {
    pub kind: Kind,
    /// What was done to whom, in a few words.
    pub label: String,
    /// The service where it began.
    pub root: String,
    /// Everything that shows it: an alert about any of these names is about this cause.
    pub names: Vec<String>,
    pub from_s: i64,
    pub to_s: i64,
    /// An alert may come so long after its end, s.
    pub grace_s: i64,
    /// What is still said after this time is false, s.
    pub over_by_s: Option<i64>,
}

/// What a picture shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    Volume,
    ErrorShare,
    Latency,
    Gauge,
}

/// A world.
pub struct World {
    pub seed: u64,
    pub seconds: i64,
    /// Length of an epoch, s.
    pub epoch_s: i64,
    /// Static thresholds are set by what was seen until then, s.
    pub calm_s: i64,
    pub services: Vec<Service>,
    pub effects: Vec<Effect>,
    pub gauges: Vec<Gauge>,
    /// Orders to evenkeel: when, and the JSON of the control topic.
    pub orders: Vec<(i64, Value)>,
    pub truth: Vec<Truth>,
    /// The service a picture shows, and what of it.
    pub shown: (usize, Signal),
    /// Numbers for whoever makes up the world.
    pub random: Random,
}

impl World {
    /// A world without services.
    pub fn new(seed: u64, seconds: i64) -> Self {
        Self {
            seed,
            seconds,
            epoch_s: 1,
            calm_s: HOUR_S,
            services: Vec::new(),
            effects: Vec::new(),
            gauges: Vec::new(),
            orders: Vec::new(),
            truth: Vec::new(),
            shown: (0, Signal::Latency),
            random: Random::new(seed, u64::MAX),
        }
    }

    /// Lets something happen to a service, at once and for a while.
    pub fn happen(&mut self, service: usize, scope: Scope, (from_s, to_s): (i64, i64), what: What) {
        self.effects.push(Effect { service, scope, from_s, to_s, ramp_s: 0, what });
    }

    /// Knows of a fault that began in a service and shows nowhere else.
    pub fn fault(&mut self, service: usize, label: &str, (from_s, to_s): (i64, i64)) -> &mut Truth {
        let root = self.services[service].name.clone();
        let (label, names) = (label.to_owned(), vec![root.clone()]);
        let (kind, grace_s, over_by_s) = (Kind::Fault, 2 * MINUTE_S, None);
        self.truth.push(Truth { kind, label, root, names, from_s, to_s, grace_s, over_by_s });
        let last = self.truth.len() - 1;
        &mut self.truth[last]
    }

    /// Knows of an interval that was known beforehand.
    pub fn plan(&mut self, service: usize, label: &str, span: (i64, i64)) {
        self.fault(service, label, span).kind = Kind::Planned;
    }

    /// Knows of an interval in which a service may be spoken of.
    pub fn excuse(&mut self, service: usize, label: &str, span: (i64, i64)) -> &mut Truth {
        let truth = self.fault(service, label, span);
        (truth.kind, truth.grace_s) = (Kind::Excused, 0);
        truth
    }
}
