//! [`Stream`]: the writing end of a directory of segment files.
//!
//! Invariant: a segment is synced before the next one is made, and the directory before the next one is written, so
//! only the tail of the last segment can be torn.

use super::disk::{damaged, make_directory, retry, segment_bases, segment_of, segment_path, sync_directory};
use super::frames;
use crate::ports::PortError;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// A segment is closed when it is this long, bytes.
pub const SEGMENT_BYTES: u64 = 64 << 20;

/// Frames are gathered up to this many bytes before they are written.
const BUFFER_BYTES: usize = 1 << 20;

/// An append-only stream of frames. After an error it must be opened anew: nobody knows what was written.
#[derive(Debug)]
pub struct Stream {
    directory: PathBuf,
    segment_bytes: u64,
    file: File,
    base: u64,
    end: u64,
    buffer: Vec<u8>,
    is_dirty: bool,
}

impl Stream {
    /// Opens a stream whose last valid byte lies before `end`; whatever lies beyond is cut off, durably.
    ///
    /// # Errors
    /// `Fatal` if bytes before `end` are missing.
    pub fn open(directory: &Path, end: u64, segment_bytes: u64) -> Result<Self, PortError> {
        make_directory(directory)?;
        let bases = segment_bases(directory)?;
        let missing = || damaged(directory, &format!("committed up to byte {end}, but not so many are there"));
        let base = match segment_of(&bases, end) {
            None if end > 0 => return Err(missing()),
            found => found.unwrap_or(0),
        };
        // Newest first: a crash in between leaves a stream without a hole.
        for base in bases.iter().rev().take_while(|base| **base > end) {
            remove(&segment_path(directory, *base))?;
        }
        let path = segment_path(directory, base);
        let file = File::options().create(true).write(true).truncate(false).open(&path);
        let mut file = file.map_err(retry("open the segment", &path))?;
        let length = file.metadata().map_err(retry("measure", &path))?.len();
        if length < end - base {
            return Err(missing());
        }
        if length > end - base {
            file.set_len(end - base).and_then(|()| file.sync_all()).map_err(retry("cut", &path))?;
        }
        file.seek(SeekFrom::End(0)).map_err(retry("seek", &path))?;
        sync_directory(directory)?;
        let directory = directory.to_owned();
        Ok(Self { directory, segment_bytes, file, base, end, buffer: Vec::new(), is_dirty: false })
    }

    /// The position after the last frame.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Appends one frame whose body is `parts`; it may stay in memory until [`Stream::flush`].
    pub fn append(&mut self, parts: &[&[u8]]) -> Result<(), PortError> {
        let bytes = parts.iter().map(|part| part.len()).sum::<usize>();
        if bytes > frames::MAX_BODY_BYTES {
            let at = self.directory.display();
            return Err(PortError::Fatal(format!(
                "{at}: a record of {bytes} bytes is longer than {}",
                frames::MAX_BODY_BYTES
            )));
        }
        if self.end - self.base >= self.segment_bytes {
            self.roll()?;
        }
        frames::write(&mut self.buffer, parts);
        self.end += (frames::HEADER_BYTES + bytes) as u64;
        if self.buffer.len() >= BUFFER_BYTES { self.flush() } else { Ok(()) }
    }

    /// Hands everything to the operating system: readers see it, a power cut may still lose it.
    pub fn flush(&mut self) -> Result<(), PortError> {
        if !self.buffer.is_empty() {
            self.is_dirty = true;
            self.file.write_all(&self.buffer).map_err(retry("append", &self.directory))?;
            self.buffer.clear();
        }
        Ok(())
    }

    /// Makes everything durable.
    pub fn sync(&mut self) -> Result<(), PortError> {
        self.flush()?;
        if std::mem::take(&mut self.is_dirty) {
            self.file.sync_data().map_err(retry("sync", &self.directory))?;
        }
        Ok(())
    }

    /// Closes the segment, durably, and begins the next one where it ends.
    pub fn roll(&mut self) -> Result<(), PortError> {
        self.sync()?;
        let path = segment_path(&self.directory, self.end);
        let file = File::options().create(true).write(true).truncate(true).open(&path);
        self.file = file.map_err(retry("make the segment", &path))?;
        self.base = self.end;
        sync_directory(&self.directory)
    }

    /// Removes the segments that end at or before `position`. A crash in between leaves some of them.
    pub fn drop_before(&mut self, position: u64) -> Result<(), PortError> {
        let bases = segment_bases(&self.directory)?;
        let kept = segment_of(&bases, position).unwrap_or(0);
        for base in bases.into_iter().take_while(|base| *base < kept) {
            remove(&segment_path(&self.directory, base))?;
        }
        sync_directory(&self.directory)
    }
}

fn remove(path: &Path) -> Result<(), PortError> {
    std::fs::remove_file(path).map_err(retry("remove", path))
}
