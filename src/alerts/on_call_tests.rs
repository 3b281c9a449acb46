//! Time travel over hand-overs, overrides and tiers: who is told follows from the log's own time of the page.

use super::*;
use crate::alerts::{Action, Book, Source};
use evenkeel_dataflows::{Override, Person, Rotation, Tuning};
use evenkeel_schemas::Incident;

const MINUTE_US: i64 = 60_000_000;
const DAY_US: i64 = 1_440 * MINUTE_US;

/// 2026-10-19T07:00:00Z, a Monday; on the Sunday after, clocks in Europe are set back.
const START_US: i64 = 1_792_393_200 * 1_000_000;

fn roster() -> Roster {
    let mut tuning = Tuning::default();
    for name in ["ann", "bob", "cy"] {
        let (teams, contact) = (["shop".to_owned()].into(), format!("{name}@example.com"));
        tuning.roster.people.insert(name.to_owned(), Person { teams, contact, ..Person::default() });
    }
    let rotation = |people: &[&str], overrides| {
        let people = people.iter().map(|name| (*name).to_owned()).collect();
        Rotation { people, from_us: START_US, turn_s: 7 * 86_400, overrides }
    };
    let (from_us, to_us) = (START_US + 2 * DAY_US, START_US + 3 * DAY_US);
    let stands_in = Override { person: "cy".to_owned(), from_us, to_us };
    let tiers = vec![rotation(&["ann", "bob"], vec![stands_in]), rotation(&["cy"], Vec::new())];
    tuning.roster.on_call.insert("shop".to_owned(), tiers);
    assert_eq!(tuning.check(), Ok(()));
    tuning.roster
}

fn sender(tier: usize, after_us: i64) -> Sender {
    let (name, url) = (format!("tier-{tier}"), Source::Here("http://127.0.0.1:1".to_owned()));
    let (kind, on_call) = (Kind::Slack, Some(("shop".to_owned(), tier)));
    let receiver = Receiver {
        name,
        kind,
        url,
        secret: None,
        matchers: Vec::new(),
        when: None,
        after_us,
        pages_an_hour: None,
        resend_us: 0,
        on_call,
        mail: None,
    };
    let mut sender = Sender::all(&[receiver], Path::new(""), "").expect("a sender").pop().expect("one");
    sender.roster = Arc::new(roster());
    sender
}

fn incident(state: &str, at_us: i64) -> Incident {
    let golden = include_str!("../../schemas/golden/incident.v1.json");
    let mut incident = serde_json::from_str::<Incident>(golden).expect("an incident");
    (incident.opened_us, incident.at_us, incident.notify, incident.merged_into) = (at_us, at_us, true, String::new());
    incident.state = serde_json::from_value(state.into()).expect("a state");
    incident
}

/// Who is told of a page at `at_us` by whom, at each of the moments after it, µs.
fn told(at_us: i64, moments_us: &[i64], acknowledged: bool) -> Vec<String> {
    let (mut book, mut all) = (Book::default(), Vec::new());
    book.follow(&incident("open", at_us));
    if acknowledged {
        book.acknowledge(&incident("open", at_us).incident_id, at_us + MINUTE_US);
    }
    let senders = [sender(1, 0), sender(2, 10 * MINUTE_US)];
    for after_us in moments_us {
        for sender in &senders {
            for due in book.due(&sender.receiver, at_us + after_us) {
                let to = sender.addressed(&due).alert.annotations["on_call"].clone();
                all.push(format!("{} {:?} {to}", sender.receiver.name, due.action));
                book.sent(&sender.receiver, &due, at_us + after_us);
            }
        }
    }
    all
}

#[test]
fn whoever_was_on_call_when_the_turn_came_is_told_whenever_it_is_told() {
    let week_us = 7 * DAY_US;
    // Before and after a hand-over, over the night of the clocks, in and after an override.
    for (at_us, name) in [
        (0, "ann"),
        (week_us - 1, "ann"),
        (week_us, "bob"),
        (2 * week_us - 1, "bob"),
        (2 * week_us, "ann"),
        (-1, "bob"),
        (2 * DAY_US - 1, "ann"),
        (2 * DAY_US, "cy"),
        (3 * DAY_US, "ann"),
        (51 * week_us, "bob"),
    ] {
        let page_us = START_US + at_us;
        let first = format!("tier-1 {:?} {name} <{name}@example.com>", Action::Trigger);
        let second = format!("tier-2 {:?} cy <cy@example.com>", Action::Trigger);
        // The process may run at once, or be away over the next hand-over.
        for later_us in [0, 30 * DAY_US] {
            let moments = [later_us, later_us + 9 * MINUTE_US, later_us + 10 * MINUTE_US, later_us + 20 * MINUTE_US];
            assert_eq!(told(page_us, &moments, false), [first.clone(), second.clone()], "{at_us} {later_us}");
            assert_eq!(told(page_us, &moments, true), std::slice::from_ref(&first), "somebody took it on: {at_us}");
        }
    }
}

#[test]
fn the_second_tier_is_whose_turn_it_is_once_it_is_its_turn() {
    // The page comes five minutes before a hand-over, the tier's turn five minutes after it.
    let mut sender = sender(2, 10 * MINUTE_US);
    let mut roster = roster();
    let tiers = roster.on_call.get_mut("shop").expect("a team");
    tiers.swap(0, 1);
    sender.roster = Arc::new(roster);
    let mut book = Book::default();
    book.follow(&incident("open", START_US + 7 * DAY_US - 5 * MINUTE_US));
    let due = book.due(&sender.receiver, START_US + 30 * DAY_US);
    assert_eq!(sender.on_call(&due[0]), Some(("bob", "bob@example.com")));
    sender.roster = Arc::default();
    assert_eq!(sender.on_call(&due[0]), None, "nobody of that team");
}
