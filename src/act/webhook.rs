//! [`Webhook`]: hands commands to an HTTP server, as signed CloudEvents; its answer is the outcome.
//!
//! * 2xx: done, and the first line of the answer says how.
//! * 408, 429, 5xx, no answer in time, or nobody there: told again, after 100 ms and then twice as long each time up to
//!   5 s, until the command expires.
//! * Anything else: refused, with what the answer says.
//!
//! # Decision
//! The id of the command is the `idempotency-key` of its request and the `id` of its event. A server that heeds one of them
//! acts once on each command, however often an actuator dies between its answer and the note of it: none can do so without
//! (draft-ietf-httpapi-idempotency-key-header).

use super::book::Book;
use super::executor::{Executor, Undone};
use crate::alerts::time::rfc3339;
use crate::ports::PortError;
use crate::post::{Client, Undelivered};
use evenkeel_schemas::Command;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

/// How long an answer may take; other commands wait meanwhile.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Hands commands to an HTTP server.
pub struct Webhook {
    url: String,
    secret: String,
    client: Client,
}

impl Webhook {
    /// One for the server at `url`, which knows the text of `secret_file`; `trusted` are certificates for `https`.
    ///
    /// # Errors
    /// `Fatal` if a file cannot be read, or the URL is none.
    pub fn new(url: &str, secret_file: &Path, trusted: &Path) -> Result<Self, PortError> {
        let fatal = |why: String| PortError::Fatal(why);
        let is_secure = url.starts_with("https://");
        if !is_secure && !url.starts_with("http://") {
            return Err(fatal(format!("{url:?}: a webhook's URL begins with http:// or https://")));
        }
        let secret = std::fs::read_to_string(secret_file)
            .map_err(|error| fatal(format!("reading {}: {error}", secret_file.display())))?;
        let secret = secret.trim().to_owned();
        if secret.is_empty() {
            return Err(fatal(format!("{} is empty: what are commands signed with?", secret_file.display())));
        }
        let client = Client::new(TIMEOUT, is_secure.then_some(trusted))?;
        Ok(Self { url: url.to_owned(), secret, client })
    }
}

impl Executor for Webhook {
    fn execute(&mut self, command: &Command, _book: &mut Book) -> Result<String, Undone> {
        let answer = self.client.cloud_event(&self.url, (&self.secret, &command.command_id), &cloud_event(command));
        match answer {
            Ok(said) => Ok(said.lines().next().unwrap_or_default().to_owned()),
            Err(Undelivered::Retry(why)) => Err(Undone::Later(why)),
            Err(Undelivered::Refused(why)) => Err(Undone::Refused(why)),
        }
    }

    fn longest_pause(&self) -> Duration {
        LONGEST_PAUSE
    }
}

/// A CloudEvent 1.0 in structured mode, with the command as its data.
fn cloud_event(command: &Command) -> Value {
    json!({
        "specversion": "1.0", "id": command.command_id, "source": "evenkeel", "time": rfc3339(command.at_us),
        "type": format!("evenkeel.command.{}", command.kind.name()), "datacontenttype": "application/json",
        "subject": format!("{}/{}", command.service, command.target), "data": command,
    })
}
