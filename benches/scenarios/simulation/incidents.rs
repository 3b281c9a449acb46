//! Incidents as they are said, gathered into alerts.
//!
//! # Decision
//! Read by the names of their fields, not as a type: what is added to incidents (whether somebody is paged, which services
//! are affected, what they share, what merged into what) counts as soon as it is there.

use super::score::Alert;
use super::world::START_US;
use serde_json::Value;
use std::collections::BTreeMap;

/// Fields that speak of others than those that are affected.
const NOT_AFFECTED: [&str; 5] = ["evidence", "inference", "victims", "candidates", "changes"];

/// The incidents of a run.
#[derive(Default)]
pub struct Incidents {
    pub alerts: Vec<Alert>,
    /// Where an incident's alert is, by its id.
    known: BTreeMap<String, usize>,
}

impl Incidents {
    /// Takes in a word about an incident.
    pub fn hear(&mut self, incident: &Value) {
        let (id, state) = (text(&incident["incident_id"]), text(&incident["state"]));
        let index = *self.known.entry(id).or_insert(self.alerts.len());
        if index == self.alerts.len() {
            self.alerts.push(alert(incident));
        }
        let alert = &mut self.alerts[index];
        alert.pages += match incident["notify"].as_bool() {
            Some(notify) => u32::from(notify),
            None => u32::from(state == "open"),
        };
        // It may be amended: what counts is where it is said to have begun in the end.
        alert.root = text(&incident["service"]);
        names(incident, &mut alert.names);
        alert.merged |= state == "merged";
        if state == "resolved" || state == "merged" {
            alert.end_s = Some(second(incident));
        }
    }
}

fn alert(incident: &Value) -> Alert {
    let cause = &incident["cause"];
    let key = cause["key"].as_object().into_iter().flatten();
    let dimensions = key.map(|(dimension, _)| dimension.as_str()).collect::<Vec<_>>();
    Alert {
        root: text(&incident["service"]),
        names: Vec::new(),
        at_s: second(incident),
        end_s: None,
        pages: 0,
        merged: false,
        rule: format!("{} of {}", text(&cause["detector"]), dimensions.join(", ")),
        evidence: text(&cause["evidence"]),
    }
}

fn second(incident: &Value) -> i64 {
    let at_us = incident["at_us"].as_i64().expect("an incident has a time");
    (at_us - START_US).div_euclid(1_000_000)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Every name an incident gives to what is affected: strings, and those in lists and objects.
fn names(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) if !found.contains(text) => found.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| names(item, found)),
        Value::Object(fields) => {
            let affected = fields.iter().filter(|(name, _)| !NOT_AFFECTED.contains(&name.as_str()));
            affected.for_each(|(_, field)| names(field, found));
        }
        _ => {}
    }
}
