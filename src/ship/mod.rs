//! `ship`: lines from anywhere become records of a topic, so that whatever writes lines can feed evenkeel.
//!
//! | file | holds |
//! |---|---|
//! | [`lines`] | bytes into lines |
//! | [`intake`] | TCP connections, a file, standard input |
//! | [`sink`] | where lines go: Kafka, through a bounded buffer |
//! | `hub` | what happens when the buffer is full, and the counts |
//!
//! Every line is its own record, sent at once, byte for byte, but for what [`crate::mask`] was told to replace. Delivery: at
//! least once while this process lives, in order per input as far as the topic has one partition. Law: `lines = delivered +
//! lost + dropped + refused + too_long + those in the buffer`; the last are reported as `unsent` at the end.
//!
//! # Decision
//! The sender is a live system, and its log must never stop it. While lines are delivered a full buffer is waited for
//! (back pressure, as with any pipe); as soon as nothing is, lines are dropped and counted. Only a file is always waited
//! for: it keeps.

mod embedded;
mod hub;
pub mod intake;
pub mod lines;
pub mod sink;

use crate::mask::Masks;
use hub::Hub;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

pub use embedded::EmbeddedSink;
pub use sink::{Delivery, KafkaSink, Progress, Sink};

/// Longest line, bytes, unless told otherwise: what a broker takes by default.
pub const MAX_LINE_BYTES: usize = 1_000_000;
/// How often the counts are logged.
const REPORT_EVERY: Duration = Duration::from_secs(10);
/// How long the end waits for the buffer to empty.
const FLUSH_WITHIN: Duration = Duration::from_secs(10);

/// Where lines come from.
#[derive(Debug)]
pub enum Input {
    /// Every connection to these sockets.
    Listen(Vec<std::net::TcpListener>),
    /// A file, from its beginning; if followed, also what is appended, and what replaces it (log rotation).
    File {
        /// Where it lies.
        path: PathBuf,
        /// Go on at its end.
        follow: bool,
    },
    /// Standard input.
    Stdin,
}

/// How lines are read.
pub struct ShipOptions {
    /// Longer lines are left out and counted, bytes.
    pub max_line_bytes: usize,
    /// What is replaced in lines.
    pub masks: Masks,
}

impl Default for ShipOptions {
    fn default() -> Self {
        Self { max_line_bytes: MAX_LINE_BYTES, masks: Masks::default() }
    }
}

/// Counts since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Lines that came in, empty ones left out.
    pub lines: u64,
    /// Lines that are safe on the broker.
    pub delivered: u64,
    /// Lines that were taken and given up.
    pub lost: u64,
    /// Lines dropped because the buffer was full and nothing was delivered.
    pub dropped: u64,
    /// Lines the sink can never take.
    pub refused: u64,
    /// Lines longer than allowed.
    pub too_long: u64,
    /// Personal data that was replaced.
    pub masked: u64,
    /// Connections so far.
    pub connections: u64,
    /// Connections now.
    pub open_connections: u64,
    /// Connections closed at once because there were too many.
    pub refused_connections: u64,
}

impl Report {
    /// Lines that are neither delivered nor counted as given up.
    pub fn unsent(&self) -> u64 {
        self.lines.saturating_sub(self.delivered + self.lost + self.dropped + self.refused + self.too_long)
    }

    fn log(&self, when: &str) {
        tracing::info!(
            lines = self.lines,
            delivered = self.delivered,
            unsent = self.unsent(),
            dropped = self.dropped,
            lost = self.lost,
            refused = self.refused,
            too_long = self.too_long,
            masked = self.masked,
            connections = self.connections,
            open_connections = self.open_connections,
            refused_connections = self.refused_connections,
            "ship {when}"
        );
    }
}

/// Ships lines until the input ends or `stop` is ready, then waits a bounded time for the rest to be delivered.
///
/// # Errors
/// If the input cannot be opened or read.
pub async fn ship(
    input: Input,
    sink: Box<dyn Sink>,
    options: ShipOptions,
    stop: impl Future<Output = ()>,
) -> io::Result<Report> {
    let hub = Arc::new(Hub::new(sink, options));
    let ended = tokio::select! {
        ended = take(input, Arc::clone(&hub)) => ended,
        () = stop => Ok(()),
        () = report(&hub) => Ok(()),
    };
    hub.flush(FLUSH_WITHIN);
    let report = hub.report();
    report.log("ends");
    hub.log_masks();
    ended.map(|()| report)
}

/// Ready once the process is asked to stop (SIGTERM or SIGINT).
///
/// # Errors
/// If the handlers cannot be set.
pub fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

async fn take(input: Input, hub: Arc<Hub>) -> io::Result<()> {
    match input {
        Input::Stdin => intake::stdin(&hub).await,
        Input::File { path, follow } => intake::file(&path, follow, &hub).await,
        Input::Listen(sockets) => {
            let room = Arc::new(Semaphore::new(intake::MAX_CONNECTIONS));
            let mut listeners = JoinSet::new();
            for socket in sockets {
                socket.set_nonblocking(true)?;
                let listener = tokio::net::TcpListener::from_std(socket)?;
                listeners.spawn(intake::listen(listener, Arc::clone(&hub), Arc::clone(&room)));
            }
            match listeners.join_next().await {
                Some(ended) => ended.unwrap_or_else(|panic| Err(io::Error::other(panic))),
                None => Ok(()),
            }
        }
    }
}

/// Logs the counts again and again; never ready.
async fn report(hub: &Hub) {
    loop {
        tokio::time::sleep(REPORT_EVERY).await;
        hub.report().log("goes on");
    }
}

#[cfg(test)]
mod tests;
