//! Plays a scenario through the core, and says what was expected and did not come.
//!
//! The policy goes the way it goes live: as an order in the first epoch. Time is the scenario's own, a quarter of a second
//! an epoch; what is not given does not happen, so that a scenario says the same on every machine.

use super::scenario::{Expected, Flow, Given, Scenario};
use super::set::Compiled;
use crate::ports::PortError;
use evenkeel_dataflows::{Batch, Changes, Engine, Output, Resume, Tuning};
use evenkeel_schemas::{Binding, Command, Cut, Dataset, Decision, Epoch, Incident, Partition, Topic, Verdict};
use serde::Serialize;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// When a scenario begins: 2026-01-01T00:00:00Z, µs.
const START_US: i64 = 1_767_225_600_000_000;

/// How long an epoch lasts, µs.
const EPOCH_US: i64 = 250_000;

/// How long the core may take for an epoch.
const PATIENCE: Duration = Duration::from_secs(60);

/// What came of a scenario.
#[derive(Debug, PartialEq, Serialize)]
pub struct Played {
    /// What was said: verdicts that fired, incidents and commands, in their order.
    pub said: Vec<Said>,
    /// What was expected and did not come, or came and was not: line, column, and why.
    pub missed: Vec<(usize, usize, String)>,
}

/// Something that was said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Said {
    /// When, µs from the beginning.
    pub at_us: i64,
    /// `verdict`, `incident` or `command`.
    pub of: &'static str,
    /// The detector, the state of the incident, or the kind of command.
    pub is: String,
    /// The service.
    pub service: String,
    /// The state of a command.
    pub state: String,
}

/// Plays `scenario` with a policy over `base`.
///
/// # Errors
/// `Fatal` if the policy is refused, or the core stops.
pub fn play(scenario: &Scenario, policy: &Compiled, base: &Tuning) -> Result<Played, PortError> {
    let mut player =
        Player { engine: Engine::new(base, 1, Resume::default()), upper: Cut::default(), said: Vec::new() };
    player.close(0, Vec::new())?;
    let mut first = player.batch(Topic::Control);
    for order in policy.orders(START_US, 1, "scenario") {
        put(&mut first, &player.upper, START_US, &json!(order));
    }
    player.close(1, vec![first])?;
    let epochs = scenario.length_us.div_euclid(EPOCH_US);
    for epoch in 1..=epochs {
        let (from_us, to_us) = ((epoch - 1) * EPOCH_US, epoch * EPOCH_US);
        let mut batches = [Topic::Requests, Topic::Telemetry, Topic::Probes].map(|topic| player.batch(topic));
        for given in &scenario.given {
            given.come(from_us, to_us, &mut batches, &player.upper);
        }
        player.close(epoch as u64 + 1, batches.into())?;
    }
    let said = player.said;
    let missed = scenario.expect.iter().filter_map(|expected| Some((expected, expected.missed(&said)?)));
    let missed = missed.map(|(expected, why)| (expected.at.line, expected.at.column, why)).collect();
    Ok(Played { said, missed })
}

struct Player {
    engine: Engine,
    upper: Cut,
    said: Vec<Said>,
}

impl Player {
    fn batch(&self, topic: Topic) -> Batch {
        Batch::new(Partition { topic, partition: 0 })
    }

    /// Closes an epoch with these records, and hears what it says.
    fn close(&mut self, epoch: u64, batches: Vec<Batch>) -> Result<(), PortError> {
        for batch in batches.into_iter().filter(|batch| !batch.is_empty()) {
            let next = batch.next_offset().expect("it holds a record");
            self.upper.0.insert(batch.partition, next);
            self.engine.push(batch)?;
        }
        let now_us = START_US + (epoch as i64 - 1).max(0) * EPOCH_US;
        let binding = Binding { epoch: Epoch(epoch), now_us, resume: Epoch(0), upper: self.upper.clone() };
        self.engine.close(binding)?;
        while self.engine.in_flight() > 0 {
            let changes = self.engine.wait(PATIENCE)?;
            let Changes { outputs, .. } =
                changes.ok_or_else(|| PortError::Fatal("the core stands still".to_owned()))?;
            if epoch == 1 {
                refused(&outputs)?;
            }
            self.said.extend(outputs.iter().filter_map(said));
        }
        Ok(())
    }
}

/// A policy that was refused, or an order that was no order, is no policy to test.
fn refused(outputs: &[Output]) -> Result<(), PortError> {
    let why = outputs.iter().find(|output| output.dataset == Dataset::Rejections);
    let kept = outputs.iter().any(|output| output.dataset == Dataset::State && output.key.starts_with(b"policy/"));
    match why {
        Some(output) => Err(PortError::Fatal(format!("refused: {}", String::from_utf8_lossy(&output.value)))),
        None if !kept => Err(PortError::Fatal("the core refused the policy".to_owned())),
        None => Ok(()),
    }
}

