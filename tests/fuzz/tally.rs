//! Bytes are no tally, or one that can be taken away again and survives the trip.
#![no_main]

use evenkeel_schemas::{Statistics, Tally};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let (mut rest, mut tally) = (bytes, Tally::default());
    while !rest.is_empty() && tally.add_encoded(&mut rest, 1).is_some() {}
    let _ = (Statistics::from(&tally), tally.mean_us());
    let mut encoded = Vec::new();
    tally.encode(&mut encoded);
    let whole = tally.add_encoded(&mut encoded.as_slice(), -1);
    assert!(whole.is_some() && tally.is_zero());
});
