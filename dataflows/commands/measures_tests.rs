//! What holds, played by hand: moved by steps, taken back by steps, held longer after a relapse, and never forgotten.

use super::tests::commands;
use super::*;
use crate::actions::{Action, Answers};
use crate::state::State;
use crate::tuning::Tuning;
use OutcomeStatus::{Applied, Failed, Refused};
use evenkeel_schemas::{Dimension, Epoch, Key, Mode, OutcomeStatus, Topic};

const SERVICE: &str = "shop";

struct Play {
    machine: Commands,
    state: Service,
    now: Moment,
    episodes: u32,
}

impl Play {
    fn new(detector: Detector, actions: Vec<Action>) -> Self {
        let answers: Answers = [("*".to_owned(), [(detector, actions)].into())].into();
        let recovery = Recovery { hold_s: 100, cooldown_s: 30, futile: 2, ..Recovery::default() };
        let tuning = Tuning { recovery, answers, mode: Mode::Auto, ..Tuning::default() };
        let machine = Commands { rules: Rules::recovered(&tuning, &State::default()), policy: Policy::default() };
        let mut state = Service::default();
        state.replicas.extend(["a", "b", "c"].map(str::to_owned));
        Self { machine, state, now: Moment { epoch: Epoch(1), now_us: 0, warm: false }, episodes: 0 }
    }

    fn hear(&mut self, word: Word) -> Vec<Command> {
        self.now.epoch.0 += 1;
        let mut said = Vec::new();
        self.machine.hear(&SERVICE.to_owned(), &mut self.state, word, self.now, &mut said);
        commands(said)
    }

    fn situation(&mut self, ended: bool, detector: Detector, nodes: &[&str], changes: Vec<Changed>) -> Vec<Command> {
        let (key, nodes) =
            (Key::new([(Dimension::Service, SERVICE)]), nodes.iter().map(|it| (*it).to_owned()).collect());
        let (evidence, since_us) = (String::new(), self.now.now_us);
        let cause = Cause { detector, key, nodes, since_us, evidence, verdicts: 1 };
        let (episode, incident_id) = (format!("EPI-{}", self.episodes), "INC-1".to_owned());
        self.hear(Word::Situation { ended, episode, incident_id, cause, changes })
    }

    fn begins(&mut self, detector: Detector, nodes: &[&str]) -> Vec<Command> {
        self.episodes += 1;
        self.situation(false, detector, nodes, Vec::new())
    }

    fn ends(&mut self, detector: Detector) -> Vec<Command> {
        self.situation(true, detector, &[], Vec::new())
    }

    /// Answers whatever is issued.
    fn answer(&mut self, status: OutcomeStatus) -> Vec<Command> {
        let issued = |live: &&Live| live.command.state == CommandState::Issued;
        let ids = self.state.live.values().filter(issued).map(|live| live.command.command_id.clone());
        let mut said = Vec::new();
        for command_id in ids.collect::<Vec<_>>() {
            let at = Coordinates { topic: Topic::Outcomes, partition: 0, offset: self.now.epoch.0 };
            let (service, detail) = (SERVICE.to_owned(), String::new());
            said.extend(
                self.hear(Word::Outcome(at, Outcome { event_time_us: 0, command_id, service, status, detail })),
            );
        }
        said
    }

    /// Goes on to the next time at which something is said; after how many seconds, and what.
    fn next(&mut self) -> (i64, Vec<Command>) {
        let before_us = self.now.now_us;
        let mut said = Vec::new();
        while let Some(alarm_us) = self.machine.alarm(&self.state).filter(|_| said.is_empty()) {
            self.now.now_us = self.now.now_us.max(alarm_us);
            self.now.epoch.0 += 1;
            self.machine.wake(&SERVICE.to_owned(), &mut self.state, self.now, &mut said);
        }
        ((self.now.now_us - before_us) / TICK_US, commands(said))
    }
}

/// The issued ones: how much they move, and whether they take back.
fn shares(said: &[Command]) -> Vec<(&str, bool)> {
    let issued = said.iter().filter(|command| command.state == CommandState::Issued);
    issued.map(|command| (command.params.get("percent").map_or("", String::as_str), command.undo)).collect()
}