fn said(output: &Output) -> Option<Said> {
    let value = output.value.as_slice();
    let name = |of: Json| of.as_str().unwrap_or_default().to_owned();
    match output.dataset {
        Dataset::Verdicts => {
            let verdict = serde_json::from_slice::<Verdict>(value).ok().filter(|it| it.decision == Decision::Fire)?;
            let (is, service) = (name(json!(verdict.detector)), verdict.key.service().to_owned());
            Some(Said { at_us: verdict.at_us - START_US, of: "verdict", is, service, state: String::new() })
        }
        Dataset::Incidents => {
            let incident = serde_json::from_slice::<Incident>(value).ok()?;
            let (is, service) = (name(json!(incident.state)), incident.service);
            Some(Said { at_us: incident.at_us - START_US, of: "incident", is, service, state: String::new() })
        }
        Dataset::Commands => {
            let command = serde_json::from_slice::<Command>(value).ok()?;
            let (is, state) = (name(json!(command.kind)), name(json!(command.state)));
            Some(Said { at_us: command.at_us - START_US, of: "command", is, service: command.service, state })
        }
        _ => None,
    }
}

impl Given {
    /// What comes of it from `from_us`, inclusive, to `to_us`, exclusive.
    fn come(&self, from_us: i64, to_us: i64, [requests, gauges, beats]: &mut [Batch; 3], upper: &Cut) {
        let (service, node) = (&self.service, &self.node);
        let every_us = match self.flow {
            Flow::Requests { rate, .. } => 1_000_000 / rate.clamp(1, 1_000_000),
            _ => 1_000_000,
        };
        let since = |at_us: i64| (at_us - self.at_us.start + every_us - 1).div_euclid(every_us).max(0);
        for number in since(from_us)..since(to_us.min(self.at_us.end)) {
            let at_us = self.at_us.start + number * every_us;
            let event_time_us = START_US + at_us;
            let mut fields = BTreeMap::from([("event_time_us", json!(event_time_us)), ("service", json!(service))]);
            if !node.is_empty() {
                fields.insert("node", json!(node));
            }
            let batch = match &self.flow {
                Flow::Requests { errors_ppm, latency_us, .. } => {
                    // Failures are spread evenly: the share of them is exact after every so many.
                    let failures = |count: i64| count * errors_ppm / 1_000_000;
                    let status = if failures(number + 1) > failures(number) { 500 } else { 200 };
                    fields.extend([("status", json!(status)), ("latency_us", json!(latency_us))]);
                    &mut *requests
                }
                Flow::Gauge { name, values: (from, until), limit } => {
                    let length_us = (self.at_us.end - self.at_us.start).max(1);
                    let value = from
                        + ((until - from) as i128 * i128::from(at_us - self.at_us.start) / i128::from(length_us))
                            as i64;
                    fields.extend([("kind", json!("gauge")), ("name", json!(name)), ("value", json!(value))]);
                    fields.insert("limit", json!(limit));
                    &mut *gauges
                }
                Flow::Heartbeats => &mut *beats,
            };
            put(batch, upper, event_time_us, &json!(fields));
        }
    }
}

fn put(batch: &mut Batch, upper: &Cut, timestamp_us: i64, payload: &Json) {
    let offset = batch.next_offset().unwrap_or_else(|| upper.next_offset(batch.partition));
    batch.push(offset, timestamp_us, &[], payload.to_string().as_bytes());
}

impl Expected {
    /// Why it did not come as expected, if so.
    fn missed(&self, said: &[Said]) -> Option<String> {
        let like = |it: &&Said| {
            it.of == self.of
                && (self.is == "any" || it.is == self.is)
                && (self.service.is_empty() || it.service == self.service)
                && (self.state.is_empty() || it.state == self.state)
        };
        let all = said.iter().filter(like).collect::<Vec<_>>();
        let count = all.iter().filter(|it| self.at_us.contains(&it.at_us)).count() as i64;
        if self.times.map_or(count > 0, |times| count == times) {
            return None;
        }
        let wanted = self.times.map_or("at least once".to_owned(), |times| format!("{times} times"));
        let words = [self.is.as_str(), &self.service, &self.state].join(" ");
        let seconds = |us: i64| us as f64 / 1e6;
        let when = all.iter().take(5).map(|it| format!("{:.1} s", seconds(it.at_us))).collect::<Vec<_>>();
        let when = if when.is_empty() { "never".to_owned() } else { format!("at {}", when.join(", ")) };
        let (after, before) = (seconds(self.at_us.start), seconds(self.at_us.end));
        Some(format!("{} {} {wanted} from {after} s to {before} s, but said {when}", self.of, words.trim()))
    }
}
