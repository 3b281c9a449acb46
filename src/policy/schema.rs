//! JSON Schemas (draft 2020-12) of documents, made of the descriptions by which documents are read.
//!
//! They know shapes: what they refuse, `evenkeel policy lint` refuses. Ranges of durations, shares and limits, and what
//! fields and documents say to each other, only the latter knows.

use super::actions::ACTIONS;
use super::document::{API_VERSION, ENVELOPE, KINDS, Kind};
use super::scenario::DETECTORS;
use super::shape::{Field, Shape};
use super::tuned;
use crate::alerts::alert::LABELS;
use crate::alerts::condition::MAX_BYTES;
use evenkeel_dataflows::MAX_ACTIONS;
use serde_json::{Map, Value as Json, json};

const DRAFT: &str = "https://json-schema.org/draft/2020-12/schema";

/// A whole number and its unit.
pub const DURATION: &str = "^[0-9]+ *(us|ms|s|m|h|d)$";

/// That of the documents of all kinds.
pub fn of_all() -> Json {
    let names = KINDS.map(|kind| kind.name);
    let cases = KINDS.iter().map(|kind| {
        let is_kind = json!({"properties": {"kind": {"const": kind.name}}, "required": ["kind"]});
        json!({"if": is_kind, "then": {"properties": {"spec": spec(kind)}}})
    });
    let cases = cases.collect::<Vec<_>>();
    let mut schema = document(json!({"enum": names}), json!({"type": "object"}));
    schema.extend([
        ("$schema".to_owned(), json!(DRAFT)),
        ("title".to_owned(), json!(format!("{API_VERSION} policy"))),
        ("allOf".to_owned(), json!(cases)),
    ]);
    Json::Object(schema)
}

/// That of the documents of a kind.
pub fn of_kind(kind: &Kind) -> Json {
    let mut schema = document(json!({"const": kind.name}), spec(kind));
    schema.extend([
        ("$schema".to_owned(), json!(DRAFT)),
        ("title".to_owned(), json!(format!("{API_VERSION} {}", kind.name))),
        ("description".to_owned(), json!(kind.about)),
    ]);
    Json::Object(schema)
}

fn document(kind: Json, spec: Json) -> Map<String, Json> {
    let mut schema = object(&ENVELOPE);
    schema["properties"]["kind"] = kind;
    schema["properties"]["spec"] = spec;
    schema
}

fn spec(kind: &Kind) -> Json {
    let mut schema = object(kind.fields);
    schema.insert("description".to_owned(), json!(kind.about));
    if !kind.part.is_empty()
        && let Some(properties) = schema["properties"].as_object_mut()
    {
        properties.extend(tuned::schemas(&tuned::part(kind.part)));
    }
    Json::Object(schema)
}

fn object(fields: &[Field]) -> Map<String, Json> {
    let property = |field: &Field| {
        let mut schema = of_shape(&field.shape);
        schema["description"] = json!(field.about);
        (field.name.to_owned(), schema)
    };
    let needed = fields.iter().filter(|field| field.needed.is_some()).map(|field| field.name).collect::<Vec<_>>();
    let properties = fields.iter().map(property).collect::<Map<_, _>>();
    let mut schema = Map::new();
    schema.insert("type".to_owned(), json!("object"));
    schema.insert("additionalProperties".to_owned(), json!(false));
    schema.insert("required".to_owned(), json!(needed));
    schema.insert("properties".to_owned(), json!(properties));
    schema
}

/// An action: its name, or its name and its fields.
fn actions() -> Json {
    let names = ACTIONS.map(|(name, _)| name);
    let fields = ACTIONS.iter().map(|(name, fields)| ((*name).to_owned(), Json::Object(object(fields))));
    let fields = fields.collect::<Map<_, _>>();
    let one = json!({"type": "object", "properties": fields, "additionalProperties": false, "minProperties": 1, "maxProperties": 1});
    json!({"anyOf": [{"enum": names}, one]})
}

fn of_shape(shape: &Shape) -> Json {
    let text = |pattern: &str, example: &str| json!({"type": "string", "pattern": pattern, "examples": [example]});
    match shape {
        Shape::Name(example) => text("^[a-z0-9][a-z0-9-]{0,62}$", example),
        Shape::Text(example) => json!({"type": "string", "minLength": 1, "maxLength": 256, "examples": [example]}),
        Shape::Address(example) => text("^[!-?A-~]+@[!-?A-~]+$", example),
        Shape::Service => json!({"type": "string", "minLength": 1, "maxLength": 256, "examples": ["checkout", "*"]}),
        Shape::Choice(_, choices) => json!({"enum": choices}),
        Shape::Number(from, to) => json!({"type": "integer", "minimum": from, "maximum": to}),
        Shape::Bool => json!({"type": "boolean"}),
        Shape::Duration(example, _) => text(DURATION, example),
        Shape::Share(example, _) => text(r"^[0-9]+(\.[0-9]{0,4})? *%$", example),
        Shape::Time => json!({"type": "string", "format": "date-time", "pattern": "^[0-9]{4}-"}),
        Shape::Label => text(&format!("^ *({}) *(=~|!~|!=|=)", LABELS.join("|")), "service=checkout"),
        Shape::Condition => {
            json!({"type": "string", "maxLength": MAX_BYTES, "examples": ["incident.services.size() >= 3"]})
        }
        Shape::List(_, of) => json!({"type": "array", "items": of_shape(of)}),
        Shape::Map(_, fields) => Json::Object(object(fields)),
        Shape::Each(_, of) => json!({"type": "object", "additionalProperties": of_shape(of)}),
        Shape::Turn => text(&format!("^(daily|weekly|{})$", DURATION.trim_matches(['^', '$'])), "weekly"),
        Shape::Answers => {
            let one = actions();
            let several = json!({"type": "array", "items": one, "maxItems": MAX_ACTIONS});
            json!({"type": "object", "propertyNames": {"enum": DETECTORS[..DETECTORS.len() - 1]}, "additionalProperties": {"anyOf": [one, several]}})
        }
        Shape::Spec => json!({"type": "object"}),
    }
}
