//! Proofs, signed notes, checkpoints, keys, seals, bundles: bytes are none, or exactly what is written again from what was
//! read; and nothing is proven but the corpus's own entries.
#![no_main]

use evenkeel_schemas::audit::{Checkpoint, Note, Proof, Seal, Trust, VerifierKey, tile};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

/// The key of the shared vectors.
static TRUST: LazyLock<Trust> = LazyLock::new(|| {
    let vectors = include_str!("../../schemas/audit/vectors.json");
    let vectors = serde_json::from_str::<serde_json::Value>(vectors).expect("the vectors are JSON");
    let key = vectors["proofs"][0]["key"].as_str().expect("a key");
    Trust::in_key(key.parse().expect("a key")).expect("of a log")
});

fuzz_target!(|bytes: &[u8]| {
    for width in [1, 2, 256] {
        if let Ok(entries) = tile::entries(bytes, width) {
            let mut again = Vec::new();
            entries.iter().for_each(|entry| tile::add_entry(&mut again, entry));
            assert_eq!(again, bytes);
        }
    }
    if let Ok(seal) = Seal::from_leaf(bytes) {
        assert_eq!(Seal::from_leaf(&seal.to_leaf()), Ok(seal));
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(key) = text.parse::<VerifierKey>() {
        assert_eq!(key.to_string(), text.trim());
    }
    if let Ok(note) = text.parse::<Note>() {
        assert_eq!(note.to_string(), text);
        let _ = TRUST.check(&note);
    }
    if let Ok(checkpoint) = text.parse::<Checkpoint>() {
        assert!(text.starts_with(&checkpoint.to_string()));
    }
    if let Ok(proof) = text.parse::<Proof>() {
        assert_eq!(proof.to_string().parse(), Ok(proof.clone()));
        if let Ok((entry, _)) = proof.verify(&TRUST) {
            assert_eq!(entry.payload, format!("payload {}", entry.seq).into_bytes(), "nobody has the key");
        }
    }
});
