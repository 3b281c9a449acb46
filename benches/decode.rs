//! Requests of about 200 bytes of JSON, one core, in every encoding: `Event::decode` or `decode_requests`, the hot path
//! of JSON alone, and serde_json alone.
//!
//! Goals on one core of a 2.3 GHz Xeon: Protocol Buffers 10 M events/s, Avro 20 M, Arrow with 100 a record 20 M.

mod common;

use common::{Options, Requests, START_US, main_thread_cpu_s, median_s, rounded};
use evenkeel::encode::Format;
use evenkeel_schemas::{Coordinates, Event, Topic, decode_request, decode_requests};
use serde_json::Value;
use std::hint::black_box;

const AT: Coordinates = Coordinates { topic: Topic::Requests, partition: 0, offset: 0 };

/// `cpu_ns` is time on a CPU, the mean of all runs: what others do on the machine is not in it, as far as caches allow.
const RUNS: usize = 7;

fn main() {
    let options = Options::from_args();
    let is_request = |event: Event<'_>| u64::from(matches!(black_box(event), Event::Request(_)));
    let json = payloads(options, Format::Json, 1);
    measured(options, "event", 1, &json, &|payload| is_request(Event::decode(AT, payload)));
    measured(options, "request", 1, &json, &|payload| u64::from(black_box(decode_request(payload)).is_some()));
    measured(options, "serde_json", 1, &json, &|payload| is_request(Event::decode_by_serde(AT, payload)));
    measured(options, "json", 1, &json, &requests_of);
    drop(json);
    for (name, format, per_record) in [
        ("protobuf", Format::Protobuf, 1),
        ("avro", Format::Avro, 1),
        ("arrow", Format::Arrow, 1),
        ("arrow", Format::Arrow, 10),
        ("arrow", Format::Arrow, 100),
        ("arrow", Format::Arrow, 1_000),
    ] {
        measured(options, name, per_record, &payloads(options, format, per_record), &requests_of);
    }
}

/// Records of about a million requests.
fn payloads(options: Options, format: Format, per_record: u64) -> Vec<Vec<u8>> {
    let (requests, mut scratch) = (Requests::new(1_000, (format, per_record)), Vec::new());
    let payloads = (0..options.pick(1_000_000, 100_000) / per_record).map(|n| {
        requests.write(n, START_US + n as i64, &mut scratch);
        scratch.clone()
    });
    payloads.collect()
}

/// How many requests a record holds.
fn requests_of(payload: &[u8]) -> u64 {
    let mut found = 0;
    decode_requests(AT, payload, &mut |_row, request| found += u64::from(black_box(request).is_ok()));
    found
}

fn measured(options: Options, decoder: &str, per_record: u64, payloads: &[Vec<u8>], decode: &dyn Fn(&[u8]) -> u64) {
    let cpu_s = main_thread_cpu_s();
    let (bytes, count) = (payloads.iter().map(Vec::len).sum::<usize>(), payloads.len() as u64 * per_record);
    let seconds = median_s(RUNS, || {
        assert_eq!(payloads.iter().map(|payload| decode(payload)).sum::<u64>(), count, "every event is a request");
    });
    options.report(
        "decode",
        &[
            ("decoder", Value::from(decoder)),
            ("a_record", Value::from(per_record)),
            ("bytes", Value::from(bytes as u64 / count)),
            ("events_per_s", rounded(count as f64 / seconds, 0)),
            ("ns_an_event", rounded(seconds * 1e9 / count as f64, 1)),
            ("cpu_ns", rounded((main_thread_cpu_s() - cpu_s) * 1e9 / (count * RUNS as u64) as f64, 1)),
        ],
    );
}
