//! How well each fault of the demo was found and recovered.

use crate::shop::FaultStatus;
use evenkeel_dataflows::Changes;
use evenkeel_schemas::{Command, CommandKind, CommandState, Dataset, Incident, IncidentState};
use serde::Serialize;
use std::collections::BTreeMap;

/// What was committed about incidents and commands.
#[derive(Debug, Default)]
pub struct Score {
    incidents: BTreeMap<String, Incident>,
    opened: Vec<Incident>,
    commands: Vec<Command>,
    events: u64,
    audit_entries: u64,
}

/// What became of one fault.
#[derive(Clone, Debug, Serialize)]
pub struct FaultReport {
    /// Its name.
    pub name: String,
    /// Where it was.
    pub service: String,
    /// Whether it is one that somebody must hear of.
    pub must_page: bool,
    /// Whether an incident was opened for it.
    pub found: bool,
    /// From its start to the incident, ms of the shop's time.
    pub detect_ms: Option<i64>,
    /// From its start to the first command for it, ms of the shop's time.
    pub command_ms: Option<i64>,
    /// Whether the command healed it and the incident is resolved.
    pub recovered: bool,
}

impl FaultReport {
    /// Whether it ended as it should: found and recovered, or, if nobody must hear of it, not found.
    pub fn is_well(&self) -> bool {
        if self.must_page { self.found && self.recovered } else { !self.found }
    }
}

impl Score {
    /// Takes in committed epochs.
    pub fn take(&mut self, epochs: &[Changes]) {
        for changes in epochs {
            self.events += changes.records;
            for output in &changes.outputs {
                match output.dataset {
                    Dataset::Audit => self.audit_entries += 1,
                    Dataset::Commands => {
                        let command = serde_json::from_slice::<Command>(&output.value).ok();
                        self.commands.extend(command.filter(|command| command.state == CommandState::Issued));
                    }
                    Dataset::Incidents => {
                        if let Ok(incident) = serde_json::from_slice::<Incident>(&output.value) {
                            if incident.state == IncidentState::Open {
                                self.opened.push(incident.clone());
                            }
                            self.incidents.insert(incident.incident_id.clone(), incident);
                        }
                    }
                    _ => {}
                }
            }
        }
    }

    /// Events committed.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Audit entries committed.
    pub fn audit_entries(&self) -> u64 {
        self.audit_entries
    }

    /// Whether no incident is open.
    pub fn is_quiet(&self) -> bool {
        self.incidents.values().all(|incident| incident.state == IncidentState::Resolved)
    }

    /// Each fault, and how many incidents belong to none of those that somebody must hear of.
    pub fn report(&self, faults: &[FaultStatus]) -> (Vec<FaultReport>, usize) {
        let reports = faults.iter().map(|status| self.fault(status)).collect();
        let belongs = |incident: &&Incident| {
            let caused = |status: &FaultStatus| {
                let fault = &status.fault;
                // What follows a fault within half a minute of its end still comes from it: a trial that fails, a backlog.
                let ended_us = status.healed_us.map_or(i64::MAX, |healed| healed + 30_000_000);
                let span = fault.start_us - 1_000_000..ended_us;
                fault.must_page && fault.service == incident.service && span.contains(&incident.opened_us)
            };
            !faults.iter().any(caused)
        };
        (reports, self.opened.iter().filter(belongs).count())
    }

    fn fault(&self, status: &FaultStatus) -> FaultReport {
        let fault = &status.fault;
        let from_start = |at_us: i64| (at_us >= fault.start_us - 1_000_000).then_some((at_us - fault.start_us) / 1000);
        let incident = self.opened.iter().find(|it| it.service == fault.service && from_start(it.at_us).is_some());
        let commands = self.commands.iter().filter(|it| it.service == fault.service);
        let fits = |it: &&Command| Some(it.kind) == fault.expects || it.kind == CommandKind::TripCircuit;
        let command = commands.filter(fits).find_map(|it| from_start(it.at_us));
        let resolved = incident.is_some_and(|it| self.incidents[&it.incident_id].state == IncidentState::Resolved);
        FaultReport {
            name: fault.name.to_owned(),
            service: fault.service.clone(),
            must_page: fault.must_page,
            found: incident.is_some(),
            detect_ms: incident.and_then(|it| from_start(it.at_us)),
            command_ms: command,
            recovered: resolved && status.healed_us.is_some(),
        }
    }
}
