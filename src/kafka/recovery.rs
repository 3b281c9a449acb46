//! What is committed: the last bindings and the newest state.
//!
//! Invariant: somebody has fenced every other writer and writes nothing yet, so that the last stable offset of both
//! topics is their end: the ledger itself, or the one whose word a follower has.

use super::Connection;
use super::queue::Message;
use super::reader::{Reader, extents};
use super::topics::BINDINGS;
use crate::ports::{Committed, PortError};
use evenkeel_schemas::{Binding, Dataset};
use std::collections::BTreeMap;

/// How many offsets before the end the bindings are looked for at first; doubled until they suffice.
const LOOK_BACK: u64 = 4096;
/// The same for the last one alone.
const FEW: u64 = 64;
/// Records read in one turn.
const TURN: usize = 10_000;

/// Key and newest value, by key.
type State = Vec<(Vec<u8>, Vec<u8>)>;

/// Reads everything that a restart needs, and changes nothing.
///
/// # Errors
/// `Retry` if the brokers cannot be reached now, `Fatal` if what is there does not fit together.
pub fn committed(connection: &Connection) -> Result<Committed, PortError> {
    let state = state(connection)?;
    let bindings = bindings(connection)?;
    if bindings.is_empty() && !state.is_empty() {
        return Err(PortError::Fatal(format!(
            "{} is empty, but {} holds state: the bindings were lost. Restore the topic, or start with another topic \
             prefix to begin anew",
            connection.topic(BINDINGS),
            connection.topic(Dataset::State.topic())
        )));
    }
    Ok(Committed { bindings, state })
}

/// Every binding there is.
///
/// # Errors
/// As [`committed`].
pub fn all_bindings(connection: &Connection) -> Result<Vec<Binding>, PortError> {
    let topic = connection.topic(BINDINGS);
    consecutive(tail(connection, &topic, u64::MAX)?.0, &topic)
}

/// The last binding; `None` if there is none yet.
///
/// # Errors
/// As [`committed`].
pub fn last_binding(connection: &Connection) -> Result<Option<Binding>, PortError> {
    let topic = connection.topic(BINDINGS);
    let mut look_back = FEW;
    loop {
        let (mut tail, whole) = tail(connection, &topic, look_back)?;
        if whole || !tail.is_empty() {
            return Ok(tail.pop());
        }
        look_back = look_back.saturating_mul(2);
    }
}

/// Every binding from the `resume` epoch of the last one on.
fn bindings(connection: &Connection) -> Result<Vec<Binding>, PortError> {
    let topic = connection.topic(BINDINGS);
    let mut look_back = LOOK_BACK;
    loop {
        let (tail, whole) = tail(connection, &topic, look_back)?;
        let Some(resume) = tail.last().map(|last| last.resume) else {
            // Aborted transactions may fill the whole look-back.
            if whole {
                return Ok(vec![]);
            }
            look_back = look_back.saturating_mul(2);
            continue;
        };
        let found = tail[0].epoch <= resume;
        if !found && whole {
            return Err(PortError::Fatal(format!(
                "{topic} begins with epoch {}, but recovery needs it from epoch {} on: raise its retention.bytes; start \
                 with another topic prefix to begin anew",
                tail[0].epoch.0, resume.0
            )));
        }
        if found {
            return consecutive(tail.into_iter().filter(|binding| binding.epoch >= resume).collect(), &topic);
        }
        look_back = look_back.saturating_mul(2);
    }
}

/// The bindings in the last `look_back` offsets, and whether there is nothing before them.
fn tail(connection: &Connection, topic: &str, look_back: u64) -> Result<(Vec<Binding>, bool), PortError> {
    let end = extents(connection, topic)?.first().map_or(0, |extent| extent.end);
    let from = end.saturating_sub(look_back);
    let (mut reader, low) = Reader::open(connection, topic, 0, from)?;
    let (mut bindings, mut damaged) = (Vec::new(), None);
    let decode = |message: Message<'_>| match serde_json::from_slice::<Binding>(message.payload()) {
        Ok(binding) => bindings.push(binding),
        Err(error) => damaged = Some(format!("{topic} offset {}: no binding: {error}", message.offset())),
    };
    drain(&mut reader, decode)?;
    match damaged {
        Some(damage) => Err(PortError::Fatal(format!("{damage}; something else wrote there, remove its rights"))),
        None => Ok((bindings, from <= low)),
    }
}

fn consecutive(bindings: Vec<Binding>, topic: &str) -> Result<Vec<Binding>, PortError> {
    match bindings.windows(2).find(|pair| pair[1].epoch.0 != pair[0].epoch.0 + 1) {
        None => Ok(bindings),
        Some(pair) => Err(PortError::Fatal(format!(
            "{topic}: epoch {} follows epoch {}: two writers with different transactional ids wrote to it; keep one",
            pair[1].epoch.0, pair[0].epoch.0
        ))),
    }
}

/// The newest value per key of the state topic, by key; an empty value means that the key is gone.
fn state(connection: &Connection) -> Result<State, PortError> {
    let topic = connection.topic(Dataset::State.topic());
    let mut newest = BTreeMap::new();
    for extent in extents(connection, &topic)? {
        let (mut reader, _) = Reader::open(connection, &topic, extent.partition, 0)?;
        drain(&mut reader, |message| {
            if message.payload().is_empty() {
                newest.remove(message.key());
            } else {
                newest.insert(message.key().to_vec(), message.payload().to_vec());
            }
        })?;
    }
    Ok(newest.into_iter().collect())
}

fn drain(reader: &mut Reader, mut each: impl FnMut(Message<'_>)) -> Result<(), PortError> {
    while reader.read(TURN, &mut each)? > 0 {}
    Ok(())
}
