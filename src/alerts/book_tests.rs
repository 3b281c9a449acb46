//! Tests of the book: who is told what, when, and why not.

use super::*;
use crate::alerts::{Condition, Matcher, Source, wording};

const MINUTE_US: i64 = 60_000_000;

fn receiver(kind: Kind, pages_an_hour: Option<u32>, after_us: i64) -> Receiver {
    let (name, url) = ("ops".to_owned(), Source::Here("http://127.0.0.1:1".to_owned()));
    let (matchers, resend_us, on_call, mail) = (Vec::new(), 10 * MINUTE_US, None, None);
    Receiver { name, kind, url, secret: None, matchers, when: None, after_us, pages_an_hour, resend_us, on_call, mail }
}

fn incident(id: u32, state: &str, at_us: i64, notify: bool) -> Incident {
    let golden = include_str!("../../schemas/golden/incident.v1.json");
    let mut incident = serde_json::from_str::<Incident>(golden).expect("an incident");
    (incident.incident_id, incident.opened_us, incident.at_us, incident.notify) =
        (format!("INC-{id}"), 0, at_us, notify);
    incident.merged_into = String::new();
    incident.state = serde_json::from_value(state.into()).expect("a state");
    incident
}

/// All that is due is sent; what it was.
fn told(book: &mut Book, receiver: &Receiver, now_us: i64) -> Vec<(Action, String)> {
    let due = book.due(receiver, now_us);
    due.iter().for_each(|due| book.sent(receiver, due, now_us));
    due.into_iter().map(|due| (due.action, due.alert.id)).collect()
}

fn why(book: &Book) -> Vec<&str> {
    book.decisions.iter().filter(|it| it.what == "suppressed").map(|it| it.reason.as_str()).collect()
}

#[test]
fn an_alert_is_told_once_again_and_resolved() {
    let (mut book, ops) = (Book::default(), receiver(Kind::Pagerduty, Some(5), 0));
    let id = || "INC-1".to_owned();
    book.follow(&incident(1, "open", 1, true));
    book.follow(&incident(1, "update", 2, false));
    assert_eq!(told(&mut book, &ops, 10), [(Action::Trigger, id())]);
    assert_eq!(told(&mut book, &ops, 11), []);
    assert_eq!(told(&mut book, &ops, 10 * MINUTE_US + 10), [(Action::Resend, id())]);
    book.follow(&incident(1, "update", 3, true));
    assert_eq!(told(&mut book, &ops, 10 * MINUTE_US + 11), [(Action::Update, id())]);
    assert!(book.acknowledge("INC-1", 10 * MINUTE_US + 12) && !book.acknowledge("INC-2", 0));
    assert_eq!(told(&mut book, &ops, 10 * MINUTE_US + 13), [(Action::Acknowledge, id())]);
    book.follow(&incident(1, "resolved", 4, true));
    assert_eq!(told(&mut book, &ops, 10 * MINUTE_US + 14), [(Action::Resolve, id())]);
    assert_eq!(told(&mut book, &ops, 90 * MINUTE_US), []);
    book.follow(&incident(1, "update", 2, false));
    assert_eq!(why(&book), ["not_notified", "duplicate"]);
}

#[test]
fn what_is_told_again_is_counted() {
    let (mut book, ops) = (Book::default(), receiver(Kind::Email, None, 0));
    book.follow(&incident(1, "open", 1, true));
    for before in 0..4 {
        let due = book.due(&ops, 10 * MINUTE_US * i64::from(before));
        assert_eq!(due.iter().map(|due| due.before).collect::<Vec<_>>(), [before]);
        assert_eq!(book.due(&ops, 10 * MINUTE_US * i64::from(before)), due, "a try that failed changes nothing");
        book.sent(&ops, &due[0], 10 * MINUTE_US * i64::from(before));
    }
}

