//! Proofs of entries: they hold for the key that was pinned, and no part of them can be another.

use crate::world::{Rows, Store, sealer, trust};
use evenkeel::cold::{ColdStore, MemoryStore};
use evenkeel::seal::{Edge, prove};
use evenkeel_schemas::audit::{Entry, Log, Proof, base64, from_base64, tile, tree};

fn proven(entries: u64) -> (Store, Rows) {
    let (store, mut rows) = (Store::default(), Rows::new());
    for _ in 0..5 {
        rows.grow(entries / 5);
        sealer(&store, 1).unwrap().turn(&mut rows, None).unwrap();
    }
    (store, rows)
}

#[test]
fn every_entry_has_a_proof_that_holds() {
    let (store, mut rows) = proven(150);
    let files = store.fetch();
    let log = Log::open(&files, &trust(1)).unwrap();
    for (partition, seqs) in [(0, 100), (3, 50)] {
        for seq in 0..seqs {
            let proof = prove(&log, &mut rows, partition, seq).unwrap();
            let read = proof.to_string().parse::<Proof>().unwrap();
            assert_eq!(read, proof);
            let (entry, _) = read.verify(&trust(1)).unwrap();
            assert_eq!((entry.partition, entry.seq), (partition, seq));
            assert_eq!(entry.payload, format!("payload {seq}").into_bytes());
            assert!(read.verify(&trust(2)).is_err(), "another key");
        }
        assert!(prove(&log, &mut rows, partition, seqs).is_err(), "not sealed");
    }
}

#[test]
fn every_field_of_the_envelope_is_proven() {
    let (store, mut rows) = proven(50);
    let files = store.fetch();
    let proof = prove(&Log::open(&files, &trust(1)).unwrap(), &mut rows, 0, 7).unwrap();
    let (entry, link) = Entry::open(&proof.record).unwrap();
    let changes: [fn(&mut Entry); 10] = [
        |entry| entry.partition += 1,
        |entry| entry.epoch += 1,
        |entry| entry.seq += 1,
        |entry| entry.ts_us += 1,
        |entry| entry.event_type.push('x'),
        |entry| entry.table.push('x'),
        |entry| entry.op.push('x'),
        |entry| entry.actor.push('x'),
        |entry| entry.entity.push('x'),
        |entry| entry.payload.push(b'x'),
    ];
    for (number, change) in changes.iter().enumerate() {
        let mut other = entry.clone();
        change(&mut other);
        let kept = Proof { record: [other.envelope(), link.to_vec()].concat(), ..proof.clone() };
        assert!(kept.verify(&trust(1)).is_err(), "field {number}, its link kept");
        let anew = Proof { record: other.seal(&proof.previous).0, ..proof.clone() };
        assert!(anew.verify(&trust(1)).is_err(), "field {number}, its link computed");
    }
}

#[test]
fn every_byte_of_a_proof_counts() {
    let (store, mut rows) = proven(50);
    let files = store.fetch();
    let proof = prove(&Log::open(&files, &trust(1)).unwrap(), &mut rows, 3, 4).unwrap();
    let text = proof.to_string();
    for at in 0..text.len() {
        let mut bytes = text.clone().into_bytes();
        bytes[at] ^= 1;
        let Ok(other) = String::from_utf8(bytes) else { continue };
        assert!(
            other.parse::<Proof>().is_err_and(|_| true) || other.parse::<Proof>().unwrap().verify(&trust(1)).is_err(),
            "byte {at}"
        );
    }
    // The same inside the extra data, which has an encoding of its own.
    let line = text.lines().nth(1).unwrap().to_owned();
    let extra = from_base64(line.strip_prefix("extra ").unwrap()).unwrap();
    for at in 0..extra.len() {
        let mut other = extra.clone();
        other[at] ^= 1;
        let other = text.replace(&line, &format!("extra {}", base64(&other)));
        assert!(other.parse::<Proof>().and_then(|proof| proof.verify(&trust(1))).is_err(), "extra byte {at}");
    }
}

#[test]
fn hostile_proofs_are_refused() {
    let (store, mut rows) = proven(50);
    let files = store.fetch();
    let proof = prove(&Log::open(&files, &trust(1)).unwrap(), &mut rows, 0, 3).unwrap();
    let refused = |proof: Proof| proof.verify(&trust(1)).is_err();
    assert!(refused(Proof { path: vec![[1; 32]; 64], ..proof.clone() }));
    assert!(refused(Proof { batch_path: vec![[1; 32]; 64], ..proof.clone() }));
    assert!(refused(Proof { path: Vec::new(), ..proof.clone() }));
    assert!(refused(Proof { index: u64::MAX, ..proof.clone() }));
    assert!(refused(Proof { leaf: Vec::new(), ..proof.clone() }));
    assert!(refused(Proof { record: Vec::new(), ..proof.clone() }));
    let text = proof.to_string();
    for (from, to) in
        [("index ", "index 0"), ("index ", "index +"), ("@v1", "@v2"), ("extra ", "extra  "), ("\n\n", "\n")]
    {
        assert!(text.replacen(from, to, 1).parse::<Proof>().is_err(), "{from:?} as {to:?}");
    }
}

/// The example of C2SP tlog-tiles, and the edges of tiles: what is written is what a tree in memory gives.
#[test]
fn tiles_of_any_size_are_those_of_the_tree() {
    let (store, mut edge, mut whole) = (MemoryStore::default(), Edge::default(), tree::Tree::default());
    for size in [1, 2, 255, 256, 257, 511, 512, 513, 65_535, 65_536, 65_537, 70_000] {
        let leaves = (edge.size()..size).map(|number| number.to_string().into_bytes()).collect::<Vec<_>>();
        leaves.iter().for_each(|leaf| whole.push(tree::leaf_hash(leaf)));
        edge.append(&leaves, &store).unwrap();
        assert_eq!((edge.size(), edge.root()), (size, whole.root()));
    }
    let names = store.list("tile/").unwrap();
    let count = |prefix: &str, partial: bool| {
        let of = |name: &&String| name.starts_with(prefix) && name.contains(".p/") == partial;
        names.iter().filter(of).count()
    };
    assert_eq!((count("tile/0/", false), count("tile/1/", false), count("tile/entries/", false)), (273, 1, 273));
    for last in ["tile/0/273.p/112", "tile/1/001.p/17", "tile/2/000.p/1", "tile/entries/273.p/112"] {
        assert!(names.iter().any(|name| name == last), "{last}");
    }
    // Every hash of the tree, out of the tiles.
    for level in 0..3_u8 {
        for index in 0..(70_000_u64 >> (8 * level)).div_ceil(256) {
            let width = tile::width(level, index, 70_000);
            let bytes = store.get(&tile::hash_tile(level, index, width)).unwrap().unwrap();
            for (at, hash) in tile::hashes(&bytes, width).unwrap().iter().enumerate() {
                let Ok(expected) = whole.hashes()(8 * level, index * 256 + at as u64);
                assert_eq!(*hash, expected, "hash {at} of tile {index} of level {level}");
            }
        }
    }
}
