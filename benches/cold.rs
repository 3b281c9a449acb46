//! The cold store on one core, with audit entries of database changes as Debezium sends them: what a record takes, how
//! fast segments are written, merged and verified. `--json`, `--quick`.

mod common;

use common::{Options, mixed, rounded};
use evenkeel::cold::{self, ColdStore, MIN_FILE_BYTES, MemoryStore, Verification, compact, merge, verify_store};
use evenkeel::ports::{OutputLog, PortError, Row};
use evenkeel_schemas::audit::{Chain, Entry, ORIGIN};
use evenkeel_schemas::{Coordinates, Dataset, Event, Topic};
use serde_json::Value;
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

fn log(count: u64) -> (Log, usize) {
    let (mut chain, mut bytes) = (Chain::new(ORIGIN, 0), 0);
    let row = |n: u64| {
        let (id, payload) = change(n);
        bytes += payload.len();
        let at = Coordinates { topic: Topic::Changes, partition: 0, offset: n };
        let Event::Change(Some(change)) = Event::decode(at, &payload) else { panic!("a change is one") };
        let entry = Entry {
            epoch: n / 200,
            ts_us: change.event_time_us,
            event_type: "change".to_owned(),
            op: change.operation.letter().to_owned(),
            actor: change.actor,
            entity: format!("{}{{\"id\":{id}}}", change.table),
            table: change.table,
            payload,
            ..Entry::default()
        };
        let at_us = common::START_US + n as i64 * 412;
        Row { offset: n, at_us, key: entry.entity.clone().into_bytes(), value: chain.append(entry) }
    };
    let rows = (0..count).map(row).collect();
    (Log(rows), bytes)
}

fn stored(store: &MemoryStore) -> (usize, usize) {
    let files = store.list("audit/").expect("memory is there");
    let length = |name: &String| store.get(name).expect("memory is there").map_or(0, |bytes| bytes.len());
    (files.len(), files.iter().map(length).sum())
}

fn main() {
    let options = Options::from_args();
    let count = options.pick(600_000, 60_000);
    let ((mut log, payload_bytes), store) = (log(count), MemoryStore::default());
    let say = |operation: &str, started: Instant| {
        let (seconds, (files, bytes)) = (started.elapsed().as_secs_f64(), stored(&store));
        let fields = [
            ("operation", Value::from(operation)),
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
    say("compact", started);
    let started = Instant::now();
    merge(&store, MIN_FILE_BYTES).expect("the files are what they were");
    say("merge", started);
    let started = Instant::now();
    assert!(matches!(verify_store(&store), Verification::Whole { .. }), "nobody touched it");
    say("verify", started);
}
