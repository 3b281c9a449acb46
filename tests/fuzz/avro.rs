//! Avro single objects are a request within its bounds or a rejection; a request, written again, has the same bytes, but
//! for varints that were longer than they had to be. The marker and fingerprint are put before what the fuzzer says.
#![no_main]

mod requests;

use evenkeel_schemas::write_avro;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    let payload = [&b"\xc3\x01\x38\xc0\x91\x0c\xd3\xff\x39\xac"[..], body].concat();
    for request in requests::of(&payload) {
        let mut again = Vec::new();
        write_avro(&mut again, &request);
        assert!(again == payload || again.len() < payload.len());
        assert_eq!(requests::of(&again), [request]);
    }
    requests::of(body);
});
