//! The cold store, with audit entries of two kinds: changes as Debezium sends them, 596 bytes, and events of an application
//! of 277: what a record takes, in which columns, how fast segments are written, merged and verified. `--json`, `--quick`.

mod common;

use common::{Options, median_s, mixed, rounded};
use evenkeel::cold::{self, ColdStore, MIN_FILE_BYTES, MemoryStore, Verification, compact, merge, verify_store};
use evenkeel::ports::{OutputLog, PortError, Row};
use evenkeel_schemas::audit::{Chain, Entry, ORIGIN};
use evenkeel_schemas::{Coordinates, Dataset, Event, Topic};
use parquet::file::reader::{FileReader, SerializedFileReader};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Instant;

/// Rows that a compaction finds: runs of it once a minute or so leave many small files.
const ROWS_A_RUN: usize = 20_000;

/// Audit entries of one partition.
struct Log(Vec<Row>);

impl OutputLog for Log {
    fn partitions(&mut self, dataset: Dataset) -> Result<Vec<u32>, PortError> {
        Ok(if dataset == Dataset::Audit { vec![0] } else { vec![] })
    }

    fn read(&mut self, _: Dataset, _: u32, offset: u64, limit: usize) -> Result<Vec<Row>, PortError> {
        Ok(self.0.iter().skip(offset as usize).take(limit).cloned().collect())
    }
}

/// A row of a table of orders: one of 40,000 customers and a time of this year, which stay; an amount, which changes.
fn order(id: u64, version: u64) -> String {
    let (chance, cents) = (mixed(id), mixed(id ^ mixed(version)) >> 20 & 0xffff);
    let (customer, second) = (chance % 40_000, chance >> 40 & 0xfff_ffff);
    let (day, time) = (second % 336, second % 86_400);
    format!(
        "{{\"id\":{id},\"customer\":\"c{customer:05}\",\"amount\":\"{}.{:02}\",\"created\":\"2026-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z\"}}",
        cents / 100,
        cents % 100,
        day / 28 + 1,
        day % 28 + 1,
        time / 3600,
        time / 60 % 60,
        time % 60,
        mixed(chance) % 1_000_000
    )
}

/// The `n`th change as PostgreSQL's connector writes it: six of ten are updates, three new rows, one is a delete.
fn change(n: u64) -> (u64, Vec<u8>) {
    let chance = mixed(n);
    let (op, id) = match chance % 10 {
        0..=2 => ("c", n),
        9 => ("d", chance >> 8 & 0xffff),
        _ => ("u", chance >> 8 & 0xffff),
    };
    let before = if op == "c" { "null".to_owned() } else { order(id, n / 2) };
    let after = if op == "d" { "null".to_owned() } else { order(id, n) };
    let committed_us = common::START_US as u64 + n * 412 + chance % 400;
    let (seen_us, lsn) = (committed_us + 20_000 + mixed(chance) % 480_000, 26_367_824 + n * 168 + chance % 16 * 8);
    let payload = format!(
        "{{\"before\":{before},\"after\":{after},\"source\":{{\"version\":\"3.7.0.Final\",\"connector\":\"postgresql\",\
         \"name\":\"cdc\",\"ts_ms\":{},\"snapshot\":\"false\",\"db\":\"app\",\"sequence\":\"[\\\"{}\\\",\\\"{lsn}\\\"]\",\
         \"ts_us\":{committed_us},\"ts_ns\":{committed_us}000,\"schema\":\"public\",\"table\":\"orders\",\"txId\":{},\
         \"lsn\":{lsn},\"xmin\":null,\"origin\":null,\"origin_lsn\":null}},\"transaction\":null,\"op\":\"{op}\",\
         \"ts_ms\":{},\"ts_us\":{seen_us},\"ts_ns\":{seen_us}{:03}}}",
        committed_us / 1000,
        lsn - 168,
        731 + n / 3,
        seen_us / 1000,
        chance >> 30 & 511
    );
    (id, payload.into_bytes())
}

/// The `n`th event of an application that says what it did; a random number of 64 bits and one of 32 are in each.
fn event(n: u64) -> (u64, Vec<u8>) {
    let chance = mixed(n);
    let (id, cents) = (chance >> 8 & 0xffff, mixed(chance) >> 20 & 0xffff);
    let states = ["open", "paid", "packed", "sent", "returned"];
    let (state, at_us) = ((chance >> 30 & 3) as usize, common::START_US as u64 + n * 412 + chance % 400);
    let payload = format!(
        "{{\"event_id\":\"{:08x}-{:04x}\",\"occurred_us\":{at_us},\"actor\":\"{}\",\"action\":\"order.update\",\"order\":{id},\
         \"customer\":\"c{:05}\",\"amount\":\"{}.{:02}\",\"currency\":\"EUR\",\"from\":\"{}\",\"to\":\"{}\",\"node\":\"node-{}\",\
         \"request\":\"/api/v1/orders/{id}\",\"trace_id\":\"{:016x}\"}}",
        mixed(n * 3) & 0xffff_ffff,
        n & 0xffff,
        ["checkout", "shipping", "support"][(chance % 3) as usize],
        mixed(id) % 40_000,
        cents / 100,
        cents % 100,
        states[state],
        states[state + 1],
        chance >> 33 & 15,
        mixed(n ^ 77)
    );
    (id, payload.into_bytes())
}

