//! People's words through the whole core: the same for any number of workers and after any restart; a glass that is broken is
//! told as an incident, ends by the log's own time, and every word that does not count is audited with its reason.
#![expect(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{START_US, Traffic, digest, run};
use evenkeel_dataflows::{Approval, Batch, Changes, Output, Person, Resume, TICK_US, Tuning};
use evenkeel_schemas::{
    Command, CommandState, Control, Dataset, Detector, Incident, IncidentState, Mode, Partition, Topic,
};
use std::collections::{BTreeMap, BTreeSet};

/// Service `s2` fails from second 40 on; its circuit needs two of those on the roster.
fn tuning() -> Tuning {
    let mut tuning = Tuning { mode: Mode::Auto, ..Tuning::default() };
    for name in ["ann", "bob", "cy"] {
        let roles = BTreeSet::from([if name == "cy" { "guest" } else { "sre" }.to_owned()]);
        tuning.roster.people.insert(name.to_owned(), Person { roles, ..Person::default() });
    }
    let rule = Approval { roles: BTreeSet::from(["sre".to_owned()]), persons: 2, totp: false, wait_s: 600 };
    tuning.approvals.insert("*".to_owned(), BTreeMap::from([("trip_circuit".to_owned(), rule)]));
    tuning
}

/// The traffic, and orders at seconds.
fn traffic(orders: &[(i64, Control)]) -> Traffic {
    let mut traffic = Traffic::new(7, 60_000, 120);
    let partition = Partition { topic: Topic::Control, partition: 2 };
    for (offset, (second, order)) in orders.iter().enumerate() {
        let at_us = START_US + second * TICK_US;
        let first = traffic.epochs.partition_point(|epoch| epoch.binding.now_us <= at_us);
        let mut batch = Batch::new(partition);
        batch.push(offset as u64, at_us, &[], &serde_json::to_vec(order).unwrap());
        traffic.epochs[first].batches.push(batch);
        for epoch in &mut traffic.epochs[first..] {
            epoch.binding.upper.0.insert(partition, offset as u64 + 1);
        }
    }
    traffic
}

fn of(changes: &[Changes], dataset: Dataset) -> impl Iterator<Item = &Output> {
    changes.iter().flat_map(|changes| &changes.outputs).filter(move |it| it.dataset == dataset && !it.value.is_empty())
}

fn commands(changes: &[Changes]) -> Vec<Command> {
    of(changes, Dataset::Commands).map(|it| serde_json::from_slice(&it.value).unwrap()).collect()
}

fn proposed(changes: &[Changes]) -> Command {
    commands(changes).into_iter().find(|it| it.service == "s2" && it.state == CommandState::Proposed).unwrap()
}

fn approve(second: i64, by: &str, command_id: &str) -> (i64, Control) {
    let [by, service, command_id] = [by, "s2", command_id].map(str::to_owned);
    let (event_time_us, proofs, seal) = (START_US + second * TICK_US, Vec::new(), String::new());
    (second, Control::Approve { event_time_us, by, service, command_id, proofs, seal })
}

fn break_glass(second: i64, by: &str, for_s: u32) -> (i64, Control) {
    let [by, service, why] = [by, "s2", "alone at night"].map(str::to_owned);
    let (event_time_us, proofs, seal) = (START_US + second * TICK_US, Vec::new(), String::new());
    (second, Control::BreakGlass { event_time_us, by, service, for_s, why, proofs, seal })
}

fn audited(changes: &[Changes]) -> Vec<String> {
    of(changes, Dataset::Audit).map(|it| String::from_utf8_lossy(&it.value).into_owned()).collect()
}

