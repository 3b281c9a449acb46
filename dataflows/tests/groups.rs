//! Groups against differential's `iterate`, which knows neither bounds nor order: equal as long as no bound is reached. And
//! the bounds themselves.
#![expect(clippy::unwrap_used, reason = "tests")]

use differential_dataflow::input::Input;
use differential_dataflow::operators::Iterate;
use evenkeel_dataflows::groups::{Group, MAX_HOPS, MAX_SERVICES, groups};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

type Standing = BTreeMap<String, i64>;
type Calls = BTreeSet<(String, String)>;

/// The root of each service, by a fixed point: what a service reaches; of that, what reaches everything it reaches itself
/// lies in a closed cycle or alone; of those the earliest.
fn by_iterate(standing: &Standing, calls: &Calls) -> BTreeMap<String, String> {
    let roots = Arc::new(Mutex::new(BTreeMap::new()));
    let (found, standing, calls) = (Arc::clone(&roots), standing.clone(), calls.clone());
    timely::execute_directly(move |worker| {
        worker.dataflow::<u32, _, _>(|scope| {
            let starts = standing.iter().map(|(name, since_us)| (name.clone(), (*since_us, name.clone())));
            let stands = |name: &String| standing.contains_key(name);
            let calls = calls.iter().filter(|(caller, callee)| stands(caller) && stands(callee)).cloned();
            let starts = scope.new_collection_from(starts.collect::<Vec<_>>()).1;
            let calls = scope.new_collection_from(calls.collect::<Vec<_>>()).1;
            let itself = starts.clone().map(|(name, _)| (name.clone(), name));
            let reaches = itself.iterate(|scope, reached| {
                let calls = calls.clone().enter(scope);
                let further = reached
                    .clone()
                    .map(|(from, to)| (to, from))
                    .join_map(calls, |_, from, to| (from.clone(), to.clone()));
                reached.concat(further).distinct()
            });
            let back = reaches.clone().map(|(from, to)| (to, from));
            // Pairs that lead one way only: their first is no end.
            let leaves =
                reaches.clone().concat(back.negate()).filter(|(from, to)| from != to).map(|pair| (pair, ())).reduce(
                    |_, counts, output| {
                        output.extend((counts[0].1 > 0).then_some(((), 1isize)));
                    },
                );
            let leaving = leaves.map(|((from, _), ())| from).distinct();
            let ends = reaches.map(|(from, to)| (to, from)).antijoin(leaving);
            // Of every end that a service reaches its start: all of a cycle are ends, the earliest is the root.
            let reached = ends.join_map(starts, |_, from, start| (from.clone(), start.clone()));
            reached.reduce(|_, starts, output| output.push((starts[0].0.clone(), 1isize))).inspect(
                move |((name, (_, root)), _, sign)| {
                    assert_eq!(*sign, 1);
                    found.lock().unwrap().insert(name.clone(), root.clone());
                },
            );
        });
    });
    roots.lock().unwrap().clone()
}

fn roots(groups: &[Group]) -> BTreeMap<String, String> {
    let of =
        |group: &Group| group.services.iter().map(|(name, _)| (name.clone(), group.root.clone())).collect::<Vec<_>>();
    groups.iter().flat_map(of).collect()
}

fn call(caller: usize, callee: usize) -> (String, String) {
    (format!("s{caller:04}"), format!("s{callee:04}"))
}

fn standing(services: usize) -> Standing {
    (0..services).map(|service| (format!("s{service:04}"), 0)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn groups_are_what_a_fixed_point_says(
        starts in proptest::collection::vec(proptest::option::of(0i64..4), 12),
        calls in proptest::collection::btree_set((0usize..12, 0usize..12), 0..30),
    ) {
        let named = starts.iter().enumerate().filter_map(|(at, start)| Some((format!("s{at:04}"), (*start)?)));
        let (standing, calls) = (named.collect::<Standing>(), calls.into_iter().map(|(a, b)| call(a, b)).collect::<Calls>());
        let found = groups(&standing, &calls);
        prop_assert_eq!(roots(&found), by_iterate(&standing, &calls));
        prop_assert_eq!(found.iter().map(|group| group.services.len()).sum::<usize>(), standing.len());
        prop_assert!(found.iter().all(|group| group.services[0] == (group.root.clone(), 0)));
    }
}

#[test]
fn a_chain_is_cut_where_it_gets_too_long() {
    let calls = (0..39).map(|at| call(at, at + 1)).collect();
    let found = groups(&standing(40), &calls);
    let shape = found.iter().map(|group| (group.root.as_str(), group.services.len())).collect::<Vec<_>>();
    assert_eq!(shape, [("s0039", MAX_HOPS + 1), ("s0022", MAX_HOPS + 1), ("s0005", 6)]);
}

#[test]
fn a_hub_joins_no_more_than_a_group_holds() {
    let all = MAX_SERVICES * 2 + 7;
    let calls = (1..all).map(|at| call(at, 0)).collect();
    let found = groups(&standing(all), &calls);
    let sizes = found.iter().map(|group| group.services.len()).collect::<Vec<_>>();
    assert_eq!(sizes, [MAX_SERVICES, MAX_SERVICES, 7]);
    assert_eq!(found[0].root, "s0000");
    assert_eq!(found[1].root, format!("s{MAX_SERVICES:04}"), "the earliest of those who found no room");
}

#[test]
fn a_hub_that_does_not_stand_joins_nobody() {
    let calls = (1..5).flat_map(|at| [call(at, 0), call(0, at)]).collect();
    let mut standing = standing(5);
    standing.remove("s0000");
    assert_eq!(groups(&standing, &calls).len(), 4);
}
