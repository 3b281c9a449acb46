//! Actions as documents write them: what is done when a detector finds something.
//!
//! ```yaml
//! do:
//!   canary: rollback
//!   error_rate: [rollback, {reroute: {to: cache, percent: 50%, step: 10%}}, trip_circuit]
//!   latency: {throttle: {percent: 30%}}
//!   leak: []                                       # nothing
//! ```
//! An action is a name, or a name and its fields. The types of fields are here, their ranges with the action.

use super::fault::Faults;
use super::fields::{Fields, boolean, choice, duration_us, share_ppm, text};
use super::scenario::DETECTORS;
use super::shape::{Field, Shape, may, must};
use super::tuned::Setting;
use super::yaml::{Node, Value};
use evenkeel_dataflows::{Action, MAX_ACTIONS};
use serde_json::{Map, Value as Json, json};

const PERCENT: Shape = share("50%");

const STEP: Field = may("step", share("10%"), "By how much at a time.");

const fn share(example: &'static str) -> Shape {
    Shape::Share(example, (0, 1_000_000))
}

/// Every action, and its fields.
pub const ACTIONS: [(&str, &[Field]); 14] = [
    ("trip_circuit", &[]),
    ("restart_node", &[]),
    ("scale", &[]),
    (
        "reroute",
        &[
            must("to", Shape::Text("cache"), "cache", "Where to."),
            may("percent", PERCENT, "How much of the traffic."),
            STEP,
        ],
    ),
    ("limit_errors", &[must("percent", share("5%"), "5%", "How many requests may fail.")]),
    ("throttle", &[must("percent", PERCENT, "50%", "How much of the traffic is let through."), STEP]),
    ("drain", &[]),
    ("isolate", &[]),
    (
        "failover",
        &[
            must("to", Shape::Text("eu-2"), "eu-2", "Who takes over."),
            may("lease", Shape::Duration("10s", (0, 86_400_000_000)), "For how long at a time."),
        ],
    ),
    ("rollback", &[]),
    (
        "split_traffic",
        &[
            may("to", Shape::Text("2.4.0"), "The version; the one before by default."),
            may("percent", PERCENT, "How much of the traffic."),
            STEP,
        ],
    ),
    (
        "set_flag",
        &[
            must("flag", Shape::Text("new-cart"), "new-cart", "Its name."),
            must("on", Shape::Bool, "false", "How it is to be."),
        ],
    ),
    ("redeploy", &[must("digest", Shape::Text("sha256:…"), "sha256:…", "That of the image.")]),
    (
        "run_script",
        &[
            must("script", Shape::Text("restart-worker"), "restart-worker", "Its name among those allowed."),
            may("args", Shape::List("[\"{service}\"]", &Shape::Text("{service}")), "Its arguments."),
        ],
    ),
];

/// Reads `do`: for `service`, by detector.
pub fn read(node: &Node, service: &str, faults: &mut Faults) -> Vec<Setting> {
    let Value::Map(all) = &node.value else {
        let fix = "write a mapping of detectors to actions, as `{canary: rollback}`, instead";
        faults.add(node.at, format!("`do` is {}", node.words()), fix);
        return Vec::new();
    };
    let mut settings = Vec::new();
    for (name, at, node) in all {
        let Some(detector) = DETECTORS.iter().find(|detector| *detector == name && **detector != "any") else {
            faults.unknown(*at, format!("there is no detector `{name}`"), name, &DETECTORS[..DETECTORS.len() - 1]);
            continue;
        };
        let listed = match &node.value {
            Value::List(nodes) => nodes.iter().collect::<Vec<_>>(),
            _ => vec![node],
        };
        if listed.len() > MAX_ACTIONS {
            let what = format!("`{name}` has {} actions", listed.len());
            faults.add(node.at, what, format!("write at most {MAX_ACTIONS} instead"));
            continue;
        }
        let actions = listed.iter().filter_map(|node| action(node, faults)).collect::<Vec<_>>();
        if actions.len() == listed.len() {
            settings.push(Setting::new(&["answers", service, detector], node.at, json!(actions)));
        }
    }
    settings
}

