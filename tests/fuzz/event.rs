//! Decoding is total: the first byte picks the topic, the rest is the payload.
#![no_main]

use evenkeel_schemas::{Coordinates, Event, Topic};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((&first, payload)) = bytes.split_first() else { return };
    let topic = Topic::ALL[usize::from(first) % Topic::ALL.len()];
    let at = Coordinates { topic, partition: 3, offset: 17 };
    let event = Event::decode(at, payload);
    if let Event::Rejected(rejection) = &event {
        assert_eq!(rejection.at, at);
        assert!(!rejection.detail.is_empty() && rejection.detail.chars().count() <= 200);
        assert!(rejection.payload.chars().count() <= 1024);
    }
    assert_eq!(event, Event::decode(at, payload));
});
