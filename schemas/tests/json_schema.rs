//! The JSON Schema files say what the code does: every bound, default, enum and required field of them is tried at its
//! edge against the decoder, and every field that is written stands in them.
#![expect(clippy::unwrap_used, reason = "tests")]

use evenkeel_schemas::*;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

fn schema(name: &str) -> Value {
    let (_, text) = json_schemas().iter().find(|(known, _)| *known == name).unwrap();
    serde_json::from_str(text).unwrap()
}

fn object(bytes: &str) -> Map<String, Value> {
    serde_json::from_str(bytes).unwrap()
}

fn reason(topic: Topic, payload: &Map<String, Value>) -> Option<Reason> {
    let bytes = serde_json::to_vec(payload).unwrap();
    match Event::decode(Coordinates { topic, partition: 0, offset: 0 }, &bytes) {
        Event::Rejected(rejection) => Some(rejection.reason),
        _ => None,
    }
}

/// Inputs: topic, schema, sample.
fn inputs() -> Vec<(Topic, Value, Map<String, Value>)> {
    let mut inputs = vec![
        (Topic::Requests, schema("request"), object(include_str!("../golden/request.v1.json"))),
        (Topic::Telemetry, schema("telemetry"), object(include_str!("../golden/telemetry.v1.json"))),
        (Topic::Probes, schema("probe"), object(include_str!("../golden/probe.v1.json"))),
        (Topic::Outcomes, schema("outcome"), object(include_str!("../golden/outcome.v1.json"))),
    ];
    for sample in
        [include_str!("../golden/audit_event-finding.v1.json"), include_str!("../golden/audit_event-access.v1.json")]
    {
        inputs.push((Topic::AuditEvents, schema("audit_event"), object(sample)));
    }
    let orders = [
        include_str!("../golden/control-set-mode.v1.json"),
        include_str!("../golden/control-kill-switch.v1.json"),
        include_str!("../golden/control-approve.v1.json"),
        include_str!("../golden/control-reject.v1.json"),
        include_str!("../golden/control-break-glass.v1.json"),
        include_str!("../golden/control-resume.v1.json"),
        include_str!("../golden/control-retire-node.v1.json"),
        include_str!("../golden/control-maintenance.v1.json"),
        include_str!("../golden/control-exclude-from-baseline.v1.json"),
        include_str!("../golden/control-link.v1.json"),
        include_str!("../golden/control-unlink.v1.json"),
        include_str!("../golden/control-change.v1.json"),
        include_str!("../golden/control-apply-policy.v1.json"),
    ];
    let control = schema("control");
    for (at, order) in orders.into_iter().enumerate() {
        inputs.push((Topic::Control, control["oneOf"][at].clone(), object(order)));
    }
    inputs
}

/// Values at the edges that a field's schema draws: (value, whether it is inside).
fn edges(field: &Value) -> Vec<(Value, bool)> {
    let admits = |kind: &str| field["type"].as_array().is_some_and(|types| types.contains(&json!(kind)));
    let mut edges = vec![(json!([]), field["type"] == "array"), (json!({}), admits("object"))];
    if let Some(most) = field["maxItems"].as_u64() {
        let list = |length: u64| json!(vec![field["items"]["enum"][0].clone(); length as usize]);
        edges.extend([(list(most), true), (list(most + 1), false), (json!(["x"]), false)]);
    }
    let integer = field["type"] == "integer";
    if let Some(minimum) = field["minimum"].as_i64() {
        let below = if integer { json!(minimum - 1) } else { json!(minimum as f64 * 1.001) };
        edges.extend([(json!(minimum), true), (below, false)]);
    }
    if let Some(maximum) = field["maximum"].as_i64() {
        let above = if integer { json!(maximum + 1) } else { json!(maximum as f64 * 1.001) };
        edges.extend([(json!(maximum), true), (above, false)]);
    }
    if let Some(bound) = field["exclusiveMinimum"].as_f64() {
        edges.extend([(json!(bound), false), (json!(bound + 1e-9), true)]);
    }
    if let Some(length) = field["maxLength"].as_u64() {
        let word = |length: u64| json!("x".repeat(length as usize));
        edges.extend([(word(length), true), (word(length + 1), false)]);
    }
    if field["type"] == "string" {
        edges.push((json!(""), field["minLength"].as_u64().unwrap_or(0) == 0));
        edges.push((json!(1), false));
    } else {
        edges.push((json!("x"), admits("string")));
    }
    edges.push((Value::Null, admits("null")));
    edges.extend(field["enum"].as_array().into_iter().flatten().map(|value| (value.clone(), true)));
    edges
}

