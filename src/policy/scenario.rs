//! [`Scenario`]: what is given, and what is expected of the policies then.

use super::fault::{Faults, Place};
use super::fields::{Fields, choice, duration_us, number, service, share_ppm, text};
use super::yaml::{Node, Value};
use std::ops::Range;

/// The longest scenario, µs.
const MAX_LENGTH_US: i64 = 24 * 3_600_000_000;

/// Records of a scenario at most.
const MAX_RECORDS: i64 = 5_000_000;

/// What is given, and what is expected.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// How long it lasts, µs.
    pub length_us: i64,
    /// The policies that hold, `Kind/name`, and where each is named; all that were read if there are none.
    pub policies: Vec<(String, Place)>,
    /// What comes in.
    pub given: Vec<Given>,
    /// What must come out.
    pub expect: Vec<Expected>,
}

/// Something that comes in, evenly, for a while.
#[derive(Clone, Debug, PartialEq)]
pub struct Given {
    /// The service.
    pub service: String,
    /// The node; may be empty.
    pub node: String,
    /// When, µs from the beginning.
    pub at_us: Range<i64>,
    /// What.
    pub flow: Flow,
}

/// What comes in.
#[derive(Clone, Debug, PartialEq)]
pub enum Flow {
    /// Requests.
    Requests {
        /// So many a second.
        rate: i64,
        /// This share of them fails, parts per million.
        errors_ppm: i64,
        /// Each takes so long, µs.
        latency_us: i64,
    },
    /// A gauge, once a second.
    Gauge {
        /// Its name.
        name: String,
        /// Its value at the beginning and at the end of its time.
        values: (i64, i64),
        /// Its limit.
        limit: i64,
    },
    /// Heartbeats, once a second.
    Heartbeats,
}

/// Something that must come out.
#[derive(Clone, Debug, PartialEq)]
pub struct Expected {
    /// Where it stands.
    pub at: Place,
    /// Of what: `verdict`, `incident` or `command`.
    pub of: &'static str,
    /// The detector, the state of the incident, or the kind of command.
    pub is: String,
    /// The service; any if empty.
    pub service: String,
    /// The state of a command; any if empty.
    pub state: String,
    /// When, µs from the beginning.
    pub at_us: Range<i64>,
    /// How often; at least once if it is not said.
    pub times: Option<i64>,
}

const DETECTORS: [&str; 13] = [
    "node_silent",
    "error_burst",
    "saturation",
    "error_rate",
    "latency",
    "traffic",
    "budget_burn",
    "canary",
    "leak",
    "forecast",
    "signal",
    "audit_integrity",
    "any",
];

const COMMANDS: [&str; 6] = ["trip_circuit", "half_open", "close_circuit", "restart_node", "scale", "any"];

const INCIDENTS: [&str; 3] = ["open", "update", "resolved"];

const STATES: [&str; 8] = ["proposed", "issued", "acknowledged", "done", "failed", "rejected", "expired", "escalated"];

impl Scenario {
    /// Reads the spec of one.
    pub fn read(node: &Node, faults: &mut Faults) -> Option<Self> {
        let known = ["for", "policies", "given", "expect"];
        let fields = Fields::of(node, "the spec of a Scenario", &known, faults)?;
        let length = fields.need("for", "10m", faults)?;
        let length_us = duration_us(length, "10m", faults)?;
        if !(1_000_000..=MAX_LENGTH_US).contains(&length_us) {
            faults.add(length.at, format!("{} is out of range", length.words()), "write 1s to 24h instead");
            return None;
        }
        let list = |name, example, faults: &mut Faults| {
            let node = fields.need(name, example, faults)?;
            let Value::List(nodes) = &node.value else {
                faults.add(node.at, format!("`{name}` is {}", node.words()), "write a list instead");
                return None;
            };
            Some(nodes)
        };
        let given = list("given", "[{requests: 20, service: checkout}]", faults);
        let given =
            given.into_iter().flatten().filter_map(|node| Given::read(node, length_us, faults)).collect::<Vec<_>>();
        let expect = list("expect", "[{incident: open}]", faults);
        let expect = expect.into_iter().flatten().filter_map(|node| Expected::read(node, length_us, faults)).collect();
        let policies = fields.get("policies").map_or(Vec::new(), |node| names(node, faults));
        let records = given.iter().map(Given::records).fold(0, i64::saturating_add);
        if records > MAX_RECORDS {
            let what = format!("this is {records} records");
            faults.add(fields.at, what, format!("write a shorter or quieter one, of at most {MAX_RECORDS}, instead"));
            return None;
        }
        Some(Self { length_us, policies, given, expect })
    }
}

fn names(node: &Node, faults: &mut Faults) -> Vec<(String, Place)> {
    let Value::List(nodes) = &node.value else {
        faults.add(node.at, format!("`policies` is {}", node.words()), "write a list, as `[Detector/strict]`, instead");
        return Vec::new();
    };
    nodes.iter().filter_map(|node| Some((text(node, "Detector/strict", faults)?, node.at))).collect()
}

