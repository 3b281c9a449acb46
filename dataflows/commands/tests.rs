//! The lifecycle held to its laws over random histories: approvals, answers that are lost, late, doubled or refused, restarts,
//! kill switches, and episodes that end or do not.

use super::*;
use crate::epochs::Moment;
use crate::state::State;
use crate::tuning::Tuning;
use evenkeel_schemas::{Dimension, Epoch, Key, Mode, OutcomeStatus, Topic};

/// Histories; each draws its own rules, mode and luck.
const HISTORIES: u64 = 100_000;
const STEPS: u64 = 40;
const SERVICE: &str = "shop";

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}

/// What is remembered beside the machine, to hold it to the laws.
#[derive(Default)]
struct Witness {
    /// The last word about each command.
    last: BTreeMap<String, Command>,
    fences: BTreeMap<String, u64>,
    approved: BTreeSet<String>,
    /// Failures in a row, by target, and who was given up.
    futile: BTreeMap<String, u32>,
    given_up: BTreeSet<String>,
}

struct World {
    dice: Dice,
    machine: Commands,
    state: Service,
    now: Moment,
    episode: Option<String>,
    witness: Witness,
    seen: BTreeMap<CommandState, u64>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let recovery = Recovery {
            futile: 1 + dice.roll(3) as u32,
            verify_s: 1 + dice.roll(40) as i64,
            expires_s: 1 + dice.roll(60) as i64,
            cooldown_s: 1 + dice.roll(30) as i64,
            max_out_percent: [0, 34, 50, 67, 99][dice.roll(5) as usize],
            ..Recovery::default()
        };
        let mode = [Mode::Observe, Mode::Suggest, Mode::Auto, Mode::Auto][dice.roll(4) as usize];
        let rules = Rules::recovered(&Tuning { recovery, mode, ..Tuning::default() }, &State::default());
        let machine = Commands { rules, policy: Policy::default() };
        let mut state = Service::default();
        state.replicas.extend((0..dice.roll(5)).map(|n| format!("node-{n}")));
        let now = Moment { epoch: Epoch(1), now_us: 1_795_246_472_000_000, warm: false };
        Self { dice, machine, state, now, episode: None, witness: Witness::default(), seen: BTreeMap::new() }
    }

    /// A word about something, drawn by luck.
    fn word(&mut self) -> Option<Word> {
        let at = Coordinates { topic: Topic::Outcomes, partition: 0, offset: self.now.epoch.0 };
        let ids = self.witness.last.keys().cloned().collect::<Vec<_>>();
        let any = |dice: &mut Dice| ids.get(dice.roll(ids.len().max(1) as u64) as usize).cloned();
        match self.dice.roll(10) {
            // Of any command, also of one that is long over: late, doubled.
            0..=3 => any(&mut self.dice).map(|command_id| {
                let statuses =
                    [OutcomeStatus::Applied, OutcomeStatus::Applied, OutcomeStatus::Failed, OutcomeStatus::Refused];
                let status = statuses[self.dice.roll(4) as usize];
                let (event_time_us, service, detail) = (self.now.now_us, SERVICE.to_owned(), String::new());
                Word::Outcome(at, Outcome { event_time_us, command_id, service, status, detail })
            }),
            4 => any(&mut self.dice).map(|command_id| {
                let approved = self.dice.roll(4) > 0;
                if approved && !self.machine.policy.killed {
                    self.witness.approved.insert(command_id.clone());
                }
                Word::Decided { at, command_id, by: "ada".to_owned(), approved }
            }),
            5 => Some(match self.dice.roll(4) {
                2 => Word::Errors(SERVICE.to_owned()),
                3 => Word::Errors(format!("node-{}", self.dice.roll(6))),
                0 => Word::Joined(format!("node-{}", self.dice.roll(6))),
                _ => Word::Left(format!("node-{}", self.dice.roll(6))),
            }),
            6 if self.dice.roll(4) == 0 => {
                self.witness.given_up.clear();
                self.witness.futile.clear();
                Some(Word::Resumed)
            }
            6 => self.episode.take().map(|episode| Word::Situation {
                ended: true,
                episode,
                incident_id: "INC-1".to_owned(),
                cause: self.cause(),
            }),
            _ => {
                let episode = self.episode.clone().unwrap_or_else(|| format!("EPI-{}", self.now.epoch.0));
                self.episode = Some(episode.clone());
                let cause = self.cause();
                Some(Word::Situation { ended: false, episode, incident_id: "INC-1".to_owned(), cause })
            }
        }
    }

    fn cause(&mut self) -> Cause {
        let detectors = [Detector::ErrorBurst, Detector::ErrorRate, Detector::NodeSilent, Detector::Saturation];
        let detector = detectors[self.dice.roll(4) as usize];
        let nodes = (0..self.dice.roll(3)).map(|_| format!("node-{}", self.dice.roll(5))).collect::<BTreeSet<_>>();
        let key = Key::new([(Dimension::Service, SERVICE)]);
        let (nodes, evidence) = (nodes.into_iter().collect(), "seen".to_owned());
        Cause { detector, key, nodes, since_us: self.now.now_us, evidence, verdicts: 1 }
    }

    fn step(&mut self, seed: u64) {
        self.now.epoch.0 += 1;
        // Time may stand still, and never goes back: the present of bindings.
        self.now.now_us += self.dice.roll(8) as i64 * TICK_US;
        if self.dice.roll(20) == 0 {
            self.machine.policy.killed = !self.machine.policy.killed;
        }
        let mut said = Vec::new();
        if let Some(word) = self.word() {
            self.machine.hear(&SERVICE.to_owned(), &mut self.state, word, self.now, &mut said);
        }
        self.check(said, seed);
        if self.machine.alarm(&self.state).is_some_and(|at_us| at_us <= self.now.now_us) {
            self.wake(seed);
        }
        // A crash: what is kept is all there is.
        if self.dice.roll(10) == 0 {
            let kept = serde_json::to_vec(&self.state).expect("states are JSON");
            let again = serde_json::from_slice::<Service>(&kept).expect("what was kept");
            assert_eq!(again, self.state, "seed {seed}");
            self.state = again;
        }
        self.one_live(seed);
    }

    fn wake(&mut self, seed: u64) {
        let mut said = Vec::new();
        self.now.epoch.0 += 1;
        self.machine.wake(&SERVICE.to_owned(), &mut self.state, self.now, &mut said);
        self.check(said, seed);
    }

    fn check(&mut self, said: Vec<Command>, seed: u64) {
        for command in said {
            *self.seen.entry(command.state).or_default() += 1;
            self.hold(&command, seed);
            self.witness.last.insert(command.command_id.clone(), command);
        }
    }

    /// What a word about a command must not break.
    fn hold(&mut self, command: &Command, seed: u64) {
        use CommandState::{Acknowledged, Done, Escalated, Expired, Failed, Issued, Proposed, Rejected};
        let Command { kind, target, mode, state, .. } = command;
        let why = format!("seed {seed}: {command:?}");
        let before = self.witness.last.get(&command.command_id).map(|before| before.state);
        let follows = match (before, state) {
            (None, Proposed) | (Some(Proposed), Issued | Expired | Rejected) => true,
            (None, Issued) => {
                *mode != Mode::Suggest || matches!(kind, CommandKind::HalfOpen | CommandKind::CloseCircuit)
            }
            (Some(Issued), Acknowledged | Done | Failed | Escalated | Expired | Rejected) => true,
            (Some(Acknowledged), Done | Failed | Escalated | Expired) => true,
            _ => false,
        };
        assert!(follows, "from {before:?}: {why}");
        assert!(*mode != Mode::Observe || *state == Proposed, "nothing is issued while observing: {why}");
        let is_given_up = [target.as_str(), SERVICE].iter().any(|name| self.witness.given_up.contains(*name));
        if *state == Issued {
            assert!(!self.machine.policy.killed, "the kill switch stops all: {why}");
            assert!(!is_given_up, "it was given up: {why}");
            assert!(before.is_none() || self.witness.approved.contains(&command.command_id), "nobody approved: {why}");
            let fence = self.witness.fences.insert(target.clone(), command.fence).unwrap_or_default();
            assert!(command.fence >= fence && command.fence > 0, "fences only grow: {why}");
            assert!(command.expires_us > self.now.now_us, "{why}");
        }
        if *kind == CommandKind::TripCircuit
            && matches!((before, state), (None, Issued) | (Some(Proposed), Issued))
            && target != SERVICE
        {
            let nodes = &self.state.replicas;
            let out = nodes.iter().filter(|node| self.state.circuits.contains_key(*node) || *node == target).count();
            assert!(nodes.iter().any(|node| node != target && !self.state.circuits.contains_key(node)), "last: {why}");
            assert!(out * 100 <= nodes.len() * self.machine.times().max_out_percent as usize, "{out} out: {why}");
        }
        let returns = matches!(kind, CommandKind::HalfOpen | CommandKind::CloseCircuit);
        assert!(returns || command.detail != "another one took its place", "it lives, and no other is said: {why}");
        match state {
            Failed if !is_given_up => *self.witness.futile.entry(target.clone()).or_default() += 1,
            Escalated => {
                let failed = self.witness.futile.remove(target).unwrap_or_default() + 1;
                assert_eq!(failed, self.machine.times().futile, "failures before it is given up: {why}");
                self.witness.given_up.insert(target.clone());
            }
            Done if before == Some(Acknowledged) => drop(self.witness.futile.remove(target)),
            _ => {}
        }
        assert!(self.witness.futile.get(target).is_none_or(|count| *count < self.machine.times().futile), "{why}");
    }

    /// L8: one live command per target and kind, and the machine knows those that are.
    fn one_live(&self, seed: u64) {
        let live =
            self.witness.last.values().filter(|command| !command.state.is_over() && command.mode != Mode::Observe);
        let places = live.map(|command| slot(command.kind, &command.target)).collect::<Vec<_>>();
        let distinct = places.iter().cloned().collect::<BTreeSet<_>>();
        assert_eq!(distinct.len(), places.len(), "seed {seed}: two of one kind live: {places:?}");
        assert_eq!(distinct, self.state.live.keys().cloned().collect(), "seed {seed}");
    }
}

