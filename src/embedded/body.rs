//! Bodies of frames.
//!
//! * input: `i64 LE timestamp_us | u32 LE key length | key | payload`
//! * output, state: `u8 dataset | u16 LE partition | i64 LE timestamp_us | u32 LE key length | key | value`, where the
//!   timestamp is the `now_us` of the epoch

use evenkeel_schemas::Dataset;

/// Longest key and payload of an input together, so that its frame stays within bounds.
pub const MAX_RECORD_BYTES: usize = 32 << 20;

/// A record of an input partition.
#[derive(Debug, PartialEq, Eq)]
pub struct Input<'a> {
    /// When it came in, µs since the Unix epoch.
    pub timestamp_us: i64,
    /// Its key.
    pub key: &'a [u8],
    /// Its payload.
    pub payload: &'a [u8],
}

/// An output of an epoch.
#[derive(Debug, PartialEq, Eq)]
pub struct Output<'a> {
    /// What kind it is.
    pub dataset: Dataset,
    /// Its partition.
    pub partition: u16,
    /// The `now_us` of its epoch.
    pub at_us: i64,
    /// Its key.
    pub key: &'a [u8],
    /// Its value.
    pub value: &'a [u8],
}

impl<'a> Input<'a> {
    /// What precedes key and payload.
    pub fn header(&self) -> [u8; 12] {
        let mut header = [0; 12];
        header[..8].copy_from_slice(&self.timestamp_us.to_le_bytes());
        header[8..].copy_from_slice(&(self.key.len() as u32).to_le_bytes());
        header
    }

    /// Reads a body; `None` if it is none.
    #[inline]
    pub fn read(body: &'a [u8]) -> Option<Self> {
        let (timestamp, rest) = body.split_first_chunk()?;
        let (key, payload) = split_key(rest)?;
        Some(Self { timestamp_us: i64::from_le_bytes(*timestamp), key, payload })
    }
}

impl<'a> Output<'a> {
    /// What precedes key and value.
    pub fn header(&self) -> [u8; 15] {
        let mut header = [0; 15];
        header[0] = self.dataset as u8;
        header[1..3].copy_from_slice(&self.partition.to_le_bytes());
        header[3..11].copy_from_slice(&self.at_us.to_le_bytes());
        header[11..].copy_from_slice(&(self.key.len() as u32).to_le_bytes());
        header
    }

    /// Reads a body; `None` if it is none.
    #[inline]
    pub fn read(body: &'a [u8]) -> Option<Self> {
        let (&dataset, rest) = body.split_first()?;
        let (partition, rest) = rest.split_first_chunk()?;
        let (at, rest) = rest.split_first_chunk()?;
        let (key, value) = split_key(rest)?;
        Some(Self {
            dataset: Dataset::from_number(dataset)?,
            partition: u16::from_le_bytes(*partition),
            at_us: i64::from_le_bytes(*at),
            key,
            value,
        })
    }
}

fn split_key(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(u32::from_le_bytes(*length) as usize)
}
