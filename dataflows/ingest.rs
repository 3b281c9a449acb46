//! `ingest`: records in; sheaves, facts and rejections out. Runs on each worker over the partitions it owns.
//!
//! Whether an event's time is believed is judged against the present at the *start* of its epoch (the `now` of the one
//! before), which is known while records still come in and is the same for every batching.

use crate::batch::{Batch, Record};
use crate::calendar::Calendar;
use crate::dictionary::{Dictionary, UNKNOWN};
use crate::operators::window::{NAMED_EVERY_US, Name};
use crate::sheaf::{Binder, Sheaf};
use crate::tuning::{FUTURE_TOLERANCE_US, TICK_US, Tuning};
use crate::worker::Start;
use evenkeel_schemas::{
    Binding, Change, Control, Coordinates, Dimension, Event, Key, Outcome, Probe, Reason, Rejection, Request,
    Telemetry, Topic, decode_requests,
};
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::{Scope, Stream};
use timely::scheduling::Activator;

/// Most key values a worker remembers between epochs; beyond it starts afresh, which changes no output.
const DICTIONARY_BOUND: usize = 1 << 20;

/// So many requests are noted at once.
const BLOCK: usize = 64;

/// An event that is no request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Fact {
    Metric(Sample),
    Probe(Probe),
    /// A row change with its record's key and payload as received.
    Change(RowChange),
    Control(Control, Coordinates),
    Outcome(Outcome, Coordinates),
    Rejected(Rejection),
}

/// A telemetry value in thousandths.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Sample {
    pub event_time_us: i64,
    pub at: Coordinates,
    pub service: String,
    pub node: String,
    pub name: String,
    pub value_milli: i64,
    pub limit_milli: Option<i64>,
}

/// A database change on its way into the audit chain.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct RowChange {
    pub at: Coordinates,
    pub event_time_us: i64,
    pub table: String,
    pub op: String,
    pub actor: String,
    pub entity: String,
    pub payload: Vec<u8>,
}

/// What a worker is fed.
pub(crate) enum Feed {
    Batch(Batch),
    Close { binding: Binding, warm: bool },
}

/// The feeds that wait on one worker.
pub(crate) type Inbox = Rc<RefCell<VecDeque<Feed>>>;

/// What the records of one worker said.
pub(crate) struct Ingested<'s> {
    pub sheaves: Stream<'s, u64, Vec<Sheaf>>,
    pub names: Stream<'s, u64, Vec<Name>>,
    pub facts: Stream<'s, u64, Vec<Fact>>,
    /// To be pulled after the inbox was filled: an operator without inputs is run only when asked.
    pub activator: Activator,
}

/// Reads the inbox until it is dropped by everybody else.
pub(crate) fn ingest<'s>(scope: Scope<'s, u64>, inbox: &Inbox, calendar: &Calendar, start: &Start) -> Ingested<'s> {
    let (inbox, calendar, opened, spent) = (Rc::downgrade(inbox), calendar.clone(), start.opened, start.spent.clone());
    let mut decoder = Decoder::new(start);
    let peers = scope.peers() as u64;
    let mut builder = OperatorBuilder::new("ingest".to_owned(), scope);
    let (sheaves, sheaf_stream) = builder.new_output::<Vec<Sheaf>>();
    let (names, name_stream) = builder.new_output::<Vec<Name>>();
    let (facts, fact_stream) = builder.new_output::<Vec<Fact>>();
    let mut sheaves = OutputBuilder::from(sheaves);
    let (mut names, mut facts) = (OutputBuilder::from(names), OutputBuilder::from(facts));
    let activator = scope.activator_for(builder.operator_info().address);
    builder.build(move |mut capabilities| {
        capabilities.iter_mut().for_each(|capability| capability.downgrade(&opened.epoch));
        let mut held = Some(capabilities);
        move |_| {
            let Some(inbox) = inbox.upgrade() else {
                held = None;
                return;
            };
            let Some(capabilities) = &mut held else { return };
            while let Some(feed) = { inbox.borrow_mut().pop_front() } {
                match feed {
                    Feed::Batch(batch) => {
                        let (mut named, mut stated) = (names.activate(), facts.activate());
                        let mut named = named.session(&capabilities[1]);
                        let mut stated = stated.session(&capabilities[2]);
                        let mut sink = |word| match word {
                            Word::Name(name) => named.give(name),
                            Word::State(fact) => stated.give(fact),
                        };
                        batch.iter().for_each(|record| decoder.record(record, &mut sink));
                        decoder.number(&mut sink);
                        // If too many wait to be used again, this one is dropped.
                        let _ = spent.try_send(batch);
                    }
                    Feed::Close { binding, warm } => {
                        calendar.enter(&binding, warm);
                        let mut bound = decoder.binder.bind(decoder.horizon_tick, peers);
                        if !bound.is_empty() {
                            sheaves.activate().session(&capabilities[0]).give_container(&mut bound);
                        }
                        decoder.close(&binding);
                        capabilities.iter_mut().for_each(|capability| capability.downgrade(&(binding.epoch.0 + 1)));
                    }
                }
            }
        }
    });
    Ingested { sheaves: sheaf_stream, names: name_stream, facts: fact_stream, activator }
}

