//! The actuator against an Envoy that is played: an admin interface that says what is in the file, or something else. The
//! real one is in `tests/envoy`.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::{Admin, Envoy};
use crate::act::tests::{NOW_US, Stage};
use crate::act::{Act, Actuator};
use crate::memory::FixedClock;
use crate::ports::PortError;
use evenkeel_schemas::{Command, CommandKind, OutcomeStatus};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use CommandKind::{CloseCircuit, Drain, HalfOpen, Isolate, Reroute, RestartNode, SplitTraffic, Throttle, TripCircuit};
use OutcomeStatus::{Applied, Failed, Refused};

/// An Envoy that is played.
#[derive(Default)]
struct World {
    /// What it took last.
    document: Value,
    /// It rejects whatever comes, so many times.
    rejects: Option<u64>,
    /// It looks at no file.
    is_blind: bool,
    /// The address of an endpoint that fails its health check.
    failing: String,
}

/// The operator's file: three endpoints in two regions, the third of another version.
fn operators() -> Value {
    let endpoint = |name: &str, port: u32, version: &str| {
        json!({"endpoint": {"hostname": name, "address": {"socket_address": {"address": "10.0.0.1", "port_value": port}}},
            "load_balancing_weight": 2, "metadata": {"filter_metadata": {"envoy.lb": {"version": version}}}})
    };
    let near = json!({"locality": {"region": "eu"}, "lb_endpoints": [endpoint("s1", 1, "7"), endpoint("s2", 2, "7")]});
    let far = json!({"locality": {"region": "us"}, "lb_endpoints": [endpoint("s3", 3, "8")]});
    let kind = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment";
    json!({"resources": [{"@type": kind, "cluster_name": "app", "endpoints": [near, far], "policy": {"overprovisioning_factor": 140}}]})
}

struct Play {
    stage: Stage,
    world: Arc<Mutex<World>>,
    url: String,
}

impl Play {
    fn new(name: &str) -> Self {
        let stage = Stage::new(name);
        std::fs::create_dir(stage.directory.join("endpoints")).unwrap();
        stage.file("endpoints/app.json", &operators().to_string());
        let world = Arc::new(Mutex::new(World::default()));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let (path, played) = (stage.directory.join("watched/app.json"), Arc::clone(&world));
        std::thread::spawn(move || {
            listener.incoming().for_each(|stream| answer(stream.unwrap(), &path, &mut played.lock().unwrap()));
        });
        let play = Self { stage, world, url };
        play.turn(&mut play.start());
        play
    }

    fn envoy(&self) -> Result<Envoy, PortError> {
        let directory = &self.stage.directory;
        let admins = vec![Admin::new(&self.url).unwrap()];
        Envoy::new(&directory.join("endpoints"), &directory.join("watched"), admins, 20)
    }

    fn start(&self) -> Actuator<FixedClock> {
        self.stage.start(self.envoy().unwrap(), &[])
    }

    fn path(&self) -> PathBuf {
        self.stage.directory.join("watched/app.json")
    }

    /// Health status and weight of each endpoint in the file.
    fn hosts(&self) -> Vec<(String, String, u64)> {
        hosts(&serde_json::from_slice(&std::fs::read(self.path()).unwrap()).unwrap())
    }

    fn turn(&self, actuator: &mut Actuator<FixedClock>) -> Vec<(OutcomeStatus, String)> {
        self.stage.turn(actuator).into_iter().map(|Act { outcome, .. }| (outcome.status, outcome.detail)).collect()
    }

    fn act(&mut self, kind: CommandKind, target: &str, fence: u64, params: &[(&str, &str)]) -> (OutcomeStatus, String) {
        self.stage.issue(kind, target, fence, params);
        self.turn(&mut self.start()).remove(0)
    }

    fn undo(&mut self, kind: CommandKind, target: &str, params: &[(&str, &str)]) -> (OutcomeStatus, String) {
        self.stage.amend(kind, target, 99, params, |command| Command { undo: true, ..command });
        self.turn(&mut self.start()).remove(0)
    }
}

