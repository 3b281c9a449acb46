//! Bytes that are no event: what a broken or malicious producer might send.

use super::random::Random;

/// Where a request's event time begins.
const TIME_AT: usize = br#"{"event_time_us":"#.len();

/// Turns a request into bytes that must be rejected: cut off, of wrong types, with a NUL, with a byte that is no UTF-8,
/// from before the Unix epoch, or from thousands of years ahead (which only a reader that knows the present refuses).
pub(super) fn spoil(payload: &mut Vec<u8>, random: &mut Random) {
    match random.below(6) {
        0 => payload.truncate(random.below(payload.len() as u64 - 1) as usize + 1),
        1 => *payload = br#"{"event_time_us":"soon","service":["cart"],"status":"200","latency_us":null}"#.to_vec(),
        2 => overwrite_name(payload, 0),
        3 => overwrite_name(payload, 0xff),
        4 => payload.insert(TIME_AT, b'-'),
        _ => payload.insert(TIME_AT, b'9'),
    }
}

/// Overwrites the first byte of the service's name.
fn overwrite_name(payload: &mut [u8], byte: u8) {
    let name = br#""service":""#;
    let at = payload.windows(name.len()).position(|window| window == name).expect("every request names its service");
    payload[at + name.len()] = byte;
}
