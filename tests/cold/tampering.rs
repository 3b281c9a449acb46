//! Attacks on the segments, the manifest and the embedded log: each is found, and its place named.

use crate::scratch::{Scratch, files_of, write_files};
use crate::world::{Log, START_US, contents, entry};
use crate::{SMALL, segments, tables};
use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Int32Type, Int64Type, TimestampMicrosecondType};
use evenkeel::cold::{
    ColdStore, DirectoryStore, MANIFEST, MemoryStore, Options, Segment, Tampered, Verification, compact, verify,
    verify_store,
};
use evenkeel::embedded::{EmbeddedLedger, EmbeddedOutputs};
use evenkeel::ports::Ledger;
use evenkeel_dataflows::{Changes, Output};
use evenkeel_schemas::audit::{Chain, ORIGIN};
use evenkeel_schemas::{Binding, Cut, Dataset, Epoch};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn store_of(rows: usize, max_rows: usize) -> MemoryStore {
    let store = MemoryStore::default();
    let mut log = Log::new(rows);
    log.0.retain(|(dataset, _), _| matches!(dataset, Dataset::Audit | Dataset::Commands));
    compact(&mut log, &store, &Options { max_rows, whole: true }).unwrap();
    assert!(matches!(verify_store(&store), Verification::Whole { .. }));
    store
}

fn tampered(store: &dyn ColdStore, context: &str) -> Tampered {
    match verify_store(store) {
        Verification::Tampered(tampered) => tampered,
        other => panic!("{context}: {other:?}"),
    }
}

fn copy(store: &MemoryStore) -> MemoryStore {
    let copy = MemoryStore::default();
    contents(store).iter().for_each(|(name, bytes)| copy.put(name, bytes).unwrap());
    copy
}

pub fn write_manifest(store: &MemoryStore, segments: &[Segment]) {
    let lines = segments.iter().map(|segment| serde_json::to_string(segment).unwrap() + "\n");
    store.put(MANIFEST, lines.collect::<String>().as_bytes()).unwrap();
}

#[test]
fn every_flipped_byte_of_a_segment_is_found() {
    let store = store_of(8, 3);
    for segment in segments(&store).iter().filter(|s| s.dataset == Dataset::Audit).take(2) {
        let bytes = store.get(&segment.file).unwrap().unwrap();
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            store.put(&segment.file, &flipped).unwrap();
            let found = tampered(&store, &format!("byte {at}"));
            assert_eq!((found.file, found.partition), (segment.file.clone(), Some(segment.partition)), "byte {at}");
        }
        store.put(&segment.file, &bytes).unwrap();
    }
    assert!(matches!(verify_store(&store), Verification::Whole { .. }));
}

#[test]
fn every_flipped_bit_of_the_manifest_is_found() {
    let store = store_of(5, 3);
    let bytes = store.get(MANIFEST).unwrap().unwrap();
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        store.put(MANIFEST, &flipped).unwrap();
        tampered(&store, &format!("bit {bit} of {}", String::from_utf8_lossy(&bytes)));
    }
}

/// Writes a segment's file anew, and its line with it.
pub fn write_file(
    store: &MemoryStore,
    lines: &mut [Segment],
    number: usize,
    table: &RecordBatch,
    hints: impl IntoIterator<Item = (String, String)>,
) {
    let mut writer = parquet::arrow::ArrowWriter::try_new(Vec::new(), table.schema(), None).unwrap();
    for (name, value) in hints {
        writer.append_key_value_metadata(parquet::file::metadata::KeyValue::new(name, value));
    }
    writer.write(table).unwrap();
    let (bytes, line) = (writer.into_inner().unwrap(), &mut lines[number]);
    line.sha256 = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    (line.bytes, line.rows) = (bytes.len() as u64, table.num_rows() as u64);
    store.put(&line.file, &bytes).unwrap();
    write_manifest(store, lines);
}

/// The attacker writes a segment anew, and its hash and hints into the manifest, but cannot make the heads fit.
fn rewrite(store: &MemoryStore, number: usize, change: impl Fn(&RecordBatch) -> RecordBatch) -> (MemoryStore, Segment) {
    let (store, mut lines) = (copy(store), segments(store));
    let table = change(&tables(&store, lines[number].dataset, lines[number].partition)[number]);
    let hints = table.schema().metadata().clone();
    write_file(&store, &mut lines, number, &table, hints);
    let line = lines[number].clone();
    (store, line)
}

