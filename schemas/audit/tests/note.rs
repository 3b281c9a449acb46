//! Signed notes and checkpoints: the published examples, and hostile ones.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use evenkeel_audit::note::{COSIGNATURE, ED25519};
use evenkeel_audit::{Checkpoint, Note, Trust, VerifierKey};

/// The example in the documentation of Go's `golang.org/x/mod/sumdb/note`.
const GO_KEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const GO_NOTE: &str = "If you think cryptography is the answer to your problem,\n\
    then you don't know what your problem is.\n\n\
    — PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

/// The example of C2SP tlog-cosignature: one signature of the log, one of a witness.
const COSIGNED: &str = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\
    — example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n\
    — witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n";

#[test]
fn a_note_signed_by_go_is_verified() {
    let (key, note) = (GO_KEY.parse::<VerifierKey>().unwrap(), GO_NOTE.parse::<Note>().unwrap());
    assert_eq!(key.to_string(), GO_KEY);
    assert_eq!(note.to_string(), GO_NOTE);
    assert_eq!(note.signed_by(&key), Ok(Some(None)));
    let forged = GO_NOTE.replace("cryptography", "cryptographi").parse::<Note>().unwrap();
    assert!(forged.signed_by(&key).is_err());
}

#[test]
fn the_published_checkpoint_is_read_as_it_says() {
    let note = COSIGNED.parse::<Note>().unwrap();
    let checkpoint = note.text.parse::<Checkpoint>().unwrap();
    assert_eq!((checkpoint.origin.as_str(), checkpoint.size), ("example.com/behind-the-sofa", 20_852_163));
    assert_eq!(checkpoint.to_string(), note.text);
    let cosignature = &note.signatures[1];
    assert_eq!(u64::from_be_bytes(cosignature.bytes[..8].try_into().unwrap()), 1_679_315_147);
    assert_eq!(note.to_string(), COSIGNED);
}

#[test]
fn signatures_of_unknown_kinds_are_carried_along() {
    let long = evenkeel_audit::base64(&[9; 4 + 8 + 2420]);
    let note = format!("{GO_NOTE}— example.org/post-quantum {long}\n");
    let note = note.parse::<Note>().unwrap();
    assert_eq!(note.signatures[1].bytes.len(), 2428);
    assert_eq!(note.signed_by(&GO_KEY.parse().unwrap()), Ok(Some(None)));
}

#[test]
fn what_is_no_note_is_refused() {
    let line = GO_NOTE.lines().last().unwrap();
    let all = [
        String::new(),
        "\n\n".to_owned(),
        "text\n".to_owned(),
        format!("text\n{line}\n"),
        format!("text\n\n{line}"),
        format!("text\n\n{}\n", line.replacen('—', "-", 1)),
        format!("text\n\n{}\n", line.replace(" x08go", "  x08go")),
        format!("text\n\n{}\n", &line[..line.len() - 3]),
        format!("te\rxt\n\n{line}\n"),
        format!("text\n\n{}\n", line.replace("PeterNeumann", "Peter+Neumann")),
        format!("{}\n\n{line}\n", "x".repeat(1 << 18)),
    ];
    for note in all {
        assert!(note.parse::<Note>().is_err(), "{note:?}");
    }
}

#[test]
fn what_is_no_key_is_refused() {
    for key in ["", "a+b", "PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", "a b+00000000+AA=="] {
        assert!(key.parse::<VerifierKey>().is_err(), "{key:?}");
    }
    assert!(VerifierKey::new("name", 0x06, [0; 32]).is_err());
    assert!(VerifierKey::new("", ED25519, [0; 32]).is_err());
}

#[test]
fn what_is_no_checkpoint_is_refused() {
    let root = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=";
    for text in [
        "o\n1\n".to_owned(),
        format!("o\n01\n{root}\n"),
        format!("o\n+1\n{root}\n"),
        format!("o\n-1\n{root}\n"),
        format!("o\n18446744073709551616\n{root}\n"),
        format!("\n1\n{root}\n"),
        format!("o\n1\n{root}"),
        format!("o\n1\n{root}\n\nmore\n"),
        format!("o\n1\n{}\n", &root[..40]),
    ] {
        assert!(text.parse::<Checkpoint>().is_err(), "{text:?}");
    }
    assert!(format!("o\n1\n{root}\nmore\n").parse::<Checkpoint>().is_ok());
}

#[test]
fn trust_is_in_keys_of_the_right_kind() {
    let log = GO_KEY.parse::<VerifierKey>().unwrap();
    let public = *b"\x1a\x5c\xd9\x07\x14\x3c\x38\x4c\x41\xe8\x30\xc5\xbc\xe1\x2a\xa8\x81\x7e\xc5\x64\x9a\xaa\xbf\x2c\x31\x38\x8b\x35\xb2\xd7\x44\xd6";
    let witness = VerifierKey::new("w", COSIGNATURE, public).unwrap();
    assert!(Trust::in_key(witness.clone()).is_err());
    assert!(Trust::new(log.clone(), vec![log.clone()], 0).is_err());
    assert!(Trust::new(log.clone(), vec![witness.clone()], 2).is_err());
    assert!(Trust::new(log.clone(), vec![witness.clone(), witness.clone()], 2).is_err());
    assert!(Trust::new(log, vec![witness], 1).is_ok());
}
