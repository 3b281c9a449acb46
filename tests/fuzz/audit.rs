//! Bytes are no audit record, or exactly the one that is written again from what was read.
#![no_main]

use evenkeel_schemas::audit::{Chain, Entry};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok((entry, stored)) = Entry::open(bytes) else { return };
    assert_eq!([entry.envelope().as_slice(), &stored].concat(), bytes);
    let mut chain = Chain::resume(entry.partition, entry.seq, stored);
    let _ = chain.follow(&entry, None);
    assert!(chain.follow(&entry, Some(&stored)).is_err(), "no entry follows itself");
});
