//! Webhooks, scripts and documents for Kubernetes, over crashes.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::kubernetes::{DryRun, Requests};
use super::scripts::Scripts;
use super::webhook::Webhook;
use super::{Act, Actuator, Book, Executor, Undone};
use crate::memory::{FixedClock, MemoryLedger};
use crate::ports::Ledger;
use crate::post::hmac_sha256;
use crate::report::Inbox;
use evenkeel_dataflows::{Changes, Output};
use evenkeel_schemas::{Binding, Command, CommandKind, CommandState, Cut, Dataset, Epoch, Mode, OutcomeStatus};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use OutcomeStatus::{Applied, Failed, Refused};

pub(super) const NOW_US: i64 = 1_795_246_472_000_000;

pub(super) struct Stage {
    pub directory: PathBuf,
    ledger: MemoryLedger,
    pub clock: FixedClock,
    epoch: u64,
}

impl Stage {
    pub(super) fn new(name: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("evenkeel-do-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&directory);
        std::fs::create_dir_all(&directory).unwrap();
        Self { directory, ledger: MemoryLedger::default(), clock: FixedClock::new(NOW_US), epoch: 0 }
    }

    pub(super) fn start(&self, executor: impl Executor + 'static, kinds: &[CommandKind]) -> Actuator<FixedClock> {
        let store = Book::kept_in(&self.directory.join("state")).unwrap();
        Actuator::new(store, Box::new(executor), kinds.to_vec(), self.clock.clone()).unwrap()
    }

    pub(super) fn turn(&self, actuator: &mut Actuator<FixedClock>) -> Vec<Act> {
        let mut inbox = Inbox::in_directory(&self.directory.join("data"), 0);
        actuator.turn(&mut self.ledger.clone(), &mut inbox, Duration::ZERO).unwrap()
    }

    pub(super) fn issue(&mut self, kind: CommandKind, target: &str, fence: u64, params: &[(&str, &str)]) -> Command {
        self.amend(kind, target, fence, params, |command| command)
    }

    /// Issues a command that is not quite as others.
    pub(super) fn amend(
        &mut self,
        kind: CommandKind,
        target: &str,
        fence: u64,
        params: &[(&str, &str)],
        amended: impl Fn(Command) -> Command,
    ) -> Command {
        let command = amended(command(format!("CMD-{}", self.epoch), kind, target, fence, params));
        let value = serde_json::to_vec(&command).unwrap();
        let key = command.command_id.clone().into_bytes();
        let epoch = Epoch(self.epoch);
        let binding = Binding { epoch, now_us: NOW_US, resume: epoch, upper: Cut::default() };
        let outputs = vec![Output { dataset: Dataset::Commands, partition: 0, key, value }];
        self.ledger.commit(&[Changes { binding, outputs, records: 0 }]).unwrap();
        self.epoch += 1;
        command
    }

    pub(super) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn program(&self, name: &str, text: &str) -> PathBuf {
        let path = self.file(name, text);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// A command of the service `app`, as it is issued.
pub(super) fn command(
    command_id: String,
    kind: CommandKind,
    target: &str,
    fence: u64,
    params: &[(&str, &str)],
) -> Command {
    Command {
        command_id,
        kind,
        target: target.to_owned(),
        service: "app".to_owned(),
        incident_id: "INC-1".to_owned(),
        mode: Mode::Auto,
        reason: String::new(),
        at_us: NOW_US,
        expires_us: NOW_US + 60_000_000,
        state: CommandState::Issued,
        detail: String::new(),
        decided_us: NOW_US,
        fence,
        by: String::new(),
        params: params.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        undo: false,
    }
}

fn results(acts: &[Act]) -> Vec<(OutcomeStatus, &str)> {
    acts.iter().map(|act| (act.outcome.status, act.outcome.detail.as_str())).collect()
}

/// An HTTP server that answers each request with the next of some answers, and counts effects by idempotency key.
#[derive(Default)]
struct Server {
    answers: Vec<(u16, &'static str)>,
    /// Key, signature and body of every request.
    heard: Vec<(String, String, String)>,
    effects: BTreeMap<String, u32>,
}

fn serve(server: &Arc<Mutex<Server>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/commands", listener.local_addr().unwrap());
    let server = Arc::clone(server);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut reader = BufReader::new(stream.unwrap());
            let mut headers = BTreeMap::new();
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                let Some((name, value)) = line.trim().split_once(": ") else {
                    if line.trim().is_empty() {
                        break;
                    }
                    continue;
                };
                headers.insert(name.to_lowercase(), value.to_owned());
            }
            let mut body = vec![0; headers["content-length"].parse().unwrap()];
            reader.read_exact(&mut body).unwrap();
            let mut server = server.lock().unwrap();
            let (key, signature) = (headers["idempotency-key"].clone(), headers["x-evenkeel-signature"].clone());
            server.heard.push((key.clone(), signature, String::from_utf8(body).unwrap()));
            let (status, text) = if server.answers.is_empty() { (200, "done") } else { server.answers.remove(0) };
            if status == 200 {
                *server.effects.entry(key).or_default() += 1;
            }
            let answer =
                format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{text}", text.len());
            reader.get_mut().write_all(answer.as_bytes()).unwrap();
        }
    });
    url
}