/// An entry about a database's change.
fn changed(n: u64) -> Entry {
    let (id, payload) = change(n);
    let at = Coordinates { topic: Topic::Changes, partition: 0, offset: n };
    let Event::Change(Some(change)) = Event::decode(at, &payload) else { panic!("a change is one") };
    Entry {
        epoch: n / 200,
        ts_us: change.event_time_us,
        event_type: "change".to_owned(),
        op: change.operation.letter().to_owned(),
        actor: change.actor,
        entity: format!("{}{{\"id\":{id}}}", change.table),
        table: change.table,
        payload,
        ..Entry::default()
    }
}

/// An entry about what an application did.
fn done(n: u64) -> Entry {
    let (id, payload) = event(n);
    Entry {
        epoch: n / 200,
        ts_us: common::START_US + n as i64 * 412 + (mixed(n) % 400) as i64,
        event_type: "event".to_owned(),
        table: "orders".to_owned(),
        op: "update".to_owned(),
        actor: "shop".to_owned(),
        entity: format!("orders/{id}"),
        payload,
        ..Entry::default()
    }
}

fn log(count: u64, entry: fn(u64) -> Entry) -> (Log, usize) {
    let (mut chain, mut bytes) = (Chain::new(ORIGIN, 0), 0);
    let row = |n: u64| {
        let entry = entry(n);
        bytes += entry.payload.len();
        let at_us = common::START_US + n as i64 * 412;
        Row { offset: n, at_us, key: entry.entity.clone().into_bytes(), value: chain.append(entry) }
    };
    let rows = (0..count).map(row).collect();
    (Log(rows), bytes)
}

/// Bytes of each column, over all files.
fn columns(store: &MemoryStore) -> BTreeMap<String, i64> {
    let mut columns = BTreeMap::new();
    for name in store.list("audit/").expect("memory is there") {
        let file = store.get(&name).expect("memory is there").expect("it was listed");
        let reader = SerializedFileReader::new(axum::body::Bytes::from(file)).expect("it was written just now");
        let groups = reader.metadata().row_groups().iter();
        for column in groups.flat_map(|group| group.columns()) {
            *columns.entry(column.column_path().string()).or_insert(0) += column.compressed_size();
        }
    }
    columns
}

fn stored(store: &MemoryStore) -> (usize, usize) {
    let files = store.list("audit/").expect("memory is there");
    let length = |name: &String| store.get(name).expect("memory is there").map_or(0, |bytes| bytes.len());
    (files.len(), files.iter().map(length).sum())
}

fn main() {
    let options = Options::from_args();
    for (kind, entry) in [("change", changed as fn(u64) -> Entry), ("event", done as fn(u64) -> Entry)] {
        measure(&options, kind, entry);
    }
}

fn measure(options: &Options, kind: &str, entry: fn(u64) -> Entry) {
    let count = options.pick(600_000, 60_000);
    let ((mut log, payload_bytes), store) = (log(count, entry), MemoryStore::default());
    let say = |operation: &str, seconds: f64| {
        let (files, bytes) = stored(&store);
        let fields = [
            ("operation", Value::from(operation)),
            ("entries", Value::from(kind)),
            ("payload_bytes", rounded(payload_bytes as f64 / count as f64, 0)),
            ("stored_bytes", rounded(bytes as f64 / count as f64, 1)),
            ("records_per_s", rounded(count as f64 / seconds, 0)),
            ("files", Value::from(files)),
        ];
        options.report("cold", &fields);
    };
    let started = Instant::now();
    let cut = cold::Options { max_rows: ROWS_A_RUN, whole: true };
    compact(&mut log, &store, &cut).expect("the chain holds");
    say("compact", started.elapsed().as_secs_f64());
    let verified =
        || median_s(3, || assert!(matches!(verify_store(&store), Verification::Whole { .. }), "nobody touched it"));
    say("verify", verified());
    let started = Instant::now();
    merge(&store, MIN_FILE_BYTES).expect("the files are what they were");
    say("merge", started.elapsed().as_secs_f64());
    say("verify", verified());
    let share = |(name, bytes): (&String, &i64)| format!("{name} {:.1}", *bytes as f64 / count as f64);
    let shares = columns(&store).iter().map(share).collect::<Vec<_>>();
    if !options.json {
        println!("bytes a record by column: {}", shares.join(", "));
    }
}
