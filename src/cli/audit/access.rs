//! [`Accesses`]: who read the log of seals over HTTP. Reading the audit log is audited, too: an event a reader and minute.

use super::args::RowsArgs;
use crate::ports::PortError;
use crate::report::Writer;
use axum::http::HeaderMap;
use evenkeel_schemas::audit::tile::CHECKPOINT;
use evenkeel_schemas::{AuditEventType, Detail};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often readers are said.
const EVERY: Duration = Duration::from_secs(60);

/// Most readers that are told apart in that time; others are one.
const READERS_BOUND: usize = 256;

/// What was read since it was said last.
#[derive(Clone)]
pub(super) struct Accesses(Arc<Mutex<Seen>>);

struct Seen {
    files: BTreeMap<String, u64>,
    since: Instant,
}

impl Default for Accesses {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Seen { files: BTreeMap::new(), since: Instant::now() })))
    }
}

impl Accesses {
    /// Notes a file that was read. A checkpoint says nothing about entries.
    pub fn note(&self, name: &str, headers: &HeaderMap) {
        if name == CHECKPOINT {
            return;
        }
        let agent = headers.get("user-agent").and_then(|value| value.to_str().ok()).unwrap_or("unknown");
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_known = seen.files.len() < READERS_BOUND || seen.files.contains_key(agent);
        *seen.files.entry(if is_known { agent } else { "~other" }.to_owned()).or_default() += 1;
    }

    /// Says who read, once a minute, where the entries of `rows` come from.
    pub fn say(&self, rows: &RowsArgs) -> Result<(), PortError> {
        let files = {
            let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if seen.since.elapsed() < EVERY || seen.files.is_empty() {
                return Ok(());
            }
            seen.since = Instant::now();
            std::mem::take(&mut seen.files)
        };
        for (agent, count) in files {
            let mut reporter = rows.log.reporter(Writer::Sealer, &agent)?;
            let detail = Detail::text(&format!("{count} files in a minute"));
            reporter.say(AuditEventType::Access, "read", "log of seals", detail)?;
            reporter.flush()?;
        }
        Ok(())
    }
}
