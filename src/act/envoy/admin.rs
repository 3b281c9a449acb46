//! [`Admin`]: what an Envoy says of its endpoints, by its admin interface.

use super::endpoints::list;
use super::render::Host;
use crate::act::executor::Undone;
use crate::ports::PortError;
use crate::post::{Client, Undelivered};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Longest answer that is read, bytes: some 1,500 for each endpoint.
const MAX_ANSWER_BYTES: u64 = 16 << 20;

/// The admin interface of an Envoy.
#[derive(Clone, Debug)]
pub struct Admin {
    url: String,
    client: Client,
}

/// What an Envoy knows of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cluster {
    /// Whether it has one of that name at all.
    pub is_known: bool,
    /// `health_status` and weight, by address.
    hosts: BTreeMap<String, (String, u64)>,
    /// Addresses of those that fail Envoy's own checks.
    pub failing: BTreeSet<String>,
    /// So many updates were rejected since it began.
    pub rejected: u64,
}

impl Admin {
    /// That at `url`, as `http://127.0.0.1:9901`.
    ///
    /// # Errors
    /// `Fatal` if the URL is none.
    pub fn new(url: &str) -> Result<Self, PortError> {
        if !url.starts_with("http://") {
            return Err(PortError::Fatal(format!("{url:?}: write Envoy's admin interface as http://127.0.0.1:9901")));
        }
        Ok(Self { url: url.trim_end_matches('/').to_owned(), client: Client::new(TIMEOUT, None)? })
    }

    /// What it knows of a cluster.
    ///
    /// # Errors
    /// `Later` if it does not answer.
    pub fn cluster(&self, name: &str) -> Result<Cluster, Undone> {
        let mut cluster = Cluster::default();
        let statuses = self.ask(&format!("clusters?format=json&filter=%5E{name}%24"))?;
        for found in list(&statuses["cluster_statuses"]).iter().filter(|found| found["name"] == name) {
            cluster.is_known = true;
            for host in list(&found["host_statuses"]) {
                let (socket, health) = (&host["address"]["socket_address"], &host["health_status"]);
                let address = format!("{}:{}", socket["address"].as_str().unwrap_or_default(), socket["port_value"]);
                let fails = |check: &str| health[check] == true;
                if ["failed_active_health_check", "failed_outlier_check", "pending_active_hc"].into_iter().any(fails) {
                    cluster.failing.insert(address.clone());
                }
                let status = health["eds_health_status"].as_str().unwrap_or_default().to_owned();
                cluster.hosts.insert(address, (status, host["weight"].as_u64().unwrap_or_default()));
            }
        }
        let counter = format!("cluster.{name}.update_rejected");
        let counters = self.ask(&format!("stats?format=json&filter=%5E{counter}%24"))?;
        let counters = list(&counters["stats"]).iter().filter(|found| found["name"] == counter.as_str());
        cluster.rejected = counters.filter_map(|found| found["value"].as_u64()).sum();
        Ok(cluster)
    }

    fn ask(&self, what: &str) -> Result<Value, Undone> {
        let answer = self.client.get(&format!("{}/{what}", self.url), MAX_ANSWER_BYTES);
        let answer = answer.map_err(|error| match error {
            Undelivered::Retry(why) => Undone::Later(format!("{}: {why}", self.url)),
            Undelivered::Refused(why) => Undone::Failed(format!("{}: {why}", self.url)),
        })?;
        serde_json::from_str(&answer).map_err(|error| Undone::Failed(format!("{}: {error}", self.url)))
    }
}

impl Cluster {
    /// What is not yet as it is to be, in a few words; `None` if all is.
    pub fn differs(&self, hosts: &[Host]) -> Option<String> {
        for Host { node, address, status, weight, .. } in hosts {
            match self.hosts.get(address) {
                Some(now) if *now == (status.clone(), *weight) => {}
                Some((now, weighs)) => return Some(format!("{node} is {now}, weight {weighs}")),
                None => return Some(format!("{node} is not there")),
            }
        }
        let is_wanted = |address: &String| hosts.iter().any(|host| host.address == *address);
        let mut others = self.hosts.keys().filter(|_| self.hosts.len() > hosts.len());
        others.find(|address| !is_wanted(address)).map(|address| format!("{address} is there yet"))
    }
}
