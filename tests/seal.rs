//! Sealing: whatever fails on the way, the log of seals is whole and only grows; every attack on it is found; what is
//! proven holds for whoever has the key (law L7).
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "seal/proofs.rs"]
mod proofs;
#[path = "embedded/scratch.rs"]
#[expect(dead_code, reason = "the tests that share it use other parts of it")]
mod scratch;
#[path = "seal/vectors.rs"]
mod vectors;
#[path = "seal/witnesses.rs"]
mod witnesses;
#[path = "seal/world.rs"]
mod world;

use evenkeel::cold::{ColdStore, MANIFEST, Segment};
use evenkeel::ports::PortError;
use evenkeel::seal::tamper::tamper;
use evenkeel::seal::{Finding, Progress, SealError, Signer, Token, Watch, Watcher, verify_data};
use evenkeel_schemas::Dataset;
use evenkeel_schemas::audit::{Checkpoint, Log, ORIGIN, Trust, Trusted};
use scratch::{Random, Scratch};
use world::{Fault, NAME, Rows, Store, key, sealer, trust};

/// The checkpoint in a store, if it is signed.
fn checkpoint(store: &Store, trust: &Trust) -> Option<Checkpoint> {
    let note = store.files().get("checkpoint").cloned()?;
    let note = String::from_utf8(note).unwrap().parse().unwrap();
    trust.check(&note).ok().map(|Trusted { checkpoint, .. }| checkpoint)
}

/// Everything holds: seals, tiles, and the rows that they cover; how many entries.
fn verified(store: &Store, rows: &mut Rows) -> u64 {
    let files = store.fetch();
    let log = Log::open(&files, &trust(1)).unwrap();
    verify_data(&log, ORIGIN, rows, None).unwrap().entries
}

#[test]
fn every_attack_is_found_by_whom_it_must() {
    let scratch = Scratch::new();
    let attacks = tamper(&scratch.0.join("attacks"), 200).unwrap();
    assert_eq!(attacks.len(), 22);
    for attack in &attacks {
        let found = [&attack.chain, &attack.seals, &attack.memory].map(|look| look.found.is_some());
        let needs_memory = ["roll everything back", "fork with the stolen key"].contains(&attack.name);
        assert_eq!(found[2], attack.name != "nothing", "{attack:?}");
        assert_eq!(found[1], attack.name != "nothing" && !needs_memory, "{attack:?}");
        if attack.name.ends_with("chain anew") {
            assert!(!found[0], "a chain made anew is whole: {attack:?}");
        }
    }
}

#[test]
fn whatever_fails_the_log_only_grows_and_is_whole() {
    for fault in [Fault::Lost, Fault::Torn, Fault::AppliedButLost] {
        for at in 0.. {
            let (store, mut rows) = (Store::default(), Rows::new());
            rows.grow(90);
            sealer(&store, 1).unwrap().turn(&mut rows, None).unwrap();
            let before = checkpoint(&store, &trust(1)).unwrap();
            rows.grow(60);
            store.fail_after(at, fault);
            let turned = sealer(&store, 1).unwrap().turn(&mut rows, None);
            if !store.mend() {
                assert!(at > 2, "a turn puts a bundle, a tile and a checkpoint");
                break;
            }
            assert!(matches!(turned, Err(SealError::Port(_))), "{fault:?} at {at}");
            // What was signed before still stands, whatever was written after it.
            let files = store.fetch();
            let log = Log::open(&files, &trust(1)).unwrap();
            assert_eq!(log.root(before.size).unwrap(), before.root, "{fault:?} at {at}");
            // More comes in before the sealer is back, so that it seals other batches.
            rows.grow(7);
            sealer(&store, 1).unwrap().turn(&mut rows, None).unwrap();
            assert_eq!(verified(&store, &mut rows), 157, "{fault:?} at {at}");
            let log = Log::open(&files, &trust(1)).unwrap();
            assert_eq!(log.root(before.size).unwrap(), before.root, "{fault:?} at {at}");
        }
    }
}

