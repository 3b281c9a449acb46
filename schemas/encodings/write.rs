//! Writers of requests in Protocol Buffers and Avro: for generated traffic, benchmarks and tests.

use super::{avro, protobuf};
use crate::Request;
use crate::varint::{write_varint, zigzag};

/// Appends a request as a message of `request.proto`, its fields in the order of their numbers, empty strings left out.
pub fn write_protobuf(out: &mut Vec<u8>, request: &Request<'_>) {
    let [time, status, latency, strings @ ..] = protobuf::TAGS;
    out.push(time);
    out.extend(request.event_time_us.to_le_bytes());
    out.push(status);
    write_varint(out, u64::from(request.status));
    out.push(latency);
    out.extend(request.latency_us.to_le_bytes());
    for (tag, text) in strings.into_iter().zip(texts(request)).filter(|(_, text)| !text.is_empty()) {
        out.push(tag);
        write_varint(out, text.len() as u64);
        out.extend(text.as_bytes());
    }
}

/// Appends a request as an Avro single object of `request.avsc`.
pub fn write_avro(out: &mut Vec<u8>, request: &Request<'_>) {
    out.extend(avro::MARK);
    out.extend(avro::FINGERPRINT.to_le_bytes());
    for number in [request.event_time_us, i64::from(request.status), i64::from(request.latency_us)] {
        write_varint(out, zigzag(number));
    }
    for text in texts(request) {
        write_varint(out, zigzag(text.len() as i64));
        out.extend(text.as_bytes());
    }
}

fn texts<'r>(request: &'r Request<'_>) -> [&'r str; 9] {
    let Request { service, route, method, node, region, version, tenant, trace_id, upstream, .. } = request;
    [service, route, method, node, region, version, tenant, trace_id, upstream].map(|text| &**text)
}
