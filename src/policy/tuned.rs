//! [`Setting`]: the fields of a document that are fields of the tuning.
//!
//! Their names are those of [`Tuning`], but for times: `recovery.cooldown_s` is written `cooldown: 30s`, with its unit where
//! everybody reads it. Types come from the defaults, ranges from [`Tuning::check`]: there is no second list of either.

use super::fault::{Faults, Place};
use super::fields::duration_us;
use super::schema::DURATION;
use super::yaml::{Node, Value};
use evenkeel_dataflows::Tuning;
use serde_json::{Map, Value as Json, json};

/// Ends of names of times in the tuning, and how many µs such a time is counted in.
const TIMES: [(&str, &str, i64); 5] = [
    ("_us", "us", 1),
    ("_ms", "ms", 1_000),
    ("_s", "s", 1_000_000),
    ("_min", "m", 60_000_000),
    ("_h", "h", 3_600_000_000),
];

/// A field of the tuning that a document sets.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// The field, outermost name first, as in the tuning.
    pub path: Vec<String>,
    /// Where its value stands.
    pub at: Place,
    /// The value.
    pub value: Json,
    /// In which unit the tuning counts it, if it is a time.
    unit: &'static str,
}

impl Setting {
    /// A field that is written otherwise in documents than in the tuning.
    pub fn new(path: &[&str], at: Place, value: Json) -> Self {
        Self { path: path.iter().map(|name| (*name).to_owned()).collect(), at, value, unit: "" }
    }

    /// Its path, with points.
    pub fn name(&self) -> String {
        self.path.join(".")
    }

    /// Puts it into settings, as orders bring them.
    pub fn put(&self, settings: &mut Map<String, Json>) {
        let (last, parents) = self.path.split_last().expect("a setting has a name");
        let mut inner = settings;
        for name in parents {
            let entry = inner.entry(name.as_str()).or_insert_with(|| Json::Object(Map::new()));
            inner = entry.as_object_mut().expect("a field of the tuning holds others, or a value, and never both");
        }
        inner.insert(last.clone(), self.value.clone());
    }

    /// Adds a rule that it breaks, in the words of [`Tuning::faults`].
    pub fn breaks(&self, rule: &str, faults: &mut Faults) {
        let range = rule.split_once(": ").map_or(rule, |(_, range)| range);
        // A rule for several fields names each of them before its range.
        let last = self.path.last().map_or("", String::as_str);
        let own = range.split(", ").find_map(|part| part.strip_prefix(last)?.strip_prefix(' '));
        let range = own.unwrap_or(range);
        let unit = if self.unit.is_empty() { String::new() } else { format!(" {}", self.unit) };
        let (name, value) = (self.name(), &self.value);
        faults.add(self.at, format!("{name}: {value}{unit} is out of range"), format!("write {range}{unit} instead"));
    }
}

/// The default of a part of the tuning, e.g. `recovery`: its fields and their types.
pub fn part(name: &str) -> Map<String, Json> {
    let all = serde_json::to_value(Tuning::default()).expect("a tuning is numbers, names and lists");
    all[name].as_object().cloned().unwrap_or_default()
}