#[test]
fn inputs_are_bounded_as_their_schemas_say() {
    for (topic, schema, sample) in inputs() {
        assert_eq!(reason(topic, &sample), None);
        for (name, field) in schema["properties"].as_object().unwrap() {
            for (value, inside) in edges(field) {
                let mut payload = sample.clone();
                payload.insert(name.clone(), value.clone());
                let found = reason(topic, &payload);
                assert_eq!(found.is_none(), inside, "{topic:?} {name} = {value}: {found:?}");
            }
        }
    }
}

#[test]
fn required_fields_are_required_and_others_have_their_defaults() {
    for (topic, schema, sample) in inputs() {
        let required = schema["required"].as_array().unwrap();
        for (name, field) in schema["properties"].as_object().unwrap() {
            let mut without = sample.clone();
            without.remove(name);
            if required.contains(&json!(name)) {
                assert_eq!(reason(topic, &without), Some(Reason::WrongShape), "{topic:?} without {name}");
                continue;
            }
            let mut with = without.clone();
            with.insert(name.clone(), field["default"].clone());
            let [without, with] = [without, with].map(|payload| serde_json::to_vec(&payload).unwrap());
            let at = Coordinates { topic, partition: 0, offset: 0 };
            let event = Event::decode(at, &without);
            assert!(!matches!(event, Event::Rejected(_)), "{topic:?} without {name}: {event:?}");
            assert_eq!(event, Event::decode(at, &with), "{topic:?} default of {name}");
        }
        assert!(sample.keys().all(|name| schema["properties"].get(name).is_some()), "{topic:?} sample");
    }
}

#[test]
fn outputs_write_exactly_the_fields_of_their_schemas() {
    let outputs = [
        ("baseline", include_str!("../golden/baseline.v1.json")),
        ("command", include_str!("../golden/command.v1.json")),
        ("incident", include_str!("../golden/incident.v1.json")),
        ("rejection", include_str!("../golden/rejection.v1.json")),
        ("rollup", include_str!("../golden/rollup.v1.json")),
        ("verdict", include_str!("../golden/verdict.v1.json")),
    ];
    for (name, bytes) in outputs {
        assert_fields(&object(bytes), &schema(name));
    }
    let (incident, baseline) = (object(outputs[2].1), object(outputs[0].1));
    assert_fields(incident["cause"].as_object().unwrap(), &schema("incident")["properties"]["cause"]);
    let listed = schema("incident");
    for list in ["candidates", "changes", "shared"] {
        assert_fields(incident[list][0].as_object().unwrap(), &listed["properties"][list]["items"]);
    }
    let statistics = baseline["windows"][0][1].as_object().unwrap();
    assert_fields(statistics, &schema("baseline")["$defs"]["statistics"]);
}