#[test]
fn seeded_runs_of_turns_and_faults_end_whole() {
    for seed in 0..200 {
        let (store, mut rows, mut random) = (Store::default(), Rows::new(), Random(seed));
        let (mut seen, mut entries) = (Vec::<Checkpoint>::new(), 0);
        for _ in 0..40 {
            let more = random.below(30);
            rows.grow(more);
            entries += more;
            if random.below(3) == 0 {
                let fault = [Fault::Lost, Fault::Torn, Fault::AppliedButLost][random.below(3) as usize];
                store.fail_after(random.below(4) as usize, fault);
            }
            let turned = sealer(&store, 1).unwrap().turn(&mut rows, None);
            assert!(store.mend() || turned.is_ok(), "seed {seed}: {turned:?}");
            seen.extend(checkpoint(&store, &trust(1)));
        }
        sealer(&store, 1).unwrap().turn(&mut rows, None).unwrap();
        assert_eq!(verified(&store, &mut rows), entries, "seed {seed}");
        let files = store.fetch();
        let log = Log::open(&files, &trust(1)).unwrap();
        for checkpoint in seen {
            assert_eq!(log.root(checkpoint.size).unwrap(), checkpoint.root, "seed {seed}");
        }
    }
}

#[test]
fn an_idle_turn_does_nothing() {
    let (store, mut rows) = (Store::default(), Rows::new());
    let mut sealer = sealer(&store, 1).unwrap();
    assert_eq!(sealer.turn(&mut rows, None), Ok(Progress::default()));
    assert!(store.files().is_empty());
    rows.grow(10);
    assert_eq!(sealer.turn(&mut rows, None), Ok(Progress { entries: 10, segments: 0 }));
    let files = store.files();
    assert_eq!(sealer.turn(&mut rows, None), Ok(Progress::default()));
    assert_eq!(store.files(), files);
}

#[test]
fn a_second_sealer_is_noticed() {
    let (store, mut rows) = (Store::default(), Rows::new());
    rows.grow(10);
    let (mut first, mut second) = (sealer(&store, 1).unwrap(), sealer(&store, 1).unwrap());
    first.turn(&mut rows, None).unwrap();
    let turned = second.turn(&mut rows, None);
    assert!(matches!(&turned, Err(SealError::Port(error)) if *error == PortError::Fenced), "{turned:?}");
    assert_eq!(verified(&store, &mut rows), 10);
}

#[test]
fn a_start_goes_on_from_what_was_signed_and_believes_nothing_else() {
    let (store, mut rows) = (Store::default(), Rows::new());
    let mut first = sealer(&store, 1).unwrap();
    for _ in 0..700 {
        rows.grow(3);
        first.turn(&mut rows, None).unwrap();
    }
    let (size, stated) = (first.size(), String::from_utf8(store.files()["sealer/state"].clone()).unwrap());
    assert_eq!(size, 1400, "two partitions");
    assert!(stated.starts_with("example.com/shop/sealer\n{") && stated.contains("\"seals\":1024,"), "{stated}");
    // No seal before is read, so one that is gone is not missed; and it comes to what reading all of them comes to.
    let mut roots = Vec::new();
    for gone in [&["tile/entries/000", "tile/0/000"][..], &["sealer/state"]] {
        let (copy, mut rows) = (store.copy(), rows.clone());
        gone.iter().for_each(|name| copy.remove(name).unwrap());
        let mut again = sealer(&copy, 1).unwrap();
        assert_eq!((again.size(), &again.audited().next_offsets), (size, &first.audited().next_offsets));
        rows.grow(3);
        assert_eq!(again.turn(&mut rows, None), Ok(Progress { entries: 3, segments: 0 }));
        roots.push(checkpoint(&copy, &trust(1)).unwrap().root);
    }
    assert_eq!(roots[0], roots[1]);
    // What the key did not sign is not believed: then all is verified, and what is gone is missed.
    for (from, to) in [("\"seals\":1024", "\"seals\":1023"), ("\"0\":[1", "\"0\":[2"), ("shop/sealer", "shop2/sealer")]
    {
        let copy = store.copy();
        assert!(stated.contains(from), "{stated}");
        copy.put("sealer/state", stated.replacen(from, to, 1).as_bytes()).unwrap();
        assert!(sealer(&copy, 1).is_ok(), "{to}: all is there");
        copy.remove("tile/entries/000").unwrap();
        assert!(sealer(&copy, 1).is_err(), "{to}: it was believed");
    }
    for (name, at) in [("tile/1/000.p/5", 3), ("tile/entries/005.p/120", 9)] {
        let (copy, mut bytes) = (store.copy(), store.files()[name].clone());
        bytes[at] ^= 1;
        copy.put(name, &bytes).unwrap();
        assert!(sealer(&copy, 1).is_err(), "{name}");
    }
    // A log whose checkpoint is from before.
    let (older, mut early) = (Store::default(), Rows::new());
    early.grow(3);
    sealer(&older, 1).unwrap().turn(&mut early, None).unwrap();
    older.put("sealer/state", stated.as_bytes()).unwrap();
    let Err(error) = sealer(&older, 1) else { panic!("a checkpoint that was rolled back was taken over") };
    assert!(error.to_string().contains("rolled back"), "{error}");
}

