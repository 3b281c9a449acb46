//! Frames: `u32 LE length of the body | u32 LE crc32 of the body | body`. Reading them is total.
//!
//! A body is never empty: eight zero bytes, which a file system may leave behind a power cut, would else be a frame.

/// Bytes before the body.
pub const HEADER_BYTES: usize = 8;

/// The longest body; a length above it is damage, not a frame still being written.
pub const MAX_BODY_BYTES: usize = 64 << 20;

/// What lies at the front of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame {
    /// A frame of so many bytes, header and body, whose checksum holds.
    Whole(usize),
    /// The beginning of a frame, or nothing.
    Short,
    /// What claims to be a frame of so many bytes and is none; only the header counts if its length cannot be.
    Damaged(usize),
}

/// Appends a frame whose body is `parts`, one after the other; together they are 1 to [`MAX_BODY_BYTES`] bytes.
pub fn write(out: &mut Vec<u8>, parts: &[&[u8]]) {
    let length = parts.iter().map(|part| part.len()).sum::<usize>();
    assert!((1..=MAX_BODY_BYTES).contains(&length), "callers bound their records");
    let mut checksum = crc32fast::Hasher::new();
    parts.iter().for_each(|part| checksum.update(part));
    out.extend((length as u32).to_le_bytes());
    out.extend(checksum.finalize().to_le_bytes());
    parts.iter().for_each(|part| out.extend_from_slice(part));
}

/// Looks at the front of `bytes`.
#[inline]
pub fn peek(bytes: &[u8]) -> Frame {
    let Some((header, rest)) = bytes.split_first_chunk::<HEADER_BYTES>() else { return Frame::Short };
    let [l0, l1, l2, l3, c0, c1, c2, c3] = *header;
    let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
    if length == 0 || length > MAX_BODY_BYTES {
        return Frame::Damaged(HEADER_BYTES);
    }
    match rest.get(..length) {
        None => Frame::Short,
        Some(body) if crc32fast::hash(body) == u32::from_le_bytes([c0, c1, c2, c3]) => {
            Frame::Whole(HEADER_BYTES + length)
        }
        Some(_) => Frame::Damaged(HEADER_BYTES + length),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_prefix_is_short_and_every_flip_is_no_frame_of_that_body() {
        let mut bytes = Vec::new();
        write(&mut bytes, &[b"key", b"", b"value"]);
        assert_eq!(peek(&bytes), Frame::Whole(16));
        assert_eq!(&bytes[HEADER_BYTES..], b"keyvalue");
        for end in 0..bytes.len() {
            assert_eq!(peek(&bytes[..end]), Frame::Short, "cut at {end}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!matches!(peek(&flipped), Frame::Whole(_)), "bit {bit}");
        }
    }

    #[test]
    fn zeros_are_no_frame() {
        assert_eq!(peek(&[0; 64]), Frame::Damaged(HEADER_BYTES));
    }
}
