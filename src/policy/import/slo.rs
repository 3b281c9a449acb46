//! Objectives of OpenSLO and Sloth. Ours count requests that are answered, and not as errors, so objectives of ratios are
//! taken over, and those of latencies and of anything but events are refused.

use super::{Imported, decimal, quoted};
use crate::policy::fault::Faults;
use crate::policy::fields::Fields;
use crate::policy::yaml::Node;

const WINDOWS: &str = "is not carried over: burn rates are judged over 1 h, 6 h and 3 d, as the SRE Workbook says";

/// A document of OpenSLO; `all` are those of its file.
pub fn openslo(root: &Fields<'_>, all: &[Fields<'_>], imported: &mut Imported, faults: &mut Faults) {
    let kind = root.text("kind").unwrap_or_default();
    match kind.as_str() {
        "SLO" => {}
        // An SLI is looked up by the SLO that names it.
        "SLI" | "Service" | "DataSource" => return,
        "AlertPolicy" | "AlertCondition" | "AlertNotificationTarget" => {
            let note = format!("{kind} is not carried over: every objective is watched for fast and slow burns");
            return imported.notes.push((root.place("kind"), note));
        }
        _ => {
            let what = format!("`{kind}` is no kind of OpenSLO v1 that can be imported");
            return faults.add(root.place("kind"), what, "take it out of the file");
        }
    }
    let name = name_of(root).unwrap_or_else(|| "imported".to_owned());
    let Some(spec) = root.get("spec").and_then(Fields::checked) else {
        return faults.add(root.at, "`spec` is missing", "write `spec: {service: …, indicator: …, objectives: […]}`");
    };
    for (field, at, node) in spec.all {
        match field.as_str() {
            "description" | "service" | "indicator" | "indicatorRef" | "objectives" => {}
            "timeWindow" => imported.notes.push((*at, format!("timeWindow {WINDOWS}"))),
            "alertPolicies" => imported.notes.push((*at, "alertPolicies is not carried over".to_owned())),
            "budgetingMethod" if node.words() == "`Occurrences`" => {}
            "budgetingMethod" => {
                let what = format!("{} counts intervals, and evenkeel counts requests", node.words());
                return faults.add(node.at, what, "write `Occurrences` instead");
            }
            _ => return faults.add(*at, format!("`spec.{field}` is unknown"), "take it out"),
        }
    }
    let Some(indicator) = indicator(&spec, all, faults) else { return };
    let ratio = indicator.get("ratioMetric").and_then(Fields::checked);
    let Some(ratio) = ratio else {
        let at = indicator.all.first().map_or(indicator.at, |(_, at, _)| *at);
        return faults.add(
            at,
            "only objectives of a ratio of requests can be imported",
            "write `ratioMetric:` instead",
        );
    };
    if ratio.get("raw").is_some() || (ratio.get("good").is_none() && ratio.get("bad").is_none()) {
        return faults.add(ratio.at, "a ratio is made of two counts here", "write `good:` or `bad:`, and `total:`");
    }
    let objectives = spec.list("objectives").iter().filter_map(Fields::checked).collect::<Vec<_>>();
    let [objective] = objectives.as_slice() else {
        let at = objectives.get(1).map_or(spec.place("objectives"), |second| second.at);
        return faults.add(at, "a service has one objective", "keep one of them instead");
    };
    let (share, at) = match (objective.get("target"), objective.get("targetPercent")) {
        (Some(node), _) => (decimal(node, 6), node.at),
        (None, Some(node)) => (decimal(node, 4), node.at),
        (None, None) => return faults.add(objective.at, "`target` is missing", "write `target: 0.999`"),
    };
    let Some(service) = spec.text("service") else {
        return faults.add(spec.at, "`service` is missing", "write `service: checkout`");
    };
    let Some(share) = share.filter(|share| (1..1_000_000).contains(share)) else {
        return faults.add(at, "this is no share of requests", "write 0.000001 to 0.999999 instead");
    };
    add(imported, (&name, &service), share, "OpenSLO");
}