/// A time within the scenario, µs from its beginning.
fn moment(fields: &Fields<'_>, name: &str, (default, length_us): (i64, i64), faults: &mut Faults) -> Option<i64> {
    let Some(node) = fields.get(name) else { return Some(default) };
    let us = duration_us(node, "5m", faults)?;
    if us > length_us {
        let fix = format!("write at most {}s instead", length_us / 1_000_000);
        faults.add(node.at, format!("`{name}` is {}, after the end of the scenario", node.words()), fix);
        return None;
    }
    Some(us)
}

fn interval(fields: &Fields<'_>, names: [&str; 2], length_us: i64, faults: &mut Faults) -> Option<Range<i64>> {
    let from = moment(fields, names[0], (0, length_us), faults);
    let to = moment(fields, names[1], (length_us, length_us), faults);
    let (from, to) = (from?, to?);
    if from >= to {
        let what = format!("`{}` is not before `{}`", names[0], names[1]);
        faults.add(fields.get(names[1]).map_or(fields.at, |node| node.at), what, "write a later time instead");
        return None;
    }
    Some(from..to)
}

impl Given {
    fn read(node: &Node, length_us: i64, faults: &mut Faults) -> Option<Self> {
        let known = [
            "requests",
            "gauge",
            "heartbeats",
            "service",
            "node",
            "from",
            "to",
            "errors",
            "latency",
            "value",
            "until",
            "limit",
        ];
        let fields = Fields::of(node, "what is given", &known, faults)?;
        let service = fields.need("service", "checkout", faults).and_then(|node| service(node, faults));
        let of = fields.get("node").map_or(Some(String::new()), |node| text(node, "node-1", faults));
        let at_us = interval(&fields, ["from", "to"], length_us, faults);
        let flow = flow(&fields, faults);
        Some(Self { service: service?, node: of?, at_us: at_us?, flow: flow? })
    }

    fn records(&self) -> i64 {
        let seconds = (self.at_us.end - self.at_us.start) / 1_000_000 + 1;
        match self.flow {
            Flow::Requests { rate, .. } => seconds * rate,
            _ => seconds,
        }
    }
}

fn flow(fields: &Fields<'_>, faults: &mut Faults) -> Option<Flow> {
    if let Some(node) = fields.get("requests") {
        let rate = number(node, 1..=100_000, faults);
        let errors_ppm = fields.get("errors").map_or(Some(0), |node| share_ppm(node, "0.5%", faults));
        let latency_us = fields.get("latency").map_or(Some(20_000), |node| duration_us(node, "20ms", faults));
        return Some(Flow::Requests {
            rate: rate?,
            errors_ppm: errors_ppm?,
            latency_us: latency_us?.min(3_600_000_000),
        });
    }
    if let Some(node) = fields.get("gauge") {
        let name = text(node, "pool.used", faults);
        let from = fields.need("value", "40", faults).and_then(|node| number(node, 0..=1 << 40, faults));
        let until = fields.get("until").map_or(from, |node| number(node, 0..=1 << 40, faults));
        let limit = fields.need("limit", "100", faults).and_then(|node| number(node, 1..=1 << 40, faults));
        return Some(Flow::Gauge { name: name?, values: (from?, until?), limit: limit? });
    }
    if fields.get("heartbeats").is_some() {
        return Some(Flow::Heartbeats);
    }
    let fix = "write `requests: 20` (a second), `gauge: pool.used` or `heartbeats: 1`";
    faults.add(fields.at, "nothing comes in here", fix);
    None
}

impl Expected {
    fn read(node: &Node, length_us: i64, faults: &mut Faults) -> Option<Self> {
        let known = ["verdict", "incident", "command", "service", "state", "after", "before", "times"];
        let fields = Fields::of(node, "what is expected", &known, faults)?;
        let kinds: [(&'static str, &[&str]); 3] =
            [("verdict", &DETECTORS), ("incident", &INCIDENTS), ("command", &COMMANDS)];
        let found = kinds.iter().find_map(|(of, choices)| Some((*of, *choices, fields.get(of)?)));
        let Some((of, choices, node)) = found else {
            let fix = "write `verdict: error_rate`, `incident: open` or `command: trip_circuit`";
            faults.add(fields.at, "nothing is expected here", fix);
            return None;
        };
        let is = choice(node, of, choices, faults);
        let service = fields.get("service").map_or(Some(String::new()), |node| service(node, faults));
        let state = match fields.get("state") {
            Some(node) => choice(node, "state of a command", &STATES, faults)?,
            None => "",
        };
        let at_us = interval(&fields, ["after", "before"], length_us, faults);
        let times = match fields.get("times") {
            Some(node) => Some(number(node, 0..=1_000_000, faults)?),
            None => None,
        };
        let (is, service, state) = (is?.to_owned(), service?, state.to_owned());
        Some(Self { at: fields.at, of, is, service, state, at_us: at_us?, times })
    }
}
