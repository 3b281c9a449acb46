//! [`Shape`] and [`Field`]: what documents may say. By them documents are read, and their JSON Schemas are made.

use super::document::identifier;
use super::fault::Faults;
use super::fields::{
    Fields, address, boolean, choice, condition, duration_us, label, number, service, share_ppm, text, time_us, turn_s,
    words_us,
};
use super::yaml::{Node, Value};

/// What a field may hold.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// A name of a document, like this one.
    Name(&'static str),
    /// A text of 1 to 256 bytes, like this one.
    Text(&'static str),
    /// An e-mail address, like this one.
    Address(&'static str),
    /// The name of a service, or `*`.
    Service,
    /// One of some words: what they are, and which there are.
    Choice(&'static str, &'static [&'static str]),
    /// A whole number, from and to.
    Number(i64, i64),
    /// `true` or `false`.
    Bool,
    /// A duration, from and to, µs; an example.
    Duration(&'static str, (i64, i64)),
    /// A share, from and to, parts per million; an example.
    Share(&'static str, (i64, i64)),
    /// A time.
    Time,
    /// A condition on a label of alerts.
    Label,
    /// A condition on an incident, in CEL.
    Condition,
    /// A list of such; an example.
    List(&'static str, &'static Self),
    /// A mapping: what it is called, and its fields.
    Map(&'static str, &'static [Field]),
    /// A mapping of names to such; an example.
    Each(&'static str, &'static Self),
    /// `daily`, `weekly` or a duration.
    Turn,
    /// What is done, by detector: see [`super::actions`], which checks it.
    Answers,
    /// What the kind of the document says.
    Spec,
}

/// A field of a mapping.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// What it may hold.
    pub shape: Shape,
    /// If it must be there, how it is written.
    pub needed: Option<&'static str>,
    /// What it says.
    pub about: &'static str,
}

/// A field that may be missing.
pub const fn may(name: &'static str, shape: Shape, about: &'static str) -> Field {
    Field { name, shape, needed: None, about }
}

/// A field that must be there; `example` shows how it is written.
pub const fn must(name: &'static str, shape: Shape, example: &'static str, about: &'static str) -> Field {
    Field { name, shape, needed: Some(example), about }
}

impl Shape {
    /// Says what is wrong with `node`.
    pub fn check(&self, node: &Node, faults: &mut Faults) {
        match self {
            Self::Name(example) => _ = identifier(node, example, faults),
            Self::Text(example) => _ = text(node, example, faults),
            Self::Address(example) => _ = address(node, example, faults),
            Self::Service => _ = service(node, faults),
            Self::Choice(what, choices) => _ = choice(node, what, choices, faults),
            Self::Number(from, to) => _ = number(node, *from..=*to, faults),
            Self::Bool => _ = boolean(node, faults),
            Self::Duration(example, (from, to)) => {
                let us = duration_us(node, example, faults);
                within(node, us, (*from, *to), words_us, faults);
            }
            Self::Share(example, (from, to)) => {
                let share = share_ppm(node, example, faults);
                within(node, share, (*from, *to), |ppm| format!("{}%", ppm as f64 / 1e4), faults);
            }
            Self::Time => _ = time_us(node, faults),
            Self::Label => _ = label(node, faults),
            Self::Condition => _ = condition(node, faults),
            Self::List(example, of) => match &node.value {
                Value::List(nodes) => nodes.iter().for_each(|node| of.check(node, faults)),
                _ => {
                    faults.add(node.at, format!("{} is no list", node.words()), format!("write `{example}` instead"));
                }
            },
            Self::Map(what, fields) => _ = Fields::of(node, what, fields, faults),
            Self::Each(example, of) => match &node.value {
                Value::Map(all) => all.iter().for_each(|(.., node)| of.check(node, faults)),
                _ => {
                    faults.add(
                        node.at,
                        format!("{} is no mapping", node.words()),
                        format!("write `{example}` instead"),
                    );
                }
            },
            Self::Turn => _ = turn_s(node, faults),
            Self::Answers | Self::Spec => {}
        }
    }
}

fn within(node: &Node, value: Option<i64>, (from, to): (i64, i64), words: impl Fn(i64) -> String, faults: &mut Faults) {
    if value.is_some_and(|value| !(from..=to).contains(&value)) {
        let fix = format!("write {} to {} instead", words(from), words(to));
        faults.add(node.at, format!("{} is out of range", node.words()), fix);
    }
}
