//! A binding that can be read says the same after it is written and read again.
#![no_main]

use evenkeel_schemas::Binding;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(binding) = serde_json::from_slice::<Binding>(bytes) else { return };
    let written = serde_json::to_vec(&binding).expect("a binding is JSON");
    assert_eq!(serde_json::from_slice::<Binding>(&written).ok(), Some(binding));
});
