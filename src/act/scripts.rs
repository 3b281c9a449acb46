//! [`Scripts`]: runs programs that a file allows, and nothing else.
//!
//! ```toml
//! [restart-worker]
//! program = "/usr/local/bin/restart-worker"   # absolute; neither it nor its folder may be written by everybody
//! args = ["--service", "[a-z0-9-]{1,63}"]     # one pattern an argument, which it has to match as a whole
//! timeout_s = 30                              # 1 to 600; then it is killed, with all it started
//! ```
//! There is no shell: arguments are handed over as they are. The environment is empty but for `EVENKEEL_COMMAND_ID`, the
//! working directory is `/`, and there is no standard input. Exit code 0 is done, any other failed; the last line that was
//! written says why.
//!
//! # Decision
//! A program cannot be asked whether it did something already. So what was begun when the actuator died is not run again:
//! its command has failed, and the core decides, with a new one, whether to try again.

use super::book::Book;
use super::executor::{Executor, Undone};
use crate::ports::PortError;
use evenkeel_schemas::{Command, CommandKind};
use regex::Regex;
use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// Scripts at most.
const MAX_SCRIPTS: usize = 256;

/// Of what a script writes so much is read, bytes; it is let go on beyond.
const MAX_OUTPUT_BYTES: usize = 4_096;

/// So often it is asked whether a script ended.
const LOOK: Duration = Duration::from_millis(10);

/// So long it is waited for the end of what a script wrote: a process that it left behind may hold it open.
const OUTPUT_WITHIN: Duration = Duration::from_secs(1);

/// May be written by everybody.
const ALL_WRITE: u32 = 0o002;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawScript {
    program: PathBuf,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default = "default_timeout_s")]
    timeout_s: u64,
}

const fn default_timeout_s() -> u64 {
    30
}

/// A program that may be run.
#[derive(Debug)]
struct Script {
    program: PathBuf,
    args: Vec<Regex>,
    timeout: Duration,
}

/// Runs allow-listed scripts.
#[derive(Debug)]
pub struct Scripts(BTreeMap<String, Script>);

