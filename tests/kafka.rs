//! The Kafka ports against a real broker: `KAFKA_BOOTSTRAP=127.0.0.1:9092 cargo test --release --test kafka`.
//!
//! Every test has its own topic prefix. `KAFKA_RESTART` may hold a shell command that restarts the broker and returns
//! when it answers again.

use evenkeel::kafka::topics::{self, AUDIT_PARTITIONS, INPUT_PARTITIONS, create_missing};
use evenkeel::kafka::{Connection, KafkaLedger, KafkaOutputs, KafkaSource};
use evenkeel::ports::{Ledger, OutputLog, PortError, Source};
use evenkeel::ship::{Input, KafkaSink, Report, ShipOptions, ship};
use evenkeel_dataflows::{Changes, Output};
use evenkeel_schemas::{Binding, Cut, Dataset, Epoch, Partition, Topic};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A connection of one test, or `None` (and a word about it) without a broker.
fn broker(test: &str) -> Option<Connection> {
    let Ok(brokers) = std::env::var("KAFKA_BOOTSTRAP") else {
        eprintln!("skipped: KAFKA_BOOTSTRAP is not set");
        return None;
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is right").as_millis();
    Some(Connection { brokers, prefix: format!("{test}.{now}."), ..Connection::default() })
}

fn changes(epoch: u64, resume: u64, outputs: &[(Dataset, u32, &str, &str)]) -> Changes {
    let partition = Partition { topic: Topic::Requests, partition: 0 };
    let upper = Cut(BTreeMap::from([(partition, epoch * 10)]));
    let now_us = 1_795_246_458_716_867 + i64::try_from(epoch).expect("small");
    let outputs = outputs.iter().map(|(dataset, partition, key, value)| Output {
        dataset: *dataset,
        partition: *partition,
        key: key.as_bytes().to_vec(),
        value: value.as_bytes().to_vec(),
    });
    let binding = Binding { epoch: Epoch(epoch), now_us, resume: Epoch(resume), upper };
    Changes { binding, outputs: outputs.collect(), records: 10 }
}

fn read_all(outputs: &mut KafkaOutputs, dataset: Dataset, partition: u32) -> Vec<String> {
    let (mut values, mut offset) = (vec![], 0);
    loop {
        let rows = outputs.read(dataset, partition, offset, 3).expect("the broker answers");
        let Some(last) = rows.last() else { return values };
        offset = last.offset + 1;
        values.extend(rows.iter().map(|row| String::from_utf8(row.value.clone()).expect("text")));
    }
}

/// Markers may come a moment after the commit returned.
fn eventually(mut check: impl FnMut() -> bool) {
    let start = Instant::now();
    while !check() {
        assert!(start.elapsed() < Duration::from_secs(20), "it never came to be");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn what_was_committed_is_recovered() {
    let Some(connection) = broker("recover") else { return };
    let mut ledger = KafkaLedger::new(connection.clone(), format!("{}id", connection.prefix));
    let start = Instant::now();
    assert_eq!(ledger.recover().expect("recovers").bindings, []);
    eprintln!("first recovery with 9 topics to make: {:?}", start.elapsed());

    let first = [
        changes(
            0,
            0,
            &[(Dataset::State, 0, "a", "1"), (Dataset::State, 0, "b", "1"), (Dataset::Verdicts, 0, "v", "x")],
        ),
        changes(1, 0, &[(Dataset::State, 0, "a", "2"), (Dataset::Audit, 3, "e", "entry")]),
    ];
    ledger.commit(&first).expect("commits");
    let second = changes(2, 1, &[(Dataset::State, 0, "b", ""), (Dataset::Verdicts, 0, "v", "y")]);
    ledger.commit(std::slice::from_ref(&second)).expect("commits");

    let mut next = KafkaLedger::new(connection.clone(), format!("{}id", connection.prefix));
    let start = Instant::now();
    let committed = next.recover().expect("recovers");
    eprintln!("recovery: {:?}", start.elapsed());
    assert_eq!(committed.bindings, [first[1].binding.clone(), second.binding.clone()]);
    assert_eq!(committed.state, [(b"a".to_vec(), b"2".to_vec())]);

    let mut outputs = KafkaOutputs::new(connection);
    assert_eq!(outputs.partitions(Dataset::Audit).expect("answers"), [3]);
    let start = Instant::now();
    assert_eq!(read_all(&mut outputs, Dataset::Verdicts, 0), ["x", "y"]);
    eprintln!("reading another dataset to its end: {:?}", start.elapsed());
    let rows = outputs.read(Dataset::Verdicts, 0, 1, 10).expect("reads");
    assert_eq!(rows[0].at_us, second.binding.now_us);
    assert_eq!(outputs.partitions(Dataset::Incidents).expect("answers"), [] as [u32; 0]);
}

#[test]
fn brokers_that_are_not_there_are_named_with_the_reason() {
    let connection = Connection::plain("127.0.0.1:1");
    let Err(PortError::Retry(text)) = KafkaLedger::new(connection.clone(), "id").recover() else {
        panic!("they may come yet");
    };
    assert!(text.contains("127.0.0.1:1") && text.contains("refused"), "{text}");
    assert!(matches!(KafkaSource::new(connection, &Topic::ALL).seek(&Cut::default()), Err(PortError::Retry(_))));
}

#[test]
fn one_that_took_over_fences_the_other() {
    let Some(connection) = broker("fence") else { return };
    let id = format!("{}id", connection.prefix);
    let mut first = KafkaLedger::new(connection.clone(), &id);
    first.recover().expect("recovers");
    first.commit(&[changes(0, 0, &[(Dataset::Commands, 0, "k", "first")])]).expect("commits");
    let mut second = KafkaLedger::new(connection.clone(), &id);
    assert_eq!(second.recover().expect("recovers").bindings.len(), 1);
    assert_eq!(first.commit(&[changes(1, 0, &[(Dataset::Commands, 0, "k", "zombie")])]), Err(PortError::Fenced));
    second.commit(&[changes(1, 0, &[(Dataset::Commands, 0, "k", "second")])]).expect("commits");
    let mut outputs = KafkaOutputs::new(connection);
    eventually(|| read_all(&mut outputs, Dataset::Commands, 0).len() == 2);
    assert_eq!(read_all(&mut outputs, Dataset::Commands, 0), ["first", "second"]);
}

/// A producer that dies with records on the broker and no commit, as a process killed in the middle of one does.
#[test]
fn what_was_not_committed_is_invisible() {
    let Some(connection) = broker("invisible") else { return };
    let id = format!("{}id", connection.prefix);
    let mut ledger = KafkaLedger::new(connection.clone(), &id);
    ledger.recover().expect("recovers");
    ledger.commit(&[changes(0, 0, &[(Dataset::State, 0, "a", "1")])]).expect("commits");
    drop(ledger);
    let killed = transaction(&connection, &id);
    for (topic, value) in [("evenkeel.state.v1", "2"), ("out.commands.v1", "torn")] {
        let topic = connection.topic(topic);
        killed.send(BaseRecord::to(&topic).partition(0).key("a").payload(value)).expect("queued");
    }
    let binding = serde_json::to_vec(&changes(1, 0, &[]).binding).expect("encodes");
    let topic = connection.topic(topics::BINDINGS);
    killed.send(BaseRecord::to(&topic).partition(0).key("1").payload(&binding)).expect("queued");
    killed.flush(Duration::from_secs(10)).expect("delivered");
    drop(killed);

    let mut next = KafkaLedger::new(connection.clone(), &id);
    let committed = next.recover().expect("recovers");
    assert_eq!(committed.bindings.len(), 1);
    assert_eq!(committed.state, [(b"a".to_vec(), b"1".to_vec())]);
    assert_eq!(read_all(&mut KafkaOutputs::new(connection), Dataset::Commands, 0), [] as [&str; 0]);
}

fn transaction(connection: &Connection, id: &str) -> BaseProducer {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &connection.brokers).set("transactional.id", id);
    let producer: BaseProducer = config.create().expect("a client");
    producer.init_transactions(Duration::from_secs(30)).expect("takes over");
    producer.begin_transaction().expect("begins");
    producer
}

#[test]
fn a_source_reads_exactly_the_committed_records() {
    let Some(connection) = broker("source") else { return };
    create_missing(&connection, &topics::inputs(INPUT_PARTITIONS)).expect("makes the topics");
    let topic = connection.topic(Topic::Requests.name());
    let send = |producer: &BaseProducer, partition, value: &str| {
        producer.send(BaseRecord::<(), str>::to(&topic).partition(partition).payload(value)).expect("queued");
    };
    let end = Duration::from_secs(10);
    for round in 0..3 {
        let producer = transaction(&connection, &connection.topic("writer"));
        (0..5).for_each(|i| send(&producer, i % 2, &format!("{round}-{i}")));
        producer.commit_transaction(end).expect("commits");
        producer.begin_transaction().expect("begins");
        (0..4).for_each(|i| send(&producer, i % 2, "aborted"));
        producer.flush(end).expect("delivered");
        producer.abort_transaction(end).expect("aborts");
    }

    let mut source = KafkaSource::new(connection.clone(), &Topic::ALL);
    let start = Instant::now();
    source.seek(&Cut::default()).expect("seeks");
    let seek = start.elapsed();
    let mut read: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    let (mut cut, mut first) = (Cut::default(), None);
    loop {
        let polled = source.poll(4, Duration::from_millis(100)).expect("polls");
        for batch in &polled.batches {
            first.get_or_insert_with(|| start.elapsed());
            let values = read.entry(batch.partition.partition).or_default();
            values.extend(batch.iter().map(|r| String::from_utf8(r.payload.to_vec()).expect("text")));
            cut.0.insert(batch.partition, batch.next_offset().expect("not empty"));
        }
        assert!(start.elapsed() < Duration::from_secs(30), "lagging without end: {:?}", polled.lagging);
        if polled.lagging.is_empty() {
            break;
        }
    }
    eprintln!("seek {seek:?}, first record after {first:?}, at the end after {:?}", start.elapsed());
    let expected = |parity: usize| {
        let all = (0..3).flat_map(|round| (0..5).map(move |i| (round, i)));
        all.filter(|(_, i)| i % 2 == parity).map(|(round, i)| format!("{round}-{i}")).collect::<Vec<_>>()
    };
    assert_eq!(read, BTreeMap::from([(0, expected(0)), (1, expected(1))]));

    // From the cut on: nothing, until there is more.
    source.seek(&cut).expect("seeks");
    eventually(|| source.poll(10, Duration::from_millis(10)).expect("polls").lagging.is_empty());
    let producer = transaction(&connection, &connection.topic("writer"));
    send(&producer, 1, "more");
    producer.flush(end).expect("delivered");
    // An open transaction holds nothing back: what is not committed is not there yet.
    eventually(|| source.poll(10, Duration::from_millis(10)).expect("polls").lagging.is_empty());
    producer.commit_transaction(end).expect("commits");
    eventually(|| {
        source.poll(10, Duration::from_millis(10)).expect("polls").batches.iter().map(|b| b.len()).sum::<usize>() == 1
    });

    // An offset that is not there is refused, not skipped.
    let beyond = Cut(BTreeMap::from([(Partition { topic: Topic::Requests, partition: 0 }, 1_000_000)]));
    assert!(matches!(source.seek(&beyond), Err(PortError::Fatal(_))));
}

#[test]
fn commits_are_quick_and_go_on_over_a_crash() {
    let Some(connection) = broker("commits") else { return };
    let mut ledger = KafkaLedger::new(connection.clone(), format!("{}id", connection.prefix));
    ledger.recover().expect("recovers");
    let mut took = Vec::new();
    for epoch in 0..300 {
        let start = Instant::now();
        let outputs = [(Dataset::Commands, 0, "k", "command"), (Dataset::Audit, (epoch % 4) as u32, "k", "entry")];
        ledger.commit(&[changes(epoch, epoch.saturating_sub(2), &outputs)]).expect("commits");
        took.push(start.elapsed());
    }
    took.sort_unstable();
    eprintln!("commit of one epoch: p50 {:?}, p99 {:?}, max {:?}", took[150], took[297], took[299]);
    let start = Instant::now();
    assert_eq!(ledger.recover().expect("recovers").bindings.len(), 3);
    eprintln!("recovery after 300 epochs: {:?}", start.elapsed());

    let Ok(restart) = std::env::var("KAFKA_RESTART") else { return };
    let restarting = std::thread::spawn(move || {
        assert!(std::process::Command::new("sh").arg("-c").arg(&restart).status().expect("a shell").success());
    });
    let start = Instant::now();
    let mut epoch = 300;
    let mut recoveries = 0;
    while !restarting.is_finished() || start.elapsed() < Duration::from_secs(15) {
        match ledger.commit(&[changes(epoch, epoch - 2, &[(Dataset::Commands, 0, "k", "command")])]) {
            Ok(()) => epoch += 1,
            Err(PortError::Retry(why)) => {
                eprintln!("after {:?}: {why}", start.elapsed());
                recoveries += 1;
                eventually(|| match ledger.recover() {
                    Ok(committed) => {
                        epoch = committed.bindings.last().expect("there were commits").epoch.0 + 1;
                        true
                    }
                    Err(PortError::Retry(_)) => false,
                    Err(error) => panic!("{error}"),
                });
            }
            Err(error) => panic!("{error}"),
        }
    }
    restarting.join().expect("restarted");
    eprintln!("{} epochs over a restart, {recoveries} recoveries", epoch - 300);
    assert_eq!(read_all(&mut KafkaOutputs::new(connection), Dataset::Commands, 0).len() as u64, epoch);
}

#[test]
fn topics_that_exist_are_left_alone() {
    let Some(connection) = broker("topics") else { return };
    let made = create_missing(&connection, &topics::outputs(AUDIT_PARTITIONS)).expect("makes");
    assert_eq!(made.len(), 9);
    assert_eq!(create_missing(&connection, &topics::outputs(8)).expect("looks"), [] as [String; 0]);
}

/// Runs `ship` on its own thread; the sender stops it.
fn shipping(connection: &Connection) -> (std::net::SocketAddr, tokio::sync::oneshot::Sender<()>, JoinHandle<Report>) {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = socket.local_addr().expect("bound");
    let sink = Box::new(KafkaSink::new(connection.clone(), Topic::Requests.name()).expect("a producer"));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let stopped = async { drop(stopped.await) };
        runtime.block_on(ship(Input::Listen(vec![socket]), sink, ShipOptions::default(), stopped)).expect("ships")
    });
    (address, stop, thread)
}