#[test]
fn a_webhook_s_answer_is_the_outcome() {
    let mut stage = Stage::new("webhook");
    let server = Arc::new(Mutex::new(Server::default()));
    let url = serve(&server);
    let secret = stage.file("secret", "a key\n");
    let start = |stage: &Stage| {
        let webhook = Webhook::new(&url, &secret, Path::new("none")).unwrap();
        stage.start(webhook, &[CommandKind::Reroute, CommandKind::SetFlag])
    };
    let mut actuator = start(&stage);
    stage.issue(CommandKind::Scale, "app", 1, &[]);
    stage.issue(CommandKind::Reroute, "app", 2, &[("to", "cache")]);
    assert_eq!(results(&stage.turn(&mut actuator)), [(Applied, "done")], "the other one is somebody else's");
    {
        let server = server.lock().unwrap();
        let (key, signature, body) = &server.heard[0];
        assert_eq!((key.as_str(), signature), ("CMD-1", &format!("sha256={}", hmac_sha256(b"a key", body.as_bytes()))));
        let event = serde_json::from_str::<serde_json::Value>(body).unwrap();
        let field = |name: &str| event[name].as_str().unwrap();
        assert_eq!((field("specversion"), field("id"), field("subject")), ("1.0", "CMD-1", "app/app"));
        assert_eq!(
            (field("type"), event["data"]["params"]["to"].as_str()),
            ("evenkeel.command.reroute", Some("cache"))
        );
    }
    // What it refuses is refused, in its words; what it cannot do now is asked again, also by the next process.
    server.lock().unwrap().answers.extend([(422, "no such flag"), (503, "busy"), (503, "busy")]);
    stage.issue(CommandKind::SetFlag, "app", 3, &[]);
    assert_eq!(results(&stage.turn(&mut actuator)), [(Refused, "HTTP 422: no such flag")]);
    stage.issue(CommandKind::SetFlag, "app", 4, &[]);
    assert_eq!((results(&stage.turn(&mut actuator)), actuator.book().waiting.len()), (vec![], 1));
    drop(actuator);
    let mut actuator = start(&stage);
    assert_eq!((results(&stage.turn(&mut actuator)), actuator.book().waiting.len()), (vec![], 1));
    // It is left alone for a while.
    assert_eq!((results(&stage.turn(&mut actuator)), server.lock().unwrap().heard.len()), (vec![], 4));
    std::thread::sleep(Duration::from_millis(110));
    assert_eq!(results(&stage.turn(&mut actuator)), [(Applied, "done")]);
    // It dies between the answer and the note of it: the same key again.
    stage.issue(CommandKind::SetFlag, "app", 5, &[]);
    std::fs::copy(stage.directory.join("state/actuator.json"), stage.directory.join("before")).unwrap();
    assert_eq!(results(&stage.turn(&mut actuator)), [(Applied, "done")]);
    drop(actuator);
    std::fs::rename(stage.directory.join("before"), stage.directory.join("state/actuator.json")).unwrap();
    let mut actuator = start(&stage);
    assert_eq!(results(&stage.turn(&mut actuator)), [(Applied, "done")]);
    assert_eq!(server.lock().unwrap().effects["CMD-4"], 2, "it is for the server to know the key");
    // An older one of a kind does not follow a newer one; of another kind it does.
    stage.issue(CommandKind::SetFlag, "app", 4, &[]);
    stage.issue(CommandKind::Reroute, "app", 3, &[]);
    let acts = stage.turn(&mut actuator);
    assert_eq!(acts.iter().map(|act| act.outcome.status).collect::<Vec<_>>(), [Refused, Applied]);
    // Nobody is there until it expires.
    server.lock().unwrap().answers.push((500, ""));
    stage.issue(CommandKind::Reroute, "app", 6, &[]);
    assert_eq!(results(&stage.turn(&mut actuator)), []);
    stage.clock.set(NOW_US + 61_000_000);
    std::thread::sleep(Duration::from_millis(110));
    assert_eq!(results(&stage.turn(&mut actuator)), [(Refused, "it expired before it could be carried out")]);
}

