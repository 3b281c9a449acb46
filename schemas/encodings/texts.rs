//! [`Texts`]: strings of a payload, checked as UTF-8 together.

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
    #[inline]
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, text: std::str::from_utf8(bytes).unwrap_or_default() }
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
