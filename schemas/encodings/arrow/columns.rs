//! The buffers of a record batch or dictionary, and what lies in them.

use super::plan::{Taken, Width};
use super::table::{Table, Vector, chunk};
use super::{malformed, unsupported};
use crate::encodings::Texts as Checked;
use crate::event::Refusal;

/// Takes nodes and buffers off a `RecordBatch` table, in their order.
pub(super) struct Buffers<'a> {
    body: &'a [u8],
    nodes: Vector<'a>,
    buffers: Vector<'a>,
    /// How many buffers of data each column of views has; none if there are no such columns.
    counts: Option<Vector<'a>>,
    taken: Taken,
}

impl<'a> Buffers<'a> {
    pub(super) fn new(data: Table<'a>, body: &'a [u8]) -> Result<Self, Refusal> {
        if let Some(compression) = data.table(3) {
            // `CompressionType` in Message.fbs.
            let name = ["LZ4_FRAME", "ZSTD"].get(usize::from(compression.u8(0))).unwrap_or(&"an unknown codec");
            return Err(unsupported(format!("a body compressed with {name}: let the Kafka client compress instead")));
        }
        let nodes = data.vector(1, 16).ok_or_else(|| malformed("a batch without field nodes"))?;
        let buffers = data.vector(2, 16).ok_or_else(|| malformed("a batch without buffers"))?;
        Ok(Self { body, nodes, buffers, counts: data.vector(4, 8), taken: Taken::default() })
    }

    /// Takes the node of a column and its validity: how many values it has, and a bit for each that is not null, if
    /// any is null.
    pub(super) fn node(&mut self) -> Result<(usize, Option<&'a [u8]>), Refusal> {
        let node = self.nodes.pair(self.taken.nodes);
        let length = node.and_then(|(length, nulls)| Some((usize::try_from(length).ok()?, nulls)));
        let (length, nulls) = length.ok_or_else(|| malformed("fewer field nodes than fields"))?;
        self.taken.nodes += 1;
        let validity = self.next()?;
        if nulls == 0 {
            return Ok((length, None));
        }
        if validity.len() < length.div_ceil(8) {
            return Err(malformed("a validity bitmap shorter than its column"));
        }
        Ok((length, Some(validity)))
    }

    /// Takes a buffer.
    pub(super) fn next(&mut self) -> Result<&'a [u8], Refusal> {
        let place = self.buffers.pair(self.taken.buffers);
        let (offset, length) = place.ok_or_else(|| malformed("fewer buffers than the columns need"))?;
        self.taken.buffers += 1;
        let range = usize::try_from(offset).ok().zip(usize::try_from(length).ok());
        let bytes = range.and_then(|(offset, length)| self.body.get(offset..offset.checked_add(length)?));
        bytes.ok_or_else(|| malformed("a buffer beyond its body"))
    }

    /// Takes the data of a column of views.
    pub(super) fn variadic(&mut self) -> Result<Vec<&'a [u8]>, Refusal> {
        let count = self.count()?;
        // No vector of so many: `next` ends at the buffers there are.
        (0..count).map(|_| self.next()).collect()
    }

    fn count(&mut self) -> Result<usize, Refusal> {
        let count = self.counts.and_then(|counts| usize::try_from(counts.i64(self.taken.views)?).ok());
        self.taken.views += 1;
        count.ok_or_else(|| malformed("a column of views without its count of buffers"))
    }

    /// Passes over a column that is ignored.
    pub(super) fn pass(&mut self, column: Taken) -> Result<(), Refusal> {
        for _ in 0..column.views {
            let count = self.count()?;
            self.taken.buffers = self.taken.buffers.saturating_add(count);
        }
        self.taken.nodes += column.nodes;
        self.taken.buffers = self.taken.buffers.saturating_add(column.buffers);
        Ok(())
    }
}

/// Whether a value is there.
#[inline(always)]
fn is_valid(validity: Option<&[u8]>, row: usize) -> bool {
    validity.is_none_or(|bits| bits.get(row / 8).is_some_and(|byte| byte >> (row % 8) & 1 != 0))
}

/// A column of integers.
#[derive(Clone, Copy)]
pub(super) struct Integers<'a> {
    bytes: &'a [u8],
    width: Width,
    validity: Option<&'a [u8]>,
}

impl<'a> Integers<'a> {
    pub(super) fn new(
        bytes: &'a [u8],
        width: Width,
        validity: Option<&'a [u8]>,
        length: usize,
    ) -> Result<Self, Refusal> {
        if length.checked_mul(width.bytes).is_none_or(|needed| needed > bytes.len()) {
            return Err(malformed("a buffer shorter than its column"));
        }
        Ok(Self { bytes, width, validity })
    }