fn hosts(document: &Value) -> Vec<(String, String, u64)> {
    let localities = document["resources"][0]["endpoints"].as_array();
    let endpoints = localities.into_iter().flatten().flat_map(|locality| locality["lb_endpoints"].as_array().unwrap());
    let host = |it: &Value| {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let weight = it["load_balancing_weight"].as_u64().unwrap();
        (text(&it["endpoint"]["hostname"]), text(&it["health_status"]), weight)
    };
    endpoints.map(host).collect()
}

/// Answers one question as Envoy 1.40 does.
fn answer(stream: std::net::TcpStream, path: &Path, world: &mut World) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    let question = lines.next().unwrap_or_default();
    lines.take_while(|line| !line.is_empty()).for_each(drop);
    let written = std::fs::read(path).ok().and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
    match written {
        Some(written) if written["version_info"] != world.document["version_info"] && !world.is_blind => {
            match &mut world.rejects {
                Some(rejects) => *rejects += 1,
                None => world.document = written,
            }
        }
        _ => {}
    }
    let said = if question.starts_with("GET /clusters?format=json&filter=%5Eapp%24 ") {
        let hosts = hosts(&world.document).into_iter().map(|(name, status, weight)| {
            let address =
                json!({"socket_address": {"address": "10.0.0.1", "port_value": name[1..].parse::<u64>().unwrap()}});
            let fails = name == world.failing;
            json!({"address": address, "weight": weight,
                "health_status": {"eds_health_status": status, "failed_active_health_check": fails}})
        });
        let statuses = hosts.collect::<Vec<_>>();
        json!({"cluster_statuses": if statuses.is_empty() { json!([]) } else { json!([{"name": "app", "host_statuses": statuses}]) }})
    } else {
        json!({"stats": [{"name": "cluster.app.update_rejected", "value": world.rejects.unwrap_or(0)}]})
    };
    let said = said.to_string();
    let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", said.len());
    let _ = (&stream).write_all(format!("{head}{said}").as_bytes());
}

fn host(name: &str, status: &str, weight: u64) -> (String, String, u64) {
    (name.to_owned(), status.to_owned(), weight)
}

#[test]
fn a_node_is_taken_out_tried_and_brought_back() {
    let mut play = Play::new("envoy-whole");
    let configured = [host("s1", "HEALTHY", 2), host("s2", "HEALTHY", 2), host("s3", "HEALTHY", 2)];
    assert_eq!(play.hosts(), configured);
    let detail = "app/s2 UNHEALTHY, weight 2; 2 of 3 serve; seen by 1 Envoy".to_owned();
    assert_eq!(play.act(TripCircuit, "s2", 1, &[]), (Applied, detail));
    assert_eq!(play.hosts()[1], host("s2", "UNHEALTHY", 2));
    assert_eq!(play.act(HalfOpen, "s2", 2, &[]).0, Applied);
    // A fifth of its share: 0.2 of 2.2.
    let tried = [host("s1", "HEALTHY", 454_545), host("s2", "HEALTHY", 90_909), host("s3", "HEALTHY", 454_545)];
    assert_eq!(play.hosts(), tried);
    assert_eq!(play.act(CloseCircuit, "s2", 3, &[]).0, Applied);
    assert_eq!(play.hosts(), configured);
    assert!(play.start().book().overlays.is_empty());
}

#[test]
fn drains_and_isolation_are_taken_back_by_themselves() {
    let mut play = Play::new("envoy-drain");
    assert_eq!(play.act(Drain, "s1", 1, &[]).0, Applied);
    assert_eq!(play.act(TripCircuit, "s1", 1, &[]).0, Applied);
    assert_eq!(play.act(CloseCircuit, "s1", 2, &[]).0, Applied);
    // Its circuit is closed, and it is drained yet.
    assert_eq!(play.hosts()[0], host("s1", "DRAINING", 2));
    assert_eq!(play.undo(Drain, "s1", &[]).0, Applied);
    let detail = "app/s3 not there; 2 of 2 serve; seen by 1 Envoy".to_owned();
    assert_eq!(play.act(Isolate, "s3", 3, &[]), (Applied, detail));
    assert_eq!(play.hosts(), [host("s1", "HEALTHY", 2), host("s2", "HEALTHY", 2)]);
    assert_eq!(play.undo(Isolate, "s3", &[]).0, Applied);
    assert_eq!(play.hosts().len(), 3);
}

