//! [`Condition`]: an expression in the Common Expression Language (CEL) that is true or false of an alert.
//!
//! # Decision
//! * Conditions are asked by the process that tells people, and never by the core: what the core decides is a function of
//!   its own code alone, and a library for expressions is none of ours.
//! * The work of one is bounded before it is first asked: a text of [`MAX_BYTES`], [`MAX_DEPTH`] brackets in each other, no
//!   loop inside a loop, lists of at most the services of an incident. There are no functions for clocks or chance.
//! * Names and functions are checked when it is read, and the whole is tried on an example: what is no condition is a fault
//!   then. What fails later all the same counts as true: somebody is told once too often rather than not at all.

use cel::common::ast::{EntryExpr, Expr, IdedExpr};
use cel::{Context, Env, Program, Value};
use serde_json::{Value as Json, json};
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

/// The longest condition, bytes.
pub const MAX_BYTES: usize = 512;

/// Brackets in each other at most, and conditional operators.
pub const MAX_DEPTH: usize = 16;

/// What is known of an incident.
const FACTS: [&str; 9] =
    ["id", "service", "services", "victims", "affected", "detector", "severity", "pages", "acknowledged"];

/// Functions beside the operators.
const FUNCTIONS: [&str; 5] = ["size", "startsWith", "endsWith", "contains", "matches"];

static STANDARD: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib()));

/// A condition.
#[derive(Clone, Debug)]
pub struct Condition {
    text: String,
    program: Arc<Program>,
}

impl PartialEq for Condition {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Condition {}

/// What is wrong with a condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// After so many characters of it.
    pub after: usize,
    /// What is wrong there.
    pub what: String,
    /// The name that is not known, and those that are, if that is what is wrong.
    pub unknown: Option<(String, &'static [&'static str])>,
}

fn wrong<T>(after: usize, what: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong { after, what: what.into(), unknown: None })
}

impl Condition {
    /// Reads one.
    ///
    /// # Errors
    /// Says what is wrong, and where.
    pub fn parse(text: &str) -> Result<Self, Wrong> {
        if text.len() > MAX_BYTES {
            return wrong(0, format!("a condition has at most {MAX_BYTES} bytes"));
        }
        let (mut depth, mut choices) = (0_usize, 0_usize);
        for (after, letter) in text.chars().enumerate() {
            match letter {
                '(' | '[' | '{' => depth += 1,
                ')' | ']' | '}' => depth = depth.saturating_sub(1),
                '?' => choices += 1,
                _ => {}
            }
            if depth.max(choices) > MAX_DEPTH {
                return wrong(after, format!("there are more than {MAX_DEPTH} brackets in each other, or choices"));
            }
        }
        let program = Program::compile(text).map_err(|errors| {
            let first = errors.errors.first();
            let what = first.map_or("no expression", |error| error.msg.lines().next().unwrap_or_default());
            let (line, column) = first.map_or((1, 1), |error| error.pos);
            let lines = text.lines().take(usize::try_from(line - 1).unwrap_or(0)).map(|line| line.chars().count() + 1);
            let after = lines.sum::<usize>() + usize::try_from(column - 1).unwrap_or(0);
            let what = what.trim_start_matches("Syntax error: ").replace("<EOF>", "the end");
            Wrong { after, what, unknown: None }
        })?;
        Names { program: &program, bound: Vec::new(), loops: 0 }.check(program.expression())?;
        let condition = Self { text: text.to_owned(), program: Arc::new(program) };
        match condition.value(&example()) {
            Ok(Value::Bool(_)) => Ok(condition),
            Ok(_) => wrong(0, "it is neither true nor false"),
            Err(why) => wrong(0, format!("of an incident of one service: {why}")),
        }
    }

    /// Whether it is true of an alert, whose facts these are.
    pub fn holds(&self, facts: &Json) -> bool {
        match self.value(facts) {
            Ok(value) => value != Value::Bool(false),
            Err(why) => {
                tracing::error!(condition = self.text, why, "a condition cannot be asked: it counts as true");
                true
            }
        }
    }

    fn value(&self, facts: &Json) -> Result<Value, String> {
        let mut context = Context::with_env(Arc::clone(&STANDARD));
        let facts = facts.as_object().into_iter().flatten().map(|(name, fact)| (name.clone(), value(fact)));
        context.add_variable_from_value("incident", facts.collect::<HashMap<_, _>>());
        self.program.execute(&context).map_err(|error| error.to_string())
    }
}

/// A fact in CEL; a number is always an `int`, so that it can be compared and added.
fn value(fact: &Json) -> Value {
    match fact {
        Json::Bool(is) => Value::Bool(*is),
        Json::Number(number) => Value::Int(number.as_i64().unwrap_or(i64::MAX)),
        Json::String(text) => Value::String(Arc::new(text.clone())),
        Json::Array(facts) => Value::List(Arc::new(facts.iter().map(value).collect())),
        Json::Null | Json::Object(_) => Value::Null,
    }
}

fn example() -> Json {
    json!({"id": "INC-e7d6e353c1dc", "service": "checkout", "services": ["checkout"], "victims": ["frontend"], "affected": 1,
        "detector": "error_burst", "severity": "critical", "pages": 1, "acknowledged": false})
}