/// An action, as the tuning has it.
fn action(node: &Node, faults: &mut Faults) -> Option<Json> {
    let names = ACTIONS.map(|(name, _)| name);
    let nothing = Node::at(node.at, Value::Map(Vec::new()));
    let (name, inner) = match &node.value {
        Value::Map(fields) => {
            let [(name, at, inner)] = fields.as_slice() else {
                let what = format!("an action has one name, and not {}", fields.len());
                faults.add(node.at, what, "write each as an item of a list, as `[rollback, {reroute: {to: cache}}]`");
                return None;
            };
            let name = choice(&Node::at(*at, Value::Text(name.clone())), "action", &names, faults)?;
            (name, if inner.value == Value::Null { &nothing } else { inner })
        }
        _ => (choice(node, "action", &names, faults)?, &nothing),
    };
    let (_, known) = ACTIONS.iter().find(|(known, _)| *known == name)?;
    let before = faults.all.len();
    let fields = fields(name, inner, known, faults)?;
    if faults.all.len() > before {
        return None;
    }
    let json = if known.is_empty() { json!(name) } else { json!({ name: fields }) };
    let action = serde_json::from_value::<Action>(json.clone());
    let fault = action.map_or_else(|error| Some(error.to_string()), |action| action.fault().map(str::to_owned));
    let Some(fault) = fault else { return Some(json) };
    let (field, range) = fault.split_once(": ").unwrap_or(("", &fault));
    let at = Fields::checked(inner).and_then(|fields| fields.get(field)).map_or(inner.at, |node| node.at);
    faults.add(at, format!("`{field}` of {name} is out of range"), format!("write {range} instead"));
    None
}

fn fields(name: &str, node: &Node, known: &[Field], faults: &mut Faults) -> Option<Map<String, Json>> {
    if known.is_empty() && node.value != Value::Map(Vec::new()) {
        faults.add(node.at, format!("{name} has no fields"), format!("write `{name}` alone instead"));
        return None;
    }
    let fields = Fields::of(node, name, known, faults)?;
    let read = |field: &Field| value(field, fields.get(field.name)?, faults);
    Some(known.iter().filter_map(read).collect())
}

/// A field as the tuning calls it, and its value there; what is of another shape was said.
fn value(field: &Field, node: &Node, faults: &mut Faults) -> Option<(String, Json)> {
    let mut whole = |value: i64, (unit, name): (i64, &str)| {
        if value % unit != 0 {
            faults.add(node.at, "it is no whole number", format!("write `{}{name}` instead", value / unit + 1));
            return None;
        }
        Some(json!(value / unit))
    };
    let unsaid = &mut Faults::of("");
    let value = match field.shape {
        Shape::Share(example, _) => whole(share_ppm(node, example, unsaid)?, (10_000, "%"))?,
        Shape::Duration(example, _) => {
            let seconds = whole(duration_us(node, example, unsaid)?, (1_000_000, "s"))?;
            return Some((format!("{}_s", field.name), seconds));
        }
        Shape::Bool => json!(boolean(node, unsaid)?),
        Shape::List(..) => match &node.value {
            Value::List(nodes) => json!(nodes.iter().map(|node| text(node, "", unsaid)).collect::<Option<Vec<_>>>()?),
            _ => return None,
        },
        _ => json!(text(node, "", unsaid)?),
    };
    Some((field.name.to_owned(), value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_schemas::CommandKind;

    #[test]
    fn every_action_has_its_fields() {
        let written = [
            "reroute: {to: cache}",
            "limit_errors: {percent: 5%}",
            "throttle: {percent: 30%}",
            "failover: {to: eu-2, lease: 20s}",
            "split_traffic: {}",
            "set_flag: {flag: new-cart, on: false}",
            "run_script: {script: x, args: [\"{service}\"]}",
        ];
        let digest = format!("redeploy: {{digest: \"sha256:{}\"}}", "a".repeat(64));
        let plain = ["trip_circuit", "restart_node", "scale", "drain", "isolate", "rollback"];
        let all = written.iter().chain(&plain).copied().chain([digest.as_str()]);
        let mut read_kinds = Vec::new();
        for text in all {
            let mut faults = Faults::of("test");
            let nodes = super::super::yaml::documents(text, &mut faults);
            let json = action(&nodes[0], &mut faults);
            assert_eq!(faults.all, [], "{text}");
            let action = serde_json::from_value::<Action>(json.expect(text)).expect(text);
            read_kinds.push(action.kind());
        }
        read_kinds.sort();
        // Half-open and close are what circuits do by themselves.
        let by_itself = [CommandKind::HalfOpen, CommandKind::CloseCircuit];
        let all = CommandKind::ALL.into_iter().filter(|kind| !by_itself.contains(kind));
        assert_eq!(read_kinds, all.collect::<Vec<_>>());
        assert_eq!(ACTIONS.map(|(name, _)| name).to_vec(), read_kinds.iter().map(|it| it.name()).collect::<Vec<_>>());
    }
}
