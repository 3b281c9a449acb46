//! Which node of a call graph an alert comes from, as far as numbers tell.
//!
//! 1. *Excess*: what a node did beyond its normal median, in amounts that add up along calls: seconds waited (latency ×
//!    requests), requests failed ((1 − availability) × requests).
//! 2. *Contrast*: only excess that comes and goes with the target's counts. What was so before the alert did not cause it.
//! 3. *Flow*: the target's excess is handed down the graph. A node keeps what its callees do not explain; a callee's excess
//!    is shared out among its callers as their own excess is.
//! 4. *Score*: the part of the target's excess that a node keeps × how seldom its normal period saw the like
//!    (−log10 of the tail probability).
//!
//! A candidate keeps what was seen ([`Evidence`]) apart from what follows from the graph ([`Inference`]).
//!
//! # Decision
//! Tail probabilities are ranks in the normal period, not a fitted tail: a node with a short history cannot be very
//! surprising, one with none has no excess at all, and what it does is its caller's, who began to call it. There are three
//! numbers to choose ([`MIN_HISTORY`], [`QUIET_SURPRISE`], [`MAX_HOPS`]), and the ranking of the benchmark it was tried on
//! stays the same for 3 to 30, 0.7 to 1.5, and any number of hops a graph has.

mod excess;
mod flow;

use excess::{Deviation, contrast, weights};
use flow::{Calls, hand_down};
use serde::{Deserialize, Serialize};

/// A node needs so many rows of normal data to have a normal at all.
pub const MIN_HISTORY: usize = 10;

/// A row in which the target is less surprising than this is quiet: one in ten rows of its normal period is like it.
pub const QUIET_SURPRISE: f64 = 1.0;

/// The target's excess is followed over so many calls, and stays where it is then; cycles end there, too.
pub const MAX_HOPS: usize = 32;

/// Most candidates in an answer; the rest is left out.
pub const MAX_CANDIDATES: usize = 100;

/// What the alert is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Mean time a request takes, s. More is worse; explained by callees.
    Latency,
    /// Share of requests that succeeded, percent. Less is worse; explained by callees.
    Availability,
    /// Number of requests. Less is worse; explained by callers.
    Requests,
}

/// What was measured of a node in one period; the rows of all nodes are the same times.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Period {
    /// The metric of the alert by row; `None`, and what is not finite: no data.
    pub values: Vec<Option<f64>>,
    /// Requests by row.
    pub requests: Vec<Option<f64>>,
}

/// A node and its numbers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measured {
    /// Its name; ties are broken by it.
    pub name: String,
    /// While all was well.
    pub normal: Period,
    /// Around the alert; rows before it make the answer better.
    pub incident: Period,
}

/// What was seen of a node, and nothing else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// Median of the metric in the normal period, in its unit.
    pub normal: Option<f64>,
    /// Mean of the metric in the rows of the alert, in its unit.
    pub incident: Option<f64>,
    /// Mean number of requests in the rows of the alert.
    pub requests: Option<f64>,
    /// Excess a row that comes and goes with the target's: s waited, or requests.
    pub excess: f64,
    /// How seldom its normal period saw the like: −log10 of the tail probability, 0 if it has no excess.
    pub surprise: f64,
    /// Rows with data in the normal period.
    pub history: usize,
}

/// What follows for a node from the graph.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Inference {
    /// The part of the target's excess that reaches the node, 0 to 1.
    pub reached: f64,
    /// The part of the target's excess that is the node's own: what its callees do not explain, 0 to 1.
    pub own: f64,
    /// Calls from the target to the node.
    pub hops: usize,
    /// Why it stands where it stands.
    pub reasons: Vec<Reason>,
}

/// Why a candidate is one, or is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Its callees explain less than half of its excess.
    OwnExcess,
    /// Its callees explain at least half of its excess.
    ExplainedByCallees,
    /// It calls a node that has no normal: whatever that does is laid to its callers.
    CallsSomethingNew,
    /// It has no normal to be compared with.
    NoHistory,
    /// It had data in nine of ten normal rows, and has none in the rows of the alert: down, or not called any more.
    SilentNow,
    /// It is no worse than normal in the rows of the alert.
    NoExcess,
    /// It was as bad in the quiet rows.
    NotWithTheTarget,
}

/// A node that may be the cause.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// The node.
    pub node: String,
    /// `inference.own × evidence.surprise`; 0: nothing speaks for it.
    pub score: f64,
    /// What was seen.
    pub evidence: Evidence,
    /// What follows from the graph.
    pub inference: Inference,
}

/// Ranks the nodes that can be reached from `target`, most likely cause first; ties by name.
///
/// `calls` are pairs (caller, callee) of indices in `nodes`.
///
/// # Panics
/// If an index is none of `nodes`.
pub fn rank_causes(nodes: &[Measured], calls: &[(usize, usize)], target: usize, metric: Metric) -> Vec<Candidate> {
    let deviations = nodes.iter().map(|node| Deviation::of(node, metric)).collect::<Vec<_>>();
    let weights = weights(&deviations[target]);
    let excess = deviations.iter().map(|it| contrast(&it.excess, &weights)).collect::<Vec<_>>();
    // Fewer requests come from callers, everything else from callees.
    let calls = Calls::new(nodes.len(), calls, metric == Metric::Requests);
    let flows = hand_down(&calls, &excess, target);
    let mut candidates = Vec::new();
    for (index, hops) in calls.reachable(target) {
        let (deviation, flow) = (&deviations[index], flows[index]);
        let surprise = if excess[index] > 0.0 { deviation.surprise(&weights) } else { 0.0 };
        let reasons = reasons(index, &calls, &deviations, &weights, (&excess, flow.own, flow.reached));
        candidates.push(Candidate {
            node: nodes[index].name.clone(),
            score: flow.own * surprise,
            evidence: deviation.evidence(&nodes[index], &weights, (excess[index], surprise)),
            inference: Inference { reached: flow.reached, own: flow.own, hops, reasons },
        });
    }
    candidates.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.node.cmp(&b.node)));
    candidates.truncate(MAX_CANDIDATES);
    candidates
}

fn reasons(
    index: usize,
    calls: &Calls,
    deviations: &[Deviation],
    weights: &excess::Weights,
    (excess, own, reached): (&[f64], f64, f64),
) -> Vec<Reason> {
    let deviation = &deviations[index];
    let mut reasons = Vec::new();
    if !deviation.has_history() {
        reasons.push(Reason::NoHistory);
    } else if deviation.is_silent(weights) {
        reasons.push(Reason::SilentNow);
    } else if excess[index] > 0.0 {
        reasons.push(if own * 2.0 > reached { Reason::OwnExcess } else { Reason::ExplainedByCallees });
    } else if contrast(&deviation.excess, &weights.without_quiet()) > 0.0 {
        reasons.push(Reason::NotWithTheTarget);
    } else {
        reasons.push(Reason::NoExcess);
    }
    let is_new = |callee: &usize| !deviations[*callee].has_history() && deviations[*callee].has_data(weights);
    if calls.callees(index).iter().any(is_new) {
        reasons.push(Reason::CallsSomethingNew);
    }
    reasons
}
