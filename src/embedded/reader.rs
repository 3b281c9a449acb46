//! [`Reader`]: the reading end of a stream, which may be written meanwhile by another thread or process.
//!
//! A torn tail is *not there yet*: the frame is still being written, or its writer died and will cut it off. What is
//! torn anywhere else is damage.

use super::disk::{damaged, retry, segment_bases, segment_of, segment_path};
use super::frames::{self, Frame};
use crate::ports::PortError;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Bytes read at a time.
const CHUNK_BYTES: usize = 256 << 10;

/// A frame's body and where it ends.
#[derive(Debug)]
pub struct Found<'a> {
    /// The position after the frame.
    pub end: u64,
    /// The body.
    pub body: &'a [u8],
}

/// Reads frames from a position on.
#[derive(Debug)]
pub struct Reader {
    directory: PathBuf,
    segment: Option<Segment>,
    /// From `consumed` on, the bytes from `position` on.
    buffer: Vec<u8>,
    consumed: usize,
    position: u64,
}

#[derive(Debug)]
struct Segment {
    base: u64,
    path: PathBuf,
    file: File,
}

impl Reader {
    /// A reader of the stream in `directory`, which need not be there yet, from `position`, where a frame begins.
    pub fn new(directory: PathBuf, position: u64) -> Self {
        Self { directory, segment: None, buffer: Vec::new(), consumed: 0, position }
    }

    /// Where the next frame begins.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The next frame; `None` if it is not there yet.
    ///
    /// # Errors
    /// `Fatal` if a frame is damaged, `Retry` if the disk fails.
    pub fn next(&mut self) -> Result<Option<Found<'_>>, PortError> {
        Ok(self.find()?.map(|length| self.take(length)))
    }

    /// The next frame among those before `end`, all of which are known to be there; `None` at `end`.
    ///
    /// # Errors
    /// `Fatal` if a frame before `end` is damaged or missing, `Retry` if the disk fails.
    pub fn next_before(&mut self, end: u64) -> Result<Option<Found<'_>>, PortError> {
        if self.position >= end {
            return Ok(None);
        }
        match self.find()? {
            Some(length) if self.position + length as u64 <= end => Ok(Some(self.take(length))),
            _ => Err(self.damage("a committed record is damaged or missing")),
        }
    }

    /// Whether another whole frame is there.
    pub fn has_more(&mut self) -> Result<bool, PortError> {
        Ok(self.find()?.is_some())
    }

    /// Says that the record at the reader's position is not what it should be.
    pub fn damage(&self, what: &str) -> PortError {
        let base = self.segment.as_ref().map_or(0, |segment| segment.base);
        let path = self.segment.as_ref().map_or(&self.directory, |segment| &segment.path);
        damaged(path, &format!("byte {}: {what}", self.position - base))
    }

    fn take(&mut self, length: usize) -> Found<'_> {
        let start = self.consumed + frames::HEADER_BYTES;
        self.consumed += length;
        self.position += length as u64;
        Found { end: self.position, body: &self.buffer[start..self.consumed] }
    }

    /// Brings the next frame into the buffer; its bytes, header and body.
    fn find(&mut self) -> Result<Option<usize>, PortError> {
        loop {
            match frames::peek(&self.buffer[self.consumed..]) {
                Frame::Whole(length) => return Ok(Some(length)),
                Frame::Damaged(length) => {
                    if !self.is_torn(length as u64)? {
                        return Err(self.damage("the record is damaged"));
                    }
                    return Ok(self.not_yet());
                }
                Frame::Short => {
                    if !self.fill()? && !self.enter_next_segment()? {
                        return Ok(self.not_yet());
                    }
                }
            }
        }
    }

    /// Forgets the bytes of a frame that is not whole: its writer may cut it off and write another.
    fn not_yet(&mut self) -> Option<usize> {
        self.buffer.truncate(self.consumed);
        None
    }

    /// Reads on in the segment; whether there were more bytes.
    fn fill(&mut self) -> Result<bool, PortError> {
        if self.segment.is_none() && !self.enter_first_segment()? {
            return Ok(false);
        }
        let segment = self.segment.as_ref().expect("entered above");
        self.buffer.drain(..self.consumed);
        self.consumed = 0;
        let held = self.buffer.len();
        self.buffer.resize(held + CHUNK_BYTES, 0);
        let at = self.position - segment.base + held as u64;
        let read = segment.file.read_at(&mut self.buffer[held..], at).map_err(retry("read", &segment.path))?;
        self.buffer.truncate(held + read);
        Ok(read > 0)
    }

    fn enter_first_segment(&mut self) -> Result<bool, PortError> {
        let bases = segment_bases(&self.directory)?;
        match segment_of(&bases, self.position) {
            Some(base) => self.enter(base),
            None if bases.is_empty() => Ok(false),
            None => Err(self.damage("the records from here to the first segment are gone")),
        }
    }

    /// At the end of a segment: goes on in the next one, if it was closed.
    fn enter_next_segment(&mut self) -> Result<bool, PortError> {
        let Some(base) = self.segment.as_ref().map(|segment| segment.base) else { return Ok(false) };
        if self.consumed < self.buffer.len() {
            return if self.is_last(base)? { Ok(false) } else { Err(self.damage("the record is cut off")) };
        }
        Ok(self.position > base && self.enter(self.position)?)
    }

    fn enter(&mut self, base: u64) -> Result<bool, PortError> {
        let path = segment_path(&self.directory, base);
        match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            file => {
                let file = file.map_err(retry("open", &path))?;
                self.segment = Some(Segment { base, path, file });
                Ok(true)
            }
        }
    }

    fn is_last(&self, base: u64) -> Result<bool, PortError> {
        Ok(segment_bases(&self.directory)?.last().is_none_or(|last| *last <= base))
    }

    /// Whether a frame that claims `length` bytes and is none is the tail: the last thing in the stream, or followed
    /// by nothing but the zeros with which a file system lengthens a file before its bytes arrive.
    fn is_torn(&self, length: u64) -> Result<bool, PortError> {
        let segment = self.segment.as_ref().expect("the bytes came from a segment");
        let from = self.position - segment.base;
        let end = segment.file.metadata().map_err(retry("measure", &segment.path))?.len();
        let is_tail = end <= from + length || is_zero(&segment.file, from).map_err(retry("read", &segment.path))?;
        Ok(is_tail && self.is_last(segment.base)?)
    }
}

fn is_zero(file: &File, mut from: u64) -> io::Result<bool> {
    let mut chunk = [0; 4096];
    loop {
        match file.read_at(&mut chunk, from)? {
            0 => return Ok(true),
            read if chunk[..read].iter().any(|byte| *byte != 0) => return Ok(false),
            read => from += read as u64,
        }
    }
}

/// The position after the last whole frame of a stream: where its writer goes on.
///
/// # Errors
/// `Fatal` if a frame before the tail of the last segment is damaged.
pub fn end_of(directory: &Path) -> Result<u64, PortError> {
    let last = segment_bases(directory)?.last().copied().unwrap_or(0);
    let mut reader = Reader::new(directory.to_owned(), last);
    while reader.next()?.is_some() {}
    Ok(reader.position())
}
