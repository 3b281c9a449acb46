//! `groups`: services that stand and who calls whom in; groups with one root each out.
//!
//! A service belongs to the root that it reaches over calls on which every service stands. A root is a service that calls
//! nobody who stands, or of a cycle the earliest one; of several roots it reaches a service belongs to the earliest. Equal
//! starts are told apart by name.
//!
//! # Decision
//! Computed from scratch over what hangs together, and not by differential's `iterate`: the loop's operators would be asked
//! in every epoch how far they are, also while nothing stands, and a group's bounds (hops, services) depend on the order in
//! which it is filled, which a fixed point does not know. `tests/groups.rs` holds this form to an `iterate` without bounds.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A service further than so many calls from a root does not belong to it: a wrong call must not join a whole system.
pub const MAX_HOPS: usize = 16;

/// Most services of a group; the others that reach its root are in groups of their own, each as large.
pub const MAX_SERVICES: usize = 500;

/// Services with one root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The root.
    pub root: String,
    /// The services and how many calls each is from the root; nearest first, then by name. The root is the first.
    pub services: Vec<(String, usize)>,
}

/// The groups of `standing`, services and when each began; `calls` are pairs (caller, callee), of which those between
/// standing services count.
pub fn groups(standing: &BTreeMap<String, i64>, calls: &BTreeSet<(String, String)>) -> Vec<Group> {
    let names = standing.keys().collect::<Vec<_>>();
    let place = |name: &String| names.binary_search(&name).ok();
    let mut graph = Graph { callees: vec![Vec::new(); names.len()], callers: vec![Vec::new(); names.len()] };
    for (caller, callee) in calls.iter().filter_map(|(caller, callee)| Some((place(caller)?, place(callee)?))) {
        if caller != callee {
            graph.callees[caller].push(callee);
            graph.callers[callee].push(caller);
        }
    }
    // By start, then by name: names are in order.
    let starts = standing.values().copied().enumerate().map(|(node, since_us)| (since_us, node)).collect::<Vec<_>>();
    let mut free = vec![true; names.len()];
    let mut found = Vec::new();
    while free.contains(&true) {
        for root in graph.roots(&free, &starts) {
            for part in graph.callers_of(root, &free).chunks(MAX_SERVICES) {
                part.iter().for_each(|(node, _)| free[*node] = false);
                // Those that find no room have no root of their own: the earliest stands for them.
                let first = part.iter().map(|(node, _)| starts[*node]).min().map_or(root, |(_, node)| node);
                let root = if part[0].0 == root { root } else { first };
                let mut services = part.iter().map(|(node, hops)| (names[*node].clone(), *hops)).collect::<Vec<_>>();
                services.sort_by_key(|(name, hops)| (name != names[root], *hops));
                found.push(Group { root: names[root].clone(), services });
            }
        }
    }
    found
}

struct Graph {
    callees: Vec<Vec<usize>>,
    callers: Vec<Vec<usize>>,
}

impl Graph {
    /// The roots among free nodes, earliest first.
    fn roots(&self, free: &[bool], starts: &[(i64, usize)]) -> Vec<usize> {
        let component = self.components(free);
        let mut closed = BTreeMap::<usize, (bool, (i64, usize))>::new();
        for node in (0..free.len()).filter(|node| free[*node]) {
            let leaves = self.callees[node].iter().any(|callee| free[*callee] && component[*callee] != component[node]);
            let entry = closed.entry(component[node]).or_insert((true, starts[node]));
            *entry = (entry.0 && !leaves, entry.1.min(starts[node]));
        }
        let mut roots =
            closed.into_values().filter(|(is_closed, _)| *is_closed).map(|(_, start)| start).collect::<Vec<_>>();
        roots.sort_unstable();
        roots.into_iter().map(|(_, node)| node).collect()
    }

    /// The free nodes that reach `root` over free nodes within [`MAX_HOPS`], nearest first, then by name.
    fn callers_of(&self, root: usize, free: &[bool]) -> Vec<(usize, usize)> {
        let (mut hops, mut waiting) = (BTreeMap::from([(root, 0)]), VecDeque::from([root]));
        while let Some(node) = waiting.pop_front() {
            let next = hops[&node] + 1;
            for caller in self.callers[node].iter().filter(|caller| free[**caller] && next <= MAX_HOPS) {
                if !hops.contains_key(caller) {
                    hops.insert(*caller, next);
                    waiting.push_back(*caller);
                }
            }
        }
        let mut reached = hops.into_iter().collect::<Vec<_>>();
        reached.sort_by_key(|(node, hops)| (*hops, *node));
        reached
    }

    /// The number of each free node's strongly connected component (Kosaraju, as in Sharir 1981; without recursion).
    fn components(&self, free: &[bool]) -> Vec<usize> {
        let mut order = Vec::new();
        let mut seen = free.iter().map(|free| !free).collect::<Vec<_>>();
        for start in 0..free.len() {
            visit(start, &self.callees, &mut seen, &mut order);
        }
        let mut component = vec![usize::MAX; free.len()];
        let mut seen = free.iter().map(|free| !free).collect::<Vec<_>>();
        for start in order.into_iter().rev() {
            let mut together = Vec::new();
            visit(start, &self.callers, &mut seen, &mut together);
            together.into_iter().for_each(|node| component[node] = start);
        }
        component
    }
}

/// Appends `start` and what it reaches to `left`, in the order in which a depth-first search leaves them.
fn visit(start: usize, next: &[Vec<usize>], seen: &mut [bool], left: &mut Vec<usize>) {
    if std::mem::replace(&mut seen[start], true) {
        return;
    }
    let mut path = vec![(start, 0)];
    while let Some((node, at)) = path.last_mut() {
        match next[*node].get(*at) {
            Some(neighbour) => {
                *at += 1;
                if !std::mem::replace(&mut seen[*neighbour], true) {
                    path.push((*neighbour, 0));
                }
            }
            None => {
                left.push(*node);
                path.pop();
            }
        }
    }
}