#[track_caller]
fn assert_fields(written: &Map<String, Value>, schema: &Value) {
    let mut required: Vec<_> =
        schema["required"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    required.sort_unstable();
    let sorted = |names: &Map<String, Value>| {
        let mut names: Vec<_> = names.keys().cloned().collect();
        names.sort_unstable();
        names
    };
    assert_eq!(sorted(written), required);
    assert_eq!(sorted(schema["properties"].as_object().unwrap()), required);
}

/// The variants that serde reads, from what it says to an unknown one.
fn variants<T: DeserializeOwned>() -> Vec<String> {
    let error = serde_json::from_str::<T>("\"?\"").err().unwrap().to_string();
    error.split('`').skip(1).step_by(2).filter(|name| *name != "?").map(str::to_owned).collect()
}

#[track_caller]
fn assert_enum<T: DeserializeOwned>(field: &Value) {
    let listed: Vec<_> = field["enum"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    assert_eq!(variants::<T>(), listed);
}

#[test]
fn enums_list_every_variant() {
    let [verdict, incident, command] = ["verdict", "incident", "command"].map(|name| schema(name)["properties"].take());
    assert_enum::<Detector>(&verdict["detector"]);
    assert_enum::<Decision>(&verdict["decision"]);
    assert_enum::<Detector>(&incident["cause"]["properties"]["detector"]);
    assert_enum::<IncidentState>(&incident["state"]);
    assert_enum::<Notice>(&incident["notice"]);
    let suspect = &incident["candidates"]["items"]["properties"];
    assert_enum::<Detector>(&suspect["detector"]);
    assert_enum::<Clue>(&suspect["inference"]["items"]);
    assert_enum::<Dimension>(&incident["shared"]["items"]["properties"]["dimension"]);
    assert_enum::<CommandKind>(&command["kind"]);
    assert_eq!(variants::<CommandKind>(), CommandKind::ALL.map(CommandKind::name));
    assert_enum::<Mode>(&command["mode"]);
    let rejection = schema("rejection")["properties"].take();
    assert_enum::<Reason>(&rejection["reason"]);
    assert_enum::<Topic>(&rejection["topic"]);
    assert_enum::<MetricKind>(&schema("telemetry")["properties"]["kind"]);
    assert_enum::<AuditEventType>(&schema("audit_event")["properties"]["event_type"]);
    assert_enum::<OutcomeStatus>(&schema("outcome")["properties"]["status"]);
    let control = schema("control");
    assert_enum::<Mode>(&control["oneOf"][0]["properties"]["mode"]);
    assert_enum::<Proof>(&control["oneOf"][2]["properties"]["proofs"]["items"]);
    for name in ["baseline", "incident", "rollup", "verdict"] {
        let mut dimensions = variants::<Dimension>();
        dimensions.sort_unstable();
        let schema = schema(name);
        let mut listed: Vec<_> = schema["$defs"]["key"]["properties"].as_object().unwrap().keys().cloned().collect();
        listed.sort_unstable();
        assert_eq!(dimensions, listed, "{name}");
    }
}

#[test]
fn changes_are_bounded_as_their_schema_says() {
    let sample = object(include_str!("../golden/change.v1.json"));
    let envelope = &schema("change")["$defs"]["envelope"];
    for letter in ('a'..='z').map(String::from) {
        let mut payload = sample.clone();
        payload.insert("op".into(), json!(letter));
        let listed = envelope["properties"]["op"]["enum"].as_array().unwrap().contains(&json!(letter));
        assert_eq!(reason(Topic::Changes, &payload).is_none(), listed, "{letter}");
        payload.insert("before".into(), Value::Null);
        payload.remove("after");
        let rowless = envelope["if"]["properties"]["op"]["enum"].as_array().unwrap().contains(&json!(letter));
        assert_eq!(reason(Topic::Changes, &payload).is_none(), listed && !rowless, "{letter} without a row");
    }
    for name in envelope["required"].as_array().unwrap() {
        let mut payload = sample.clone();
        payload.remove(name.as_str().unwrap());
        assert_eq!(reason(Topic::Changes, &payload), Some(Reason::WrongShape), "without {name}");
    }
}

#[test]
fn every_file_is_a_schema_with_a_title() {
    let names: Vec<_> = json_schemas().iter().map(|(name, _)| *name).collect();
    assert!(names.is_sorted());
    for name in names {
        let schema = schema(name);
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
        assert_eq!(schema["$id"], format!("urn:evenkeel:schema:{name}:v1"));
        assert!(schema["title"].is_string() && schema["description"].is_string(), "{name}");
    }
}
