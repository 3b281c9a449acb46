//! The other end of HTTP: a log's files from a server ([`Remote`]), cosignatures from witnesses ([`Witnesses`]).

use super::witness::SIZE_TYPE;
use crate::ports::PortError;
use evenkeel_schemas::audit::{Fetch, Log, Note, Refused, Signature, VerifierKey, base64};
use std::time::Duration;

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// An answer with more bytes is refused.
const MAX_ANSWER_BYTES: u64 = 16 << 20;

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).http_status_as_error(false).build().into()
}

/// A log that somebody serves.
pub struct Remote {
    agent: ureq::Agent,
    prefix: String,
}

impl Remote {
    /// The log below this URL, `http://host:port/…`.
    pub fn new(url: &str) -> Self {
        Self { agent: agent(), prefix: url.trim_end_matches('/').to_owned() }
    }
}

impl Fetch for Remote {
    fn fetch(&self, name: &str) -> Result<Option<Vec<u8>>, Refused> {
        let url = format!("{}/{name}", self.prefix);
        let failed = |error: ureq::Error| Refused(format!("{url}: {error}"));
        let mut answer = self.agent.get(&url).call().map_err(failed)?;
        match answer.status().as_u16() {
            200 => answer.body_mut().with_config().limit(MAX_ANSWER_BYTES).read_to_vec().map(Some).map_err(failed),
            404 => Ok(None),
            status => Err(Refused(format!("{url}: HTTP {status}"))),
        }
    }
}

/// A witness: where it is, its key, and what it saw last as far as we know.
struct Known {
    url: String,
    key: VerifierKey,
    size: u64,
}

/// Witnesses that are asked for cosignatures.
pub struct Witnesses {
    agent: ureq::Agent,
    all: Vec<Known>,
}

/// What came of asking a witness.
pub type Asked = (String, Result<Signature, PortError>);

impl Witnesses {
    /// Witnesses by submission prefix and key.
    pub fn new(all: Vec<(String, VerifierKey)>) -> Self {
        let known =
            |(url, key): (String, VerifierKey)| Known { url: url.trim_end_matches('/').to_owned(), key, size: 0 };
        Self { agent: agent(), all: all.into_iter().map(known).collect() }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Asks every witness to cosign the log's checkpoint. `Fatal` in an answer: the witness saw another history.
    pub fn ask(&mut self, log: &Log<'_>) -> Vec<Asked> {
        self.all.iter_mut().map(|witness| (witness.url.clone(), ask(&self.agent, witness, log))).collect()
    }

    /// A note with these cosignatures in place of older ones by the same keys.
    pub fn add(note: &Note, signatures: Vec<Signature>) -> Note {
        let is_new = |old: &Signature| signatures.iter().any(|new| (&new.name, new.key_id) == (&old.name, old.key_id));
        let mut kept = note.signatures.iter().filter(|old| !is_new(old)).cloned().collect::<Vec<_>>();
        kept.extend(signatures);
        Note { text: note.text.clone(), signatures: kept }
    }
}

/// Asks with the size that the witness is thought to have, and once more with the one that it names.
fn ask(agent: &ureq::Agent, witness: &mut Known, log: &Log<'_>) -> Result<Signature, PortError> {
    for _ in 0..2 {
        let url = format!("{}/add-checkpoint", witness.url);
        let retry = |error: ureq::Error| PortError::Retry(format!("{url}: {error}"));
        // One that saw more than there is says so, if it is asked for what there is.
        let old = witness.size.min(log.size());
        let path = log.consistency(old).map_err(|error| PortError::Fatal(error.to_string()))?;
        let path = path.iter().map(|hash| base64(hash) + "\n").collect::<String>();
        let mut answer = agent.post(&url).send(format!("old {old}\n{path}\n{}", log.note)).map_err(retry)?;
        let status = answer.status().as_u16();
        let is_size = answer.headers().get("content-type").is_some_and(|value| value == SIZE_TYPE);
        let body = answer.body_mut().read_to_string().map_err(retry)?;
        match (status, body.trim().parse::<u64>()) {
            (200, _) => {
                witness.size = log.size();
                return signature(&body, log, &witness.key);
            }
            (409, Ok(size)) if is_size && size <= log.size() && size != old => witness.size = size,
            (409, Ok(size)) if is_size && size > log.size() => {
                let ours = log.size();
                return Err(PortError::Fatal(format!(
                    "{url} saw {size} seals, here are {ours}: the log was rolled back"
                )));
            }
            (409 | 422, _) => {
                return Err(PortError::Fatal(format!("{url} saw another history of this log: it was forked")));
            }
            _ => return Err(PortError::Retry(format!("{url}: HTTP {status}: {}", body.trim()))),
        }
    }
    Err(PortError::Retry(format!("{}: its checkpoint moves while it is asked", witness.url)))
}

/// The signature of the witness among the lines of its answer.
fn signature(lines: &str, log: &Log<'_>, key: &VerifierKey) -> Result<Signature, PortError> {
    let lines = lines.lines().filter_map(|line| line.parse::<Signature>().ok());
    let mut answered = Note { text: log.note.text.clone(), signatures: lines.collect() };
    match answered.signed_by(key) {
        Ok(Some(_)) => {
            let of_key = |signature: &Signature| signature.name == key.name() && signature.key_id == key.id();
            let at = answered.signatures.iter().position(of_key).expect("it signed");
            Ok(answered.signatures.swap_remove(at))
        }
        _ => Err(PortError::Retry(format!("the answer is not signed by {key}"))),
    }
}