    /// A value; `None` if it is null. One above those of 64 bits with a sign reads as the greatest of them.
    #[inline(always)]
    pub(super) fn get(&self, row: usize) -> Option<i64> {
        if !is_valid(self.validity, row) {
            return None;
        }
        let Width { bytes: width, is_signed } = self.width;
        let at = row * width;
        Some(match (width, is_signed) {
            (8, true) => i64::from_le_bytes(chunk(self.bytes, at)?),
            (4, true) => i64::from(i32::from_le_bytes(chunk(self.bytes, at)?)),
            (4, false) => i64::from(u32::from_le_bytes(chunk(self.bytes, at)?)),
            (2, true) => i64::from(i16::from_le_bytes(chunk(self.bytes, at)?)),
            (2, false) => i64::from(u16::from_le_bytes(chunk(self.bytes, at)?)),
            (1, true) => i64::from(i8::from_le_bytes(chunk(self.bytes, at)?)),
            (1, false) => i64::from(u8::from_le_bytes(chunk(self.bytes, at)?)),
            _ => i64::try_from(u64::from_le_bytes(chunk(self.bytes, at)?)).unwrap_or(i64::MAX),
        })
    }
}

/// A column of strings: a list of words, by row or by index.
pub(super) struct Texts<'a> {
    /// The number of the list.
    pub words: usize,
    pub indices: Option<Integers<'a>>,
    pub validity: Option<&'a [u8]>,
}

impl Texts<'_> {
    /// A value: `Some(None)` if it is null, `None` if it is malformed.
    #[inline(always)]
    pub(super) fn get<'a>(&self, row: usize, words: &[Option<&'a str>]) -> Option<Option<&'a str>> {
        if !is_valid(self.validity, row) {
            return Some(None);
        }
        let at = match &self.indices {
            Some(indices) => usize::try_from(indices.get(row)?).ok()?,
            None => row,
        };
        words.get(at).copied()?.map(Some)
    }
}

/// Lists of strings. A string that is no UTF-8, or lies beyond its data, is `None`.
pub(super) struct Words<'a> {
    pub lists: Vec<Vec<Option<&'a str>>>,
    /// So many more bytes are looked at where they may overlap, in buffers of views and in strings that are checked one
    /// by one: a payload must not take longer to check than its length says.
    budget: usize,
}

impl<'a> Words<'a> {
    pub(super) fn new(payload: usize) -> Self {
        Self { lists: Vec::with_capacity(9), budget: payload.saturating_mul(16) }
    }

    /// Adds a list by ascending offsets into `data`; returns its number.
    pub(super) fn by_offsets(
        &mut self,
        offsets: &[u8],
        data: &'a [u8],
        length: usize,
        offset: impl Fn(usize) -> Option<usize>,
    ) -> Result<usize, Refusal> {
        // Offsets of an empty column may be left out. Each offset has at least four bytes: this bounds the list.
        if length > 0 && (offsets.len() / 4 <= length || offset(length).is_none()) {
            return Err(malformed("fewer offsets than its column needs"));
        }
        let (checked, mut from, mut highest) = (Checked::new(data), offset(0).unwrap_or(0), 0);
        let mut list = Vec::with_capacity(length);
        for row in 0..length {
            let to = offset(row + 1).unwrap_or(0);
            // Never back: what is checked one by one is checked once.
            list.push(if from >= highest { checked.get(from, to) } else { None });
            (from, highest) = (to, highest.max(to));
        }
        self.lists.push(list);
        Ok(self.lists.len() - 1)
    }

    /// Adds a list by views of 16 bytes: a length, then up to 12 bytes of text, or its first four, the number of a
    /// buffer and an offset.
    pub(super) fn by_views(
        &mut self,
        views: &'a [u8],
        data: &[&'a [u8]],
        length: usize,
        validity: Option<&[u8]>,
    ) -> Result<usize, Refusal> {
        if length.checked_mul(16).is_none_or(|needed| needed > views.len()) {
            return Err(malformed("fewer views than its column needs"));
        }
        let all = data.iter().map(|data| data.len()).fold(0, usize::saturating_add);
        self.budget = self.budget.checked_sub(all).ok_or_else(|| malformed("buffers that overlap too much"))?;
        let checked = data.iter().map(|data| Checked::new(data)).collect::<Vec<_>>();
        let mut list = Vec::with_capacity(length);
        for (row, view) in views.chunks_exact(16).take(length).enumerate() {
            list.push(if is_valid(validity, row) { self.view(view, &checked) } else { None });
        }
        self.lists.push(list);
        Ok(self.lists.len() - 1)
    }

    fn view(&mut self, view: &'a [u8], data: &[Checked<'a>]) -> Option<&'a str> {
        let number = |at: usize| Some(u32::from_le_bytes(chunk(view, at)?) as usize);
        let length = number(0)?;
        if length <= 12 {
            return std::str::from_utf8(view.get(4..4 + length)?).ok();
        }
        let (data, from) = (data.get(number(8)?)?, number(12)?);
        if data.are_mixed() {
            self.budget = self.budget.checked_sub(length)?;
        }
        data.get(from, from.checked_add(length)?)
    }
}
