//! The audit log on a real broker: sealed, proven, and attacked by somebody who may do anything with the topic but has not
//! the key (law L7). `KAFKA_BOOTSTRAP=127.0.0.1:9092 cargo test --release --test kafka_audit`.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use evenkeel::cold::{ColdStore, MemoryStore};
use evenkeel::kafka::topics::{create_missing, outputs};
use evenkeel::kafka::{Connection, KafkaLedger, KafkaOutputs};
use evenkeel::ports::{Ledger, OutputLog, Row};
use evenkeel::seal::{FileKey, SealError, Sealer, Signer, files, prove, verify_data};
use evenkeel_dataflows::{Changes, Output};
use evenkeel_schemas::audit::{Chain, Entry, Log, ORIGIN, Proof, Trust};
use evenkeel_schemas::{Binding, Cut, Dataset, Epoch};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const PARTITIONS: u32 = 2;

fn key() -> FileKey {
    FileKey::new("example.com/kafka", false, [5; 32]).unwrap()
}

fn entry(number: u64, mark: &str) -> Entry {
    Entry {
        epoch: number / 10,
        ts_us: 1_795_246_458_716_867 + number as i64,
        event_type: "change".to_owned(),
        op: "u".to_owned(),
        entity: format!("row {number}"),
        payload: format!("amount {number}{mark}").into_bytes(),
        ..Entry::default()
    }
}

/// A broker with an audit log of 200 entries in two partitions, and its seals.
struct World {
    connection: Connection,
    seals: MemoryStore,
}

