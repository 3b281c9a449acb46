//! Audit entries as a table, and back to the byte: the chain is followed over what was read.

use super::columns::{Columns, counts_of};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Int32Type, TimeUnit, TimestampMicrosecondType};
use evenkeel_schemas::audit::{Entry, View};

/// The table of some entries. No hash columns: heads are in the manifest.
pub fn audit_table(entries: &[Entry]) -> RecordBatch {
    let rows = || entries.iter();
    Columns::default()
        .partitions(rows().map(|entry| entry.partition))
        .counts("epoch", rows().map(|entry| entry.epoch))
        .counts("seq", rows().map(|entry| entry.seq))
        .times("ts", rows().map(|entry| entry.ts_us))
        .texts("event_type", rows().map(|entry| &entry.event_type))
        .texts("table", rows().map(|entry| &entry.table))
        .texts("op", rows().map(|entry| &entry.op))
        .texts("actor", rows().map(|entry| &entry.actor))
        .texts("entity", rows().map(|entry| &entry.entity))
        .bytes("payload", rows().map(|entry| entry.payload.as_slice()))
        .finish()
}

/// The entries of a table; `None` unless it has exactly these columns, of these types, without nulls.
pub fn entries(table: &RecordBatch) -> Option<Vec<View<'_>>> {
    let names = ["partition", "epoch", "seq", "ts", "event_type", "table", "op", "actor", "entity", "payload"];
    if !table.schema().fields().iter().map(|field| field.name()).eq(names) {
        return None;
    }
    if table.columns().iter().any(|column| column.null_count() > 0) || !is_utc(table.column(3)) {
        return None;
    }
    let partition = table.column(0).as_primitive_opt::<Int32Type>()?;
    let (epoch, seq) = (counts_of(table.column(1))?, counts_of(table.column(2))?);
    let ts = table.column(3).as_primitive_opt::<TimestampMicrosecondType>()?;
    let text = |column: usize| table.column(column).as_string_opt::<i32>();
    let (event_type, name, op, actor, entity) = (text(4)?, text(5)?, text(6)?, text(7)?, text(8)?);
    let payload = table.column(9).as_binary_opt::<i32>()?;
    let entry = |row| {
        Some(View {
            partition: u32::try_from(partition.value(row)).ok()?,
            epoch: epoch[row],
            seq: seq[row],
            ts_us: ts.value(row),
            event_type: event_type.value(row),
            table: name.value(row),
            op: op.value(row),
            actor: actor.value(row),
            entity: entity.value(row),
            payload: payload.value(row),
        })
    };
    (0..table.num_rows()).map(entry).collect()
}

fn is_utc(column: &ArrayRef) -> bool {
    matches!(column.data_type(), DataType::Timestamp(TimeUnit::Microsecond, Some(zone)) if zone.as_ref() == "UTC")
}
