//! Where the sealer stands, signed: so that it starts without reading all that it ever sealed.
//!
//! Every [`EVERY`] seals the sealer signs what they come to: the root, where each chain stands, which entries are the
//! oldest kept, and a hash over those of the manifest's lines. At a start the right edge of the tree is read from its tiles,
//! a few hashes a level, and must give that root; the seals since then are read one by one, and must lead to the
//! checkpoint's. So what is believed is what this key signed, as a checkpoint is, and nothing that lies beside it.
//!
//! # Decision
//! * A note of its own, under a name that is no log's, so that nobody takes it for a checkpoint. Verifiers know nothing of
//!   it: it says nothing that the seals do not say, and `audit verify` reads those.
//! * Whatever is wrong with it, short of a checkpoint that is older than it, means a start that verifies everything.

use super::signer::{Signer, sign_note};
use super::tiles::Edge;
use crate::cold::ColdStore;
use crate::ports::PortError;
use evenkeel_schemas::audit::{Audited, Chain, Log, Note, from_hex, hex};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// The file that holds it.
pub const STATE: &str = "sealer/state";

/// The file that holds the hashes of the manifest's lines, 32 bytes each; of those at the end nobody has signed yet.
pub const LINES: &str = "sealer/lines";

/// Seals that are read at a start at most, and those of one turn.
pub const EVERY: u64 = 1024;

/// What a number of seals come to.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stated {
    /// The name in the chains' beginnings.
    origin: String,
    seals: u64,
    root: String,
    /// By partition: the number of the next entry, the head, and the offset at which reading goes on.
    chains: BTreeMap<u32, (u64, String, u64)>,
    minimums: BTreeMap<u32, u64>,
    lines: usize,
    lines_sha256: String,
}

/// Signs where the sealer stands, and stores it.
///
/// # Errors
/// As [`Signer::sign`] and [`ColdStore::put`].
pub fn remember(
    store: &dyn ColdStore,
    signer: &mut dyn Signer,
    origin: &str,
    (edge, audited): (&Edge, &Audited),
) -> Result<(), PortError> {
    let lines = audited.manifest.concat();
    let next = |partition: &u32| audited.next_offsets.get(partition).copied().unwrap_or(0);
    let chain =
        |(partition, chain): (&u32, &Chain)| (*partition, (chain.next_seq(), hex(&chain.head()), next(partition)));
    let stated = Stated {
        origin: origin.to_owned(),
        seals: edge.size(),
        root: hex(&edge.root()),
        chains: audited.chains.iter().map(chain).collect(),
        minimums: audited.minimums.clone(),
        lines: audited.manifest.len(),
        lines_sha256: hex(&Sha256::digest(&lines)),
    };
    let json = serde_json::to_string(&stated).expect("numbers and digits are JSON");
    let mut note = Note { text: format!("{}\n{json}\n", title(signer.key().name())), signatures: Vec::new() };
    sign_note(&mut note, signer)?;
    store.put(LINES, &lines)?;
    // A crash here leaves the older statement, whose lines are there still.
    store.put(STATE, note.to_string().as_bytes())
}

/// Where the sealer of `log` stood, by its own signed word and by the tiles; `None` if there is none that holds.
///
/// # Errors
/// `Fatal` if it was signed after the log's checkpoint: that one was rolled back.
pub fn recall(store: &dyn ColdStore, log: &Log<'_>, origin: &str) -> Result<Option<(Edge, Audited)>, PortError> {
    let (note, lines) = (store.get(STATE)?.unwrap_or_default(), store.get(LINES)?.unwrap_or_default());
    let Some(stated) = signed(note, log).filter(|stated| stated.origin == origin) else { return Ok(None) };
    if stated.seals > log.size() {
        let (sealed, size) = (stated.seals, log.size());
        return Err(PortError::Fatal(format!(
            "the log of seals: its checkpoint covers {size} seals, but {sealed} were signed: it was rolled back"
        )));
    }
    let edge = Edge::at(log, stated.seals).ok().filter(|edge| hex(&edge.root()) == stated.root);
    Ok(edge.zip(audited(&stated, &lines)))
}

/// What is signed by the log's key.
fn signed(note: Vec<u8>, log: &Log<'_>) -> Option<Stated> {
    let note = String::from_utf8(note).ok()?.parse::<Note>().ok()?;
    note.signed_by(&log.key).ok()??;
    let (first, json) = note.text.split_once('\n')?;
    if first == title(log.key.name()) { serde_json::from_str(json).ok() } else { None }
}

fn audited(stated: &Stated, lines: &[u8]) -> Option<Audited> {
    let lines = lines.get(..stated.lines.checked_mul(32)?)?;
    if hex(&Sha256::digest(lines)) != stated.lines_sha256 {
        return None;
    }
    let chain = |(partition, (next_seq, head, _)): (&u32, &(u64, String, u64))| {
        Some((*partition, Chain::resume(*partition, *next_seq, from_hex(head)?)))
    };
    Some(Audited {
        seals: stated.seals,
        chains: stated.chains.iter().map(chain).collect::<Option<_>>()?,
        next_offsets: stated.chains.iter().map(|(partition, (_, _, next))| (*partition, *next)).collect(),
        manifest: lines.chunks_exact(32).map(|hash| hash.try_into().expect("32 bytes")).collect(),
        minimums: stated.minimums.clone(),
    })
}

/// The first line of a statement by the sealer of a log.
fn title(name: &str) -> String {
    format!("{name}/sealer")
}