/// A field as documents name it, and its unit if it is a time.
fn written(name: &str) -> (&str, Option<(&'static str, i64)>) {
    let time = TIMES.iter().find_map(|(end, unit, us)| Some((name.strip_suffix(end)?, Some((*unit, *us)))));
    time.unwrap_or((name, None))
}

/// The names of the fields of `part`, as documents write them.
pub fn names(part: &Map<String, Json>) -> Vec<&str> {
    part.keys().map(|name| written(name).0).collect()
}

/// Reads those `fields` that are fields of `part`, which lies at `path` in the tuning; `others` are known to somebody else.
pub fn read(
    fields: &[(String, Place, Node)],
    (path, part): (&[String], &Map<String, Json>),
    others: &[&str],
    faults: &mut Faults,
) -> Vec<Setting> {
    let mut settings = Vec::new();
    for (name, at, node) in fields.iter().filter(|(name, ..)| !others.contains(&name.as_str())) {
        let Some((field, default)) = part.iter().find(|(field, _)| written(field).0 == name) else {
            unknown(name, *at, part, others, faults);
            continue;
        };
        let path = path.iter().cloned().chain([field.clone()]).collect::<Vec<_>>();
        if let (Json::Object(inner), Value::Map(fields)) = (default, &node.value) {
            settings.extend(read(fields, (&path, inner), &[], faults));
            continue;
        }
        let time = written(field).1;
        let Some(value) = value(node, (default, time), faults) else { continue };
        let setting = Setting { path, at: node.at, value, unit: time.map_or("", |(unit, _)| unit) };
        match Tuning::default().with_unchecked(&setting.alone()) {
            Ok(_) => settings.push(setting),
            Err(why) => {
                let what = format!("{} does not fit: {}", node.words(), why.trim_start_matches("settings: "));
                faults.add(node.at, what, format!("write a value like `{default}` instead"));
            }
        }
    }
    settings
}

/// The JSON Schemas of the fields of `part`, by name: types of the defaults, and the defaults.
pub fn schemas(part: &Map<String, Json>) -> Map<String, Json> {
    let schema = |(field, default): (&String, &Json)| {
        let (name, time) = written(field);
        let schema = match (default, time) {
            (_, Some((unit, _))) => {
                json!({"type": "string", "pattern": DURATION, "default": format!("{default}{unit}")})
            }
            (Json::Object(inner), _) => {
                json!({"type": "object", "additionalProperties": false, "properties": schemas(inner)})
            }
            (Json::Array(_), _) => json!({"type": "array", "items": {"type": "string"}, "default": default}),
            (Json::Bool(_), _) => json!({"type": "boolean", "default": default}),
            (Json::Number(_), _) => json!({"type": "integer", "minimum": 0, "default": default}),
            _ => json!({"default": default}),
        };
        (name.to_owned(), schema)
    };
    part.iter().map(schema).collect()
}

fn unknown(name: &str, at: Place, part: &Map<String, Json>, others: &[&str], faults: &mut Faults) {
    let (short, time) = written(name);
    match time.filter(|_| part.contains_key(name)) {
        Some((unit, _)) => {
            let fix = format!("write `{short}:` and a number with its unit, as `30{unit}`, instead");
            faults.add(at, format!("`{name}` is a time, and its unit goes to its value"), fix);
        }
        None => {
            let known = [others, &names(part)].concat();
            faults.unknown(at, format!("there is no field `{name}` here"), name, &known);
        }
    }
}

/// A value of the type of the default.
fn value(node: &Node, (default, time): (&Json, Option<(&str, i64)>), faults: &mut Faults) -> Option<Json> {
    if let Some((unit, unit_us)) = time {
        let us = duration_us(node, &format!("{default}{unit}"), faults)?;
        if us % unit_us != 0 {
            let fix = format!("write `{}{unit}` instead", us / unit_us + 1);
            faults.add(node.at, format!("{} is no whole number of {unit}", node.words()), fix);
            return None;
        }
        return Some(Json::from(us / unit_us));
    }
    let expected = match (default, &node.value) {
        (Json::Number(_), Value::Number(0..)) | (Json::Bool(_), Value::Bool(_)) => return Some(node.to_json()),
        (Json::Number(_), Value::Number(_)) => "0 or more".to_owned(),
        (Json::Array(_), Value::List(nodes)) if nodes.iter().all(|it| matches!(it.value, Value::Text(_))) => {
            return Some(node.to_json());
        }
        (Json::Number(_), _) => format!("a whole number, as `{default}`,"),
        (Json::Bool(_), _) => "`true` or `false`".to_owned(),
        (Json::Array(_), _) => "a list of names, as `[pool.used]`,".to_owned(),
        (Json::Object(inner), _) => format!("a mapping of {}", names(inner).join(", ")),
        _ => format!("a value like `{default}`"),
    };
    faults.add(node.at, format!("{} does not belong here", node.words()), format!("write {expected} instead"));
    None
}

impl Setting {
    /// This setting alone.
    pub fn alone(&self) -> String {
        let mut settings = Map::new();
        self.put(&mut settings);
        Json::Object(settings).to_string()
    }
}