#[test]
fn who_is_a_receiver_no_more_is_told_the_end_or_that_is_said() {
    let (mut book, ops) = (Book::default(), receiver(Kind::Webhook, None, 0));
    for (id, state) in [(1, "open"), (2, "open"), (3, "resolved")] {
        book.follow(&incident(id, "open", 1, true));
        assert_eq!(told(&mut book, &ops, 10).len(), 1);
        book.follow(&incident(id, state, 2, state == "resolved"));
    }
    book.follow(&incident(4, "open", 3, true));
    let farewell = book.farewell(&ops);
    let ends = farewell.iter().map(|due| (due.action, due.alert.id.as_str(), due.before)).collect::<Vec<_>>();
    assert_eq!(ends, ["INC-1", "INC-2", "INC-3"].map(|id| (Action::Resolve, id, 1)));
    let titles =
        farewell.iter().map(|due| wording::title(due).split(':').next().map(str::to_owned)).collect::<Vec<_>>();
    let (open, over) = (Some("Not over, told here no more".to_owned()), Some("Resolved".to_owned()));
    assert_eq!(titles, [open.clone(), open, over]);
    let closed = wording::alertmanager(&farewell[..1], MINUTE_US, "", 20_000_000);
    assert_eq!(closed[0]["endsAt"], "1970-01-01T00:00:20.000Z");
    for due in [&farewell[0], &farewell[2]] {
        book.sent(&ops, due, 21);
    }
    let mut again = book.clone();
    assert_eq!(book.farewell(&ops).len(), 1, "two of them are settled");
    book.decisions.clear();
    book.forget(&[], 23);
    let said = book.decisions.iter().map(|it| (it.incident_id.as_str(), it.reason.as_str())).collect::<Vec<_>>();
    assert_eq!(said, [("INC-2", "removed")], "only of what it knew of, and not the end");
    book.welcome(std::slice::from_ref(&ops), 24);
    let begun = |book: &mut Book| told(book, &ops, 30).iter().map(|(_, id)| id.clone()).collect::<Vec<_>>();
    assert_eq!(begun(&mut book), ["INC-1", "INC-2", "INC-4"], "it is a receiver again, and nothing is known of it");
    assert_eq!(begun(&mut again), ["INC-1", "INC-4"], "it is a receiver again before it was forgotten");
}

#[test]
fn what_began_and_ended_meanwhile_is_told_as_both() {
    let (mut book, ops) = (Book::default(), receiver(Kind::Webhook, None, 0));
    book.follow(&incident(1, "open", 1, true));
    book.follow(&incident(1, "resolved", 2, true));
    let mut new = book.clone();
    assert_eq!(told(&mut book, &ops, 10), [(Action::Trigger, "INC-1".to_owned())]);
    assert_eq!(told(&mut book, &ops, 11), [(Action::Resolve, "INC-1".to_owned())]);
    new.follow(&incident(2, "open", 1, false));
    new.follow(&incident(3, "open", 1, false));
    new.follow(&incident(3, "resolved", 2, false));
    new.begin();
    assert_eq!(told(&mut new, &ops, 10), []);
    let why = new.decisions.iter().map(|it| (it.incident_id.as_str(), it.reason.as_str())).collect::<Vec<_>>();
    let silent = [("INC-2", "not_notified"), ("INC-3", "not_notified"), ("INC-3", "not_notified")];
    assert_eq!(
        why,
        [&silent[..], &[("INC-1", "before_start"), ("INC-3", "before_start")]].concat(),
        "each has its reason"
    );
}

#[test]
fn silenced_alerts_are_told_when_the_silence_ends() {
    let (mut book, ops) = (Book::default(), receiver(Kind::Slack, None, 0));
    book.follow(&incident(1, "open", 1, true));
    let matchers = vec![Matcher::parse("incident_id=INC-1").expect("a matcher")];
    let (author, comment) = ("me".to_owned(), String::new());
    let silence = Silence { id: "s".to_owned(), matchers, from_us: 0, to_us: 100, updated_us: 0, author, comment };
    assert_eq!(book.silence(silence, 0), Ok("s".to_owned()));
    assert_eq!(told(&mut book, &ops, 50), []);
    assert_eq!(told(&mut book, &ops, 51), []);
    assert_eq!(why(&book), ["silenced"], "it is said once");
    assert!(book.expire("s", 60) && !book.expire("t", 60));
    assert_eq!(told(&mut book, &ops, 61), [(Action::Trigger, "INC-1".to_owned())]);
    book.follow(&incident(2, "open", 1, true));
    let matchers = vec![Matcher::parse("incident_id=INC-2").expect("a matcher")];
    let (id, author, comment) = ("policy:a".to_owned(), "me".to_owned(), String::new());
    book.written = vec![Silence { id, matchers, from_us: 0, to_us: 100, updated_us: 0, author, comment }];
    assert_eq!(told(&mut book, &ops, 62), [], "a policy's silence holds as well");
    assert!(!book.expire("policy:a", 63), "and ends with the policy alone");
    book.written.clear();
    assert_eq!(told(&mut book, &ops, 64), [(Action::Trigger, "INC-2".to_owned())]);
}

