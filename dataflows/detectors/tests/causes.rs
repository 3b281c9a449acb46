//! The ranking of causes on small graphs: one rule of it each.
#![expect(clippy::unwrap_used, reason = "tests")]

use evenkeel_detectors::{Candidate, Measured, Metric, Period, Reason, rank_causes};
use proptest::prelude::*;

const REQUESTS: f64 = 100.0;

/// A node whose normal is around 10 (seconds or so), and whose incident is `incident`.
fn node(name: &str, incident: [Option<f64>; 4]) -> Measured {
    let normal = (0..50).map(|row| Some(10.0 + f64::from(row % 5) * 0.1)).collect::<Vec<_>>();
    measured(name, normal, incident.to_vec())
}

fn measured(name: &str, normal: Vec<Option<f64>>, incident: Vec<Option<f64>>) -> Measured {
    let period = |values: Vec<Option<f64>>| Period { requests: vec![Some(REQUESTS); values.len()], values };
    Measured { name: name.to_owned(), normal: period(normal), incident: period(incident) }
}

fn slow(by: f64) -> [Option<f64>; 4] {
    [Some(10.2), Some(10.2), Some(10.2 + by), Some(10.2 + by)]
}

fn latency(nodes: &[Measured], calls: &[(usize, usize)]) -> Vec<Candidate> {
    rank_causes(nodes, calls, 0, Metric::Latency)
}

fn find<'a>(ranked: &'a [Candidate], name: &str) -> &'a Candidate {
    ranked.iter().find(|candidate| candidate.node == name).unwrap()
}

#[test]
fn the_end_of_a_slow_chain_comes_first() {
    let nodes = [node("a", slow(5.0)), node("b", slow(5.0)), node("c", slow(5.0)), node("d", slow(0.0))];
    let ranked = latency(&nodes, &[(0, 1), (1, 2), (1, 3)]);
    let c = &ranked[0];
    assert_eq!((c.node.as_str(), c.inference.hops, &c.inference.reasons), ("c", 2, &vec![Reason::OwnExcess]));
    assert!((c.inference.own - 1.0).abs() < 1e-9 && (c.evidence.excess - 500.0).abs() < 1e-9, "{c:?}");
    assert!((c.evidence.surprise - 51f64.log10()).abs() < 1e-9, "nothing in 50 rows was like it");
    assert_eq!(find(&ranked, "b").inference.reasons, [Reason::ExplainedByCallees]);
    assert_eq!((find(&ranked, "d").score, &find(&ranked, "d").inference.reasons), (0.0, &vec![Reason::NoExcess]));
}

#[test]
fn what_callees_do_not_explain_is_a_nodes_own() {
    let ranked = latency(&[node("a", slow(5.0)), node("b", slow(5.0)), node("c", slow(1.0))], &[(0, 1), (1, 2)]);
    assert_eq!(ranked[0].node, "b");
    assert!((ranked[0].inference.own - 0.8).abs() < 1e-9, "{:?}", ranked[0]);
    assert!((find(&ranked, "c").inference.own - 0.2).abs() < 1e-9);
}

#[test]
fn a_shared_callee_is_laid_to_those_who_suffer_from_it() {
    // Both call d; only b is slow. Laid to both alike, half of b's excess would seem its own.
    let nodes = [node("a", slow(4.0)), node("b", slow(4.0)), node("c", slow(0.0)), node("d", slow(4.0))];
    let ranked = latency(&nodes, &[(0, 1), (0, 2), (1, 3), (2, 3)]);
    assert_eq!(ranked[0].node, "d");
    assert!(find(&ranked, "b").inference.own < 1e-9);
}

#[test]
fn what_was_so_before_the_alert_did_not_cause_it() {
    let nodes = [node("a", slow(5.0)), node("b", [Some(60.0); 4]), node("c", slow(5.0))];
    let ranked = latency(&nodes, &[(0, 1), (0, 2)]);
    assert_eq!(ranked[0].node, "c");
    assert_eq!(find(&ranked, "b").inference.reasons, [Reason::NotWithTheTarget]);
}

#[test]
fn a_callee_without_a_normal_is_laid_to_its_caller() {
    let (all, failing) = (Some(100.0), Some(70.0));
    let well = |name: &str| measured(name, vec![all; 50], vec![all, all, failing, failing]);
    let fresh = measured("new", vec![None; 50], vec![None, None, Some(0.0), Some(0.0)]);
    let ranked = rank_causes(&[well("a"), well("b"), fresh], &[(0, 1), (1, 2)], 0, Metric::Availability);
    assert_eq!(ranked[0].node, "b");
    assert_eq!(ranked[0].inference.reasons, [Reason::OwnExcess, Reason::CallsSomethingNew]);
    assert_eq!(find(&ranked, "new").inference.reasons, [Reason::NoHistory]);
    assert!((ranked[0].evidence.excess - 30.0).abs() < 1e-9, "requests that failed: {:?}", ranked[0]);
}

#[test]
fn missing_data_is_said() {
    let nodes = [node("a", slow(5.0)), node("b", [Some(10.0), Some(10.0), None, None])];
    assert_eq!(find(&latency(&nodes, &[(0, 1)]), "b").inference.reasons, [Reason::SilentNow]);
}

#[test]
fn fewer_requests_come_from_callers() {
    let quiet = |name: &str| node(name, [Some(10.0), Some(10.0), Some(2.0), Some(2.0)]);
    let ranked = rank_causes(&[quiet("db"), quiet("front")], &[(1, 0)], 0, Metric::Requests);
    assert_eq!(ranked[0].node, "front");
}

#[test]
fn only_rows_of_an_alert_are_as_good_as_they_can_be() {
    let late = |by: f64| [Some(10.2 + by); 4];
    let ranked = latency(&[node("a", late(5.0)), node("b", late(5.0))], &[(0, 1)]);
    assert_eq!(ranked[0].node, "b");
}

proptest! {
    /// Nothing of the target's excess is lost or made, cycles or not; the order of nodes and calls says nothing.
    #[test]
    fn excess_is_handed_down_whole(
        by in proptest::collection::vec(0.0f64..20.0, 8),
        calls in proptest::collection::vec((0usize..8, 0usize..8), 0..24),
    ) {
        let nodes = by.iter().enumerate().map(|(at, by)| node(&format!("n{at}"), slow(*by))).collect::<Vec<_>>();
        let ranked = latency(&nodes, &calls);
        let own = ranked.iter().map(|candidate| candidate.inference.own).sum::<f64>();
        prop_assert!((own - 1.0).abs() < 1e-6, "{own}");

        let turned = |at: &usize| 7 - at;
        let other_calls = calls.iter().rev().map(|(a, b)| (turned(a), turned(b))).collect::<Vec<_>>();
        let other_nodes = nodes.iter().rev().cloned().collect::<Vec<_>>();
        let again = rank_causes(&other_nodes, &other_calls, 7, Metric::Latency);
        for candidate in &ranked {
            prop_assert!((find(&again, &candidate.node).score - candidate.score).abs() < 1e-9);
        }
    }
}
