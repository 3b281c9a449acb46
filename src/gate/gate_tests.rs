//! A gate's passwords count once, whatever restarts, and what it seals is what the core believes.

use super::*;
use evenkeel_dataflows::Roster;
use std::path::Path;
use totp_rs::{Builder, Secret};

const SECRET: &[u8] = b"12345678901234567890";

/// 2026-11-22T12:00:00Z, s.
const NOW_S: u64 = 1_795_348_800;

fn password(at_s: u64) -> String {
    let totp = Builder::new().with_secret(Secret::from(SECRET)).build().expect("a generator");
    totp.generate(at_s).to_string()
}

fn us(at_s: u64) -> i64 {
    at_s as i64 * 1_000_000
}

fn gate(directory: &Path) -> Gate {
    std::fs::create_dir_all(directory).expect("a directory");
    let (secrets, state) = (directory.join("secrets"), directory.join("state"));
    let line = format!("otpauth://totp/ann?secret={}\n", Secret::from(SECRET).to_base32());
    std::fs::write(&secrets, line).expect("written");
    let own = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&secrets, own).expect("permissions");
    let store = Book::kept_in(&state).expect("a store");
    let (book, key) =
        (store.load().expect("a book").unwrap_or_default(), FileKey::new("gate", false, [7; 32]).expect("a key"));
    Gate { secrets, key, book, store, inbox: Inbox::in_directory(&directory.join("data"), PARTITION) }
}

fn approve(by: &str, totp: &str) -> Vec<u8> {
    let order = json!({"order": "approve", "service": "shop", "command_id": "CMD-1", "by": by, "totp": totp,
        "proofs": ["totp"], "seal": "forged"});
    order.to_string().into_bytes()
}

#[test]
fn a_password_counts_once_also_after_a_restart_and_the_seal_is_believed() {
    let directory = std::env::temp_dir().join(format!("evenkeel-gate-{}", std::process::id()));
    let mut all = gate(&directory);
    let roster = Roster { gates: vec![crate::seal::Signer::key(&all.key).to_string()], ..Roster::default() };
    let now_us = us(NOW_S);
    let order = all.order(&approve("ann", &password(NOW_S)), now_us).expect("sealed");
    assert!(roster.proves(&order), "{order:?}");
    assert_eq!((order.by(), order.event_time_us()), ("ann", now_us));
    assert!(!Roster::default().proves(&order));
    let denied =
        |gate: &mut Gate, password: &str, now_us| gate.order(&approve("ann", password), now_us).expect_err("denied");
    assert_eq!(denied(&mut all, &password(NOW_S), now_us), Asked::Denied(Denied::Used));
    drop(all);
    let mut again = gate(&directory);
    assert_eq!(denied(&mut again, &password(NOW_S), now_us), Asked::Denied(Denied::Used), "after a restart");
    assert_eq!(denied(&mut again, &password(NOW_S - 30), now_us), Asked::Denied(Denied::Used), "an older one");
    assert!(again.order(&approve("ann", &password(NOW_S + 30)), now_us).is_ok(), "the next one");
    // The three that were used count as wrong: two more lock out.
    for _ in 0..2 {
        assert_eq!(denied(&mut again, "000000", now_us), Asked::Denied(Denied::Wrong));
    }
    drop(again);
    let mut again = gate(&directory);
    let soon_s = NOW_S + 299;
    assert_eq!(
        denied(&mut again, &password(soon_s), us(soon_s)),
        Asked::Denied(Denied::LockedOut),
        "the right one, too"
    );
    let later_s = NOW_S + 301;
    assert!(again.order(&approve("ann", &password(later_s)), us(later_s)).is_ok());
    assert_eq!(
        again.order(&approve("eve", "000000"), now_us),
        Err(Asked::Denied(Denied::Wrong)),
        "nobody of that name"
    );
    let kept = std::fs::read_to_string(directory.join("state/gate.json")).expect("a book");
    assert!(!kept.contains(&password(later_s)) && !kept.contains("eve"), "{kept}");
    std::fs::remove_dir_all(&directory).expect("removed");
}

#[test]
fn a_gate_seals_nothing_but_words_of_people() {
    for (body, why) in [
        (r#"{"order":"kill_switch","engaged":true,"by":"ann","totp":"1"}"#, "a gate seals"),
        (r#"{"order":"approve","service":"shop","command_id":"CMD-1","by":"ann"}"#, "`totp` is missing"),
        (r#"{"order":"approve","service":"shop","command_id":"CMD-1","by":"","totp":"1"}"#, "with `by`"),
        (r#"{"order":"break_glass","service":"shop","for_s":14401,"why":"x","by":"ann","totp":"1"}"#, "for_s"),
        ("[]", "object"),
        ("{", "EOF"),
    ] {
        let said = read(body.as_bytes(), us(NOW_S)).expect_err("none that a gate seals");
        assert!(said.contains(why), "{body}: {said}");
    }
}
