//! Writes what happens in a second as the records that evenkeel reads: JSON, as its input topics have it.

use super::traffic::Served;
use super::world::{Gauge, START_US, Service, World};
use evenkeel_dataflows::Batch;
use evenkeel_schemas::{Cut, Partition, Topic};
use std::io::Write;

const SECOND_US: i64 = 1_000_000;

/// Records of the open epoch by topic.
pub struct Writer {
    batches: Vec<Batch>,
    /// Where each partition stands.
    pub upper: Cut,
    scratch: Vec<u8>,
}

impl Writer {
    pub fn new() -> Self {
        let topics = [Topic::Requests, Topic::Telemetry, Topic::Probes, Topic::Control];
        let batches = topics.map(|topic| Batch::new(Partition { topic, partition: 0 })).into();
        Self { batches, upper: Cut::default(), scratch: Vec::new() }
    }

    /// The records since this was asked last.
    pub fn take(&mut self) -> Vec<Batch> {
        let mut filled = Vec::new();
        for batch in self.batches.iter_mut().filter(|batch| !batch.is_empty()) {
            let full = std::mem::replace(batch, Batch::new(batch.partition));
            self.upper.0.extend(full.next_offset().map(|next| (full.partition, next)));
            filled.push(full);
        }
        filled
    }

    pub fn request(&mut self, world: &World, service: &Service, at_s: i64, served: &Served) {
        let event_time_us = START_US + at_s * SECOND_US + served.at_us;
        let (name, status) = (&service.name, if served.failed { 503 } else { 200 });
        let Served { route, node, latency_us, .. } = served;
        let (zone, version) = (node % service.zones, if served.canary { 2 } else { 1 });
        self.scratch.clear();
        write!(
            self.scratch,
            "{{\"event_time_us\":{event_time_us},\"service\":\"{name}\",\"route\":\"/{route}\",\"status\":{status},\
             \"latency_us\":{latency_us},\"node\":\"{name}-n{node}\",\"region\":\"zone-{zone}\",\"version\":\"v{version}\""
        )
        .expect("memory takes every byte");
        if let Some(callee) = served.callee {
            let upstream = &world.services[service.callees[callee]].name;
            write!(self.scratch, ",\"upstream\":\"{upstream}\"").expect("memory takes every byte");
        }
        self.scratch.push(b'}');
        self.put(Topic::Requests, event_time_us);
    }

    pub fn heartbeat(&mut self, service: &Service, node: u32, at_s: i64, every_s: i64) {
        let (event_time_us, name) = (START_US + at_s * SECOND_US, &service.name);
        let interval_us = every_s * SECOND_US;
        self.scratch.clear();
        write!(
            self.scratch,
            "{{\"event_time_us\":{event_time_us},\"node\":\"{name}-n{node}\",\"service\":\"{name}\",\
             \"interval_us\":{interval_us}}}"
        )
        .expect("memory takes every byte");
        self.put(Topic::Probes, event_time_us);
    }

    pub fn gauge(&mut self, service: &Service, gauge: &Gauge, at_s: i64, value: f64) {
        let (event_time_us, service) = (START_US + at_s * SECOND_US, &service.name);
        let Gauge { node, name, limit, .. } = gauge;
        self.scratch.clear();
        write!(
            self.scratch,
            "{{\"event_time_us\":{event_time_us},\"node\":\"{service}-n{node}\",\"service\":\"{service}\",\
             \"kind\":\"gauge\",\"name\":\"{name}\",\"value\":{value:.3},\"limit\":{limit}}}"
        )
        .expect("memory takes every byte");
        self.put(Topic::Telemetry, event_time_us);
    }

    pub fn order(&mut self, order: &serde_json::Value, at_s: i64) {
        self.scratch = serde_json::to_vec(order).expect("values are JSON");
        self.put(Topic::Control, START_US + at_s * SECOND_US);
    }

    fn put(&mut self, topic: Topic, at_us: i64) {
        let batch = self.batches.iter_mut().find(|batch| batch.partition.topic == topic).expect("a topic of `new`");
        let offset = batch.next_offset().unwrap_or_else(|| self.upper.next_offset(batch.partition));
        batch.push(offset, at_us, &[], &self.scratch);
    }
}
