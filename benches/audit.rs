//! The audit chain on one core: links made, and links verified, with payloads of 250 bytes.

mod common;

use common::{Options, median_s, rounded};
use evenkeel_schemas::audit::{Chain, Entry, ORIGIN, genesis, link};
use serde_json::Value;

const PAYLOAD_BYTES: usize = 250;

fn entry(n: u64) -> Entry {
    Entry {
        epoch: n / 100,
        ts_us: common::START_US + n as i64,
        event_type: "change".to_owned(),
        table: "app.orders".to_owned(),
        op: "u".to_owned(),
        actor: "checkout".to_owned(),
        entity: format!("order-{}", n % 10_000),
        payload: vec![b'a' + (n % 26) as u8; PAYLOAD_BYTES],
        ..Entry::default()
    }
}

fn main() {
    let options = Options::from_args();
    let count = options.pick(300_000, 30_000);
    let entries = (0..count).map(entry).collect::<Vec<_>>();
    let say = |operation: &str, seconds: f64| {
        let fields = [
            ("operation", Value::from(operation)),
            ("payload_bytes", Value::from(PAYLOAD_BYTES)),
            ("links_per_s", rounded(count as f64 / seconds, 0)),
            ("ns_a_link", rounded(seconds * 1e9 / count as f64, 1)),
        ];
        options.report("audit", &fields);
    };

    let mut records = Vec::new();
    say(
        "append",
        median_s(5, || {
            let mut chain = Chain::new(ORIGIN, 0);
            records = entries.iter().cloned().map(|entry| chain.append(entry)).collect::<Vec<_>>();
        }),
    );
    say(
        "verify",
        median_s(5, || {
            let mut head = genesis(ORIGIN, 0);
            for record in &records {
                let (entry, stored) = Entry::open(record).expect("it was made just now");
                head = link(&entry.envelope(), &head);
                assert_eq!(head, stored, "the chain holds");
            }
        }),
    );
}
