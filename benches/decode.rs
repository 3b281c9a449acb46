//! `Event::decode` on JSON requests of about 200 bytes, one core.

mod common;

use common::{Options, Requests, START_US, median_s, rounded};
use evenkeel_schemas::{Coordinates, Event, Topic};
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
    let seconds = median_s(7, || {
        for payload in &payloads {
            let event = black_box(Event::decode(at, payload));
            assert!(matches!(event, Event::Request(_)), "every payload is a request");
        }
    });
    options.report(
        "decode",
        &[
            ("bytes", Value::from(bytes / payloads.len())),
            ("events_per_s", rounded(count as f64 / seconds, 0)),
            ("ns_an_event", rounded(seconds * 1e9 / count as f64, 1)),
        ],
    );
}
