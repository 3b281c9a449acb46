//! Bytes into lines: ended by LF, a CR before it taken off, empty ones left out, too long ones reported and left out.

/// Cuts a stream of bytes into lines, keeping at most one line's worth of them between reads.
#[derive(Debug)]
pub struct Framer {
    max_line_bytes: usize,
    /// The beginning of a line whose end has not come; if `done`, a line that was handed out.
    carry: Vec<u8>,
    done: bool,
    /// The rest of a line that is too long is being passed over.
    skipping: bool,
}

/// What was cut off.
#[derive(Debug, PartialEq, Eq)]
pub enum Framed<'a> {
    /// A line without its end.
    Line(&'a [u8]),
    /// A line longer than allowed; its bytes are gone.
    TooLong,
}

impl Framer {
    /// A framer of lines of at most `max_line_bytes` bytes, their end not counted.
    pub fn new(max_line_bytes: usize) -> Self {
        Self { max_line_bytes, carry: Vec::new(), done: false, skipping: false }
    }

    /// The next line that ends in `input`, which is moved on past it; `None` once `input` is used up.
    pub fn next<'a, 'b: 'a>(&'a mut self, input: &mut &'b [u8]) -> Option<Framed<'a>> {
        self.forget();
        while let Some(end) = input.iter().position(|byte| *byte == b'\n') {
            let (head, tail) = input.split_at(end);
            *input = &tail[1..];
            if std::mem::take(&mut self.skipping) {
                continue;
            }
            if !self.carry.is_empty() {
                self.carry.extend_from_slice(head);
                self.done = true;
                return Some(self.carried());
            }
            match framed(head, self.max_line_bytes) {
                Framed::Line([]) => {}
                framed => return Some(framed),
            }
        }
        self.keep(input)
    }

    /// What came after the last LF, once nothing more comes.
    pub fn finish(&mut self) -> Option<Framed<'_>> {
        self.forget();
        let rest = !self.carry.is_empty();
        self.done = rest;
        self.skipping = false;
        rest.then(|| self.carried())
    }

    fn carried(&self) -> Framed<'_> {
        framed(&self.carry, self.max_line_bytes)
    }

    fn forget(&mut self) {
        if std::mem::take(&mut self.done) {
            self.carry.clear();
        }
    }

    /// Keeps the beginning of a line; one more byte than a line may have is enough to know that it is too long.
    fn keep(&mut self, input: &mut &[u8]) -> Option<Framed<'static>> {
        let rest = std::mem::take(input);
        if self.skipping {
            return None;
        }
        self.carry.extend_from_slice(rest);
        // A CR at the end may yet come off.
        if self.carry.len() > self.max_line_bytes + 1 {
            self.carry = Vec::new();
            self.skipping = true;
            return Some(Framed::TooLong);
        }
        None
    }
}

fn framed(line: &[u8], max_line_bytes: usize) -> Framed<'_> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.len() > max_line_bytes { Framed::TooLong } else { Framed::Line(line) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(chunks: &[&[u8]], max_line_bytes: usize) -> Vec<Option<Vec<u8>>> {
        let mut framer = Framer::new(max_line_bytes);
        let mut out = Vec::new();
        let owned = |framed: Framed<'_>| match framed {
            Framed::Line(line) => Some(line.to_vec()),
            Framed::TooLong => None,
        };
        for chunk in chunks {
            let mut input = *chunk;
            while let Some(framed) = framer.next(&mut input) {
                out.push(owned(framed));
            }
        }
        out.extend(framer.finish().map(owned));
        out.retain(|line| line.as_deref() != Some(b""));
        out
    }

    #[test]
    fn ends_come_off_and_empty_lines_are_left_out() {
        let lines = frame(&[b"a\r\n\n\r\nb", b"c\nd"], 10);
        assert_eq!(lines, [Some(b"a".to_vec()), Some(b"bc".to_vec()), Some(b"d".to_vec())]);
    }

    #[test]
    fn a_long_line_is_reported_once_and_the_next_one_is_whole() {
        let lines = frame(&[b"0123", b"4567", b"89\nok\nlonglong\n"], 4);
        assert_eq!(lines, [None, Some(b"ok".to_vec()), None]);
    }

    proptest! {
        #[test]
        fn where_reads_end_does_not_matter(text in "[ab\r\n]{0,60}", cut in 0_usize..60, max in 1_usize..12) {
            let bytes = text.as_bytes();
            let (head, tail) = bytes.split_at(cut.min(bytes.len()));
            prop_assert_eq!(frame(&[head, tail], max), frame(&[bytes], max));
        }
    }
}
