//! Circuits played by hand: trials that fail, and errors that come back once a circuit closed.

use super::*;
use crate::epochs::Moment;
use crate::state::State;
use crate::tuning::Tuning;
use evenkeel_schemas::{Dimension, Epoch, Key, Mode, OutcomeStatus, Topic};

const SERVICE: &str = "shop";

/// The commands among what was said.
pub(super) fn commands(said: Vec<Said>) -> Vec<Command> {
    let command = |said| match said {
        Said::Command(command) => Some(command),
        Said::Refused(_) => None,
    };
    said.into_iter().filter_map(command).collect()
}

/// The commands of one target, played by hand.
struct Play {
    machine: Commands,
    state: Service,
    now: Moment,
}

impl Play {
    fn new() -> Self {
        let recovery = Recovery { futile: 2, ..Recovery::default() };
        let tuning = Tuning { recovery, mode: Mode::Auto, ..Tuning::default() };
        let machine = Commands { rules: Rules::recovered(&tuning, &State::default()), policy: Policy::default() };
        let mut state = Service::default();
        state.replicas.extend(["a", "b", "c"].map(str::to_owned));
        Self { machine, state, now: Moment { epoch: Epoch(1), now_us: 0, warm: false } }
    }

    fn hear(&mut self, word: Word) -> Vec<Command> {
        self.now.epoch.0 += 1;
        let mut said = Vec::new();
        self.machine.hear(&SERVICE.to_owned(), &mut self.state, word, self.now, &mut said);
        commands(said)
    }

    /// Begins an episode at node `a`, and has the circuit opened.
    fn burst(&mut self) {
        let (key, nodes) = (Key::new([(Dimension::Service, SERVICE)]), vec!["a".to_owned()]);
        let evidence = String::new();
        let cause = Cause { detector: Detector::ErrorBurst, key, nodes, since_us: 0, evidence, verdicts: 1 };
        let (episode, incident_id) = ("EPI-1".to_owned(), "INC-1".to_owned());
        let said = self.hear(Word::Situation { ended: false, episode, incident_id, cause, changes: Vec::new() });
        self.applied(&said);
    }

    fn applied(&mut self, said: &[Command]) {
        let issued = said.iter().find(|command| command.state == CommandState::Issued).expect("one is issued");
        let at = Coordinates { topic: Topic::Outcomes, partition: 0, offset: self.now.epoch.0 };
        let (command_id, service, detail) = (issued.command_id.clone(), SERVICE.to_owned(), String::new());
        let status = OutcomeStatus::Applied;
        self.hear(Word::Outcome(at, Outcome { event_time_us: 0, command_id, service, status, detail }));
    }

    /// Goes on to the next alarm; returns what is said then, applied, and after how many seconds.
    fn next(&mut self) -> (Vec<(CommandKind, CommandState)>, i64) {
        let before_us = self.now.now_us;
        let circuits = self.state.circuits.values().map(|circuit| circuit.next_us);
        self.now.now_us = circuits.min().expect("a circuit is not closed");
        self.now.epoch.0 += 1;
        let mut said = Vec::new();
        self.machine.wake(&SERVICE.to_owned(), &mut self.state, self.now, &mut said);
        let said = commands(said);
        self.applied(&said);
        (words(&said), (self.now.now_us - before_us) / TICK_US)
    }
}

fn words(said: &[Command]) -> Vec<(CommandKind, CommandState)> {
    said.iter().map(|command| (command.kind, command.state)).collect()
}

#[test]
fn errors_that_come_back_in_a_trial_open_the_circuit_again_for_longer_and_never_in_vain() {
    use CommandKind::{CloseCircuit, HalfOpen, TripCircuit};
    use CommandState::{Done, Issued};
    let mut play = Play::new();
    play.burst();
    // More trials fail than commands may be futile.
    for trial in 1..=4 {
        assert_eq!(play.hear(Word::Errors("a".to_owned())), [], "stragglers");
        assert_eq!(play.next(), (vec![(HalfOpen, Issued)], 10 * trial));
        assert_eq!(play.hear(Word::Errors("b".to_owned())), [], "another node");
        let said = play.hear(Word::Errors("a".to_owned()));
        assert_eq!(words(&said), [(TripCircuit, Done), (TripCircuit, Issued)]);
        play.applied(&said);
    }
    assert_eq!(play.next(), (vec![(HalfOpen, Issued)], 50));
    assert_eq!(play.next(), (vec![(CloseCircuit, Issued)], 10));
}

#[test]
fn errors_that_come_back_once_a_circuit_closed_were_not_helped() {
    use CommandState::{Escalated, Failed, Issued};
    let mut play = Play::new();
    play.burst();
    play.next();
    play.next();
    let said = play.hear(Word::Errors("a".to_owned()));
    assert_eq!(words(&said), [(CommandKind::TripCircuit, Failed), (CommandKind::TripCircuit, Issued)]);
    play.applied(&said);
    assert_eq!(play.next(), (vec![(CommandKind::HalfOpen, Issued)], 10));
    play.next();
    assert_eq!(words(&play.hear(Word::Errors("a".to_owned()))), [(CommandKind::TripCircuit, Escalated)]);
}
