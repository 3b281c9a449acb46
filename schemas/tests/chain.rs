//! The audit chain: test vectors from outside, and no edit of a chain goes unseen (law L7).
//!
//! The vectors were computed from the written rule with Python's `hashlib` and `struct`, not with this crate.
#![expect(clippy::unwrap_used, reason = "tests")]

use evenkeel_schemas::audit::{Break, Chain, Entry, Hash, ORIGIN, genesis, link};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use serde::Deserialize;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

#[derive(Deserialize)]
struct Vectors {
    origin: String,
    partition: u32,
    genesis_hex: String,
    entries: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    epoch: u64,
    seq: u64,
    ts_us: i64,
    event_type: String,
    table: String,
    op: String,
    actor: String,
    entity: String,
    payload_hex: String,
    envelope_hex: String,
    hash_hex: String,
}

impl Vector {
    fn entry(self, partition: u32) -> Entry {
        let Self { epoch, seq, ts_us, event_type, table, op, actor, entity, payload_hex, .. } = self;
        Entry { partition, epoch, seq, ts_us, event_type, table, op, actor, entity, payload: unhex(&payload_hex) }
    }
}

#[test]
fn audit_entries_link() {
    let vectors: Vectors = serde_json::from_str(include_str!("../golden/audit.v1.json")).unwrap();
    let mut previous = genesis(&vectors.origin, vectors.partition);
    assert_eq!(hex(&previous), vectors.genesis_hex);
    let mut writer = Chain::new(&vectors.origin, vectors.partition);
    let mut reader = writer.clone();
    for vector in vectors.entries {
        let (envelope_hex, hash_hex) = (vector.envelope_hex.clone(), vector.hash_hex.clone());
        let entry = vector.entry(vectors.partition);
        assert_eq!(hex(&entry.envelope()), envelope_hex);
        assert_eq!(hex(&link(&entry.envelope(), &previous)), hash_hex);
        let (record, hash) = entry.seal(&previous);
        assert_eq!(hex(&record), envelope_hex + &hash_hex);
        assert_eq!(Entry::open(&record), Ok((entry.clone(), hash)));
        assert_eq!(writer.append(Entry { partition: 9, seq: 9, ..entry.clone() }), record);
        assert_eq!(reader.follow(&entry, Some(&hash)), Ok(()));
        previous = hash;
    }
    assert_eq!((reader.head(), reader.next_seq()), (previous, 4));
    assert_eq!(writer.head(), previous);
}

#[test]
fn audit_records_open() {
    let record = unhex(include_str!("../golden/audit-record.v1.hex").trim_end());
    let (entry, hash) = Entry::open(&record).unwrap();
    assert_eq!(entry.payload, include_bytes!("../golden/change.v1.json").trim_ascii_end());
    assert_eq!(Chain::new(ORIGIN, 2).follow(&entry, Some(&hash)), Ok(()));
    assert_eq!(Chain::new(ORIGIN, 1).follow(&entry, Some(&hash)), Err(Break::Partition));
    assert_eq!(Chain::new("another", 2).follow(&entry, Some(&hash)), Err(Break::Link));
    assert_eq!(Chain::resume(2, u64::MAX, hash).follow(&Entry { seq: u64::MAX, ..entry }, None), Err(Break::Sequence));
}

#[test]
fn gaps_are_found_where_no_links_are_stored() {
    let mut chain = Chain::new(ORIGIN, 0);
    let entry = |seq| Entry { seq, ..Entry::default() };
    assert_eq!(chain.follow(&entry(1), None), Err(Break::Sequence));
    assert_eq!(chain.follow(&entry(0), None), Ok(()));
    let head = chain.head();
    assert_eq!(chain.follow(&entry(0), None), Err(Break::Sequence));
    assert_eq!(chain.follow(&entry(2), None), Err(Break::Sequence));
    assert_eq!((chain.next_seq(), chain.head()), (1, head), "after a break the chain stays where it was");
}

/// Seeds are printed with a failure; nothing is written to disk.
fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

