//! [`Document`]: one policy of a file, its envelope and what its kind makes of it.

use super::fault::{Faults, Place};
use super::fields::{Fields, choice, service, share_ppm, text, time_us};
use super::scenario::Scenario;
use super::tuned::{self, Setting};
use super::yaml::{Node, Value};
use serde_json::{Value as Json, json};

/// What documents say of their version.
pub const API_VERSION: &str = "evenkeel/v1";

/// Kinds that something stands behind.
pub const KINDS: [&str; 5] = ["Detector", "SLO", "RecoveryPolicy", "Maintenance", "Scenario"];

/// The longest maintenance, µs: what the order allows.
const MAX_MAINTENANCE_US: i64 = 30 * 24 * 3600 * 1_000_000;

/// A policy as it was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// The file, as it was named.
    pub file: String,
    /// Where its name stands.
    pub at: Place,
    /// One of [`KINDS`].
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
    /// What is expected of the others.
    Scenario(Box<Scenario>),
}

impl Document {
    /// Reads one; what is wrong is added to `faults`, and what can be used all the same is.
    pub fn read(node: &Node, file: &str, faults: &mut Faults) -> Option<Self> {
        let envelope = Fields::of(node, "the document", &["apiVersion", "kind", "metadata", "spec"], faults)?;
        if let Some(version) = envelope.need("apiVersion", API_VERSION, faults)
            && version.value != Value::Text(API_VERSION.to_owned())
        {
            let what = format!("{} is no version of policies", version.words());
            faults.add(version.at, what, format!("write `{API_VERSION}` instead"));
        }
        let kind = envelope.need("kind", "Detector", faults);
        let kind = kind.and_then(|kind| choice(kind, "kind that anything stands behind", &KINDS, faults));
        let name = envelope.need("metadata", "{name: strict}", faults).and_then(|metadata| {
            let metadata = Fields::of(metadata, "metadata", &["name"], faults)?;
            let name = metadata.need("name", "strict", faults)?;
            Some((identifier(name, faults)?, name.at))
        });
        let spec = envelope.need("spec", "{…}", faults);
        let (kind, spec) = (kind?, spec?);
        let spec = read_spec(kind, spec, faults);
        let (name, at) = name?;
        Some(Self { file: file.to_owned(), at, kind, name, json: node.to_json(), spec: spec? })
    }

    /// How it is called: its kind and name.
    pub fn id(&self) -> String {
        format!("{}/{}", self.kind, self.name)
    }

    /// The settings it brings.
    pub fn settings(&self) -> &[Setting] {
        match &self.spec {
            Spec::Settings(settings) => settings,
            _ => &[],
        }
    }
}

/// A name: lower-case letters, digits and dashes.
fn identifier(node: &Node, faults: &mut Faults) -> Option<String> {
    let name = text(node, "strict", faults)?;
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if name.len() <= 63 && name.bytes().all(fits) && !name.starts_with('-') {
        return Some(name);
    }
    let lower = name.to_lowercase();
    let mended = lower.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(63);
    let mended = mended.collect::<String>().trim_start_matches('-').to_owned();
    let what = format!("`{name}` is no name: it has up to 63 lower-case letters, digits and dashes");
    faults.add(node.at, what, format!("write `{}` instead", if mended.is_empty() { "strict" } else { &mended }));
    None
}

fn read_spec(kind: &str, node: &Node, faults: &mut Faults) -> Option<Spec> {
    match kind {
        "Detector" => detector(node, faults),
        "SLO" => objective(node, faults),
        "RecoveryPolicy" => recovery(node, faults),
        "Maintenance" => maintenance(node, faults),
        _ => Some(Spec::Scenario(Box::new(Scenario::read(node, faults)?))),
    }
}

/// A mapping whose fields are of the tuning, and `others`.
fn tuned_fields<'a>(
    node: &'a Node,
    part: &str,
    others: &[&str],
    faults: &mut Faults,
) -> Option<(Fields<'a>, Vec<Setting>)> {
    let Value::Map(all) = &node.value else {
        faults.add(node.at, format!("spec is {}", node.words()), "write a mapping of limits instead");
        return None;
    };
    let settings = tuned::read(all, (&[part.to_owned()], &tuned::part(part)), others, faults);
    Some((Fields { at: node.at, all }, settings))
}

fn detector(node: &Node, faults: &mut Faults) -> Option<Spec> {
    let (fields, settings) = tuned_fields(node, "detection", &["service"], faults)?;
    if let Some((_, at, _)) = fields.all.iter().find(|(name, ..)| name == "service") {
        let what = "the limits of detectors hold for all services alike: every key is compared with itself";
        faults.add(*at, what, "leave `service` out instead");
    }
    Some(Spec::Settings(settings))
}

fn objective(node: &Node, faults: &mut Faults) -> Option<Spec> {
    let fields = Fields::of(node, "the spec of an SLO", &["service", "objective"], faults)?;
    let service = fields.need("service", "checkout", faults).and_then(|node| service(node, faults));
    let node = fields.need("objective", "99.9%", faults)?;
    let share = share_ppm(node, "99.9%", faults)?;
    if !(1..1_000_000).contains(&share) {
        let what = format!("{} leaves no error budget, or nothing but one", node.words());
        faults.add(node.at, what, "write 0.0001% to 99.9999% instead");
        return None;
    }
    Some(Spec::Settings(vec![Setting::new(&["objectives", &service?], node.at, json!(share))]))
}

fn recovery(node: &Node, faults: &mut Faults) -> Option<Spec> {
    let (fields, mut settings) = tuned_fields(node, "recovery", &["service", "mode"], faults)?;
    let service = match fields.get("service") {
        Some(node) => service(node, faults)?,
        None => "*".to_owned(),
    };
    if service != "*" && !settings.is_empty() {
        let what = format!("`{}` holds for all services alike, and this document is about one", settings[0].name());
        faults.add(settings[0].at, what, "write it in a RecoveryPolicy of `service: \"*\"` instead");
        settings.clear();
    }
    if let Some(node) = fields.get("mode") {
        let mode = choice(node, "mode", &["observe", "suggest", "auto"], faults)?;
        let path: &[&str] = if service == "*" { &["mode"] } else { &["modes", &service] };
        settings.push(Setting::new(path, node.at, json!(mode)));
    } else if service != "*" {
        faults.add(fields.at, "`mode` is missing", "write `mode: observe`, `suggest` or `auto`");
    }
    Some(Spec::Settings(settings))
}

fn maintenance(node: &Node, faults: &mut Faults) -> Option<Spec> {
    let fields = Fields::of(node, "the spec of a Maintenance", &["service", "from", "to"], faults)?;
    let service = fields.need("service", "checkout", faults).and_then(|node| service(node, faults));
    let from = fields.need("from", "2026-11-21T12:00:00Z", faults).and_then(|node| time_us(node, faults));
    let node = fields.need("to", "2026-11-21T14:00:00Z", faults)?;
    let (from_us, to_us) = (from?, time_us(node, faults)?);
    if !(1..=MAX_MAINTENANCE_US).contains(&(to_us - from_us)) {
        let what = "it ends before it begins, or more than 30 days later";
        faults.add(node.at, what, "write a time after `from`, at most 30 days, instead");
        return None;
    }
    Some(Spec::Maintenance { service: service?, interval_us: (from_us, to_us) })
}