#[test]
fn nothing_tampered_is_sealed() {
    let (store, mut rows) = (Store::default(), Rows::new());
    rows.grow(10);
    let mut sealer = sealer(&store, 1).unwrap();
    sealer.turn(&mut rows, None).unwrap();
    rows.grow(10);
    let files = store.files();
    let row = rows.rows.get_mut(&0).unwrap().last_mut().unwrap();
    let end = row.value.len() - 40;
    row.value[end] ^= 1;
    assert!(matches!(sealer.turn(&mut rows, None), Err(SealError::Tampered(found)) if found.partition == Some(0)));
    assert_eq!(store.files(), files);
}

#[test]
fn who_pinned_the_first_key_follows_to_the_last() {
    let (store, mut rows) = (Store::default(), Rows::new());
    for seed in 1..4 {
        rows.grow(30);
        let mut sealer = sealer(&store, seed).unwrap();
        sealer.turn(&mut rows, None).unwrap();
        sealer.hand_over(Box::new(key(seed + 1)), "yearly").unwrap();
    }
    rows.grow(30);
    assert!(sealer(&store, 1).is_err(), "a key that was handed over signs no more");
    sealer(&store, 4).unwrap().turn(&mut rows, None).unwrap();
    let files = store.fetch();
    for seed in 1..=4 {
        let log = Log::open(&files, &trust(seed)).unwrap();
        assert_eq!(verify_data(&log, ORIGIN, &mut rows, None).unwrap().entries, 120, "pinned {seed}");
    }
    assert!(Log::open(&files, &trust(9)).is_err());
    // An old key that was stolen signs a shorter log, and hides that it was handed over at all: only memory helps there.
    // It cannot speak for what came after the handover.
    let forged = store.copy();
    let old = String::from_utf8(store.files()["handover/3"].clone()).unwrap();
    forged.put("checkpoint", old.as_bytes()).unwrap();
    let files = forged.fetch();
    assert!(Log::open(&files, &trust(1)).is_err(), "the log does not reach its handovers");
}