fn with_rows(table: &RecordBatch, rows: &[usize]) -> RecordBatch {
    let slices = rows.iter().map(|row| table.slice(*row, 1)).collect::<Vec<_>>();
    concat_batches(&table.schema(), &slices).unwrap()
}

#[test]
fn rows_written_anew_with_a_fitting_file_hash_are_found() {
    let store = store_of(20, 10);
    let (same, _) = rewrite(&store, 1, RecordBatch::clone);
    assert!(matches!(verify_store(&same), Verification::Whole { .. }), "{:?}", verify_store(&same));
    let rows: [(&str, &[usize], Option<u64>); 4] = [
        ("dropped", &[0, 1, 2, 3, 4, 5, 6, 8, 9], None),
        ("swapped", &[0, 1, 2, 4, 3, 5, 6, 7, 8, 9], Some(13)),
        ("repeated", &[0, 1, 2, 3, 3, 5, 6, 7, 8, 9], Some(14)),
        ("inserted", &[0, 1, 2, 3, 3, 4, 5, 6, 7, 8, 9], None),
    ];
    for (attack, rows, seq) in rows {
        let (store, line) = rewrite(&store, 1, |table| with_rows(table, rows));
        let found = tampered(&store, attack);
        assert_eq!((found.partition, found.seq), (Some(line.partition), seq), "{attack}: {found}");
    }
    for column in 0..10 {
        let (store, line) = rewrite(&store, 1, |table| {
            let mut columns = table.columns().to_vec();
            columns[column] = with_another_value(&columns[column], 4);
            RecordBatch::try_new(table.schema(), columns).unwrap()
        });
        let found = tampered(&store, &format!("column {column}"));
        assert_eq!(
            (found.file, found.seq),
            (line.file, Some(if [0, 2].contains(&column) { 14 } else { 10 })),
            "column {column}"
        );
    }
}

/// A column in which one row has another value.
fn with_another_value(column: &ArrayRef, row: usize) -> ArrayRef {
    let changed = |at: usize| at == row;
    match column.data_type() {
        DataType::Int32 => {
            let values = column.as_primitive::<Int32Type>().values();
            Arc::new(Int32Array::from_iter_values((0..values.len()).map(|at| values[at] + i32::from(changed(at)))))
        }
        DataType::Int64 => {
            let values = column.as_primitive::<Int64Type>().values();
            Arc::new(Int64Array::from_iter_values((0..values.len()).map(|at| values[at] + i64::from(changed(at)))))
        }
        DataType::Timestamp(..) => {
            let values = column.as_primitive::<TimestampMicrosecondType>().values();
            let values = (0..values.len()).map(|at| values[at] + i64::from(changed(at)));
            Arc::new(TimestampMicrosecondArray::from_iter_values(values).with_timezone("UTC"))
        }
        DataType::Utf8 => {
            let values = column.as_string::<i32>();
            let value = |at| format!("{}{}", values.value(at), if changed(at) { "x" } else { "" });
            Arc::new(StringArray::from_iter_values((0..values.len()).map(value)))
        }
        DataType::Binary => {
            let values = column.as_binary::<i32>();
            let value = |at| [values.value(at), if changed(at) { b"x" } else { b"" }].concat();
            Arc::new(BinaryArray::from_iter_values((0..values.len()).map(value)))
        }
        other => panic!("no audit column is {other}"),
    }
}

