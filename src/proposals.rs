//! [`Proposals`]: the commands that wait for a person, read from the log; and the words of people that go back to it.

use crate::ports::{OutputLog, PortError};
use evenkeel_schemas::{Command, CommandState, Dataset, Mode};
use std::collections::BTreeMap;

/// Records read at a time.
const READ_ROWS: usize = 1_024;

/// The partition of a data directory's control topic that is for words of people: a partition has one writer there.
pub const PARTITION: u32 = 2;

/// What waits.
#[derive(Debug, Default)]
pub struct Proposals {
    offsets: BTreeMap<u32, u64>,
    waiting: BTreeMap<String, Command>,
}

impl Proposals {
    /// Reads on to the end; what was said of commands since the last time, in the order of each partition.
    ///
    /// # Errors
    /// `Retry` if the log cannot be reached now, `Fatal` if it is damaged or holds what is no command.
    pub fn read(&mut self, log: &mut dyn OutputLog) -> Result<Vec<Command>, PortError> {
        let mut said = Vec::new();
        for partition in log.partitions(Dataset::Commands)? {
            loop {
                let offset = self.offsets.get(&partition).copied().unwrap_or(0);
                let rows = log.read(Dataset::Commands, partition, offset, READ_ROWS)?;
                let Some(last) = rows.last() else { break };
                self.offsets.insert(partition, last.offset + 1);
                for row in rows.iter().filter(|row| !row.value.is_empty()) {
                    let command = serde_json::from_slice::<Command>(&row.value);
                    let command = command.map_err(|error| {
                        let place = format!("{}-{partition} at {}", Dataset::Commands.topic(), row.offset);
                        PortError::Fatal(format!("{place} is no command: {error}"))
                    })?;
                    self.follow(&command);
                    said.push(command);
                }
            }
        }
        Ok(said)
    }

    fn follow(&mut self, command: &Command) {
        if command.state == CommandState::Proposed && command.mode != Mode::Observe {
            self.waiting.insert(command.command_id.clone(), command.clone());
        } else {
            self.waiting.remove(&command.command_id);
        }
    }

    /// What waits, of all services or of one, the first to expire first.
    pub fn waiting(&self, service: Option<&str>) -> Vec<&Command> {
        let mut all =
            self.waiting.values().filter(|it| service.is_none_or(|name| it.service == name)).collect::<Vec<_>>();
        all.sort_by_key(|command| (command.expires_us, &command.command_id));
        all
    }

    /// The one of this identity, or the only one whose identity begins so.
    ///
    /// # Errors
    /// Says that none waits, or which ones do.
    pub fn one(&self, id: &str) -> Result<&Command, PortError> {
        if let Some(command) = self.waiting.get(id) {
            return Ok(command);
        }
        let mut found = self.waiting.values().filter(|it| it.command_id.starts_with(id));
        match (found.next(), found.next()) {
            (Some(command), None) => Ok(command),
            (Some(_), Some(_)) => Err(PortError::Fatal(format!("{id}: several commands begin so"))),
            (None, _) => {
                let hint = "`evenkeel commands` lists those that do";
                Err(PortError::Fatal(format!("{id}: no command of that name waits for a person; {hint}")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_schemas::CommandKind;

    fn command(id: &str, service: &str, state: CommandState, mode: Mode, expires_us: i64) -> Command {
        let [command_id, service, target] = [id, service, "a"].map(str::to_owned);
        Command {
            command_id,
            kind: CommandKind::Scale,
            target,
            service,
            incident_id: String::new(),
            mode,
            reason: String::new(),
            at_us: 0,
            expires_us,
            state,
            detail: String::new(),
            decided_us: 0,
            fence: 0,
            by: String::new(),
            params: Default::default(),
            undo: false,
        }
    }

    #[test]
    fn what_waits_is_what_was_proposed_and_is_not_over() {
        let mut all = Proposals::default();
        for (id, service, state, mode, expires_us) in [
            ("CMD-1", "a", CommandState::Proposed, Mode::Observe, 1),
            ("CMD-2", "a", CommandState::Proposed, Mode::Suggest, 9),
            ("CMD-23", "b", CommandState::Proposed, Mode::Approve, 5),
            ("CMD-4", "b", CommandState::Proposed, Mode::Approve, 5),
            ("CMD-4", "b", CommandState::Issued, Mode::Approve, 5),
        ] {
            all.follow(&command(id, service, state, mode, expires_us));
        }
        let ids = |service| all.waiting(service).into_iter().map(|it| it.command_id.as_str()).collect::<Vec<_>>();
        assert_eq!((ids(None), ids(Some("a"))), (vec!["CMD-23", "CMD-2"], vec!["CMD-2"]));
        assert_eq!(all.one("CMD-23").expect("one").service, "b");
        assert_eq!(all.one("CMD-2").expect("the whole name").service, "a");
        assert!(["CMD-", "CMD-4", "CMD-1"].iter().all(|id| all.one(id).is_err()));
    }
}
