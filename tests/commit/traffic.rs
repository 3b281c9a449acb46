//! Small seeded traffic in which much happens: a burst of errors, a silent node, a pool that runs full, late and
//! malformed records, database changes, orders and outcomes.

use evenkeel::memory::MemoryLog;
use evenkeel_dataflows::{Detection, Recovery, TICK_US, Tuning};
use evenkeel_schemas::{Partition, Topic};

/// 2026-01-01T00:00:00Z, µs.
pub const START_US: i64 = 1_767_225_600_000_000;
/// The last event lies before it; the last epoch of a run closes at it.
pub const END_US: i64 = START_US + (SECONDS + 7) * TICK_US;
const SECONDS: i64 = 14;
/// Records a second in each partition: equal shares of a poll are then about equally old.
const RATE: i64 = 6;

/// SplitMix64 (Steele, Lea, Flood 2014).
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.roll() % bound
    }
}

/// Limits at which little traffic is enough.
pub fn tuning() -> Tuning {
    let detection = Detection {
        min_requests: 4,
        min_history: 20,
        min_errors: 3,
        burst_errors: 5,
        persist: 2,
        of: 3,
        missed_heartbeats: 2,
        finding_s: 2,
        ..Detection::default()
    };
    let recovery = Recovery {
        linger_s: 2,
        settle_s: 2,
        cooldown_s: 3,
        open_s: 2,
        trial_s: 2,
        expires_s: 10,
        verify_s: 3,
        ..Recovery::default()
    };
    Tuning { detection, recovery, ..Tuning::default() }
}

/// The log of this seed.
pub fn log(seed: u64) -> MemoryLog {
    let (log, mut dice) = (MemoryLog::default(), Dice(seed));
    let partitions = Topic::ALL.into_iter().flat_map(|topic| {
        let count = if topic == Topic::Requests { 3 } else { 1 };
        (0..count).map(move |partition| Partition { topic, partition })
    });
    for partition in partitions {
        for number in 0..SECONDS * RATE {
            let at_us = START_US + number * TICK_US / RATE + dice.below(100_000) as i64;
            let (key, payload) = record(&mut dice, partition.topic, at_us, number);
            // Producers' clocks jump back now and then; the present must not.
            let back_us = if dice.below(12) == 0 { dice.below(3_000_000) as i64 } else { 0 };
            log.append(partition, at_us - back_us, key.as_bytes(), &payload);
        }
    }
    log
}

fn record(dice: &mut Dice, topic: Topic, at_us: i64, number: i64) -> (String, Vec<u8>) {
    let second = number / RATE;
    let row = format!("{{\"id\":{}}}", dice.below(5));
    let (key, text) = match topic {
        Topic::Requests => (String::new(), request(dice, at_us, second)),
        Topic::Telemetry => (String::new(), gauge(dice, at_us, second)),
        Topic::Probes => (String::new(), heartbeat(at_us, number)),
        Topic::Changes => (row, change(dice, at_us, number)),
        Topic::Control => (String::new(), order(dice, at_us, second)),
        Topic::Outcomes => (String::new(), outcome(dice, at_us, number)),
        Topic::AuditEvents => (String::new(), audit_event(dice, at_us, second)),
    };
    match dice.below(60) {
        0 if topic != Topic::Changes => (key, vec![0xff, 0, 1, 2]),
        1 if topic != Topic::Changes => (key, text.as_bytes()[..text.len() / 2].to_vec()),
        _ => (key, text.into_bytes()),
    }
}

fn request(dice: &mut Dice, at_us: i64, second: i64) -> String {
    let late_us = match dice.below(40) {
        0..3 => dice.below(6_000_000) as i64,
        3 => 4_000_000_000,
        _ => 0,
    };
    let burst = (4..7).contains(&second) && dice.below(10) < 7;
    let service = if burst { 0 } else { dice.below(3) };
    let status = if (burst && dice.below(10) < 8) || dice.below(50) == 0 { 503 } else { 200 };
    let latency_us = (1_000 + dice.below(500)) * if service == 2 && second >= 9 { 4 } else { 1 };
    format!(
        "{{\"event_time_us\":{},\"service\":\"s{service}\",\"route\":\"/r{}\",\"node\":\"n{}\",\"status\":{status},\
         \"latency_us\":{latency_us}}}",
        at_us - late_us,
        dice.below(2),
        dice.below(2)
    )
}

fn gauge(dice: &mut Dice, at_us: i64, second: i64) -> String {
    let (node, used) = (dice.below(2), (12 * second).min(99));
    format!(
        "{{\"event_time_us\":{at_us},\"node\":\"n{node}\",\"service\":\"s1\",\"kind\":\"gauge\",\"name\":\"pool.used\",\
         \"value\":{used},\"limit\":100}}"
    )
}

fn heartbeat(at_us: i64, number: i64) -> String {
    let silent = (3..9).contains(&(number / RATE));
    let node = if silent { number % 2 } else { number % 3 };
    format!("{{\"event_time_us\":{at_us},\"node\":\"n{node}\",\"service\":\"s1\",\"interval_us\":500000}}")
}

fn change(dice: &mut Dice, at_us: i64, number: i64) -> String {
    if dice.below(8) == 0 {
        return String::new();
    }
    format!(
        "{{\"before\":null,\"after\":{{\"id\":{number}}},\"op\":\"c\",\
         \"source\":{{\"db\":\"app\",\"table\":\"t\",\"ts_us\":{at_us}}}}}"
    )
}

fn order(dice: &mut Dice, at_us: i64, second: i64) -> String {
    match second {
        // The circuit that the burst opened stays as it is while the switch is engaged.
        7 => format!("{{\"order\":\"kill_switch\",\"event_time_us\":{at_us},\"by\":\"ann\",\"engaged\":true}}"),
        8 => format!("{{\"order\":\"kill_switch\",\"event_time_us\":{at_us},\"by\":\"ann\",\"engaged\":false}}"),
        12 => format!(
            "{{\"order\":\"retire_node\",\"event_time_us\":{at_us},\"by\":\"bob\",\"service\":\"s1\",\"node\":\"n2\"}}"
        ),
        _ => {
            let (service, mode) = (dice.below(3), ["observe", "suggest", "auto"][dice.below(3) as usize]);
            format!(
                "{{\"order\":\"set_mode\",\"event_time_us\":{at_us},\"by\":\"ann\",\"service\":\"s{service}\",\
                 \"mode\":\"{mode}\"}}"
            )
        }
    }
}

fn outcome(dice: &mut Dice, at_us: i64, number: i64) -> String {
    let (service, status) = (dice.below(3), ["applied", "applied", "failed", "refused"][dice.below(4) as usize]);
    format!(
        "{{\"event_time_us\":{at_us},\"command_id\":\"CMD-{number:012}\",\"service\":\"s{service}\",\"status\":\"{status}\"}}"
    )
}

fn audit_event(dice: &mut Dice, at_us: i64, second: i64) -> String {
    let event_type = if second % 5 == 3 { "finding" } else { ["access", "configuration"][dice.below(2) as usize] };
    format!(
        "{{\"event_time_us\":{at_us},\"event_type\":\"{event_type}\",\"op\":\"read\",\"actor\":\"ada\",\
         \"entity\":\"row {}\",\"detail\":{{\"n\":{second}}}}}",
        dice.below(3)
    )
}