#[test]
fn what_retention_dropped_is_said_for_good() {
    let (store, cold, mut rows) = (Store::default(), Store::default(), Rows::new());
    for _ in 0..2 {
        rows.grow(30);
        sealer(&store, 1).unwrap().turn(&mut rows, None).unwrap();
    }
    // The first twenty entries of partition 0, which are its first batch.
    let mut dropped = Segment::new((Dataset::Audit.into(), 0), "2026-01-01", (0, 19), 20);
    dropped.dropped = true;
    cold.put(MANIFEST, &serde_json::to_vec(&dropped).unwrap()).unwrap();
    let kept = rows.clone();
    rows.rows.get_mut(&0).unwrap().drain(..20);
    assert!(
        verify_data(&Log::open(&store.fetch(), &trust(1)).unwrap(), ORIGIN, &mut rows, None).is_err(),
        "not said yet"
    );
    let mut sealer = sealer(&store, 1).unwrap();
    sealer.turn(&mut rows, Some(&cold)).unwrap();
    assert_eq!(sealer.audited().minimums.get(&0), Some(&20));
    assert_eq!(sealer.turn(&mut rows, Some(&cold)), Ok(Progress::default()), "it is said once");
    assert_eq!(verified(&store, &mut rows), 40);
    assert_eq!(verified(&store, &mut kept.clone()), 40, "what is there still is none the worse");
    rows.rows.get_mut(&0).unwrap().remove(3);
    assert!(verify_data(&Log::open(&store.fetch(), &trust(1)).unwrap(), ORIGIN, &mut rows, None).is_err());
}

#[test]
fn a_token_signs_as_a_file_does_and_locks_itself() {
    let mut token = Token::new("1234");
    token.generate("audit").unwrap();
    let (token, error) = token.login("0000", "audit", NAME, false).err().unwrap();
    assert!(error.to_string().contains("2 tries"));
    let token = token.login("1234", "audit", NAME, false).ok().unwrap().logout();
    let (token, _) = token.login("1234", "other", NAME, false).err().unwrap();
    let signer = token.login("1234", "audit", NAME, false).ok().unwrap();
    let trust = Trust::in_key(signer.key().clone()).unwrap();
    let (store, mut rows) = (Store::default(), Rows::new());
    rows.grow(20);
    let mut sealer = evenkeel::seal::Sealer::open(Box::new(store.clone()), Box::new(signer), ORIGIN).unwrap();
    sealer.turn(&mut rows, None).unwrap();
    assert!(Log::open(&store.fetch(), &trust).is_ok());

    let mut token = Token::new("1234");
    for _ in 0..3 {
        token = token.login("4321", "audit", NAME, false).err().unwrap().0;
    }
    let (_, error) = token.login("1234", "audit", NAME, false).err().unwrap();
    assert!(error.to_string().contains("locked"));
}

#[test]
fn a_watcher_says_what_waits_too_long() {
    let (store, mut rows) = (Store::default(), Rows::new());
    rows.grow(20);
    sealer(&store, 1).unwrap().turn(&mut rows, None).unwrap();
    let watch = Watch { trust: trust(1), origin: ORIGIN.to_owned(), budget: 5, stale_s: 15 };
    let (files, mut watcher) = (store.fetch(), Watcher::new(watch, None));
    let start_s = 1_767_225_600;
    assert_eq!(watcher.turn(&files, &mut rows, None, start_s + 100).unwrap().findings, []);
    rows.grow(3);
    assert_eq!(watcher.turn(&files, &mut rows, None, start_s + 100).unwrap().findings.len(), 2);
    sealer(&store, 1).unwrap().turn(&mut rows, None).unwrap();
    assert_eq!(watcher.turn(&files, &mut rows, None, start_s + 101).unwrap().findings, []);
    let back = watcher.turn(&files, &mut rows, None, start_s).unwrap().findings;
    assert!(matches!(back.as_slice(), [Finding::Stale(why)] if why.contains("stepped back")), "{back:?}");
    // A change of the past is found once the round comes by, at the latest.
    let row = rows.rows.get_mut(&0).unwrap().first_mut().unwrap();
    let end = row.value.len() - 40;
    row.value[end] ^= 1;
    let turns = (0..10).map(|_| watcher.turn(&files, &mut rows, None, start_s + 101).unwrap().findings);
    assert!(turns.flatten().any(|finding| matches!(finding, Finding::Tampered(_))));
}