#[test]
fn requests_are_moved_by_steps_and_back() {
    let mut play = Play::new("envoy-moved");
    let step = |percent| [("to", "us"), ("percent", percent), ("goal", "100"), ("step", "50")];
    // It has a third anyway: a step to less takes nothing from it.
    assert_eq!(play.act(Reroute, "app", 1, &step("25")).0, Applied);
    assert_eq!(play.hosts().iter().map(|host| host.2).collect::<Vec<_>>(), [333_333; 3]);
    assert_eq!(
        play.act(Reroute, "app", 2, &step("50")),
        (Applied, "app/app 50 % to us; 3 of 3 serve; seen by 1 Envoy".to_owned())
    );
    assert_eq!(play.hosts().iter().map(|host| host.2).collect::<Vec<_>>(), [250_000, 250_000, 500_000]);
    let (status, why) = play.act(SplitTraffic, "app", 1, &[("to", "7")]);
    assert_eq!((status, why.as_str()), (Refused, "50 % of the requests are moved to us by reroute already"));
    assert_eq!(play.act(Reroute, "app", 3, &step("100")).0, Applied);
    assert_eq!(
        play.hosts().iter().map(|host| host.1.as_str()).collect::<Vec<_>>(),
        ["DRAINING", "DRAINING", "HEALTHY"]
    );
    // Who serves alone is not taken out; but once it is asked to leave, the others are.
    assert_eq!(play.act(Drain, "s3", 4, &[]).0, Applied);
    assert_eq!(play.hosts().iter().map(|host| host.1.as_str()).collect::<Vec<_>>(), ["HEALTHY", "HEALTHY", "DRAINING"]);
    assert_eq!(play.act(Reroute, "app", 5, &step("100")), (Refused, "no healthy endpoint of app is in us".to_owned()));
    assert_eq!(play.undo(Drain, "s3", &[]).0, Applied);
    assert_eq!(play.undo(Reroute, "app", &step("0")).0, Applied);
    assert_eq!(play.hosts(), [host("s1", "HEALTHY", 2), host("s2", "HEALTHY", 2), host("s3", "HEALTHY", 2)]);
    assert_eq!(play.act(SplitTraffic, "app", 6, &[("to", "8"), ("percent", "80")]).0, Applied);
    assert_eq!(play.hosts()[2], host("s3", "HEALTHY", 800_000));
}

#[test]
fn weights_of_localities_go_with_those_of_their_endpoints() {
    let mut play = Play::new("envoy-localities");
    let mut file = operators();
    let localities = &mut file["resources"][0]["endpoints"];
    localities[0]["load_balancing_weight"] = 90.into();
    localities[1]["load_balancing_weight"] = 10.into();
    play.stage.file("endpoints/app.json", &file.to_string());
    assert_eq!(play.act(Reroute, "app", 1, &[("to", "us"), ("percent", "25")]).0, Applied);
    assert_eq!(play.hosts().iter().map(|host| host.2).collect::<Vec<_>>(), [375_000, 375_000, 250_000]);
    let written = serde_json::from_slice::<Value>(&std::fs::read(play.path()).unwrap()).unwrap();
    let localities = written["resources"][0]["endpoints"].as_array().unwrap();
    let weights = localities.iter().map(|locality| locality["load_balancing_weight"].as_u64().unwrap());
    assert_eq!(weights.collect::<Vec<_>>(), [750_000, 250_000]);
    // What is not understood is handed on.
    assert_eq!(written["resources"][0]["policy"]["overprovisioning_factor"], 140);
}

