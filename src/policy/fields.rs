//! Reading the fields of a mapping: each reader says what is wrong and what to write instead, and goes on.

use super::fault::{Faults, Place};
use super::shape::Field;
use super::yaml::{Node, Value};
use crate::alerts::alert::LABELS;
use crate::alerts::{Condition, Matcher, mail, time};
use lettre::Address;

/// Units of durations, and how many µs each is.
const UNITS: [(&str, i64); 6] =
    [("us", 1), ("ms", 1_000), ("s", 1_000_000), ("m", 60_000_000), ("h", 3_600_000_000), ("d", 86_400_000_000)];

/// The fields of a mapping.
pub struct Fields<'a> {
    /// Where the mapping begins.
    pub at: Place,
    /// Name, place of the name, value.
    pub all: &'a [(String, Place, Node)],
}

impl<'a> Fields<'a> {
    /// Those of `node`, which is called `what`; `None` if it is no mapping. What is missing, unknown or of another shape
    /// than it should be is a fault, and the readers below give `None` for it.
    pub fn of(node: &'a Node, what: &str, known: &[Field], faults: &mut Faults) -> Option<Self> {
        let names = known.iter().map(|field| field.name).collect::<Vec<_>>();
        let Value::Map(all) = &node.value else {
            let fix = format!("write a mapping of {} instead", names.join(", "));
            faults.add(node.at, format!("{what} is {}", node.words()), fix);
            return None;
        };
        let fields = Self { at: node.at, all };
        for (name, at, node) in all {
            match known.iter().find(|field| field.name == name) {
                Some(field) => field.shape.check(node, faults),
                None => faults.unknown(*at, format!("{what} has no field `{name}`"), name, &names),
            }
        }
        for field in known.iter().filter(|field| fields.get(field.name).is_none()) {
            let Some(example) = field.needed else { continue };
            let name = field.name;
            faults.add(node.at, format!("`{name}` is missing"), format!("write `{name}: {example}`"));
        }
        Some(fields)
    }

    /// A field that may be missing.
    pub fn get(&self, name: &str) -> Option<&'a Node> {
        self.all.iter().find(|(other, ..)| other == name).map(|(.., node)| node)
    }

    /// Where a field is, or else the mapping.
    pub fn place(&self, name: &str) -> Place {
        self.get(name).map_or(self.at, |node| node.at)
    }

    /// The fields of a mapping in which what is wrong was said.
    pub fn checked(node: &'a Node) -> Option<Self> {
        match &node.value {
            Value::Map(all) => Some(Self { at: node.at, all }),
            _ => None,
        }
    }

    /// The value of a field by one of the readers below; what is wrong with it was said.
    pub fn read<T>(&self, name: &str, read: impl FnOnce(&Node, &mut Faults) -> Option<T>) -> Option<T> {
        read(self.get(name)?, &mut Faults::of(""))
    }

    /// A text or word.
    pub fn text(&self, name: &str) -> Option<String> {
        self.read(name, |node, faults| text(node, "", faults))
    }

    /// A duration, µs.
    pub fn duration_us(&self, name: &str) -> Option<i64> {
        self.read(name, |node, faults| duration_us(node, "", faults))
    }

    /// What a mapping names, in its order.
    pub fn entries(&self, name: &str) -> impl Iterator<Item = (&'a str, &'a Node)> {
        let all = match self.get(name).map(|node| &node.value) {
            Some(Value::Map(all)) => all.as_slice(),
            _ => &[],
        };
        all.iter().map(|(name, _, node)| (name.as_str(), node))
    }

    /// The texts of a list; nothing if it is missing.
    pub fn texts(&self, name: &str) -> Option<Vec<String>> {
        self.get(name)?;
        self.list(name).iter().map(|node| text(node, "", &mut Faults::of(""))).collect()
    }

    /// What a list holds.
    pub fn list(&self, name: &str) -> &'a [Node] {
        match self.get(name).map(|node| &node.value) {
            Some(Value::List(nodes)) => nodes,
            _ => &[],
        }
    }
}

fn wrong<T>(node: &Node, is_not: &str, example: &str, faults: &mut Faults) -> Option<T> {
    faults.add(node.at, format!("{} is {is_not}", node.words()), format!("write {example} instead"));
    None
}

