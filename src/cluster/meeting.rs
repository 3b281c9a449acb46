//! Makes the connections of a run: nobody goes on before everybody is there.
//!
//! A process listens on one port, and only while it meets the others. Every connection begins with the magic bytes and a
//! [`Hello`], answered by [`Answer`]. First each follower connects to the leader, which waits for all of them for as
//! long as it takes; that connection stays as their line. Then the leader names the run, and within [`JOINED_WITHIN`]
//! each process connects to every one before it for the dataflow. A greeting of another run is refused: it comes from
//! somebody whose life ended meanwhile.

use super::line::{read_frame, tend, write_frame};
use super::place::Place;
use crate::ports::PortError;
use serde::{Deserialize, Serialize};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What every connection begins with.
const MAGIC: &[u8; 8] = b"evenkeel";

/// How long a greeting may take once a connection is there.
const GREETED_WITHIN: Duration = Duration::from_secs(2);

/// How long everybody may take to connect once everybody is there.
const JOINED_WITHIN: Duration = Duration::from_secs(30);

/// How often those who are missing are named.
const SAID_EVERY: Duration = Duration::from_secs(5);

/// How often a connection is tried, and whether somebody came is looked for.
const TRIED_EVERY: Duration = Duration::from_millis(50);

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Purpose {
    /// Messages between the leader and a follower.
    Line,
    /// The dataflow of this run.
    Dataflow { run: u64 },
}

/// What whoever connects says first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Hello {
    purpose: Purpose,
    process: usize,
    terms: Terms,
}

/// What every process of a run must agree on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// The program's version.
    pub version: String,
    /// How many processes there are.
    pub processes: usize,
    /// How many workers each of them has.
    pub workers: usize,
    /// A hash of whatever else decides about outputs and where they go.
    pub settings: String,
}

/// What whoever was connected to answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Answer {
    /// You are in this run.
    Welcome { run: u64 },
    /// You cannot be in this run, ever: why, with both sides.
    Refused(String),
    /// This is another run: begin again.
    Stale,
}

/// Everybody is there.
pub struct Met {
    /// The leader's lines to its followers in their order; a follower's line to the leader.
    pub lines: Vec<TcpStream>,
    /// One connection to each other process, in their order, and none in the place of this one.
    pub sockets: Vec<Option<TcpStream>>,
}

/// One process on its way into a run.
pub struct Meeting<'a> {
    /// Which process.
    pub place: &'a Place,
    /// What it goes by.
    pub terms: Terms,
    /// Set to give up.
    pub stop: &'a AtomicBool,
}

