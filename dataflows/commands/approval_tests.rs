//! Approvals held to their laws over random histories: rosters, roles, numbers of persons and proofs that change meanwhile,
//! words that are doubled, late, unproven or of strangers, glasses that are broken, replayed and over, and restarts.

use super::tests::{Dice, commands};
use super::*;
use crate::approvals::Approval;
use crate::roster::{BreakGlass, Person};
use crate::state::State;
use crate::tuning::Tuning;
use evenkeel_schemas::{Dimension, Epoch, Key, Mode, Topic};

const HISTORIES: u64 = 20_000;
const STEPS: u64 = 60;
const SERVICE: &str = "shop";
const PEOPLE: [&str; 4] = ["ann", "bob", "cy", "eve"];

/// What is remembered beside the machine.
#[derive(Default)]
struct Witness {
    /// Who approved each command.
    words: BTreeMap<String, Vec<String>>,
    last: BTreeMap<String, Command>,
    /// Until when whom the glass lets decide alone, by order.
    glasses: BTreeMap<String, i64>,
    heard_us: BTreeMap<String, i64>,
}

struct World {
    dice: Dice,
    machine: Commands,
    state: Service,
    now: Moment,
    witness: Witness,
    /// How often what was seen.
    seen: BTreeMap<String, u64>,
}

fn rules(dice: &mut Dice) -> Rules {
    let mut tuning =
        Tuning { mode: [Mode::Suggest, Mode::Approve, Mode::Auto][dice.roll(3) as usize], ..Tuning::default() };
    for name in &PEOPLE[..3] {
        let roles = ["sre", "lead"].into_iter().filter(|_| dice.roll(2) == 0).map(str::to_owned).collect();
        if dice.roll(5) > 0 {
            tuning.roster.people.insert((*name).to_owned(), Person { roles, ..Person::default() });
        }
    }
    let roles = |dice: &mut Dice| match dice.roll(3) {
        0 => BTreeSet::new(),
        1 => BTreeSet::from(["sre".to_owned()]),
        _ => BTreeSet::from(["sre".to_owned(), "lead".to_owned()]),
    };
    tuning.roster.break_glass = BreakGlass { roles: roles(dice), totp: false, longest_s: 60 + dice.roll(200) as u32 };
    if dice.roll(4) > 0 {
        let (roles, persons, totp) = (roles(dice), 1 + dice.roll(2) as u32, dice.roll(3) == 0);
        let rule = Approval { roles, persons, totp, wait_s: dice.roll(2) as i64 * 90 };
        let (service, kind) = (["*", SERVICE][dice.roll(2) as usize], ["*", "scale"][dice.roll(2) as usize]);
        tuning.approvals.insert(service.to_owned(), BTreeMap::from([(kind.to_owned(), rule)]));
    }
    Rules::recovered(&tuning, &State::default())
}