#[test]
fn two_persons_of_a_role_have_a_command_issued_and_every_other_word_is_told_why_not() {
    let id = proposed(&run(&tuning(), 1, 500, Resume::default(), &traffic(&[]).epochs)).command_id;
    let words = [(46, "ann"), (47, "ann"), (48, "cy"), (49, "eve"), (50, "bob"), (51, "bob")];
    let orders = words.map(|(second, by)| approve(second, by, &id));
    let traffic = traffic(&orders);
    let changes = run(&tuning(), 2, 500, Resume::default(), &traffic.epochs);
    let of_it = commands(&changes).into_iter().filter(|it| it.command_id == id).collect::<Vec<_>>();
    let told = of_it.iter().map(|it| (it.state, it.by.as_str(), it.detail.split(": ").nth(1).unwrap_or(&it.detail)));
    use CommandState::{Expired, Issued, Proposed};
    assert_eq!(
        told.take(6).collect::<Vec<_>>(),
        [
            (Proposed, "", ""),
            (Proposed, "ann", "approved by 1 of 2"),
            (Proposed, "ann", "same_person"),
            (Proposed, "ann", "no_role"),
            (Proposed, "ann", "not_on_roster"),
            (Issued, "ann, bob", "approved"),
        ]
    );
    assert_eq!(of_it.last().unwrap().state, Expired, "no actuator answers here");
    let late = audited(&changes).into_iter().filter(|it| it.contains("refused\":\"not_waiting")).count();
    assert_eq!(late, 1, "the last word was too late, and is audited so");
    for (workers, batch) in [(1, 7), (4, 333)] {
        let again = run(&tuning(), workers, batch, Resume::default(), &traffic.epochs);
        assert_eq!(digest(&again), digest(&changes), "{workers} workers");
    }
}

#[test]
fn a_broken_glass_is_told_lets_one_decide_and_ends_by_the_time_of_the_log() {
    let id = proposed(&run(&tuning(), 1, 500, Resume::default(), &traffic(&[]).epochs)).command_id;
    // It begins at 44 and is over at 64; a copy of the order opens nothing again; a stranger's is refused.
    let copy = (70, break_glass(44, "ann", 20).1);
    let orders = [break_glass(43, "eve", 20), break_glass(44, "ann", 20), approve(46, "ann", &id), copy];
    let traffic = traffic(&orders);
    let changes = run(&tuning(), 2, 500, Resume::default(), &traffic.epochs);
    let issued = commands(&changes).into_iter().find(|it| it.command_id == id && it.state == CommandState::Issued);
    assert!(issued.unwrap().detail.starts_with("approved by ann alone, who broke the glass: alone at night"));
    let incidents = of(&changes, Dataset::Incidents).map(|it| serde_json::from_slice::<Incident>(&it.value).unwrap());
    let told = incidents.filter(|it| it.cause.detector == Detector::BreakGlass).collect::<Vec<_>>();
    assert_eq!(told.iter().map(|it| it.state).collect::<Vec<_>>(), [IncidentState::Open, IncidentState::Resolved]);
    assert!(told.iter().all(|it| it.notify && it.incident_id == told[0].incident_id && it.service == "s2"), "{told:?}");
    let lasted_s = (told[1].at_us - START_US) as f64 / TICK_US as f64;
    assert!((64.0..65.0).contains(&lasted_s), "over at second {lasted_s}");
    let audited = audited(&changes).join("\n");
    for word in ["not_on_roster", "break_glass", "begun", "ended", "replayed: a later"] {
        assert!(audited.contains(word), "{word} is not audited");
    }
    // Without the glass the same word is the first of two.
    let without = run(&tuning(), 1, 500, Resume::default(), &self::traffic(&orders[2..3]).epochs);
    assert!(commands(&without).iter().all(|it| it.command_id != id || it.state != CommandState::Issued));

    let calm = run(&tuning(), 1, 1_000, Resume::default(), &traffic.epochs);
    assert_eq!(digest(&calm), digest(&changes));
    for cut in (1..traffic.epochs.len()).step_by(traffic.epochs.len() / 31) {
        let resume = common::resume(&tuning(), &calm[..cut]);
        let again = resume.bindings[0].epoch.0 as usize + 1;
        let rest = run(&tuning(), 1 + cut % 3, 500, resume, &traffic.epochs[again..]);
        rest.iter().zip(&calm[cut..]).for_each(|(after, before)| common::assert_same(after, before, cut));
    }
}
