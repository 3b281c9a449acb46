//! Arrow streams are requests within their bounds or rejections, row by row, and take no longer than they are long.
#![no_main]

mod requests;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|payload: &[u8]| {
    drop(requests::of(payload));
});
