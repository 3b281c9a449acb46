//! Messages of Protocol Buffers are a request within its bounds or a rejection; a request, written again, is itself.
#![no_main]

mod requests;

use evenkeel_schemas::{Encoding, write_protobuf};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|payload: &[u8]| {
    for request in requests::of(payload) {
        if Encoding::of(payload) == Encoding::Protobuf {
            let mut again = Vec::new();
            write_protobuf(&mut again, &request);
            assert_eq!(requests::of(&again), [request]);
        }
    }
});