#[test]
fn laws_of_the_lifecycle_hold_over_random_histories() {
    let mut seen = BTreeMap::new();
    for seed in 0..HISTORIES {
        let mut world = World::new(seed);
        for _ in 0..STEPS {
            world.step(seed);
        }
        // In the end whatever lives comes to an end by itself.
        world.machine.policy.killed = false;
        for _ in 0..100 {
            let Some(alarm_us) = world.machine.alarm(&world.state) else { break };
            world.now.now_us = world.now.now_us.max(alarm_us);
            world.wake(seed);
        }
        assert!(world.state.live.is_empty(), "seed {seed}: {:?}", world.state.live);
        for (state, count) in world.seen {
            *seen.entry(state).or_insert(0) += count;
        }
    }
    println!("{HISTORIES} histories, {seen:?}");
    assert!(
        seen.len() == 8 && seen.values().all(|count| *count > HISTORIES / 100),
        "a state was hardly seen: {seen:?}"
    );
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
        said
    }

    /// Begins an episode at node `a`, and has the circuit opened.
    fn burst(&mut self) {
        let (key, nodes) = (Key::new([(Dimension::Service, SERVICE)]), vec!["a".to_owned()]);
        let evidence = String::new();
        let cause = Cause { detector: Detector::ErrorBurst, key, nodes, since_us: 0, evidence, verdicts: 1 };
        let (episode, incident_id) = ("EPI-1".to_owned(), "INC-1".to_owned());
        let said = self.hear(Word::Situation { ended: false, episode, incident_id, cause });
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
