//! The vectors that every verifier has to answer alike.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use evenkeel_audit::tree::{Tree, leaf_hash, verify_consistency};
use evenkeel_audit::{Hash, Proof, Trust, from_hex};
use serde_json::Value;

fn vectors() -> Value {
    serde_json::from_str(include_str!("../vectors.json")).unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

#[test]
fn proofs_hold_or_do_not() {
    let vectors = vectors();
    let (mut holding, mut all) = (0, 0);
    for case in vectors["proofs"].as_array().unwrap() {
        let witnesses = case["witnesses"].as_array().unwrap().iter().map(|key| text(key).parse().unwrap()).collect();
        let quorum = case["quorum"].as_u64().unwrap() as usize;
        let trust = Trust::new(text(&case["key"]).parse().unwrap(), witnesses, quorum).unwrap();
        let verified = text(&case["proof"]).parse::<Proof>().and_then(|proof| proof.verify(&trust));
        assert_eq!(verified.is_ok(), case["holds"].as_bool().unwrap(), "{}: {verified:?}", case["name"]);
        if let (Ok((entry, _)), Some(expected)) = (&verified, case["entry"].as_object()) {
            assert_eq!(entry.payload, text(&expected["payload"]).as_bytes());
            assert_eq!((Some(entry.seq), entry.entity.as_str()), (expected["seq"].as_u64(), text(&expected["entity"])));
        }
        (holding, all) = (holding + u32::from(verified.is_ok()), all + 1);
    }
    assert_eq!((holding, all), (4, 25));
}

#[test]
fn roots_and_consistency_proofs_are_these() {
    let vectors = vectors();
    let hash = |value: &Value| -> Hash { from_hex(text(value)).unwrap() };
    let roots = vectors["roots"].as_array().unwrap().iter().map(hash).collect::<Vec<_>>();
    let mut tree = Tree::default();
    for (number, leaf) in vectors["leaves"].as_array().unwrap().iter().enumerate() {
        assert_eq!(tree.root(), roots[number]);
        let digits = text(leaf);
        let bytes = (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap());
        tree.push(leaf_hash(&bytes.collect::<Vec<_>>()));
    }
    for case in vectors["consistency"].as_array().unwrap() {
        let (old, new) = (case["old"].as_u64().unwrap(), case["new"].as_u64().unwrap());
        let path = case["path"].as_array().unwrap().iter().map(hash).collect::<Vec<_>>();
        verify_consistency((old, &roots[old as usize]), (new, &roots[new as usize]), &path).unwrap();
    }
}