impl Scripts {
    /// Those of a file.
    ///
    /// # Errors
    /// `Fatal`: says what is wrong, syntax with line and column.
    pub fn read(path: &Path) -> Result<Self, PortError> {
        let fatal = |why: String| PortError::Fatal(format!("scripts {}: {why}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| fatal(error.to_string()))?;
        let raw = toml::from_str::<BTreeMap<String, RawScript>>(&text).map_err(|error| fatal(error.to_string()))?;
        if raw.is_empty() || raw.len() > MAX_SCRIPTS {
            return Err(fatal(format!("there are 1 to {MAX_SCRIPTS} scripts")));
        }
        let checked = raw.into_iter().map(|(name, raw)| match Script::checked(raw) {
            Ok(script) => Ok((name, script)),
            Err(why) => Err(fatal(format!("[{name}]: {why}"))),
        });
        checked.collect::<Result<_, _>>().map(Self)
    }

    /// The script of a command, and its arguments.
    fn allowed(&self, command: &Command) -> Result<(&Script, Vec<String>), String> {
        let name = command.params.get("script").map_or("", String::as_str);
        let script = self.0.get(name).ok_or_else(|| format!("there is no script {name:?} in the list"))?;
        let given = (0..).map_while(|at| command.params.get(&format!("arg{at}"))).cloned().collect::<Vec<_>>();
        if given.len() != script.args.len() {
            return Err(format!("{name} takes {} arguments, not {}", script.args.len(), given.len()));
        }
        let wrong = given.iter().zip(&script.args).position(|(given, pattern)| !pattern.is_match(given));
        wrong.map_or(Ok((script, given)), |at| Err(format!("{name}: argument {at} does not match its pattern")))
    }
}

impl Script {
    fn checked(raw: RawScript) -> Result<Self, String> {
        let RawScript { program, args, timeout_s } = raw;
        let path = program.display();
        if !program.is_absolute() {
            return Err(format!("program {path}: write its absolute path"));
        }
        let metadata = std::fs::metadata(&program).map_err(|error| format!("program {path}: {error}"))?;
        if !metadata.is_file() || metadata.permissions().mode() & 0o111 == 0 {
            return Err(format!("program {path} is no file that can be run"));
        }
        let folder = program.parent().map(std::fs::metadata).and_then(Result::ok);
        if metadata.mode() & ALL_WRITE != 0 || folder.is_none_or(|folder| folder.mode() & ALL_WRITE != 0) {
            return Err(format!("program {path}, or its folder, can be written by everybody: chmod o-w"));
        }
        if !(1..=600).contains(&timeout_s) {
            return Err("timeout_s: 1 to 600".to_owned());
        }
        let pattern = |text: &String| Regex::new(&format!(r"\A(?:{text})\z")).map_err(|error| error.to_string());
        let args = args.iter().map(pattern).collect::<Result<_, _>>()?;
        Ok(Self { program, args, timeout: Duration::from_secs(timeout_s) })
    }

    fn run(&self, args: &[String], command_id: &str) -> Result<String, String> {
        let mut program = std::process::Command::new(&self.program);
        program.args(args).env_clear().env("EVENKEEL_COMMAND_ID", command_id).current_dir("/").process_group(0);
        program.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = program.spawn().map_err(|error| format!("{}: {error}", self.program.display()))?;
        let outputs = [child.stdout.take().map(read), child.stderr.take().map(read)];
        let until = Instant::now() + self.timeout;
        let status = loop {
            match child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) if Instant::now() < until => std::thread::sleep(LOOK),
                Ok(None) => {
                    kill(&mut child);
                    return Err(format!("it took longer than {} s, and was killed", self.timeout.as_secs()));
                }
                Err(error) => return Err(error.to_string()),
            }
        };
        // What it left behind has no right to go on, and would keep the outputs open.
        kill(&mut child);
        let texts = outputs.into_iter().flatten().filter_map(|text| text.recv_timeout(OUTPUT_WITHIN).ok());
        let texts = texts.collect::<Vec<_>>();
        let last = texts.iter().rev().find_map(|text| text.lines().rfind(|line| !line.trim().is_empty()));
        let last = last.unwrap_or_default().trim().to_owned();
        if status.success() { Ok(last) } else { Err(format!("{status}: {last}")) }
    }
}

/// Kills a script and all that it started.
fn kill(child: &mut Child) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // A group that is gone needs no killing.
        let _ = kill_process_group(group, Signal::KILL);
    }
    let _ = child.wait();
}

/// Reads an output to its end, on a thread of its own; keeps its beginning.
fn read(mut output: impl Read + Send + 'static) -> Receiver<String> {
    let (done, text) = channel();
    std::thread::spawn(move || {
        let (mut kept, mut buffer) = (Vec::new(), [0; 1_024]);
        while let Ok(count @ 1..) = output.read(&mut buffer) {
            let room = MAX_OUTPUT_BYTES.saturating_sub(kept.len());
            kept.extend_from_slice(&buffer[..count.min(room)]);
        }
        // Nobody may wait any more.
        let _ = done.send(String::from_utf8_lossy(&kept).into_owned());
    });
    text
}

impl Executor for Scripts {
    fn concern(&self, command: &Command) -> Option<String> {
        let name = command.params.get("script").map_or("", String::as_str);
        let is_script = command.kind == CommandKind::RunScript;
        is_script.then(|| format!("script {name} of {}/{}", command.service, command.target))
    }

    fn execute(&mut self, command: &Command, _book: &mut Book) -> Result<String, Undone> {
        let (script, args) = self.allowed(command).map_err(Undone::Refused)?;
        script.run(&args, &command.command_id).map_err(Undone::Failed)
    }

    fn may_repeat(&self) -> bool {
        false
    }
}
