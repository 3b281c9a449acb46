//! [`Alert`]: an incident that was worth a page, as receivers are told of it.

use evenkeel_schemas::{Detector, Incident, IncidentState, Notice};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The labels that alerts may have; the last one only what is told together.
pub const LABELS: [&str; 6] = ["alertname", "incident_id", "service", "detector", "severity", "receiver"];

/// Names that a list of services spells out; the others are counted.
const LISTED: usize = 10;

/// Longest annotation, bytes.
const MAX_TEXT_BYTES: usize = 1024;

/// An incident, or several that were put together because somebody had been told too much.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// The incident's identity.
    pub id: String,
    /// Its identity at receivers; those of its first page.
    pub labels: BTreeMap<String, String>,
    /// What is known now.
    pub annotations: BTreeMap<String, String>,
    /// The services that stand in it, nearest to the root first.
    #[serde(default)]
    pub services: Vec<String>,
    /// Services that are expected to be next.
    #[serde(default)]
    pub victims: Vec<String>,
    /// How many services stand in it.
    #[serde(default)]
    pub affected: u32,
    /// When it opened, µs since the Unix epoch by the log.
    pub opened_us: i64,
    /// When the log spoke of it last.
    pub at_us: i64,
    /// When it was first worth a page, if it was.
    pub paged_us: Option<i64>,
    /// How many records of it were worth a page, its end not counted.
    pub pages: u32,
    /// When it ended, if it did.
    pub ended_us: Option<i64>,
    /// The incident that it went on in.
    pub merged_into: String,
    /// When somebody took it on, if anybody did: by the machine's clock.
    pub acknowledged_us: Option<i64>,
    /// If these are several, whose.
    pub members: Vec<String>,
    /// If it concerns one receiver alone, which.
    pub only: Option<String>,
}

impl Alert {
    /// Follows one more record of the incident.
    pub fn follow(&mut self, incident: &Incident) {
        if self.id.is_empty() {
            self.id.clone_from(&incident.incident_id);
            self.opened_us = incident.opened_us;
        }
        if self.paged_us.is_none() {
            self.labels = labels(incident);
        }
        self.annotations = annotations(incident);
        (self.services, self.victims) = (incident.services.clone(), incident.victims.clone());
        self.affected = incident.affected;
        self.at_us = incident.at_us;
        let ends = incident.state == IncidentState::Resolved || !incident.merged_into.is_empty();
        self.ended_us = ends.then_some(incident.at_us);
        self.merged_into.clone_from(&incident.merged_into);
        if incident.notify && !ends {
            self.paged_us.get_or_insert(incident.at_us);
            self.pages += 1;
        }
    }

    /// Alerts that one receiver is told of together.
    pub fn digest(receiver: &str, members: &[&Alert], now_us: i64) -> Self {
        let ids = members.iter().map(|alert| alert.id.clone()).collect::<Vec<_>>();
        let critical = members.iter().any(|alert| alert.label("severity") == "critical");
        let severity = if critical { "critical" } else { "warning" };
        let labels = [("alertname", "NoiseBudgetSpent"), ("severity", severity), ("receiver", receiver)];
        let services = members.iter().map(|alert| alert.label("service").to_owned()).collect::<Vec<_>>();
        let count = ids.len();
        let summary =
            format!("{count} more incidents, told together: the noise budget of {receiver} is spent for this hour");
        let notes = [("summary", summary), ("services", listed(&services)), ("incidents", listed(&ids))];
        Self {
            id: format!("GRP-{receiver}-{}", now_us / 1_000),
            labels: labels.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            annotations: notes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            opened_us: now_us,
            at_us: now_us,
            paged_us: Some(now_us),
            pages: 1,
            members: ids,
            only: Some(receiver.to_owned()),
            ..Self::default()
        }
    }

    /// A label, empty if there is none.
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }

    /// What a [`Condition`](super::Condition) is asked of.
    pub fn facts(&self) -> Value {
        let Self { id, services, victims, affected, pages, .. } = self;
        // The root may have moved since the first page.
        let service = self.annotations.get("root").map_or_else(|| self.label("service"), String::as_str);
        json!({"id": id, "service": service, "services": services, "victims": victims, "affected": affected,
            "detector": self.label("detector"), "severity": self.label("severity"), "pages": pages,
            "acknowledged": self.acknowledged_us.is_some()})
    }

    /// What it is about in one line.
    pub fn summary(&self) -> &str {
        self.annotations.get("summary").map_or("", String::as_str)
    }
}

fn labels(incident: &Incident) -> BTreeMap<String, String> {
    let detector = name_of(incident.cause.detector);
    let name = detector.split('_').map(capitalized).collect::<String>();
    let labels = [
        ("alertname", name),
        ("incident_id", incident.incident_id.clone()),
        ("service", incident.service.clone()),
        ("detector", detector),
        ("severity", severity(incident.cause.detector).to_owned()),
    ];
    labels.into_iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| (name.to_owned(), value)).collect()
}

fn annotations(incident: &Incident) -> BTreeMap<String, String> {
    let Incident { service, cause, affected, .. } = incident;
    let others = if *affected > 1 { format!(", with {} other services", affected - 1) } else { String::new() };
    let changes = incident.changes.iter().map(|it| format!("{} {} {}", it.service, it.what, it.version));
    let again = if incident.notice == Notice::Flapping { ", again and again: open until it is calm" } else { "" };
    let notes = [
        ("summary", format!("{service}: {}{others}{again}", cause.evidence)),
        ("root", service.clone()),
        ("evidence", cause.evidence.clone()),
        ("services", listed(&incident.services)),
        ("victims", listed(&incident.victims)),
        ("changes", listed(&changes.collect::<Vec<_>>())),
        ("merged_into", incident.merged_into.clone()),
    ];
    let kept = notes.into_iter().filter(|(_, value)| !value.is_empty());
    kept.map(|(name, value)| (name.to_owned(), cut(value))).collect()
}

/// What pages at once and what may be looked at soon.
fn severity(detector: Detector) -> &'static str {
    match detector {
        Detector::Canary | Detector::Leak | Detector::Forecast | Detector::Signal | Detector::BreakGlass => "warning",
        _ => "critical",
    }
}

fn name_of(detector: Detector) -> String {
    serde_json::to_value(detector).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

fn capitalized(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn listed(names: &[String]) -> String {
    let listed = names.iter().take(LISTED).cloned().collect::<Vec<_>>().join(", ");
    let more = names.len().saturating_sub(LISTED);
    if more > 0 { format!("{listed} and {more} more") } else { listed }
}

fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(MAX_TEXT_BYTES.min(text.len())));
    text
}
