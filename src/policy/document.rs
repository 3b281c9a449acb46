//! [`Document`]: one policy of a file, its envelope and what its kind makes of it.

use super::actions;
use super::fault::{Faults, Place};
use super::fields::{Fields, choice, service, share_ppm, text, time_us};
use super::mask;
use super::people;
use super::receiver;
use super::scenario::{self, Scenario};
use super::shape::{Field, Shape, may, must};
use super::signal::{self, Signal};
use super::tuned::{self, Setting};
use super::yaml::{Node, Value};
use crate::alerts::{Receiver, Silence};
use crate::mask::MaskRule;
use serde_json::{Value as Json, json};

/// What documents say of their version.
pub const API_VERSION: &str = "evenkeel/v1";

/// A kind of documents, and what its spec holds.
#[derive(Debug)]
pub struct Kind {
    /// Its name.
    pub name: &'static str,
    /// What its documents are for.
    pub about: &'static str,
    /// The part of the tuning of which its spec holds fields, e.g. `recovery`; empty if it holds none.
    pub part: &'static str,
    /// The other fields of its spec.
    pub fields: &'static [Field],
}

const fn kind(name: &'static str, about: &'static str, part: &'static str, fields: &'static [Field]) -> Kind {
    Kind { name, about, part, fields }
}

/// Kinds that something stands behind.
pub const KINDS: [Kind; 10] = [
    kind("Detector", "Limits of detectors, for all services.", "detection", &[]),
    kind("SLO", "The share of requests that should be good.", "", &OBJECTIVE),
    kind("RecoveryPolicy", "What is done with commands, and the times they go by.", "recovery", &RECOVERY),
    kind("Roster", "People, who is on call, gates, and who may break the glass.", "", &people::ROSTER),
    kind("Maintenance", "Work on a service that is known of: nothing is said meanwhile.", "", &MAINTENANCE),
    kind("Scenario", "What is given, and what is expected of the policies then.", "", &scenario::FIELDS),
    kind("Receiver", "Somebody who is told of incidents.", "", &receiver::FIELDS),
    kind("Silence", "What nobody is told for a while.", "", &receiver::SILENCE),
    kind("Signal", "A series that is compared with its own past, and whether it pages.", "", &signal::FIELDS),
    kind("MaskRule", "Personal data that is replaced in lines before they are kept.", "", &mask::FIELDS),
];

const NAMES: [&str; KINDS.len()] = {
    let (mut names, mut at) = ([""; KINDS.len()], 0);
    while at < names.len() {
        names[at] = KINDS[at].name;
        at += 1;
    }
    names
};

/// What every document has.
pub const ENVELOPE: [Field; 4] = [
    must(
        "apiVersion",
        Shape::Choice("version of policies", &[API_VERSION]),
        API_VERSION,
        "The version of this format.",
    ),
    must("kind", Shape::Choice("kind that anything stands behind", &NAMES), "Detector", "What the document is about."),
    must("metadata", Shape::Map("metadata", &METADATA), "{name: strict}", "How it is called."),
    must("spec", Shape::Spec, "{…}", "What it says."),
];

const METADATA: [Field; 1] = [must("name", Shape::Name("strict"), "strict", "Its name, once of each kind.")];

const OBJECTIVE: [Field; 2] = [
    must("service", Shape::Service, "checkout", "The service, or `*` for those without an SLO of their own."),
    must("objective", Shape::Share("99.9%", (1, 999_999)), "99.9%", "The share of requests that should be good."),
];

const MODES: [&str; 4] = ["observe", "suggest", "approve", "auto"];

const RECOVERY: [Field; 4] = [
    may("service", Shape::Service, "The service whose mode this is; `*`, the default, for all."),
    may("mode", Shape::Choice("mode", &MODES), "What is done with commands."),
    may(
        "do",
        Shape::Answers,
        "What is asked for, by detector: an action, or several of which the first that can be done is taken.",
    ),
    may(
        "approval",
        Shape::Map("approval", &people::APPROVAL),
        "Whom its commands need, all of them or those of some kinds.",
    ),
];

const MAINTENANCE: [Field; 3] = [
    must("service", Shape::Service, "checkout", "The service, or `*`."),
    must("from", Shape::Time, "2026-11-21T12:00:00Z", "From then on."),
    must("to", Shape::Time, "2026-11-21T14:00:00Z", "Until then, at most 30 days later."),
];

