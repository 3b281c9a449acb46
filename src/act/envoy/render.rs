//! [`Rendered`]: what Envoy is to read, of what the operator has and what is wanted.

use super::endpoints::{Endpoint, Endpoints, PARTS};
use super::overlay::{Circuit, Node, Overlay, Shift};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// An endpoint as Envoy is to have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// What commands call it.
    pub node: String,
    /// `ADDRESS:PORT`.
    pub address: String,
    /// `health_status`, as Envoy says it back.
    pub status: String,
    /// `load_balancing_weight`.
    pub weight: u64,
    /// Whether it has its whole share of requests, as far as is said here; it may fail Envoy's own checks.
    pub serves: bool,
}

/// A document for Envoy.
#[derive(Clone, Debug, PartialEq)]
pub struct Rendered {
    /// The bytes of the file: the same ones for the same endpoints and wishes.
    pub bytes: Vec<u8>,
    /// Its endpoints.
    pub hosts: Vec<Host>,
}

/// An endpoint on its way.
struct Draft<'a> {
    endpoint: &'a Endpoint,
    node: Node,
    status: &'a str,
    share: u128,
}

impl Endpoints {
    /// What Envoy is to read if `overlay` is wanted; a node on trial gets `trial_percent` of its share.
    pub fn render(&self, overlay: &Overlay, trial_percent: u32) -> Rendered {
        let mut drafts = self.all.iter().map(|endpoint| draft(endpoint, overlay, trial_percent)).collect::<Vec<_>>();
        drafts.retain(|draft| !draft.node.is_isolated);
        if let Some(shift) = &overlay.shift {
            move_to(shift, &mut drafts);
        }
        let is_shared_anew = overlay.shift.is_some() || drafts.iter().any(Draft::is_on_trial);
        let mut whole = BTreeMap::<u64, u128>::new();
        drafts.iter().for_each(|draft| *whole.entry(draft.endpoint.priority).or_default() += draft.share);
        let hosts = drafts.iter().map(|draft| {
            // Envoy allows no weight of 0, and 4294967295 for all of them together.
            let weight = (draft.share * PARTS / whole[&draft.endpoint.priority]).max(1) as u64;
            let host = Host {
                node: draft.endpoint.node.clone(),
                address: draft.endpoint.address.clone(),
                status: draft.status.to_owned(),
                weight: if is_shared_anew { weight } else { draft.endpoint.weight },
                serves: is_healthy(draft.status) && !draft.is_on_trial(),
            };
            (draft.endpoint.at, host)
        });
        let hosts = hosts.collect::<BTreeMap<_, _>>();
        Rendered { bytes: self.document(&hosts, is_shared_anew), hosts: hosts.into_values().collect() }
    }

    fn document(&self, hosts: &BTreeMap<(usize, usize), Host>, is_shared_anew: bool) -> Vec<u8> {
        let mut resources = self.document["resources"].clone();
        let localities = resources[0]["endpoints"].as_array_mut().into_iter().flatten();
        for (first, locality) in localities.enumerate() {
            let (mut second, mut weights) = (0, 0);
            if let Some(endpoints) = locality["lb_endpoints"].as_array_mut() {
                endpoints.retain_mut(|endpoint| {
                    let host = hosts.get(&(first, second));
                    second += 1;
                    let Some(host) = host else { return false };
                    endpoint["health_status"] = host.status.as_str().into();
                    endpoint["load_balancing_weight"] = host.weight.into();
                    weights += host.weight;
                    true
                });
            }
            if is_shared_anew && locality["load_balancing_weight"].is_u64() {
                locality["load_balancing_weight"] = weights.max(1).into();
            }
        }
        let mut version = String::new();
        for byte in &Sha256::digest(resources.to_string().as_bytes())[..8] {
            let _ = write!(version, "{byte:02x}");
        }
        let document: Value = json!({"version_info": version, "resources": resources});
        serde_json::to_vec_pretty(&document).expect("a document of ours is JSON")
    }
}

impl Draft<'_> {
    fn is_on_trial(&self) -> bool {
        self.node.circuit == Circuit::HalfOpen
    }
}

/// Whether Envoy sends requests to endpoints of a status whenever it can.
fn is_healthy(status: &str) -> bool {
    matches!(status, "UNKNOWN" | "HEALTHY")
}

fn draft<'a>(endpoint: &'a Endpoint, overlay: &Overlay, trial_percent: u32) -> Draft<'a> {
    let node = overlay.nodes.get(&endpoint.node).copied().unwrap_or_default();
    let status = match endpoint.status.as_str() {
        _ if node.circuit == Circuit::Open => "UNHEALTHY",
        "UNKNOWN" | "HEALTHY" | "DEGRADED" if node.is_drained => "DRAINING",
        "UNKNOWN" => "HEALTHY",
        // Whom the operator took out is not brought in.
        status => status,
    };
    let percent = if node.circuit == Circuit::HalfOpen { trial_percent } else { 100 };
    Draft { endpoint, node, status, share: endpoint.share * u128::from(percent) }
}

/// Gives so much to those it is moved to, unless they have more anyway, or none of them is healthy. Only those of the first
/// priority are asked: weights move nothing between priorities.
fn move_to(shift: &Shift, drafts: &mut [Draft<'_>]) {
    let first = drafts.iter().map(|draft| draft.endpoint.priority).min().unwrap_or_default();
    let sum = |drafts: &[Draft<'_>], is_there: bool| {
        let serving = drafts.iter().filter(|draft| is_healthy(draft.status) && draft.endpoint.priority == first);
        serving.filter(|draft| draft.endpoint.is_of(shift) == is_there).map(|draft| draft.share).sum::<u128>()
    };
    let (there, elsewhere) = (sum(drafts, true), sum(drafts, false));
    let percent = u128::from(shift.percent);
    if there == 0 || there * 100 >= percent * (there + elsewhere) {
        return;
    }
    for draft in drafts.iter_mut().filter(|draft| draft.endpoint.priority == first) {
        let is_there = draft.endpoint.is_of(shift);
        if shift.percent == 100 {
            // A weight of 1 would be a few requests yet.
            draft.status = if is_there || !is_healthy(draft.status) { draft.status } else { "DRAINING" };
        } else {
            draft.share *= if is_there { percent * elsewhere } else { (100 - percent) * there };
        }
    }
}
