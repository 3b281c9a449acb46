//! [`Endpoints`]: the endpoints of a service as the operator has them, in Envoy's own form.
//!
//! A file is a `DiscoveryResponse` as JSON with one `ClusterLoadAssignment` (xDS v3), fields in `snake_case`:
//! ```json
//! {"resources": [{"@type": "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment", "cluster_name": "app",
//!   "endpoints": [{"locality": {"region": "eu"}, "lb_endpoints": [
//!     {"endpoint": {"hostname": "s1", "address": {"socket_address": {"address": "10.0.0.1", "port_value": 80}}},
//!      "metadata": {"filter_metadata": {"envoy.lb": {"version": "2.4.1"}}}, "load_balancing_weight": 100}]}]}]}
//! ```
//! A *node* is an endpoint by its `hostname` or, if it has none, `ADDRESS:PORT`: what `%UPSTREAM_HOST_NAME%` says in Envoy's
//! access log. What is not understood here is handed on as it is.

use super::overlay::Shift;
use crate::ports::PortError;
use evenkeel_schemas::CommandKind;
use serde_json::Value;
use std::path::Path;

/// Most endpoints of a service.
pub const MAX_ENDPOINTS: usize = 4_096;

/// Largest file, bytes.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// What shares of requests are counted in.
pub const PARTS: u128 = 1_000_000;

/// An endpoint as the operator has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Where it stands in the document: which locality, and which of its endpoints.
    pub at: (usize, usize),
    /// What commands call it.
    pub node: String,
    /// `ADDRESS:PORT`.
    pub address: String,
    /// Its `health_status`.
    pub status: String,
    /// Its `load_balancing_weight`.
    pub weight: u64,
    /// Its share of the service's requests if all endpoints were of one priority, parts of a million; at least 1.
    pub share: u128,
    /// Those of a higher number get what the others have no room for.
    pub priority: u64,
    /// Region, zone and sub-zone.
    locality: [String; 3],
    /// `version` in the metadata `envoy.lb`.
    version: String,
}

impl Endpoint {
    /// Whether requests that are moved go to it.
    pub fn is_of(&self, shift: &Shift) -> bool {
        match shift.kind {
            CommandKind::SplitTraffic => self.version == shift.to,
            _ => self.locality.contains(&shift.to),
        }
    }
}

/// The endpoints of a service.
#[derive(Clone, Debug, PartialEq)]
pub struct Endpoints {
    /// The whole document.
    pub document: Value,
    /// Every endpoint in it, in its order.
    pub all: Vec<Endpoint>,
}

impl Endpoints {
    /// Those of `service`, from its file.
    ///
    /// # Errors
    /// `Fatal` if it is none, and why.
    pub fn read(path: &Path, service: &str) -> Result<Self, PortError> {
        let failed = |why: String| PortError::Fatal(format!("{}: {why}", path.display()));
        let length = std::fs::metadata(path).map_err(|error| failed(error.to_string()))?.len();
        if length > MAX_FILE_BYTES {
            return Err(failed(format!("it has {length} bytes, at most {MAX_FILE_BYTES} can be")));
        }
        let bytes = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
        let document = serde_json::from_slice(&bytes).map_err(|error| failed(error.to_string()))?;
        Self::of(document, service).map_err(failed)
    }

