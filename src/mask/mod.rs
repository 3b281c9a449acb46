//! [`Masks`]: personal data in lines, replaced before anything keeps them.
//!
//! | a rule finds | and takes it for one if |
//! |---|---|
//! | `email` | it is written like an address of RFC 5322, its `@` perhaps as `%40` |
//! | `card` | it has the digits of a payment card: its first ones are an issuer's, its last is right (ISO/IEC 7812-1, Annex B) |
//! | `ip` | it is an IPv4 address, or an IPv6 address with a colon twice or all groups |
//! | `wallet` | it is an address of Ethereum, or of Bitcoin with a checksum that holds (Base58Check), or Bech32 (BIP 173) |
//! | a `pattern` | it matches it (syntax of the `regex` crate) |
//! | a field of `fields` | it is the value of a JSON field of that name |
//!
//! What is found is replaced by a pseudonym, cut off to its network (an address of `ip`: 24 bits of IPv4, 48 of IPv6), or
//! removed. A pseudonym is the first 64 bits of HMAC-SHA256 (RFC 2104) over what was found, in one spelling: whoever has
//! the key finds a person again, and nobody else can try names until one fits. JSON stays JSON: what is in its strings
//! is looked at as it reads, whatever escapes it is written with, and a number that is found becomes a string.
//!
//! # Decision
//! Lines are masked where they come in, by `evenkeel ship`: what has reached a topic is kept, hashed and copied to
//! Parquet, and could not be masked any more without breaking the proof. Patterns find what looks like something; names
//! of people do not, unless a field of their own says so.

mod find;
mod json;
#[cfg(test)]
mod tests;

pub use find::Find;

use crate::ports::PortError;
use crate::post::hmac_sha256;
use find::{Finder, bare};
use json::Token;
use std::borrow::Cow;
use std::net::IpAddr;
use std::path::Path;

/// Hex digits of a pseudonym: 64 bits, so that two of a billion people share one with a chance of a few percent.
const PSEUDONYM_DIGITS: usize = 16;

/// The shortest key, bytes.
const MIN_KEY_BYTES: usize = 16;

/// What takes the place of what was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replace {
    /// A name that follows from it and a key.
    Pseudonym,
    /// Its network; of addresses only.
    Network,
    /// Nothing but what it was.
    Removed,
}

/// A rule: what is looked for, and what takes its place.
#[derive(Clone, Debug, PartialEq)]
pub struct MaskRule {
    /// Its name.
    pub name: String,
    /// What is looked for.
    pub find: Find,
    /// What takes its place.
    pub replace: Replace,
}

/// A rule at work.
struct Mask {
    rule: MaskRule,
    finder: Finder,
    /// How often it found something.
    found: u64,
}

impl From<MaskRule> for Mask {
    fn from(rule: MaskRule) -> Self {
        Self { finder: Finder::of(&rule.find), rule, found: 0 }
    }
}

/// Rules, with the key of pseudonyms.
#[derive(Default)]
pub struct Masks {
    all: Vec<Mask>,
    key: Vec<u8>,
}

impl Masks {
    /// Those of these rules, in their order; the key of pseudonyms is what `key_file` holds.
    ///
    /// # Errors
    /// `Fatal` if pseudonyms are asked for and there is no key, or it cannot be read or is too short.
    pub fn new(rules: Vec<MaskRule>, key_file: Option<&Path>) -> Result<Self, PortError> {
        let key = key_file.map(key).transpose()?.unwrap_or_default();
        let keyless = rules.iter().find(|rule| rule.replace == Replace::Pseudonym && key.is_empty());
        if let Some(rule) = keyless {
            let what = "its pseudonyms need a key: give --mask-key FILE with 16 or more random bytes, e.g. of `openssl rand -hex 32`";
            return Err(PortError::Fatal(format!("MaskRule/{}: {what}", rule.name)));
        }
        Ok(Self { all: rules.into_iter().map(Mask::from).collect(), key })
    }

    /// How often each rule found something, by its name.
    pub fn counts(&self) -> impl Iterator<Item = (&str, u64)> {
        self.all.iter().map(|mask| (mask.rule.name.as_str(), mask.found))
    }