#[test]
fn files_and_lines_that_are_missing_moved_or_foreign_are_found() {
    let store = store_of(40, 10);
    let lines = segments(&store);
    let file = |number: usize| store.get(&lines[number].file).unwrap().unwrap();
    for (one, other) in [(0, 1), (1, 2), (0, 4), (5, 1), (8, 9)] {
        let attacked = copy(&store);
        attacked.put(&lines[one].file, &file(other)).unwrap();
        assert_eq!(tampered(&attacked, "a sibling's file").file, lines[one].file);
        attacked.put(&lines[other].file, &file(one)).unwrap();
        tampered(&attacked, "two files swapped");
    }
    for line in &lines {
        let attacked = copy(&store);
        attacked.remove(&line.file).unwrap();
        assert_eq!(tampered(&attacked, "a file deleted").file, line.file);
        let attacked = copy(&store);
        let foreign = line.file.replace("seg-", "seg-9");
        attacked.put(&foreign, b"PAR1").unwrap();
        assert_eq!(tampered(&attacked, "a foreign file").file, foreign);
    }
    for number in 0..lines.len() {
        let (attacked, mut fewer) = (copy(&store), lines.clone());
        let removed = fewer.remove(number);
        write_manifest(&attacked, &fewer);
        assert_eq!(tampered(&attacked, "a line deleted").file, removed.file);
        attacked.remove(&removed.file).unwrap();
        let of = |line: &Segment| (line.dataset, line.partition);
        let has_later = fewer[number..].iter().any(|line| of(line) == of(&removed));
        if removed.dataset == Dataset::Audit && has_later {
            assert_eq!(tampered(&attacked, "a line and its file deleted").file, MANIFEST);
        }
    }
    let (attacked, mut moved) = (copy(&store), lines.clone());
    moved.swap(1, 2);
    write_manifest(&attacked, &moved);
    assert_eq!(tampered(&attacked, "lines swapped").file, MANIFEST);
    attacked.remove(MANIFEST).unwrap();
    assert_eq!(tampered(&attacked, "no manifest").file, MANIFEST);
}

#[test]
fn bytes_that_are_no_parquet_never_panic_even_if_their_hash_fits() {
    let store = store_of(8, 8);
    let mut lines = segments(&store);
    let bytes = store.get(&lines[0].file).unwrap().unwrap();
    let mut found = 0;
    for at in 0..bytes.len() {
        let mut hostile = bytes.clone();
        hostile[at] ^= 1 << (at % 8);
        lines[0].sha256 = Sha256::digest(&hostile).iter().map(|byte| format!("{byte:02x}")).collect();
        store.put(&lines[0].file, &hostile).unwrap();
        write_manifest(&store, &lines);
        found += usize::from(matches!(verify_store(&store), Verification::Tampered(_)));
    }
    // The rest hits statistics and other bytes that no row comes from.
    assert!(found > bytes.len() / 3, "{found} of {}", bytes.len());
}

// ------------------------------------------------------------------------------------------------ embedded log

/// Commits audit entries in `epochs`, compacts, and returns the directory.
fn data_directory(epochs: u64) -> Scratch {
    let scratch = Scratch::new();
    extend(&scratch.0, 0..epochs, &mut Chain::new(ORIGIN, 2), 0);
    scratch
}

fn extend(directory: &Path, epochs: std::ops::Range<u64>, chain: &mut Chain, first: usize) {
    let mut ledger = EmbeddedLedger::open(directory).unwrap();
    ledger.recover().unwrap();
    for epoch in epochs {
        let now_us = START_US + epoch as i64;
        let outputs = (0..3).map(|i| {
            let entry = entry(first + epoch as usize * 3 + i, now_us);
            let key = entry.entity.clone().into_bytes();
            Output { dataset: Dataset::Audit, partition: 2, key, value: chain.append(entry) }
        });
        let binding = Binding { epoch: Epoch(epoch), now_us, resume: Epoch(epoch), upper: Cut::default() };
        ledger.commit(&[Changes { binding, outputs: outputs.collect(), records: 0 }]).unwrap();
    }
    let cold = DirectoryStore::open(&directory.join("cold")).unwrap();
    compact(&mut EmbeddedOutputs::new(directory), &cold, &SMALL).unwrap();
}

fn found(directory: &Path) -> Option<Tampered> {
    match verify(directory) {
        Verification::Whole { .. } => None,
        Verification::Tampered(tampered) => Some(tampered),
        Verification::Unusable(why) => panic!("{why}"),
    }
}