/// The longest maintenance, µs: what the order allows.
const MAX_MAINTENANCE_US: i64 = 30 * 24 * 3600 * 1_000_000;

/// A policy as it was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// The file, as it was named.
    pub file: String,
    /// Where its name stands.
    pub at: Place,
    /// The name of one of [`KINDS`].
    pub kind: &'static str,
    /// Its name, once of each kind.
    pub name: String,
    /// All of it, names sorted.
    pub json: Json,
    /// What it means.
    pub spec: Spec,
}

/// What a document means.
#[derive(Clone, Debug, PartialEq)]
pub enum Spec {
    /// Fields of the tuning.
    Settings(Vec<Setting>),
    /// Work on a service that is known of.
    Maintenance {
        /// The service, or `*`.
        service: String,
        /// From, inclusive, and to, exclusive, µs since the Unix epoch.
        interval_us: (i64, i64),
    },
    /// Somebody who is told of incidents.
    Receiver(Box<Receiver>),
    /// What nobody is told for a while.
    Silence(Box<Silence>),
    /// A series that is compared with its own past.
    Signal(Signal),
    /// Personal data that is replaced in lines.
    Mask(MaskRule),
    /// What is expected of the others.
    Scenario(Box<Scenario>),
}

impl Document {
    /// Reads one; what is wrong is added to `faults`, and what can be used all the same is.
    pub fn read(node: &Node, file: &str, faults: &mut Faults) -> Option<Self> {
        let envelope = Fields::of(node, "the document", &ENVELOPE, faults)?;
        let kind = envelope.read("kind", |node, faults| choice(node, "", &NAMES, faults));
        let named = envelope.get("metadata").and_then(Fields::checked);
        let name = named.as_ref().and_then(|it| it.read("name", |node, faults| identifier(node, "", faults)));
        let (kind, spec) = (kind?, envelope.get("spec")?);
        let of = KINDS.iter().find(|it| it.name == kind)?;
        let spec = read_spec(of, name.as_deref().unwrap_or_default(), spec, faults);
        let at = named?.place("name");
        Some(Self { file: file.to_owned(), at, kind, name: name?, json: node.to_json(), spec: spec? })
    }

    /// How it is called: its kind and name.
    pub fn id(&self) -> String {
        format!("{}/{}", self.kind, self.name)
    }

    /// The settings it brings.
    pub fn settings(&self) -> &[Setting] {
        match &self.spec {
            Spec::Settings(settings) => settings,
            Spec::Signal(signal) => signal.missing.as_slice(),
            _ => &[],
        }
    }
}

/// A name: lower-case letters, digits and dashes.
pub fn identifier(node: &Node, example: &str, faults: &mut Faults) -> Option<String> {
    let name = text(node, example, faults)?;
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if name.len() <= 63 && name.bytes().all(fits) && !name.starts_with('-') {
        return Some(name);
    }
    let what = format!("`{name}` is no name: it has up to 63 lower-case letters, digits and dashes");
    faults.add(node.at, what, format!("write `{}` instead", mended(&name, example)));
    None
}

/// The name that is most like a text; `otherwise` if none is.
pub fn mended(text: &str, otherwise: &str) -> String {
    let fit = text.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect::<String>();
    let fit = fit.trim_matches('-').chars().take(63).collect::<String>();
    if fit.is_empty() { otherwise.to_owned() } else { fit }
}

fn read_spec(kind: &Kind, name: &str, node: &Node, faults: &mut Faults) -> Option<Spec> {
    if !kind.part.is_empty() {
        let (fields, settings) = tuned_fields(node, kind, faults)?;
        return if kind.name == "Detector" {
            Some(Spec::Settings(settings))
        } else {
            recovery(&fields, settings, faults)
        };
    }
    let fields = Fields::of(node, &format!("the spec of {} {}", article(kind.name), kind.name), kind.fields, faults)?;
    match kind.name {
        "SLO" => objective(&fields),
        "Roster" => Some(Spec::Settings(people::roster(&fields))),
        "Maintenance" => maintenance(&fields, faults),
        "Receiver" => Some(Spec::Receiver(Box::new(receiver::receiver(&fields, name, faults)?))),
        "Silence" => Some(Spec::Silence(Box::new(receiver::silence(&fields, name, faults)?))),
        "MaskRule" => Some(Spec::Mask(mask::rule(&fields, name, faults)?)),
        "Signal" => Some(Spec::Signal(Signal::read(&fields)?)),
        _ => Some(Spec::Scenario(Box::new(Scenario::read(&fields, faults)?))),
    }
}