    /// The line without what the rules find.
    pub fn apply<'l>(&mut self, line: &'l [u8]) -> Cow<'l, [u8]> {
        if self.all.is_empty() {
            return Cow::Borrowed(line);
        }
        let masked = if line.first() == Some(&b'{') { self.json(line) } else { self.text(line) };
        masked.map_or(Cow::Borrowed(line), Cow::Owned)
    }

    /// The text without what the rules find; `None` if that is the same.
    fn text(&mut self, text: &[u8]) -> Option<Vec<u8>> {
        let mut masked = None::<Vec<u8>>;
        for Mask { rule, finder, found: count } in &mut self.all {
            let line = masked.as_deref().unwrap_or(text);
            let found = finder.all(line);
            if found.is_empty() {
                continue;
            }
            *count += found.len() as u64;
            let (mut out, mut at) = (Vec::with_capacity(line.len()), 0);
            for range in found {
                out.extend_from_slice(&line[at..range.start]);
                out.extend_from_slice(substitute(rule, &self.key, &line[range.clone()]).as_bytes());
                at = range.end;
            }
            out.extend_from_slice(&line[at..]);
            masked = Some(out);
        }
        masked
    }

    /// The JSON without what the rules find in its strings and numbers; `None` if that is the same.
    fn json(&mut self, line: &[u8]) -> Option<Vec<u8>> {
        let (mut out, mut is_masked, mut field) = (Vec::with_capacity(line.len()), false, None::<usize>);
        for token in json::tokens(line) {
            let text = token.text();
            let masked = match field.filter(|_| token.is_value() && !text.is_empty()) {
                Some(rule) => {
                    let mask = &mut self.all[rule];
                    mask.found += 1;
                    Some(substitute(&mask.rule, &self.key, &text).into_bytes())
                }
                None if token.is_value() => self.text(&text),
                None => None,
            };
            field = match token {
                // Names are masked like any text, and say which rule is for their value.
                Token::Text(_, true) => self.rule_of(&text),
                Token::Text(_, false) | Token::Number(_) => None,
                Token::Other(_) => field,
            };
            match masked {
                Some(masked) => {
                    is_masked = true;
                    out.extend_from_slice(&json::literal(&masked));
                }
                None => out.extend_from_slice(token.bytes()),
            }
        }
        is_masked.then_some(out)
    }

    /// The number of the rule for the values of a JSON field.
    fn rule_of(&self, name: &[u8]) -> Option<usize> {
        let is_named = |names: &Vec<String>| names.iter().any(|it| it.as_bytes() == name);
        self.all.iter().position(|mask| matches!(&mask.rule.find, Find::Fields(names) if is_named(names)))
    }
}

/// What takes the place of `what`: letters, digits and `-.:` only, which need no escape anywhere.
fn substitute(rule: &MaskRule, key: &[u8], what: &[u8]) -> String {
    let kind = rule.find.name();
    match rule.replace {
        Replace::Removed => format!("{kind}-removed"),
        Replace::Network => network(what).unwrap_or_else(|| format!("{kind}-removed")),
        Replace::Pseudonym => {
            let message = [kind.as_bytes(), &[0], &bare(&rule.find, what)].concat();
            format!("{kind}-{}", &hmac_sha256(key, &message)[..PSEUDONYM_DIGITS])
        }
    }
}

/// The first address of the network that an address is in.
fn network(address: &[u8]) -> Option<String> {
    match std::str::from_utf8(address).ok()?.parse().ok()? {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            Some(format!("{a}.{b}.{c}.0"))
        }
        IpAddr::V6(v6) => {
            let [a, b, c, ..] = v6.segments();
            Some(std::net::Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0).to_string())
        }
    }
}

fn key(path: &Path) -> Result<Vec<u8>, PortError> {
    let wrong = |why: String| PortError::Fatal(format!("--mask-key {}: {why}", path.display()));
    let key = std::fs::read(path).map_err(|error| wrong(error.to_string()))?.trim_ascii().to_vec();
    if key.len() < MIN_KEY_BYTES {
        return Err(wrong(format!("{} bytes are too few for a key: write {MIN_KEY_BYTES} or more", key.len())));
    }
    Ok(key)
}