fn entry() -> impl Strategy<Value = Entry> {
    let texts = [".{0,6}", "[a-z]{0,3}", "[cud]?", ".{0,4}", ".{0,4}"];
    (any::<(u64, i64)>(), texts, vec(any::<u8>(), 0..24)).prop_map(|((epoch, ts_us), texts, payload)| {
        let [event_type, table, op, actor, entity] = texts;
        Entry { epoch, ts_us, event_type, table, op, actor, entity, payload, ..Entry::default() }
    })
}

/// Whether a verifier who knows how many entries there are, and the last link, believes these records.
fn is_believed(records: &[Vec<u8>], known: (u64, Hash)) -> bool {
    let mut chain = Chain::new("test", 1);
    let mut follow = |record: &Vec<u8>| {
        let (entry, hash) = Entry::open(record).ok()?;
        chain.follow(&entry, Some(&hash)).ok()
    };
    records.iter().all(|record| follow(record).is_some()) && (chain.next_seq(), chain.head()) == known
}

fn chain(entries: Vec<Entry>) -> (Vec<Vec<u8>>, (u64, Hash)) {
    let mut chain = Chain::new("test", 1);
    let records = entries.into_iter().map(|entry| chain.append(entry)).collect();
    (records, (chain.next_seq(), chain.head()))
}

proptest! {
    #![proptest_config(cases(60))]

    #[test]
    fn random_bytes_are_no_audit_record_or_exactly_one(record in vec(any::<u8>(), 0..300)) {
        for record in [record.clone(), [b"audit/v1\0".as_slice(), &record].concat()] {
            if let Ok((entry, hash)) = Entry::open(&record) {
                prop_assert_eq!([entry.envelope(), hash.to_vec()].concat(), record);
            }
        }
    }

    #[test]
    fn every_edit_of_a_byte_is_found(entries in vec(entry(), 1..5), mask in 1u8.., inserted in any::<u8>()) {
        let (records, known) = chain(entries);
        prop_assert!(is_believed(&records, known));
        for (row, at) in (0..records.len()).flat_map(|row| (0..records[row].len()).map(move |at| (row, at))) {
            let mut edits = [records.clone(), records.clone(), records.clone()];
            edits[0][row][at] ^= mask;
            edits[1][row].insert(at, inserted);
            edits[2][row].remove(at);
            for (edit, records) in ["flip", "insertion", "removal"].into_iter().zip(edits) {
                prop_assert!(!is_believed(&records, known), "{edit} at row {row}, byte {at}");
            }
        }
    }

    #[test]
    fn every_drop_swap_and_repetition_is_found(entries in vec(entry(), 1..7)) {
        let (records, known) = chain(entries);
        for (one, other) in (0..records.len()).flat_map(|one| (0..=records.len()).map(move |other| (one, other))) {
            let mut dropped = records.clone();
            dropped.drain(one.min(other)..one.max(other).max(one + 1));
            prop_assert!(!is_believed(&dropped, known), "without {one} to {other}");
            let mut repeated = records.clone();
            repeated.insert(other, records[one].clone());
            prop_assert!(!is_believed(&repeated, known), "{one} again at {other}");
            if other < records.len() && one != other {
                let mut swapped = records.clone();
                swapped.swap(one, other);
                prop_assert!(!is_believed(&swapped, known), "{one} and {other} swapped");
            }
        }
    }

    #[test]
    fn every_forged_entry_is_found(entries in vec(entry(), 1..6), forged in entry(), place in any::<Index>()) {
        let (records, known) = chain(entries.clone());
        let place = place.index(records.len() + 1);
        // The forger knows the rule: he links his entry, and every later one anew.
        let relinked = [&entries[..place], std::slice::from_ref(&forged), &entries[place..]].concat();
        prop_assert!(!is_believed(&chain(relinked).0, known));
        // Or he puts it between two others and leaves those alone.
        let alone = chain([&entries[..place], &[forged]].concat()).0;
        let between = [&alone[..], &records[place..]].concat();
        prop_assert!(!is_believed(&between, known));
    }
}
