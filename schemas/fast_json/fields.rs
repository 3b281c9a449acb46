//! The fields of a request, by number: integers first, then strings.

use crate::Request;
use crate::event::Checked;
use crate::request::Bounded;

/// How many fields there are; as a field's number, it is that of all unknown ones.
pub(super) const FIELDS: usize = 12;

/// How many of the fields are integers.
pub(super) const INTEGERS: usize = 3;

const NAMES: [&str; FIELDS] = [
    "event_time_us",
    "status",
    "latency_us",
    "service",
    "route",
    "method",
    "node",
    "region",
    "version",
    "tenant",
    "trace_id",
    "upstream",
];

/// The fields without a default: the first four, a bit each.
const REQUIRED: u32 = 0b1111;

/// The number of the field with this name.
pub(super) fn field_of(name: &str) -> usize {
    NAMES.iter().position(|known| *known == name).unwrap_or(FIELDS)
}

/// What stands before each field's value.
pub(super) static HEADS: [Head; FIELDS] = {
    let mut heads = [Head::new(0); FIELDS];
    let mut field = 1;
    while field < FIELDS {
        heads[field] = Head::new(field);
        field += 1;
    }
    heads
};

/// `"name":` in one word, and for strings the value's quote after it: what most producers write without white space.
#[derive(Clone, Copy)]
pub(super) struct Head {
    text: u128,
    /// The bits of `text` that are name and colon.
    to_colon: u128,
    /// The bits of `text` up to the value.
    to_value: u128,
    /// How many bytes there are up to the value.
    pub(super) length: usize,
}

impl Head {
    const fn new(field: usize) -> Self {
        let name = NAMES[field].as_bytes();
        let mut text = [0; 16];
        text[0] = b'"';
        let mut at = 0;
        while at < name.len() {
            text[1 + at] = name[at];
            at += 1;
        }
        text[1 + at] = b'"';
        text[2 + at] = b':';
        let colon = 3 + at;
        let length = if field < INTEGERS {
            colon
        } else {
            text[colon] = b'"';
            colon + 1
        };
        Self { text: u128::from_le_bytes(text), to_colon: first(colon), to_value: first(length), length }
    }

    /// Whether the value begins [`Head::length`] bytes on.
    #[inline(always)]
    pub(super) fn reaches_value(&self, bytes: &[u8; 16]) -> bool {
        (u128::from_le_bytes(*bytes) ^ self.text) & self.to_value == 0
    }

    /// Whether the bytes begin with the name and its colon; if so, how long both are.
    #[inline(always)]
    pub(super) fn reaches_colon(&self, bytes: &[u8; 16]) -> Option<usize> {
        let is_equal = (u128::from_le_bytes(*bytes) ^ self.text) & self.to_colon == 0;
        is_equal.then_some(self.to_colon.count_ones() as usize / 8)
    }
}

/// The bits of the first so many bytes of a word.
const fn first(bytes: usize) -> u128 {
    u128::MAX >> (128 - 8 * bytes)
}

/// What was read of a request so far; what was not reads as its default.
#[derive(Default)]
pub(super) struct Fields<'a> {
    integers: [u64; INTEGERS],
    strings: [&'a str; FIELDS - INTEGERS],
}

impl<'a> Fields<'a> {
    #[inline(always)]
    pub(super) fn set_integer(&mut self, field: usize, value: u64) {
        self.integers[field] = value;
    }

    #[inline(always)]
    pub(super) fn set_string(&mut self, field: usize, text: &'a str) {
        self.strings[field - INTEGERS] = text;
    }

    /// Whether the fields seen, a bit each, are enough for a request, and the integers fit their types.
    #[inline(always)]
    pub(super) fn are_whole(&self, seen: u32) -> bool {
        let [_, status, latency_us] = self.integers;
        seen & REQUIRED == REQUIRED && u16::try_from(status).is_ok() && u32::try_from(latency_us).is_ok()
    }

    /// The request, once the fields are whole, if it is within its bounds.
    #[inline(always)]
    pub(super) fn request(&self) -> Option<Request<'a>> {
        let [event_time_us, status, latency_us] = self.integers;
        let (event_time_us, status, latency_us) = (event_time_us as i64, status as u16, latency_us as u32);
        if Bounded::of(event_time_us, status, latency_us, self.strings).check().is_err() {
            return None;
        }
        Some(Request::borrowed(event_time_us, status, latency_us, self.strings))
    }
}
