//! What a store holds: every row of a log, once, in order, and nothing else.

use crate::scratch::Scratch;
use crate::world::Log;
use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use evenkeel::cold::{ColdDataset, ColdStore, MANIFEST, Manifest, Segment, Verification, verify_store};
use evenkeel_schemas::Dataset;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

pub fn segments(store: &dyn ColdStore) -> Vec<Segment> {
    Manifest::load(store).unwrap().unwrap_or_default().segments
}

/// Tables of the segments of a dataset and partition that are there, in order.
pub fn tables(store: &dyn ColdStore, dataset: impl Into<ColdDataset>, partition: u32) -> Vec<RecordBatch> {
    let scratch = Scratch::new();
    let stream = (dataset.into(), partition);
    let of = segments(store).into_iter().filter(|s| !s.dropped && s.stream() == stream);
    let table = |segment: Segment| {
        let path = scratch.0.join("file.parquet");
        std::fs::write(&path, store.get(&segment.file).unwrap().unwrap()).unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(path).unwrap()).unwrap();
        let hints = reader.metadata().file_metadata().key_value_metadata().cloned().unwrap_or_default();
        let hints = hints.into_iter().filter(|pair| pair.key.starts_with("evenkeel."));
        let hints = hints.map(|pair| (pair.key, pair.value.unwrap())).collect::<std::collections::HashMap<_, _>>();
        let tables = reader.with_batch_size(10_000).build().unwrap().map(Result::unwrap).collect::<Vec<_>>();
        assert_eq!(tables.len(), 1);
        let schema = tables[0].schema().as_ref().clone().with_metadata(hints);
        tables[0].clone().with_schema(schema.into()).unwrap()
    };
    of.map(table).collect()
}

/// The values of the column that orders the rows of a dataset and partition, as they are stored.
pub fn places(store: &dyn ColdStore, dataset: ColdDataset, partition: u32) -> Vec<u64> {
    let column =
        |table: &RecordBatch| table.column_by_name(dataset.order()).unwrap().as_primitive::<Int64Type>().clone();
    let values = |table: &RecordBatch| column(table).values().iter().map(|value| *value as u64).collect::<Vec<_>>();
    tables(store, dataset, partition).iter().flat_map(values).collect()
}

/// Every row of the log is in the store, once, in order; nothing else is.
pub fn assert_holds(store: &dyn ColdStore, log: &Log, context: &str) {
    assert_holds_from(store, log, i64::MIN, context);
}

/// The same of rows that were committed at `from_us` or later.
pub fn assert_holds_from(store: &dyn ColdStore, log: &Log, from_us: i64, context: &str) {
    for ((dataset, partition), rows) in &log.0 {
        let kept = rows.iter().enumerate().filter(|(_, row)| row.at_us >= from_us);
        let expected = match dataset {
            Dataset::Audit => kept.map(|(seq, _)| seq as u64).collect::<Vec<_>>(),
            Dataset::State => Vec::new(),
            _ => kept.map(|(_, row)| row.offset).collect(),
        };
        assert_eq!(places(store, (*dataset).into(), *partition), expected, "{dataset:?} {partition}, {context}");
        if *dataset == Dataset::Audit {
            let heard =
                log.outcomes(*partition).into_iter().map(|entry| entry.seq).filter(|seq| expected.contains(seq));
            let stored = places(store, ColdDataset::Outcomes, *partition);
            assert_eq!(stored, heard.collect::<Vec<_>>(), "outcomes {partition}, {context}");
        }
    }
    let named = segments(store).into_iter().filter(|segment| !segment.dropped).map(|segment| segment.file);
    let files = store.list("").unwrap().into_iter().filter(|name| name != MANIFEST).collect();
    assert_eq!(named.collect::<std::collections::BTreeSet<_>>(), files, "{context}");
    assert!(matches!(verify_store(store), Verification::Whole { .. }), "{:?}, {context}", verify_store(store));
}