fn poll_lines(source: &mut KafkaSource, wait: Duration) -> Vec<String> {
    let polled = source.poll(100_000, wait).expect("polls");
    let text = |payload: &[u8]| String::from_utf8(payload.to_vec()).expect("text");
    polled.batches.iter().flat_map(|b| b.iter().map(|r| text(r.payload)).collect::<Vec<_>>()).collect()
}

#[test]
fn every_line_sent_to_ship_is_a_record_over_a_crash() {
    let Some(connection) = broker("ship") else { return };
    create_missing(&connection, &topics::inputs(INPUT_PARTITIONS)).expect("makes the topics");
    let (address, stop, thread) = shipping(&connection);
    let mut source = KafkaSource::new(connection.clone(), &[Topic::Requests]);
    source.seek(&Cut::default()).expect("seeks");
    let mut stream = std::net::TcpStream::connect(address).expect("connects");
    stream.set_nodelay(true).expect("no delay");

    // Low rate: a line at a time, and how long it takes to come out of a source.
    let mut took = Vec::new();
    for i in 0..200 {
        let start = Instant::now();
        writeln!(stream, "slow {i}\r").expect("writes");
        while !poll_lines(&mut source, Duration::from_millis(50)).contains(&format!("slow {i}")) {}
        took.push(start.elapsed());
        std::thread::sleep(Duration::from_millis(5));
    }
    took.sort_unstable();
    eprintln!("line to record: p50 {:?}, p99 {:?}, max {:?}", took[100], took[198], took[199]);

    // All at once, over four connections; with a restart in between, if there is one.
    let restart = std::env::var("KAFKA_RESTART").ok();
    let start = Instant::now();
    let senders: Vec<_> = (0..4)
        .map(|sender| {
            std::thread::spawn(move || {
                let mut stream = std::io::BufWriter::new(std::net::TcpStream::connect(address).expect("connects"));
                (0..50_000).for_each(|i| writeln!(stream, "fast {sender} {i}").expect("writes"));
            })
        })
        .collect();
    if let Some(restart) = restart {
        assert!(std::process::Command::new("sh").arg("-c").arg(&restart).status().expect("a shell").success());
    }
    senders.into_iter().for_each(|sender| sender.join().expect("sent"));
    let mut seen = BTreeSet::new();
    while seen.len() < 200_000 {
        assert!(start.elapsed() < Duration::from_secs(90), "only {} of 200000 lines came", seen.len());
        seen.extend(poll_lines(&mut source, Duration::from_millis(50)));
    }
    eprintln!("200000 lines after {:?}", start.elapsed());
    stop.send(()).expect("it runs");
    let report = thread.join().expect("it stops");
    assert_eq!((report.lines, report.delivered, report.unsent(), report.connections), (200_200, 200_200, 0, 5));
}

