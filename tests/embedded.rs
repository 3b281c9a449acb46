//! The embedded log: records come back as they went in, and whatever a crash leaves behind, recovery finds the last
//! committed state (laws L2, L10).
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "embedded/inputs.rs"]
mod inputs;
#[path = "embedded/scratch.rs"]
mod scratch;

use evenkeel::embedded::{EmbeddedLedger, EmbeddedOutputs, Limits, bindings};
use evenkeel::ports::{Committed, Ledger, OutputLog, PortError, Row};
use evenkeel_dataflows::{Changes, Output};
use evenkeel_schemas::{Binding, Cut, Dataset, Epoch, Partition, Topic};
use scratch::{Files, Random, Scratch, files_of, write_files};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

const REQUESTS: Partition = Partition { topic: Topic::Requests, partition: 0 };
const PROBES: Partition = Partition { topic: Topic::Probes, partition: 3 };
const SMALL: Limits = Limits { segment_bytes: 400, state_bytes: 300, manifest_bytes: 700 };

/// Some outputs of an epoch, the same for the same seed.
fn changes(epoch: u64, seed: u64) -> Changes {
    let mut random = Random(seed ^ epoch.wrapping_mul(77));
    let mut outputs = Vec::new();
    for (dataset, partitions) in [(Dataset::Verdicts, 1), (Dataset::Audit, 3), (Dataset::State, 1)] {
        for _ in 0..random.below(5) {
            let key = format!("key-{}", random.below(6)).into_bytes();
            let value = vec![b'a' + random.below(26) as u8; random.below(40) as usize];
            outputs.push(Output { dataset, partition: random.below(partitions) as u32, key, value });
        }
    }
    let upper = Cut([(REQUESTS, epoch * 10)].into());
    let resume = Epoch(epoch - epoch % (2 + seed % 4));
    let binding = Binding { epoch: Epoch(epoch), now_us: 1_000_000 + epoch as i64, resume, upper };
    Changes { binding, outputs, records: 0 }
}

/// Everything a directory says to whoever opens it.
#[derive(Debug, PartialEq)]
struct View {
    committed: Committed,
    outputs: Vec<(Dataset, u32, Row)>,
    bindings: Vec<Binding>,
}

fn read_outputs(directory: &Path) -> Result<Vec<(Dataset, u32, Row)>, PortError> {
    let (mut log, mut all) = (EmbeddedOutputs::new(directory), Vec::new());
    for dataset in Dataset::ALL {
        for partition in log.partitions(dataset)? {
            let mut offset = 0;
            loop {
                let rows = log.read(dataset, partition, offset, 2)?;
                let Some(last) = rows.last() else { break };
                offset = last.offset + 1;
                all.extend(rows.into_iter().map(|row| (dataset, partition, row)));
            }
        }
    }
    Ok(all)
}

fn view(directory: &Path) -> View {
    let committed = EmbeddedLedger::with_limits(directory, SMALL).unwrap().recover().unwrap();
    View { committed, outputs: read_outputs(directory).unwrap(), bindings: bindings(directory).unwrap() }
}

fn commit(directory: &Path, epochs: &[Changes]) {
    let mut ledger = EmbeddedLedger::with_limits(directory, SMALL).unwrap();
    ledger.recover().unwrap();
    ledger.commit(epochs).unwrap();
}