impl World {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let machine = Commands { rules: rules(&mut dice), policy: Policy::default() };
        let now = Moment { epoch: Epoch(1), now_us: 1_795_246_472_000_000, warm: false };
        Self { dice, machine, state: Service::default(), now, witness: Witness::default(), seen: BTreeMap::new() }
    }

    fn any<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.dice.roll(of.len() as u64) as usize]
    }

    fn see(&mut self, what: &str) {
        *self.seen.entry(what.to_owned()).or_default() += 1;
    }

    fn step(&mut self, seed: u64) {
        self.now.epoch.0 += 1;
        self.now.now_us += self.dice.roll(8) as i64 * TICK_US;
        for glass in self.machine.policy.glasses.over(self.now.now_us) {
            assert!(self.witness.glasses[&glass.by] <= self.now.now_us, "seed {seed}: {glass:?} ends before its time");
            self.see("a glass that was over");
        }
        match self.dice.roll(12) {
            0..=3 => self.situation(seed),
            4..=8 => self.word(seed),
            9 => self.glass(seed),
            10 if self.dice.roll(4) == 0 => self.machine.rules = rules(&mut self.dice),
            _ if self.dice.roll(8) == 0 => self.machine.policy.killed = !self.machine.policy.killed,
            _ => {}
        }
        let kept = serde_json::to_vec(&(&self.state, &self.machine.policy)).expect("states are JSON");
        (self.state, self.machine.policy) = serde_json::from_slice(&kept).expect("what was kept");
        if self.machine.alarm(&self.state).is_some_and(|at_us| at_us <= self.now.now_us) {
            let mut said = Vec::new();
            self.machine.wake(&SERVICE.to_owned(), &mut self.state, self.now, &mut said);
            self.follow(said, None, seed);
        }
    }

    fn situation(&mut self, seed: u64) {
        let detector = self.any(&[Detector::Saturation, Detector::NodeSilent, Detector::ErrorBurst]);
        let (key, nodes) = (Key::new([(Dimension::Service, SERVICE)]), vec!["a".to_owned()]);
        let cause = Cause { detector, key, nodes, since_us: self.now.now_us, evidence: String::new(), verdicts: 1 };
        let (episode, incident_id) = (format!("EPI-{}", self.now.epoch.0), "INC-1".to_owned());
        self.hear(Word::Situation { ended: false, episode, incident_id, cause, changes: Vec::new() }, seed);
    }

    fn word(&mut self, seed: u64) {
        let ids = self.witness.last.keys().rev().take(4).cloned().collect::<Vec<_>>();
        let command_id = match ids.len() {
            0 => "CMD-none".to_owned(),
            many => ids[self.dice.roll(many as u64) as usize].clone(),
        };
        let at = Coordinates { topic: Topic::Control, partition: 0, offset: self.now.epoch.0 };
        let (by, approved, proven) = (self.any(&PEOPLE).to_owned(), self.dice.roll(8) > 0, self.dice.roll(2) == 0);
        self.hear(Word::Decided(Decided { at, command_id, by, approved, proven }), seed);
    }

    fn glass(&mut self, seed: u64) {
        let by = self.any(&PEOPLE).to_owned();
        let for_s = self.any(&[0, 5, 60, 200, 14_400]);
        let event_time_us = self.now.now_us - self.dice.roll(2) as i64 * self.dice.roll(300) as i64 * TICK_US;
        let (service, why, seal) = (SERVICE.to_owned(), "night".to_owned(), String::new());
        let order =
            Control::BreakGlass { event_time_us, by: by.clone(), service, for_s, why, proofs: Vec::new(), seal };
        let roster = self.machine.rules.tuning().roster.clone();
        let heard = self.machine.policy.glasses.hear(&order, &roster, self.now).expect("such an order");
        let to_us = event_time_us + i64::from(for_s) * TICK_US;
        let may = roster.people.get(&by).is_some_and(|it| it.has_one_of(&roster.break_glass.roles));
        let is_new = self.witness.heard_us.get(&by).is_none_or(|heard_us| *heard_us < event_time_us);
        let stood = self.witness.glasses.get(&by).is_some_and(|to_us| *to_us > self.now.now_us);
        let lasts = if for_s == 0 { stood } else { for_s <= roster.break_glass.longest_s && to_us > self.now.now_us };
        assert_eq!(heard.is_ok(), may && is_new && lasts, "seed {seed}: {order:?} {heard:?}");
        if heard.is_ok() {
            self.witness.heard_us.insert(by.clone(), event_time_us);
            self.witness.glasses.insert(by, if for_s == 0 { self.now.now_us } else { to_us });
            self.see(if for_s == 0 { "a glass that was ended" } else { "a glass that was broken" });
        }
    }

    fn hear(&mut self, word: Word, seed: u64) {
        let decided = if let Word::Decided(word) = &word { Some(word.clone()) } else { None };
        let mut said = Vec::new();
        self.machine.hear(&SERVICE.to_owned(), &mut self.state, word, self.now, &mut said);
        if let Some(word) = &decided {
            assert_eq!(said.len(), 1, "seed {seed}: every word of a person is answered once: {word:?} {said:?}");
        }
        self.follow(said, decided, seed);
    }

    fn follow(&mut self, said: Vec<Said>, word: Option<Decided>, seed: u64) {
        for refused in said.iter().filter_map(|said| if let Said::Refused(it) = said { Some(it) } else { None }) {
            let waits = self.witness.last.get(&refused.word.command_id);
            let waits = waits.is_some_and(|it| it.state == CommandState::Proposed);
            assert!(!waits, "seed {seed}: it waited: {refused:?}");
            self.see("not_waiting");
        }
        for command in commands(said) {
            let before = self.witness.last.insert(command.command_id.clone(), command.clone()).map(|it| it.state);
            match &word {
                Some(word) => self.decided(word, before, &command, seed),
                None => assert!(
                    before.is_none() || command.state != CommandState::Issued,
                    "seed {seed}: nobody approved {command:?}"
                ),
            }
            let rule = self.machine.rules.tuning().approval(SERVICE, command.kind);
            let returns = matches!(command.kind, CommandKind::HalfOpen | CommandKind::CloseCircuit);
            if before.is_none() && command.state == CommandState::Issued && !returns {
                assert_eq!((command.mode, rule), (Mode::Auto, None), "seed {seed}: {command:?}");
            }
        }
    }

    /// What came of a person's word about a proposal: said by the rules of now, all of them, and by nothing else.
    fn decided(&mut self, word: &Decided, before: Option<CommandState>, command: &Command, seed: u64) {
        let why = format!("seed {seed}: {word:?} from {before:?}: {command:?}");
        assert_eq!(before, Some(CommandState::Proposed), "{why}");
        let tuning = self.machine.rules.tuning();
        let rule = tuning.approval(SERVICE, command.kind).cloned();
        let rule = rule.or_else(|| (command.mode == Mode::Approve).then(Approval::default));
        let fits = |name: &str| {
            let (person, rule) = (tuning.roster.people.get(name), rule.as_ref());
            rule.is_none_or(|rule| person.is_some_and(|it| it.has_one_of(&rule.roles)))
        };
        let is_known = rule.is_none() || tuning.roster.people.contains_key(&word.by);
        let alone = is_known && self.witness.glasses.get(&word.by).is_some_and(|to_us| *to_us > self.now.now_us);
        let is_proven = word.proven || rule.as_ref().is_none_or(|rule| !rule.totp);
        let mut words = self.witness.words.entry(command.command_id.clone()).or_default().clone();
        let is_second = rule.is_some() && words.contains(&word.by);
        let stops = word.approved && self.machine.policy.killed;
        let counts = is_known && is_proven && !stops && (alone || fits(&word.by) && !(word.approved && is_second));
        let refused = command.detail.contains("does not count");
        if refused {
            let code = command.detail.split(": ").nth(1).unwrap_or_default().to_owned();
            assert!(!counts || ["expired", "given_up"].contains(&code.as_str()), "{why}");
            assert_eq!(command.state, CommandState::Proposed, "{why}");
            return self.see(&code);
        }
        assert!(counts, "it does not count: {why}");
        if !word.approved {
            assert_eq!(command.state, CommandState::Rejected, "{why}");
            return self.see("rejected");
        }
        words.push(word.by.clone());
        words.retain(|name| fits(name) || *name == word.by);
        let persons = words.iter().collect::<BTreeSet<_>>().len();
        let needed = rule.filter(|_| !alone).map_or(1, |rule| rule.persons as usize);
        match command.state {
            CommandState::Issued => assert!(persons >= needed, "{persons} of {needed}: {why}"),
            CommandState::Proposed => assert!(persons < needed, "{persons} of {needed}: {why}"),
            state => assert_eq!(state, CommandState::Rejected, "{why}"),
        }
        self.see(match (command.state, alone, needed) {
            (CommandState::Issued, true, _) => "alone",
            (CommandState::Issued, false, 1) => "one person",
            (CommandState::Issued, ..) => "two persons",
            _ => "the first of two",
        });
        self.witness.words.insert(command.command_id.clone(), words);
    }
}

#[test]
fn nothing_is_issued_without_those_whom_the_rules_name() {
    let mut seen = BTreeMap::<String, u64>::new();
    for seed in 0..HISTORIES {
        let mut world = World::new(seed);
        for _ in 0..STEPS {
            world.step(seed);
        }
        for (what, count) in world.seen {
            *seen.entry(what).or_default() += count;
        }
    }
    println!("{HISTORIES} histories, {seen:?}");
    let refusals = ["not_waiting", "not_on_roster", "no_role", "same_person", "not_proven", "killed", "expired"];
    let words = ["one person", "the first of two", "two persons", "alone", "rejected"];
    let glasses = ["a glass that was broken", "a glass that was ended", "a glass that was over"];
    for what in refusals.iter().chain(&words).chain(&glasses) {
        assert!(seen.get(*what).is_some_and(|count| *count > 50), "{what} was hardly seen: {seen:?}");
    }
}
