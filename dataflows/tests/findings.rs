//! What others have to say to the audit log: each becomes an entry; a finding becomes an incident, for as long as it is
//! found.
#![expect(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{EpochInput, START_US, assert_same, run};
use evenkeel_dataflows::{Batch, CONFIGURED, Changes, Detection, Resume, TICK_US, Tuning};
use evenkeel_schemas::audit::Entry;
use evenkeel_schemas::{Binding, Cut, Dataset, Detector, Dimension, Epoch, Incident, IncidentState, Partition, Topic};
use evenkeel_schemas::{Decision, Verdict};
use serde::de::DeserializeOwned;

const PARTITION: Partition = Partition { topic: Topic::AuditEvents, partition: 0 };
const FINDING_S: i64 = 20;

fn tuning() -> Tuning {
    Tuning { detection: Detection { finding_s: FINDING_S, ..Detection::default() }, ..Tuning::default() }
}

fn event(second: i64, event_type: &str, op: &str, entity: &str) -> String {
    let event_time_us = START_US + second * TICK_US;
    format!(
        "{{\"event_time_us\":{event_time_us},\"event_type\":\"{event_type}\",\"op\":\"{op}\",\"actor\":\"ann\",\
         \"entity\":\"{entity}\",\"detail\":{{\"at\":{second}}}}}"
    )
}

/// Epochs of a second each, with the events of their second.
fn epochs(seconds: i64, events: impl FnMut(i64) -> Vec<String>) -> Vec<EpochInput> {
    epochs_of(PARTITION, seconds, events)
}

fn epochs_of(partition: Partition, seconds: i64, mut events: impl FnMut(i64) -> Vec<String>) -> Vec<EpochInput> {
    let mut offset = 0;
    let epoch = |second: i64| {
        let now_us = START_US + second * TICK_US;
        let mut batch = Batch::new(partition);
        for event in events(second) {
            batch.push(offset, now_us, b"", event.as_bytes());
            offset += 1;
        }
        let upper = Cut([(partition, offset)].into_iter().filter(|(_, next)| *next > 0).collect());
        let epoch = Epoch(second as u64);
        EpochInput { binding: Binding { epoch, now_us, resume: Epoch(0), upper }, batches: vec![batch] }
    };
    (0..seconds).map(epoch).collect()
}

fn outputs<T: DeserializeOwned>(changes: &[Changes], dataset: Dataset) -> Vec<T> {
    let all = changes.iter().flat_map(|changes| &changes.outputs).filter(|output| output.dataset == dataset);
    all.map(|output| serde_json::from_slice(&output.value).unwrap()).collect()
}

fn entries(changes: &[Changes]) -> Vec<Entry> {
    let all = changes.iter().flat_map(|changes| &changes.outputs).filter(|output| output.dataset == Dataset::Audit);
    all.map(|output| Entry::open(&output.value).unwrap().0).collect()
}

#[test]
fn every_audit_event_becomes_an_entry_as_received() {
    let events = ["finding", "access", "configuration", "erasure"].map(|it| event(1, it, "some_op", "thing"));
    let input = epochs(3, |second| if second == 1 { events.to_vec() } else { Vec::new() });
    let mut found = entries(&run(&tuning(), 2, 10, Resume::default(), &input));
    found.retain(|entry| entry.table == "audit.events.v1");
    assert_eq!(found.len(), 4);
    for (entry, event) in found.iter().zip(&events) {
        assert_eq!((entry.op.as_str(), entry.actor.as_str(), entry.entity.as_str()), ("some_op", "ann", "thing"));
        assert_eq!((entry.payload.as_slice(), entry.ts_us), (event.as_bytes(), START_US + TICK_US));
        assert!(event.contains(&format!("\"event_type\":\"{}\"", entry.event_type)), "{entry:?}");
    }
}

