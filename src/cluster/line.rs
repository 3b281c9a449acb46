//! A [`Line`]: messages between two processes, in order. A frame is its length in four bytes, and JSON.
//!
//! Bounds: [`INBOX_BOUND`] messages that came and were not taken; then the thread that reads waits, and after it, by
//! TCP's own window, the sender. A message is at most [`LONGEST`] bytes. A send that does not get through within
//! [`SENT_WITHIN`], and a peer that answers no probe of the connection within [`GONE_AFTER`], break the line.

use crate::ports::{PortError, Waker};
use serde::{Serialize, de::DeserializeOwned};
use socket2::{SockRef, TcpKeepalive};
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread::Thread;
use std::time::Duration;

/// Most messages of one peer that wait: an epoch needs two, and few epochs are under way at once.
const INBOX_BOUND: usize = 64;

/// The longest message: a cut of a hundred thousand partitions is a twentieth of it.
const LONGEST: usize = 64 << 20;

/// How long a message may take to leave.
const SENT_WITHIN: Duration = Duration::from_secs(10);

/// How long a peer that says nothing at all, not even that it is alive, is taken to be there.
const GONE_AFTER: Duration = Duration::from_secs(15);

/// Wakes the thread that takes messages, wherever it waits: for records, for workers, or here.
pub struct Alarm {
    thread: Thread,
    source: OnceLock<Waker>,
}

impl Alarm {
    /// An alarm for this thread.
    pub fn new() -> Arc<Self> {
        Arc::new(Self { thread: std::thread::current(), source: OnceLock::new() })
    }

    /// Has it end waits for a source's records, too.
    pub fn bind(&self, source: Waker) {
        // A second source would be another life, and that has an alarm of its own.
        let _ = self.source.set(source);
    }

    fn ring(&self) {
        self.thread.unpark();
        if let Some(source) = self.source.get() {
            source();
        }
    }
}

/// A connection to one peer.
pub struct Line<T> {
    peer: String,
    stream: TcpStream,
    inbox: Receiver<Result<T, String>>,
}

impl<T: DeserializeOwned + Send + 'static> Line<T> {
    /// Reads what comes on `stream` from now on; `peer` is its name for people.
    ///
    /// # Errors
    /// If the stream cannot be set up.
    pub fn new(stream: TcpStream, peer: String, alarm: &Arc<Alarm>) -> io::Result<Self> {
        stream.set_read_timeout(None)?;
        stream.set_write_timeout(Some(SENT_WITHIN))?;
        let (sender, inbox) = sync_channel(INBOX_BOUND);
        let (reader, alarm) = (stream.try_clone()?, Arc::clone(alarm));
        let read = move || read(reader, &sender, &alarm);
        std::thread::Builder::new().name(format!("line to {peer}")).spawn(read)?;
        Ok(Self { peer, stream, inbox })
    }

    /// The peer's name.
    pub fn peer(&self) -> &str {
        &self.peer
    }

    /// Says something.
    ///
    /// # Errors
    /// `Retry` if the line is broken.
    pub fn say(&mut self, message: &impl Serialize) -> Result<(), PortError> {
        write_frame(&mut self.stream, message).map_err(|error| self.broken(&error.to_string()))
    }

    /// What came next, if anything did; does not wait.
    ///
    /// # Errors
    /// `Retry` if the line is broken.
    pub fn heard(&self) -> Result<Option<T>, PortError> {
        match self.inbox.try_recv() {
            Ok(message) => message.map(Some).map_err(|why| self.broken(&why)),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(self.broken("it was closed")),
        }
    }

    /// As [`Line::heard`], waiting at most `patience`.
    ///
    /// # Errors
    /// `Retry` if the line is broken.
    pub fn hear(&self, patience: Duration) -> Result<Option<T>, PortError> {
        match self.inbox.recv_timeout(patience) {
            Ok(message) => message.map(Some).map_err(|why| self.broken(&why)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(self.broken("it was closed")),
        }
    }

    fn broken(&self, why: &str) -> PortError {
        PortError::Retry(format!("lost the connection to {}: {why}; everybody starts again when it is back", self.peer))
    }
}

impl<T> Drop for Line<T> {
    fn drop(&mut self) {
        // Ends the thread that reads; if it is closed already, that has ended.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

fn read<T: DeserializeOwned>(mut stream: TcpStream, inbox: &SyncSender<Result<T, String>>, alarm: &Alarm) {
    loop {
        let message = read_frame(&mut stream).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => "it ended".to_owned(),
            _ => error.to_string(),
        });
        let is_last = message.is_err();
        if inbox.send(message).is_err() || is_last {
            return alarm.ring();
        }
        alarm.ring();
    }
}

/// Sets a connection up: nothing waits to be sent together with more, and a peer that is gone is noticed.
pub(super) fn tend(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    let (after, every) = (GONE_AFTER / 3, GONE_AFTER / 6);
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(after).with_interval(every).with_retries(4))?;
    // What was sent and is not acknowledged keeps probes from being sent.
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(GONE_AFTER))?;
    Ok(())
}

/// Writes one message.
pub(super) fn write_frame(stream: &mut TcpStream, message: &impl Serialize) -> io::Result<()> {
    let json = serde_json::to_vec(message)?;
    let length = u32::try_from(json.len()).ok().filter(|length| *length as usize <= LONGEST);
    let length = length.ok_or_else(|| io::Error::other("a message is too long"))?;
    let mut frame = length.to_be_bytes().to_vec();
    frame.extend_from_slice(&json);
    stream.write_all(&frame)
}

/// Reads one message.
pub(super) fn read_frame<T: DeserializeOwned>(stream: &mut TcpStream) -> io::Result<T> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length) as usize;
    if length > LONGEST {
        return Err(io::Error::other(format!("a message of {length} bytes; is that another program?")));
    }
    let mut json = vec![0; length];
    stream.read_exact(&mut json)?;
    Ok(serde_json::from_slice(&json)?)
}