#[test]
fn the_last_healthy_endpoint_is_never_taken_out() {
    let mut play = Play::new("envoy-last");
    play.world.lock().unwrap().failing = "s3".to_owned();
    assert_eq!(play.act(TripCircuit, "s1", 1, &[]).0, Applied);
    // s3 fails Envoy's own check, and s1 on trial does not count.
    assert_eq!(play.act(HalfOpen, "s1", 2, &[]).0, Applied);
    for kind in [TripCircuit, Drain, Isolate] {
        assert_eq!(play.act(kind, "s2", 2, &[]), (Refused, "s2 is the last healthy endpoint of app".to_owned()));
    }
    assert_eq!(play.hosts()[1].1, "HEALTHY");
    assert_eq!(play.act(CloseCircuit, "s1", 3, &[]).0, Applied);
    assert_eq!(play.act(TripCircuit, "s2", 4, &[]).0, Applied);
}

#[test]
fn what_is_not_its_own_is_left_and_what_is_late_or_overtaken_refused() {
    let mut play = Play::new("envoy-left");
    let mut actuator = play.start();
    for (kind, target) in [(Throttle, "app"), (RestartNode, "s1"), (TripCircuit, "app"), (TripCircuit, "s9")] {
        play.stage.issue(kind, target, 1, &[]);
    }
    play.stage.issue(Reroute, "app", 1, &[("to", "mars")]);
    assert_eq!(play.turn(&mut actuator), []);
    play.stage.issue(CloseCircuit, "s1", 9, &[]);
    play.stage.issue(TripCircuit, "s1", 8, &[]);
    let acts = play.turn(&mut actuator);
    let fence = "fence 8 is older than 9, the newest seen for circuit of app/s1".to_owned();
    assert_eq!((acts[0].0, acts[1].clone()), (Applied, (Refused, fence)));
    play.stage.amend(TripCircuit, "s2", 1, &[], |command| Command { expires_us: NOW_US + 5, ..command });
    play.stage.clock.set(NOW_US + 6);
    let acts = play.turn(&mut actuator);
    assert_eq!((acts[0].0, acts[0].1.contains("expired")), (Refused, true));
    assert_eq!(play.hosts()[..2], [host("s1", "HEALTHY", 2), host("s2", "HEALTHY", 2)]);
}

#[test]
fn a_command_is_carried_out_once_whenever_the_process_dies() {
    let mut play = Play::new("envoy-once");
    let store = play.stage.directory.join("state/actuator.json");
    assert_eq!(play.act(TripCircuit, "s1", 1, &[]).0, Applied);
    let inode = std::fs::metadata(play.path()).unwrap().ino();
    assert_eq!(play.turn(&mut play.start()), [], "it died after it stored: the command is known");
    // It died after it wrote, before it stored: what is so is left, and answered.
    std::fs::remove_file(&store).unwrap();
    let acts = play.turn(&mut play.start());
    assert_eq!((acts[0].0, acts[0].1.contains("weight 2 already")), (Applied, true));
    // It died with half a draft.
    std::fs::write(play.path().with_extension("draft"), "{").unwrap();
    assert_eq!(play.turn(&mut play.start()), []);
    assert_eq!(std::fs::metadata(play.path()).unwrap().ino(), inode, "it was written once");
    assert_eq!(play.act(HalfOpen, "s1", 2, &[]).0, Applied);
}

#[test]
fn what_envoy_does_not_take_has_failed_and_is_taken_back() {
    let mut play = Play::new("envoy-rejects");
    let mut actuator = play.start();
    play.stage.issue(CloseCircuit, "s1", 1, &[]);
    assert_eq!(play.turn(&mut actuator)[0].0, Applied);
    let before = std::fs::read(play.path()).unwrap();
    play.world.lock().unwrap().rejects = Some(0);
    play.stage.issue(TripCircuit, "s1", 2, &[]);
    let why = "Envoy rejected the file: its log says why".to_owned();
    assert_eq!(play.turn(&mut actuator), [(Failed, why)]);
    assert_eq!(std::fs::read(play.path()).unwrap(), before);
    drop(actuator);
    play.world.lock().unwrap().rejects = None;
    play.world.lock().unwrap().is_blind = true;
    let (status, why) = play.act(TripCircuit, "s1", 3, &[]);
    assert_eq!((status, why.as_str()), (Failed, "Envoy did not take it within 5s: s1 is HEALTHY, weight 2"));
    assert!(play.start().book().overlays.is_empty());
}

