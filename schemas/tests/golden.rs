//! Golden bytes: what came in once decodes for ever, what goes out never changes within its version.
//!
//! One file per type, variant and version in `golden/`: JSON payloads, or hex for what is binary; each ends in one
//! newline that is not part of the bytes. The tally's bytes, the quantiles and the identifiers were computed from the
//! written rules with Python's `hashlib`, not with this crate; the audit vectors are tried in `chain.rs`.
#![expect(clippy::unwrap_used, reason = "tests")]

use evenkeel_schemas::*;
use serde::{Serialize, de::DeserializeOwned};
use std::fmt::Debug;

macro_rules! golden {
    ($name:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/golden/", $name)).strip_suffix('\n').unwrap()
    };
}

#[path = "golden/orders.rs"]
mod orders;

fn decode(topic: Topic, payload: &str) -> Event<'_> {
    Event::decode(Coordinates { topic, partition: 0, offset: 0 }, payload.as_bytes())
}

#[track_caller]
fn assert_bytes<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: T, bytes: &str) {
    assert_eq!(serde_json::to_string(&value).unwrap(), bytes);
    assert_eq!(serde_json::from_str::<T>(bytes).unwrap(), value);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn requests_decode() {
    let full = Request {
        event_time_us: 1_795_246_458_716_866,
        service: "checkout".into(),
        route: "/pay/{id}".into(),
        method: "POST".into(),
        status: 503,
        latency_us: 1234,
        node: "checkout-1".into(),
        region: "eu-1".into(),
        version: "1.4.2".into(),
        tenant: "t7".into(),
        trace_id: "4bf92f3577b34da6a3ce929d0e0e4736".into(),
        upstream: "db".into(),
    };
    assert!(full.is_error());
    assert_eq!(serde_json::to_string(&full).unwrap(), golden!("request.v1.json"));
    assert_eq!(decode(Topic::Requests, golden!("request.v1.json")), Event::Request(full.clone()));

    let empty = || "".into();
    let minimal = Request {
        service: "café \"zwei\"".into(),
        status: 200,
        latency_us: 87,
        route: empty(),
        method: empty(),
        node: empty(),
        region: empty(),
        version: empty(),
        tenant: empty(),
        trace_id: empty(),
        upstream: empty(),
        ..full
    };
    let errors = [100, 200, 499, 500, 599, 600].map(|status| Request { status, ..minimal.clone() }.is_error());
    assert_eq!(errors, [false, false, false, true, true, false]);
    assert_eq!(decode(Topic::Requests, golden!("request-minimal.v1.json")), Event::Request(minimal));
}

#[test]
fn telemetry_decodes() {
    let telemetry = Telemetry {
        event_time_us: 1_795_246_459_000_000,
        node: "checkout-1".into(),
        service: "checkout".into(),
        kind: MetricKind::Gauge,
        name: "pool.used".into(),
        value: 18.25,
        limit: Some(20.0),
    };
    assert_eq!((telemetry.value_milli(), telemetry.limit_milli()), (18_250, Some(20_000)));
    assert_eq!(decode(Topic::Telemetry, golden!("telemetry.v1.json")), Event::Telemetry(telemetry));
}

#[test]
fn probes_decode() {
    let probe = Probe {
        event_time_us: 1_795_246_459_100_000,
        node: "checkout-1".into(),
        service: "checkout".into(),
        vantage: "eu-2".into(),
        healthy: false,
        interval_us: 2_000_000,
    };
    assert_eq!(decode(Topic::Probes, golden!("probe.v1.json")), Event::Probe(probe));
}

#[test]
fn changes_decode() {
    let update = Change {
        event_time_us: 1_795_246_460_065_936,
        operation: Operation::Update,
        table: "shop.public.orders".into(),
        actor: "postgresql/shop/731".into(),
    };
    assert_eq!(decode(Topic::Changes, golden!("change.v1.json")), Event::Change(Some(update)));
    let delete = Change {
        event_time_us: 1_795_246_461_000_000,
        operation: Operation::Delete,
        table: "shop.orders".into(),
        actor: "mysql/shop/".into(),
    };
    assert_eq!(decode(Topic::Changes, golden!("change-wrapped.v1.json")), Event::Change(Some(delete)));
    let empty_parts = r#"{"op":"t","source":{"db":"","schema":"","table":"orders"}}"#;
    assert!(matches!(decode(Topic::Changes, empty_parts), Event::Change(Some(change)) if change.table == "orders"));
}

#[test]
fn tombstones_are_empty_or_null_and_nothing_else() {
    for tombstone in ["", "null", " null\n", r#"{"payload":null}"#, r#"{"schema":{},"payload":null}"#] {
        assert_eq!(decode(Topic::Changes, tombstone), Event::Change(None), "{tombstone}");
    }
    let no_tombstones =
        ["{}", r#"{"schema":{}}"#, r#"{"op":5,"source":{}}"#, r#"{"op":"c"}"#, "[null]", "0", r#"{"payload":{}}"#];
    for payload in no_tombstones {
        let event = decode(Topic::Changes, payload);
        assert!(matches!(&event, Event::Rejected(r) if r.reason == Reason::WrongShape), "{payload}: {event:?}");
    }
}

#[test]
fn a_change_without_a_believable_time_is_kept() {
    let cases = [
        (r#"{"op":"m","source":{"ts_us":-5,"ts_ms":1795246460065},"ts_ms":1}"#, 1_795_246_460_065_000),
        (r#"{"op":"m","source":{"ts_ms":0},"ts_ms":1795246460511}"#, 1_795_246_460_511_000),
        (r#"{"op":"m","source":{"ts_ms":9223372036854775807},"ts_ms":-9223372036854775808}"#, 0),
        (r#"{"op":"m","source":{}}"#, 0),
    ];
    for (payload, event_time_us) in cases {
        let event = decode(Topic::Changes, payload);
        assert!(matches!(&event, Event::Change(Some(c)) if c.event_time_us == event_time_us), "{payload}: {event:?}");
    }
}

#[test]
fn outcomes_decode() {
    let outcome = Outcome {
        event_time_us: 1_795_246_465_000_000,
        command_id: "CMD-0123456789ab".into(),
        service: "checkout".into(),
        status: OutcomeStatus::Failed,
        detail: "no such node".into(),
    };
    assert_eq!(decode(Topic::Outcomes, golden!("outcome.v1.json")), Event::Outcome(outcome.clone()));
    assert_bytes(outcome, golden!("outcome.v1.json"));
}

#[test]
fn audit_events_decode() {
    let fields = r#"{"column":"actor","large":9007199254740993}"#;
    let finding = AuditEvent {
        event_time_us: 1_795_246_474_000_000,
        event_type: AuditEventType::Finding,
        op: "mirror_edit".into(),
        actor: "mirror".into(),
        entity: "audit_log/2/17".into(),
        detail: Detail::fields(&serde_json::from_str(fields).unwrap()),
    };
    assert_eq!(finding.detail.words(), fields, "kept as it was written");
    let access = AuditEvent {
        event_time_us: 1_795_246_475_000_000,
        event_type: AuditEventType::Access,
        op: "read".into(),
        actor: "ada".into(),
        entity: "audit/partition=2".into(),
        detail: Detail::text("a look at \"café\""),
    };
    assert_eq!(access.detail.words(), "a look at \"café\"");
    let goldens = [(finding, golden!("audit_event-finding.v1.json")), (access, golden!("audit_event-access.v1.json"))];
    for (event, bytes) in goldens {
        assert_eq!(decode(Topic::AuditEvents, bytes), Event::Audit(event.clone()));
        assert_bytes(event, bytes);
    }
}

#[test]
fn the_code_of_an_audit_event_is_one() {
    for (op, holds) in
        [("a", true), ("a_1", true), ("A", false), ("1a", false), ("_a", false), ("a b", false), ("é", false)]
    {
        let payload = golden!("audit_event-access.v1.json").replacen("\"read\"", &format!("\"{op}\""), 1);
        assert_eq!(matches!(decode(Topic::AuditEvents, &payload), Event::Audit(_)), holds, "{op}");
    }
}

fn route() -> Key {
    Key::new([(Dimension::Route, "/pay/{id}"), (Dimension::Service, "checkout")])
}

fn node() -> Key {
    Key::new([(Dimension::Node, "checkout-1"), (Dimension::Service, "checkout")])
}

fn tally() -> Tally {
    let mut tally = Tally::default();
    // Each quantile that is told ends a group of latencies.
    for (latency_us, requests) in [(40, 500), (1000, 400), (4000, 80), (5000, 10), (80_000, 9), (MAX_LATENCY_US, 1)] {
        (0..requests).for_each(|_| tally.count(latency_us, latency_us == 80_000));
    }
    tally
}

#[test]
fn numbers_encode() {
    let statistics = Statistics::from(&tally());
    let windows = vec![("10s".to_owned(), statistics), ("1m".to_owned(), Statistics::default())];
    assert_bytes(Baseline { key: route(), at_us: 1_795_246_470_000_000, windows }, golden!("baseline.v1.json"));
    assert_bytes(Rollup::new(route(), 1_795_246_440_000_000, &tally()), golden!("rollup.v1.json"));
}

#[test]
fn decisions_encode() {
    let verdict = Verdict {
        key: node(),
        detector: Detector::ErrorBurst,
        decision: Decision::Fire,
        reason: "above_baseline".into(),
        at_us: 1_795_246_471_000_000,
        since_us: 1_795_246_471_000_000,
        evidence: "errors 40/100 against 1/4000, p50 900 µs against 880, p99 1200 µs against 1190".into(),
        amended_us: None,
        epoch: 812,
        policy: 3,
    };
    assert_bytes(verdict, golden!("verdict.v1.json"));
    let cause = Cause {
        detector: Detector::NodeSilent,
        key: node(),
        nodes: vec!["checkout-1".into()],
        since_us: 1_795_246_471_000_000,
        evidence: "no heartbeat for 3.2 s".into(),
        verdicts: 2,
    };
    let suspect = Suspect {
        service: "checkout".into(),
        detector: cause.detector,
        since_us: cause.since_us,
        evidence: cause.evidence.clone(),
        hops: 0,
        inference: vec![Clue::NoStandingCallee, Clue::ChangedBefore],
    };
    let changed = Changed {
        at_us: 1_795_246_400_000_000,
        service: "checkout".into(),
        what: "deploy".into(),
        version: "1.4.3".into(),
        by: "ci".into(),
    };
    let incident = Incident {
        incident_id: Incident::identify("checkout", &cause),
        service: "checkout".into(),
        state: IncidentState::Open,
        cause,
        opened_us: 1_795_246_471_000_000,
        at_us: 1_795_246_472_000_000,
        notify: true,
        notice: Notice::Opened,
        affected: 2,
        services: vec!["checkout".into(), "frontend".into()],
        victims: vec!["mobile".into()],
        candidates: vec![suspect],
        changes: vec![changed],
        shared: vec![Shared { dimension: Dimension::Region, value: "eu-1".into(), services: 2 }],
        merged_into: String::new(),
    };
    assert_bytes(incident.clone(), golden!("incident.v1.json"));
    // As it was written before it had a graph.
    let before = golden!("incident-alone.v1.json");
    let read = serde_json::from_str::<Incident>(before).unwrap();
    let same = |it: &Incident| (it.incident_id.clone(), it.cause.clone(), it.opened_us);
    assert_eq!((same(&read), read.affected, read.notify), (same(&incident), 0, false));
    let (kind, at_us) = (CommandKind::RestartNode, incident.at_us);
    let command = Command {
        command_id: Command::identify(&incident.incident_id, kind, "checkout-1", (Epoch(41), at_us)),
        kind,
        target: "checkout-1".into(),
        service: "checkout".into(),
        incident_id: incident.incident_id,
        mode: Mode::Auto,
        reason: "node_silent on checkout-1".into(),
        at_us,
        expires_us: at_us + 60_000_000,
        state: CommandState::Acknowledged,
        detail: "restarted".into(),
        decided_us: at_us - 2_000_000,
        fence: 41,
        by: "ada".into(),
        params: [("to".into(), "cache".into())].into(),
        undo: false,
    };
    assert_bytes(command.clone(), golden!("command.v1.json"));
    // As it was written before it had a state.
    let read = serde_json::from_str::<Command>(golden!("command-alone.v1.json")).unwrap();
    assert_eq!((read.target, read.state, read.fence), (command.target, CommandState::Issued, 0));
}

#[test]
fn rejections_encode() {
    let at = Coordinates { topic: Topic::Requests, partition: 3, offset: 12_345_678_901 };
    let payload = br#"{"event_time_us":1795246458716866,"service":"checkout","status":42,"latency_us":9}"#;
    let Event::Rejected(rejection) = Event::decode(at, payload) else { panic!("status 42 is out of range") };
    assert_bytes(rejection, golden!("rejection.v1.json"));
}

#[test]
fn rejections_are_cut_to_their_bounds() {
    let payload = format!(r#"{{ "order":"{}"}}"#, "é".repeat(2000));
    let Event::Rejected(rejection) = decode(Topic::Control, &payload) else { panic!("no such order") };
    assert_eq!(rejection.detail.chars().count(), 200);
    // The cut at 1,024 bytes falls into an é: eleven bytes, 506 whole ones of two, and half of one.
    assert_eq!(rejection.payload, format!(r#"{{ "order":"{}{}"#, "é".repeat(506), '\u{fffd}'));
}

#[test]
fn bindings_encode() {
    let next = |topic, partition, offset| (Partition { topic, partition }, offset);
    let upper = [next(Topic::Probes, 0, 7), next(Topic::Requests, 0, 1200), next(Topic::Requests, 1, u64::MAX)].into();
    let binding = Binding { epoch: Epoch(41), now_us: 1_795_246_473_000_000, resume: Epoch(17), upper: Cut(upper) };
    assert_bytes(binding, golden!("binding.v1.json"));
}

#[test]
fn tallies_encode() {
    let mut taken = tally();
    let mut one = Tally::default();
    one.count(87, true);
    taken.add(&one, -1);
    let mut bytes = Vec::new();
    taken.encode(&mut bytes);
    assert_eq!(hex(&bytes), golden!("tally.v1.hex"));
    let mut back = Tally::default();
    back.add_encoded(&mut bytes.as_slice(), 1).unwrap();
    assert_eq!(back, taken);
}

#[test]
fn names_are_one_each() {
    for (number, topic) in Topic::ALL.into_iter().enumerate() {
        assert_eq!(serde_json::to_string(&topic).unwrap(), format!("\"{}\"", topic.name()));
        assert_eq!(Topic::from_name(topic.name()), Some(topic));
        assert_eq!(Topic::from_number(number as u8), Some(topic));
        assert_eq!(topic as usize, number);
    }
    for (number, dataset) in Dataset::ALL.into_iter().enumerate() {
        assert_eq!(Dataset::from_number(number as u8), Some(dataset));
        assert_eq!(dataset as usize, number);
        assert!(Topic::from_name(dataset.topic()).is_none(), "outputs are no inputs");
    }
    assert_eq!((Topic::from_number(7), Dataset::from_number(8)), (None, None));
}
