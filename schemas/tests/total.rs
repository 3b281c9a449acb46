//! Decoding is total: random bytes, JSON-like rubbish and mutants of good payloads are each an event within its bounds
//! or a rejection with coordinates and reason, for every topic.
#![expect(clippy::unwrap_used, reason = "tests")]

use evenkeel_schemas::*;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// Goldens by topic; mutants of all of them go to every topic.
const PAYLOADS: [&str; 12] = [
    include_str!("../golden/request.v1.json"),
    include_str!("../golden/request-minimal.v1.json"),
    include_str!("../golden/telemetry.v1.json"),
    include_str!("../golden/probe.v1.json"),
    include_str!("../golden/change.v1.json"),
    include_str!("../golden/change-wrapped.v1.json"),
    include_str!("../golden/control-set-mode.v1.json"),
    include_str!("../golden/control-kill-switch.v1.json"),
    include_str!("../golden/control-retire-node.v1.json"),
    include_str!("../golden/outcome.v1.json"),
    include_str!("../golden/audit_event-finding.v1.json"),
    include_str!("../golden/audit_event-access.v1.json"),
];

/// Bytes that mean something to a JSON parser, and some that mean nothing at all.
const TOKENS: [&[u8]; 18] = [
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b",",
    b":",
    b"\\u0000",
    b"\\ud800",
    b"\0",
    b"\xff\xfe",
    b"-1",
    b"1e400",
    b"null",
    b"true",
    b"18446744073709551616",
    b"{\"payload\":",
    "\u{1f980}".as_bytes(),
];

/// Seeds are printed with a failure; nothing is written to disk.
fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// Decodes as every topic, and holds what comes out to its bounds.
fn assert_total(payload: &[u8]) -> Result<(), TestCaseError> {
    for topic in Topic::ALL {
        let at = Coordinates { topic, partition: 3, offset: 17 };
        let event = Event::decode(at, payload);
        match &event {
            Event::Request(request) => {
                prop_assert!(!request.service.is_empty() && request.latency_us <= MAX_LATENCY_US)
            }
            Event::Telemetry(telemetry) => prop_assert!(telemetry.value.is_finite() && !telemetry.node.is_empty()),
            Event::Probe(probe) => prop_assert!(probe.interval_us > 0 && !probe.node.is_empty()),
            Event::Change(None) => prop_assert!(payload.is_empty() || payload.windows(4).any(|word| word == b"null")),
            Event::Change(Some(change)) => prop_assert!(change.table.len() <= 256 && change.event_time_us >= 0),
            Event::Control(control) => prop_assert!(!control.scope().is_empty() && control.event_time_us() > 0),
            Event::Outcome(outcome) => prop_assert!(!outcome.command_id.is_empty()),
            Event::Audit(event) => {
                prop_assert!(!event.actor.is_empty() && (1..=256).contains(&event.entity.len()));
                prop_assert!((1..=MAX_OP_BYTES).contains(&event.op.len()) && event.op.is_ascii());
                let json = serde_json::to_string(event).unwrap();
                prop_assert_eq!(&serde_json::from_str::<AuditEvent>(&json).unwrap(), event);
                prop_assert!(event.detail.words().len() <= 3 * MAX_DETAIL_BYTES);
            }
            Event::Rejected(rejection) => {
                prop_assert_eq!(rejection.at, at);
                prop_assert!(!rejection.detail.is_empty() && rejection.detail.chars().count() <= 200);
                prop_assert!(rejection.payload.chars().count() <= 1024);
                let json = serde_json::to_string(rejection).unwrap();
                prop_assert_eq!(&serde_json::from_str::<Rejection>(&json).unwrap(), rejection);
            }
        }
        prop_assert_eq!(event, Event::decode(at, payload), "the same bytes, another event");
    }
    Ok(())
}

#[derive(Clone, Debug)]
enum Mutation {
    Flip(Index, u8),
    Cut(Index),
    Insert(Index, &'static [u8]),
    Remove(Index, usize),
    Repeat(Index, usize),
}

impl Mutation {
    fn any() -> impl Strategy<Value = Self> {
        prop_oneof![
            4 => (any::<Index>(), 1u8..).prop_map(|(at, mask)| Self::Flip(at, mask)),
            1 => any::<Index>().prop_map(Self::Cut),
            4 => (any::<Index>(), select(&TOKENS[..])).prop_map(|(at, token)| Self::Insert(at, token)),
            2 => (any::<Index>(), 1usize..20).prop_map(|(at, length)| Self::Remove(at, length)),
            2 => (any::<Index>(), 1usize..60).prop_map(|(at, length)| Self::Repeat(at, length)),
        ]
    }

    fn apply(&self, bytes: &mut Vec<u8>) {
        let place = |at: &Index| at.index(bytes.len().max(1)).min(bytes.len());
        let run = |at: &Index, length: &usize| place(at)..(place(at) + length).min(bytes.len());
        match self {
            Self::Flip(at, mask) => {
                let run = run(at, &1);
                bytes[run].iter_mut().for_each(|byte| *byte ^= mask);
            }
            Self::Cut(at) => bytes.truncate(place(at)),
            Self::Insert(at, token) => drop(bytes.splice(run(at, &0), token.iter().copied())),
            Self::Remove(at, length) => drop(bytes.drain(run(at, length))),
            Self::Repeat(at, length) => {
                let again = bytes[run(at, length)].to_vec();
                bytes.splice(run(at, &0), again);
            }
        }
    }
}

proptest! {
    #![proptest_config(cases(20_000))]

    #[test]
    fn random_bytes_decode(payload in vec(any::<u8>(), 0..300)) {
        assert_total(&payload)?;
    }

    #[test]
    fn random_tokens_decode(tokens in vec(select(&TOKENS[..]), 0..40)) {
        assert_total(&tokens.concat())?;
    }

    #[test]
    fn mutants_decode(golden in select(&PAYLOADS[..]), mutations in vec(Mutation::any(), 1..6)) {
        let mut payload = golden.as_bytes().to_vec();
        mutations.iter().for_each(|mutation| mutation.apply(&mut payload));
        assert_total(&payload)?;
    }

    #[test]
    fn bindings_survive(times in any::<([u64; 2], i64)>(), rows in vec(any::<(u8, u32, u64)>(), 0..9)) {
        let place = |number: u8, partition| Partition { topic: Topic::ALL[usize::from(number) % Topic::ALL.len()], partition };
        let upper = rows.into_iter().map(|(number, partition, offset)| (place(number, partition), offset)).collect();
        let ([epoch, resume], now_us) = (times.0.map(Epoch), times.1);
        let binding = Binding { epoch, now_us, resume, upper: Cut(upper) };
        let json = serde_json::to_string(&binding).unwrap();
        prop_assert_eq!(serde_json::from_str::<Binding>(&json).unwrap(), binding);
    }
}
