//! Requests in every encoding: what peers wrote, what arrow-rs writes, bad rows among good ones, and the whole engine.
#![expect(clippy::unwrap_used, reason = "tests")]

use arrow::array::{
    ArrayRef, DictionaryArray, Int8Array, Int64Array, RecordBatch, StringArray, StringViewArray, UInt8Array,
    UInt16Array, UInt64Array,
};
use arrow::ipc::writer::StreamWriter;
use evenkeel::encode::{Format, Rewriter, write_batch};
use evenkeel::shop::{Plan, Shop};
use evenkeel_dataflows::{Batch, Changes, Engine, Resume, Tuning};
use evenkeel_schemas::*;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const AT: Coordinates = Coordinates { topic: Topic::Requests, partition: 1, offset: 5 };
const NOW_US: i64 = 1_795_246_458_716_866;

fn decode(payload: &[u8]) -> Vec<(Option<u32>, Result<Request<'_>, Rejection>)> {
    let mut found = Vec::new();
    decode_requests(AT, payload, &mut |row, request| found.push((row, request)));
    found
}

fn stream(columns: Vec<(&str, ArrayRef)>) -> Vec<u8> {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut out = Vec::new();
    let mut writer = StreamWriter::try_new(&mut out, &batch.schema()).unwrap();
    writer.write(&batch).unwrap();
    writer.finish().unwrap();
    drop(writer);
    out
}

/// The records of a file of `tests/encodings.py`.
fn records(path: &Path) -> Vec<Vec<u8>> {
    let (bytes, mut at, mut records) = (std::fs::read(path).unwrap(), 0, Vec::new());
    while at < bytes.len() {
        let length = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        records.push(bytes[at + 4..at + 4 + length].to_vec());
        at += 4 + length;
    }
    records
}

