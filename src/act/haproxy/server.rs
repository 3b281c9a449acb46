//! [`Server`]: what HAProxy shows of a backend's servers.

use super::map::Place;
use super::runtime::Runtime;
use crate::ports::PortError;
use std::collections::BTreeMap;

/// In maintenance, by the Runtime API or by a person at the statistics page (`SRV_ADMF_FMAINT`).
const FORCED_MAINTENANCE: u32 = 0x01;

/// Drained, likewise (`SRV_ADMF_FDRAIN`).
const FORCED_DRAIN: u32 = 0x08;

/// A server as HAProxy shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    admin_state: u32,
    /// Its weight now.
    pub weight: u32,
    /// Its weight in HAProxy's configuration.
    pub initial_weight: u32,
    /// Whether it gets requests: no backup, up, and with a weight.
    pub serves: bool,
}

impl Server {
    /// Whether it is in maintenance.
    pub fn is_in_maintenance(&self) -> bool {
        self.admin_state & FORCED_MAINTENANCE != 0
    }

    /// Whether it is drained.
    pub fn is_drained(&self) -> bool {
        self.admin_state & FORCED_DRAIN != 0
    }

    /// In a few words, for outcomes.
    pub fn words(&self) -> String {
        let state = match (self.is_in_maintenance(), self.is_drained()) {
            (true, _) => "maint",
            (_, true) => "drain",
            _ => "ready",
        };
        format!("{state}, weight {} of {}", self.weight, self.initial_weight)
    }
}

/// The servers of a backend, by name. Two questions: `show servers state` tells what was ordered, `show stat` what is.
///
/// # Errors
/// `Retry` if HAProxy cannot be reached, `Fatal` if it has no such backend, or answers as no version known does.
pub fn servers(runtime: &Runtime, backend: &str) -> Result<BTreeMap<String, Server>, PortError> {
    let state = runtime.ask(&format!("show servers state {backend}"))?;
    let serving = serving(&runtime.ask(&format!("show stat {backend} 4 -1"))?);
    let wrong = || {
        let first = state.lines().next().unwrap_or_default();
        PortError::Fatal(format!("HAProxy at {}: backend {backend}: {first}", runtime.address))
    };
    // The first line is the format's version, the second names the columns.
    let mut lines = state.lines().filter(|line| !line.trim().is_empty());
    let (Some("1"), Some(header)) = (lines.next(), lines.next()) else { return Err(wrong()) };
    let columns = header.trim_start_matches("# ").split(' ').collect::<Vec<_>>();
    let column = |name: &str| columns.iter().position(|column| *column == name).ok_or_else(wrong);
    let at = ["srv_name", "srv_admin_state", "srv_uweight", "srv_iweight"].map(column);
    let [name, admin_state, weight, initial_weight] = at;
    let (name, admin_state, weight, initial_weight) = (name?, admin_state?, weight?, initial_weight?);
    let mut servers = BTreeMap::new();
    for line in lines {
        let fields = line.split(' ').collect::<Vec<_>>();
        let number = |at: usize| fields.get(at).and_then(|field| field.parse::<u32>().ok()).ok_or_else(wrong);
        let name = (*fields.get(name).ok_or_else(wrong)?).to_owned();
        let serves = serving.get(&name).copied().unwrap_or(false);
        let (admin_state, weight, initial_weight) = (number(admin_state)?, number(weight)?, number(initial_weight)?);
        servers.insert(name, Server { admin_state, weight, initial_weight, serves });
    }
    Ok(servers)
}

/// One server.
///
/// # Errors
/// As [`servers`]; `Fatal` if the backend has no such server.
pub fn server(runtime: &Runtime, place: &Place) -> Result<Server, PortError> {
    servers(runtime, &place.backend)?
        .remove(&place.server)
        .ok_or_else(|| PortError::Fatal(format!("HAProxy at {} has no server {place}", runtime.address)))
}

/// Which servers of a `show stat` get requests.
fn serving(stat: &str) -> BTreeMap<String, bool> {
    let mut rows = csv::ReaderBuilder::new().flexible(true).from_reader(stat.trim_start_matches("# ").as_bytes());
    let Ok(header) = rows.headers().cloned() else { return BTreeMap::new() };
    let column = |name: &str| header.iter().position(|column| column == name);
    let (Some(name), Some(status), Some(weight), Some(active)) =
        (column("svname"), column("status"), column("weight"), column("act"))
    else {
        return BTreeMap::new();
    };
    let row = |row: csv::StringRecord| {
        let (status, weight) = (row.get(status)?, row.get(weight)?.parse::<u32>().ok()?);
        let is_up = status.starts_with("UP") || status == "no check";
        Some((row.get(name)?.to_owned(), is_up && weight > 0 && row.get(active)? == "1"))
    };
    rows.records().filter_map(|record| row(record.ok()?)).collect()
}
