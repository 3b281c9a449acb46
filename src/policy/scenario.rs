//! [`Scenario`]: what is given, and what is expected of the policies then.

use super::fault::{Faults, Place};
use super::fields::{Fields, choice, number, service, share_ppm, text};
use super::shape::{Field, Shape, may, must};
use super::yaml::Node;
use evenkeel_schemas::CommandKind;
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

/// Every detector, and `any` of them.
pub(super) const DETECTORS: [&str; 13] = [
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

/// The kinds of commands.
pub(super) const KINDS: [&str; CommandKind::ALL.len()] = {
    let (mut names, mut at) = ([""; CommandKind::ALL.len()], 0);
    while at < names.len() {
        names[at] = CommandKind::ALL[at].name();
        at += 1;
    }
    names
};

const COMMANDS: [&str; KINDS.len() + 1] = {
    let (mut names, mut at) = (["any"; KINDS.len() + 1], 0);
    while at < KINDS.len() {
        names[at] = KINDS[at];
        at += 1;
    }
    names
};

const INCIDENTS: [&str; 3] = ["open", "update", "resolved"];

const STATES: [&str; 8] = ["proposed", "issued", "acknowledged", "done", "failed", "rejected", "expired", "escalated"];

/// What the spec holds.
pub const FIELDS: [Field; 4] = [
    must("for", Shape::Duration("10m", (1_000_000, MAX_LENGTH_US)), "10m", "How long it lasts."),
    may(
        "policies",
        Shape::List("[Detector/strict]", &Shape::Text("Detector/strict")),
        "Those that hold; by default all.",
    ),
    must("given", Shape::List("[]", &GIVEN), "[{requests: 20, service: checkout}]", "What comes in."),
    must("expect", Shape::List("[]", &EXPECTED), "[{incident: open}]", "What must come out."),
];

const MOMENT: Shape = Shape::Duration("5m", (0, MAX_LENGTH_US));

const GIVEN: Shape = Shape::Map(
    "what is given",
    &[
        may("requests", Shape::Number(1, 100_000), "Requests, so many a second."),
        may("gauge", Shape::Text("pool.used"), "A gauge, once a second."),
        may("heartbeats", Shape::Number(1, 1), "Heartbeats, once a second."),
        must("service", Shape::Service, "checkout", "The service."),
        may("node", Shape::Text("node-1"), "The node."),
        may("from", MOMENT, "From then on; by default from the beginning."),
        may("to", MOMENT, "Until then; by default to the end."),
        may("errors", Shape::Share("0.5%", (0, 1_000_000)), "This share of the requests fails; by default none."),
        may("latency", Shape::Duration("20ms", (0, 3_600_000_000)), "Each request takes so long; by default 20ms."),
        may("value", Shape::Number(0, MAX_VALUE), "The gauge's value."),
        may("until", Shape::Number(0, MAX_VALUE), "The gauge's value at the end; by default the same."),
        may("limit", Shape::Number(1, MAX_VALUE), "The gauge's limit."),
    ],
);

/// The largest value of a gauge.
const MAX_VALUE: i64 = 1 << 40;

const EXPECTED: Shape = Shape::Map(
    "what is expected",
    &[
        may("verdict", Shape::Choice("verdict", &DETECTORS), "A verdict that fires, of this detector."),
        may("incident", Shape::Choice("incident", &INCIDENTS), "A record of an incident in this state."),
        may("command", Shape::Choice("command", &COMMANDS), "A record of a command of this kind."),
        may("service", Shape::Service, "The service; by default any."),
        may("state", Shape::Choice("state of a command", &STATES), "The state of the command; by default any."),
        may("after", MOMENT, "From then on; by default from the beginning."),
        may("before", MOMENT, "Until then; by default to the end."),
        may("times", Shape::Number(0, 1_000_000), "So often; by default at least once."),
    ],
);

impl Scenario {
    /// Reads the spec of one.
    pub fn read(fields: &Fields<'_>, faults: &mut Faults) -> Option<Self> {
        let length_us = fields.duration_us("for").filter(|us| (1_000_000..=MAX_LENGTH_US).contains(us))?;
        let list = |name| fields.list(name).iter().filter_map(Fields::checked);
        let given = list("given").filter_map(|node| Given::read(&node, length_us, faults)).collect::<Vec<_>>();
        let expect = list("expect").filter_map(|node| Expected::read(&node, length_us, faults)).collect();
        let policy = |node: &Node| Some((text(node, "", &mut Faults::of(""))?, node.at));
        let policies = fields.list("policies").iter().filter_map(policy).collect();
        let records = given.iter().map(Given::records).fold(0, i64::saturating_add);
        if records > MAX_RECORDS {
            let what = format!("this is {records} records");
            faults.add(fields.at, what, format!("write a shorter or quieter one, of at most {MAX_RECORDS}, instead"));
            return None;
        }
        Some(Self { length_us, policies, given, expect })
    }
}

/// A time within the scenario, µs from its beginning.
fn moment(fields: &Fields<'_>, name: &str, (default, length_us): (i64, i64), faults: &mut Faults) -> Option<i64> {
    let Some(node) = fields.get(name) else { return Some(default) };
    let us = fields.duration_us(name)?;
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
    fn read(fields: &Fields<'_>, length_us: i64, faults: &mut Faults) -> Option<Self> {
        let at_us = interval(fields, ["from", "to"], length_us, faults);
        let flow = flow(fields, faults);
        let node = fields.text("node").unwrap_or_default();
        Some(Self { service: fields.read("service", service)?, node, at_us: at_us?, flow: flow? })
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
    let whole = |name| fields.read(name, |node, faults| number(node, 0..=MAX_VALUE, faults));
    if fields.get("requests").is_some() {
        let errors = fields.read("errors", |node, faults| share_ppm(node, "", faults));
        let latency_us = fields.duration_us("latency").unwrap_or(20_000);
        return Some(Flow::Requests { rate: whole("requests")?, errors_ppm: errors.unwrap_or(0), latency_us });
    }
    if fields.get("gauge").is_some() {
        for (name, example) in [("value", "40"), ("limit", "100")] {
            if fields.get(name).is_none() {
                faults.add(fields.at, format!("`{name}` is missing"), format!("write `{name}: {example}`"));
            }
        }
        let (from, limit) = (whole("value")?, whole("limit")?);
        let values = (from, whole("until").unwrap_or(from));
        return Some(Flow::Gauge { name: fields.text("gauge")?, values, limit });
    }
    if fields.get("heartbeats").is_some() {
        return Some(Flow::Heartbeats);
    }
    let fix = "write `requests: 20` (a second), `gauge: pool.used` or `heartbeats: 1`";
    faults.add(fields.at, "nothing comes in here", fix);
    None
}

impl Expected {
    fn read(fields: &Fields<'_>, length_us: i64, faults: &mut Faults) -> Option<Self> {
        let kinds: [(&'static str, &[&str]); 3] =
            [("verdict", &DETECTORS), ("incident", &INCIDENTS), ("command", &COMMANDS)];
        let found = kinds.iter().find(|(of, _)| fields.get(of).is_some());
        let Some((of, choices)) = found else {
            let fix = "write `verdict: error_rate`, `incident: open` or `command: trip_circuit`";
            faults.add(fields.at, "nothing is expected here", fix);
            return None;
        };
        let at_us = interval(fields, ["after", "before"], length_us, faults)?;
        let is = fields.read(of, |node, faults| choice(node, "", choices, faults))?.to_owned();
        let times = fields.read("times", |node, faults| number(node, 0..=1_000_000, faults));
        let (service, state) = (fields.read("service", service), fields.text("state"));
        let (service, state) = (service.unwrap_or_default(), state.unwrap_or_default());
        Some(Self { at: fields.at, of, is, service, state, at_us, times })
    }
}
