//! [`Envoy`]: carries out circuits, drains, isolation and moved requests at Envoy, by files that it watches (xDS from the
//! file system, v3).
//!
//! For each service `S`, `S.json` in the operator's directory says which [`Endpoints`] there are; what is wanted of them is
//! laid over it, and written as `S.json` into the directory that Envoy watches, in one rename. Nothing else is written, and
//! no endpoint invented. What Envoy needs for it (`service` is the cluster, `node` the endpoint's `hostname`):
//! ```yaml
//! clusters:
//! - name: app
//!   type: EDS
//!   lb_policy: ROUND_ROBIN                  # or LEAST_REQUEST: RANDOM knows no weights
//!   ignore_health_on_host_removal: true     # else a node that is isolated stays while its health checks pass
//!   common_lb_config: {healthy_panic_threshold: {value: 0}}
//!   eds_cluster_config:
//!     eds_config:
//!       resource_api_version: V3
//!       path_config_source: {path: /etc/envoy/eds/app.json, watched_directory: {path: /etc/envoy/eds}}
//! ```
//! Without that threshold, Envoy sends requests to all endpoints, those taken out, too, once less than half are healthy.
//!
//! | command | Envoy |
//! |---|---|
//! | `trip_circuit`, `half_open`, `close_circuit` of a node | `UNHEALTHY`; a part of its weight; as the operator has it |
//! | `drain` of a node | `DRAINING`: sessions that stick to it go on where `override_host_status` says so |
//! | `isolate` of a node | not there: no request in panic either, and its connections end |
//! | `reroute` to a region, zone or sub-zone; `split_traffic` to a `version` of `envoy.lb` | weights, so that it has `percent` of the requests or what it had, if that was more; at 100 the others are `DRAINING` |
//!
//! # Decision
//! * The operator's file stays his: what was done is undone by taking it off, and a new list of endpoints takes effect
//!   within [`LOOK`]. Envoy forgets nothing when it is started anew, for the file is there.
//! * Weights are written in parts of a million while they are not the operator's, for a weight of 1 cannot be parted.
//! * Success is what Envoy shows (`/clusters`), if its admin interface is known; else the answer says that it was written.
//!   What Envoy did not take within [`SEEN_WITHIN`], or rejected, is taken back and has failed.
//! * A service's last endpoint that serves is never taken out, whatever was asked; one on trial, or that fails Envoy's own
//!   checks, does not serve.
//! * Requests are not turned away (`throttle`) and errors not replaced here: endpoints have nothing for that.

mod admin;
mod endpoints;
mod overlay;
mod render;
#[cfg(test)]
mod tests;

pub use admin::Admin;
pub use endpoints::{Endpoints, MAX_ENDPOINTS};
pub use overlay::Overlay;

use super::book::Book;
use super::executor::{Executor, Undone};
use crate::embedded::disk::{make_directory, replace_file, retry};
use crate::ports::PortError;
use admin::Cluster;
use evenkeel_schemas::{Command, CommandKind};
use overlay::Shift;
use render::Rendered;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// So often the operator's files are looked at.
pub const LOOK: Duration = Duration::from_secs(1);

/// So long Envoy has to take what was written.
pub const SEEN_WITHIN: Duration = Duration::from_secs(5);

/// Pause between two looks at Envoy.
const SEEN_PAUSE: Duration = Duration::from_millis(20);

/// Most services.
const MAX_SERVICES: usize = 1_000;

/// Carries out commands at Envoy.
pub struct Envoy {
    operator: PathBuf,
    watched: PathBuf,
    admins: Vec<Admin>,
    trial_percent: u32,
    services: BTreeMap<String, Endpoints>,
    looked_at: Option<Instant>,
}

impl Envoy {
    /// One that lays what is wanted over the files in `operator`, for every Envoy that reads `watched`; those of `admins` are
    /// asked whether they took it. A node on trial gets `trial_percent` of its share.
    ///
    /// # Errors
    /// `Fatal` if there are no such files, or one is wrong; `Retry` if a directory cannot be made.
    pub fn new(operator: &Path, watched: &Path, admins: Vec<Admin>, trial_percent: u32) -> Result<Self, PortError> {
        make_directory(watched)?;
        let is_same = |one: &Path, other: &Path| one.canonicalize().ok() == other.canonicalize().ok();
        if is_same(operator, watched) {
            return Err(PortError::Fatal(format!("{}: Envoy's files have to be others", operator.display())));
        }
        let mut services = BTreeMap::new();
        for service in listed(operator)? {
            services.insert(service.clone(), Endpoints::read(&file(operator, &service), &service)?);
        }
        if services.is_empty() || services.len() > MAX_SERVICES {
            let why = format!("{} files SERVICE.json, 1 to {MAX_SERVICES} can be", services.len());
            return Err(PortError::Fatal(format!("{}: {why}", operator.display())));
        }
        let (operator, watched) = (operator.to_owned(), watched.to_owned());
        Ok(Self { operator, watched, admins, trial_percent, services, looked_at: None })
    }