#[test]
fn a_receiver_is_told_of_what_its_condition_is_true_of() {
    let when = Condition::parse("incident.services.size() >= 3 && incident.service.startsWith('pay')").ok();
    let (mut book, ops) = (Book::default(), Receiver { when, ..receiver(Kind::Slack, None, 0) });
    for (id, service, services) in [(1, "payments", 3), (2, "payments", 2), (3, "search", 3)] {
        let services = (0..services).map(|number| format!("s{number}")).collect();
        book.follow(&Incident { service: service.to_owned(), services, ..incident(id, "open", 1, true) });
    }
    assert_eq!(told(&mut book, &ops, 10), [(Action::Trigger, "INC-1".to_owned())]);
    assert_eq!(why(&book), ["not_routed", "not_routed"]);
}

#[test]
fn the_next_tier_is_told_when_nobody_took_it_on() {
    let (mut book, ops) = (Book::default(), receiver(Kind::Slack, None, 10 * MINUTE_US));
    book.follow(&incident(1, "open", 0, true));
    book.follow(&incident(2, "open", 0, true));
    assert_eq!(told(&mut book, &ops, 9 * MINUTE_US), []);
    assert!(book.acknowledge("INC-2", 9 * MINUTE_US));
    assert_eq!(told(&mut book, &ops, 10 * MINUTE_US), [(Action::Trigger, "INC-1".to_owned())]);
    assert_eq!(why(&book), ["below_tier", "below_tier"]);
}

#[test]
fn an_outage_of_400_stays_within_the_budget_and_every_one_is_accounted_for() {
    for kind in [Kind::Pagerduty, Kind::Slack] {
        let (mut book, ops) = (Book::default(), receiver(kind, Some(5), 0));
        let mut pages = 0;
        for second in 0..20 {
            (0..20).for_each(|id| book.follow(&incident(second * 20 + id, "open", i64::from(second), true)));
            let due = book.due(&ops, i64::from(second) * 1_000_000);
            pages += due.iter().filter(|due| due.is_page(kind)).count();
            due.iter().for_each(|due| book.sent(&ops, due, i64::from(second) * 1_000_000));
        }
        assert_eq!(pages, 5, "{kind:?}");
        let why = why(&book);
        let of = |reason: &str| why.iter().filter(|it| **it == reason).count();
        assert_eq!((of("grouped") >= 16, of("grouped") + of("noise_budget") >= 396), (true, true), "{kind:?}");
        (0..400).for_each(|id| book.follow(&incident(id, "resolved", 100, true)));
        let ended = told(&mut book, &ops, 100_000_000);
        assert!(ended.iter().all(|(action, _)| *action == Action::Resolve) && ended.len() == 5, "{kind:?} {ended:?}");
    }
}

#[test]
fn a_book_is_bounded_and_survives_its_file() {
    let (mut book, ops) = (Book::default(), receiver(Kind::Webhook, None, 0));
    (0..=MAX_ALERTS as u32).for_each(|id| book.follow(&incident(id, "open", 1, true)));
    assert_eq!((book.alerts.len(), why(&book)), (MAX_ALERTS, vec!["too_many"]));
    (0..MAX_ALERTS as u32).for_each(|id| book.follow(&incident(id, "resolved", 2, true)));
    (0..2).for_each(|_| drop(told(&mut book, &ops, 10)));
    book.forget(&[&ops], 11);
    assert_eq!(book.alerts.len(), KEPT_ENDED);
    book.decisions.clear();
    let text = serde_json::to_string(&book).expect("a file");
    assert_eq!(serde_json::from_str::<Book>(&text).expect("a book"), book);
}
