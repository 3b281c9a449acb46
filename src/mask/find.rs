//! [`Find`]: what is looked for in a line, and [`Finder`], which finds it.

use regex::bytes::{Regex, RegexBuilder};
use sha2::{Digest, Sha256};
use std::net::IpAddr;
use std::ops::Range;

/// Most memory that a pattern of somebody's may take, bytes.
const MAX_PATTERN_BYTES: usize = 1 << 20;

const EMAIL: &str = r"[A-Za-z0-9.!#$*+^_~%'-]+(?:@|%40)[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)+";
const CARD: &str = r"\d(?:[ -]?\d){12,18}";
const IP: &str = r"[0-9A-Fa-f:]{0,39}:[0-9A-Fa-f:.]{1,45}|\d{1,3}(?:\.\d{1,3}){3}";
const WALLET: &str = r"0x[0-9a-fA-F]{40}|(?i:bc|tb)1[02-9ac-hj-np-zAC-HJ-NP-Z]{11,87}|[13][1-9A-HJ-NP-Za-km-z]{25,34}";

/// What is looked for.
#[derive(Clone, Debug)]
pub enum Find {
    /// Addresses of e-mail.
    Email,
    /// Numbers of payment cards.
    Card,
    /// Addresses of the Internet.
    Ip,
    /// Addresses of wallets.
    Wallet,
    /// What matches.
    Pattern(Regex),
    /// The values of JSON fields of these names.
    Fields(Vec<String>),
}

impl PartialEq for Find {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Pattern(one), Self::Pattern(other)) => one.as_str() == other.as_str(),
            (Self::Fields(one), Self::Fields(other)) => one == other,
            _ => self.name() == other.name(),
        }
    }
}

impl Find {
    /// How what it finds is called.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Card => "card",
            Self::Ip => "ip",
            Self::Wallet => "wallet",
            Self::Pattern(_) => "masked",
            Self::Fields(_) => "field",
        }
    }

    /// What matches a pattern.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn pattern(text: &str) -> Result<Self, String> {
        let built = RegexBuilder::new(text).size_limit(MAX_PATTERN_BYTES).build();
        let regex = built.map_err(|error| error.to_string())?;
        if regex.is_match(b"") {
            return Err("it matches nothing at all, too".to_owned());
        }
        Ok(Self::Pattern(regex))
    }
}

/// How much of a candidate, from its beginning, is what is looked for; 0 if nothing.
type Measure = fn(&[u8]) -> usize;

/// Finds something in texts.
pub(super) struct Finder(Option<(Regex, Option<Measure>)>);

impl Finder {
    pub fn of(find: &Find) -> Self {
        let regex = |text: &str| Regex::new(&format!("(?-u){text}")).expect("a pattern of ours");
        Self(match find {
            Find::Email => Some((regex(EMAIL), None)),
            Find::Card => Some((regex(CARD), Some(card as Measure))),
            Find::Ip => Some((regex(IP), Some(|text| if is_ip(text) { text.len() } else { 0 }))),
            Find::Wallet => Some((regex(WALLET), Some(|text| if is_wallet(text) { text.len() } else { 0 }))),
            Find::Pattern(pattern) => Some((pattern.clone(), None)),
            // Values of fields are found by their names.
            Find::Fields(_) => None,
        })
    }

    /// All places in `text`, from the left, none over another and none empty. What has a measure is found as a whole word
    /// only.
    pub fn all(&self, text: &[u8]) -> Vec<Range<usize>> {
        let Some((regex, measure)) = &self.0 else { return Vec::new() };
        let Some(measure) = measure else {
            return regex.find_iter(text).map(|place| place.range()).filter(|range| !range.is_empty()).collect();
        };
        let goes_on = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
        let (mut found, mut at) = (Vec::new(), 0);
        while let Some(place) = regex.find_at(text, at) {
            let start = place.start();
            let length = if start > 0 && goes_on(text.get(start - 1)) { 0 } else { measure(place.as_bytes()) };
            at = start + length.max(1);
            if length > 0 && !goes_on(text.get(at)) {
                found.push(start..at);
            }
        }
        found
    }
}

/// How long the card's number is with which a text of digits, spaces and dashes begins; 0 if it begins with none.
fn card(text: &[u8]) -> usize {
    let ends = (1..=text.len()).rev().filter(|end| !text.get(*end).is_some_and(u8::is_ascii_digit));
    ends.filter(|end| text[end - 1].is_ascii_digit()).find(|end| is_card(&text[..*end])).unwrap_or(0)
}

/// Issuers' first digits, and a check digit by Luhn's formula.
fn is_card(text: &[u8]) -> bool {
    let digits =
        text.iter().filter(|byte| byte.is_ascii_digit()).map(|byte| u32::from(byte - b'0')).collect::<Vec<_>>();
    if digits.len() < 13 {
        return false;
    }
    let first = |count: usize| digits[..count].iter().fold(0, |number, digit| number * 10 + digit);
    let is_issued = match digits[0] {
        3 => matches!(first(2), 34 | 36..=39) || matches!(first(3), 300..=305) || matches!(first(4), 3528..=3589),
        4 => true,
        5 => matches!(first(2), 50..=58),
        2 => matches!(first(4), 2221..=2720),
        6 => true,
        _ => false,
    };
    let doubled = |digit: u32| if digit > 4 { 2 * digit - 9 } else { 2 * digit };
    let sum = digits.iter().rev().enumerate().map(|(at, digit)| if at % 2 == 1 { doubled(*digit) } else { *digit });
    is_issued && sum.sum::<u32>() % 10 == 0
}

fn is_ip(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok_and(|text| text.parse::<IpAddr>().is_ok())
}

fn is_wallet(text: &[u8]) -> bool {
    text.starts_with(b"0x") || !matches!(text[0], b'1' | b'3') || is_base58check(text)
}

/// Whether the last four bytes are the checksum of those before (Bitcoin's Base58Check).
fn is_base58check(text: &[u8]) -> bool {
    const LETTERS: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    // Version, hash and checksum: 25 bytes.
    let mut bytes = [0_u8; 25];
    for letter in text {
        let Some(digit) = LETTERS.iter().position(|it| it == letter) else { return false };
        let mut carry = digit;
        for byte in bytes.iter_mut().rev() {
            carry += usize::from(*byte) * 58;
            *byte = (carry % 256) as u8;
            carry /= 256;
        }
        if carry > 0 {
            return false;
        }
    }
    let (said, sum) = bytes.split_at(21);
    Sha256::digest(Sha256::digest(said))[..4] == *sum
}

/// What was found in the one spelling from which its pseudonym follows.
pub(super) fn bare(find: &Find, what: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(what);
    match find {
        Find::Email => text.replace("%40", "@").to_lowercase().into_bytes(),
        Find::Card => what.iter().copied().filter(u8::is_ascii_digit).collect(),
        Find::Ip => text.parse::<IpAddr>().map_or(what.to_vec(), |address| address.to_string().into_bytes()),
        // Base58 knows upper and lower case.
        Find::Wallet if !matches!(what[0], b'1' | b'3') => text.to_lowercase().into_bytes(),
        _ => what.to_vec(),
    }
}