/// A text of 1 to 256 bytes: what a name in events may have.
pub fn text(node: &Node, example: &str, faults: &mut Faults) -> Option<String> {
    match &node.value {
        Value::Text(text) if (1..=256).contains(&text.len()) => Some(text.clone()),
        Value::Text(_) => wrong(node, "no text of 1 to 256 bytes", &format!("`{example}`"), faults),
        Value::Number(number) => wrong(node, "a number and no text", &format!("`\"{number}\"`"), faults),
        Value::Bool(is) => wrong(node, "no text", &format!("`\"{is}\"`"), faults),
        _ => wrong(node, "no text", &format!("`{example}`"), faults),
    }
}

/// An e-mail address in ASCII.
pub fn address(node: &Node, example: &str, faults: &mut Faults) -> Option<Address> {
    let text = text(node, example, faults)?;
    mail::address(&text).or_else(|| wrong(node, "no e-mail address in ASCII", &format!("one, as `{example}`,"), faults))
}

/// The name of a service, or `*` for all without one of their own.
pub fn service(node: &Node, faults: &mut Faults) -> Option<String> {
    match &node.value {
        // A plain `*x` would be an alias, and never comes here.
        Value::Null => wrong(node, "no service", "`\"*\"` or a name", faults),
        _ => text(node, "checkout", faults),
    }
}

/// One of some words.
pub fn choice<'c>(node: &Node, what: &str, choices: &[&'c str], faults: &mut Faults) -> Option<&'c str> {
    let Value::Text(text) = &node.value else {
        return wrong(node, &format!("no {what}"), &format!("one of {}", choices.join(", ")), faults);
    };
    let found = choices.iter().find(|choice| *choice == text).copied();
    if found.is_none() {
        faults.unknown(node.at, format!("`{text}` is no {what}"), text, choices);
    }
    found
}

/// A whole number within a range.
pub fn number(node: &Node, range: std::ops::RangeInclusive<i64>, faults: &mut Faults) -> Option<i64> {
    match &node.value {
        Value::Number(number) if range.contains(number) => Some(*number),
        Value::Number(_) => wrong(node, "out of range", &format!("{} to {}", range.start(), range.end()), faults),
        _ => wrong(node, "no whole number", &format!("a number from {} to {}", range.start(), range.end()), faults),
    }
}

/// `true` or `false`.
pub fn boolean(node: &Node, faults: &mut Faults) -> Option<bool> {
    match node.value {
        Value::Bool(is) => Some(is),
        _ => wrong(node, "neither true nor false", "`true` or `false`", faults),
    }
}

/// A condition on a label of alerts, e.g. `service=~pay.*`.
pub fn label(node: &Node, faults: &mut Faults) -> Option<Matcher> {
    let text = text(node, "service=checkout", faults)?;
    let matcher = match Matcher::parse(&text) {
        Ok(matcher) => matcher,
        Err(why) if why.contains("regular") => {
            let what = format!("no regular expression: {}", of_pattern(&why));
            return wrong(node, &what, "a pattern for the whole label", faults);
        }
        Err(_) => return wrong(node, "no condition", "`service=checkout`, or with !=, =~ or !~,", faults),
    };
    if !LABELS.contains(&matcher.name.as_str()) {
        faults.unknown(node.at, format!("alerts have no label `{}`", matcher.name), &matcher.name, &LABELS);
        return None;
    }
    Some(matcher)
}

/// What is wrong with a regular expression: of what is said of it, which draws a picture, the last line.
pub fn of_pattern(said: &str) -> &str {
    said.lines().last().unwrap_or_default().trim_start_matches("error: ")
}

/// A condition on an incident, in CEL.
pub fn condition(node: &Node, faults: &mut Faults) -> Option<Condition> {
    const EXAMPLE: &str = "`incident.services.size() >= 3`";
    let Value::Text(text) = &node.value else { return wrong(node, "no condition", EXAMPLE, faults) };
    match Condition::parse(text) {
        Ok(condition) => Some(condition),
        Err(wrong) => {
            let at = node.inside(wrong.after);
            match wrong.unknown {
                Some((name, known)) => faults.unknown(at, wrong.what, &name, known),
                None => faults.add(at, wrong.what, format!("write a condition in CEL, as {EXAMPLE}, instead")),
            }
            None
        }
    }
}

