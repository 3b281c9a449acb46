//! Inputs: what was appended comes back in order, a torn tail is not there yet, damage is named.

use super::scratch::{Files, Random, Scratch, files_of, write_files};
use super::{PROBES, REQUESTS};
use evenkeel::embedded::{EmbeddedSource, InputWriter};
use evenkeel::ports::{PortError, Source};
use evenkeel_schemas::{Cut, Partition};
use std::path::Path;
use std::time::Duration;

fn payloads(source: &mut EmbeddedSource, limit: usize, wait: Duration) -> Vec<(Partition, u64, i64, String)> {
    let mut all = Vec::new();
    loop {
        let polled = source.poll(limit, wait).unwrap();
        if polled.batches.is_empty() {
            return all;
        }
        for batch in &polled.batches {
            for record in batch.iter() {
                assert_eq!(record.key, b"k");
                let payload = String::from_utf8(record.payload.to_vec()).unwrap();
                all.push((batch.partition, record.at.offset, record.timestamp_us, payload));
            }
        }
    }
}

#[test]
fn records_come_back_in_order_from_any_offset() {
    let scratch = Scratch::new();
    let mut source = EmbeddedSource::new(&scratch.0);
    assert!(source.poll(10, Duration::ZERO).unwrap().batches.is_empty(), "no directory yet");
    let mut writer = InputWriter::with_segment_bytes(&scratch.0, 300);
    for i in 0..100 {
        writer.append(REQUESTS, i, b"k", format!("request {i}").as_bytes()).unwrap();
    }
    writer.flush().unwrap();
    let first = payloads(&mut source, 7, Duration::from_millis(60));
    for i in 0..40 {
        writer.append(PROBES, i, b"k", format!("probe {i}").as_bytes()).unwrap();
    }
    writer.sync().unwrap();
    let second = payloads(&mut source, 1000, Duration::from_millis(60));
    assert_eq!(first.iter().map(|r| r.2).collect::<Vec<_>>(), (0..100).collect::<Vec<_>>());
    assert_eq!(second.iter().map(|r| (r.0, r.2)).collect::<Vec<_>>(), (0..40).map(|i| (PROBES, i)).collect::<Vec<_>>());

    for skip in [1, 50, 99, 100] {
        let mut again = EmbeddedSource::new(&scratch.0);
        again.seek(&Cut([(REQUESTS, first[skip - 1].1 + 1)].into())).unwrap();
        let mut records = payloads(&mut again, 30, Duration::ZERO);
        records.sort();
        assert_eq!(records[..100 - skip], first[skip..], "from record {skip}");
        assert_eq!(records[100 - skip..], second, "partitions that are not in the cut start at 0");
    }
    let beyond = EmbeddedSource::new(&scratch.0).seek(&Cut([(REQUESTS, 1 << 40)].into()));
    assert!(matches!(beyond, Err(PortError::Fatal(what)) if what.contains("req.events.v1-0")));
}

#[test]
fn lagging_names_partitions_with_more_whole_records() {
    let scratch = Scratch::new();
    let (mut source, mut writer) = (EmbeddedSource::new(&scratch.0), InputWriter::new(&scratch.0));
    (0..10).for_each(|i| writer.append(REQUESTS, i, b"k", b"r").unwrap());
    writer.append(PROBES, 0, b"k", b"p").unwrap();
    writer.flush().unwrap();
    let polled = source.poll(8, Duration::ZERO).unwrap();
    assert_eq!(polled.lagging, [REQUESTS]);
    let polled = source.poll(12, Duration::ZERO).unwrap();
    assert_eq!((polled.batches.len(), polled.batches[0].len()), (1, 6));
    assert_eq!(polled.lagging, [], "all are read");
}