fn states(said: &[Command]) -> Vec<CommandState> {
    said.iter().map(|command| command.state).collect()
}

fn reroute() -> Vec<Action> {
    vec![Action::Reroute { to: "cache".to_owned(), percent: 60, step: 25 }]
}

const LATENCY: Detector = Detector::Latency;

#[test]
fn traffic_is_moved_by_steps_and_back_by_steps_and_held_longer_after_a_relapse() {
    let mut play = Play::new(LATENCY, reroute());
    let said = play.begins(LATENCY, &[]);
    assert_eq!((shares(&said), said[0].params["to"].as_str()), (vec![("25", false)], "cache"));
    for (share, states_then) in [("50", 2), ("60", 2)] {
        play.answer(Applied);
        let (seconds, said) = play.next();
        assert_eq!((seconds, shares(&said), said.len()), (10, vec![(share, false)], states_then));
        assert_eq!(said[0].state, CommandState::Done, "the step before");
    }
    play.answer(Applied);
    // What it was for is over: it helped, holds a while, and goes back by steps.
    assert_eq!(states(&play.ends(LATENCY)), [CommandState::Done]);
    let (seconds, said) = play.next();
    assert_eq!((seconds, shares(&said)), (100, vec![("35", true)]));
    assert_eq!(states(&play.answer(Applied)), [CommandState::Done]);
    let (seconds, said) = play.next();
    assert_eq!((seconds, shares(&said)), (10, vec![("10", true)]));
    // It comes back while the step back is on its way: that one is overtaken, and nobody knows whether it was done.
    let said = play.begins(LATENCY, &[]);
    assert_eq!((states(&said)[0], shares(&said)), (CommandState::Expired, vec![("35", false)]));
    play.answer(Applied);
    play.next();
    play.answer(Applied);
    play.ends(LATENCY);
    // Held longer this time.
    let (seconds, said) = play.next();
    assert_eq!((seconds, shares(&said)), (200, vec![("35", true)]));
    for share in ["10", "0"] {
        play.answer(Applied);
        let (seconds, said) = play.next();
        assert_eq!((seconds, shares(&said)), (10, vec![(share, true)]));
    }
    play.answer(Applied);
    // A relapse shortly after counts, too; much later nothing is known of it.
    assert_eq!(play.state.measures.len(), 1);
    assert_eq!((play.next().1, play.state.measures.len()), (vec![], 0));
}

#[test]
fn what_may_have_been_done_is_taken_back_and_what_was_refused_is_not() {
    let flag = || vec![Action::SetFlag { flag: "new-cart".to_owned(), on: false }];
    // The answer is lost: taken back once, and if nobody answers that, it was nobody's to do.
    let mut play = Play::new(LATENCY, flag());
    assert_eq!(play.begins(LATENCY, &[])[0].params["on"], "false");
    assert_eq!(states(&play.next().1), [CommandState::Expired]);
    play.ends(LATENCY);
    let (seconds, said) = play.next();
    assert_eq!((seconds, said[0].undo, said[0].params["on"].as_str()), (100, true, "true"));
    assert_eq!((states(&play.next().1), play.state.measures.len()), (vec![CommandState::Expired], 0));
    // It was refused.
    let mut play = Play::new(LATENCY, flag());
    play.begins(LATENCY, &[]);
    assert_eq!(states(&play.answer(Refused)), [CommandState::Rejected]);
    play.ends(LATENCY);
    assert_eq!(play.next().1, []);
    // It cannot be taken back: tried again, then a person's, and again once a person says so.
    let mut play = Play::new(LATENCY, flag());
    play.begins(LATENCY, &[]);
    play.answer(Applied);
    play.ends(LATENCY);
    play.next();
    assert_eq!(states(&play.answer(Failed)), [CommandState::Failed]);
    let (seconds, said) = play.next();
    assert_eq!((seconds, said[0].undo), (30, true));
    // This time nobody answers.
    assert_eq!(states(&play.next().1), [CommandState::Escalated]);
    play.now.now_us += 10_000 * TICK_US;
    let mut said = Vec::new();
    play.machine.wake(&SERVICE.to_owned(), &mut play.state, play.now, &mut said);
    assert_eq!(said, []);
    play.hear(Word::Resumed);
    let (_, said) = play.next();
    assert!(said[0].undo && said[0].state == CommandState::Issued);
}