impl Meeting<'_> {
    /// Waits for everybody; `None` if told to stop.
    ///
    /// # Errors
    /// `Fatal` if this process cannot listen, or does not fit to the others; `Retry` if somebody went away meanwhile.
    pub fn hold(&self) -> Result<Option<Met>, PortError> {
        let own = &self.place.hosts[self.place.process];
        let listening = TcpListener::bind(own).and_then(|it| it.set_nonblocking(true).map(|()| it));
        let listener = listening.map_err(|error| {
            let line = self.place.process + 1;
            PortError::Fatal(format!("listening on {own}, line {line} of --hosts: {error}; it must be free, and local"))
        })?;
        let met = if self.place.leads() { self.lead(&listener) } else { self.follow(&listener) };
        if self.stopped() { Ok(None) } else { met.map(Some) }
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn lead(&self, listener: &TcpListener) -> Result<Met, PortError> {
        let mut lines = (1..self.place.processes()).map(|_| None).collect::<Vec<Option<TcpStream>>>();
        let mut nag = Nag::new();
        while lines.iter().any(Option::is_none) {
            if self.stopped() {
                return Err(gave_up());
            }
            if let Some((hello, stream)) = self.accept(listener, None)? {
                let known =
                    if hello.purpose == Purpose::Line { lines.get_mut(hello.process.wrapping_sub(1)) } else { None };
                match known {
                    Some(line) if line.as_ref().is_none_or(|there| !is_open(there)) => *line = Some(stream),
                    _ => {
                        let who = self.place.name_of(hello.process);
                        tracing::warn!(%who, "somebody wants into the run who is there already");
                        drop(answer(stream, &Answer::Stale));
                    }
                }
            }
            for line in &mut lines {
                drop(line.take_if(|line| !is_open(line)));
            }
            let missing = (1..).zip(&lines).filter(|(_, line)| line.is_none()).map(|(process, _)| process);
            nag.say(|| self.names(missing));
        }
        let run = chosen();
        let mut lines = lines.into_iter().flatten().collect::<Vec<_>>();
        for (at, line) in lines.iter_mut().enumerate() {
            write_frame(line, &Answer::Welcome { run }).map_err(|error| self.left(at + 1, &error))?;
        }
        let sockets = self.join(listener, run, &lines)?;
        Ok(Met { lines, sockets })
    }

    fn follow(&self, listener: &TcpListener) -> Result<Met, PortError> {
        let mut nag = Nag::new();
        let (line, run) = loop {
            if self.stopped() {
                return Err(gave_up());
            }
            match self.greet(0, Purpose::Line) {
                Ok((line, Answer::Welcome { run })) => break (line, run),
                Ok((_, Answer::Refused(why))) => return Err(PortError::Fatal(why)),
                Ok((_, Answer::Stale)) | Err(_) => nag.say(|| self.names([0].into_iter())),
            }
            std::thread::sleep(TRIED_EVERY);
        };
        let sockets = self.join(listener, run, std::slice::from_ref(&line))?;
        Ok(Met { lines: vec![line], sockets })
    }

    /// Connects to those before this process, and waits for those after it.
    fn join(&self, listener: &TcpListener, run: u64, lines: &[TcpStream]) -> Result<Vec<Option<TcpStream>>, PortError> {
        let deadline = Instant::now() + JOINED_WITHIN;
        let mut sockets = (0..self.place.processes()).map(|_| None).collect::<Vec<Option<TcpStream>>>();
        loop {
            let own = self.place.process;
            let mut missing = (0..sockets.len()).filter(|at| *at != own && sockets[*at].is_none());
            let Some(next) = missing.next() else {
                // A greeting has its time; a dataflow may have nothing to say for long.
                let patient = sockets.iter().flatten().try_for_each(|socket| socket.set_read_timeout(None));
                return patient.map(|()| sockets).map_err(|error| PortError::Retry(error.to_string()));
            };
            if let Some(at) = lines.iter().position(|line| !is_open(line)) {
                let at = if self.place.leads() { at + 1 } else { 0 };
                return Err(self.left(at, &io::Error::from(ErrorKind::UnexpectedEof)));
            }
            if Instant::now() > deadline || self.stopped() {
                let names = self.names([next].into_iter().chain(missing));
                return Err(PortError::Retry(format!("no connection for the dataflow with {names} in time")));
            }
            if next < own {
                match self.greet(next, Purpose::Dataflow { run }) {
                    Ok((stream, Answer::Welcome { .. })) => sockets[next] = Some(stream),
                    _ => std::thread::sleep(TRIED_EVERY),
                }
            } else if let Some((hello, stream)) = self.accept(listener, Some(run))? {
                sockets[hello.process] = Some(stream);
            }
        }
    }

    /// Connects to a process and greets it. The leader answers a line only when everybody is there.
    fn greet(&self, process: usize, purpose: Purpose) -> io::Result<(TcpStream, Answer)> {
        let addresses = self.place.hosts[process].to_socket_addrs()?;
        let mut refused = io::Error::from(ErrorKind::AddrNotAvailable);
        for address in addresses {
            match TcpStream::connect_timeout(&address, GREETED_WITHIN) {
                Ok(mut stream) => {
                    tend(&stream)?;
                    stream.set_read_timeout(Some(GREETED_WITHIN))?;
                    stream.write_all(MAGIC)?;
                    let (process, terms) = (self.place.process, self.terms.clone());
                    write_frame(&mut stream, &Hello { purpose, process, terms })?;
                    return self.answered(stream, purpose);
                }
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }

    fn answered(&self, mut stream: TcpStream, purpose: Purpose) -> io::Result<(TcpStream, Answer)> {
        let mut nag = Nag::new();
        // The leader answers a line when everybody is there, however long that takes.
        let waits = |stream: &TcpStream| match stream.peek(&mut [0]) {
            Err(error) => {
                purpose == Purpose::Line && matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
            }
            Ok(_) => false,
        };
        while waits(&stream) {
            nag.say(|| "the rest, together with the leader".to_owned());
            if self.stopped() {
                return Err(ErrorKind::Interrupted.into());
            }
        }
        let answer = read_frame(&mut stream)?;
        Ok((stream, answer))
    }

    /// Somebody who connected and fits: a follower that wants a line, or, in a run, a process that joins its dataflow.
    fn accept(&self, listener: &TcpListener, run: Option<u64>) -> Result<Option<(Hello, TcpStream)>, PortError> {
        let (mut stream, from) = match listener.accept() {
            Ok(came) => came,
            Err(_) => {
                std::thread::sleep(TRIED_EVERY);
                return Ok(None);
            }
        };
        let hello = match greeted(&mut stream) {
            Ok(hello) => hello,
            Err(error) => {
                tracing::warn!(%from, %error, "somebody connected who is no evenkeel, or of another version");
                return Ok(None);
            }
        };
        if let Some(why) = self.misfit(&hello) {
            tracing::error!(%from, "{why}");
            drop(answer(stream, &Answer::Refused(why)));
            return Ok(None);
        }
        let fits = match (hello.purpose, run) {
            (Purpose::Line, None) => return Ok(Some((hello, stream))),
            (Purpose::Dataflow { run: theirs }, Some(run)) => theirs == run && hello.process > self.place.process,
            _ => false,
        };
        let said = if let (true, Some(run)) = (fits, run) { Answer::Welcome { run } } else { Answer::Stale };
        Ok(answer(stream, &said).ok().filter(|_| fits).map(|stream| (hello, stream)))
    }

    /// Why whoever says this cannot be in this run.
    fn misfit(&self, hello: &Hello) -> Option<String> {
        let (ours, theirs) = (&self.terms, &hello.terms);
        let (us, them) = (self.place.name_of(self.place.process), format!("process {}", hello.process));
        let differ = |what: &str, theirs: &dyn std::fmt::Display, ours: &dyn std::fmt::Display| {
            format!("{them} has {what} {theirs}, {us} has {ours}: start every process of a run with the same")
        };
        if theirs.version != ours.version {
            Some(differ("version", &theirs.version, &ours.version))
        } else if theirs.processes != ours.processes {
            Some(differ("--process I/N with N =", &theirs.processes, &ours.processes))
        } else if theirs.workers != ours.workers {
            Some(differ("--workers", &theirs.workers, &ours.workers))
        } else if theirs.settings != ours.settings {
            let what = "tuning, topic prefix and transactional id with the hash";
            Some(differ(what, &theirs.settings, &ours.settings))
        } else if hello.process == self.place.process || hello.process >= ours.processes {
            Some(format!("{them} wants into the run twice: give every process its own --process I/N"))
        } else {
            None
        }
    }

    fn names(&self, processes: impl Iterator<Item = usize>) -> String {
        processes.map(|process| self.place.name_of(process)).collect::<Vec<_>>().join(", ")
    }

    fn left(&self, process: usize, error: &io::Error) -> PortError {
        PortError::Retry(format!("{} left before everybody was there: {error}", self.place.name_of(process)))
    }
}

fn gave_up() -> PortError {
    PortError::Retry("asked to stop".to_owned())
}

/// Says now and then who is missing.
struct Nag(Instant);

impl Nag {
    fn new() -> Self {
        Self(Instant::now())
    }

    fn say(&mut self, missing: impl FnOnce() -> String) {
        if self.0.elapsed() >= SAID_EVERY {
            tracing::info!(missing = missing(), "waiting for everybody to be there");
            *self = Self::new();
        }
    }
}

fn greeted(stream: &mut TcpStream) -> io::Result<Hello> {
    stream.set_nonblocking(false)?;
    tend(stream)?;
    stream.set_read_timeout(Some(GREETED_WITHIN))?;
    let mut magic = [0; MAGIC.len()];
    stream.read_exact(&mut magic)?;
    if magic != *MAGIC {
        return Err(io::Error::other("the magic bytes are not there"));
    }
    read_frame(stream)
}

fn answer(mut stream: TcpStream, answer: &Answer) -> io::Result<TcpStream> {
    write_frame(&mut stream, answer)?;
    Ok(stream)
}

/// Whether the other side is still there; it says nothing by now.
fn is_open(stream: &TcpStream) -> bool {
    let peek = || {
        stream.set_nonblocking(true)?;
        let peeked = stream.peek(&mut [0]);
        stream.set_nonblocking(false)?;
        peeked
    };
    match peek() {
        Ok(bytes) => bytes > 0,
        Err(error) => error.kind() == ErrorKind::WouldBlock,
    }
}

/// A number for a run that no other one had.
fn chosen() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (since.as_nanos() as u64) ^ (u64::from(std::process::id()) << 48)
}
