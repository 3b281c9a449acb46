//! [`Node`]: YAML with the place of everything in it.
//!
//! Plain words are what YAML 1.2 says: `null`, `true`, `false` and whole numbers, and texts otherwise. Aliases and tags are
//! refused: a document of a few lines could otherwise stand for gigabytes.

use super::fault::{Faults, Place};
use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span};
use serde_json::{Map, Value as Json};

/// A file longer than this is not read, bytes.
pub const MAX_FILE_BYTES: usize = 1 << 20;

/// Lists and mappings lie at most so deep in each other.
const MAX_DEPTH: usize = 16;

/// Something in a document, and where it begins.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Where it begins.
    pub at: Place,
    /// If it is a text as it stands in one line, so many characters before it: a quote.
    inset: Option<usize>,
    /// What it is.
    pub value: Value,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing, or `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Number(i64),
    /// Any other word, and what stands in quotes.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// Names, where they stand, and what they name, in the order of the document.
    Map(Vec<(String, Place, Node)>),
}

impl Node {
    /// In words, for a person who wrote something else than was asked for.
    pub fn words(&self) -> String {
        match &self.value {
            Value::Null => "nothing".to_owned(),
            Value::Bool(is) => format!("`{is}`"),
            Value::Number(number) => format!("`{number}`"),
            Value::Text(text) => format!("`{text}`"),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a mapping".to_owned(),
        }
    }

    /// Something that begins there.
    pub fn at(at: Place, value: Value) -> Self {
        Self { at, inset: None, value }
    }

    /// The place after so many characters of a text, as far as that can be known.
    pub fn inside(&self, after: usize) -> Place {
        let column = self.inset.map_or(self.at.column, |inset| self.at.column + inset + after);
        Place { column, ..self.at }
    }

    /// Its text, if it is one.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// From JSON, as [`Node::to_json`] made it; all of it in one place.
    pub fn from_json(json: &Json) -> Self {
        let value = match json {
            Json::Null => Value::Null,
            Json::Bool(is) => Value::Bool(*is),
            Json::Number(number) => number.as_i64().map_or_else(|| Value::Text(number.to_string()), Value::Number),
            Json::String(text) => Value::Text(text.clone()),
            Json::Array(values) => Value::List(values.iter().map(Self::from_json).collect()),
            Json::Object(fields) => {
                let field = |(name, value): (&String, &Json)| (name.clone(), Place::default(), Self::from_json(value));
                Value::Map(fields.iter().map(field).collect())
            }
        };
        Self::at(Place::default(), value)
    }

    /// As JSON, names sorted.
    pub fn to_json(&self) -> Json {
        match &self.value {
            Value::Null => Json::Null,
            Value::Bool(is) => Json::Bool(*is),
            Value::Number(number) => Json::from(*number),
            Value::Text(text) => Json::from(text.as_str()),
            Value::List(nodes) => nodes.iter().map(Self::to_json).collect(),
            Value::Map(fields) => {
                Json::Object(fields.iter().map(|(name, _, node)| (name.clone(), node.to_json())).collect::<Map<_, _>>())
            }
        }
    }
}

/// The documents of a file; what is wrong with its YAML is added to `faults`, and ends it.
pub fn documents(text: &str, faults: &mut Faults) -> Vec<Node> {
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text.trim_start_matches('\u{feff}')) {
        let (event, span) = match event {
            Ok(event) => event,
            Err(error) => {
                let (what, fix) = advice(error.info());
                faults.add(place(error.marker()), what, fix);
                break;
            }
        };
        if !builder.take(event, span, faults) {
            break;
        }
    }
    builder.documents
}

fn place(marker: &Marker) -> Place {
    Place { line: marker.line().max(1), column: marker.col() + 1 }
}

/// What to do about what the parser says.
fn advice(info: &str) -> (String, &'static str) {
    let fix = if info.contains("tab") {
        "indent with spaces instead"
    } else if info.contains("mapping values") {
        "put the text in quotes, or begin the next name on a line of its own, instead"
    } else if info.contains("flow") || info.contains("','") {
        "close what was opened with `[` or `{`, with commas in between, instead"
    } else if info.contains("quoted") {
        "close the quotes instead"
    } else {
        "write names, a colon, a space and a value, those that belong together indented alike, instead"
    };
    (format!("this is no YAML: {info}"), fix)
}

#[derive(Default)]
struct Builder {
    documents: Vec<Node>,
    /// What is not closed yet, outermost first; of a mapping with the name that waits for its value.
    open: Vec<(Node, Option<(String, Place)>)>,
}

impl Builder {
    /// Takes in an event; whether to go on.
    fn take(&mut self, event: Event<'_>, span: Span, faults: &mut Faults) -> bool {
        let at = place(&span.start);
        let tag = match &event {
            Event::Scalar(.., tag) | Event::SequenceStart(_, tag) | Event::MappingStart(_, tag) => tag.as_ref(),
            _ => None,
        };
        if let Some(tag) = tag {
            faults.add(at, format!("the tag `{tag}` means nothing here"), "write the value alone instead");
        }
        match event {
            Event::Alias(_) => faults.add(at, "aliases are not followed", "write the value out instead"),
            Event::Scalar(text, style, ..) => {
                let inset = usize::from(style != ScalarStyle::Plain);
                let is_as_written = span.end.line() == span.start.line()
                    && span.end.col().saturating_sub(span.start.col()) == text.chars().count() + 2 * inset;
                let value = if style == ScalarStyle::Plain { word(&text) } else { Value::Text(text.into_owned()) };
                self.put(Node { at, inset: is_as_written.then_some(inset), value }, faults);
            }
            Event::SequenceStart(..) | Event::MappingStart(..) if self.open.len() >= MAX_DEPTH => {
                faults.add(at, format!("this lies more than {MAX_DEPTH} levels deep"), "write fewer levels instead");
                return false;
            }
            Event::SequenceStart(..) => self.open.push((Node::at(at, Value::List(Vec::new())), None)),
            Event::MappingStart(..) => self.open.push((Node::at(at, Value::Map(Vec::new())), None)),
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some((node, _)) = self.open.pop() {
                    self.put(node, faults);
                }
            }
            _ => {}
        }
        true
    }

    /// Puts a whole node where it belongs.
    fn put(&mut self, node: Node, faults: &mut Faults) {
        let Some((parent, waiting)) = self.open.last_mut() else { return self.documents.push(node) };
        match &mut parent.value {
            Value::List(nodes) => nodes.push(node),
            Value::Map(fields) => match waiting.take() {
                None => *waiting = Some((name(&node, faults), node.at)),
                Some((name, at)) => match fields.iter().find(|(other, ..)| *other == name) {
                    None => fields.push((name, at, node)),
                    Some((_, first, _)) => {
                        let what = format!("`{name}` stands here twice, the first time in line {}", first.line);
                        faults.add(at, what, "keep one of them instead");
                    }
                },
            },
            _ => {}
        }
    }
}

/// A name in a mapping.
fn name(node: &Node, faults: &mut Faults) -> String {
    match &node.value {
        Value::Text(text) => text.clone(),
        Value::Bool(is) => is.to_string(),
        Value::Number(number) => number.to_string(),
        _ => {
            faults.add(node.at, format!("{} is no name", node.words()), "write one word before the colon instead");
            String::new()
        }
    }
}

fn word(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        text => text.parse().map_or_else(|_| Value::Text(text.to_owned()), Value::Number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Vec<Node>, Vec<String>) {
        let mut faults = Faults::of("x.yaml");
        let nodes = documents(text, &mut faults);
        (nodes, faults.all.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn words_have_types_and_places() {
        let (nodes, faults) = read("# a comment\na: 1\nb: [x, \"2\", true, ~, 99.9%]\n---\nc:\n  d: é x\n");
        assert_eq!(faults, Vec::<String>::new());
        assert_eq!(nodes[0].to_json(), serde_json::json!({"a": 1, "b": ["x", "2", true, null, "99.9%"]}));
        assert_eq!(Node::from_json(&nodes[0].to_json()).to_json(), nodes[0].to_json());
        let Value::Map(fields) = &nodes[1].value else { panic!("a mapping") };
        assert_eq!((fields[0].1, fields[0].2.at), (Place { line: 5, column: 1 }, Place { line: 6, column: 3 }));
    }

    #[test]
    fn what_is_no_plain_document_is_said_with_its_place() {
        for (text, place) in [
            ("a: 1\na: 2\n", "x.yaml:2:1: `a` stands here twice"),
            ("a: &x 1\nb: *x\n", "x.yaml:2:4: aliases"),
            ("a: !!str 1\n", "x.yaml:1:"),
            ("a: \"x\n", "x.yaml:"),
            ("a: [1, 2\n", "x.yaml:"),
            ("a:\n\t- 1\n", "x.yaml:2:"),
            ("[a]: 1\n", "x.yaml:1:1: a list is no name"),
        ] {
            let (_, faults) = read(text);
            assert!(faults.first().is_some_and(|fault| fault.starts_with(place)), "{text:?}: {faults:?}");
        }
        let (_, faults) = read(&"[".repeat(100_000));
        assert_eq!(faults.len(), 1, "{faults:?}");
    }
}