/// What the epochs should leave behind, worked out by plain means.
fn assert_holds(view: &View, epochs: &[Changes], context: &str) {
    let mut state = BTreeMap::new();
    for output in epochs.iter().flat_map(|changes| &changes.outputs).filter(|o| o.dataset == Dataset::State) {
        state.insert(output.key.clone(), output.value.clone());
    }
    state.retain(|_, value| !value.is_empty());
    assert_eq!(view.committed.state, state.into_iter().collect::<Vec<_>>(), "state, {context}");

    let all = epochs.iter().map(|changes| changes.binding.clone()).collect::<Vec<_>>();
    let resume = all.last().map_or(Epoch(0), |last| last.resume);
    let resumable = all.iter().filter(|binding| binding.epoch >= resume).cloned().collect::<Vec<_>>();
    assert_eq!(view.bindings, all, "bindings, {context}");
    assert_eq!(view.committed.bindings, resumable, "bindings from the resume epoch on, {context}");

    let said = |dataset, partition| {
        let of = move |output: &&Output| output.dataset == dataset && output.partition == partition;
        let rows = epochs.iter().flat_map(move |c| c.outputs.iter().filter(of).map(|o| (c.binding.now_us, o)));
        rows.map(|(at_us, o)| (at_us, o.key.clone(), o.value.clone())).collect::<Vec<_>>()
    };
    for (dataset, partition) in [(Dataset::Verdicts, 0), (Dataset::Audit, 0), (Dataset::Audit, 1), (Dataset::Audit, 2)]
    {
        let rows = view.outputs.iter().filter(|(d, p, _)| (*d, *p) == (dataset, partition));
        let rows = rows.map(|(.., row)| (row.at_us, row.key.clone(), row.value.clone())).collect::<Vec<_>>();
        assert_eq!(rows, said(dataset, partition), "{dataset:?} {partition}, {context}");
    }
    let mut offsets = view.outputs.iter().map(|(.., row)| row.offset).collect::<Vec<_>>();
    let rows = offsets.len();
    offsets.sort_unstable();
    offsets.dedup();
    assert_eq!(offsets.len(), rows, "offsets are unique, {context}");
}

/// What may lie on the disk when the power goes in the middle of the commit that leads from `before` to `after`.
fn torn(before: &Files, after: &Files, random: &mut Random) -> Files {
    let mut files = before.clone();
    for (name, new) in after {
        let old = before.get(name).map_or(&[][..], |old| old);
        let is_manifest = name.ends_with("commits");
        if !new.starts_with(old) || (!before.contains_key(name) && random.below(3) == 0) {
            continue;
        }
        let most = new.len() - old.len();
        if most == 0 && before.contains_key(name) {
            continue;
        }
        let kept = old.len() + random.below(most as u64 + u64::from(!is_manifest)) as usize;
        let mut bytes = new[..kept].to_vec();
        match random.below(4) {
            0 => bytes.extend(vec![0; random.below(50) as usize]),
            1 if !is_manifest => bytes.extend((0..random.below(90)).map(|_| random.0 as u8)),
            _ => {}
        }
        files.insert(name.clone(), bytes);
    }
    if random.below(3) == 0 {
        files.insert("commits.tmp".into(), vec![b'x'; random.below(30) as usize]);
    }
    files
}

#[test]
fn a_crash_at_any_point_of_a_commit_leaves_the_commit_before_it() {
    for seed in 0..12 {
        let (calm, mut random) = (Scratch::new(), Random(seed));
        let epochs = (0..14).map(|epoch| changes(epoch, seed)).collect::<Vec<_>>();
        view(&calm.0);
        let mut done = 0;
        while done < epochs.len() {
            let next = (done + 1 + random.below(2) as usize).min(epochs.len());
            let before = files_of(&calm.0);
            commit(&calm.0, &epochs[done..next]);
            let after = files_of(&calm.0);

            let context = format!("seed {seed}, torn in the commit of epochs {done}..{next}");
            let crashed = Scratch::new();
            write_files(&crashed.0, &torn(&before, &after, &mut random));
            assert_holds(&view(&crashed.0), &epochs[..done], &context);
            // The same epochs again, as the engine would say them.
            commit(&crashed.0, &epochs[done..next]);
            assert_holds(&view(&crashed.0), &epochs[..next], &format!("{context}, and done again"));

            let committed = Scratch::new();
            let mut leftovers = before;
            leftovers.extend(after);
            write_files(&committed.0, &leftovers);
            assert_holds(&view(&committed.0), &epochs[..next], &format!("{context}, but after the line"));
            done = next;
        }
        assert_holds(&view(&calm.0), &epochs, &format!("seed {seed}, calm"));
    }
}

#[test]
fn one_ledger_goes_on_over_rolls_rewrites_and_compactions() {
    let scratch = Scratch::new();
    let epochs = (0..400).map(|epoch| changes(epoch, 9)).collect::<Vec<_>>();
    let mut ledger = EmbeddedLedger::with_limits(&scratch.0, SMALL).unwrap();
    assert_eq!(ledger.recover().unwrap(), Committed::default());
    epochs.chunks(3).for_each(|epochs| ledger.commit(epochs).unwrap());
    drop(ledger);
    assert_holds(&view(&scratch.0), &epochs, "400 epochs");
    let bytes = |stream: &str| files_of(&scratch.0.join(stream)).values().map(Vec::len).sum::<usize>();
    assert!(bytes("state") < 2_000, "{} bytes of state", bytes("state"));
    assert!(fs::metadata(scratch.0.join("commits")).unwrap().len() < 1_000);
    assert!(files_of(&scratch.0.join("outputs")).len() > 20);
}

