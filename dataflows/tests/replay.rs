//! L1: the same bindings and records say the same bytes, for any number of workers and any sizes of batches.

mod common;

use common::{Traffic, digest, run};
use evenkeel_dataflows::{Resume, Tuning};

#[test]
fn workers_and_batch_sizes_leave_no_trace() {
    let traffic = Traffic::new(7, 60_000, 120);
    let calm = run(&Tuning::default(), 1, 100_000, Resume::default(), &traffic.epochs);
    assert!(calm.iter().map(|changes| changes.outputs.len()).sum::<usize>() > 1_000);
    for (workers, batch) in [(1, 7), (1, 1_000), (2, 7), (2, 100_000), (4, 333), (4, 100_000)] {
        let changes = run(&Tuning::default(), workers, batch, Resume::default(), &traffic.epochs);
        changes.iter().zip(&calm).for_each(|(after, before)| common::assert_same(after, before, workers));
        assert_eq!(digest(&changes), digest(&calm), "{workers} workers, batches of {batch}");
    }
}

#[test]
fn a_key_bound_holds_for_any_number_of_workers() {
    let traffic = Traffic::new(11, 20_000, 30);
    let tuning = Tuning { max_keys: 64, ..Tuning::default() };
    let calm = run(&tuning, 1, 50, Resume::default(), &traffic.epochs);
    let overflows = |key: &[u8]| String::from_utf8_lossy(key).contains("~other");
    assert!(calm.iter().flat_map(|changes| &changes.outputs).any(|output| overflows(&output.key)));
    for workers in [2, 4] {
        let changes = run(&tuning, workers, 999, Resume::default(), &traffic.epochs);
        changes.iter().zip(&calm).for_each(|(after, before)| common::assert_same(after, before, workers));
    }
}

#[test]
fn a_restart_at_any_epoch_goes_on_bit_for_bit() {
    let traffic = Traffic::new(3, 30_000, 100);
    for tuning in [Tuning::default(), Tuning { max_keys: 64, ..Tuning::default() }] {
        let calm = run(&tuning, 2, 1_000, Resume::default(), &traffic.epochs);
        for cut in (1..traffic.epochs.len()).step_by(traffic.epochs.len() / 23) {
            let resume = common::resume(&tuning, &calm[..cut]);
            let again = resume.bindings[0].epoch.0 as usize + 1;
            let rest = run(&tuning, 1 + cut % 3, 500, resume, &traffic.epochs[again..]);
            assert_eq!(rest[0].binding, calm[cut].binding);
            for (after, before) in rest.iter().zip(&calm[cut..]) {
                common::assert_same(after, before, cut);
            }
        }
    }
}
