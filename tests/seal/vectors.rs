//! The shared vectors are what is made today. `EVENKEEL_BLESS=1` writes them anew: a change of them is a change of the
//! format, and every verifier out there has to know.

use crate::world::{Rows, Store, key, sealer, trust};
use evenkeel::seal::{FileKey, Signer, Witness, Witnesses, prove};
use evenkeel_schemas::audit::{Entry, Log, Proof, VerifierKey, base64, from_base64, hex, tree};
use serde_json::{Value, json};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/schemas/audit/vectors.json");

/// A log of twelve seals, its newest checkpoint cosigned.
fn cosigned() -> (Store, Rows, VerifierKey) {
    let (store, mut rows) = (Store::default(), Rows::new());
    for count in [3, 40, 9, 1, 70, 12, 2] {
        rows.grow(count);
        sealer(&store, 1).unwrap().turn(&mut rows, None).unwrap();
    }
    let signer = FileKey::new("example.org/w1", true, [77; 32]).unwrap();
    let (witness_key, logs) = (signer.key().clone(), vec![key(1).key().clone()]);
    let mut witness = Witness::new(Box::new(Store::default()), Box::new(signer), logs);
    let note = Log::open(&store.fetch(), &trust(1)).unwrap().note;
    let answer = witness.add_checkpoint(&format!("old 0\n\n{note}"), 1_800_000_000);
    let signature = answer.body.trim_end().parse().unwrap();
    sealer(&store, 1).unwrap().publish(Witnesses::add(&note, vec![signature])).unwrap();
    (store, rows, witness_key)
}

/// False proofs, each in one way, made of a true one.
fn false_proofs(proof: &Proof, other: &Proof) -> Vec<(&'static str, String)> {
    let (entry, link) = Entry::open(&proof.record).unwrap();
    let edited = Entry { payload: b"payload 0".to_vec(), ..entry };
    let flipped = |hashes: &[[u8; 32]]| {
        let mut hashes = hashes.to_vec();
        hashes[0][31] ^= 1;
        hashes
    };
    let text = proof.to_string();
    let size = proof.verify(&trust(1)).unwrap().1.checkpoint.size;
    let note = |from: &str, to: &str| {
        let changed = proof.checkpoint.to_string().replacen(from, to, 1);
        Proof { checkpoint: changed.parse().unwrap(), ..proof.clone() }.to_string()
    };
    let mut late = proof.checkpoint.clone();
    late.signatures[1].bytes[7] ^= 1;
    let altered = [
        ("the payload edited", Proof { record: [edited.envelope(), link.to_vec()].concat(), ..proof.clone() }),
        ("the payload edited, its hash computed", Proof { record: edited.seal(&proof.previous).0, ..proof.clone() }),
        ("another previous hash", Proof { previous: [0; 32], ..proof.clone() }),
        ("a bit of the batch's path", Proof { batch_path: flipped(&proof.batch_path), ..proof.clone() }),
        ("a batch's path too short", Proof { batch_path: proof.batch_path[1..].to_vec(), ..proof.clone() }),
        ("a batch's path of 64", Proof { batch_path: vec![[0; 32]; 64], ..proof.clone() }),
        ("a bit of the path", Proof { path: flipped(&proof.path), ..proof.clone() }),
        ("a path too long", Proof { path: [&proof.path[..], &[[0; 32]]].concat(), ..proof.clone() }),
        ("another index", Proof { index: proof.index ^ 1, ..proof.clone() }),
        ("an index beyond the log", Proof { index: 1 << 40, ..proof.clone() }),
        ("another entry's seal", Proof { leaf: other.leaf.clone(), ..proof.clone() }),
        ("a cosignature's time moved", Proof { checkpoint: late, ..proof.clone() }),
    ];
    let mut all = altered.map(|(name, proof)| (name, proof.to_string())).to_vec();
    let extra = text.lines().nth(1).unwrap();
    let padded = from_base64(extra.strip_prefix("extra ").unwrap()).unwrap();
    all.extend([
        ("another size", note(&format!("\n{size}\n"), &format!("\n{}\n", size + 1))),
        ("another origin", note("example.com/shop\n", "example.com/shops\n")),
        ("another version", text.replace("@v1", "@v2")),
        ("an index with a leading zero", text.replace("\nindex ", "\nindex 0")),
        ("no extra line", text.replacen(&format!("{extra}\n"), "", 1)),
        ("extra that is no JSON", text.replacen(extra, &format!("extra {}", base64(&padded[1..])), 1)),
    ]);
    all
}

