//! Requests that are made faster than anything reads them.

use super::{START_US, mixed};
use evenkeel::encode::{Format, write_batch};
use evenkeel_schemas::{decode_request, write_avro, write_protobuf};

/// Requests of about 200 bytes of JSON: a fixed set of payloads whose times and keys are written over.
///
/// A payload for each of 100,000 keys would not fit a cache: finding them cost the reader 45 % of the time of one worker, more
/// than anything that is measured. Keys are drawn anew for each request, so that the engine's own memory is read as it comes.
pub struct Requests {
    payloads: Vec<Vec<u8>>,
    format: Format,
    places: Vec<Places>,
    keys: u64,
    /// How many requests a payload has.
    per_record: u64,
}

/// Where the first of these is in a payload.
#[derive(Clone, Copy)]
struct Places {
    time: usize,
    /// The digits of the service, and of the route; the keys of a batch stay as they are.
    key: Option<(usize, usize)>,
}

/// How many payloads there are.
const PAYLOADS: u64 = 4_000;

impl Requests {
    /// Requests over so many keys of service and route; one in 2,000 is an error.
    pub fn new(keys: u64, (format, per_record): (Format, u64)) -> Self {
        let json = |n: u64, key: u64| {
            let (dice, (service, route)) = (mixed(n), parts(key, keys));
            let status = if dice % 2_000 == 0 { 503 } else { 200 };
            let latency_us = 800 + dice % 1_500 + (dice >> 40) % 1_500;
            format!(
                "{{\"event_time_us\":{START_US},\"service\":\"service-{service:04}\",\"route\":\"/api/v1/r{route:03}\",\
                 \"method\":\"POST\",\"status\":{status},\"latency_us\":{latency_us},\"node\":\"node-{}\",\
                 \"region\":\"eu-1\",\"version\":\"1.4.2\",\"trace_id\":\"{dice:032x}\"}}",
                dice % 3
            )
            .into_bytes()
        };
        let payloads = match format {
            Format::Json => (0..PAYLOADS).map(|n| json(n, 0)).collect(),
            Format::Protobuf | Format::Avro => {
                (0..PAYLOADS).map(|n| encoded(format, std::iter::once(json(n, 0)))).collect()
            }
            // Keys of a batch are as mixed as those of single requests.
            Format::Arrow => (0..keys.max(PAYLOADS).div_ceil(per_record).max(400))
                .map(|record| {
                    let rows = (record * per_record..(record + 1) * per_record).map(mixed);
                    encoded(format, rows.map(|n| json(n, n % keys)))
                })
                .collect::<Vec<_>>(),
        };
        let places = payloads.iter().map(|payload| Places::of(format, payload, per_record)).collect();
        Self { payloads, format, places, keys, per_record }
    }

    /// The payload of the `n`-th record at a time, written into `scratch`.
    pub fn write(&self, n: u64, event_time_us: i64, scratch: &mut Vec<u8>) {
        let number = (n % self.payloads.len() as u64) as usize;
        scratch.clear();
        scratch.extend_from_slice(&self.payloads[number]);
        let Places { time, key } = self.places[number];
        match self.format {
            Format::Json => write_digits(&mut scratch[time..time + 16], event_time_us as u64),
            Format::Avro => scratch[time..time + 8].copy_from_slice(&zigzag(event_time_us)),
            Format::Protobuf | Format::Arrow => {
                let rows = scratch[time..time + 8 * self.per_record as usize].chunks_exact_mut(8);
                rows.for_each(|time| time.copy_from_slice(&event_time_us.to_le_bytes()));
            }
        }
        if let Some((service_at, route_at)) = key {
            let (service, route) = parts(mixed(n) % self.keys, self.keys);
            write_digits(&mut scratch[service_at..service_at + 4], service);
            write_digits(&mut scratch[route_at..route_at + 3], route);
        }
    }
}

impl Places {
    fn of(format: Format, payload: &[u8], per_record: u64) -> Self {
        let written = match format {
            Format::Json => START_US.to_string().into_bytes(),
            Format::Avro => zigzag(START_US).to_vec(),
            Format::Protobuf | Format::Arrow => START_US.to_le_bytes().repeat(per_record as usize),
        };
        let place = |part: &[u8]| payload.windows(part.len()).position(|window| window == part).expect("it is in it");
        let after = |part: &str| place(part.as_bytes()) + part.len();
        let key = (!matches!(format, Format::Arrow)).then(|| (after("service-"), after("/api/v1/r")));
        Self { time: place(&written), key }
    }
}

/// The numbers of a key's service and route.
fn parts(key: u64, keys: u64) -> (u64, u64) {
    let routes = if keys >= 10_000 { 100 } else { 10 };
    (key / routes, key % routes)
}

fn write_digits(place: &mut [u8], mut number: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// A time as eight bytes of zigzag varint, which is what times of these years take.
fn zigzag(event_time_us: i64) -> [u8; 8] {
    let value = (event_time_us as u64) << 1;
    std::array::from_fn(|byte| (value >> (7 * byte)) as u8 & 0x7f | if byte < 7 { 0x80 } else { 0 })
}

/// JSON requests in another format, all in one record.
fn encoded(format: Format, jsons: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
    let (jsons, mut out) = (jsons.collect::<Vec<_>>(), Vec::new());
    let requests = jsons.iter().map(|json| decode_request(json).expect("a request")).collect::<Vec<_>>();
    match format {
        Format::Arrow => write_batch(&mut out, &requests).expect("few enough"),
        Format::Protobuf => write_protobuf(&mut out, &requests[0]),
        Format::Avro => write_avro(&mut out, &requests[0]),
        Format::Json => out = jsons.concat(),
    }
    out
}