    fn of(document: Value, service: &str) -> Result<Self, String> {
        let [assignment] = list(&document["resources"]) else {
            return Err("`resources` has to hold one ClusterLoadAssignment".to_owned());
        };
        if assignment["cluster_name"] != service {
            return Err(format!("its `cluster_name` is {}, its name says {service:?}", assignment["cluster_name"]));
        }
        let localities = list(&assignment["endpoints"]);
        let mut all = Vec::new();
        for (first, locality) in localities.iter().enumerate() {
            let named = ["region", "zone", "sub_zone"].map(|name| text(&locality["locality"][name]));
            is_snake_case(locality)?;
            for (second, endpoint) in list(&locality["lb_endpoints"]).iter().enumerate() {
                let mut endpoint =
                    endpoint_of(endpoint, (first, second)).map_err(|why| format!("{why}: {endpoint}"))?;
                endpoint.priority = locality["priority"].as_u64().unwrap_or(0);
                endpoint.locality = named.clone();
                all.push(endpoint);
            }
        }
        if all.is_empty() || all.len() > MAX_ENDPOINTS {
            return Err(format!("it has {} endpoints in `lb_endpoints`, 1 to {MAX_ENDPOINTS} can be", all.len()));
        }
        share_out(&mut all, localities);
        Ok(Self { document, all })
    }

    /// Whether an endpoint is of this name.
    pub fn has(&self, node: &str) -> bool {
        self.all.iter().any(|endpoint| endpoint.node == node)
    }

    /// Whether requests can be moved so: to some of the first priority, for weights move nothing between priorities.
    pub fn can_move(&self, shift: &Shift) -> bool {
        let first = self.all.iter().map(|endpoint| endpoint.priority).min();
        self.all.iter().any(|endpoint| endpoint.is_of(shift) && Some(endpoint.priority) == first)
    }
}

fn endpoint_of(value: &Value, at: (usize, usize)) -> Result<Endpoint, String> {
    is_snake_case(value)?;
    is_snake_case(&value["endpoint"])?;
    let socket = &value["endpoint"]["address"]["socket_address"];
    let (Some(address), Some(port)) = (socket["address"].as_str(), socket["port_value"].as_u64()) else {
        return Err("an endpoint needs `endpoint.address.socket_address` with `address` and `port_value`".to_owned());
    };
    let address = format!("{address}:{port}");
    let hostname = text(&value["endpoint"]["hostname"]);
    let node = if hostname.is_empty() { address.clone() } else { hostname };
    let status = match &value["health_status"] {
        Value::Null => "UNKNOWN".to_owned(),
        Value::String(status) => status.clone(),
        _ => return Err("`health_status` is written as a name".to_owned()),
    };
    let weight = match &value["load_balancing_weight"] {
        Value::Null => 1,
        weight => weight.as_u64().filter(|weight| (1..1 << 32).contains(weight)).ok_or("a weight is 1 or more")?,
    };
    let version = text(&value["metadata"]["filter_metadata"]["envoy.lb"]["version"]);
    let (share, priority, locality) = (0, 0, Default::default());
    Ok(Endpoint { at, node, address, status, weight, share, priority, locality, version })
}

/// What part of the requests each has, by its weight and, where localities have weights of their own, that of its locality.
fn share_out(all: &mut [Endpoint], localities: &[Value]) {
    let mut within = vec![0; localities.len()];
    all.iter().for_each(|endpoint| within[endpoint.at.0] += u128::from(endpoint.weight));
    let part = |endpoint: &Endpoint| {
        let weight = u128::from(endpoint.weight) * PARTS;
        let locality = localities[endpoint.at.0]["load_balancing_weight"].as_u64().filter(|weight| *weight < 1 << 32);
        locality.map_or(weight, |locality| weight * u128::from(locality) / within[endpoint.at.0])
    };
    let whole = all.iter().map(part).sum::<u128>().max(1);
    for endpoint in all {
        endpoint.share = (part(endpoint) * PARTS / whole).max(1);
    }
}

/// The items of a list; none if it is no list.
pub fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Envoy takes `healthStatus` for `health_status`: what would not be seen here is not taken.
fn is_snake_case(value: &Value) -> Result<(), String> {
    let mut names = value.as_object().into_iter().flat_map(serde_json::Map::keys);
    let other = names.find(|name| name.bytes().any(|byte| byte.is_ascii_uppercase()));
    other.map_or(Ok(()), |name| Err(format!("{name:?} is to be written in snake_case")))
}