#[test]
fn a_source_follows_a_writer_in_another_thread() {
    let scratch = Scratch::new();
    let directory = scratch.0.clone();
    let writer = std::thread::spawn(move || {
        let (mut writer, mut random) = (InputWriter::with_segment_bytes(&directory, 20_000), Random(1));
        for i in 0..20_000 {
            let payload = format!("{i}{}", "x".repeat(random.below(200) as usize));
            writer.append(REQUESTS, i, b"k", payload.as_bytes()).unwrap();
            if random.below(50) == 0 {
                writer.flush().unwrap();
            }
        }
        writer.flush().unwrap();
    });
    let (mut source, mut seen) = (EmbeddedSource::new(&scratch.0), Vec::new());
    while seen.len() < 20_000 {
        seen.extend(payloads(&mut source, 500, Duration::from_millis(1)).into_iter().map(|record| record.2));
    }
    writer.join().unwrap();
    assert_eq!(seen, (0..20_000).collect::<Vec<_>>());
}

#[test]
fn a_torn_tail_is_not_there_yet_and_is_cut_off_by_the_next_writer() {
    let whole = Scratch::new();
    let mut writer = InputWriter::new(&whole.0);
    (0..3).for_each(|i| writer.append(REQUESTS, i, b"k", format!("{i}").as_bytes()).unwrap());
    writer.sync().unwrap();
    drop(writer);
    let name = Path::new("inputs/req.events.v1-0/00000000000000000000.seg");
    let bytes = files_of(&whole.0)[name].clone();
    let frame = bytes.len() / 3;
    let mut tails = (0..frame).map(|kept| bytes[..2 * frame + kept].to_vec()).collect::<Vec<_>>();
    tails.extend((1..100).map(|zeros| [&bytes[..2 * frame], &vec![0; zeros]].concat()));
    tails.extend((0..frame).filter(|at| !(1..4).contains(at)).map(|at| {
        let mut bytes = bytes.clone();
        bytes[2 * frame + at] ^= 0x40;
        bytes
    }));
    for tail in tails {
        let torn = Scratch::new();
        write_files(&torn.0, &Files::from([(name.to_owned(), tail.clone())]));
        let mut source = EmbeddedSource::new(&torn.0);
        assert_eq!(payloads(&mut source, 10, Duration::ZERO).len(), 2, "{tail:?}");
        let mut writer = InputWriter::new(&torn.0);
        (2..5).for_each(|i| writer.append(REQUESTS, i, b"k", format!("new {i}").as_bytes()).unwrap());
        writer.flush().unwrap();
        let texts = payloads(&mut source, 10, Duration::ZERO).into_iter().map(|record| record.3).collect::<Vec<_>>();
        assert_eq!(texts, ["new 2", "new 3", "new 4"], "{tail:?}");
    }
}

#[test]
fn damage_before_the_tail_is_fatal_and_named() {
    let scratch = Scratch::new();
    let mut writer = InputWriter::with_segment_bytes(&scratch.0, 100);
    (0..20).for_each(|i| writer.append(REQUESTS, i, b"k", format!("{i:05}").as_bytes()).unwrap());
    writer.sync().unwrap();
    drop(writer);
    let files = files_of(&scratch.0);
    for (name, bytes) in files.iter().filter(|(name, _)| name.extension().is_some()).take(2) {
        for at in 0..bytes.len() {
            let mut files = files.clone();
            files.get_mut(name).unwrap()[at] ^= 1;
            let broken = Scratch::new();
            write_files(&broken.0, &files);
            let result = EmbeddedSource::new(&broken.0).poll(100, Duration::ZERO);
            assert!(
                matches!(&result, Err(PortError::Fatal(what)) if what.contains(".seg")),
                "{name:?} {at} {result:?}"
            );
        }
    }
}

#[test]
fn a_partition_has_one_writer_at_a_time() {
    let scratch = Scratch::new();
    let mut first = InputWriter::new(&scratch.0);
    first.append(REQUESTS, 0, b"", b"x").unwrap();
    let second = InputWriter::new(&scratch.0).append(REQUESTS, 0, b"", b"x");
    assert!(matches!(second, Err(PortError::Fatal(what)) if what.contains("in use")));
    InputWriter::new(&scratch.0).append(PROBES, 0, b"", b"x").unwrap();
}
