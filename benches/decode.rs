//! JSON requests of about 200 bytes, one core: `Event::decode`, its hot path alone, and serde_json alone.

mod common;

use common::{Options, Requests, START_US, median_s, rounded};
use evenkeel_schemas::{Coordinates, Event, Topic, decode_request};
use serde_json::Value;
use std::hint::black_box;

fn main() {
    let options = Options::from_args();
    let count = options.pick(1_000_000, 100_000);
    let (requests, mut scratch) = (Requests::new(1_000), Vec::new());
    let payloads = (0..count).map(|n| {
        requests.write(n, START_US + n as i64, &mut scratch);
        scratch.clone()
    });
    let payloads = payloads.collect::<Vec<_>>();
    let bytes = payloads.iter().map(Vec::len).sum::<usize>();
    let at = Coordinates { topic: Topic::Requests, partition: 0, offset: 0 };
    let measured = |decoder: &str, decode: &dyn Fn(&[u8]) -> bool| {
        let seconds = median_s(7, || {
            assert!(payloads.iter().all(|payload| decode(payload)), "every payload is a request");
        });
        options.report(
            "decode",
            &[
                ("decoder", Value::from(decoder)),
                ("bytes", Value::from(bytes / payloads.len())),
                ("events_per_s", rounded(count as f64 / seconds, 0)),
                ("ns_an_event", rounded(seconds * 1e9 / count as f64, 1)),
            ],
        );
    };
    let is_request = |event: Event<'_>| matches!(black_box(event), Event::Request(_));
    measured("event", &|payload| is_request(Event::decode(at, payload)));
    measured("request", &|payload| black_box(decode_request(payload)).is_some());
    measured("serde_json", &|payload| is_request(Event::decode_by_serde(at, payload)));
}