#[test]
fn a_finding_opens_one_incident_that_names_it_and_ends_when_it_is_found_no_more() {
    let input = epochs(80, |second| match second {
        2 => vec![event(second, "access", "read", "elsewhere"), event(second, "finding", "tamper", "row 7")],
        // Found again: the same incident, for longer.
        12 => vec![event(second, "finding", "tamper", "row 7")],
        15 => vec![event(second, "finding", "mirror_edit", "row 9")],
        _ => Vec::new(),
    });
    let changes = run(&tuning(), 1, 10, Resume::default(), &input);
    let incidents = outputs::<Incident>(&changes, Dataset::Incidents);
    let second = |at_us: i64| (at_us - START_US) / TICK_US;
    let told: Vec<_> = incidents.iter().map(|it| (it.state, second(it.at_us), it.cause.nodes.join(","))).collect();
    let linger_s = tuning().recovery.linger_s;
    let expected = [
        (IncidentState::Open, 2, "row 7".to_owned()),
        (IncidentState::Update, 15, "row 7,row 9".to_owned()),
        (IncidentState::Update, 12 + FINDING_S, "row 9".to_owned()),
        (IncidentState::Resolved, 15 + FINDING_S + linger_s, "row 9".to_owned()),
    ];
    assert_eq!(told, expected);
    assert!(incidents.iter().all(|it| it.incident_id == incidents[0].incident_id && it.service == "~audit"));
    let cause = &incidents[0].cause;
    assert_eq!(cause.detector, Detector::AuditIntegrity);
    assert_eq!(cause.evidence, "tamper of row 7, found by ann: {\"at\":2}");
    assert!(outputs::<evenkeel_schemas::Command>(&changes, Dataset::Commands).is_empty(), "a person looks at it");
    let audited = entries(&changes);
    let count = |of: &str| audited.iter().filter(|entry| entry.event_type == of).count();
    assert_eq!((count("finding"), count("verdict"), count("incident")), (3, 4, 4));
}

#[test]
fn the_last_configuration_is_kept_for_the_next_start() {
    let own = |second: i64, op: &str| event(second, "configuration", op, "evenkeel");
    let input = epochs(5, |second| match second {
        1 | 3 => vec![event(second, "configuration", "start", "other"), own(second, "start"), own(second, "set")],
        _ => Vec::new(),
    });
    let (calm, other) =
        (run(&tuning(), 1, 10, Resume::default(), &input), run(&tuning(), 4, 1, Resume::default(), &input));
    calm.iter().zip(&other).for_each(|(after, before)| assert_same(after, before, 4));
    let state = common::resume(&tuning(), &calm).state;
    let (_, kept) = state.iter().find(|(key, _)| key == CONFIGURED.state_key.as_bytes()).unwrap();
    assert_eq!(kept, own(3, "start").as_bytes());
}

#[test]
fn a_finding_that_is_told_late_is_no_older_or_newer_than_it_is() {
    let (late, early) = (event(1, "finding", "stale", "a"), event(999, "finding", "stale", "b"));
    let input = epochs(9, |second| if second == 5 { vec![late.clone(), early.clone()] } else { Vec::new() });
    let verdicts = outputs::<Verdict>(&run(&tuning(), 1, 10, Resume::default(), &input), Dataset::Verdicts);
    let since = |node: &str| {
        let verdict = verdicts.iter().find(|it| it.key.get(Dimension::Node) == Some(node)).unwrap();
        (verdict.since_us - START_US) / TICK_US
    };
    assert_eq!((since("a"), since("b")), (1, 5));
}

#[test]
fn findings_are_bounded_and_end_for_any_number_of_workers_and_over_a_restart() {
    let row =
        |second: i64, number: i64| event(second, "finding", "mirror_edit", &format!("row {}", second * 100 + number));
    let input =
        epochs(60, |second| if second < 10 { (0..100).map(|number| row(second, number)).collect() } else { vec![] });
    let calm = run(&tuning(), 1, 7, Resume::default(), &input);
    assert_eq!(entries(&calm).iter().filter(|entry| entry.event_type == "finding").count(), 1_000);
    let verdicts = outputs::<Verdict>(&calm, Dataset::Verdicts);
    let of = |decision| verdicts.iter().filter(move |it| it.decision == decision).count();
    assert_eq!(of(Decision::Fire), of(Decision::Clear), "whatever begins ends");
    assert_eq!(of(Decision::Fire), 16 * 17, "sixteen buckets of sixteen and the others");
    assert_eq!(outputs::<Incident>(&calm, Dataset::Incidents).last().unwrap().state, IncidentState::Resolved);
    for (workers, batch) in [(2, 1_000), (4, 3)] {
        let changes = run(&tuning(), workers, batch, Resume::default(), &input);
        changes.iter().zip(&calm).for_each(|(after, before)| assert_same(after, before, workers));
    }
    for cut in [3, 15, 31] {
        let resume = common::resume(&tuning(), &calm[..cut]);
        let again = resume.bindings[0].epoch.0 as usize + 1;
        let rest = run(&tuning(), 2, 100, resume, &input[again..]);
        rest.iter().zip(&calm[cut..]).for_each(|(after, before)| assert_same(after, before, cut));
    }
}

