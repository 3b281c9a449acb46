//! Law L4: what was said of closed ticks ends as if late records had come in order, and pages nobody for the past.
#![expect(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{Dice, EpochInput, START_US, assert_same, digest, resume, run, seeds};
use evenkeel_dataflows::{Batch, Changes, Resume, TICK_US, Tuning};
use evenkeel_schemas::{
    Binding, Cut, Dataset, Decision, Detector, Dimension, Epoch, Incident, Notice, Partition, Topic, Verdict,
};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;

/// Seconds of a history; faults lie between the two others.
const SECONDS: i64 = 330;
const FROM: u64 = 130;
const UNTIL: u64 = 280;

/// Services of a run: each a history of its own.
const SERVICES: usize = 8;

/// A request: when it happened and when it came, s; what it was.
struct Request {
    at_s: i64,
    came_s: i64,
    line: String,
}

/// How late the requests of a service are.
struct Lateness {
    from_s: i64,
    until_s: i64,
    per_cent: u64,
    most_s: u64,
}

/// Errors, slowness and lateness of a service, as it falls.
fn history(dice: &mut Dice, service: usize, requests: &mut Vec<Request>) {
    let span = |dice: &mut Dice, longest: u64| {
        let from = FROM + dice.below(UNTIL - FROM);
        (from as i64, (from + 4 + dice.below(longest)) as i64)
    };
    let faults = (0..1 + dice.below(2)).map(|_| (span(dice, 40), dice.below(3), 60 + dice.below(41)));
    let faults = faults.collect::<Vec<_>>();
    let late = (0..1 + dice.below(3)).map(|_| {
        let (from_s, until_s) = span(dice, 25);
        Lateness { from_s, until_s, per_cent: [30, 70, 100][dice.below(3) as usize], most_s: 3 + dice.below(23) }
    });
    let late = late.collect::<Vec<_>>();
    // By the second, by ten of them, and by minutes.
    let rate = [16 + dice.below(30), 2 + dice.below(12), 1][dice.below(3) as usize];
    for second in 0..SECONDS {
        let faulty = faults.iter().find(|((from, until), _, _)| (*from..*until).contains(&second));
        let faulty = faulty.filter(|(_, _, share)| dice.below(100) < *share).map(|(_, kind, _)| *kind);
        for n in 0..rate + dice.below(if rate > 4 { 5 } else { 2 }) {
            let mut latency_us = 2_000 + dice.below(3_000);
            let mut fails = dice.below(400) == 0;
            match faulty {
                Some(0) => fails |= dice.below(100) < 33,
                Some(1) => latency_us *= 4,
                Some(_) => (fails, latency_us) = (fails || dice.below(100) < 30, latency_us * 3),
                None => {}
            }
            let lateness = late.iter().find(|it| (it.from_s..it.until_s).contains(&second));
            let lateness = lateness.filter(|it| dice.below(100) < it.per_cent);
            let late_s = match lateness {
                Some(lateness) => 2 + dice.below(lateness.most_s) as i64,
                // Too late to amend anything: those of quiet times, a few.
                None if second < 120 && dice.below(2_000) == 0 => 90 + dice.below(100) as i64,
                None => i64::from(dice.below(50) == 0),
            };
            let event_time_us = START_US + second * TICK_US + n as i64;
            let status = if fails { 500 } else { 200 };
            let line = format!(
                "{{\"event_time_us\":{event_time_us},\"service\":\"s{service}\",\"node\":\"n{service}-{}\",\
                 \"status\":{status},\"latency_us\":{latency_us}}}",
                n % 3
            );
            requests.push(Request { at_s: second, came_s: second + late_s, line });
        }
    }
}

fn requests(seed: u64) -> Vec<Request> {
    let (mut dice, mut requests) = (Dice(seed), Vec::new());
    (0..SERVICES).for_each(|service| history(&mut dice, service, &mut requests));
    requests
}

/// One epoch a second, in which comes what `came` says; nothing: it never comes.
fn epochs(requests: &[Request], came: impl Fn(&Request) -> Option<i64>) -> Vec<EpochInput> {
    let partition = Partition { topic: Topic::Requests, partition: 0 };
    let mut arrived = BTreeMap::<i64, Vec<&Request>>::new();
    requests.iter().for_each(|it| came(it).into_iter().for_each(|at_s| arrived.entry(at_s).or_default().push(it)));
    let mut next = 0;
    let epoch = |number: i64| {
        let (now_us, mut batch) = (START_US + (number + 1) * TICK_US, Batch::new(partition));
        for request in arrived.get(&number).into_iter().flatten() {
            batch.push(next, now_us, b"", request.line.as_bytes());
            next += 1;
        }
        let upper = Cut([(partition, next)].into());
        let resume = Epoch((number - 10).max(0) as u64);
        EpochInput { binding: Binding { epoch: Epoch(number as u64), now_us, resume, upper }, batches: vec![batch] }
    };
    (0..SECONDS).map(epoch).collect()
}

fn is_amendable(request: &Request) -> bool {
    request.came_s - request.at_s <= 28
}

fn tuning() -> Tuning {
    let key_sets = vec![vec![Dimension::Service], vec![Dimension::Service, Dimension::Node]];
    Tuning { key_sets, baseline_every_s: 60, ..Tuning::default() }
}

