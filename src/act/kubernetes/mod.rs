//! Kubernetes: [`Requests`] to its API server that commands amount to; [`Api`] makes them, [`DryRun`] writes them down.
//!
//! | command | request |
//! |---|---|
//! | `scale` | server-side apply of the Deployment's `replicas` |
//! | `restart_node` | eviction of the Pod, which heeds disruption budgets |
//! | `drain`, taken back with `undo` | merge patch of the Node's `unschedulable` |
//! | `rollback`, `redeploy` | server-side apply of the Deployment's image |
//!
//! A service is a Deployment of its name, with a container of its name; a node is the Pod, or for `drain` the Node, of its
//! name. All of them can be made again and change nothing more, but for an eviction, see [`Api`].
//!
//! # Decision
//! Replicas and image have field managers of their own. What a manager applies is all that it wants: an image applied by the
//! manager of the replicas would give the replicas up, and the API server sets them to 1 then (Kubernetes documentation,
//! "Server-Side Apply").

mod api;
mod dry_run;

pub use api::Api;
pub use dry_run::DryRun;

use super::executor::Undone;
use crate::ports::PortError;
use evenkeel_schemas::{Command, CommandKind};
use serde::Serialize;
use serde_json::{Value, json};

/// YAML is a superset of JSON.
const APPLY: &str = "application/apply-patch+yaml";

/// A request to an API server.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Request {
    /// Its method.
    pub method: &'static str,
    /// Its path, with the query.
    pub path: String,
    /// What its body is.
    pub content_type: &'static str,
    /// Its body.
    pub body: Value,
}

/// What commands amount to.
#[derive(Clone, Debug)]
pub struct Requests {
    namespace: String,
    repository: String,
}

impl Requests {
    /// About Deployments of `namespace`; `repository` is where images are, with `{service}` for the service.
    ///
    /// # Errors
    /// `Fatal` if the name is none.
    pub fn new(namespace: &str, repository: &str) -> Result<Self, PortError> {
        if !is_name(namespace) {
            return Err(PortError::Fatal(format!("{namespace:?} is no namespace: write a DNS label, as `shop`")));
        }
        Ok(Self { namespace: namespace.to_owned(), repository: repository.to_owned() })
    }

    /// What a command changes; `None` if it is not Kubernetes that carries it out.
    fn concern(command: &Command) -> Option<String> {
        use CommandKind::{Drain, Redeploy, RestartNode, Rollback, Scale};
        let target = format!("{}/{}", command.service, command.target);
        match command.kind {
            // Both set the image.
            Rollback | Redeploy => Some(format!("image of {target}")),
            Scale | RestartNode | Drain => Some(format!("{} of {target}", command.kind.name())),
            _ => None,
        }
    }

    fn of(&self, command: &Command) -> Result<Request, Undone> {
        let Command { kind, target, service, params, .. } = command;
        if let Some(wrong) = [service, target].into_iter().find(|name| !is_name(name)) {
            return Err(Undone::Refused(format!("{wrong:?} is no name of a Kubernetes object")));
        }
        let param = |name: &str| {
            let missing = || Undone::Refused(format!("it says no `{name}`: nothing to do it with"));
            params.get(name).filter(|value| !value.is_empty()).ok_or_else(missing)
        };
        Ok(match kind {
            CommandKind::Scale => {
                let replicas = param("replicas")?.parse::<u32>();
                let replicas = replicas.map_err(|_| Undone::Refused("`replicas` is no number".to_owned()))?;
                self.deployment((service, "replicas"), json!({"replicas": replicas}))
            }
            CommandKind::Rollback => self.image(service, &format!(":{}", param("to")?))?,
            CommandKind::Redeploy => self.image(service, &format!("@{}", param("digest")?))?,
            CommandKind::RestartNode => {
                let metadata = json!({"name": target, "namespace": self.namespace});
                let body = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata});
                let path = format!("{}/eviction", self.pod(target));
                Request { method: "POST", path, content_type: "application/json", body }
            }
            _ => {
                let body = json!({"spec": {"unschedulable": !command.undo}});
                let path = format!("/api/v1/nodes/{target}");
                Request { method: "PATCH", path, content_type: "application/merge-patch+json", body }
            }
        })
    }

    fn image(&self, service: &str, tag: &str) -> Result<Request, Undone> {
        let is_tag = tag[1..].bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-:".contains(&byte));
        if !is_tag {
            return Err(Undone::Refused(format!("{tag:?} is no tag or digest of an image")));
        }
        let image = format!("{}{tag}", self.repository.replace("{service}", service));
        let containers = json!([{"name": service, "image": image}]);
        Ok(self.deployment((service, "image"), json!({"template": {"spec": {"containers": containers}}})))
    }

    fn deployment(&self, (name, part): (&str, &str), spec: Value) -> Request {
        let namespace = &self.namespace;
        let path =
            format!("/apis/apps/v1/namespaces/{namespace}/deployments/{name}?fieldManager=evenkeel-{part}&force=true");
        let metadata = json!({"name": name, "namespace": namespace});
        let body = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec});
        Request { method: "PATCH", path, content_type: APPLY, body }
    }

    /// The path of a Pod.
    fn pod(&self, name: &str) -> String {
        format!("/api/v1/namespaces/{}/pods/{name}", self.namespace)
    }
}

/// A DNS label or subdomain (RFC 1123), as names of objects are.
fn is_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
    let is_edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    (1..=253).contains(&name.len())
        && name.bytes().all(fits)
        && is_edge(name.bytes().next())
        && is_edge(name.bytes().last())
}
