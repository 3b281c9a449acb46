//! [`Runtime`]: HAProxy's Runtime API. One connection a question; success has no mark, an error is a line of text
//! (<https://docs.haproxy.org/2.6/management.html#9.3>).

use crate::ports::PortError;
use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

/// How long HAProxy may take to take a connection, or to go on with an answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// Longest answer, bytes: some 10,000 servers.
const MAX_ANSWER_BYTES: u64 = 4 << 20;

/// Where a Runtime API listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A socket in the file system.
    Unix(PathBuf),
    /// `host:port`.
    Tcp(String),
}

impl std::str::FromStr for Address {
    type Err = String;

    /// As HAProxy writes it: a path, `unix@PATH`, `HOST:PORT` or `ipv4@HOST:PORT`.
    fn from_str(text: &str) -> Result<Self, String> {
        let tcp = text.strip_prefix("ipv4@").or(text.strip_prefix("ipv6@")).unwrap_or(text);
        match text.strip_prefix("unix@") {
            Some(path) if !path.is_empty() => Ok(Self::Unix(path.into())),
            None if text.contains('/') => Ok(Self::Unix(text.into())),
            None if tcp.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) => {
                Ok(Self::Tcp(tcp.to_owned()))
            }
            _ => Err(format!("{text:?}: write a path, e.g. /run/haproxy/admin.sock, or HOST:PORT")),
        }
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "{}", path.display()),
            Self::Tcp(address) => f.write_str(address),
        }
    }
}

/// A HAProxy to talk to.
#[derive(Clone, Debug)]
pub struct Runtime {
    /// Where it listens.
    pub address: Address,
}

impl Runtime {
    /// Asks; the answer as it is, without the newlines that end it.
    ///
    /// # Errors
    /// `Retry` if HAProxy is not there, or does not answer in time.
    pub fn ask(&self, question: &str) -> Result<String, PortError> {
        let answer = match &self.address {
            Address::Unix(path) => UnixStream::connect(path).and_then(|stream| {
                stream.set_read_timeout(Some(ANSWER_WITHIN))?;
                stream.set_write_timeout(Some(ANSWER_WITHIN))?;
                exchange(stream, question)
            }),
            Address::Tcp(address) => connect(address).and_then(|stream| {
                stream.set_read_timeout(Some(ANSWER_WITHIN))?;
                stream.set_write_timeout(Some(ANSWER_WITHIN))?;
                exchange(stream, question)
            }),
        };
        answer.map_err(|error| PortError::Retry(format!("HAProxy at {}: `{question}`: {error}", self.address)))
    }

    /// Which process answers: another one has forgotten what was said to the one before.
    ///
    /// # Errors
    /// `Retry` if it cannot be reached, `Fatal` if what answers is no HAProxy.
    pub fn pid(&self) -> Result<u32, PortError> {
        let info = self.ask("show info")?;
        let pid = info.lines().find_map(|line| line.strip_prefix("Pid: ")).and_then(|pid| pid.trim().parse().ok());
        pid.ok_or_else(|| {
            let first = info.lines().next().unwrap_or_default();
            PortError::Fatal(format!("HAProxy at {}: `show info` says no Pid but {first:?}", self.address))
        })
    }
}

fn connect(address: &str) -> std::io::Result<TcpStream> {
    let mut last = None;
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, ANSWER_WITHIN) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| std::io::Error::new(std::io::ErrorKind::NotFound, "the name has no address")))
}

fn exchange(mut stream: impl Read + Write, question: &str) -> std::io::Result<String> {
    stream.write_all(format!("{question}\n").as_bytes())?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER_BYTES + 1).read_to_end(&mut answer)?;
    if answer.len() as u64 > MAX_ANSWER_BYTES {
        return Err(std::io::Error::other(format!("the answer is longer than {MAX_ANSWER_BYTES} bytes")));
    }
    // An answer ends with a newline of its own and an empty line; none at all is a connection that broke.
    if !answer.ends_with(b"\n") {
        return Err(std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "the answer was cut short"));
    }
    Ok(String::from_utf8_lossy(&answer).trim_end_matches('\n').to_owned())
}
