//! What nodes say about themselves every second: gauges and a heartbeat.

use super::random::Random;
use super::text::{push_decimal, push_thousandths};

/// The gauges of a node at one time.
pub(super) struct Gauges {
    /// Connections in use, how many there may be, and how many requests wait for one.
    pub pool_used: u64,
    pub pool_limit: u64,
    pub pool_waiting: u64,
    /// Whether its service is slow: work piles up on it.
    pub strained: bool,
}

/// Connections in use when all is well.
pub(super) fn idle_connections(random: &mut Random) -> u64 {
    5 + random.below(4)
}

/// Passes every gauge of a node to `out`, as JSON.
pub(super) fn write_gauges(
    gauges: &Gauges,
    service: &str,
    node: &str,
    now_us: i64,
    random: &mut Random,
    mut out: impl FnMut(&[u8]),
) {
    let strain = u64::from(gauges.strained);
    let memory_bytes = 1_200_000_000 + random.below(80_000_000) + strain * 200_000_000;
    // Name, value and limit in thousandths; a limit of 0 is none.
    let values = [
        ("cpu.used", 900 + random.below(500) + strain * 700, 4_000),
        ("memory.used_bytes", memory_bytes * 1000, 4_294_967_296_000),
        ("sockets.open", (150 + random.below(60) + strain * 100) * 1000, 1_024_000),
        ("pool.used", gauges.pool_used * 1000, gauges.pool_limit * 1000),
        ("pool.waiting", gauges.pool_waiting * 1000, 0),
    ];
    let mut payload = Vec::with_capacity(256);
    for (name, value, limit) in values {
        payload.clear();
        write_names(&mut payload, service, node, now_us);
        payload.extend_from_slice(br#","kind":"gauge","name":""#);
        payload.extend_from_slice(name.as_bytes());
        payload.extend_from_slice(br#"","value":"#);
        push_thousandths(&mut payload, value);
        if limit > 0 {
            payload.extend_from_slice(br#","limit":"#);
            push_thousandths(&mut payload, limit);
        }
        payload.push(b'}');
        out(&payload);
    }
}

/// The heartbeat of a node, as JSON.
pub(super) fn heartbeat(service: &str, node: &str, now_us: i64) -> Vec<u8> {
    let mut payload = Vec::with_capacity(128);
    write_names(&mut payload, service, node, now_us);
    payload.extend_from_slice(br#","interval_us":1000000}"#);
    payload
}

fn write_names(payload: &mut Vec<u8>, service: &str, node: &str, now_us: i64) {
    payload.extend_from_slice(br#"{"event_time_us":"#);
    push_decimal(payload, now_us.max(0) as u64);
    payload.extend_from_slice(br#","node":""#);
    payload.extend_from_slice(node.as_bytes());
    payload.extend_from_slice(br#"","service":""#);
    payload.extend_from_slice(service.as_bytes());
    payload.push(b'"');
}