    /// Brings Envoy to what is wanted of a service; whether that was news.
    fn bring(&self, service: &str, rendered: &Rendered, before: &[Cluster]) -> Result<bool, Undone> {
        let path = file(&self.watched, service);
        let is_news = std::fs::read(&path).ok().as_deref() != Some(rendered.bytes.as_slice());
        if is_news {
            write(&path, &rendered.bytes)?;
        }
        // A crash here finds it written when the command is handed over again.
        self.see(service, rendered, before)?;
        Ok(is_news)
    }

    /// Waits until every Envoy that is asked shows what was written.
    fn see(&self, service: &str, rendered: &Rendered, before: &[Cluster]) -> Result<(), Undone> {
        let until = Instant::now() + SEEN_WITHIN;
        // Others may watch the directory for other services.
        for (admin, before) in self.admins.iter().zip(before).filter(|(_, before)| before.is_known) {
            loop {
                let why = match admin.cluster(service) {
                    Ok(now) if now.rejected > before.rejected => {
                        return Err(Undone::Failed("Envoy rejected the file: its log says why".to_owned()));
                    }
                    Ok(now) => now.differs(&rendered.hosts),
                    Err(Undone::Later(why) | Undone::Failed(why) | Undone::Refused(why)) => Some(why),
                };
                let Some(why) = why else { break };
                if Instant::now() >= until {
                    return Err(Undone::Failed(format!("Envoy did not take it within {SEEN_WITHIN:?}: {why}")));
                }
                std::thread::sleep(SEEN_PAUSE);
            }
        }
        Ok(())
    }
}

impl Executor for Envoy {
    fn concern(&self, command: &Command) -> Option<String> {
        use CommandKind::{CloseCircuit, Drain, HalfOpen, Isolate, Reroute, SplitTraffic, TripCircuit};
        let Command { kind, service, target, .. } = command;
        let endpoints = self.services.get(service)?;
        let is_own = match kind {
            TripCircuit | HalfOpen | CloseCircuit | Drain | Isolate => endpoints.has(target),
            Reroute | SplitTraffic => shift_of(command).is_some_and(|shift| endpoints.can_move(&shift)),
            _ => false,
        };
        is_own.then(|| format!("{} of {service}/{target}", kind.changes()))
    }

    fn execute(&mut self, command: &Command, book: &mut Book) -> Result<String, Undone> {
        let service = &command.service;
        let endpoints = Endpoints::read(&file(&self.operator, service), service)?;
        let overlay = book.overlays.get(service).cloned().unwrap_or_default();
        let mut wanted = overlay.after(command).map_err(Undone::Refused)?;
        // Of nodes that are gone nothing is known any longer.
        wanted.nodes.retain(|node, _| endpoints.has(node));
        let rendered = endpoints.render(&wanted, self.trial_percent);
        // First all is looked at, then it is touched.
        let before = self.admins.iter().map(|admin| admin.cluster(service)).collect::<Result<Vec<_>, _>>()?;
        let envoys = before.iter().filter(|cluster| cluster.is_known).count();
        if envoys == 0 && !before.is_empty() {
            // One that begins will.
            return Err(Undone::Later(format!("no Envoy that is asked has a cluster {service}")));
        }
        may_be(command, &rendered, &endpoints, &before)?;
        let brought = self.bring(service, &rendered, &before);
        // What has failed is not to come about later: what was wanted before is written anew at once.
        let is_news = brought.inspect_err(|_| self.looked_at = None)?;
        let detail = words(command, &rendered, is_news, envoys);
        self.services.insert(service.clone(), endpoints);
        match wanted.is_empty() {
            true => drop(book.overlays.remove(service)),
            false => drop(book.overlays.insert(service.clone(), wanted)),
        }
        Ok(detail)
    }

