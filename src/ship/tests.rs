//! Lines in, a sink that is as full as a test wants it.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use std::io::Write as _;
use std::sync::Mutex;

/// Takes `room` lines, and delivers each at once.
struct Bounded {
    room: usize,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Sink for Bounded {
    fn send(&mut self, line: &[u8]) -> Delivery {
        let mut lines = self.lines.lock().unwrap();
        if lines.len() == self.room {
            return Delivery::Full;
        }
        lines.push(String::from_utf8_lossy(line).into_owned());
        Delivery::Taken
    }

    fn progress(&mut self) -> Progress {
        Progress { delivered: self.lines.lock().unwrap().len() as u64, lost: 0 }
    }

    fn flush(&mut self, _: Duration) {}
}

fn run(input: Input, room: usize, stop_after: Duration) -> (Report, Vec<String>) {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let sink = Box::new(Bounded { room, lines: Arc::clone(&lines) });
    let options = ShipOptions { max_line_bytes: 20, ..ShipOptions::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let report =
        runtime.block_on(ship(input, sink, options, async move { tokio::time::sleep(stop_after).await })).unwrap();
    let lines = lines.lock().unwrap().clone();
    (report, lines)
}

fn scratch(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("evenkeel-ship-{}-{name}", std::process::id()))
}

#[test]
fn a_file_is_shipped_whole() {
    let path = scratch("whole");
    std::fs::write(&path, format!("one\r\n\ntwo\n{}\nlast", "x".repeat(21))).unwrap();
    let (report, lines) = run(Input::File { path: path.clone(), follow: false }, 100, Duration::from_secs(20));
    std::fs::remove_file(path).unwrap();
    assert_eq!(lines, ["one", "two", "last"]);
    assert_eq!((report.lines, report.delivered, report.too_long, report.unsent()), (4, 3, 1, 0));
}

#[test]
fn a_followed_file_goes_on_when_it_grows_and_when_it_is_replaced() {
    let path = scratch("follow");
    std::fs::write(&path, "one\n").unwrap();
    let writer = std::thread::spawn({
        let path = path.clone();
        move || {
            std::thread::sleep(Duration::from_millis(200));
            std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"two\n").unwrap();
            std::thread::sleep(Duration::from_millis(200));
            std::fs::rename(&path, path.with_extension("1")).unwrap();
            std::fs::write(&path, "three\n").unwrap();
        }
    });
    let (report, lines) = run(Input::File { path: path.clone(), follow: true }, 100, Duration::from_secs(2));
    writer.join().unwrap();
    std::fs::remove_file(path.with_extension("1")).unwrap();
    std::fs::remove_file(path).unwrap();
    assert_eq!((lines, report.delivered), (vec!["one".to_owned(), "two".to_owned(), "three".to_owned()], 3));
}

#[test]
fn a_sender_is_not_held_up_by_a_sink_that_is_down() {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let sender = std::thread::spawn(move || {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        (0..100_000).for_each(|i| writeln!(stream, "line {i}").unwrap());
    });
    let (report, lines) = run(Input::Listen(vec![socket]), 10, Duration::from_secs(4));
    sender.join().unwrap();
    assert_eq!((lines.len(), report.delivered, report.connections, report.unsent()), (10, 10, 1, 0));
    assert_eq!((report.lines, report.dropped), (100_000, 99_990));
}
