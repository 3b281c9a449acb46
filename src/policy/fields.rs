//! Reading the fields of a mapping: each reader says what is wrong and what to write instead, and goes on.

use super::fault::{Faults, Place};
use super::yaml::{Node, Value};
use crate::alerts::time;

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
    /// Those of `node`, which is called `what`; `None` if it is no mapping. Names that are none of `known` are faults.
    pub fn of(node: &'a Node, what: &str, known: &[&str], faults: &mut Faults) -> Option<Self> {
        let Value::Map(all) = &node.value else {
            let fix = format!("write a mapping of {} instead", known.join(", "));
            faults.add(node.at, format!("{what} is {}", node.words()), fix);
            return None;
        };
        for (name, at, _) in all.iter().filter(|(name, ..)| !known.contains(&name.as_str())) {
            faults.unknown(*at, format!("{what} has no field `{name}`"), name, known);
        }
        Some(Self { at: node.at, all })
    }

    /// A field that may be missing.
    pub fn get(&self, name: &str) -> Option<&'a Node> {
        self.all.iter().find(|(other, ..)| other == name).map(|(.., node)| node)
    }

    /// A field that must be there; `example` shows how it is written.
    pub fn need(&self, name: &str, example: &str, faults: &mut Faults) -> Option<&'a Node> {
        let found = self.get(name);
        if found.is_none() {
            faults.add(self.at, format!("`{name}` is missing"), format!("write `{name}: {example}`"));
        }
        found
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

fn parse_duration(text: &str) -> Option<i64> {
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
