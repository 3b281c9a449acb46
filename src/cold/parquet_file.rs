//! Tables to the bytes of a Parquet file and back.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Rows of a row group.
pub const ROW_GROUP_ROWS: usize = 131_072;

/// Columns whose values ascend or nearly so: their distances are stored.
const DELTA_COLUMNS: [&str; 7] = ["seq", "offset", "epoch", "ts", "arrived_at", "event_at", "timestamp"];

/// How hard a file is pressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// zstd level 1: a log is compacted as fast as it is read.
    Quick,
    /// zstd level 9: a tenth less, in four times the time, for what is kept for years; read as fast.
    Thorough,
}

/// A file of one table; `hints` become its key-value metadata. The same table gives the same bytes.
pub fn write(table: &RecordBatch, hints: &[(&str, String)]) -> Result<Vec<u8>, ParquetError> {
    let mut writer = Writer::new(table.schema(), Effort::Quick)?;
    writer.write(table)?;
    writer.finish(hints)
}

/// A file of tables of one schema, one after the other; one row group at a time is held besides the file.
pub struct Writer(ArrowWriter<Vec<u8>>);

impl Writer {
    /// An empty file.
    pub fn new(schema: SchemaRef, effort: Effort) -> Result<Self, ParquetError> {
        Ok(Self(ArrowWriter::try_new(Vec::new(), schema, Some(properties(effort)?))?))
    }

    /// Appends a table.
    pub fn write(&mut self, table: &RecordBatch) -> Result<(), ParquetError> {
        self.0.write(table)
    }

    /// The file, with what it says of itself.
    pub fn finish(mut self, hints: &[(&str, String)]) -> Result<Vec<u8>, ParquetError> {
        for (name, hint) in hints {
            self.0.append_key_value_metadata(KeyValue::new(hint_key(name), hint.clone()));
        }
        self.0.into_inner()
    }
}

fn properties(effort: Effort) -> Result<WriterProperties, ParquetError> {
    let level = match effort {
        Effort::Quick => 1,
        Effort::Thorough => 9,
    };
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(level)?))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_column_dictionary_enabled("payload".into(), false)
        .set_column_statistics_enabled("payload".into(), EnabledStatistics::None);
    for column in DELTA_COLUMNS {
        properties = properties
            .set_column_dictionary_enabled(column.into(), false)
            .set_column_encoding(column.into(), Encoding::DELTA_BINARY_PACKED);
    }
    Ok(properties.build())
}

/// What a file holds.
#[derive(Debug)]
pub struct Contents {
    /// Its tables, one after the other.
    pub tables: Vec<RecordBatch>,
    metadata: Vec<KeyValue>,
}

impl Contents {
    /// Whether the file says this of itself.
    pub fn has_hints(&self, hints: &[(&str, String)]) -> bool {
        let has = |(name, hint): &(&str, String)| {
            let key = hint_key(name);
            self.metadata.iter().any(|pair| pair.key == key && pair.value.as_ref() == Some(hint))
        };
        hints.iter().all(has)
    }
}

fn hint_key(name: &str) -> String {
    format!("evenkeel.{name}")
}

/// What a file holds. Total: whatever the bytes are, the answer is tables or a reason.
pub fn read(bytes: Vec<u8>) -> Result<Contents, String> {
    // The reader answers damage with errors, but nobody promises that it never panics on hostile bytes.
    let read = catch_unwind(AssertUnwindSafe(|| -> Result<_, ParquetError> {
        let builder = ParquetRecordBatchReaderBuilder::try_new(axum::body::Bytes::from(bytes))?;
        let metadata = builder.metadata().file_metadata().key_value_metadata().cloned().unwrap_or_default();
        let tables = builder.with_batch_size(ROW_GROUP_ROWS).build()?.collect::<Result<_, _>>()?;
        Ok(Contents { tables, metadata })
    }));
    match read {
        Ok(Ok(contents)) => Ok(contents),
        Ok(Err(error)) => Err(format!("not a Parquet file: {error}")),
        Err(_) => Err("not a Parquet file: its reader gave up".to_owned()),
    }
}

/// The tables of a file whose hash was checked, one at a time, of at most 8,192 rows each.
pub fn open(bytes: Vec<u8>) -> Result<ParquetRecordBatchReader, ParquetError> {
    ParquetRecordBatchReaderBuilder::try_new(axum::body::Bytes::from(bytes))?.with_batch_size(8192).build()
}
