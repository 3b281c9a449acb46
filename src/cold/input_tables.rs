//! What came in as tables: records as they are, the requests in them, and bindings.

use super::columns::{Columns, counts_of};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;
use evenkeel_schemas::{Binding, Coordinates, Cut, Epoch, Partition, Request, Topic, decode_requests};

/// An input record, and the present when its epoch closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its offset.
    pub offset: u64,
    /// The `now_us` of the epoch that holds it.
    pub now_us: i64,
    /// When it came into its log, µs since the Unix epoch.
    pub timestamp_us: i64,
    /// Its key.
    pub key: Vec<u8>,
    /// Its payload.
    pub payload: Vec<u8>,
}

/// Records as they came.
pub fn records(rows: &[Kept]) -> RecordBatch {
    Columns::default()
        .counts("offset", rows.iter().map(|row| row.offset))
        .times("arrived_at", rows.iter().map(|row| row.now_us))
        .times("timestamp", rows.iter().map(|row| row.timestamp_us))
        .bytes("key", rows.iter().map(|row| row.key.as_slice()))
        .bytes("payload", rows.iter().map(|row| row.payload.as_slice()))
        .finish()
}

/// The records of a table of them; `None` if it is none.
pub fn records_of(table: &RecordBatch) -> Option<Vec<Kept>> {
    let time = |name: &str| table.column_by_name(name)?.as_primitive_opt::<TimestampMicrosecondType>();
    let bytes = |name: &str| table.column_by_name(name)?.as_binary_opt::<i32>();
    let offsets = counts_of(table.column_by_name("offset")?)?;
    let (now, timestamps, keys, payloads) = (time("arrived_at")?, time("timestamp")?, bytes("key")?, bytes("payload")?);
    let row = |row| Kept {
        offset: offsets[row],
        now_us: now.value(row),
        timestamp_us: timestamps.value(row),
        key: keys.value(row).to_vec(),
        payload: payloads.value(row).to_vec(),
    };
    (table.columns().iter().all(|column| column.null_count() == 0)).then(|| (0..table.num_rows()).map(row).collect())
}

/// The requests in records of a partition of their topic, of which `is_kept` (by offset and row) holds; the offset of
/// the first and the last one, and the table. `None` if there is none. What is no request is in the dataset of rejections.
pub fn requests(
    partition: u32,
    rows: &[Kept],
    is_kept: impl Fn(u64, u32) -> bool,
) -> Option<((u64, u64), RecordBatch)> {
    let mut found = Vec::<(&Kept, u32, Request<'_>)>::new();
    for kept in rows {
        let at = Coordinates { topic: Topic::Requests, partition, offset: kept.offset };
        decode_requests(at, &kept.payload, &mut |row, request| {
            let row = row.unwrap_or(0);
            found.extend(request.ok().filter(|_| is_kept(kept.offset, row)).map(|request| (kept, row, request)));
        });
    }
    let ends = (found.first()?.0.offset, found.last()?.0.offset);
    Some((ends, request_table(&found)))
}

/// The table of requests, each with its record and its row in it.
pub fn request_table(found: &[(&Kept, u32, Request<'_>)]) -> RecordBatch {
    let of = || found.iter().map(|(_, _, request)| request);
    Columns::default()
        .counts("offset", found.iter().map(|(kept, ..)| kept.offset))
        .counts("row", found.iter().map(|(_, row, _)| u64::from(*row)))
        .times("arrived_at", found.iter().map(|(kept, ..)| kept.now_us))
        .times("event_at", of().map(|request| request.event_time_us))
        .texts("service", of().map(|request| &request.service))
        .texts("route", of().map(|request| &request.route))
        .texts("method", of().map(|request| &request.method))
        .small_counts("status", of().map(|request| request.status))
        .counts("latency_us", of().map(|request| u64::from(request.latency_us)))
        .texts("node", of().map(|request| &request.node))
        .texts("region", of().map(|request| &request.region))
        .texts("version", of().map(|request| &request.version))
        .texts("tenant", of().map(|request| &request.tenant))
        .texts("trace_id", of().map(|request| &request.trace_id))
        .texts("upstream", of().map(|request| &request.upstream))
        .finish()
}

/// Bindings; the cut as three lists of one length.
pub fn bindings(rows: &[Binding]) -> RecordBatch {
    let cuts = || rows.iter().map(|binding| binding.upper.0.iter());
    let topics = cuts().map(|cut| cut.map(|(partition, _)| partition.topic.name().to_owned()).collect());
    let partitions = cuts().map(|cut| cut.map(|(partition, _)| u64::from(partition.partition)).collect());
    Columns::default()
        .counts("epoch", rows.iter().map(|binding| binding.epoch.0))
        .times("arrived_at", rows.iter().map(|binding| binding.now_us))
        .counts("resume", rows.iter().map(|binding| binding.resume.0))
        .text_lists("topics", topics.collect::<Vec<Vec<_>>>().iter())
        .count_lists("partitions", partitions.collect())
        .count_lists("next_offsets", cuts().map(|cut| cut.map(|(_, next)| *next).collect()).collect())
        .finish()
}

/// The bindings of a table of them; `None` if it is none.
pub fn bindings_of(table: &RecordBatch) -> Option<Vec<Binding>> {
    let count = |name: &str| counts_of(table.column_by_name(name)?);
    let list = |name: &str| table.column_by_name(name)?.as_list_opt::<i32>();
    let now = table.column_by_name("arrived_at")?.as_primitive_opt::<TimestampMicrosecondType>()?;
    let (epochs, resumes) = (count("epoch")?, count("resume")?);
    let (topics, partitions, nexts) = (list("topics")?, list("partitions")?, list("next_offsets")?);
    let cut = |row| {
        let (topics, partitions, nexts) = (topics.value(row), partitions.value(row), nexts.value(row));
        let (topics, partitions, nexts) = (topics.as_string_opt::<i32>()?, counts_of(&partitions)?, counts_of(&nexts)?);
        let part = |at| {
            let partition = u32::try_from(partitions[at]).ok()?;
            Some((Partition { topic: Topic::from_name(topics.value(at))?, partition }, nexts[at]))
        };
        let same = topics.len() == partitions.len() && topics.len() == nexts.len();
        same.then(|| (0..topics.len()).map(part).collect::<Option<_>>().map(Cut))?
    };
    let row = |row| {
        let (epoch, resume) = (Epoch(epochs[row]), Epoch(resumes[row]));
        Some(Binding { epoch, now_us: now.value(row), resume, upper: cut(row)? })
    };
    (0..table.num_rows()).map(row).collect()
}