fn article(name: &str) -> &'static str {
    if name.starts_with("SLO") { "an" } else { "a" }
}

/// A mapping of fields of a part of the tuning, and the other ones of the kind.
fn tuned_fields<'a>(node: &'a Node, kind: &Kind, faults: &mut Faults) -> Option<(Fields<'a>, Vec<Setting>)> {
    let Value::Map(all) = &node.value else {
        faults.add(node.at, format!("spec is {}", node.words()), "write a mapping of limits instead");
        return None;
    };
    let (path, part) = ([kind.part.to_owned()], tuned::part(kind.part));
    let mut settings = Vec::new();
    for field in all {
        match kind.fields.iter().find(|it| it.name == field.0) {
            Some(known) => known.shape.check(&field.2, faults),
            None if kind.name == "Detector" && field.0 == "service" => {
                let what = "the limits of detectors hold for all services alike: every key is compared with itself";
                faults.add(field.1, what, "leave `service` out instead");
            }
            None => {
                let others = kind.fields.iter().map(|it| it.name).collect::<Vec<_>>();
                settings.extend(tuned::read(std::slice::from_ref(field), (&path, &part), &others, faults));
            }
        }
    }
    Some((Fields { at: node.at, all }, settings))
}

fn objective(fields: &Fields<'_>) -> Option<Spec> {
    let service = fields.read("service", service)?;
    let share = fields.read("objective", |node, faults| share_ppm(node, "", faults));
    let share = share.filter(|share| (1..1_000_000).contains(share))?;
    Some(Spec::Settings(vec![Setting::new(&["objectives", &service], fields.place("objective"), json!(share))]))
}

fn recovery(fields: &Fields<'_>, mut settings: Vec<Setting>, faults: &mut Faults) -> Option<Spec> {
    let service = match fields.get("service") {
        Some(node) => service(node, &mut Faults::of(""))?,
        None => "*".to_owned(),
    };
    if service != "*" && !settings.is_empty() {
        let what = format!("`{}` holds for all services alike, and this document is about one", settings[0].name());
        faults.add(settings[0].at, what, "write it in a RecoveryPolicy of `service: \"*\"` instead");
        settings.clear();
    }
    if fields.get("mode").is_some() {
        let mode = fields.text("mode")?;
        let path: &[&str] = if service == "*" { &["mode"] } else { &["modes", &service] };
        settings.push(Setting::new(path, fields.place("mode"), json!(mode)));
    }
    let (answers, approval) = (fields.get("do"), fields.get("approval"));
    settings.extend(answers.map(|node| actions::read(node, &service, faults)).unwrap_or_default());
    settings.extend(approval.and_then(|node| people::approval(&service, node)).into_iter().flatten());
    if service != "*" && ["mode", "do", "approval"].iter().all(|field| fields.get(field).is_none()) {
        let fix = "write `mode: observe`, `suggest`, `approve` or `auto`, or a `do`, or an `approval`";
        faults.add(fields.at, "`mode` is missing", fix);
    }
    Some(Spec::Settings(settings))
}

fn maintenance(fields: &Fields<'_>, faults: &mut Faults) -> Option<Spec> {
    let interval_us = interval_us(fields, (MAX_MAINTENANCE_US, "30 days"), faults)?;
    Some(Spec::Maintenance { service: fields.read("service", service)?, interval_us })
}

/// `from` and `to`, in this order, µs since the Unix epoch; at most so long.
pub fn interval_us(fields: &Fields<'_>, (max_us, words): (i64, &str), faults: &mut Faults) -> Option<(i64, i64)> {
    let (from_us, to_us) = (fields.read("from", time_us)?, fields.read("to", time_us)?);
    if !(1..=max_us).contains(&to_us.saturating_sub(from_us)) {
        let what = format!("it ends before it begins, or more than {words} later");
        faults.add(fields.place("to"), what, format!("write a time after `from`, at most {words}, instead"));
        return None;
    }
    Some((from_us, to_us))
}