#[test]
fn peers_are_read() {
    let Ok(directory) = std::env::var("EVENKEEL_PEERS") else {
        println!("skipped: tests/encodings.py writes what this test reads");
        return;
    };
    let text = std::fs::read_to_string(Path::new(&directory).join("expected.jsonl")).unwrap();
    let expected = text.lines().map(|line| serde_json::from_str::<Request<'_>>(line).unwrap()).collect::<Vec<_>>();
    let mut peers = 0;
    for entry in std::fs::read_dir(&directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let Some(peer) = name.strip_suffix(".records") else { continue };
        let records = records(&path);
        let found = records.iter().flat_map(|record| decode(record)).map(|(_, request)| request).collect::<Vec<_>>();
        if let Some(what) = peer.strip_prefix("refused-") {
            let named = |it: &Rejection| it.reason == Reason::Unsupported && it.detail.to_lowercase().contains(what);
            assert!(found.len() == records.len() && found.iter().all(|it| named(it.as_ref().unwrap_err())), "{peer}");
        } else {
            assert_eq!(found.len(), expected.len(), "{peer}: {:?}", found.iter().find(|request| request.is_err()));
            for (number, (found, expected)) in found.into_iter().zip(&expected).enumerate() {
                assert_eq!(found.as_ref(), Ok(expected), "{peer}, event {number}");
            }
        }
        println!("{peer}: {} records", records.len());
        peers += 1;
    }
    assert!(peers >= 15, "only {peers} files");
}

#[test]
fn a_bad_row_is_rejected_alone() {
    let long = "x".repeat(257);
    let times = [NOW_US, NOW_US, NOW_US, 12, NOW_US, NOW_US, NOW_US, NOW_US].map(Some);
    let status = [Some(200), None, Some(99), Some(200), Some(200), Some(70_000), Some(404), Some(200)];
    let services = [Some("a"), Some("b"), Some("a"), Some("a"), None, Some("a"), Some(""), Some("c")];
    let nodes = [None, None, None, None, None, None, None, Some(long.as_str())];
    let latencies = [7, 7, 7, 7, 7, 7, 7, u64::MAX];
    let payload = stream(vec![
        ("node", Arc::new(StringViewArray::from_iter(nodes))),
        ("latency_us", Arc::new(UInt64Array::from_iter_values(latencies))),
        ("status", Arc::new(Int64Array::from_iter(status))),
        ("service", Arc::new(services.into_iter().collect::<DictionaryArray<arrow::datatypes::Int8Type>>())),
        ("event_time_us", Arc::new(Int64Array::from_iter(times))),
    ]);
    let found = decode(&payload);
    assert_eq!(found.iter().map(|(row, _)| row.unwrap()).collect::<Vec<_>>(), (0..8).collect::<Vec<_>>());
    assert_eq!(found[0].1.as_ref().map(|request| (&*request.service, &*request.node)), Ok(("a", "")));
    let found = found.iter().skip(1).map(|(_, request)| {
        let rejection = request.as_ref().unwrap_err();
        assert_eq!(rejection.at, AT);
        (rejection.reason, rejection.detail.as_str())
    });
    let due = [
        (Reason::WrongShape, "row 1: missing field `status`"),
        (Reason::OutOfRange, "row 2: status"),
        (Reason::TimeTooOld, "row 3: event_time_us 12"),
        (Reason::WrongShape, "row 4: missing field `service`"),
        (Reason::OutOfRange, "row 5: status"),
        (Reason::OutOfRange, "row 6: service is empty"),
        (Reason::StringTooLong, "row 7: node: 257 bytes"),
    ];
    assert_eq!(found.collect::<Vec<_>>(), due);
    let shown = decode(&payload).remove(2).1.unwrap_err().payload;
    assert_eq!(shown, format!(r#"{{"event_time_us":{NOW_US},"latency_us":7,"service":"a","status":99}}"#));
}

#[test]
fn an_index_beyond_its_dictionary_rejects_its_row() {
    let names = (0..8).map(|number| format!("service-{number}")).collect::<Vec<_>>();
    let requests = names.iter().map(|name| Request { service: name.as_str().into(), ..plain() }).collect::<Vec<_>>();
    let mut payload = Vec::new();
    write_batch(&mut payload, &requests).unwrap();
    let indices = (0..8u16).flat_map(u16::to_le_bytes).collect::<Vec<_>>();
    let at = payload.windows(16).position(|window| window == indices).unwrap();
    payload[at + 6..at + 8].fill(0xff);
    for (row, request) in decode(&payload) {
        match request {
            Ok(request) => assert_eq!(request.service, names[row.unwrap() as usize]),
            Err(rejection) => {
                assert_eq!((row, rejection.reason), (Some(3), Reason::NotArrow));
                assert!(rejection.detail.starts_with("row 3: service: "), "{}", rejection.detail);
            }
        }
    }
    assert_eq!(decode(&payload).iter().filter(|(_, request)| request.is_err()).count(), 1);
}

fn plain() -> Request<'static> {
    let json = format!(r#"{{"event_time_us":{NOW_US},"service":"s","status":200,"latency_us":1}}"#);
    serde_json::from_str::<Request<'_>>(&json).map(owned).unwrap()
}

fn owned(request: Request<'_>) -> Request<'static> {
    let own = |text: std::borrow::Cow<'_, str>| std::borrow::Cow::Owned(text.into_owned());
    Request {
        event_time_us: request.event_time_us,
        service: own(request.service),
        route: own(request.route),
        method: own(request.method),
        status: request.status,
        latency_us: request.latency_us,
        node: own(request.node),
        region: own(request.region),
        version: own(request.version),
        tenant: own(request.tenant),
        trace_id: own(request.trace_id),
        upstream: own(request.upstream),
    }
}

#[test]
fn a_record_holds_so_many_rows_and_no_more() {
    let narrow = |rows: usize| {
        let services = DictionaryArray::new(Int8Array::from(vec![0; rows]), Arc::new(StringArray::from(vec!["s"])));
        stream(vec![
            ("event_time_us", Arc::new(Int64Array::from(vec![NOW_US; rows])) as ArrayRef),
            ("status", Arc::new(UInt8Array::from(vec![200; rows]))),
            ("latency_us", Arc::new(UInt8Array::from(vec![9; rows]))),
            ("service", Arc::new(services)),
        ])
    };
    let most = MAX_BATCH_ROWS as usize;
    let (whole, more) = (narrow(most), narrow(most + 1));
    assert!(more.len() < MAX_PAYLOAD_BYTES, "{}", more.len());
    assert!(decode(&whole).iter().all(|(_, request)| request.is_ok()) && decode(&whole).len() == most);
    let [(None, Err(rejection))] = &decode(&more)[..] else { panic!("one rejection is due") };
    assert_eq!(rejection.reason, Reason::TooLarge);
    assert!(decode(&narrow(0)).is_empty(), "an empty batch says nothing");
}

#[test]
fn columns_that_are_not_read_are_named() {
    let columns = |status: ArrayRef| {
        vec![
            ("event_time_us", Arc::new(Int64Array::from(vec![NOW_US])) as ArrayRef),
            ("status", status),
            ("latency_us", Arc::new(UInt16Array::from(vec![9]))),
            ("service", Arc::new(StringArray::from(vec!["s"]))),
        ]
    };
    assert!(decode(&stream(columns(Arc::new(UInt8Array::from(vec![200])))))[0].1.is_ok());
    let text = stream(columns(Arc::new(StringArray::from(vec!["200"]))));
    let [(None, Err(rejection))] = &decode(&text)[..] else { panic!("one rejection is due") };
    assert_eq!(
        (rejection.reason, rejection.detail.as_str()),
        (Reason::Unsupported, "column status: write it as an integer")
    );
}

/// Dataset, key and value of each.
type Outputs = Vec<(Dataset, Vec<u8>, Vec<u8>)>;

/// What the engine says of a shop's minute in a format: outputs that name no offset, and rejections without offsets.
fn run(format: Format, per_record: usize) -> (Outputs, BTreeMap<Reason, u64>, u64) {
    let mut plan = Plan::demo(3, NOW_US / 1_000_000 * 1_000_000, 60);
    (plan.requests_per_s, plan.malformed_per_million, plan.late_per_million) = (400, 2_000, 10_000);
    let start_us = plan.start_us;
    let (mut shop, mut rewriter) = (Shop::new(plan), Rewriter::new(format, per_record));
    let mut engine = Engine::new(&Tuning::default(), 2, Resume::default());
    let (mut upper, mut all, mut records) = (Cut::default(), Vec::new(), 0);
    for number in 0..200 {
        let now_us = start_us + number * 500_000;
        let mut batches = BTreeMap::<Partition, Batch>::new();
        let mut push = |partition, at_us, key: &[u8], payload: &[u8]| {
            let next = upper.0.entry(partition).or_default();
            batches.entry(partition).or_insert_with(|| Batch::new(partition)).push(*next, at_us, key, payload);
            *next += 1;
            records += 1;
            Ok(())
        };
        if now_us <= shop.end_us() {
            shop.advance(
                now_us,
                &mut |partition: Partition, at_us, key: &[u8], payload: &[u8]| match partition.topic {
                    Topic::Requests => rewriter.put((partition, at_us), key, payload, &mut push).unwrap(),
                    _ => push(partition, at_us, key, payload).unwrap(),
                },
            );
        }
        rewriter.flush(&mut push).unwrap();
        batches.into_values().for_each(|batch| engine.push(batch).unwrap());
        let epoch = Epoch(number as u64);
        engine.close(Binding { epoch, now_us, resume: Epoch(0), upper: upper.clone() }).unwrap();
        while engine.in_flight() > 4 {
            all.extend(engine.wait(Duration::from_secs(60)).unwrap());
        }
    }
    while engine.in_flight() > 0 {
        all.extend(engine.wait(Duration::from_secs(60)).unwrap());
    }
    let (outputs, reasons) = sorted(&all);
    (outputs, reasons, records)
}

fn sorted(all: &[Changes]) -> (Outputs, BTreeMap<Reason, u64>) {
    let (mut outputs, mut reasons) = (Vec::new(), BTreeMap::new());
    for output in all.iter().flat_map(|changes| &changes.outputs) {
        match output.dataset {
            Dataset::Rejections => {
                let rejection = serde_json::from_slice::<Rejection>(&output.value).unwrap();
                *reasons.entry(rejection.reason).or_insert(0) += 1;
            }
            Dataset::Audit | Dataset::State => {}
            dataset => outputs.push((dataset, output.key.clone(), output.value.clone())),
        }
    }
    (outputs, reasons)
}

/// L1 and L10: however requests are encoded, windows, verdicts, commands and rollups are the same bytes, and as many
/// requests are rejected for the same reasons.
#[test]
fn every_encoding_gives_the_same_outputs() {
    let (outputs, reasons, records) = run(Format::Json, 1);
    let of = |wanted: Dataset| outputs.iter().filter(|(dataset, ..)| *dataset == wanted).count();
    assert!(of(Dataset::Baselines) > 100 && of(Dataset::Rollups) > 10 && of(Dataset::Commands) > 0);
    assert!(reasons.values().sum::<u64>() > 10, "{reasons:?}");
    for (format, per_record) in [(Format::Protobuf, 1), (Format::Avro, 1), (Format::Arrow, 1), (Format::Arrow, 100)] {
        let (found, rejected, fewer) = run(format, per_record);
        assert_eq!(found.len(), outputs.len(), "{format:?}");
        assert!(found == outputs, "{format:?}: other outputs");
        assert_eq!(rejected, reasons, "{format:?}");
        assert_eq!(fewer < records, per_record > 1);
    }
}

/// L10: rows whose time is not believed are rejected one by one, and the others count.
#[test]
fn rows_and_rejections_add_up() {
    const ROWS: i64 = 1_000;
    let requests = (0..ROWS).map(|row| {
        let offset_us = if row % 10 == 0 { 3_600_000_000 } else { -row };
        Request { event_time_us: NOW_US + offset_us, ..plain() }
    });
    let mut payload = Vec::new();
    write_batch(&mut payload, &requests.collect::<Vec<_>>()).unwrap();
    let (partition, mut engine) =
        (Partition { topic: Topic::Requests, partition: 0 }, Engine::new(&Tuning::default(), 1, Resume::default()));
    let (mut upper, mut rejected, mut counted) = (Cut::default(), Vec::new(), 0);
    for number in 0..300 {
        if number == 1 {
            let mut batch = Batch::new(partition);
            batch.push(0, NOW_US, b"", &payload);
            upper.0.insert(partition, 1);
            engine.push(batch).unwrap();
        }
        let (epoch, now_us) = (Epoch(number), NOW_US + number as i64 * 500_000);
        engine.close(Binding { epoch, now_us, resume: Epoch(0), upper: upper.clone() }).unwrap();
        for output in engine.wait(Duration::from_secs(60)).unwrap().unwrap().outputs {
            match output.dataset {
                Dataset::Rejections => rejected.push(serde_json::from_slice::<Rejection>(&output.value).unwrap()),
                Dataset::Rollups => {
                    let rollup = serde_json::from_slice::<Rollup>(&output.value).unwrap();
                    let service = rollup.key.0.len() == 1 && rollup.key.get(Dimension::Service).is_some();
                    counted += if service { rollup.statistics.requests } else { 0 };
                }
                _ => {}
            }
        }
    }
    assert_eq!((rejected.len() as i64, counted), (ROWS / 10, ROWS / 10 * 9));
    for (number, rejection) in rejected.iter().enumerate() {
        let row = number as u32 * 10;
        assert_eq!((rejection.reason, rejection.at.offset), (Reason::TimeInFuture, 0));
        assert!(rejection.detail.starts_with(&format!("row {row}: event_time_us ")), "{}", rejection.detail);
        assert!(rejection.payload.starts_with("{\"event_time_us\""), "{}", rejection.payload);
    }
}
