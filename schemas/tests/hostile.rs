//! A hundred thousand records, one in twenty hostile: each hostile one becomes a rejection with topic, partition,
//! offset and the reason that is due, each good one an event, and the counts add up (law L10).
#![expect(clippy::unwrap_used, reason = "tests")]

use evenkeel_schemas::*;
use std::collections::BTreeMap;

const RECORDS: u64 = 100_000;
const PARTITIONS: u32 = 4;

/// SplitMix64: a seed of eight bytes is all that a failure needs to happen again.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}

/// A payload for the topic around a time, a name and a number, each given as JSON.
fn payload(topic: Topic, time: &str, name: &str, number: &str) -> String {
    let time = format!(r#""event_time_us":{time}"#);
    match topic {
        Topic::Requests => format!(r#"{{{time},"service":{name},"status":200,"latency_us":{number}}}"#),
        Topic::Telemetry => {
            format!(r#"{{{time},"node":{name},"kind":"gauge","name":"pool.used","value":{number},"limit":null}}"#)
        }
        Topic::Probes => format!(r#"{{{time},"node":{name},"service":"checkout","interval_us":{number}}}"#),
        Topic::Control => format!(r#"{{"order":"kill_switch",{time},"by":{name},"engaged":true,"x":{number}}}"#),
        Topic::Outcomes => {
            format!(r#"{{{time},"command_id":{name},"service":"checkout","status":"applied","x":{number}}}"#)
        }
        Topic::AuditEvents => {
            format!(r#"{{{time},"event_type":"access","op":"read","actor":"ada","entity":{name},"x":{number}}}"#)
        }
        Topic::Changes => {
            format!(r#"{{"op":"c","source":{{"ts_us":{number},"table":{name}}},"after":{{"id":1}},"before":{{}}}}"#)
        }
    }
}

fn good(topic: Topic, random: &mut Random) -> Vec<u8> {
    let time = (1_795_246_458_716_866 + random.below(1_000_000_000)).to_string();
    let name = random.pick(&[r#""checkout""#, r#""caf\u00e9""#, r#""\ud83e\udd80""#, r#""a\"b""#]);
    let number = (100_000 + random.below(1_000_000)).to_string();
    payload(topic, &time, name, &number).into_bytes()
}

/// Kinds of hostility, by name, with the reason that is due.
const KINDS: [(&str, Reason); 15] = [
    ("truncated", Reason::NotJson),
    ("wrong type", Reason::WrongShape),
    ("missing field", Reason::WrongShape),
    ("array", Reason::WrongShape),
    ("payload of 2 MiB", Reason::TooLarge),
    ("string of 900 kB", Reason::StringTooLong),
    ("raw NUL", Reason::NotJson),
    ("only NULs", Reason::NotJson),
    ("invalid UTF-8", Reason::NotJson),
    ("lone surrogate", Reason::NotJson),
    ("nested", Reason::NotJson),
    ("duplicate key", Reason::WrongShape),
    ("number of 1e400", Reason::NotJson),
    ("negative time", Reason::TimeTooOld),
    ("far-past time", Reason::TimeTooOld),
];

fn hostile(topic: Topic, kind: &str, huge: &str, random: &mut Random) -> Vec<u8> {
    let (time, name, number) = ("1795246458716866", r#""checkout""#, "100000");
    let with_name = |name: &str| payload(topic, time, name, number);
    let whole = with_name(name);
    match kind {
        "truncated" => whole.as_bytes()[..1 + random.below(whole.len() as u64 - 1) as usize].to_vec(),
        "wrong type" => with_name(random.pick(&["7", "true", "{}", "[]", "1.5"])).into_bytes(),
        "missing field" => b"{}".to_vec(),
        "array" => b"[1795246458716866,\"checkout\",\"\",\"\",200,1]".to_vec(),
        "payload of 2 MiB" => with_name(&format!("\"{huge}\"")).into_bytes(),
        "string of 900 kB" => with_name(&format!("\"{}\"", &huge[..900_000])).into_bytes(),
        "raw NUL" => with_name("\"a\0b\"").into_bytes(),
        "only NULs" => vec![0; 1 + random.below(100) as usize],
        "invalid UTF-8" => {
            let at = whole.find("checkout").unwrap();
            let mut bytes = whole.into_bytes();
            bytes.splice(at..at, *random.pick(&[b"\xff\xfe", b"\xc0\xaf", b"\xed\xa0"]));
            bytes
        }
        "lone surrogate" => with_name(r#""\ud800""#).into_bytes(),
        "nested" => format!("{{\"x\":{0}{1}", "[".repeat(10_000), "]".repeat(9_000)).into_bytes(),
        "duplicate key" => match topic {
            Topic::Changes => br#"{"op":"c","op":"d","source":{},"after":{}}"#.to_vec(),
            _ => whole.replacen('{', "{\"event_time_us\":1795246458716866,", 1).into_bytes(),
        },
        "number of 1e400" if matches!(topic, Topic::Telemetry | Topic::Changes) => {
            payload(topic, time, name, "1e400").into_bytes()
        }
        "number of 1e400" => payload(topic, "1e400", name, number).into_bytes(),
        "negative time" => payload(topic, "-1795246458716866", name, number).into_bytes(),
        "far-past time" => payload(topic, "946684799999999", name, number).into_bytes(),
        _ => unreachable!("{kind} is no kind"),
    }
}

/// A change with a strange time is audited all the same, so its times are not hostile.
fn kinds(topic: Topic) -> &'static [(&'static str, Reason)] {
    if topic == Topic::Changes { &KINDS[..13] } else { &KINDS }
}

#[test]
fn nothing_is_lost_and_nothing_hostile_counts() {
    let seed = 0x6576_656e_6b65_656c;
    println!("seed {seed:#x}");
    let mut random = Random(seed);
    let huge = "x".repeat(2 << 20);
    let mut next = BTreeMap::new();
    let (mut expected, mut found) = (BTreeMap::new(), BTreeMap::new());
    let (mut events, mut hostiles) = (0u64, 0u64);
    for number in 0..RECORDS {
        let (topic, partition) = (random.pick(&Topic::ALL), random.below(u64::from(PARTITIONS)) as u32);
        let offset: &mut u64 = next.entry((topic, partition)).or_default();
        let at = Coordinates { topic, partition, offset: *offset };
        *offset += 1;
        let due = (number % 20 == 19).then(|| random.pick(kinds(topic)));
        let payload = match due {
            Some((kind, _)) => hostile(topic, kind, &huge, &mut random),
            None => good(topic, &mut random),
        };
        match (Event::decode(at, &payload), due) {
            (Event::Rejected(rejection), Some((kind, reason))) => {
                // Requests have more encodings than one: a NUL says that it is one of them, and not JSON.
                let no_json = kind == "only NULs" && topic == Topic::Requests;
                let reason = if no_json { Reason::UnknownSchema } else { reason };
                assert_eq!((rejection.reason, rejection.at), (reason, at), "{kind}: {rejection:?}");
                assert!(!rejection.detail.is_empty(), "{kind}: {rejection:?}");
                *found.entry((topic, kind)).or_insert(0u64) += 1;
            }
            (event, None) if !matches!(event, Event::Rejected(_)) => events += 1,
            (event, due) => panic!("{due:?} at {at:?} became {event:?}"),
        }
        if let Some((kind, _)) = due {
            *expected.entry((topic, kind)).or_insert(0u64) += 1;
            hostiles += 1;
        }
    }
    assert_eq!(found, expected);
    assert_eq!(found.len(), KINDS.len() * 6 + 13, "every kind came to every topic");
    assert_eq!((events, hostiles, found.values().sum()), (RECORDS / 20 * 19, RECORDS / 20, RECORDS / 20));
    assert_eq!(next.values().sum::<u64>(), RECORDS, "every offset of every partition was spent");
}

#[test]
fn nesting_without_end_neither_overflows_the_stack_nor_hides_an_event() {
    let deep = format!("{}0{}", "[{\"y\":".repeat(100_000), "}]".repeat(100_000));
    for topic in Topic::ALL {
        let whole = payload(topic, "1795246458716866", "\"checkout\"", "100000");
        let bytes = whole.replacen('{', &format!("{{\"unknown\":{deep},"), 1).into_bytes();
        assert!(bytes.len() < MAX_PAYLOAD_BYTES);
        let event = Event::decode(Coordinates { topic, partition: 0, offset: 0 }, &bytes);
        // An order is looked at as a whole before its kind is known, and that has a depth limit.
        let rejected = matches!(&event, Event::Rejected(rejection) if rejection.reason == Reason::NotJson);
        assert_eq!(rejected, topic == Topic::Control, "{topic:?}: {event:?}");
    }
}
