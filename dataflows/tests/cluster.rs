//! L1 over processes: the same bindings and records say the same bytes, however many processes share the work.
#![expect(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{EpochInput, Traffic, digest, run};
use evenkeel_dataflows::{Changes, Engine, Links, Output, Resume, Tuning};
use evenkeel_schemas::Dataset;
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

/// Two ends of one connection over the loopback device.
fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (one, listener.accept().unwrap().0)
}

/// For each of so many processes a connection to every other.
fn connections(processes: usize) -> Vec<Vec<Option<TcpStream>>> {
    let mut all = (0..processes).map(|_| (0..processes).map(|_| None).collect::<Vec<_>>()).collect::<Vec<_>>();
    for (low, high) in (0..processes).flat_map(|low| (low + 1..processes).map(move |high| (low, high))) {
        let (one, other) = connection();
        (all[low][high], all[high][low]) = (Some(one), Some(other));
    }
    all
}

/// The next epoch; one wait may end before it, when workers of other processes have their part to do.
fn next(engine: &mut Engine) -> Changes {
    let mut waits = (0..60_000).map(|_| engine.wait(Duration::from_millis(1)).unwrap());
    waits.find_map(|changes| changes).expect("an epoch takes less than a minute")
}

/// The part of one process: batches by turns, every close, and what came of it.
fn take_part(
    (process, processes): (usize, usize),
    (tuning, links, resume): (&Tuning, Links, Resume),
    epochs: &[EpochInput],
) -> Vec<Changes> {
    let mut engine = Engine::in_cluster(tuning, links, resume);
    let mut all = Vec::new();
    for (number, epoch) in epochs.iter().enumerate() {
        let mine = |at: &usize| (number + at) % processes == process;
        for at in (0..epoch.batches.len()).filter(mine) {
            engine.push(epoch.batches[at].clone()).unwrap();
        }
        engine.close(epoch.binding.clone()).unwrap();
        while engine.in_flight() > 8 {
            all.push(next(&mut engine));
        }
    }
    while engine.in_flight() > 0 {
        all.push(next(&mut engine));
    }
    engine.finish();
    all
}

/// Runs epochs over so many processes of so many workers; what each of them says.
fn run_in_cluster(processes: usize, workers: usize, resume: &Resume, epochs: &[EpochInput]) -> Vec<Vec<Changes>> {
    std::thread::scope(|scope| {
        let start = |(process, sockets)| {
            let links = Links::new(sockets, workers).unwrap();
            let resume = resume.clone();
            scope.spawn(move || take_part((process, processes), (&Tuning::default(), links, resume), epochs))
        };
        let threads = connections(processes).into_iter().enumerate().map(start).collect::<Vec<_>>();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// What they say together, the number of records added up.
fn together(said: Vec<Vec<Changes>>) -> Vec<Changes> {
    let mut said = said.into_iter();
    let mut first = said.next().unwrap();
    for other in said {
        assert_eq!(other.len(), first.len());
        for (all, part) in first.iter_mut().zip(other) {
            assert_eq!((&part.binding, part.outputs), (&all.binding, Vec::<Output>::new()), "only the first speaks");
            all.records += part.records;
        }
    }
    first
}

#[test]
fn processes_leave_no_trace() {
    let traffic = Traffic::new(7, 40_000, 90);
    let calm = run(&Tuning::default(), 1, 10_000, Resume::default(), &traffic.epochs);
    for dataset in [Dataset::Audit, Dataset::Verdicts, Dataset::Incidents, Dataset::Commands, Dataset::Rejections] {
        assert!(calm.iter().flat_map(|changes| &changes.outputs).any(|it| it.dataset == dataset), "{dataset:?}");
    }
    assert_eq!(digest(&run(&Tuning::default(), 2, 10_000, Resume::default(), &traffic.epochs)), digest(&calm));
    for (processes, workers) in [(2, 1), (2, 2), (3, 1)] {
        let said = together(run_in_cluster(processes, workers, &Resume::default(), &traffic.epochs));
        said.iter().zip(&calm).for_each(|(after, before)| common::assert_same(after, before, processes));
        assert_eq!(digest(&said), digest(&calm), "{processes} processes of {workers}");
    }
}

#[test]
fn a_run_moves_between_any_numbers_of_processes() {
    let traffic = Traffic::new(3, 20_000, 80);
    let calm = run(&Tuning::default(), 1, 1_000, Resume::default(), &traffic.epochs);
    for (cut, processes) in [(calm.len() / 3, 2), (calm.len() * 2 / 3, 1), (calm.len() * 4 / 5, 3)] {
        let resume = common::resume(&Tuning::default(), &calm[..cut]);
        let again = resume.bindings[0].epoch.0 as usize + 1;
        let rest = together(run_in_cluster(processes, 1, &resume, &traffic.epochs[again..]));
        assert_eq!(rest[0].binding, calm[cut].binding);
        rest.iter().zip(&calm[cut..]).for_each(|(after, before)| common::assert_same(after, before, cut));
        assert_eq!(rest.len(), calm.len() - cut);
    }
}
