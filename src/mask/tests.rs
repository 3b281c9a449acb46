//! Lines with personal data in every spelling: none of it is left, and JSON stays JSON.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use proptest::prelude::*;

fn masks(rules: &[(&str, Find, Replace)]) -> Masks {
    let rules = rules.iter().map(|(name, find, replace)| MaskRule {
        name: (*name).to_owned(),
        find: find.clone(),
        replace: *replace,
    });
    Masks { key: b"0123456789abcdef".to_vec(), all: rules.map(Mask::from).collect() }
}

fn all() -> Masks {
    masks(&[
        ("mails", Find::Email, Replace::Pseudonym),
        ("cards", Find::Card, Replace::Removed),
        ("addresses", Find::Ip, Replace::Network),
        ("wallets", Find::Wallet, Replace::Pseudonym),
        ("names", Find::Fields(vec!["user".to_owned(), "née".to_owned()]), Replace::Pseudonym),
    ])
}

fn masked(masks: &mut Masks, line: &str) -> String {
    String::from_utf8(masks.apply(line.as_bytes()).into_owned()).unwrap()
}

/// The cards are those that issuers publish for tests, the wallets those of BIP 173 and of Bitcoin's first block.
const RAW: [&str; 16] = [
    "alice@example.com",
    "Bob.O'Neil+shop@mail.example.co.uk",
    "carol%40example.org",
    "4111111111111111",
    "4111 1111 1111 1111",
    "5500-0055-5555-5559",
    "378282246310005",
    "6011000990139424",
    "203.0.113.77",
    "255.255.255.255",
    "2001:db8:85a3::8a2e:370:7334",
    "::ffff:203.0.113.7",
    "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa",
    "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",
    "0xde0B295669a9FD93d5F28D9Ec85E40f4cb697BAe",
    "BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4",
];

#[test]
fn nothing_of_what_is_looked_for_is_left() {
    let mut masks = all();
    for raw in RAW {
        for line in [format!("GET /pay/{raw} 200"), format!(r#"{{"route":"/pay/{raw}","status":200}}"#), raw.to_owned()]
        {
            let masked = masked(&mut masks, &line);
            assert!(!masked.contains(raw), "{line} became {masked}");
            assert!(!line.starts_with('{') || serde_json::from_str::<serde_json::Value>(&masked).is_ok(), "{masked}");
        }
    }
    let counts = masks.counts().collect::<Vec<_>>();
    assert_eq!(counts, [("mails", 9), ("cards", 15), ("addresses", 12), ("wallets", 12), ("names", 0)]);
}

#[test]
fn what_only_looks_like_it_stays_as_it_is() {
    for line in [
        r#"{"event_time_us":1758000000123456,"service":"pay","route":"/pay/{id}","status":200,"latency_us":1200}"#,
        r#"{"trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","version":"2.4.1","node":"pay-3","at":"12:30:45"}"#,
        r#"{"trace_id":"1bf92f3577b34da6a3ce929d8e8e4736","image":"pay@sha256:abc","path":"C:\\u0041"}"#,
        "a user@host wrote 4111111111111112 and 1.2.3 and 300.1.1.1 at 12:30",
    ] {
        assert!(matches!(all().apply(line.as_bytes()), Cow::Borrowed(_)) || masked(&mut all(), line) == line, "{line}");
    }
}

#[test]
fn one_person_has_one_pseudonym_whatever_the_spelling_and_another_with_another_key() {
    let mut masks = all();
    let names = ["alice@example.com", "ALICE@Example.com", "alice%40example.com"].map(|it| masked(&mut masks, it));
    assert!(names.iter().all(|name| *name == names[0] && name.starts_with("email-") && name.len() == 22), "{names:?}");
    masks.key = b"another key, yes".to_vec();
    assert_ne!(masked(&mut masks, "alice@example.com"), names[0]);
    assert_eq!(masked(&mut masks, "203.0.113.77 2001:db8:85a3::1"), "203.0.113.0 2001:db8:85a3::");
}

#[test]
fn json_stays_json() {
    let line = r#"{"user":"\"Ann\" \\","n":4111111111111111,"m":"alice\u0040example.com","user" : 17,"s":"a\/b","née":"x","user":""}"#;
    let masked = masked(&mut all(), line);
    let json = serde_json::from_str::<serde_json::Value>(&masked).unwrap();
    assert_eq!((&json["n"], &json["s"], &json["user"]), (&"card-removed".into(), &"a/b".into(), &"".into()));
    assert!(json["m"].as_str().unwrap().starts_with("email-") && json["née"].as_str().unwrap().starts_with("field-"));
    assert!(!masked.contains("Ann") && !masked.contains("17,"), "{masked}");
}

#[test]
fn a_key_is_needed_and_long() {
    let rule = MaskRule { name: "mails".to_owned(), find: Find::Email, replace: Replace::Pseudonym };
    let refused = |key: Option<&Path>| Masks::new(vec![rule.clone()], key).err().unwrap().to_string();
    assert!(refused(None).contains("MaskRule/mails"), "{}", refused(None));
    let path = std::env::temp_dir().join(format!("evenkeel-mask-{}", std::process::id()));
    std::fs::write(&path, "short\n").unwrap();
    assert!(refused(Some(&path)).contains("5 bytes"));
    std::fs::write(&path, "0123456789abcdef\n").unwrap();
    assert!(Masks::new(vec![rule.clone()], Some(&path)).is_ok());
    std::fs::remove_file(path).unwrap();
}

proptest! {
    /// Whatever stands around it, and wherever in JSON it stands.
    #[test]
    fn nothing_is_left_in_any_surroundings(
        (before, after) in ("[^0-9A-Za-z_:.%]{0,8}", "[^0-9A-Za-z_:.%-]{0,8}"), at in 0..RAW.len(), escaped in any::<bool>(),
    ) {
        let raw = RAW[at];
        let text = format!("x {before} {raw} {after}");
        let mut json = serde_json::json!({"service": "pay", "route": text, "rest": [text]}).to_string();
        if escaped {
            json = json.replace('@', "\\u0040").replace('.', "\\u002E");
        }
        let masked = masked(&mut all(), &json);
        let json = serde_json::from_str::<serde_json::Value>(&masked);
        prop_assert!(json.is_ok(), "{masked}");
        prop_assert!(!json.unwrap().to_string().contains(raw), "{masked}");
    }

    /// Any bytes are lines; what is JSON stays it.
    #[test]
    fn any_bytes_can_be_masked(bytes in prop::collection::vec(any::<u8>(), 0..200), text in ".{0,60}") {
        let mut masks = all();
        let _ = masks.apply(&bytes);
        let json = serde_json::json!({"user": text, text.clone(): [1.5, text]}).to_string();
        let masked = masks.apply(json.as_bytes()).into_owned();
        prop_assert!(serde_json::from_slice::<serde_json::Value>(&masked).is_ok(), "{}", String::from_utf8_lossy(&masked));
    }
}