/// Bursts are about what has come in by now: they are what they are.
fn without_bursts() -> Tuning {
    let mut tuning = tuning();
    tuning.detection.burst_errors = 1_000_000;
    tuning
}

fn outputs<T: DeserializeOwned>(changes: &[Changes], dataset: Dataset) -> Vec<T> {
    let all = changes.iter().flat_map(|changes| &changes.outputs).filter(|output| output.dataset == dataset);
    all.map(|output| serde_json::from_slice(&output.value).unwrap()).collect()
}

/// An anomaly: its key, its detector, since when.
type Anomaly = (String, Detector, i64);

/// The last word about each anomaly: why it began, and when and why it ended, if it did.
fn record(changes: &[Changes]) -> BTreeMap<Anomaly, (String, Option<(i64, String)>)> {
    let mut record = BTreeMap::new();
    for said in outputs::<Verdict>(changes, Dataset::Verdicts) {
        let anomaly = (said.key.to_json(), said.detector, said.since_us);
        match said.decision {
            _ if !matches!(said.detector, Detector::ErrorRate | Detector::Latency) => {}
            Decision::Hold => {}
            Decision::Fire => drop(record.insert(anomaly, (said.reason, None))),
            Decision::Clear if said.reason == "withdrawn" => drop(record.remove(&anomaly)),
            Decision::Clear => record.get_mut(&anomaly).unwrap().1 = Some((said.at_us, said.reason)),
        }
    }
    record
}

/// How often somebody was paged for a service, but for its end.
fn pages(changes: &[Changes]) -> BTreeMap<String, usize> {
    let mut pages = BTreeMap::new();
    let said = outputs::<Incident>(changes, Dataset::Incidents).into_iter();
    for incident in said.filter(|it| it.notify && it.notice != Notice::Resolved) {
        *pages.entry(incident.service).or_default() += 1;
    }
    pages
}

#[test]
fn late_records_end_in_the_verdicts_of_the_run_in_order_and_page_nobody_for_the_past() {
    let (mut fires, mut clears, mut withdrawn, mut differed) = (0, 0, 0, 0);
    for seed in seeds(0..40) {
        println!("seed {seed}");
        let requests = requests(seed);
        let go = |came: &dyn Fn(&Request) -> Option<i64>| {
            run(&without_bursts(), 1, 10_000, Resume::default(), &epochs(&requests, came))
        };
        let late = go(&|it| Some(it.came_s));
        let in_order = go(&|it| Some(if is_amendable(it) { it.at_s } else { it.came_s }));
        let without = go(&|it| (it.came_s - it.at_s <= 1 || !is_amendable(it)).then_some(it.came_s));
        let (said, expected) = (record(&late), record(&in_order));
        let differ = said.iter().filter(|it| expected.get(it.0) != Some(it.1)).collect::<Vec<_>>();
        let missing = expected.iter().filter(|it| said.get(it.0) != Some(it.1)).collect::<Vec<_>>();
        assert!(differ.is_empty() && missing.is_empty(), "seed {seed}: {differ:#?}, in order: {missing:#?}");
        let (paged, calm, without) = (pages(&late), pages(&in_order), pages(&without));
        for (service, count) in paged {
            let most = calm.get(&service).max(without.get(&service)).copied().unwrap_or(0);
            assert!(count <= most, "seed {seed}: {service} is paged {count} times, not {most}");
        }
        let said = outputs::<Verdict>(&late, Dataset::Verdicts);
        let amended = said.iter().filter(|it| it.amended_us.is_some());
        for verdict in amended {
            match verdict.decision {
                Decision::Clear if verdict.reason == "withdrawn" => withdrawn += 1,
                Decision::Clear => clears += 1,
                _ => fires += 1,
            }
        }
        differed += usize::from(digest(&late) != digest(&in_order));
    }
    println!("{fires} fires, {clears} clears, {withdrawn} withdrawn, {differed} of 40 runs");
    assert!(fires > 50 && clears > 50 && withdrawn > 20, "{fires} {clears} {withdrawn}");
}

#[test]
fn amended_verdicts_are_the_same_for_any_number_of_workers_and_after_restarts() {
    for seed in [100, 101] {
        let requests = requests(seed);
        let epochs = epochs(&requests, |it| Some(it.came_s));
        let calm = run(&tuning(), 1, 10_000, Resume::default(), &epochs);
        assert!(outputs::<Verdict>(&calm, Dataset::Verdicts).iter().any(|it| it.amended_us.is_some()));
        for workers in [2, 4] {
            assert_eq!(digest(&run(&tuning(), workers, 70, Resume::default(), &epochs)), digest(&calm), "{workers}");
        }
        for cut in (FROM as usize..epochs.len()).step_by(11) {
            let resume = resume(&tuning(), &calm[..cut]);
            let again = resume.bindings[0].epoch.0 as usize;
            let rest = run(&tuning(), 1 + cut % 3, 500, resume, &epochs[again..]);
            rest.iter().zip(&calm[cut..]).for_each(|(after, before)| assert_same(after, before, cut));
            assert_eq!(rest.len(), calm.len() - cut);
        }
    }
}