#[test]
fn a_data_directory_is_whole_and_every_flipped_byte_of_its_outputs_is_found() {
    let scratch = data_directory(4);
    let Verification::Whole { entries, segments, heads, .. } = verify(&scratch.0) else { panic!() };
    assert_eq!((entries, segments, heads.len()), (12, 1, 1));
    assert!(matches!(verify(&scratch.0.join("cold")), Verification::Whole { entries: 12, .. }));
    let path = scratch.0.join("outputs/00000000000000000000.seg");
    let bytes = std::fs::read(&path).unwrap();
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        std::fs::write(&path, &flipped).unwrap();
        assert_eq!(found(&scratch.0).expect("a flipped byte").file, "outputs", "byte {at}");
    }
}

#[test]
fn a_log_edited_with_fitting_checksums_is_found() {
    let scratch = data_directory(4);
    let path = scratch.0.join("outputs/00000000000000000000.seg");
    let bytes = std::fs::read(&path).unwrap();
    let mut starts = vec![0];
    while let Some(header) = bytes.get(*starts.last().unwrap()..*starts.last().unwrap() + 4) {
        starts.push(starts.last().unwrap() + 8 + u32::from_le_bytes(header.try_into().unwrap()) as usize);
    }
    assert_eq!(starts.len(), 13);
    for at in starts[5] + 8..starts[6] {
        let mut edited = bytes.clone();
        edited[at] ^= 1;
        let checksum = crc32fast::hash(&edited[starts[5] + 8..starts[6]]).to_le_bytes();
        edited[starts[5] + 4..starts[5] + 8].copy_from_slice(&checksum);
        std::fs::write(&path, &edited).unwrap();
        let body = at - starts[5] - 8;
        if (3..11).contains(&body) {
            continue; // the commit's time is no part of the entry
        }
        let found = found(&scratch.0).unwrap_or_else(|| panic!("byte {body} of the body"));
        let is_other = body < 3 || (11..15).contains(&body); // of another dataset or partition, or no output at all
        assert!(found.seq == Some(5) || is_other, "byte {body} of the body: {found}");
    }
}

#[test]
fn a_log_that_was_rolled_back_or_written_anew_disagrees_with_the_segments() {
    let scratch = Scratch::new();
    let mut chain = Chain::new(ORIGIN, 2);
    extend(&scratch.0, 0..3, &mut chain, 0);
    let before = files_of(&scratch.0);
    extend(&scratch.0, 3..6, &mut chain, 0);
    let rolled_back = Scratch::new();
    let mut files = files_of(&scratch.0);
    files.extend(before.into_iter().filter(|(name, _)| !name.starts_with("cold")));
    write_files(&rolled_back.0, &files);
    let tail = found(&rolled_back.0).expect("a log rolled back");
    assert_eq!((tail.partition, tail.seq), (Some(2), Some(9)), "{tail}");

    // An honest chain of other entries: only the segments know better.
    let (other, mut chain) = (Scratch::new(), Chain::new(ORIGIN, 2));
    extend(&other.0, 0..6, &mut chain, 1000);
    let mut files = files_of(&other.0);
    files.retain(|name, _| !name.starts_with("cold"));
    files.extend(files_of(&scratch.0).into_iter().filter(|(name, _)| name.starts_with("cold")));
    let forged = Scratch::new();
    write_files(&forged.0, &files);
    let forged = found(&forged.0).expect("a forged log");
    assert_eq!((forged.partition, forged.seq), (Some(2), Some(8)), "{forged}");
}

#[test]
fn missing_pieces_are_told_apart_from_nothing_at_all() {
    let empty = Scratch::new();
    assert!(matches!(verify(&empty.0), Verification::Unusable(_)));
    assert!(matches!(verify(Path::new("/nowhere/at/all")), Verification::Unusable(_)));
    let scratch = data_directory(2);
    for name in ["commits", "outputs/00000000000000000000.seg", "cold/manifest.jsonl"] {
        let broken = Scratch::new();
        let mut files = files_of(&scratch.0);
        files.remove(&PathBuf::from(name)).unwrap();
        write_files(&broken.0, &files);
        assert!(found(&broken.0).is_some(), "{name}");
    }
    let broken = Scratch::new();
    let mut files = files_of(&scratch.0);
    files.insert("commits".into(), b"nothing\n".to_vec());
    write_files(&broken.0, &files);
    assert!(found(&broken.0).is_some(), "a manifest without a whole line");
}