#[test]
fn an_envoy_that_is_away_is_waited_for() {
    let mut play = Play::new("envoy-away");
    let is_waiting = |play: &mut Play| {
        let mut actuator = play.start();
        (play.turn(&mut actuator), actuator.book().waiting.len()) == (vec![], 1)
    };
    let url = std::mem::replace(&mut play.url, "http://127.0.0.1:9".to_owned());
    play.stage.issue(TripCircuit, "s1", 1, &[]);
    assert!(is_waiting(&mut play));
    play.url = url;
    // It begins, and does not know the service yet.
    std::fs::write(play.path(), "{}").unwrap();
    play.world.lock().unwrap().document = Value::Null;
    assert!(is_waiting(&mut play));
    assert_eq!(play.hosts()[0].1, "HEALTHY", "nothing is done while nobody can say that it was taken");
    assert_eq!(play.turn(&mut play.start())[0].0, Applied);
}

#[test]
fn what_the_operator_changes_takes_effect_and_what_was_wanted_stays() {
    let mut play = Play::new("envoy-operator");
    play.act(TripCircuit, "s1", 1, &[]);
    let mut file = operators();
    file["resources"][0]["endpoints"][0]["lb_endpoints"][1]["health_status"] = "DRAINING".into();
    file["resources"][0]["endpoints"][1]["lb_endpoints"][0]["load_balancing_weight"] = 9.into();
    play.stage.file("endpoints/app.json", &file.to_string());
    play.turn(&mut play.start());
    let changed = [host("s1", "UNHEALTHY", 2), host("s2", "DRAINING", 2), host("s3", "HEALTHY", 9)];
    assert_eq!(play.hosts(), changed);
    // Whom the operator took out does not serve, and is not brought in.
    assert_eq!(play.act(TripCircuit, "s3", 2, &[]).0, Refused);
    assert_eq!(play.act(CloseCircuit, "s2", 2, &[]).0, Applied);
    assert_eq!(play.hosts(), changed);
    // Half a file, and what somebody else wrote.
    play.stage.file("endpoints/app.json", "{\"resources\"");
    std::fs::write(play.path(), "{}").unwrap();
    assert!(matches!(play.envoy(), Err(PortError::Fatal(_))));
    play.stage.file("endpoints/app.json", &file.to_string());
    play.turn(&mut play.start());
    assert_eq!(play.hosts(), changed);
}

#[test]
fn a_file_that_is_wrong_is_not_taken_and_why_is_said() {
    let play = Play::new("envoy-wrong");
    let with = |pointer: &str, value: Value| {
        let mut file = operators();
        *file.pointer_mut(pointer).unwrap() = value;
        file
    };
    let first = "/resources/0/endpoints/0/lb_endpoints/0";
    for (file, why) in [
        (json!({}), "one ClusterLoadAssignment"),
        (with("/resources/0/cluster_name", "shop".into()), "its name says \"app\""),
        (with("/resources/0/endpoints", json!([])), "it has 0 endpoints"),
        (with(first, json!({"healthStatus": "DRAINING"})), "snake_case"),
        (with(first, json!({"endpoint_name": "s1"})), "socket_address"),
        (with(&format!("{first}/load_balancing_weight"), 0.into()), "a weight is 1 or more"),
    ] {
        play.stage.file("endpoints/app.json", &file.to_string());
        let Err(PortError::Fatal(said)) = play.envoy() else { panic!("{file} is taken") };
        assert!(said.contains(why), "{said}");
    }
    let directory = play.stage.directory.join("endpoints");
    assert!(matches!(Envoy::new(&directory, &directory, Vec::new(), 20), Err(PortError::Fatal(_))));
}
