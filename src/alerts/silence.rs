//! [`Silence`]: somebody asked not to be told of some alerts for a while.

use super::time;
use regex::Regex;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Silences that are held at most; further ones are refused.
pub const MAX_SILENCES: usize = 1_000;

/// Matchers of a silence at most.
const MAX_MATCHERS: usize = 32;

/// Longest pattern, name, author or comment, bytes.
const MAX_TEXT_BYTES: usize = 1_024;

/// A condition on a label; a label that is not there is empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Matcher {
    /// The label.
    pub name: String,
    /// What it is compared with.
    pub value: String,
    /// Whether the value is a regular expression for the whole of the label.
    pub is_regex: bool,
    /// Whether it must match, or must not.
    #[serde(default = "yes")]
    pub is_equal: bool,
}

fn yes() -> bool {
    true
}

impl Matcher {
    /// From text: `name="value"`, with `=`, `!=`, `=~` or `!~`, the quotes may be left out.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("matcher {text:?}: write it as name=\"value\", with =, !=, =~ or !~");
        let at = text.find(['=', '!']).ok_or_else(wrong)?;
        let (name, rest) = text.split_at(at);
        let operators = [("=~", true, true), ("!~", true, false), ("!=", false, false), ("=", false, true)];
        let found = operators.iter().find_map(|(sign, regex, equal)| Some((rest.strip_prefix(sign)?, *regex, *equal)));
        let (value, is_regex, is_equal) = found.ok_or_else(wrong)?;
        let value = value.trim();
        let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
        let matcher = Self { name: name.trim().to_owned(), value: value.to_owned(), is_regex, is_equal };
        matcher.check()?;
        Ok(matcher)
    }

    fn check(&self) -> Result<(), String> {
        if self.name.is_empty() || self.name.len().max(self.value.len()) > MAX_TEXT_BYTES {
            return Err(format!("a matcher's name and value have 1 to {MAX_TEXT_BYTES} bytes"));
        }
        if self.is_regex { self.regex().map(|_| ()) } else { Ok(()) }
    }

    fn regex(&self) -> Result<Regex, String> {
        let whole = regex::RegexBuilder::new(&format!("^(?:{})$", self.value)).size_limit(1 << 20).build();
        whole.map_err(|error| format!("{:?} is no regular expression: {error}", self.value))
    }

    /// Whether these labels meet it.
    pub fn holds(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.name).map_or("", String::as_str);
        let is_match =
            if self.is_regex { self.regex().is_ok_and(|regex| regex.is_match(value)) } else { value == self.value };
        is_match == self.is_equal
    }
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silence {
    /// Its identity.
    pub id: String,
    /// All of them must hold.
    pub matchers: Vec<Matcher>,
    /// From then on, µs since the Unix epoch by the machine's clock.
    pub from_us: i64,
    /// Until then.
    pub to_us: i64,
    /// When it was last changed.
    pub updated_us: i64,
    /// Who asked.
    pub author: String,
    /// Why.
    pub comment: String,
}

/// A silence as Alertmanager's API has it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Posted {
    #[serde(default)]
    id: Option<String>,
    matchers: Vec<Matcher>,
    starts_at: String,
    ends_at: String,
    created_by: String,
    comment: String,
}

impl Silence {
    /// What was posted at `now_us`; it has no identity yet if it is new.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn posted(body: &[u8], now_us: i64) -> Result<Self, String> {
        let posted = serde_json::from_slice::<Posted>(body).map_err(|error| format!("not a silence: {error}"))?;
        let at = |text: &str| time::parse(text).ok_or_else(|| format!("{text:?} is no time in RFC 3339"));
        let (from_us, to_us) = (at(&posted.starts_at)?.max(now_us), at(&posted.ends_at)?);
        if to_us <= from_us {
            return Err("a silence ends after it starts, and in the future".to_owned());
        }
        if posted.matchers.is_empty() || posted.matchers.len() > MAX_MATCHERS {
            return Err(format!("a silence has 1 to {MAX_MATCHERS} matchers"));
        }
        posted.matchers.iter().try_for_each(Matcher::check)?;
        let empty = BTreeMap::new();
        if posted.matchers.iter().all(|matcher| matcher.holds(&empty)) {
            return Err("at least one matcher must ask for a label: this one would silence everything".to_owned());
        }
        if posted.created_by.is_empty() || posted.created_by.len().max(posted.comment.len()) > MAX_TEXT_BYTES {
            return Err(format!("a silence has an author, and a comment of at most {MAX_TEXT_BYTES} bytes"));
        }
        let id = posted.id.unwrap_or_default();
        let Posted { matchers, created_by: author, comment, .. } = posted;
        Ok(Self { id, matchers, from_us, to_us, updated_us: now_us, author, comment })
    }

    /// Whether it silences an alert of these labels at that time.
    pub fn holds(&self, labels: &BTreeMap<String, String>, now_us: i64) -> bool {
        self.state(now_us) == "active" && self.matchers.iter().all(|matcher| matcher.holds(labels))
    }

    /// `pending`, `active` or `expired`.
    pub fn state(&self, now_us: i64) -> &'static str {
        if now_us >= self.to_us {
            "expired"
        } else if now_us < self.from_us {
            "pending"
        } else {
            "active"
        }
    }

    /// As Alertmanager's API has it.
    pub fn to_json(&self, now_us: i64) -> serde_json::Value {
        serde_json::json!({
            "id": self.id, "matchers": self.matchers, "startsAt": time::rfc3339(self.from_us),
            "endsAt": time::rfc3339(self.to_us), "updatedAt": time::rfc3339(self.updated_us),
            "createdBy": self.author, "comment": self.comment, "status": {"state": self.state(now_us)},
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels() -> BTreeMap<String, String> {
        [("service".to_owned(), "checkout".to_owned())].into()
    }

    #[test]
    fn matchers_compare_whole_labels() {
        let holds = |text: &str| Matcher::parse(text).expect("a matcher").holds(&labels());
        assert!(holds("service=checkout") && holds("service=\"checkout\"") && holds("service=~check.*"));
        assert!(holds("service!=search") && holds("service!~s.*") && holds("region=\"\""));
        assert!(!holds("service=~check") && !holds("service!=checkout") && !holds("service!~.*out"));
        for wrong in ["service", "=x", "service=~(", "service!x"] {
            assert!(Matcher::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn silences_have_an_end_and_ask_for_something() {
        let body = |matcher: &str, to: &str| {
            format!(
                r#"{{"matchers":[{matcher}],"startsAt":"2026-01-01T00:00:00Z","endsAt":"{to}","createdBy":"me","comment":""}}"#
            )
        };
        let (one, to) = (r#"{"name":"service","value":"checkout","isRegex":false}"#, "2026-01-01T01:00:00Z");
        let now_us = 1_767_225_600_000_000;
        let silence = Silence::posted(body(one, to).as_bytes(), now_us).expect("a silence");
        assert!(silence.holds(&labels(), now_us) && !silence.holds(&labels(), now_us + 3_600_000_000));
        assert_eq!(silence.to_json(now_us)["status"]["state"], "active");
        let all = r#"{"name":"service","value":".*","isRegex":true}"#;
        for (matcher, to) in [(one, "2025-01-01T01:00:00Z"), (one, "soon"), (all, to), ("", to)] {
            assert!(Silence::posted(body(matcher, to).as_bytes(), now_us).is_err(), "{matcher} {to}");
        }
    }
}
