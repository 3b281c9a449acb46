//! What the targets of encodings share.

use evenkeel_schemas::{Coordinates, MAX_BATCH_ROWS, MAX_LATENCY_US, Request, Topic, decode_requests};

/// The requests of a record; holds what is true of any bytes.
pub fn of(payload: &[u8]) -> Vec<Request<'_>> {
    let at = Coordinates { topic: Topic::Requests, partition: 3, offset: 17 };
    let (mut requests, mut number) = (Vec::new(), 0);
    decode_requests(at, payload, &mut |row, request| {
        assert!(row.is_none_or(|row| row == number));
        number += 1;
        match request {
            Ok(request) => {
                let names = [&request.service, &request.route, &request.node, &request.region, &request.version];
                assert!(!request.service.is_empty() && names.iter().all(|name| name.len() <= 256));
                assert!((100..1000).contains(&request.status) && request.latency_us <= MAX_LATENCY_US);
                requests.push(request);
            }
            Err(rejection) => {
                assert_eq!(rejection.at, at);
                assert!(!rejection.detail.is_empty() && rejection.detail.chars().count() <= 200);
                assert!(rejection.payload.chars().count() <= 1024);
            }
        }
    });
    assert!(number <= MAX_BATCH_ROWS);
    requests
}
