//! [`Map`]: which servers of HAProxy a target of commands is.

use crate::ports::PortError;
use evenkeel_schemas::Command;
use std::collections::BTreeMap;
use std::path::Path;

/// Most targets.
const MAX_TARGETS: usize = 10_000;

/// Most servers of one target.
const MAX_PLACES: usize = 64;

/// A server in a backend.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The backend's name.
    pub backend: String,
    /// The server's name in it.
    pub server: String,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.backend, self.server)
    }
}

/// Servers by target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Map(BTreeMap<String, Vec<Place>>);

impl Map {
    /// From lines `TARGET=BACKEND/SERVER`; a target is a node, or `SERVICE/NODE` where a node's name alone is not enough. One
    /// that is named again has several servers. Empty lines and what follows a `#` are left out.
    ///
    /// # Errors
    /// `Fatal`: says which line, and how to write it.
    pub fn parse<'a>(lines: impl IntoIterator<Item = &'a str>) -> Result<Self, PortError> {
        let mut map = Self::default();
        for line in lines {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            let (target, place) = entry(line).ok_or_else(|| {
                PortError::Fatal(format!(
                    "{line:?}: write NODE=BACKEND/SERVER, each as HAProxy's configuration names it"
                ))
            })?;
            let places = map.0.entry(target).or_default();
            if !places.contains(&place) {
                places.push(place);
            }
            if places.len() > MAX_PLACES {
                return Err(PortError::Fatal(format!("{line:?}: one target has more than {MAX_PLACES} servers")));
            }
        }
        if map.0.len() > MAX_TARGETS {
            return Err(PortError::Fatal(format!("the map has {} targets, at most {MAX_TARGETS} can be", map.0.len())));
        }
        Ok(map)
    }

    /// The text of a file with such lines.
    ///
    /// # Errors
    /// `Fatal` if it cannot be read.
    pub fn text_of(path: &Path) -> Result<String, PortError> {
        std::fs::read_to_string(path).map_err(|error| PortError::Fatal(format!("reading {}: {error}", path.display())))
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How the target of a command is named here, and its servers; `None` if it is somebody else's.
    pub fn servers(&self, command: &Command) -> Option<(&str, &[Place])> {
        let whole = format!("{}/{}", command.service, command.target);
        let found = self.0.get_key_value(&whole).or_else(|| self.0.get_key_value(&command.target));
        found.map(|(name, places)| (name.as_str(), places.as_slice()))
    }

    /// The servers of a target by its name here.
    pub fn named(&self, name: &str) -> &[Place] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// Every server.
    pub fn places(&self) -> impl Iterator<Item = &Place> + Clone {
        self.0.values().flatten()
    }
}

fn entry(line: &str) -> Option<(String, Place)> {
    let (target, place) = line.split_once('=')?;
    let (backend, server) = place.trim().split_once('/')?;
    // Both go into commands to HAProxy: nothing may end one there, or begin another. These are the letters it allows.
    let is_name = |name: &str| {
        !name.is_empty() && name.len() <= 256 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b))
    };
    let target = target.trim();
    (!target.is_empty() && is_name(backend) && is_name(server))
        .then(|| (target.to_owned(), Place { backend: backend.to_owned(), server: server.to_owned() }))
}
