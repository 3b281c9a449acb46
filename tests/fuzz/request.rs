//! The fast decoder of requests, with each way to scan, says what serde_json says, or nothing.
#![no_main]

use evenkeel_schemas::{Coordinates, Encoding, Event, Scan, Topic, decode_request_by};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|payload: &[u8]| {
    let at = Coordinates { topic: Topic::Requests, partition: 3, offset: 17 };
    let slow = Event::decode_by_serde(at, payload);
    match Encoding::of(payload) {
        Encoding::Json => assert_eq!(Event::decode(at, payload), slow),
        _ => assert!(matches!(slow, Event::Rejected(_))),
    }
    let fast = Scan::available().into_iter().map(|scan| decode_request_by(scan, payload).map(Event::Request));
    let fast = fast.collect::<Vec<_>>();
    assert!(fast.iter().all(|other| *other == fast[0]));
    assert!(fast[0].as_ref().is_none_or(|fast| *fast == slow));
});