/// How fast a source reads a million records of 200 bytes; a figure, not a bound.
#[test]
fn throughput_of_a_source() {
    let Some(connection) = broker("throughput") else { return };
    create_missing(&connection, &topics::inputs(INPUT_PARTITIONS)).expect("makes the topics");
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &connection.brokers).set("linger.ms", "20").set("compression.type", "lz4");
    let producer: BaseProducer = config.create().expect("a client");
    let topic = connection.topic(Topic::Requests.name());
    for i in 0..1_000_000 {
        let value = format!("{i:0200}");
        let mut record = BaseRecord::<(), str>::to(&topic).partition(i % 2).payload(&value);
        while let Err((_, back)) = producer.send(record) {
            producer.poll(Duration::from_millis(1));
            record = back;
        }
    }
    producer.flush(Duration::from_secs(60)).expect("delivered");
    for limit in [1_000, 10_000, 100_000] {
        let mut source = KafkaSource::new(connection.clone(), &[Topic::Requests]);
        source.seek(&Cut::default()).expect("seeks");
        let (mut records, mut first) = (0, None);
        while records < 1_000_000 {
            let polled = source.poll(limit, Duration::from_millis(10)).expect("polls");
            records += polled.batches.iter().map(|b| b.len()).sum::<usize>();
            if records > 0 {
                first.get_or_insert_with(|| (Instant::now(), cpu_s()));
            }
        }
        let (start, cpu_before_s) = first.expect("there were records");
        let (elapsed_s, used_s) = (start.elapsed().as_secs_f64(), cpu_s() - cpu_before_s);
        eprintln!("limit {limit}: {:.2} M records/s, {:.2} µs CPU a record", 1.0 / elapsed_s, used_s);
    }
}

/// CPU time of this process so far, seconds.
fn cpu_s() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields = stat.rsplit(')').next().expect("a command in brackets").split_whitespace();
    let ticks: f64 = fields.skip(11).take(2).map(|field| field.parse::<f64>().expect("a number")).sum();
    ticks / 100.0
}
