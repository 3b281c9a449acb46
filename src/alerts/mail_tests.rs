//! Tests of mail: where it may go, what cannot get into it, and how long it may be.

use super::*;
use crate::alerts::Alert;

fn due(action: Action, text: &str) -> Due {
    let mut alert = Alert { id: "INC-1".to_owned(), pages: 2, ..Alert::default() };
    for label in ["alertname", "service"] {
        alert.labels.insert(label.to_owned(), text.to_owned());
    }
    for name in FACTS.iter().chain(&["summary"]) {
        alert.annotations.insert((*name).to_owned(), text.to_owned());
    }
    Due { action, alert, before: 3 }
}

fn formatted(due: &Due, contact: Option<&str>) -> String {
    let address = |text: &str| address(text).expect("an address");
    let mail = Mail { from: address("evenkeel@example.com"), to: vec![address("ops@example.com")], user: None };
    let letter = letter(("ops", &mail), contact, due, ("http://127.0.0.1", 1_767_225_666_000_000)).expect("a letter");
    String::from_utf8(letter.formatted()).expect("ASCII")
}

/// The value of a header, unfolded.
fn header(letter: &str, name: &str) -> Option<String> {
    let (head, _) = letter.split_once("\r\n\r\n").expect("a head");
    let head = head.replace("\r\n ", " ");
    let mut found = head.split("\r\n").filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    let value = found.next().map(str::to_owned);
    assert_eq!(found.next(), None, "{name} is there once");
    value
}

#[test]
fn mail_leaves_this_machine_only_encrypted() {
    let known = |url| Server::parse(url).map(|it| format!("{} {} {:?}", it.host, it.port, it.secured));
    assert_eq!(known("smtps://mail.example.com").as_deref(), Ok("mail.example.com 465 Always"));
    assert_eq!(known("smtp+starttls://mail.example.com:25/").as_deref(), Ok("mail.example.com 25 Upgraded"));
    assert_eq!(known("smtp://127.0.0.1:2525").as_deref(), Ok("127.0.0.1 2525 Never"));
    assert_eq!(known("smtp://[::1]").as_deref(), Ok("::1 25 Never"));
    for wrong in [
        "smtp://mail.example.com",
        "smtp://10.0.0.1",
        "smtp://127.0.0.1.example.com",
        "https://mail.example.com",
        "mail.example.com",
        "smtps://",
        "smtps://ann:secret@mail.example.com",
        "smtps://mail.example.com/inbox",
        "smtps://mail.example.com?tls=none",
    ] {
        assert!(Server::parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn one_alert_is_one_thread_and_each_message_has_an_identity_of_its_own() {
    let first = formatted(&due(Action::Trigger, "checkout"), Some("ann@example.com"));
    let identity = header(&first, "Message-ID").expect("an identity");
    assert_eq!(identity, "<INC-1.ops@example.com>");
    assert_eq!(header(&first, "To").as_deref(), Some("ann@example.com, ops@example.com"));
    assert_eq!((header(&first, "In-Reply-To"), header(&first, "References")), (None, None));
    let mut identities = vec![identity.clone()];
    for action in [Action::Update, Action::Resend, Action::Resolve] {
        let later = formatted(&due(action, "checkout"), Some("no address"));
        assert_eq!(header(&later, "To").as_deref(), Some("ops@example.com"));
        assert_eq!(header(&later, "In-Reply-To").as_ref(), Some(&identity));
        assert_eq!(header(&later, "References").as_ref(), Some(&identity));
        assert_eq!(header(&later, "Subject"), header(&first, "Subject").map(|subject| format!("Re: {subject}")));
        identities.extend(header(&later, "Message-ID"));
        assert_eq!(header(&later, "Message-ID"), header(&formatted(&due(action, "checkout"), None), "Message-ID"));
    }
    identities
        .push(header(&formatted(&Due { before: 4, ..due(Action::Resend, "") }, None), "Message-ID").expect("one"));
    identities.sort();
    identities.dedup();
    assert_eq!(identities.len(), 5, "{identities:?}");
}

#[test]
fn names_from_events_get_into_no_header_and_onto_no_line_of_their_own() {
    for text in
        ["a\r\nBcc: eve@example.com\r\n\r\nroot: other", "a\nBcc: eve@example.com\n.\nroot: other", "a\rroot: b"]
    {
        let mut hostile = due(Action::Resolve, text);
        hostile.alert.id = text.to_owned();
        let letter = formatted(&hostile, Some(text));
        assert_eq!(header(&letter, "Bcc"), None);
        assert_eq!(header(&letter, "To").as_deref(), Some("ops@example.com"));
        let identity = header(&letter, "Message-ID").expect("an identity");
        assert!(identity.ends_with(".ops@example.com>") && !identity.contains(' '), "{identity}");
        assert!(header(&letter, "Subject").is_some_and(|it| it.starts_with("Re: a ")), "{letter}");
        let (plain, html) = words(&hostile, "http://127.0.0.1");
        let roots = plain.lines().filter(|line| line.starts_with("root: ")).count();
        assert_eq!((roots, plain.contains('\r'), html.contains('\r')), (1, false, false), "{plain}");
    }
    let (_, html) = words(&due(Action::Trigger, "<script src=\"//x\">&"), "http://127.0.0.1/\"><b>");
    assert!(!html.contains("<script") && !html.contains("<b>"), "{html}");
    assert!(html.contains("<a href=\"http://127.0.0.1/%22&gt;&lt;b&gt;/status.json#INC-1\">"), "{html}");
}

#[test]
fn a_message_is_bounded() {
    for text in ["&".repeat(1 << 20), "ä\n".repeat(1 << 19), "\u{1}".repeat(1 << 20), "𝛀".repeat(1 << 18)] {
        let mut long = due(Action::Resolve, &text);
        long.alert.id = text;
        let letter = formatted(&long, None);
        assert!((2 << 10..64 << 10).contains(&letter.len()), "{}", letter.len());
        assert!(letter.lines().all(|line| line.len() <= 998), "a line as RFC 5322 allows it");
    }
}