fn vectors() -> Value {
    let (store, mut rows, witness) = cosigned();
    let files = store.fetch();
    let log = Log::open(&files, &trust(1)).unwrap();
    let mut prove = |partition, seq| prove(&log, &mut rows, partition, seq).unwrap();
    let (first, middle, last) = (prove(0, 0), prove(0, 31), prove(3, 45));
    let case = |name: &str, text: String, witnesses: &[&VerifierKey], holds: bool| {
        let keys = witnesses.iter().map(ToString::to_string).collect::<Vec<_>>();
        json!({"name": name, "key": trust(1).key.to_string(), "witnesses": keys, "quorum": keys.len(), "holds": holds,
            "proof": text})
    };
    let mut cases = Vec::new();
    for (name, proof) in [("the first entry", &first), ("an entry in between", &middle), ("one of the last", &last)] {
        let (entry, _) = proof.verify(&trust(1)).unwrap();
        let mut case = case(name, proof.to_string(), &[&witness], true);
        case["entry"] = json!({"partition": entry.partition, "seq": entry.seq, "epoch": entry.epoch, "ts_us": entry.ts_us,
            "event_type": entry.event_type, "table": entry.table, "op": entry.op, "actor": entry.actor,
            "entity": entry.entity, "payload": String::from_utf8(entry.payload).unwrap()});
        cases.push(case);
    }
    cases.push(case("without asking for witnesses", middle.to_string(), &[], true));
    let stranger = FileKey::new("example.org/w2", true, [78; 32]).unwrap();
    cases.push(case("a witness that did not sign", middle.to_string(), &[stranger.key()], false));
    let namesake = FileKey::new("example.org/w1", true, [79; 32]).unwrap();
    cases.push(case("a witness of that name with another key", middle.to_string(), &[namesake.key()], false));
    let mut foreign = case("another key of that name", middle.to_string(), &[], false);
    foreign["key"] = json!(trust(2).key.to_string());
    cases.push(foreign);
    cases.extend(false_proofs(&middle, &last).into_iter().map(|(name, text)| case(name, text, &[&witness], false)));

    let leaves = (0..11_u8).map(|number| vec![number; usize::from(number)]).collect::<Vec<_>>();
    let mut whole = tree::Tree::default();
    let mut roots = vec![hex(&whole.root())];
    for leaf in &leaves {
        whole.push(tree::leaf_hash(leaf));
        roots.push(hex(&whole.root()));
    }
    let path = |old| {
        let Ok(path) = tree::consistency(old, 11, whole.hashes());
        path.iter().map(|hash| hex(hash)).collect::<Vec<_>>()
    };
    let consistency = (0..=11).map(|old| json!({"old": old, "new": 11, "path": path(old)})).collect::<Vec<_>>();
    json!({"about": "Proofs of audit entries that hold, and that do not; Merkle roots and consistency proofs (RFC 6962).",
        "proofs": cases, "leaves": leaves.iter().map(|leaf| hex(leaf)).collect::<Vec<_>>(), "roots": roots,
        "consistency": consistency})
}

#[test]
fn shared_vectors_are_what_is_made_today() {
    let made = serde_json::to_string_pretty(&vectors()).unwrap() + "\n";
    if std::env::var_os("EVENKEEL_BLESS").is_some() {
        std::fs::write(FILE, &made).unwrap();
    }
    assert_eq!(std::fs::read_to_string(FILE).unwrap(), made, "write them anew with EVENKEEL_BLESS=1");
}