/// When the open epoch began.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Opened {
    /// The number of the open epoch.
    pub epoch: u64,
    /// The present when the one before closed, µs.
    pub now_us: i64,
}

enum Word {
    Name(Name),
    State(Fact),
}

/// Decodes records, and notes requests under their keys.
struct Decoder {
    key_sets: Vec<Vec<Dimension>>,
    tuning: Tuning,
    opened: Opened,
    urgent: Arc<AtomicBool>,
    horizon_tick: i64,
    /// The numbers of keys, by their key set and values.
    dictionary: Dictionary,
    /// The keys, by number.
    keys: Vec<Arc<Key>>,
    binder: Binder,
    /// What was decoded and not noted yet, and the words of its keys.
    unnumbered: Vec<Unnumbered>,
    words: Vec<u8>,
}

/// A request to be noted under a key.
struct Unnumbered {
    hash: u64,
    /// Its key, among the words.
    word: Range<usize>,
    number: u32,
    tick: u16,
    latency_us: u32,
    is_error: bool,
}

impl Decoder {
    fn new(start: &Start) -> Self {
        let mut decoder = Self {
            key_sets: start.tuning.key_sets.clone(),
            tuning: start.tuning.clone(),
            opened: start.opened,
            urgent: Arc::clone(&start.urgent),
            horizon_tick: 0,
            dictionary: Dictionary::default(),
            keys: Vec::new(),
            binder: Binder::default(),
            unnumbered: Vec::new(),
            words: Vec::new(),
        };
        decoder.open(start.opened);
        decoder
    }

    fn close(&mut self, binding: &Binding) {
        self.open(Opened { epoch: binding.epoch.0 + 1, now_us: binding.now_us });
        if self.dictionary.len() > DICTIONARY_BOUND {
            self.dictionary.clear();
            self.keys.clear();
            self.binder.clear();
        }
    }

    fn open(&mut self, opened: Opened) {
        self.opened = opened;
        self.horizon_tick = self.tuning.horizon_tick(opened.now_us);
    }

    fn record(&mut self, record: Record<'_>, say: &mut impl FnMut(Word)) {
        if record.at.topic == Topic::Requests {
            return decode_requests(record.at, record.payload, &mut |row, request| match request {
                Ok(request) => self.request(&request, (record, row), say),
                Err(rejection) => say(Word::State(Fact::Rejected(rejection))),
            });
        }
        let fact = match Event::decode(record.at, record.payload) {
            Event::Request(request) => return self.request(&request, (record, None), say),
            Event::Telemetry(telemetry) => match self.judge_time(telemetry.event_time_us) {
                None => Fact::Metric(sample(telemetry, record.at)),
                Some(reason) => reject(reason, telemetry.event_time_us, record),
            },
            Event::Probe(probe) => match self.judge_time(probe.event_time_us) {
                None => Fact::Probe(probe),
                Some(reason) => reject(reason, probe.event_time_us, record),
            },
            Event::Change(Some(change)) => Fact::Change(row_change(change, record)),
            Event::Change(None) => Fact::Change(tombstone(record)),
            Event::Control(control) => Fact::Control(control, record.at),
            Event::Outcome(outcome) => Fact::Outcome(outcome, record.at),
            Event::Rejected(rejection) => Fact::Rejected(rejection),
        };
        say(Word::State(fact));
    }

    #[inline]
    fn judge_time(&self, event_time_us: i64) -> Option<Reason> {
        if event_time_us > self.opened.now_us.saturating_add(FUTURE_TOLERANCE_US) {
            Some(Reason::TimeInFuture)
        } else if event_time_us.div_euclid(TICK_US) < self.horizon_tick {
            Some(Reason::BeyondHorizon)
        } else {
            None
        }
    }

