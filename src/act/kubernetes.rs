//! [`DryRun`]: writes down the requests to a Kubernetes API server that commands amount to, one file a command.
//!
//! | command | request |
//! |---|---|
//! | `scale` | server-side apply of the Deployment's `replicas` |
//! | `restart_node` | eviction of the Pod, which heeds disruption budgets |
//! | `drain`, taken back with `undo` | merge patch of the Node's `unschedulable` |
//! | `rollback`, `redeploy` | server-side apply of the Deployment's image |
//!
//! Each file is JSON: `method`, `path` with its query, `content_type` and `body`. A service is a Deployment of its name, with
//! a container of its name; a node is the Pod, or for `drain` the Node, of its name. Who carries them out, e.g. with
//! `kubectl create --raw`, sees what will be done before it is done.

use super::book::Book;
use super::executor::{Executor, Undone};
use crate::embedded::disk::{make_directory, replace_file};
use crate::ports::PortError;
use evenkeel_schemas::{Command, CommandKind};
use serde_json::{Value, json};
use std::path::PathBuf;

/// Who owns the fields that are applied.
const FIELD_MANAGER: &str = "fieldManager=evenkeel&force=true";

/// YAML is a superset of JSON.
const APPLY: &str = "application/apply-patch+yaml";

/// Writes requests down.
#[derive(Debug)]
pub struct DryRun {
    directory: PathBuf,
    namespace: String,
    repository: String,
}

impl DryRun {
    /// One that writes into `directory`, about Deployments of `namespace`; `repository` is where images are, with
    /// `{service}` for the service.
    ///
    /// # Errors
    /// `Retry` if the directory cannot be made, `Fatal` if a name is none.
    pub fn new(directory: PathBuf, namespace: &str, repository: &str) -> Result<Self, PortError> {
        if !is_name(namespace) {
            return Err(PortError::Fatal(format!("{namespace:?} is no namespace: write a DNS label, as `shop`")));
        }
        make_directory(&directory)?;
        Ok(Self { directory, namespace: namespace.to_owned(), repository: repository.to_owned() })
    }

    fn request(&self, command: &Command) -> Result<Value, Undone> {
        let Command { kind, target, service, params, .. } = command;
        if let Some(wrong) = [service, target].into_iter().find(|name| !is_name(name)) {
            return Err(Undone::Refused(format!("{wrong:?} is no name of a Kubernetes object")));
        }
        let param = |name: &str| {
            let missing = || Undone::Refused(format!("it says no `{name}`: nothing to do it with"));
            params.get(name).filter(|value| !value.is_empty()).ok_or_else(missing)
        };
        let core = format!("/api/v1/namespaces/{}", self.namespace);
        Ok(match kind {
            CommandKind::Scale => {
                let replicas = param("replicas")?.parse::<u32>();
                let replicas = replicas.map_err(|_| Undone::Refused("`replicas` is no number".to_owned()))?;
                self.deployment(service, json!({"replicas": replicas}))
            }
            CommandKind::Rollback => self.image(service, &format!(":{}", param("to")?))?,
            CommandKind::Redeploy => self.image(service, &format!("@{}", param("digest")?))?,
            CommandKind::RestartNode => {
                let metadata = json!({"name": target, "namespace": self.namespace});
                let body = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata});
                let path = format!("{core}/pods/{target}/eviction");
                json!({"method": "POST", "path": path, "content_type": "application/json", "body": body})
            }
            _ => {
                let (path, body) =
                    (format!("/api/v1/nodes/{target}"), json!({"spec": {"unschedulable": !command.undo}}));
                json!({"method": "PATCH", "path": path, "content_type": "application/merge-patch+json", "body": body})
            }
        })
    }

    fn image(&self, service: &str, tag: &str) -> Result<Value, Undone> {
        let is_tag = tag[1..].bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-:".contains(&byte));
        if !is_tag {
            return Err(Undone::Refused(format!("{tag:?} is no tag or digest of an image")));
        }
        let image = format!("{}{tag}", self.repository.replace("{service}", service));
        let containers = json!([{"name": service, "image": image}]);
        Ok(self.deployment(service, json!({"template": {"spec": {"containers": containers}}})))
    }

    fn deployment(&self, name: &str, spec: Value) -> Value {
        let path = format!("/apis/apps/v1/namespaces/{}/deployments/{name}?{FIELD_MANAGER}", self.namespace);
        let metadata = json!({"name": name, "namespace": self.namespace});
        let body = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec});
        json!({"method": "PATCH", "path": path, "content_type": APPLY, "body": body})
    }
}

impl Executor for DryRun {
    fn concern(&self, command: &Command) -> Option<String> {
        use CommandKind::{Drain, Redeploy, RestartNode, Rollback, Scale};
        let target = format!("{}/{}", command.service, command.target);
        match command.kind {
            // Both set the image.
            Rollback | Redeploy => Some(format!("image of {target}")),
            Scale | RestartNode | Drain => Some(format!("{} of {target}", command.kind.name())),
            _ => None,
        }
    }

    fn execute(&mut self, command: &Command, _book: &mut Book) -> Result<String, Undone> {
        let request = self.request(command)?;
        if !is_name(&command.command_id.to_lowercase()) {
            return Err(Undone::Refused("its id is no name for a file".to_owned()));
        }
        let path = self.directory.join(format!("{}.json", command.command_id));
        let bytes = serde_json::to_vec_pretty(&request).expect("a request of ours is JSON");
        // A crash here leaves it to be written again, the same.
        replace_file(&path, &path.with_extension("draft"), &bytes)?;
        Ok(format!("written down: {} {}", request["method"].as_str().unwrap_or_default(), path.display()))
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