/// The indicator of an SLO, here or in another document.
fn indicator<'a>(spec: &Fields<'a>, all: &[Fields<'a>], faults: &mut Faults) -> Option<Fields<'a>> {
    if let Some(here) = spec.get("indicator").and_then(Fields::checked) {
        return here.get("spec").and_then(Fields::checked);
    }
    let Some(name) = spec.text("indicatorRef") else {
        faults.add(spec.at, "`indicator` is missing", "write `indicator: {metadata: …, spec: {ratioMetric: …}}`");
        return None;
    };
    let is_it = |it: &&Fields<'_>| it.text("kind").as_deref() == Some("SLI") && name_of(it).as_ref() == Some(&name);
    let found = all.iter().find(is_it).and_then(|it| it.get("spec")).and_then(Fields::checked);
    if found.is_none() {
        faults.add(
            spec.place("indicatorRef"),
            format!("there is no SLI `{name}` in this file"),
            "put it into the file",
        );
    }
    found
}

fn name_of(root: &Fields<'_>) -> Option<String> {
    root.get("metadata").and_then(Fields::checked)?.text("name")
}

/// A specification of Sloth: `service` and `slos`; fields of its Kubernetes form are in camel case.
pub fn sloth(root: &Fields<'_>, imported: &mut Imported, faults: &mut Faults) {
    let Some(service) = root.text("service") else {
        return faults.add(root.at, "`service` is missing", "write `service: checkout`");
    };
    let mut is_taken = false;
    for node in root.list("slos") {
        let Some(slo) = Fields::checked(node) else { continue };
        let Some(share) = sloth_share(&slo, node, faults) else { continue };
        if std::mem::replace(&mut is_taken, true) {
            faults.add(slo.place("name"), format!("{service} has an objective already"), "keep one of them instead");
            continue;
        }
        let name = format!("{service}-{}", slo.text("name").unwrap_or_default());
        if slo.get("alerting").is_some() {
            imported.notes.push((slo.place("alerting"), format!("alerting {WINDOWS}")));
        }
        add(imported, (&name, &service), share, "Sloth");
    }
}

fn sloth_share(slo: &Fields<'_>, node: &Node, faults: &mut Faults) -> Option<i64> {
    for (field, at, _) in slo.all {
        if !["name", "objective", "description", "labels", "sli", "alerting"].contains(&field.as_str()) {
            faults.add(*at, format!("`{field}` is unknown"), "take it out");
            return None;
        }
    }
    let sli = slo.get("sli").and_then(Fields::checked);
    let events = sli.as_ref().and_then(|sli| sli.get("events")).and_then(Fields::checked);
    let Some(events) = events else {
        let at = sli.as_ref().and_then(|sli| sli.all.first()).map_or(node.at, |(_, at, _)| *at);
        faults.add(
            at,
            "only objectives of events can be imported",
            "write `events: {error_query: …, total_query: …}` instead",
        );
        return None;
    };
    let errors = ["error_query", "errorQuery"].into_iter().find_map(|name| events.get(name));
    let Some(errors) = errors else {
        faults.add(events.at, "`error_query` is missing", "write `error_query: sum(rate(…))`");
        return None;
    };
    let query = errors.words();
    if query.contains("_bucket") || query.contains("le=") {
        let what =
            "an objective for latencies: evenkeel's count requests that fail, and compare latencies with their past";
        faults.add(errors.at, what, "take it out, or write a query of errors instead");
        return None;
    }
    let Some(objective) = slo.get("objective") else {
        faults.add(slo.at, "`objective` is missing", "write `objective: 99.9`");
        return None;
    };
    let share = decimal(objective, 4).filter(|share| (1..1_000_000).contains(share));
    if share.is_none() {
        faults.add(objective.at, "this is no percentage", "write 0.0001 to 99.9999 instead");
    }
    share
}

fn add(imported: &mut Imported, (name, service): (&str, &str), share_ppm: i64, of: &str) {
    let (whole, decimals) = (share_ppm / 10_000, format!("{:04}", share_ppm % 10_000));
    let decimals = decimals.trim_end_matches('0');
    let point = if decimals.is_empty() { "" } else { "." };
    let spec = format!("  service: {}\n  objective: {whole}{point}{decimals}%\n", quoted(service));
    imported.add("SLO", name, &format!("{name}, of {of}"), &spec);
}