    #[inline]
    fn request(&mut self, request: &Request<'_>, place: (Record<'_>, Option<u32>), say: &mut impl FnMut(Word)) {
        match self.judge_time(request.event_time_us) {
            None => self.count(request, say),
            Some(reason) => say(Word::State(reject_request(reason, request, place))),
        }
    }

    fn count(&mut self, request: &Request<'_>, say: &mut impl FnMut(Word)) {
        let tick = (request.event_time_us.div_euclid(TICK_US) - self.horizon_tick) as u16;
        let (latency_us, is_error) = (request.latency_us, request.is_error());
        if is_error {
            self.urgent.store(true, Ordering::Relaxed);
        }
        for set in 0..self.key_sets.len() {
            let start = self.words.len();
            self.words.push(set as u8);
            for dimension in &self.key_sets[set] {
                let value = value_of(request, *dimension).as_bytes();
                // Values are at most 256 bytes, so two bytes of length keep the concatenation unambiguous.
                self.words.extend((value.len() as u16).to_le_bytes());
                self.words.extend_from_slice(value);
            }
            let (hash, word) = (self.dictionary.hash(&self.words[start..]), start..self.words.len());
            self.unnumbered.push(Unnumbered { hash, word, number: UNKNOWN, tick, latency_us, is_error });
        }
        if self.unnumbered.len() >= BLOCK {
            self.number(say);
        }
    }

    /// Notes what waits under its keys, and names those now and then. Each step is taken for all of them at once: the
    /// waits for memory overlap.
    fn number(&mut self, say: &mut impl FnMut(Word)) {
        let mut unnumbered = std::mem::take(&mut self.unnumbered);
        unnumbered.iter_mut().for_each(|it| it.number = self.dictionary.guess(it.hash));
        for it in &mut unnumbered {
            let word = &self.words[it.word.clone()];
            if !self.dictionary.is(it.number, word) {
                it.number = self.dictionary.number(it.hash, word);
            }
        }
        for Unnumbered { number, word, tick, latency_us, is_error, .. } in unnumbered.drain(..) {
            if number as usize >= self.keys.len() {
                self.meet(word, say);
            }
            let now_us = self.opened.now_us;
            let pile = self.binder.pile(number);
            if now_us.saturating_sub(pile.named_us) >= NAMED_EVERY_US {
                pile.named_us = now_us;
                say(Word::Name(Name { id: pile.id, key: Arc::clone(&self.keys[number as usize]) }));
            }
            self.binder.note(number, tick, latency_us, is_error);
        }
        self.unnumbered = unnumbered;
        self.words.clear();
    }

    /// Names a key that was not counted before.
    #[cold]
    fn meet(&mut self, word: Range<usize>, say: &mut impl FnMut(Word)) {
        let (set, mut rest) = self.words[word].split_first().expect("a word begins with its key set");
        let values = self.key_sets[usize::from(*set)].iter().map(|dimension| {
            let (length, after) = rest.split_first_chunk::<2>().expect("each value has its length before it");
            let (value, after) = after.split_at(usize::from(u16::from_le_bytes(*length)));
            rest = after;
            (*dimension, std::str::from_utf8(value).expect("values come from strings"))
        });
        let key = Arc::new(Key::new(values));
        let id = key.id();
        say(Word::Name(Name { id, key: Arc::clone(&key) }));
        self.keys.push(key);
        let number = self.binder.number(id, self.opened.now_us);
        debug_assert_eq!(number as usize + 1, self.keys.len(), "both count the words of the dictionary");
    }
}

fn value_of<'r>(request: &'r Request<'_>, dimension: Dimension) -> &'r str {
    match dimension {
        Dimension::Service => &request.service,
        Dimension::Route => &request.route,
        Dimension::Node => &request.node,
        Dimension::Version => &request.version,
        Dimension::Region => &request.region,
    }
}

/// A request whose time is not believed; in a batch it has a row.
#[cold]
fn reject_request(reason: Reason, request: &Request<'_>, (record, row): (Record<'_>, Option<u32>)) -> Fact {
    let Some(row) = row else { return reject(reason, request.event_time_us, record) };
    let detail = format!("event_time_us {}", request.event_time_us);
    Fact::Rejected(Rejection::of_row(reason, &detail, record.at, row, request))
}

fn reject(reason: Reason, event_time_us: i64, record: Record<'_>) -> Fact {
    Fact::Rejected(Rejection::new(reason, &format!("event_time_us {event_time_us}"), record.at, record.payload))
}

fn sample(telemetry: Telemetry, at: Coordinates) -> Sample {
    let (value_milli, limit_milli) = (telemetry.value_milli(), telemetry.limit_milli());
    let Telemetry { event_time_us, service, node, name, .. } = telemetry;
    Sample { event_time_us, at, service, node, name, value_milli, limit_milli }
}

/// A tombstone lets Kafka's compaction forget a row; it is chained like the delete before it.
fn tombstone(record: Record<'_>) -> RowChange {
    RowChange {
        at: record.at,
        event_time_us: record.timestamp_us,
        table: String::new(),
        op: "tombstone".to_owned(),
        actor: String::new(),
        entity: String::from_utf8_lossy(record.key).into_owned(),
        payload: record.payload.to_vec(),
    }
}

fn row_change(change: Change, record: Record<'_>) -> RowChange {
    RowChange {
        at: record.at,
        event_time_us: change.event_time_us,
        table: change.table,
        op: change.operation.letter().to_owned(),
        actor: change.actor,
        entity: String::from_utf8_lossy(record.key).into_owned(),
        payload: record.payload.to_vec(),
    }
}
