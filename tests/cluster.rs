//! Processes meet before a run: in any order, for as long as it takes, and only if they fit.
#![expect(clippy::unwrap_used, reason = "tests")]

use evenkeel::cluster::meeting::Terms;
use evenkeel::cluster::message::{ToFollower, ToLeader};
use evenkeel::cluster::{Alarm, Line, Meeting, Met, Place};
use evenkeel::ports::PortError;
use evenkeel_schemas::Epoch;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

/// Addresses that nobody listens at.
fn hosts(processes: usize) -> String {
    let sockets = (0..processes).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect::<Vec<_>>();
    sockets.iter().map(|socket| format!("{}\n", socket.local_addr().unwrap())).collect()
}

fn terms(processes: usize, workers: usize) -> Terms {
    Terms { version: "1".to_owned(), processes, workers, settings: "ab".to_owned() }
}

fn meet(process: usize, hosts: &str, workers: usize, stop: &AtomicBool) -> Result<Option<Met>, PortError> {
    let processes = hosts.lines().count();
    let place = Place::parse(&format!("{process}/{processes}"), hosts)?;
    Meeting { place: &place, terms: terms(processes, workers), stop }.hold()
}

#[test]
fn everybody_meets_and_every_pair_is_connected() {
    let (hosts, stop) = (hosts(3), AtomicBool::new(false));
    let mut met = std::thread::scope(|scope| {
        let come = |process: usize| {
            let (hosts, stop) = (&hosts, &stop);
            scope.spawn(move || {
                // The leader comes last.
                std::thread::sleep(Duration::from_millis([300, 0, 100][process]));
                meet(process, hosts, 1, stop).unwrap().unwrap()
            })
        };
        let all = [0, 1, 2].map(come);
        all.map(|thread| thread.join().unwrap())
    });
    for (one, met) in met.iter_mut().enumerate() {
        assert!(met.sockets[one].is_none());
        for (other, socket) in met.sockets.iter_mut().enumerate().filter(|(other, _)| *other != one) {
            socket.as_mut().unwrap().write_all(&[one as u8, other as u8]).unwrap();
        }
    }
    for (one, met) in met.iter_mut().enumerate() {
        for (other, socket) in met.sockets.iter_mut().enumerate().filter(|(other, _)| *other != one) {
            let (mut said, socket) = ([9, 9], socket.as_mut().unwrap());
            assert_eq!(socket.read_timeout().unwrap(), None, "a dataflow may have nothing to say for long");
            socket.read_exact(&mut said).unwrap();
            assert_eq!(said, [other as u8, one as u8]);
        }
    }
    let [leader, first, _] = &mut met;
    let alarm = Alarm::new();
    let mut to_first = Line::<ToLeader>::new(leader.lines.remove(0), "the first".to_owned(), &alarm).unwrap();
    let mut to_leader = Line::<ToFollower>::new(first.lines.remove(0), "the leader".to_owned(), &alarm).unwrap();
    to_first.say(&ToFollower::Recovered(Some(Epoch(7)))).unwrap();
    assert_eq!(to_leader.hear(PATIENCE).unwrap(), Some(ToFollower::Recovered(Some(Epoch(7)))));
    to_leader.say(&ToLeader::Leaving).unwrap();
    drop(to_leader);
    assert_eq!(to_first.hear(PATIENCE).unwrap(), Some(ToLeader::Leaving));
    let gone = to_first.hear(PATIENCE).unwrap_err();
    assert!(matches!(&gone, PortError::Retry(why) if why.contains("lost the connection to the first")), "{gone}");
}

#[test]
fn who_does_not_fit_is_told_why_and_the_leader_waits_on() {
    let (hosts, stop) = (hosts(2), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let leader = scope.spawn(|| meet(0, &hosts, 2, &stop));
        let refused = meet(1, &hosts, 1, &stop).err().unwrap().to_string();
        assert!(refused.starts_with("process 1 has --workers 1, process 0 (127.0.0.1:"), "{refused}");
        assert!(refused.contains(") has 2: start every process of a run with the same"), "{refused}");
        // Neither does another program put the leader off.
        TcpStream::connect(hosts.lines().next().unwrap()).unwrap().write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        assert!(meet(1, &hosts, 2, &stop).unwrap().is_some());
        assert!(leader.join().unwrap().unwrap().is_some());
    });
}

#[test]
fn whoever_waits_can_be_told_to_stop() {
    let (hosts, stop) = (hosts(2), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let waiting = [0, 1].map(|process| {
            // Two runs of which only one process came each.
            let (hosts, stop) = (if process == 0 { hosts.clone() } else { self::hosts(2) }, &stop);
            scope.spawn(move || meet(process, &hosts, 1, stop))
        });
        std::thread::sleep(Duration::from_millis(200));
        stop.store(true, Ordering::Relaxed);
        waiting.into_iter().for_each(|thread| assert!(thread.join().unwrap().unwrap().is_none()));
    });
}
