//! Where lines come from: TCP connections, a file, standard input.

use super::hub::{Hub, Patience};
use super::lines::Framer;
use std::fs::Metadata;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

/// Connections at a time; more are closed at once and counted.
pub const MAX_CONNECTIONS: usize = 256;
/// Bytes of one read.
const READ_BYTES: usize = 64 << 10;
/// How often a followed file is looked at for more.
const FOLLOW_EVERY: Duration = Duration::from_millis(50);
/// Reads of standard input that wait to be taken.
const STDIN_READS: usize = 4;

/// Takes lines of every connection to `listener`; never ends.
pub(super) async fn listen(listener: TcpListener, hub: Arc<Hub>, room: Arc<Semaphore>) -> io::Result<()> {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, _)) => match Arc::clone(&room).try_acquire_owned() {
                Ok(seat) => {
                    let hub = Arc::clone(&hub);
                    connections.spawn(async move {
                        connection(stream, &hub).await;
                        drop(seat);
                    });
                }
                Err(_) => hub.count(|counts| counts.refused_connections += 1),
            },
            // Out of file descriptors, most likely: some connection has to end first.
            Err(error) => {
                tracing::warn!(%error, "no connection can be accepted now");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, hub: &Hub) {
    hub.count(|counts| {
        counts.connections += 1;
        counts.open_connections += 1;
    });
    if let Err(error) = read_to_end(stream, hub, Patience::WhileDelivering).await {
        tracing::debug!(%error, "a connection broke");
    }
    hub.count(|counts| counts.open_connections -= 1);
}

/// Takes lines of a file from its beginning; with `follow`, goes on as it grows, is cut or is replaced.
pub(super) async fn file(path: &Path, follow: bool, hub: &Hub) -> io::Result<()> {
    loop {
        let mut file = open(path, follow).await?;
        let opened = file.metadata().await?;
        let mut framer = Framer::new(hub.max_line_bytes());
        let mut buffer = vec![0; READ_BYTES];
        let mut read_bytes = 0;
        loop {
            let read = file.read(&mut buffer).await?;
            read_bytes += read as u64;
            hub.offer_all(&mut framer, &buffer[..read], Patience::Endless).await;
            if read > 0 {
                continue;
            }
            if !follow || replaced(path, &opened, read_bytes).await {
                hub.offer_rest(&mut framer, Patience::Endless).await;
                break;
            }
            tokio::time::sleep(FOLLOW_EVERY).await;
        }
        if !follow {
            return Ok(());
        }
    }
}

/// Opens the file; one that is followed may come later.
async fn open(path: &Path, follow: bool) -> io::Result<File> {
    loop {
        match File::open(path).await {
            Err(error) if follow && error.kind() == io::ErrorKind::NotFound => tokio::time::sleep(FOLLOW_EVERY).await,
            opened => return opened,
        }
    }
}

/// Whether another file lies at `path` by now, or this one was cut. None at all: the next one is waited for.
async fn replaced(path: &Path, opened: &Metadata, read_bytes: u64) -> bool {
    match tokio::fs::metadata(path).await {
        Ok(now) => now.ino() != opened.ino() || now.dev() != opened.dev() || now.len() < read_bytes,
        Err(_) => false,
    }
}

/// Takes lines of standard input. A thread of its own reads: one that waits there cannot be stopped, only left.
pub(super) async fn stdin(hub: &Hub) -> io::Result<()> {
    let (sender, mut reads) = mpsc::channel::<io::Result<Vec<u8>>>(STDIN_READS);
    std::thread::spawn(move || {
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let read = match std::io::stdin().lock().read(&mut buffer) {
                Ok(0) => return,
                read => read.map(|read| buffer[..read].to_vec()),
            };
            let broken = read.is_err();
            if sender.blocking_send(read).is_err() || broken {
                return;
            }
        }
    });
    let mut framer = Framer::new(hub.max_line_bytes());
    while let Some(read) = reads.recv().await {
        hub.offer_all(&mut framer, &read?, Patience::WhileDelivering).await;
    }
    hub.offer_rest(&mut framer, Patience::WhileDelivering).await;
    Ok(())
}

async fn read_to_end(mut stream: impl AsyncRead + Unpin, hub: &Hub, patience: Patience) -> io::Result<()> {
    let mut framer = Framer::new(hub.max_line_bytes());
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let read = stream.read(&mut buffer).await;
        if let Ok(read @ 1..) = read {
            hub.offer_all(&mut framer, &buffer[..read], patience).await;
            continue;
        }
        // Also if the connection broke: what came of the last line came.
        hub.offer_rest(&mut framer, patience).await;
        return read.map(drop);
    }
}
