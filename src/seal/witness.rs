//! [`Witness`]: cosigns a log's checkpoint if the log only grew since the last one (C2SP tlog-witness, tlog-cosignature).

use super::signer::{Signer, cosign};
use crate::cold::ColdStore;
use crate::ports::PortError;
use evenkeel_schemas::audit::{Checkpoint, Note, Refused, Trust, VerifierKey, hash_from_base64, hex, tree};
use sha2::{Digest, Sha256};

/// What a witness answers, in HTTP's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The type of the body.
    pub content_type: &'static str,
    /// Signature lines, a size, or why not.
    pub body: String,
}

/// The type of a body that is a size.
pub const SIZE_TYPE: &str = "text/x.tlog.size";

const TEXT: &str = "text/plain; charset=utf-8";

/// Remembers the newest checkpoint of each log that it knows, and signs no other line of history.
pub struct Witness {
    store: Box<dyn ColdStore>,
    signer: Box<dyn Signer>,
    logs: Vec<VerifierKey>,
}

impl Witness {
    /// A witness of these logs that remembers in `store`; the signer's key is a witness's. A log with several keys, e.g.
    /// after a handover, is named once a key.
    pub fn new(store: Box<dyn ColdStore>, signer: Box<dyn Signer>, logs: Vec<VerifierKey>) -> Self {
        Self { store, signer, logs }
    }

    /// The key that cosigns.
    pub fn key(&self) -> &VerifierKey {
        self.signer.key()
    }

    /// Answers `add-checkpoint`; `now_s` goes into the cosignature, s since the Unix epoch.
    pub fn add_checkpoint(&mut self, body: &str, now_s: u64) -> Answer {
        self.try_add(body, now_s).unwrap_or_else(|(status, why)| Answer {
            status,
            content_type: if status == 409 { SIZE_TYPE } else { TEXT },
            body: format!("{why}\n"),
        })
    }

    fn try_add(&mut self, body: &str, now_s: u64) -> Result<Answer, (u16, String)> {
        let (old, path, note) = parse(body).map_err(|Refused(why)| (400, why))?;
        let checkpoint = note.text.parse::<Checkpoint>().map_err(|Refused(why)| (400, why))?;
        self.check_signature(&checkpoint.origin, &note)?;
        if old > checkpoint.size {
            return Err((400, format!("an old size of {old} before a checkpoint of {}", checkpoint.size)));
        }
        let unavailable = |error: PortError| (503, error.to_string());
        let name = format!("witnessed/{}", hex(&Sha256::digest(&checkpoint.origin)));
        let known = self.known(&name).map_err(unavailable)?;
        let (size, root) = known.map_or((0, tree::empty_root()), |known| (known.size, known.root));
        if old != size || (size == checkpoint.size && root != checkpoint.root) {
            return Err((409, size.to_string()));
        }
        tree::verify_consistency((size, &root), (checkpoint.size, &checkpoint.root), &path)
            .map_err(|Refused(why)| (422, why))?;
        // Remembered first: what was cosigned is never forgotten, whatever happens next.
        self.store.put(&name, note.text.as_bytes()).map_err(unavailable)?;
        let line = cosign(&note.text, now_s, self.signer.as_mut()).map_err(unavailable)?;
        Ok(Answer { status: 200, content_type: TEXT, body: line.to_string() })
    }

    fn check_signature(&self, origin: &str, note: &Note) -> Result<(), (u16, String)> {
        let mut keys = self.logs.iter().filter(|key| key.name() == origin).peekable();
        if keys.peek().is_none() {
            return Err((404, format!("no witness of {origin:?}")));
        }
        let is_signed = |key: &VerifierKey| Trust::in_key(key.clone()).and_then(|trust| trust.check(note)).is_ok();
        if keys.any(is_signed) { Ok(()) } else { Err((403, "not signed by a key of that log".to_owned())) }
    }

    fn known(&self, name: &str) -> Result<Option<Checkpoint>, PortError> {
        let Some(bytes) = self.store.get(name)? else { return Ok(None) };
        let checkpoint = String::from_utf8_lossy(&bytes).parse();
        checkpoint.map(Some).map_err(|error: Refused| PortError::Fatal(format!("{name}: {error}; restore it")))
    }
}

/// `old <size>`, a consistency proof, an empty line, a checkpoint.
fn parse(body: &str) -> Result<(u64, Vec<[u8; 32]>, Note), Refused> {
    let malformed = |what: &str| Refused(format!("no {what}"));
    let (head, note) = body.split_once("\n\n").ok_or_else(|| malformed("empty line"))?;
    let mut lines = head.lines();
    let old = lines.next().and_then(|line| line.strip_prefix("old "));
    let old = old.and_then(|text| text.parse::<u64>().ok().filter(|old| old.to_string() == text));
    let path = lines.map(hash_from_base64).collect::<Option<Vec<_>>>();
    let path = path.filter(|path| path.len() <= tree::MAX_PATH).ok_or_else(|| malformed("consistency proof"))?;
    Ok((old.ok_or_else(|| malformed("old size"))?, path, note.parse()?))
}
