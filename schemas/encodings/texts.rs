//! [`Texts`]: strings of a payload, checked as UTF-8 together.
//!
//! # Safety
//! ASCII is UTF-8: bytes of which each was found to be ASCII are a string. The standard library's own check takes twice
//! as long for the hundred bytes of a request, since it looks at what is not aligned byte by byte.
#![expect(unsafe_code, reason = "bytes known to be ASCII become a string; see the safety part")]

/// The strings that lie in a range of bytes.
///
/// If all of the range is UTF-8, any part of it that begins and ends at boundaries of characters is, too; `str::get`
/// looks at the boundaries only. If not all of it is, each string is checked by itself.
#[derive(Clone, Copy)]
pub(super) struct Texts<'a> {
    bytes: &'a [u8],
    /// As much of `bytes` as was found to be text: all of it or nothing.
    text: &'a str,
}

impl<'a> Texts<'a> {
    #[inline(always)]
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, text: text_of(bytes).unwrap_or_default() }
    }

    /// Whether each string has to be checked by itself.
    #[inline]
    pub(super) fn are_mixed(&self) -> bool {
        self.text.len() != self.bytes.len()
    }

    /// The string of these bytes; `None` if it is no UTF-8 or not within the range.
    #[inline(always)]
    pub(super) fn get(&self, from: usize, to: usize) -> Option<&'a str> {
        match self.text.get(from..to) {
            Some(text) => Some(text),
            None => self.alone(from, to),
        }
    }

    #[cold]
    #[inline(never)]
    fn alone(&self, from: usize, to: usize) -> Option<&'a str> {
        std::str::from_utf8(self.bytes.get(from..to)?).ok()
    }
}

/// The string that these bytes are, if they are UTF-8.
#[inline(always)]
pub(super) fn text_of(bytes: &[u8]) -> Option<&str> {
    if bytes.is_ascii() {
        // SAFETY: every byte is ASCII.
        return Some(unsafe { std::str::from_utf8_unchecked(bytes) });
    }
    unicode(bytes)
}

#[inline(never)]
fn unicode(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}