/// A duration, µs: a number and its unit.
pub fn duration_us(node: &Node, example: &str, faults: &mut Faults) -> Option<i64> {
    match &node.value {
        Value::Number(number) => {
            wrong(node, "no duration: it has no unit", &format!("`{number}s`, or with us, ms, m, h or d"), faults)
        }
        Value::Text(text) => match parse_duration(text) {
            Some(us) => Some(us),
            None => {
                wrong(node, "no duration", &format!("a whole number and us, ms, s, m, h or d, as `{example}`"), faults)
            }
        },
        _ => wrong(node, "no duration", &format!("`{example}`"), faults),
    }
}

/// How long somebody's turn lasts, s.
pub fn turn_s(node: &Node, faults: &mut Faults) -> Option<i64> {
    match &node.value {
        Value::Text(text) if text == "daily" => Some(86_400),
        Value::Text(text) if text == "weekly" => Some(7 * 86_400),
        _ => duration_us(node, "weekly", faults).map(|us| us / 1_000_000),
    }
}

/// A duration in the largest unit of which it is a whole number.
pub fn words_us(us: i64) -> String {
    let unit = UNITS.iter().rev().find(|(_, unit_us)| us % unit_us == 0 && us != 0);
    unit.map_or("0s".to_owned(), |(name, unit_us)| format!("{}{name}", us / unit_us))
}

/// A duration, µs: a whole number and its unit.
pub fn parse_duration(text: &str) -> Option<i64> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let (_, unit_us) = UNITS.iter().find(|(name, _)| *name == unit.trim())?;
    number.parse::<i64>().ok()?.checked_mul(*unit_us)
}

/// A share, parts per million: a percentage with at most four digits after the point.
pub fn share_ppm(node: &Node, example: &str, faults: &mut Faults) -> Option<i64> {
    match &node.value {
        Value::Number(number) => wrong(node, "no share: it has no unit", &format!("`{number}%`"), faults),
        Value::Text(text) => match parse_percent(text) {
            Some(ppm) => Some(ppm),
            None => wrong(node, "no share", &format!("a percentage with up to four decimals, as `{example}`,"), faults),
        },
        _ => wrong(node, "no share", &format!("`{example}`"), faults),
    }
}

fn parse_percent(text: &str) -> Option<i64> {
    let (whole, decimals) = match text.strip_suffix('%')?.trim().split_once('.') {
        Some((whole, decimals)) => (whole, decimals),
        None => (text.strip_suffix('%')?.trim(), ""),
    };
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || decimals.len() > 4 || !is_number(whole) || !is_number(decimals) {
        return None;
    }
    let parts = format!("{decimals:0<4}").parse::<i64>().ok()?;
    let ppm = whole.parse::<i64>().ok()?.checked_mul(10_000)?.checked_add(parts)?;
    (ppm <= 1_000_000).then_some(ppm)
}

/// A time, µs since the Unix epoch.
pub fn time_us(node: &Node, faults: &mut Faults) -> Option<i64> {
    let found = match &node.value {
        Value::Text(text) => time::parse(text),
        _ => None,
    };
    found.or_else(|| wrong(node, "no time", "it in RFC 3339, as `2026-11-21T12:00:00Z`,", faults))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_shares_have_units() {
        for (text, us) in
            [("30s", 30_000_000), ("5m", 300_000_000), ("250 ms", 250_000), ("0s", 0), ("1d", 86_400_000_000)]
        {
            assert_eq!(parse_duration(text), Some(us), "{text}");
        }
        for text in ["s", "30", "30sec", "-1s", "1.5h", "99999999999999d", "1h30m"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
        for (text, ppm) in [("99.9%", 999_000), ("0%", 0), ("100%", 1_000_000), ("99.9999 %", 999_999), ("5.%", 50_000)]
        {
            assert_eq!(parse_percent(text), Some(ppm), "{text}");
        }
        for text in ["99.9", "%", "101%", "99.99999%", "-1%", "x%", "1,5%"] {
            assert_eq!(parse_percent(text), None, "{text}");
        }
    }
}