/// Checks the names in an expression.
struct Names<'a> {
    program: &'a Program,
    /// Variables of the loops around.
    bound: Vec<&'a str>,
    loops: usize,
}

impl<'a> Names<'a> {
    fn fail(&self, at: &IdedExpr, what: String, unknown: Option<(&str, &'static [&'static str])>) -> Result<(), Wrong> {
        let after = self.program.source_info().offset_for(at.id).map_or(0, |(start, _)| start as usize);
        Err(Wrong { after, what, unknown: unknown.map(|(name, known)| (name.to_owned(), known)) })
    }

    fn check(&mut self, at: &'a IdedExpr) -> Result<(), Wrong> {
        match &at.expr {
            Expr::Unspecified | Expr::Literal(_) => Ok(()),
            Expr::Ident(name) => {
                if name == "incident" || name.starts_with('@') || self.bound.contains(&name.as_str()) {
                    return Ok(());
                }
                self.fail(at, format!("there is no `{name}` here"), Some((name.as_str(), &["incident"][..])))
            }
            Expr::Select(select) => {
                let of_incident = matches!(&select.operand.expr, Expr::Ident(name) if name == "incident");
                if of_incident && !FACTS.contains(&select.field.as_str()) {
                    let (what, name) = (format!("an incident has no `{}`", select.field), select.field.as_str());
                    return self.fail(&select.operand, what, Some((name, &FACTS[..])));
                }
                self.check(&select.operand)
            }
            Expr::Call(call) => {
                let name = call.func_name.as_str();
                let is_word =
                    name.chars().all(|letter| letter.is_alphanumeric() || letter == '_') && !name.starts_with('_');
                if is_word && !FUNCTIONS.contains(&name) {
                    return self.fail(at, format!("there is no function `{name}`"), Some((name, &FUNCTIONS[..])));
                }
                call.target.iter().map(|target| &**target).chain(&call.args).try_for_each(|inner| self.check(inner))
            }
            Expr::List(list) => list.elements.iter().try_for_each(|inner| self.check(inner)),
            Expr::Map(map) => map.entries.iter().try_for_each(|entry| match &entry.expr {
                EntryExpr::MapEntry(entry) => self.check(&entry.key).and_then(|()| self.check(&entry.value)),
                EntryExpr::StructField(field) => self.check(&field.value),
            }),
            Expr::Struct(_) => self.fail(at, "there are no messages here".to_owned(), None),
            Expr::Comprehension(each) => {
                self.check(&each.iter_range)?;
                if self.loops > 0 {
                    return self.fail(&each.iter_range, "a loop inside a loop".to_owned(), None);
                }
                let bound = self.bound.len();
                self.bound.extend([each.iter_var.as_str(), each.accu_var.as_str()]);
                self.bound.extend(each.iter_var2.as_deref());
                self.loops += 1;
                let parts = [&each.accu_init, &each.loop_cond, &each.loop_step, &each.result];
                let checked = parts.into_iter().try_for_each(|inner| self.check(inner));
                self.loops -= 1;
                self.bound.truncate(bound);
                checked
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_asked_of_what_is_known() {
        let mut facts = example();
        facts["services"] = json!(["payments", "checkout", "search"]);
        facts["service"] = json!("payments");
        for (text, holds) in [
            ("incident.services.size() >= 3 && incident.service.startsWith(\"pay\")", true),
            ("incident.services.exists(s, s == 'search') || incident.affected > 100", true),
            ("!('orders' in incident.services)", true),
            ("incident.detector in ['latency', 'traffic']", false),
            ("incident.severity == 'critical' ? incident.pages > 1 : true", false),
            ("incident.service.matches('^pay(ments|outs)$')", true),
            ("incident.services.filter(s, s.contains('e')).size() == 3", true),
        ] {
            let condition = Condition::parse(text).unwrap_or_else(|wrong| panic!("{text}: {wrong:?}"));
            assert_eq!(condition.holds(&facts), holds, "{text}");
        }
        let late =
            Condition::parse("incident.services.size() < 2 || incident.services[5] == 'x'").expect("a condition");
        assert!(late.holds(&facts), "what cannot be asked counts as true");
    }

    #[test]
    fn what_is_no_condition_is_said_with_its_place() {
        for (text, after, words) in [
            ("incident.service ==", 19, "end"),
            ("incident.servce == 'x'", 0, "servce"),
            ("service == 'x'", 0, "service"),
            ("incident.affected > now()", 23, "now"),
            ("incident.affected + 1", 0, "neither"),
            ("incident.service > 1", 0, "one service"),
            ("incident.services[3] == 'x'", 0, "one service"),
            ("incident.services.all(a, incident.services.all(b, a != b))", 33, "loop"),
        ] {
            let wrong = Condition::parse(text).expect_err(text);
            assert!(wrong.what.contains(words), "{text}: {wrong:?}");
            assert!(wrong.after.abs_diff(after) <= 10, "{text}: {wrong:?}");
        }
        for text in ["(".repeat(400), "a?".repeat(200), "!".repeat(511), "x".repeat(600), String::new()] {
            assert!(Condition::parse(&text).is_err(), "{text}");
        }
    }
}
