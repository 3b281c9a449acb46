//! JSON as a row of [`Token`]s that together are its bytes; nothing is checked.

use std::borrow::Cow;

/// A piece of JSON.
#[derive(Clone, Copy, Debug)]
pub(super) enum Token<'l> {
    /// A string with its quotes, and whether it is the name of a field.
    Text(&'l [u8], bool),
    /// A number.
    Number(&'l [u8]),
    /// Anything between them.
    Other(&'l [u8]),
}

impl<'l> Token<'l> {
    /// Its bytes, as they are.
    pub fn bytes(&self) -> &'l [u8] {
        let (Self::Text(bytes, _) | Self::Number(bytes) | Self::Other(bytes)) = self;
        bytes
    }

    /// Whether it is a string or a number.
    pub fn is_value(&self) -> bool {
        !matches!(self, Self::Other(_))
    }

    /// What it reads; the bytes of a string whose escapes are none, or that is no UTF-8.
    pub fn text(&self) -> Cow<'l, [u8]> {
        let bytes = self.bytes();
        if !matches!(self, Self::Text(..)) {
            return Cow::Borrowed(bytes);
        }
        let inner = bytes.strip_prefix(b"\"").unwrap_or(bytes);
        let inner = inner.strip_suffix(b"\"").unwrap_or(inner);
        let read = bytes.contains(&b'\\').then(|| serde_json::from_slice::<String>(bytes).ok()).flatten();
        read.map_or(Cow::Borrowed(inner), |text| Cow::Owned(text.into_bytes()))
    }
}

/// The tokens of a line.
pub(super) fn tokens(line: &[u8]) -> impl Iterator<Item = Token<'_>> {
    let mut rest = line;
    std::iter::from_fn(move || {
        let is_number = |byte: &u8| byte.is_ascii_digit() || b"+-.eE".contains(byte);
        let begins = |byte: &u8| byte.is_ascii_digit() || *byte == b'-';
        let first = *rest.first()?;
        let length = match first {
            b'"' => string(rest),
            _ if begins(&first) => until(rest, |byte| !is_number(byte)),
            _ => until(rest, |byte| *byte == b'"' || begins(byte)),
        };
        let (bytes, after) = rest.split_at(length);
        rest = after;
        Some(match first {
            b'"' => Token::Text(bytes, after.trim_ascii_start().first() == Some(&b':')),
            _ if begins(&first) => Token::Number(bytes),
            _ => Token::Other(bytes),
        })
    })
}

/// How long the string is with which `text` begins: to its quotes, or the end.
fn string(text: &[u8]) -> usize {
    let mut at = 1;
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    text.len()
}

fn until(text: &[u8], ends: impl Fn(&u8) -> bool) -> usize {
    text.iter().position(ends).unwrap_or(text.len())
}

/// A text as a string of JSON; what is no UTF-8 is put into quotes as it is.
pub(super) fn literal(text: &[u8]) -> Vec<u8> {
    match std::str::from_utf8(text) {
        Ok(text) => serde_json::Value::from(text).to_string().into_bytes(),
        Err(_) => [b"\"", text, b"\""].concat(),
    }
}
