//! Requests written in the encodings that evenkeel reads: for `generate`, benchmarks and tests.

use crate::ports::PortError;
use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, StringDictionaryBuilder, UInt16Array, UInt32Array};
use arrow::datatypes::UInt16Type;
use arrow::error::ArrowError;
use arrow::ipc::MetadataVersion;
use arrow::ipc::writer::{IpcWriteOptions, StreamWriter};
use evenkeel_schemas::{MAX_BATCH_ROWS, Partition, Request, decode_request, write_avro, write_protobuf};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How requests are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A JSON object a record.
    #[default]
    Json,
    /// A message of Protocol Buffers a record: `evenkeel schema request --encoding protobuf`.
    Protobuf,
    /// An Avro single object a record: `evenkeel schema request --encoding avro`.
    Avro,
    /// An Arrow IPC stream a record, with many requests.
    Arrow,
}

/// Writes requests as an Arrow IPC stream: strings by dictionaries, but for trace ids, of which no two are the same.
///
/// # Errors
/// `Fatal` for more requests than a record may hold.
pub fn write_batch(out: &mut Vec<u8>, requests: &[Request<'_>]) -> Result<(), PortError> {
    if requests.len() > MAX_BATCH_ROWS as usize {
        let rows = requests.len();
        return Err(PortError::Fatal(format!("{rows} requests: a record holds at most {MAX_BATCH_ROWS}")));
    }
    written(out, requests).map_err(|error| PortError::Fatal(format!("writing an Arrow stream: {error}")))
}

fn written(out: &mut Vec<u8>, requests: &[Request<'_>]) -> Result<(), ArrowError> {
    let texts = |value: for<'r> fn(&'r Request<'_>) -> &'r str| -> ArrayRef {
        let mut builder = StringDictionaryBuilder::<UInt16Type>::new();
        requests.iter().for_each(|request| builder.append_value(value(request)));
        Arc::new(builder.finish())
    };
    let times = Int64Array::from_iter_values(requests.iter().map(|request| request.event_time_us));
    let status = UInt16Array::from_iter_values(requests.iter().map(|request| request.status));
    let latencies = UInt32Array::from_iter_values(requests.iter().map(|request| request.latency_us));
    let traces = StringArray::from_iter_values(requests.iter().map(|request| &request.trace_id));
    let batch = RecordBatch::try_from_iter([
        ("event_time_us", Arc::new(times) as ArrayRef),
        ("service", texts(|request| &request.service)),
        ("route", texts(|request| &request.route)),
        ("method", texts(|request| &request.method)),
        ("status", Arc::new(status)),
        ("latency_us", Arc::new(latencies)),
        ("node", texts(|request| &request.node)),
        ("region", texts(|request| &request.region)),
        ("version", texts(|request| &request.version)),
        ("tenant", texts(|request| &request.tenant)),
        ("trace_id", Arc::new(traces)),
        ("upstream", texts(|request| &request.upstream)),
    ])?;
    // Buffers begin at multiples of 8 bytes, which the format asks for, as PyArrow writes them; 64 make it a third longer.
    let options = IpcWriteOptions::try_new(8, false, MetadataVersion::V5)?;
    let mut writer = StreamWriter::try_new_with_options(out, &batch.schema(), options)?;
    writer.write(&batch)?;
    writer.finish()
}

/// Writes the JSON records of the request topic in another format; what is no request stays as it is.
pub struct Rewriter {
    format: Format,
    /// Requests of a batch.
    per_record: usize,
    waiting: BTreeMap<Partition, Waiting>,
    scratch: Vec<u8>,
}

/// Requests that wait for their batch to be full, as JSON, and when the last of them came.
#[derive(Default)]
struct Waiting {
    payloads: Vec<Vec<u8>>,
    at_us: i64,
}

impl Rewriter {
    /// Writes in this format, batches with so many requests.
    pub fn new(format: Format, per_record: usize) -> Self {
        Self { format, per_record, waiting: BTreeMap::new(), scratch: Vec::new() }
    }

    /// Takes a record of the request topic; passes on what it makes of it: partition, time, key and payload.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn put(
        &mut self,
        (partition, at_us): (Partition, i64),
        key: &[u8],
        payload: &[u8],
        out: &mut impl FnMut(Partition, i64, &[u8], &[u8]) -> Result<(), PortError>,
    ) -> Result<(), PortError> {
        let Some(request) = decode_request(payload) else { return out(partition, at_us, key, payload) };
        self.scratch.clear();
        match self.format {
            Format::Json => return out(partition, at_us, key, payload),
            Format::Protobuf => write_protobuf(&mut self.scratch, &request),
            Format::Avro => write_avro(&mut self.scratch, &request),
            Format::Arrow => {
                let waiting = self.waiting.entry(partition).or_default();
                waiting.payloads.push(payload.to_vec());
                waiting.at_us = at_us;
                if waiting.payloads.len() < self.per_record {
                    return Ok(());
                }
                return waiting.pass(partition, &mut self.scratch, out);
            }
        }
        out(partition, at_us, key, &self.scratch)
    }

    /// Passes on the batches that are not full.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn flush(
        &mut self,
        out: &mut impl FnMut(Partition, i64, &[u8], &[u8]) -> Result<(), PortError>,
    ) -> Result<(), PortError> {
        let scratch = &mut self.scratch;
        self.waiting.iter_mut().try_for_each(|(partition, waiting)| waiting.pass(*partition, scratch, out))
    }
}

impl Waiting {
    /// Passes on a batch; its key is empty, for its requests come from many nodes.
    fn pass(
        &mut self,
        partition: Partition,
        scratch: &mut Vec<u8>,
        out: &mut impl FnMut(Partition, i64, &[u8], &[u8]) -> Result<(), PortError>,
    ) -> Result<(), PortError> {
        let requests = self.payloads.iter().filter_map(|payload| decode_request(payload)).collect::<Vec<_>>();
        if requests.is_empty() {
            return Ok(());
        }
        scratch.clear();
        write_batch(scratch, &requests)?;
        self.payloads.clear();
        out(partition, self.at_us, &[], scratch)
    }
}
