//! [`Table`]: what is needed of flatbuffers (<https://flatbuffers.dev/internals/>), by checked offsets.
//!
//! An offset that leads out of the bytes reads as if the field were not there: whoever needs it then says what is
//! missing. Tables are read and not walked, so cycles and shared tables cost nothing; who walks has to count.

/// A table: its fields are found by way of its vtable.
#[derive(Clone, Copy)]
pub(super) struct Table<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The vtable's entries, two bytes for each field.
    entries: &'a [u8],
}

/// Elements of a vector, so many bytes each.
#[derive(Clone, Copy)]
pub(super) struct Vector<'a> {
    bytes: &'a [u8],
    /// Where the first element is.
    at: usize,
    /// How many there are.
    pub(super) length: usize,
}

impl<'a> Table<'a> {
    /// The root table of a buffer.
    pub(super) fn root(bytes: &'a [u8]) -> Option<Self> {
        Self::at(bytes, follow(bytes, 0)?)
    }

    fn at(bytes: &'a [u8], at: usize) -> Option<Self> {
        let back = i64::from(i32::from_le_bytes(chunk(bytes, at)?));
        let vtable = usize::try_from(i64::try_from(at).ok()?.checked_sub(back)?).ok()?;
        let size = usize::from(u16::from_le_bytes(chunk(bytes, vtable)?));
        let entries = bytes.get(vtable.checked_add(4)?..vtable.checked_add(size)?)?;
        Some(Self { bytes, at, entries })
    }

    /// Where the value of a field is, if it is there.
    fn place(&self, field: usize) -> Option<usize> {
        match u16::from_le_bytes(chunk(self.entries, 2 * field)?) {
            0 => None,
            offset => self.at.checked_add(usize::from(offset)),
        }
    }

    /// The bytes of a number, lowest first.
    fn scalar<const N: usize>(&self, field: usize) -> Option<[u8; N]> {
        chunk(self.bytes, self.place(field)?)
    }

    /// A byte; zero if it is not there.
    pub(super) fn u8(&self, field: usize) -> u8 {
        self.scalar(field).map_or(0, u8::from_le_bytes)
    }

    /// A number of 16 bits, or what it is if it is not there.
    pub(super) fn i16(&self, field: usize, otherwise: i16) -> i16 {
        self.scalar(field).map_or(otherwise, i16::from_le_bytes)
    }

    /// A number of 32 bits; zero if it is not there.
    pub(super) fn i32(&self, field: usize) -> i32 {
        self.scalar(field).map_or(0, i32::from_le_bytes)
    }

    /// A number of 64 bits; zero if it is not there.
    pub(super) fn i64(&self, field: usize) -> i64 {
        self.scalar(field).map_or(0, i64::from_le_bytes)
    }

    /// A table.
    pub(super) fn table(&self, field: usize) -> Option<Self> {
        Self::at(self.bytes, follow(self.bytes, self.place(field)?)?)
    }

    /// A vector whose elements have `width` bytes, all of them within the buffer.
    pub(super) fn vector(&self, field: usize, width: usize) -> Option<Vector<'a>> {
        let at = follow(self.bytes, self.place(field)?)?;
        let length = usize::try_from(u32::from_le_bytes(chunk(self.bytes, at)?)).ok()?;
        let at = at.checked_add(4)?;
        let end = at.checked_add(length.checked_mul(width)?)?;
        (end <= self.bytes.len()).then_some(Vector { bytes: self.bytes, at, length })
    }

    /// The bytes of a string.
    pub(super) fn string(&self, field: usize) -> Option<&'a [u8]> {
        let Vector { bytes, at, length } = self.vector(field, 1)?;
        bytes.get(at..at + length)
    }
}

impl<'a> Vector<'a> {
    /// The table that the element of this number points to.
    pub(super) fn table(&self, number: usize) -> Option<Table<'a>> {
        Table::at(self.bytes, follow(self.bytes, self.at.checked_add(number.checked_mul(4)?)?)?)
    }

    /// The element of this number, which is two numbers of 64 bits.
    pub(super) fn pair(&self, number: usize) -> Option<(i64, i64)> {
        if number >= self.length {
            return None;
        }
        let at = self.at.checked_add(number.checked_mul(16)?)?;
        Some((i64::from_le_bytes(chunk(self.bytes, at)?), i64::from_le_bytes(chunk(self.bytes, at.checked_add(8)?)?)))
    }

    /// The element of this number, which is a number of 64 bits.
    pub(super) fn i64(&self, number: usize) -> Option<i64> {
        if number >= self.length {
            return None;
        }
        Some(i64::from_le_bytes(chunk(self.bytes, self.at.checked_add(number.checked_mul(8)?)?)?))
    }
}

/// Where the offset at `at` leads.
fn follow(bytes: &[u8], at: usize) -> Option<usize> {
    at.checked_add(usize::try_from(u32::from_le_bytes(chunk(bytes, at)?)).ok()?)
}

/// The `N` bytes at `at`.
#[inline]
pub(super) fn chunk<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}
