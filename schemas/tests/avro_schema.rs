//! The fingerprint that Avro objects are told by is that of `request.avsc`, derived here once more from the specification.
#![expect(clippy::unwrap_used, reason = "tests")]

use evenkeel_schemas::*;
use serde_json::Value;

fn golden() -> Vec<u8> {
    let digits = include_str!("../golden/request-avro.v1.hex").trim_end().as_bytes().chunks(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// The Parsing Canonical Form of a schema, by the rules of the specification that this one needs.
fn canonical(schema: &Value, namespace: &str) -> String {
    match schema {
        Value::String(name) => format!("\"{name}\""),
        Value::Object(map) if map["type"] == "record" => {
            let namespace = map.get("namespace").and_then(Value::as_str).unwrap_or(namespace);
            let fields = map["fields"].as_array().unwrap().iter();
            let fields =
                fields.map(|it| format!("{{\"name\":{},\"type\":{}}}", it["name"], canonical(&it["type"], namespace)));
            let name = map["name"].as_str().unwrap();
            let fields = fields.collect::<Vec<_>>().join(",");
            format!("{{\"name\":\"{namespace}.{name}\",\"type\":\"record\",\"fields\":[{fields}]}}")
        }
        Value::Object(map) => canonical(&map["type"], namespace),
        other => panic!("{other}"),
    }
}

/// CRC-64-AVRO by the table of the specification's Java code.
fn rabin(bytes: &[u8]) -> u64 {
    const EMPTY: u64 = 0xc15d_213a_a4d7_a795;
    let row = |byte: u64| (0..8).fold(byte, |row, _| (row >> 1) ^ (EMPTY & (row & 1).wrapping_neg()));
    bytes.iter().fold(EMPTY, |sum, byte| (sum >> 8) ^ row((sum ^ u64::from(*byte)) & 0xff))
}

#[test]
fn the_fingerprint_is_that_of_the_schema_file() {
    let schema = serde_json::from_str::<Value>(REQUEST_AVSC).unwrap();
    let fingerprint = rabin(canonical(&schema, "").as_bytes());
    assert_eq!(golden()[2..10], fingerprint.to_le_bytes());
    let mut other = golden();
    other[5] ^= 1;
    let at = Coordinates { topic: Topic::Requests, partition: 0, offset: 0 };
    let Event::Rejected(rejection) = Event::decode(at, &other) else { panic!("another schema is not known") };
    assert_eq!(rejection.reason, Reason::UnknownSchema);
    assert!(rejection.detail.contains(&format!("{fingerprint:016x}")), "{}", rejection.detail);
}
