//! The actuator against a HAProxy that is played: a socket that keeps the state of servers, and may misbehave. The real one
//! is in `tests/haproxy`.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::{Address, Hands, Haproxy, Map, Runtime, TakeOut};
use crate::act::tests::command;
use crate::act::{Act, Actuator, Book};
use crate::memory::{FixedClock, MemoryLedger};
use crate::ports::{Ledger, PortError};
use crate::report::Inbox;
use evenkeel_dataflows::{Changes, Output};
use evenkeel_schemas::{Binding, Command, CommandKind, CommandState, Cut, Dataset, Epoch, Mode, OutcomeStatus};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const NOW_US: i64 = 1_795_246_472_000_000;

/// What the played HAProxy knows: of each server of `app`, admin state and weight; and every `set` it was told.
#[derive(Default)]
struct World {
    servers: BTreeMap<String, (u32, u32)>,
    orders: Vec<String>,
    pid: u32,
    /// Answers as if it had obeyed.
    lies: bool,
}

struct Stage {
    directory: PathBuf,
    world: Arc<Mutex<World>>,
    ledger: MemoryLedger,
    clock: FixedClock,
    take_out: TakeOut,
    epoch: u64,
}

impl Stage {
    fn new(name: &str, servers: &[&str]) -> Self {
        let directory = std::env::temp_dir().join(format!("evenkeel-act-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&directory);
        std::fs::create_dir_all(&directory).unwrap();
        let servers = servers.iter().map(|server| ((*server).to_owned(), (0, 100))).collect();
        let world = Arc::new(Mutex::new(World { servers, pid: 7, ..World::default() }));
        let listener = UnixListener::bind(directory.join("socket")).unwrap();
        std::thread::spawn({
            let world = Arc::clone(&world);
            move || listener.incoming().for_each(|stream| answer(stream.unwrap(), &mut world.lock().unwrap()))
        });
        let (ledger, clock, take_out) = (MemoryLedger::default(), FixedClock::new(NOW_US), TakeOut::Drain);
        Self { directory, world, ledger, clock, take_out, epoch: 0 }
    }

    /// A process that begins, with whatever was stored.
    fn start(&self) -> Actuator<FixedClock> {
        let address = Address::Unix(self.directory.join("socket"));
        let hands = Hands { runtimes: vec![Runtime { address }], take_out: self.take_out, trial_percent: 20 };
        let map =
            Map::parse(["s1=app/s1", "s2=app/s2 # with a comment", "", "web/s3=app/s3", "pair=app/s1", "pair=app/s2"]);
        let store = Book::kept_in(&self.directory.join("state")).unwrap();
        let haproxy = Box::new(Haproxy::new(map.unwrap(), hands));
        Actuator::new(store, haproxy, Vec::new(), self.clock.clone()).unwrap()
    }

    fn turn(&self, actuator: &mut Actuator<FixedClock>) -> Vec<Act> {
        let mut inbox = Inbox::in_directory(&self.directory.join("data"), 0);
        actuator.turn(&mut self.ledger.clone(), &mut inbox, Duration::ZERO).unwrap()
    }

    /// Commits a word about a command in an epoch of its own; returns the command.
    fn say(&mut self, command: Command) -> Command {
        let value = serde_json::to_vec(&command).unwrap();
        let key = command.command_id.clone().into_bytes();
        let epoch = Epoch(self.epoch);
        let binding = Binding { epoch, now_us: NOW_US, resume: epoch, upper: Cut::default() };
        let outputs = vec![Output { dataset: Dataset::Commands, partition: 0, key, value }];
        self.ledger.commit(&[Changes { binding, outputs, records: 0 }]).unwrap();
        self.epoch += 1;
        command
    }

    fn issue(&mut self, kind: CommandKind, target: &str, fence: u64) -> Command {
        let id = format!("CMD-{}", self.epoch);
        self.say(command(id, kind, target, fence, &[]))
    }

    fn orders(&self) -> Vec<String> {
        std::mem::take(&mut self.world.lock().unwrap().orders)
    }

    fn is(&self, server: &str) -> (u32, u32) {
        self.world.lock().unwrap().servers[server]
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// Answers one question as HAProxy 2.6 does.
fn answer(stream: UnixStream, world: &mut World) {
    let mut question = String::new();
    BufReader::new(stream.try_clone().unwrap()).read_line(&mut question).unwrap();
    let words = question.split_whitespace().collect::<Vec<_>>();
    let text = match words.as_slice() {
        ["show", "info"] => format!("Name: HAProxy\nPid: {}\n", world.pid),
        ["show", "servers", "state", "app"] => {
            let line = |(name, (admin, weight)): (&String, &(u32, u32))| {
                format!("3 app 1 {name} 127.0.0.1 2 {admin} {weight} 100 -\n")
            };
            let lines = world.servers.iter().map(line).collect::<String>();
            format!(
                "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight x\n{lines}"
            )
        }
        ["show", "stat", "app", "4", "-1"] => {
            let line = |(name, (admin, weight)): (&String, &(u32, u32))| {
                let status = if admin & 9 != 0 { "DRAIN" } else { "UP" };
                format!("app,{name},{status},{weight},1,\n")
            };
            format!("# pxname,svname,status,weight,act,\n{}", world.servers.iter().map(line).collect::<String>())
        }
        ["show", "servers", "state", _] => "Can't find backend.\n".to_owned(),
        ["set", "server", place, what, value] => {
            world.orders.push(format!("{place} {what} {value}"));
            let lies = world.lies;
            match world.servers.get_mut(place.trim_start_matches("app/")) {
                None => "No such server.\n".to_owned(),
                Some(_) if lies => String::new(),
                Some(server) => {
                    match (*what, *value) {
                        ("state", "drain") => server.0 = 8,
                        ("state", "maint") => server.0 = 1,
                        ("state", _) => server.0 = 0,
                        (_, weight) => server.1 = weight.parse().unwrap(),
                    }
                    String::new()
                }
            }
        }
        _ => "Unknown command.\n".to_owned(),
    };
    let _ = (&stream).write_all(format!("{text}\n").as_bytes());
}

fn statuses(acts: &[Act]) -> Vec<OutcomeStatus> {
    acts.iter().map(|act| act.outcome.status).collect()
}

use CommandKind::{CloseCircuit, HalfOpen, RestartNode, Scale, TripCircuit};
use OutcomeStatus::{Applied, Failed, Refused};

#[test]
fn a_server_is_taken_out_tried_and_brought_back() {
    let mut stage = Stage::new("whole", &["s1", "s2", "s3"]);
    let mut actuator = stage.start();
    stage.issue(TripCircuit, "s2", 1);
    let acts = stage.turn(&mut actuator);
    assert_eq!((statuses(&acts), stage.orders()), (vec![Applied], vec!["app/s2 state drain".to_owned()]));
    assert_eq!(acts[0].outcome.detail, "app/s2 drain, weight 100 of 100");
    stage.issue(HalfOpen, "s2", 2);
    assert_eq!(statuses(&stage.turn(&mut actuator)), [Applied]);
    // The weight first: it never gets its whole share.
    assert_eq!(stage.orders(), ["app/s2 weight 20", "app/s2 state ready"]);
    stage.issue(CloseCircuit, "s2", 3);
    assert_eq!(statuses(&stage.turn(&mut actuator)), [Applied]);
    assert_eq!((stage.orders(), stage.is("s2")), (vec!["app/s2 weight 100".to_owned()], (0, 100)));
    assert!(actuator.book().wanted.is_empty());
}

#[test]
fn one_that_is_not_its_to_carry_out_is_left() {
    let mut stage = Stage::new("left", &["s1", "s2", "s3"]);
    let mut actuator = stage.start();
    stage.issue(Scale, "s1", 1);
    stage.issue(RestartNode, "s1", 1);
    stage.issue(TripCircuit, "app", 1);
    stage.issue(TripCircuit, "s3", 1); // of `web` it would be
    for (state, mode) in [
        (CommandState::Proposed, Mode::Suggest),
        (CommandState::Proposed, Mode::Observe),
        (CommandState::Issued, Mode::Observe),
    ] {
        let id = format!("CMD-{state:?}-{mode:?}");
        stage.say(Command { state, mode, ..command(id, TripCircuit, "s1", 1, &[]) });
    }
    assert_eq!((stage.turn(&mut actuator), stage.orders()), (vec![], vec![]));
}

#[test]
fn what_is_late_or_overtaken_is_refused() {
    let mut stage = Stage::new("late", &["s1", "s2", "s3"]);
    let mut actuator = stage.start();
    let expired = Command { expires_us: NOW_US + 5, ..command("CMD-late".to_owned(), TripCircuit, "s1", 1, &[]) };
    stage.say(expired);
    stage.clock.set(NOW_US + 6);
    let acts = stage.turn(&mut actuator);
    assert_eq!((statuses(&acts), acts[0].outcome.detail.contains("expired")), (vec![Refused], true));
    stage.issue(CloseCircuit, "s1", 9);
    stage.issue(TripCircuit, "s1", 8);
    let acts = stage.turn(&mut actuator);
    assert_eq!(statuses(&acts), [Applied, Refused]);
    drop(actuator);
    // The fence outlives the process.
    let mut actuator = stage.start();
    stage.issue(TripCircuit, "s1", 7);
    let acts = stage.turn(&mut actuator);
    assert_eq!((statuses(&acts), acts[0].outcome.detail.contains("fence 7 is older than 9")), (vec![Refused], true));
    assert_eq!(stage.orders(), [""; 0]);
}

#[test]
fn the_last_healthy_server_is_never_taken_out() {
    let mut stage = Stage::new("last", &["s1", "s2"]);
    let mut actuator = stage.start();
    stage.issue(TripCircuit, "pair", 1);
    stage.issue(TripCircuit, "s1", 1);
    stage.issue(TripCircuit, "s2", 2);
    assert_eq!(statuses(&stage.turn(&mut actuator)), [Refused, Applied, Refused]);
    // One on trial does not count as healthy.
    stage.issue(HalfOpen, "s1", 3);
    stage.issue(TripCircuit, "s2", 4);
    assert_eq!(statuses(&stage.turn(&mut actuator)), [Applied, Refused]);
    stage.issue(CloseCircuit, "s1", 5);
    stage.issue(TripCircuit, "s2", 6);
    assert_eq!(statuses(&stage.turn(&mut actuator)), [Applied, Applied]);
}

#[test]
fn a_command_is_carried_out_once_whenever_the_process_dies() {
    let mut stage = Stage::new("once", &["s1", "s2", "s3"]);
    let trip = stage.issue(TripCircuit, "s1", 1);
    let mut actuator = stage.start();
    assert_eq!(statuses(&stage.turn(&mut actuator)), [Applied]);
    drop(actuator);
    // It died after it stored: the command comes again, and is known.
    let mut actuator = stage.start();
    stage.say(trip.clone());
    assert_eq!((stage.turn(&mut actuator), stage.orders().len()), (vec![], 1));
    drop(actuator);
    // It died after it acted, before it stored: what is so is left, and answered.
    std::fs::remove_file(stage.directory.join("state/actuator.json")).unwrap();
    let mut actuator = stage.start();
    let acts = stage.turn(&mut actuator);
    assert_eq!((statuses(&acts), stage.orders()), (vec![Applied], vec![]));
    assert_eq!(acts[0].outcome.detail, "app/s1 drain, weight 100 of 100 already");
    // It died after it stored, before it said so: that is said.
    drop(actuator);
    let path = stage.directory.join("state/actuator.json");
    let said = std::fs::read_to_string(&path).unwrap();
    assert!(said.contains("\"said\":true"), "what was said is not said again: {said}");
    std::fs::write(&path, said.replace("\"said\":true", "\"said\":false")).unwrap();
    let mut actuator = stage.start();
    assert!(actuator.book().done.iter().all(|done| !done.said));
    assert_eq!(stage.turn(&mut actuator), []);
    assert!(actuator.book().done.iter().all(|done| done.said));
}

#[test]
fn success_is_what_is_seen_afterwards() {
    let mut stage = Stage::new("lies", &["s1", "s2", "s3"]);
    stage.world.lock().unwrap().lies = true;
    let mut actuator = stage.start();
    stage.issue(TripCircuit, "s1", 1);
    let acts = stage.turn(&mut actuator);
    assert_eq!(statuses(&acts), [Failed]);
    assert!(acts[0].outcome.detail.starts_with("app/s1 is ready, weight 100 of 100 after"), "{:?}", acts[0].outcome);
}

#[test]
fn what_a_haproxy_forgot_when_it_was_started_anew_is_done_again() {
    let mut stage = Stage::new("forgot", &["s1", "s2", "s3"]);
    let mut actuator = stage.start();
    stage.issue(TripCircuit, "s1", 1);
    stage.turn(&mut actuator);
    drop(actuator);
    stage.orders();
    // By hand, in the same process: left.
    stage.world.lock().unwrap().servers.insert("s1".to_owned(), (0, 100));
    let mut actuator = stage.start();
    stage.turn(&mut actuator);
    assert_eq!(stage.orders(), [""; 0]);
    drop(actuator);
    stage.world.lock().unwrap().pid = 8;
    let mut actuator = stage.start();
    stage.turn(&mut actuator);
    assert_eq!((stage.orders(), stage.is("s1")), (vec!["app/s1 state drain".to_owned()], (8, 100)));
}

#[test]
fn a_person_s_maintenance_is_left() {
    let mut stage = Stage::new("person", &["s1", "s2", "s3"]);
    stage.world.lock().unwrap().servers.insert("s1".to_owned(), (1, 100));
    let mut actuator = stage.start();
    stage.issue(TripCircuit, "s1", 1);
    assert_eq!(statuses(&stage.turn(&mut actuator)), [Applied]);
    stage.issue(CloseCircuit, "s1", 2);
    assert_eq!(statuses(&stage.turn(&mut actuator)), [Refused]);
    assert_eq!((stage.orders(), stage.is("s1")), (vec![], (1, 100)));
    drop(actuator);
    // What evenkeel itself put into maintenance, it takes out of it.
    stage.take_out = TakeOut::Maint;
    let mut actuator = stage.start();
    stage.issue(TripCircuit, "s2", 3);
    stage.turn(&mut actuator);
    assert_eq!(stage.is("s2"), (1, 100));
    stage.issue(HalfOpen, "s2", 4);
    assert_eq!((statuses(&stage.turn(&mut actuator)), stage.is("s2")), (vec![Applied], (0, 20)));
}

#[test]
fn a_haproxy_that_is_away_is_waited_for_until_the_command_expires() {
    let mut stage = Stage::new("away", &["s1", "s2", "s3"]);
    let socket = stage.directory.join("socket");
    std::fs::rename(&socket, stage.directory.join("gone")).unwrap();
    let mut actuator = stage.start();
    stage.issue(TripCircuit, "s1", 1);
    let second = stage.issue(TripCircuit, "s2", 1);
    assert_eq!((stage.turn(&mut actuator), actuator.book().waiting.len()), (vec![], 2));
    // What came to an end meanwhile is not waited for, nor carried out.
    stage.say(Command { state: CommandState::Expired, ..second });
    drop(actuator);
    let mut actuator = stage.start();
    assert_eq!((stage.turn(&mut actuator), actuator.book().waiting.len()), (vec![], 1));
    std::fs::rename(stage.directory.join("gone"), &socket).unwrap();
    std::thread::sleep(Duration::from_millis(150));
    assert_eq!(statuses(&stage.turn(&mut actuator)), [Applied]);
    std::fs::rename(&socket, stage.directory.join("gone")).unwrap();
    stage.issue(TripCircuit, "s2", 2);
    stage.turn(&mut actuator);
    stage.clock.set(NOW_US + 61_000_000);
    std::thread::sleep(Duration::from_millis(150));
    assert_eq!(statuses(&stage.turn(&mut actuator)), [Refused]);
}

#[test]
fn a_wrong_map_is_found_at_the_start_and_says_how_to_write_it() {
    for line in ["s1", "s1=app", "s1=app/", "=app/s1", "s1=app/s1; shutdown sessions server app/s2", "s1=a\nb/c"] {
        let Err(PortError::Fatal(why)) = Map::parse([line]) else { panic!("{line:?} is no entry") };
        assert!(why.contains("NODE=BACKEND/SERVER"), "{why}");
    }
    let stage = Stage::new("map", &["s1"]);
    let address = Address::Unix(stage.directory.join("socket"));
    let hands = Hands { runtimes: vec![Runtime { address }], take_out: TakeOut::Drain, trial_percent: 20 };
    assert!(hands.look(Map::parse(["s1=app/s1"]).unwrap().places()).is_ok());
    for (line, why) in [("s1=app/s9", "no server app/s9"), ("s1=shop/s1", "Can't find backend")] {
        let error = hands.look(Map::parse([line]).unwrap().places()).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
    let two = (Book::kept_in(&stage.directory.join("state")), Book::kept_in(&stage.directory.join("state")));
    assert!(two.0.is_ok() && matches!(two.1, Err(PortError::Fatal(_))), "two would both act");
}

#[test]
fn addresses_are_written_as_haproxy_writes_them() {
    let unix = Address::Unix("/run/haproxy/admin.sock".into());
    assert_eq!("unix@/run/haproxy/admin.sock".parse(), Ok(unix.clone()));
    assert_eq!("/run/haproxy/admin.sock".parse(), Ok(unix));
    assert_eq!("ipv4@127.0.0.1:9999".parse(), Ok(Address::Tcp("127.0.0.1:9999".to_owned())));
    assert!("admin".parse::<Address>().is_err() && "host:port".parse::<Address>().is_err());
}