#[test]
fn only_what_is_allowed_is_run_and_only_once() {
    let mut stage = Stage::new("scripts");
    let trace = stage.directory.join("trace");
    let say =
        stage.program("say", &format!("#!/bin/sh\nenv >> {0}\necho \"$@\" >> {0}\necho said $1\n", trace.display()));
    let fail = stage.program("fail", "#!/bin/sh\necho first\necho the disk is full >&2\nexit 3\n");
    let hang = stage.program("hang", "#!/bin/sh\nsleep 100 &\nsleep 100\n");
    let list = format!(
        "[say]\nprogram='{}'\nargs=['[a-z]+', '--.*']\n[fail]\nprogram='{}'\n[hang]\nprogram='{}'\ntimeout_s=1\n",
        say.display(),
        fail.display(),
        hang.display()
    );
    let list = stage.file("scripts.toml", &list);
    let mut actuator = stage.start(Scripts::read(&list).unwrap(), &[]);
    let mut run = |stage: &mut Stage, params: &[(&str, &str)]| {
        let fence = stage.epoch + 1;
        stage.issue(CommandKind::RunScript, "app", fence, params);
        let acts = stage.turn(&mut actuator);
        let results = results(&acts);
        (results[0].0, results[0].1.to_owned())
    };
    let done = run(&mut stage, &[("script", "say"), ("arg0", "app"), ("arg1", "--x; rm -rf / $(id)")]);
    assert_eq!(done, (Applied, "said app".to_owned()));
    let seen = std::fs::read_to_string(&trace).unwrap();
    // No shell looked at it, and nothing of our environment is there but what a shell makes itself.
    let lines = seen.lines().filter(|line| !["PWD=", "SHLVL=", "_=", "OLDPWD="].iter().any(|it| line.starts_with(it)));
    assert_eq!(lines.collect::<Vec<_>>(), ["EVENKEEL_COMMAND_ID=CMD-0", "app --x; rm -rf / $(id)"]);
    let refused =
        |(status, why): (OutcomeStatus, String), word: &str| assert!(status == Refused && why.contains(word), "{why}");
    refused(run(&mut stage, &[("script", "reboot")]), "no script \"reboot\"");
    refused(run(&mut stage, &[("script", "say"), ("arg0", "app")]), "2 arguments, not 1");
    refused(run(&mut stage, &[("script", "say"), ("arg0", "app\nx"), ("arg1", "--")]), "argument 0");
    refused(run(&mut stage, &[("script", "say"), ("arg0", "xapp1"), ("arg1", "--")]), "argument 0");
    assert_eq!(run(&mut stage, &[("script", "fail")]), (Failed, "exit status: 3: the disk is full".to_owned()));
    let began = std::time::Instant::now();
    assert_eq!(run(&mut stage, &[("script", "hang")]), (Failed, "it took longer than 1 s, and was killed".to_owned()));
    assert!(began.elapsed() < Duration::from_secs(10));
    drop(actuator);
    // It dies while a script runs: what was begun is not run again.
    let mut book = Book::kept_in(&stage.directory.join("state")).unwrap().load().unwrap().unwrap();
    book.begun = Some(command("CMD-begun".to_owned(), CommandKind::RunScript, "app", 99, &[("script", "say")]));
    Book::kept_in(&stage.directory.join("state")).unwrap().save(&book).unwrap();
    let mut actuator = stage.start(Scripts::read(&list).unwrap(), &[]);
    let acts = stage.turn(&mut actuator);
    assert_eq!(results(&acts), [(Failed, "it had begun when the actuator died: how far it came is not known")]);
    assert_eq!((std::fs::read_to_string(&trace).unwrap(), actuator.book().begun.is_none()), (seen, true));
}

/// A script that looks into the store while it runs.
struct Looks(PathBuf);

impl Executor for Looks {
    fn execute(&mut self, command: &Command, _book: &mut Book) -> Result<String, Undone> {
        let stored = std::fs::read_to_string(&self.0).unwrap();
        let book = serde_json::from_str::<Book>(&stored).unwrap();
        assert_eq!(book.begun.as_ref(), Some(command), "it is stored before it is begun");
        Ok(String::new())
    }

