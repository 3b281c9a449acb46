//! [`Columns`]: names, types and values of a table, one column a call.
//!
//! # Decision
//! Numbers have a sign, also those that never need it: Iceberg knows no others, and Polars refuses to read unsigned ones
//! as what the table says. Half of 2^64 is enough for offsets, epochs and entries.

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Int32Array, Int64Array, ListArray, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, UInt64Type};
use evenkeel_schemas::{Dimension, Key};
use parquet::arrow::PARQUET_FIELD_ID_META_KEY;
use serde::Serialize;
use std::collections::HashMap;
use std::sync::Arc;

/// A table in the making. Fields are numbered from 1 in their order, elements of lists from 1001: readers that know
/// fields by number give nothing but nulls without.
#[derive(Debug, Default)]
pub struct Columns {
    fields: Vec<Field>,
    arrays: Vec<ArrayRef>,
}

impl Columns {
    /// The table; every column has the same number of rows.
    pub fn finish(self) -> RecordBatch {
        RecordBatch::try_new(Arc::new(Schema::new(self.fields)), self.arrays).expect("one value a row and column")
    }

    /// Words, always there.
    pub fn texts(self, name: &str, values: impl Iterator<Item = impl AsRef<str>>) -> Self {
        self.push(name, false, StringArray::from_iter_values(values))
    }

    /// The names that values have on the wire, e.g. of an enum.
    pub fn names<T: Serialize>(self, name: &str, values: impl Iterator<Item = T>) -> Self {
        self.texts(
            name,
            values.map(|value| match serde_json::to_value(value) {
                Ok(serde_json::Value::String(name)) => name,
                other => unreachable!("unit variants are names, not {other:?}"),
            }),
        )
    }

    /// Values with a structure of their own, as the JSON that they are on the wire.
    pub fn documents<T: Serialize>(self, name: &str, values: impl Iterator<Item = T>) -> Self {
        self.texts(name, values.map(|value| serde_json::to_string(&value).expect("outputs are JSON")))
    }

    /// Yes or no.
    pub fn flags(self, name: &str, values: impl Iterator<Item = bool>) -> Self {
        self.push(name, false, values.map(Some).collect::<BooleanArray>())
    }

    /// One column for each dimension, empty where a key has none; names begin with `prefix`.
    pub fn keys<'a>(mut self, prefix: &str, keys: impl Iterator<Item = &'a Key> + Clone) -> Self {
        let dimensions = [
            (Dimension::Service, "service"),
            (Dimension::Route, "route"),
            (Dimension::Node, "node"),
            (Dimension::Version, "version"),
            (Dimension::Region, "region"),
            (Dimension::Tenant, "tenant"),
        ];
        for (dimension, name) in dimensions {
            let values = keys.clone().map(|key| key.get(dimension)).collect::<StringArray>();
            self = self.push(&format!("{prefix}{name}"), true, values);
        }
        self
    }

    /// Bytes.
    pub fn bytes<'a>(self, name: &str, values: impl Iterator<Item = &'a [u8]>) -> Self {
        self.push(name, false, BinaryArray::from_iter_values(values))
    }

    /// Signed numbers.
    pub fn integers(self, name: &str, values: impl Iterator<Item = i64>) -> Self {
        self.push(name, false, Int64Array::from_iter_values(values))
    }

    /// Counting numbers.
    pub fn counts(self, name: &str, values: impl Iterator<Item = u64>) -> Self {
        self.integers(name, values.map(signed))
    }

    /// A log's partitions: 32 bits and a sign, as readers see the one in the folder's name, or they refuse the two.
    pub fn partitions(self, values: impl Iterator<Item = u32>) -> Self {
        let signed = |partition| i32::try_from(partition).expect("a broker numbers partitions in 31 bits");
        self.push("partition", false, Int32Array::from_iter_values(values.map(signed)))
    }

    /// Counting numbers of two bytes.
    pub fn small_counts(self, name: &str, values: impl Iterator<Item = u16>) -> Self {
        self.push(name, false, Int32Array::from_iter_values(values.map(i32::from)))
    }

    /// Times, µs since the Unix epoch, UTC.
    pub fn times(self, name: &str, values: impl Iterator<Item = i64>) -> Self {
        self.push(name, false, TimestampMicrosecondArray::from_iter_values(values).with_timezone("UTC"))
    }

    /// Times that not every row has, µs since the Unix epoch, UTC.
    pub fn some_times(self, name: &str, values: impl Iterator<Item = Option<i64>>) -> Self {
        self.push(name, true, TimestampMicrosecondArray::from_iter(values).with_timezone("UTC"))
    }

    /// Lists of words.
    pub fn text_lists<'a>(self, name: &str, lists: impl Iterator<Item = &'a Vec<String>> + Clone) -> Self {
        let lengths = lists.clone().map(Vec::len).collect::<Vec<_>>();
        self.lists(name, lengths, StringArray::from_iter_values(lists.flatten()))
    }

    /// Histograms, as two lists of one length: buckets and their counts.
    pub fn histograms<'a>(self, lists: impl Iterator<Item = &'a Vec<(u16, i64)>> + Clone) -> Self {
        let lengths = lists.clone().map(Vec::len).collect::<Vec<_>>();
        let buckets = Int32Array::from_iter_values(lists.clone().flatten().map(|(bucket, _)| i32::from(*bucket)));
        let counts = Int64Array::from_iter_values(lists.flatten().map(|(_, count)| *count));
        self.lists("buckets", lengths.clone(), buckets).lists("counts", lengths, counts)
    }

    /// Lists of signed numbers.
    pub fn integer_lists(self, name: &str, lists: Vec<Vec<i64>>) -> Self {
        let lengths = lists.iter().map(Vec::len).collect();
        self.lists(name, lengths, Int64Array::from_iter_values(lists.into_iter().flatten()))
    }

    /// Lists of counting numbers.
    pub fn count_lists(self, name: &str, lists: Vec<Vec<u64>>) -> Self {
        let lengths = lists.iter().map(Vec::len).collect();
        self.lists(name, lengths, Int64Array::from_iter_values(lists.into_iter().flatten().map(signed)))
    }

    fn lists(self, name: &str, lengths: Vec<usize>, values: impl Array + 'static) -> Self {
        let element = numbered("element", values.data_type().clone(), false, 1001 + self.fields.len());
        let offsets = OffsetBuffer::from_lengths(lengths);
        self.push(name, false, ListArray::new(Arc::new(element), offsets, Arc::new(values), None))
    }

    fn push(mut self, name: &str, is_nullable: bool, values: impl Array + 'static) -> Self {
        let number = self.fields.len() + 1;
        self.fields.push(numbered(name, values.data_type().clone(), is_nullable, number));
        self.arrays.push(Arc::new(values));
        self
    }
}

/// Counting numbers of a column, which older versions wrote without a sign; `None` if it has other values.
pub fn counts_of(column: &dyn Array) -> Option<Vec<u64>> {
    if let Some(unsigned) = column.as_primitive_opt::<UInt64Type>() {
        return Some(unsigned.values().to_vec());
    }
    let values = column.as_primitive_opt::<Int64Type>()?.values().iter();
    values.map(|value| u64::try_from(*value).ok()).collect()
}

/// Numbers beyond the half of 2^64 are the last one before it; nothing counts so far.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn numbered(name: &str, data_type: DataType, is_nullable: bool, number: usize) -> Field {
    let metadata = HashMap::from([(PARQUET_FIELD_ID_META_KEY.to_owned(), number.to_string())]);
    Field::new(name, data_type, is_nullable).with_metadata(metadata)
}
