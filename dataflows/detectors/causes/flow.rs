//! Hands the target's excess down the call graph.

use super::MAX_HOPS;
use std::collections::{BTreeMap, VecDeque};

/// Who calls whom; each call once, a node's calls of itself left out.
pub(super) struct Calls {
    callees: Vec<Vec<usize>>,
    callers: Vec<Vec<usize>>,
}

/// What of the target's excess reached a node, and what of that stays with it; parts of 1.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Flow {
    pub reached: f64,
    pub own: f64,
}

impl Calls {
    pub fn new(nodes: usize, calls: &[(usize, usize)], reversed: bool) -> Self {
        let mut both = Self { callees: vec![Vec::new(); nodes], callers: vec![Vec::new(); nodes] };
        let turned = |&(caller, callee): &(usize, usize)| if reversed { (callee, caller) } else { (caller, callee) };
        let mut calls = calls.iter().map(turned).filter(|(caller, callee)| caller != callee).collect::<Vec<_>>();
        calls.sort_unstable();
        calls.dedup();
        for (caller, callee) in calls {
            both.callees[caller].push(callee);
            both.callers[callee].push(caller);
        }
        both
    }

    /// Whom a node calls, ascending.
    pub fn callees(&self, node: usize) -> &[usize] {
        &self.callees[node]
    }

    /// The nodes that can be reached from `start`, itself too, and over how many calls.
    pub fn reachable(&self, start: usize) -> BTreeMap<usize, usize> {
        let (mut hops, mut waiting) = (BTreeMap::from([(start, 0)]), VecDeque::from([start]));
        while let Some(node) = waiting.pop_front() {
            let next = hops[&node] + 1;
            for callee in &self.callees[node] {
                if !hops.contains_key(callee) {
                    hops.insert(*callee, next);
                    waiting.push_back(*callee);
                }
            }
        }
        hops
    }
}

/// Hands 1, the target's excess, from caller to callee: each callee gets as much as its excess explains of its caller's,
/// and what none explains stays.
pub(super) fn hand_down(calls: &Calls, excess: &[f64], target: usize) -> Vec<Flow> {
    let of_callers = |callee: usize| calls.callers[callee].iter().map(|caller| excess[*caller]).sum::<f64>();
    // What of a callee's excess is laid to one caller: as much as that caller has of all its callers' excess.
    let share = |caller: usize, callee: usize| match of_callers(callee) {
        all if all > 0.0 => excess[callee] * excess[caller] / all,
        _ => 0.0,
    };
    let mut flows = vec![Flow::default(); excess.len()];
    let mut level = BTreeMap::from([(target, 1.0)]);
    for hop in 0..=MAX_HOPS {
        let mut next = BTreeMap::new();
        for (node, arrived) in std::mem::take(&mut level) {
            let shares = calls.callees[node].iter().map(|callee| (*callee, share(node, *callee))).collect::<Vec<_>>();
            let explained = shares.iter().map(|(_, share)| share).sum::<f64>();
            let all = excess[node].max(explained);
            flows[node].reached += arrived;
            if all <= 0.0 || hop == MAX_HOPS {
                flows[node].own += arrived;
                continue;
            }
            flows[node].own += arrived * (all - explained) / all;
            for (callee, share) in shares.into_iter().filter(|(_, share)| *share > 0.0) {
                *next.entry(callee).or_insert(0.0) += arrived * share / all;
            }
        }
        level = next;
    }
    flows
}
