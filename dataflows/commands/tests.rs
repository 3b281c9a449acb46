//! The lifecycle held to its laws over random histories: approvals, answers that are lost, late, doubled or refused, restarts,
//! kill switches, clocks that stand still or leap, and episodes that end or do not.
//!
//! Each law was broken once in the code, and what failed then is what holds it; `hold` and the others are parts of the model here.
//!
//! | law | broken by | fails |
//! |---|---|---|
//! | one live command for each kind and target | saying one beside it, or in its place | `hold`, `one_live` |
//! | never the last healthy replica | sparing it; approving it when the others are gone | `hold` |
//! | no more than `max_out_percent` out | not counting | `hold` |
//! | cool-down | saying it again at once | `cools` |
//! | fences grow | fences that shrink; an approval without one | `hold` |
//! | what nobody answers expires, in time | never; ten seconds late | the end of all histories; `in_time` |
//! | futile commands are escalated, their target frozen | trying for ever; not freezing; speaking, trying or approving when frozen | `hold` |
//! | the kill switch stops all | speaking, moving a circuit on, or approving in spite of it | `hold` |
//! | `observe` issues nothing, `suggest` waits | issuing | `hold` |
//! | a trial that fails opens the circuit again, for longer | for as long; not at all | `plays` |
//! | what helped is verified, in time, by what it was for | at once; late; blindly; not at all; when another episode ends | `verified`, `in_time` |
//!
//! A crash loses nothing: what is kept is read back and compared in every history.

pub(super) use super::plays::commands;
use super::*;
use crate::actions::{Action, Answers, next_step};
use crate::epochs::Moment;
use crate::state::State;
use crate::tuning::Tuning;
use evenkeel_schemas::{Dimension, Epoch, Key, Mode, OutcomeStatus, Topic};

/// Histories; each draws its own rules, mode and luck.
const HISTORIES: u64 = 100_000;
const STEPS: u64 = 40;
const SERVICE: &str = "shop";

/// SplitMix64 (Steele, Lea, Flood 2014).
pub(super) struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: u64) -> u64 {
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
    /// Until when nothing more may be said of a kind for a target.
    cooling: BTreeMap<String, i64>,
    /// By command: the episode it is for, and when it was acknowledged.
    purpose: BTreeMap<String, Option<String>>,
    acknowledged: BTreeMap<String, i64>,
}

/// What policies may ask for instead of the usual.
fn answers() -> Answers {
    let (to, args) = ("cache".to_owned(), Vec::new());
    let answers = [
        (Detector::ErrorBurst, vec![Action::Drain, Action::TripCircuit]),
        (Detector::ErrorRate, vec![Action::Rollback, Action::Reroute { to, percent: 90, step: 40 }]),
        (Detector::NodeSilent, vec![Action::Isolate, Action::RestartNode]),
        (Detector::Saturation, vec![Action::Throttle { percent: 50, step: 20 }]),
        (Detector::Latency, vec![Action::SetFlag { flag: "new-cart".to_owned(), on: false }]),
        (Detector::Canary, vec![Action::RunScript { script: "page-me".to_owned(), args }]),
    ];
    [("*".to_owned(), answers.into())].into()
}