#[test]
fn nothing_is_taken_back_while_something_else_stands_or_the_kill_switch_is_engaged() {
    let mut play = Play::new(LATENCY, reroute());
    play.begins(LATENCY, &[]);
    play.answer(Applied);
    play.ends(LATENCY);
    play.begins(Detector::Traffic, &[]);
    play.now.now_us += 1_000 * TICK_US;
    let mut said = Vec::new();
    play.machine.wake(&SERVICE.to_owned(), &mut play.state, play.now, &mut said);
    assert_eq!(said, []);
    play.ends(Detector::Traffic);
    play.machine.policy.killed = true;
    play.now.now_us += 1_000 * TICK_US;
    play.machine.wake(&SERVICE.to_owned(), &mut play.state, play.now, &mut said);
    assert_eq!(said, []);
    play.machine.policy.killed = false;
    assert_eq!(shares(&play.next().1), [("0", true)]);
}

#[test]
fn the_first_action_that_can_be_done_is_taken() {
    let actions = vec![Action::Rollback, Action::Drain, Action::TripCircuit];
    let mut play = Play::new(Detector::ErrorBurst, actions);
    let kinds = |said: &[Command]| said.iter().map(|it| (it.kind, it.target.clone())).collect::<Vec<_>>();
    // Nothing was deployed; of three one can be spared.
    let said = play.begins(Detector::ErrorBurst, &["a", "b"]);
    assert_eq!(kinds(&said), [(CommandKind::Drain, "a".to_owned())]);
    let said = play.situation(false, Detector::ErrorBurst, &["a", "b", "c"], Vec::new());
    assert_eq!(kinds(&said), [(CommandKind::TripCircuit, SERVICE.to_owned())]);
    // Of its deploys the newest before it began, once.
    let deploy = |at_us: i64, version: &str| {
        let (service, what, by) = (SERVICE.to_owned(), "deploy".to_owned(), "ci".to_owned());
        Changed { at_us, service, what, version: version.to_owned(), by }
    };
    let mut play = Play::new(Detector::ErrorRate, vec![Action::Rollback]);
    play.now.now_us = 7_200 * TICK_US;
    let mut changes = vec![deploy(1, "1"), deploy(play.now.now_us - 5, "2")];
    let said = play.situation(false, Detector::ErrorRate, &[], changes.clone());
    let params = |said: &[Command]| said.iter().map(|it| it.params.clone()).collect::<Vec<_>>();
    assert_eq!(params(&said), [BTreeMap::from([("version", "2"), ("to", "1")].map(|(a, b)| (a.into(), b.into())))]);
    play.answer(Applied);
    // The rollback is a deploy, too, and does not help: it is not rolled back to what was rolled back.
    changes.push(deploy(play.now.now_us + 1, "1"));
    play.now.now_us += 40 * TICK_US;
    play.ends(Detector::ErrorRate);
    play.episodes += 1;
    assert_eq!(play.situation(false, Detector::ErrorRate, &[], changes), []);
}

/// A version of which all requests went elsewhere is known to be well only once it showed nothing for a minute.
#[test]
fn what_gets_no_requests_any_more_is_given_longer_to_be_known_to_be_well() {
    let split = Action::SplitTraffic { to: "1".to_owned(), percent: 100, step: 100 };
    let flag = Action::SetFlag { flag: "new-cart".to_owned(), on: false };
    for (action, seconds_then) in [(split, 120), (flag, 60)] {
        let mut play = Play::new(LATENCY, vec![action]);
        play.begins(LATENCY, &[]);
        play.answer(Applied);
        let (seconds, said) = play.next();
        assert_eq!(seconds, seconds_then);
        assert!(said.iter().any(|command| command.detail == "it did not help"), "{said:?}");
    }
}
