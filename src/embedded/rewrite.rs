//! [`rewrite`]: changes what is committed, as somebody with the disk and this code can. It is there to show that the
//! audit log tells.

use super::body::Output as Body;
use super::disk::{retry, segment_bases, segment_path};
use super::frames;
use super::ledger::{committed_ends, outputs_directory};
use super::manifest::Manifest;
use super::reader::Reader;
use crate::ports::PortError;
use evenkeel_dataflows::Output;
use std::path::Path;

/// Reads every committed output of a data directory, has them changed, and writes them in place of those before, with
/// checksums and ends that fit. No ledger may be open.
///
/// # Errors
/// If the disk fails.
pub fn rewrite(directory: &Path, change: impl FnOnce(&mut Vec<Output>)) -> Result<(), PortError> {
    let (mut ends, stream) = (committed_ends(directory)?, outputs_directory(directory));
    let (mut outputs, mut times_us) = (Vec::new(), Vec::new());
    let mut reader = Reader::new(stream.clone(), 0);
    while let Some(found) = reader.next_before(ends.outputs)? {
        let Some(Body { dataset, partition, at_us, key, value }) = Body::read(found.body) else { continue };
        outputs.push(Output { dataset, partition: partition.into(), key: key.to_vec(), value: value.to_vec() });
        times_us.push(at_us);
    }
    change(&mut outputs);
    let (mut bytes, last_us) = (Vec::new(), times_us.last().copied().unwrap_or(0));
    for (index, Output { dataset, partition, key, value }) in outputs.iter().enumerate() {
        let at_us = times_us.get(index).copied().unwrap_or(last_us);
        let partition = u16::try_from(*partition).expect("read as 16 bits");
        let body = Body { dataset: *dataset, partition, at_us, key, value };
        frames::write(&mut bytes, &[&body.header(), key, value]);
    }
    for base in segment_bases(&stream)? {
        let path = segment_path(&stream, base);
        std::fs::remove_file(&path).map_err(retry("remove", &path))?;
    }
    let path = segment_path(&stream, 0);
    std::fs::write(&path, &bytes).map_err(retry("write", &path))?;
    ends.outputs = bytes.len() as u64;
    Manifest::create(directory, &ends, u64::MAX).map(|_| ())
}
