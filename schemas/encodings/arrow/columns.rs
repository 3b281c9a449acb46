//! The buffers of a record batch or dictionary, and what lies in them.

use super::plan::{Taken, Width};
use super::table::{Table, Vector, chunk};
use super::{malformed, unsupported};
use crate::encodings::texts::{Texts as Checked, text_of};
use crate::event::Refusal;
use std::ops::Range;

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
pub(super) fn is_valid(validity: Option<&[u8]>, row: usize) -> bool {
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

    /// Gives out the values of some rows in their order, whether they are null or not. One above those of 64 bits with
    /// a sign reads as the greatest of them.
    #[inline(always)]
    fn each_value(&self, rows: Range<usize>, mut each: impl FnMut(usize, i64)) {
        /// Numbers of `N` bytes.
        #[inline(always)]
        fn run<const N: usize>(
            bytes: &[u8],
            rows: Range<usize>,
            value: impl Fn([u8; N]) -> i64,
            each: &mut impl FnMut(usize, i64),
        ) {
            let bytes = bytes.get(rows.start * N..rows.end * N).unwrap_or_default();
            bytes.as_chunks().0.iter().enumerate().for_each(|(at, chunk)| each(at, value(*chunk)));
        }
        let (bytes, each) = (self.bytes, &mut each);
        let Width { bytes: width, is_signed } = self.width;
        match (width, is_signed) {
            (1, false) => run(bytes, rows, |chunk| u8::from_le_bytes(chunk).into(), each),
            (1, true) => run(bytes, rows, |chunk| i8::from_le_bytes(chunk).into(), each),
            (2, false) => run(bytes, rows, |chunk| u16::from_le_bytes(chunk).into(), each),
            (2, true) => run(bytes, rows, |chunk| i16::from_le_bytes(chunk).into(), each),
            (4, false) => run(bytes, rows, |chunk| u32::from_le_bytes(chunk).into(), each),
            (4, true) => run(bytes, rows, |chunk| i32::from_le_bytes(chunk).into(), each),
            (_, false) => run(bytes, rows, |chunk| i64::try_from(u64::from_le_bytes(chunk)).unwrap_or(i64::MAX), each),
            (_, true) => run(bytes, rows, i64::from_le_bytes, each),
        }
    }

    /// Gives out the values of some rows in their order; `None` for null.
    #[inline(always)]
    pub(super) fn each(&self, rows: Range<usize>, mut each: impl FnMut(usize, Option<i64>)) {
        let from = rows.start;
        match self.validity {
            None => self.each_value(rows, |at, value| each(at, Some(value))),
            validity => {
                self.each_value(rows, |at, value| each(at, is_valid(validity, from + at).then_some(value)));
            }
        }
    }
}

/// A column of strings: a list of words, by row or by index.
pub(super) struct Texts<'a> {
    /// The list's range in [`Words::all`].
    pub words: Range<usize>,
    pub indices: Option<Integers<'a>>,
    pub validity: Option<&'a [u8]>,
}

impl Texts<'_> {
    /// Gives out the values of some rows, in their order: the empty string for null, `None` for what is malformed.
    #[inline(always)]
    pub(super) fn each<'a>(
        &self,
        rows: Range<usize>,
        all: &[Option<&'a str>],
        mut each: impl FnMut(usize, Option<&'a str>),
    ) {
        let words = all.get(self.words.clone()).unwrap_or_default();
        let word = |at: usize| words.get(at).copied().flatten();
        let (from, validity) = (rows.start, self.validity);
        let index = |value: i64| usize::try_from(value).ok().and_then(word);
        match (validity, &self.indices) {
            (None, None) => rows.enumerate().for_each(|(at, row)| each(at, word(row))),
            (None, Some(indices)) => indices.each_value(rows, |at, value| each(at, index(value))),
            (_, None) => rows.enumerate().for_each(|(at, row)| {
                each(at, if is_valid(validity, row) { word(row) } else { Some("") });
            }),
            (_, Some(indices)) => indices.each_value(rows, |at, value| {
                each(at, if is_valid(validity, from + at) { index(value) } else { Some("") });
            }),
        }
    }
}

/// Lists of strings. A string that is no UTF-8, or lies beyond its data, is `None`.
pub(super) struct Words<'a> {
    /// All lists, one after the other.
    pub all: Vec<Option<&'a str>>,
    /// So many more bytes are looked at where they may overlap, in buffers of views and in strings that are checked one
    /// by one: a payload must not take longer to check than its length says.
    budget: usize,
}

impl<'a> Words<'a> {
    pub(super) fn new(payload: usize) -> Self {
        Self { all: Vec::with_capacity(payload / 32), budget: payload.saturating_mul(16) }
    }

    /// Adds a list by ascending offsets of `N` bytes into `data`; returns its range.
    pub(super) fn by_offsets<const N: usize>(
        &mut self,
        (offsets, data): (&[u8], &'a [u8]),
        length: usize,
        offset: impl Fn([u8; N]) -> usize,
    ) -> Result<Range<usize>, Refusal> {
        let begin = self.all.len();
        let (offsets, checked) = (offsets.as_chunks::<N>().0, Checked::new(data));
        // Offsets of an empty column may be left out.
        let Some((first, ends)) = offsets.split_first().filter(|(_, ends)| ends.len() >= length) else {
            return if length == 0 { Ok(begin..begin) } else { Err(malformed("fewer offsets than its column needs")) };
        };
        let (mut from, mut highest) = (offset(*first), 0);
        self.all.extend(ends.iter().take(length).map(|end| {
            let to = offset(*end);
            // Never back: what is checked one by one is checked once.
            let word = if from >= highest { checked.get(from, to) } else { None };
            (from, highest) = (to, highest.max(to));
            word
        }));
        Ok(begin..self.all.len())
    }

    /// Adds a list by views of 16 bytes: a length, then up to 12 bytes of text, or its first four, the number of a
    /// buffer and an offset.
    pub(super) fn by_views(
        &mut self,
        views: &'a [u8],
        data: &[&'a [u8]],
        length: usize,
        validity: Option<&[u8]>,
    ) -> Result<Range<usize>, Refusal> {
        if length.checked_mul(16).is_none_or(|needed| needed > views.len()) {
            return Err(malformed("fewer views than its column needs"));
        }
        let all = data.iter().map(|data| data.len()).fold(0, usize::saturating_add);
        self.budget = self.budget.checked_sub(all).ok_or_else(|| malformed("buffers that overlap too much"))?;
        let checked = data.iter().map(|data| Checked::new(data)).collect::<Vec<_>>();
        let begin = self.all.len();
        for (row, view) in views.chunks_exact(16).take(length).enumerate() {
            let word = if is_valid(validity, row) { self.view(view, &checked) } else { None };
            self.all.push(word);
        }
        Ok(begin..self.all.len())
    }

    fn view(&mut self, view: &'a [u8], data: &[Checked<'a>]) -> Option<&'a str> {
        let number = |at: usize| Some(u32::from_le_bytes(chunk(view, at)?) as usize);
        let length = number(0)?;
        if length <= 12 {
            return text_of(view.get(4..4 + length)?);
        }
        let (data, from) = (data.get(number(8)?)?, number(12)?);
        if data.are_mixed() {
            self.budget = self.budget.checked_sub(length)?;
        }
        data.get(from, from.checked_add(length)?)
    }
}