#[test]
fn after_a_failed_commit_recovery_finds_the_one_before_it() {
    let scratch = Scratch::new();
    let epochs = (0..60).map(|epoch| changes(epoch, 4)).collect::<Vec<_>>();
    let mut ledger = EmbeddedLedger::with_limits(&scratch.0, SMALL).unwrap();
    ledger.recover().unwrap();
    ledger.commit(&epochs[..20]).unwrap();
    // The next roll of any stream finds its name taken by a directory.
    let (mut failed, mut done) = (0, 20);
    for stream in ["outputs", "bindings", "state"] {
        let directory = scratch.0.join(stream);
        let blocked = (0..5_000u64).map(|ahead| {
            let last = files_of(&directory);
            let (name, bytes) = last.last_key_value().unwrap();
            let base = name.to_str().unwrap().strip_suffix(".seg").unwrap().parse::<u64>().unwrap();
            directory.join(format!("{:020}.seg", base + bytes.len() as u64 + 1 + ahead))
        });
        let blocked = blocked.take(900).collect::<Vec<_>>();
        blocked.iter().for_each(|path| fs::create_dir(path).unwrap());
        let result = ledger.commit(&epochs[done..done + 12]);
        blocked.iter().for_each(|path| fs::remove_dir(path).unwrap());
        failed += usize::from(result.is_err());
        if result.is_err() {
            assert!(matches!(&result, Err(PortError::Retry(what)) if what.contains(stream)), "{result:?}");
            assert!(matches!(ledger.commit(&epochs[done..=done]), Err(PortError::Retry(_))), "not before recovery");
            ledger.recover().unwrap();
            ledger.commit(&epochs[done..done + 12]).unwrap();
        }
        done += 12;
        drop(ledger);
        assert_holds(&view(&scratch.0), &epochs[..done], stream);
        ledger = EmbeddedLedger::with_limits(&scratch.0, SMALL).unwrap();
        ledger.recover().unwrap();
    }
    assert!(failed >= 2, "{failed} commits failed");
}

#[test]
fn a_second_ledger_is_told_who_is_in_the_way() {
    let scratch = Scratch::new();
    let _first = EmbeddedLedger::open(&scratch.0).unwrap();
    let Err(PortError::Fatal(what)) = EmbeddedLedger::open(&scratch.0) else { panic!("two ledgers") };
    assert!(what.contains(scratch.0.to_str().unwrap()) && what.contains("in use"), "{what}");
}

#[test]
fn missing_and_damaged_commits_are_fatal_and_named() {
    let scratch = Scratch::new();
    let epochs = (0..12).map(|epoch| changes(epoch, 2)).collect::<Vec<_>>();
    view(&scratch.0);
    commit(&scratch.0, &epochs);
    let whole = files_of(&scratch.0);
    let fatal = |files: &Files, part: &str| {
        let broken = Scratch::new();
        write_files(&broken.0, files);
        let recovered = EmbeddedLedger::with_limits(&broken.0, SMALL).unwrap().recover();
        let all = recovered.map(|_| ()).and_then(|()| read_outputs(&broken.0).map(|_| ()));
        let all = all.and_then(|()| bindings(&broken.0).map(|_| ()));
        assert!(matches!(&all, Err(PortError::Fatal(what)) if what.contains(part)), "{part}: {all:?}");
    };
    for (name, bytes) in whole.iter().filter(|(name, _)| name.extension().is_some_and(|e| e == "seg")) {
        let part = name.parent().unwrap().to_str().unwrap();
        if !bytes.is_empty() {
            let mut files = whole.clone();
            files.remove(name);
            fatal(&files, part);
        }
        for at in (0..bytes.len()).step_by(7) {
            let mut files = whole.clone();
            files.get_mut(name).unwrap()[at] ^= 0x10;
            fatal(&files, part);
        }
    }
    let mut files = whole.clone();
    files.remove(Path::new("commits"));
    fatal(&files, "commits");
}