/// Changes of a table that holds one entry, whole and with a forged actor.
fn mirror_changes() -> [String; 4] {
    // Of seq 0 in partition 0: previous hash is the genesis, the other hash was computed from the written rule with Python.
    let row = |actor: &str| {
        format!(
            "{{\"partition\":0,\"seq\":0,\"epoch\":1,\"ts_us\":1767225601000000,\"event_type\":\"access\",\
             \"table_name\":\"audit.events.v1\",\"op\":\"read\",\"actor\":\"{actor}\",\"entity\":\"x\",\"payload\":\"e30=\",\
             \"previous_hash\":\"e5ezpDMgnSQomRfabUThfj+ay16J+HUr0/L38z70NXQ=\",\"current_hash\":\"Gb+NSMsXGvNuG756DsFgTsZeEZC12FdA7PHHd0+Ba68=\"}}"
        )
    };
    let change = |op: &str, before: &str, after: &str| {
        format!(
            "{{\"op\":\"{op}\",\"before\":{before},\"after\":{after},\"source\":{{\"connector\":\"postgresql\",\
             \"name\":\"cdc\",\"db\":\"app\",\"schema\":\"public\",\"table\":\"audit_log\",\"txId\":9,\
             \"ts_us\":1767225602000000}}}}"
        )
    };
    [
        change("c", "null", &row("ann")),
        change("u", &row("ann"), &row("eve")),
        change("d", &row("eve"), "null"),
        change("t", "null", "null"),
    ]
}

#[test]
fn copies_to_the_mirror_are_not_audited_and_any_other_change_of_it_is_a_finding() {
    let partition = Partition { topic: Topic::Changes, partition: 0 };
    let changes = mirror_changes();
    let input = epochs_of(partition, 9, |second| if second == 3 { changes.to_vec() } else { Vec::new() });
    let watched = Tuning { mirror_table: "app.public.audit_log".to_owned(), ..tuning() };
    let said = run(&watched, 2, 10, Resume::default(), &input);
    let audited: Vec<_> = entries(&said).into_iter().filter(|it| it.event_type == "change").map(|it| it.op).collect();
    assert_eq!(audited, ["u", "d", "t"], "the insert is in the log already");
    let verdicts = outputs::<Verdict>(&said, Dataset::Verdicts);
    let mut found: Vec<_> =
        verdicts.iter().map(|it| (it.key.get(Dimension::Node).unwrap(), it.evidence.as_str())).collect();
    found.sort_unstable();
    let by = "by postgresql/cdc/9";
    let (row, all) = ("app.public.audit_log/0/0", "app.public.audit_log/*");
    assert_eq!(
        found,
        [
            (all, format!("all rows were deleted: {all}, {by}").as_str()),
            (row, format!("a row was changed: actor: {row}, {by}").as_str()),
        ]
    );
    let incident = &outputs::<Incident>(&said, Dataset::Incidents)[0];
    assert_eq!(
        (incident.cause.detector, incident.cause.nodes.join(" ")),
        (Detector::AuditIntegrity, format!("{all} {row}"))
    );

    // Of another table the same changes are changes.
    let said = run(&tuning(), 1, 10, Resume::default(), &input);
    assert_eq!(entries(&said).iter().filter(|it| it.event_type == "change").count(), 4);
    assert!(outputs::<Verdict>(&said, Dataset::Verdicts).is_empty());
}
