//! Alerting rules of Prometheus: what fires one is played against our policies.

use super::promql::{Measure, Threshold, threshold};
use super::{Imported, quoted};
use crate::policy::fault::Faults;
use crate::policy::fields::{Fields, words_us};

/// So long requests are as they should be before something goes wrong, µs: long enough for a history.
const CALM_US: i64 = 15 * 60_000_000;

/// Requests a second of a service that a rule does not know the rate of.
const RATE: i64 = 100;

/// The longest window and `for` together, µs.
const MAX_US: i64 = 6 * 3_600_000_000;

/// The `groups` of a file of rules.
pub fn groups(root: &Fields<'_>, imported: &mut Imported, faults: &mut Faults) {
    // The lowest share of errors that rules about all services allow, per mille.
    let mut guard = None::<i64>;
    for group in root.list("groups").iter().filter_map(Fields::checked) {
        for rule in group.list("rules").iter().filter_map(Fields::checked) {
            let found = read(&rule, imported, faults);
            if let Some(Threshold { of: Measure::Errors, service: None, limit, .. }) = found {
                let per_mille = ((limit * 1_000.0).ceil() as i64).clamp(1, 1_000);
                guard = Some(guard.map_or(per_mille, |lowest| lowest.min(per_mille)));
            }
        }
    }
    if let Some(guard) = guard {
        let from = "the lowest share of errors that the rules about all services allow";
        imported.add("Detector", "imported-errors", from, &format!("  error_guard_per_mille: {guard}\n"));
    }
}

fn read(rule: &Fields<'_>, imported: &mut Imported, faults: &mut Faults) -> Option<Threshold> {
    for (field, at, node) in rule.all {
        match field.as_str() {
            "alert" | "expr" | "for" | "annotations" => {}
            "labels" => imported.notes.push((*at, "labels are not carried over: see `match` of a Receiver".to_owned())),
            "keep_firing_for" => {
                imported
                    .notes
                    .push((*at, "keep_firing_for is not carried over: what is over is told as over".to_owned()));
            }
            "record" => {
                faults.add(node.at, format!("{} records, and fires nothing", node.words()), "take the rule out");
                return None;
            }
            _ => {
                faults.add(*at, format!("`{field}` is unknown"), "take it out");
                return None;
            }
        }
    }
    let (Some(name), Some(node)) = (rule.get("alert").map(|node| node.words()), rule.get("expr")) else {
        faults.add(rule.at, "`alert` or `expr` is missing", "write `alert: Errors` and `expr: …`");
        return None;
    };
    let name = name.trim_matches('`').to_owned();
    let text = node.text().unwrap_or_default();
    let found = match threshold(text) {
        Ok(found) => found,
        Err((after, what, fix)) => {
            faults.add(node.inside(after), format!("{name}: {what}"), fix);
            return None;
        }
    };
    let for_us = if rule.get("for").is_some() { rule.duration_us("for") } else { Some(0) };
    let Some(takes_us) = for_us.map(|us| us.saturating_add(found.window_us)).filter(|us| (1..=MAX_US).contains(us))
    else {
        let fix = format!("write durations of at most {} together, in one unit each, instead", words_us(MAX_US));
        faults.add(rule.place("for"), "`for` and the window are no such durations", fix);
        return None;
    };
    let service = quoted(found.service.as_deref().unwrap_or("any-service"));
    let (rate, wrong) = match found.of {
        Measure::Errors => {
            let percent = (found.limit * 150.0).clamp(0.01, 100.0);
            (RATE, Some(format!("requests: {RATE}, service: {service}, errors: {percent:.2}%")))
        }
        Measure::Latency => {
            let us = ((found.limit * 1.5) as i64).clamp(1, 3_600_000_000);
            (RATE, Some(format!("requests: {RATE}, service: {service}, latency: {us}us")))
        }
        Measure::Rate => {
            let (usual, low) = ((found.limit * 2.0).clamp(RATE as f64, 1_000.0) as i64, (found.limit / 2.0) as i64);
            (usual, (low > 0).then(|| format!("requests: {}, service: {service}", low.min(usual / 2))))
        }
    };
    let (calm, over) = (words_us(CALM_US), words_us(CALM_US + takes_us));
    let wrong = wrong.map(|given| format!("    - {{{given}, from: {calm}}}\n")).unwrap_or_default();
    let spec = format!(
        "  for: {over}\n  given:\n    - {{requests: {rate}, service: {service}, to: {calm}}}\n{wrong}  expect:\n    \
         - {{incident: open, service: {service}, after: {calm}, before: {over}}}\n"
    );
    let from = format!("{name}: {text}");
    imported.add("Scenario", &name, &from, &spec);
    Some(found)
}