    fn may_repeat(&self) -> bool {
        false
    }
}

#[test]
fn what_may_not_be_repeated_is_stored_before_it_is_begun() {
    let mut stage = Stage::new("begun");
    let mut actuator = stage.start(Looks(stage.directory.join("state/actuator.json")), &[]);
    stage.issue(CommandKind::RunScript, "app", 1, &[]);
    stage.issue(CommandKind::RunScript, "other", 2, &[]);
    assert_eq!(results(&stage.turn(&mut actuator)), [(Applied, ""), (Applied, "")]);
}

#[test]
fn a_list_of_scripts_that_would_not_be_safe_is_not_taken() {
    let stage = Stage::new("unsafe");
    let program = stage.program("program", "#!/bin/sh\n");
    let open = stage.program("open", "#!/bin/sh\n");
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o777)).unwrap();
    let plain = stage.file("plain", "");
    for (script, why) in [
        ("program='bin/true'".to_owned(), "absolute"),
        ("program='/bin/none-such'".to_owned(), "No such file"),
        (format!("program='{}'", plain.display()), "can be run"),
        (format!("program='{}'", open.display()), "written by everybody"),
        (format!("program='{}'\ntimeout_s=0", program.display()), "1 to 600"),
        (format!("program='{}'\nargs=['(']", program.display()), "unclosed group"),
        (format!("program='{}'\nshell=true", program.display()), "shell"),
    ] {
        let list = stage.file("scripts.toml", &format!("[x]\n{script}\n"));
        let error = Scripts::read(&list).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn requests_to_kubernetes_are_written_down() {
    let mut stage = Stage::new("kubernetes");
    let requests = stage.directory.join("requests");
    let dry_run = DryRun::new(requests.clone(), Requests::new("shop", "registry.example/{service}").unwrap()).unwrap();
    let mut actuator = stage.start(dry_run, &[]);
    let digest = format!("sha256:{}", "a".repeat(64));
    stage.issue(CommandKind::Scale, "app", 1, &[("replicas", "4")]);
    stage.issue(CommandKind::RestartNode, "app-7d9-x", 1, &[]);
    stage.issue(CommandKind::Drain, "node-1", 1, &[]);
    stage.issue(CommandKind::Rollback, "app", 1, &[("version", "2"), ("to", "1.9")]);
    stage.issue(CommandKind::Redeploy, "app", 2, &[("digest", &digest)]);
    stage.issue(CommandKind::Rollback, "app", 3, &[("version", "2")]);
    stage.issue(CommandKind::Drain, "../../pods", 3, &[]);
    stage.issue(CommandKind::Throttle, "app", 3, &[]);
    let acts = stage.turn(&mut actuator);
    let statuses = acts.iter().map(|act| act.outcome.status).collect::<Vec<_>>();
    // The first rollback is older than what came after it.
    assert_eq!(statuses, [Applied, Applied, Applied, Refused, Refused, Refused, Refused]);
    let read = |id: u32| {
        let text = std::fs::read_to_string(requests.join(format!("CMD-{id}.json"))).unwrap();
        serde_json::from_str::<serde_json::Value>(&text).unwrap()
    };
    let path = |id: u32| read(id)["path"].as_str().unwrap().to_owned();
    assert_eq!(path(0), "/apis/apps/v1/namespaces/shop/deployments/app?fieldManager=evenkeel-replicas&force=true");
    assert_eq!(read(0)["body"]["spec"]["replicas"], 4);
    assert_eq!(
        (path(1).as_str(), &read(1)["body"]["kind"]),
        ("/api/v1/namespaces/shop/pods/app-7d9-x/eviction", &"Eviction".into())
    );
    assert_eq!((path(2).as_str(), &read(2)["body"]["spec"]["unschedulable"]), ("/api/v1/nodes/node-1", &true.into()));
    stage.issue(CommandKind::Redeploy, "app", 4, &[("digest", &digest)]);
    stage.turn(&mut actuator);
    let image = read(8)["body"]["spec"]["template"]["spec"]["containers"][0]["image"].clone();
    assert_eq!(image, format!("registry.example/app@{digest}"));
    stage.issue(CommandKind::Rollback, "app", 5, &[("to", "1.9")]);
    stage.turn(&mut actuator);
    let image = read(9)["body"]["spec"]["template"]["spec"]["containers"][0]["image"].clone();
    assert_eq!(image, "registry.example/app:1.9");
}