    /// Writes anew what the operator changed, or somebody else did.
    fn look_after(&mut self, book: &mut Book) -> bool {
        if self.looked_at.is_some_and(|at| at.elapsed() < LOOK) {
            return false;
        }
        self.looked_at = Some(Instant::now());
        let listed = match listed(&self.operator) {
            Ok(listed) => listed,
            Err(error) => {
                tracing::warn!(%error, "the operator's files are not looked at");
                return false;
            }
        };
        self.services.retain(|service, _| listed.contains(service));
        for service in listed.into_iter().take(MAX_SERVICES) {
            let none = Overlay::default();
            let overlay = book.overlays.get(&service).unwrap_or(&none);
            let looked = Endpoints::read(&file(&self.operator, &service), &service).and_then(|endpoints| {
                let (path, rendered) = (file(&self.watched, &service), endpoints.render(overlay, self.trial_percent));
                self.services.insert(service.clone(), endpoints);
                if std::fs::read(&path).is_ok_and(|bytes| bytes == rendered.bytes) {
                    return Ok(());
                }
                tracing::info!(service, "its endpoints are written anew");
                write(&path, &rendered.bytes)
            });
            // What Envoy has stays.
            looked.unwrap_or_else(|error| tracing::warn!(service, %error, "its endpoints are not written"));
        }
        false
    }
}

/// What a command moves, if it says where to.
fn shift_of(command: &Command) -> Option<Shift> {
    let to = command.params.get("to").filter(|to| !to.is_empty() && command.target == command.service)?;
    Some(Shift { kind: command.kind, to: to.clone(), percent: 100 })
}

/// Whether a command leaves somebody who serves, and moves requests to somebody who does.
fn may_be(command: &Command, rendered: &Rendered, endpoints: &Endpoints, seen: &[Cluster]) -> Result<(), Undone> {
    let brings_back = command.undo || matches!(command.kind, CommandKind::HalfOpen | CommandKind::CloseCircuit);
    if brings_back {
        return Ok(());
    }
    let serves = |host: &&render::Host| host.serves && !seen.iter().any(|seen| seen.failing.contains(&host.address));
    let serving = rendered.hosts.iter().filter(serves).map(|host| &host.address).collect::<Vec<_>>();
    let Command { service, target, .. } = command;
    if let Some(shift) = shift_of(command).filter(|_| !command.kind.takes_out()) {
        let mut there = endpoints.all.iter().filter(|endpoint| endpoint.is_of(&shift));
        if !there.any(|endpoint| serving.contains(&&endpoint.address)) {
            return Err(Undone::Refused(format!("no healthy endpoint of {service} is in {}", shift.to)));
        }
    }
    match serving.is_empty() {
        true => Err(Undone::Refused(format!("{target} is the last healthy endpoint of {service}"))),
        false => Ok(()),
    }
}

/// What Envoy was told, and whether it was seen to have taken it.
fn words(command: &Command, rendered: &Rendered, is_news: bool, envoys: usize) -> String {
    let host = rendered.hosts.iter().find(|host| host.node == command.target);
    let state = match (host, shift_of(command)) {
        (_, Some(shift)) => {
            let percent = command.params.get("percent").map_or(if command.undo { "0" } else { "100" }, String::as_str);
            format!("{percent} % to {}", shift.to)
        }
        (Some(host), None) => format!("{}, weight {}", host.status, host.weight),
        (None, None) => "not there".to_owned(),
    };
    let serving = rendered.hosts.iter().filter(|host| host.serves).count();
    let already = if is_news { "" } else { " already" };
    let seen = if envoys == 0 { "written, not seen".to_owned() } else { format!("seen by {envoys} Envoy") };
    let (service, target, all) = (&command.service, &command.target, rendered.hosts.len());
    format!("{service}/{target} {state}{already}; {serving} of {all} serve; {seen}")
}

fn file(directory: &Path, service: &str) -> PathBuf {
    directory.join(format!("{service}.json"))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), PortError> {
    replace_file(path, &path.with_extension("draft"), bytes)
}

/// The services of a directory: what its files `SERVICE.json` are called.
fn listed(directory: &Path) -> Result<Vec<String>, PortError> {
    let mut services = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(retry("list the directory", directory))? {
        let name = entry.map_err(retry("list the directory", directory))?.file_name();
        // Names go into URLs and into regular expressions, where a dot stands for itself, too.
        let is_name = |name: &&str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        services.extend(name.to_str().and_then(|name| name.strip_suffix(".json")).filter(is_name).map(str::to_owned));
    }
    services.sort_unstable();
    Ok(services)
}