impl World {
    fn make(test: &str) -> Option<Self> {
        let Ok(brokers) = std::env::var("KAFKA_BOOTSTRAP") else {
            eprintln!("skipped: KAFKA_BOOTSTRAP is not set");
            return None;
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        let connection = Connection { brokers, prefix: format!("{test}.{now}."), ..Connection::default() };
        create_missing(&connection, &outputs(PARTITIONS)).unwrap();
        let mut chains = (0..PARTITIONS).map(|partition| Chain::new(ORIGIN, partition)).collect::<Vec<_>>();
        let mut ledger = KafkaLedger::new(connection.clone(), format!("{}id", connection.prefix));
        ledger.recover().unwrap();
        for epoch in 0..20_u64 {
            let outputs = (epoch * 10..epoch * 10 + 10).map(|number| {
                let (partition, entry) = ((number % 2) as u32, entry(number, ""));
                let (key, value) = (entry.entity.clone().into_bytes(), chains[partition as usize].append(entry));
                Output { dataset: Dataset::Audit, partition, key, value }
            });
            let now_us = 1_795_246_458_716_867 + epoch as i64;
            let binding = Binding { epoch: Epoch(epoch), now_us, resume: Epoch(epoch), upper: Cut::default() };
            ledger.commit(&[Changes { binding, outputs: outputs.collect(), records: 0 }]).unwrap();
        }
        let world = Self { connection, seals: MemoryStore::default() };
        let mut sealer = Sealer::open(Box::new(copy(&world.seals)), Box::new(key()), ORIGIN).unwrap();
        let start = Instant::now();
        let mut sealed = 0;
        while sealed < 200 {
            assert!(start.elapsed() < Duration::from_secs(20), "{sealed} entries were seen");
            sealed += sealer.turn(&mut world.rows(), None).unwrap().entries;
        }
        for name in sealer.store().list("").unwrap() {
            world.seals.put(&name, &sealer.store().get(&name).unwrap().unwrap()).unwrap();
        }
        assert_eq!(world.verified().unwrap(), 200);
        Some(world)
    }

    fn rows(&self) -> KafkaOutputs {
        KafkaOutputs::new(self.connection.clone())
    }

    fn topic(&self) -> String {
        self.connection.topic(Dataset::Audit.topic())
    }

    fn verified(&self) -> Result<u64, SealError> {
        let (files, trust) = (files(&self.seals), Trust::in_key(key().key().clone()).unwrap());
        let log = Log::open(&files, &trust).unwrap();
        verify_data(&log, ORIGIN, &mut self.rows(), None).map(|verified| verified.entries)
    }

    /// What verification says once it finds something.
    fn found(&self) -> String {
        let start = Instant::now();
        loop {
            match self.verified() {
                Err(SealError::Tampered(tampered)) => {
                    eprintln!("found after {:?}: {tampered}", start.elapsed());
                    return tampered.to_string();
                }
                other => assert!(start.elapsed() < Duration::from_secs(20), "it was not found: {other:?}"),
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        ClientConfig::new().set("bootstrap.servers", &self.connection.brokers).create().unwrap()
    }

    /// Every row of a partition.
    fn all(&self, partition: u32) -> Vec<Row> {
        let (mut rows, mut log, mut offset) = (Vec::new(), self.rows(), 0);
        loop {
            let read = log.read(Dataset::Audit, partition, offset, 1000).unwrap();
            let Some(last) = read.last() else { return rows };
            offset = last.offset + 1;
            rows.extend(read);
        }
    }

    /// Deletes the topic, and makes another of that name that holds these rows.
    fn made_anew(&self, partitions: &[Vec<(Vec<u8>, Vec<u8>)>]) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let admin = self.admin();
        runtime.block_on(admin.delete_topics(&[&self.topic()], &AdminOptions::new())).unwrap();
        let start = Instant::now();
        while create_missing(&self.connection, &outputs(PARTITIONS)).unwrap().is_empty() {
            assert!(start.elapsed() < Duration::from_secs(20), "the topic does not go away");
            std::thread::sleep(Duration::from_millis(100));
        }
        for (partition, rows) in (0..).zip(partitions) {
            rows.iter().for_each(|(key, value)| self.send(partition, key, value));
        }
    }

    fn send(&self, partition: i32, key: &[u8], value: &[u8]) {
        let producer: BaseProducer =
            ClientConfig::new().set("bootstrap.servers", &self.connection.brokers).create().unwrap();
        let topic = self.topic();
        producer.send(BaseRecord::to(&topic).partition(partition).key(key).payload(value)).ok().unwrap();
        producer.flush(Duration::from_secs(20)).unwrap();
    }
}

fn copy(store: &MemoryStore) -> MemoryStore {
    let copy = MemoryStore::default();
    for name in store.list("").unwrap() {
        copy.put(&name, &store.get(&name).unwrap().unwrap()).unwrap();
    }
    copy
}

#[test]
fn an_entry_of_a_topic_is_proven() {
    let Some(world) = World::make("prove") else { return };
    let (files, trust) = (files(&world.seals), Trust::in_key(key().key().clone()).unwrap());
    let log = Log::open(&files, &trust).unwrap();
    for seq in [0, 57, 99] {
        let proof = prove(&log, &mut world.rows(), 1, seq).unwrap().to_string().parse::<Proof>().unwrap();
        let (entry, _) = proof.verify(&trust).unwrap();
        assert_eq!(entry.payload, format!("amount {}", 2 * seq + 1).into_bytes());
    }
}

#[test]
fn a_topic_written_anew_is_found() {
    let Some(world) = World::make("anew") else { return };
    let anew = (0..PARTITIONS).map(|partition| {
        let mut chain = Chain::new(ORIGIN, partition);
        let rows = world.all(partition).into_iter().map(|row| {
            let (mut entry, _) = Entry::open(&row.value).unwrap();
            if entry.seq == 40 {
                entry.payload = b"amount 1000000".to_vec();
            }
            (row.key, chain.append(entry))
        });
        rows.collect::<Vec<_>>()
    });
    world.made_anew(&anew.collect::<Vec<_>>());
    let why = world.found();
    assert!(why.contains("rewritten") || why.contains("cut off"), "{why}");
}

#[test]
fn a_topic_whose_front_was_deleted_is_found() {
    let Some(world) = World::make("front") else { return };
    let mut before = TopicPartitionList::new();
    before.add_partition_offset(&world.topic(), 0, Offset::Offset(30)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(world.admin().delete_records(&before, &AdminOptions::new())).unwrap();
    let why = world.found();
    assert!(why.contains("partition 0"), "{why}");
}

#[test]
fn a_forged_entry_behind_the_last_is_found() {
    let Some(world) = World::make("forged") else { return };
    let (forged, _) = Entry { partition: 1, seq: 100, ..entry(201, "!") }.seal(&[0; 32]);
    world.send(1, b"row 201", &forged);
    let why = world.found();
    assert!(why.contains("partition 1") && why.contains("seq 100"), "{why}");
}
