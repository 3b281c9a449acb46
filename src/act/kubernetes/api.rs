//! [`Api`]: makes requests to a Kubernetes API server, and reads in its answers that what was asked for is so.
//!
//! A Pod is evicted only if it is older than the command: one that is younger was begun again after the command was issued,
//! be it by this command before a crash. Its clock and that of the API server may differ by less than a Pod takes to be made.
//! An eviction that a disruption budget forbids for now is asked for again until the command expires.

use super::{Requests, is_name};
use crate::act::book::Book;
use crate::act::executor::{Executor, Undone};
use crate::alerts::time;
use crate::ports::PortError;
use crate::post::{Client, Undelivered};
use evenkeel_schemas::{Command, CommandKind};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long an answer may take; other commands wait meanwhile.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Longest answer that is read, bytes: more than etcd takes of an object.
const MAX_ANSWER_BYTES: u64 = 4 << 20;

/// Where objects are in answers that commands change.
const REPLICAS: &str = "/spec/replicas";
const CONTAINERS: &str = "/spec/template/spec/containers";
const UNSCHEDULABLE: &str = "/spec/unschedulable";

/// Makes requests.
pub struct Api {
    url: String,
    token_file: PathBuf,
    client: Client,
    requests: Requests,
}

impl Api {
    /// One for the API server at `url`, trusted by `ca_file`; the token of its service account is what `token_file` holds at
    /// the time of a request: tokens are replaced now and then.
    ///
    /// # Errors
    /// `Fatal` if the URL is none, or a file cannot be read.
    pub fn new(url: &str, token_file: &Path, ca_file: &Path, requests: Requests) -> Result<Self, PortError> {
        if !url.starts_with("https://") {
            return Err(PortError::Fatal(format!("{url:?}: an API server's URL begins with https://")));
        }
        let url = url.trim_end_matches('/').to_owned();
        let api =
            Self { url, token_file: token_file.to_owned(), client: Client::new(TIMEOUT, Some(ca_file))?, requests };
        api.token().map_err(PortError::Fatal)?;
        Ok(api)
    }

    fn token(&self) -> Result<String, String> {
        let said = |why: &str| format!("token {}: {why}", self.token_file.display());
        let token = std::fs::read_to_string(&self.token_file).map_err(|error| said(&error.to_string()))?;
        let token = token.trim();
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(said("it holds no token"));
        }
        Ok(token.to_owned())
    }

    fn ask(&self, method: &str, path: &str, body: Option<(&str, &Value)>) -> Result<Value, Undone> {
        let token = self.token().map_err(Undone::Later)?;
        let (url, body) = (format!("{}{path}", self.url), body.map(|(kind, body)| (kind, body.to_string())));
        let answer = self.client.authorized((method, &url, &token), body, MAX_ANSWER_BYTES);
        match answer {
            Ok(said) => serde_json::from_str(&said).map_err(|_| Undone::Later("the answer is no JSON".to_owned())),
            Err(Undelivered::Retry(why)) => Err(Undone::Later(message(&why))),
            Err(Undelivered::Refused(why)) => Err(Undone::Refused(message(&why))),
        }
    }

    /// What is to be told of a Pod that is not to be evicted any more; nothing is said of one that is.
    fn begun_again(&self, command: &Command) -> Result<Option<String>, Undone> {
        if !is_name(&command.target) {
            return Ok(None);
        }
        let pod = self.ask("GET", &self.requests.pod(&command.target), None)?;
        let began = pod.pointer("/metadata/creationTimestamp").and_then(Value::as_str).unwrap_or_default();
        let is_younger = time::parse(began).is_some_and(|began_us| began_us > command.at_us);
        let is_going = pod.pointer("/metadata/deletionTimestamp").is_some();
        Ok((is_younger || is_going).then(|| format!("it was begun at {began}, or is being stopped: after the command")))
    }
}

/// What an API server says in an answer that is a `Status`; anything else as it is.
fn message(why: &str) -> String {
    let (code, said) = why.split_once(": ").unwrap_or(("", why));
    let status = serde_json::from_str::<Value>(said).ok();
    let message = status.as_ref().and_then(|status| status["message"].as_str());
    message.map_or_else(|| why.to_owned(), |message| format!("{code}: {message}"))
}

/// What the answer to a request has to show.
fn shown(command: &Command, wanted: &Value, answer: &Value) -> Result<String, Undone> {
    let (at, wanted) = match command.kind {
        CommandKind::RestartNode => return Ok("evicted".to_owned()),
        CommandKind::Scale => (REPLICAS, wanted.pointer(REPLICAS).cloned()),
        CommandKind::Drain => (UNSCHEDULABLE, wanted.pointer(UNSCHEDULABLE).cloned()),
        _ => (CONTAINERS, wanted.pointer(CONTAINERS).map(|all| all[0]["image"].clone())),
    };
    let found = match (command.kind, answer.pointer(at)) {
        // What is not there is false.
        (CommandKind::Drain, found) => Some(found.cloned().unwrap_or(json!(false))),
        (_, Some(Value::Array(all))) => {
            all.iter().find(|it| it["name"] == command.service.as_str()).map(|it| it["image"].clone())
        }
        (_, found) => found.cloned(),
    };
    let said = |value: &Option<Value>| value.as_ref().map_or("nothing".to_owned(), Value::to_string);
    if found != wanted {
        return Err(Undone::Failed(format!("{at} is {} after it, not {}", said(&found), said(&wanted))));
    }
    Ok(format!("{} is {}", at.rsplit('/').next().unwrap_or(at), said(&found)))
}

impl Executor for Api {
    fn concern(&self, command: &Command) -> Option<String> {
        Requests::concern(command)
    }

    fn execute(&mut self, command: &Command, _book: &mut Book) -> Result<String, Undone> {
        let request = self.requests.of(command)?;
        if command.kind == CommandKind::RestartNode
            && let Some(begun) = self.begun_again(command)?
        {
            return Ok(begun);
        }
        let answer = self.ask(request.method, &request.path, Some((request.content_type, &request.body)))?;
        shown(command, &request.body, &answer)
    }

    fn longest_pause(&self) -> Duration {
        LONGEST_PAUSE
    }
}