struct World {
    dice: Dice,
    machine: Commands,
    state: Service,
    now: Moment,
    /// What is wrong at present: at most two things at a time.
    episodes: Vec<String>,
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
            // No tuning has 100: the last replica is a law of its own.
            max_out_percent: [0, 34, 50, 67, 100][dice.roll(5) as usize],
            hold_s: 1 + dice.roll(40) as i64,
            trial_s: 1 + dice.roll(20) as i64,
            ..Recovery::default()
        };
        let mode = [Mode::Observe, Mode::Suggest, Mode::Auto, Mode::Auto][dice.roll(4) as usize];
        let answers = if dice.roll(2) == 0 { answers() } else { Tuning::default().answers };
        let rules = Rules::recovered(&Tuning { recovery, mode, answers, ..Tuning::default() }, &State::default());
        let machine = Commands { rules, policy: Policy::default() };
        let mut state = Service::default();
        state.replicas.extend((0..dice.roll(5)).map(|n| format!("node-{n}")));
        let now = Moment { epoch: Epoch(1), now_us: 1_795_246_472_000_000, warm: false };
        Self { dice, machine, state, now, episodes: Vec::new(), witness: Witness::default(), seen: BTreeMap::new() }
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
                let by = "ada".to_owned();
                Word::Decided(Decided { at, command_id, by, approved, proven: false })
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
            6 if self.episodes.is_empty() => None,
            6 => {
                let episode = self.episodes.remove(self.dice.roll(self.episodes.len() as u64) as usize);
                let (incident_id, cause) = ("INC-1".to_owned(), self.cause());
                Some(Word::Situation { ended: true, episode, incident_id, cause, changes: Vec::new() })
            }
            _ => {
                if self.episodes.is_empty() || self.episodes.len() < 2 && self.dice.roll(4) == 0 {
                    self.episodes.push(format!("EPI-{}", self.now.epoch.0));
                }
                let episode = self.episodes[self.dice.roll(self.episodes.len() as u64) as usize].clone();
                let cause = self.cause();
                let changes = (0..self.dice.roll(3)).map(|_| self.change()).collect();
                Some(Word::Situation { ended: false, episode, incident_id: "INC-1".to_owned(), cause, changes })
            }
        }
    }

    fn change(&mut self) -> Changed {
        let (service, what, by) = (SERVICE.to_owned(), "deploy".to_owned(), "ci".to_owned());
        Changed { at_us: self.now.now_us, service, what, version: self.dice.roll(4).to_string(), by }
    }

    fn cause(&mut self) -> Cause {
        let detectors = answers()["*"].keys().copied().collect::<Vec<_>>();
        let detector = detectors[self.dice.roll(detectors.len() as u64) as usize];
        let nodes = (0..self.dice.roll(3)).map(|_| format!("node-{}", self.dice.roll(5))).collect::<BTreeSet<_>>();
        let key = Key::new([(Dimension::Service, SERVICE)]);
        let (nodes, evidence) = (nodes.into_iter().collect(), "seen".to_owned());
        Cause { detector, key, nodes, since_us: self.now.now_us, evidence, verdicts: 1 }
    }

    fn step(&mut self, seed: u64) {
        self.now.epoch.0 += 1;
        // Time may stand still or leap, and never goes back: the present of bindings.
        let leaps = self.dice.roll(50) == 0;
        self.now.now_us += self.dice.roll(if leaps { 3_600 } else { 8 }) as i64 * TICK_US;
        if self.dice.roll(20) == 0 {
            self.machine.policy.killed = !self.machine.policy.killed;
        }
        let (mut said, mut about) = (Vec::new(), None);
        if let Some(word) = self.word() {
            if let Word::Situation { episode, .. } = &word {
                about = Some(episode.clone());
            }
            self.machine.hear(&SERVICE.to_owned(), &mut self.state, word, self.now, &mut said);
        }
        self.check(said, about, seed);
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
        self.check(said, None, seed);
        self.in_time(seed);
    }

    fn check(&mut self, said: Vec<Said>, about: Option<String>, seed: u64) {
        let mut ended = None;
        for command in commands(said) {
            *self.seen.entry(command.state).or_default() += 1;
            let id = &command.command_id;
            if !self.witness.last.contains_key(id) {
                // What is said once more is for what the one before it was for.
                let purpose = about.clone().or(ended.take().flatten());
                self.witness.purpose.insert(id.clone(), purpose);
                self.cools(&command, seed);
            }
            self.hold(&command, seed);
            self.verified(&command, seed);
            ended = command.state.is_over().then(|| self.witness.purpose[id].clone());
            self.witness.last.insert(id.clone(), command);
        }
    }

    /// No second command of a kind for a target within the cool-down, unless one failed, a trial is on, or it is a step of
    /// the same measure.
    fn cools(&mut self, command: &Command, seed: u64) {
        let Command { kind, target, .. } = command;
        let (place, cooling) = (slot(*kind, target), &mut self.witness.cooling);
        if command.undo {
            cooling.remove(&place);
        } else if *kind == CommandKind::HalfOpen {
            cooling.remove(&slot(CommandKind::TripCircuit, target));
        } else if *kind != CommandKind::CloseCircuit {
            let until_us = self.now.now_us + self.machine.times().cooldown_s * TICK_US;
            let before_us = cooling.insert(place, until_us);
            assert!(before_us.is_none_or(|at_us| at_us <= self.now.now_us), "seed {seed}: it cools down: {command:?}");
        }
    }

    /// Whether a command helped is asked of what it was for, and not before its time.
    fn verified(&mut self, command: &Command, seed: u64) {
        let Command { kind, target, state, .. } = command;
        let why = format!("seed {seed}: {command:?}");
        let id = &command.command_id;
        let stands = self.witness.purpose[id].as_ref().is_some_and(|episode| self.episodes.contains(episode));
        let acknowledged_us = self.witness.acknowledged.get(id).copied();
        match state {
            CommandState::Acknowledged => drop(self.witness.acknowledged.insert(id.clone(), self.now.now_us)),
            CommandState::Done if acknowledged_us.is_some() => {
                let steps = command.detail == "the next step follows";
                if steps {
                    self.witness.cooling.remove(&slot(*kind, target));
                }
                let in_trial = command.detail == "it helped; errors came back in the trial";
                assert!(!stands || in_trial || steps, "what it was for stands: {why}");
            }
            CommandState::Failed | CommandState::Escalated if command.detail == "it did not help" => {
                let due_us = acknowledged_us.expect("it was carried out") + self.machine.verify_us(*kind);
                assert!(stands && self.now.now_us >= due_us, "it is judged too early, or wrongly: {why}");
            }
            CommandState::Expired if command.detail == "no actuator answered" => {
                assert!(self.now.now_us >= command.expires_us, "it expires too early: {why}");
            }
            _ => {}
        }
        if matches!(state, CommandState::Failed | CommandState::Escalated) {
            for it in [target.as_str(), SERVICE] {
                self.witness.cooling.remove(&slot(*kind, it));
            }
        }
    }

    /// Once all that is due was done, nothing waits for longer than it may.
    fn in_time(&self, seed: u64) {
        let now_us = self.now.now_us;
        for command in self.witness.last.values().filter(|command| command.mode != Mode::Observe) {
            let due_us = match command.state {
                CommandState::Proposed | CommandState::Issued => command.expires_us,
                // A circuit waits until it closed, a step for the next one.
                CommandState::Acknowledged
                    if command.kind != CommandKind::TripCircuit && next_step(&command.params).is_none() =>
                {
                    self.witness.acknowledged[&command.command_id] + self.machine.verify_us(command.kind)
                }
                _ => continue,
            };
            assert!(due_us > now_us, "seed {seed}: it waits for longer than it may: {command:?}");
        }
    }

    /// What a word about a command must not break.
    fn hold(&mut self, command: &Command, seed: u64) {
        use CommandState::{Acknowledged, Done, Escalated, Expired, Failed, Issued, Proposed, Rejected};
        let Command { kind, target, mode, state, undo, .. } = command;
        let why = format!("seed {seed}: {command:?}");
        let before = self.witness.last.get(&command.command_id).map(|before| before.state);
        let returns = *undo || matches!(kind, CommandKind::HalfOpen | CommandKind::CloseCircuit);
        let follows = match (before, state) {
            (None, Proposed) | (Some(Proposed), Issued | Expired | Rejected) => true,
            (Some(Proposed), Proposed) => command.detail.contains("does not count"),
            (None, Issued) => *mode != Mode::Suggest || returns,
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
        if kind.takes_out() && !undo && *state == Issued && target != SERVICE {
            let nodes = &self.state.replicas;
            let out = nodes.iter().filter(|node| self.state.is_out(node) || *node == target).count();
            assert!(nodes.iter().any(|node| node != target && !self.state.is_out(node)), "last: {why}");
            assert!(out * 100 <= nodes.len() * self.machine.times().max_out_percent as usize, "{out} out: {why}");
        }
        let done = |it: &Command| !it.undo && it.fence > 0 && slot(it.kind, &it.target) == slot(*kind, target);
        assert!(!undo || self.witness.last.values().any(done), "nothing was done that it takes back: {why}");
        assert!(returns || command.detail != "another one took its place", "it lives, and no other is said: {why}");
        match state {
            Failed if !is_given_up => *self.witness.futile.entry(target.clone()).or_default() += 1,
            Escalated => {
                let failed = self.witness.futile.remove(target).unwrap_or_default() + 1;
                assert_eq!(failed, self.machine.times().futile, "failures before it is given up: {why}");
                self.witness.given_up.insert(target.clone());
            }
            // A step that was followed by another has not been seen to help.
            Done if before == Some(Acknowledged) && command.detail != "the next step follows" => {
                self.witness.futile.remove(target);
            }
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
        // In the end whatever lives comes to an end by itself, and whatever holds is taken back or left to a person.
        world.machine.policy.killed = false;
        for episode in std::mem::take(&mut world.episodes) {
            let (incident_id, cause, changes) = ("INC-1".to_owned(), world.cause(), Vec::new());
            let over = Word::Situation { ended: true, episode, incident_id, cause, changes };
            let mut said = Vec::new();
            world.machine.hear(&SERVICE.to_owned(), &mut world.state, over, world.now, &mut said);
            world.check(said, None, seed);
        }
        for _ in 0..100 {
            let Some(alarm_us) = world.machine.alarm(&world.state) else { break };
            world.now.now_us = world.now.now_us.max(alarm_us);
            world.wake(seed);
        }
        assert!(world.state.live.is_empty(), "seed {seed}: {:?}", world.state.live);
        let is_left =
            |place: &String| world.state.frozen.iter().any(|it| it == SERVICE || place.ends_with(it.as_str()));
        assert!(world.state.measures.keys().all(is_left), "seed {seed}: {:?}", world.state.measures);
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
