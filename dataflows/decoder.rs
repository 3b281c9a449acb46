//! `decoder`: records read one by one: requests noted under their keys, everything else said.
//!
//! Whether an event's time is believed is judged against the present at the *start* of its epoch (the `now` of the one
//! before), which is known while records still come in and is the same for every batching.

use crate::batch::{Batch, Output, Record};
use crate::chain::Draft;
use crate::dictionary::{Dictionary, UNKNOWN};
use crate::findings::Finding;
use crate::operators::window::{NAMED_EVERY_US, Name};
use crate::policy::Order;
use crate::recovery::News;
use crate::saturation::Sample;
use crate::sheaf::{Binder, Sheaf};
use crate::silence::{Sign, node_key};
use crate::state::output;
use crate::topology::{is_asked, seen_until};
use crate::tuning::{FUTURE_TOLERANCE_US, TICK_US, Tuning};
use crate::vitals::Vital;
use crate::worker::Start;
use evenkeel_schemas::mirror::{MirrorChange, judge_mirror};
use evenkeel_schemas::{
    AuditEvent, AuditEventType, Binding, Change, Control, Dataset, Dimension, Event, Key, MAX_NAME_BYTES, Reason,
    Rejection, Request, Topic, decode_requests,
};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Most key values a worker remembers between epochs; beyond it starts afresh, which changes no output.
const DICTIONARY_BOUND: usize = 1 << 20;

/// So many requests are noted at once.
const BLOCK: usize = 64;

/// Most calls a worker remembers to have said; beyond it says them again, which changes no output.
const CALLS_BOUND: usize = 1 << 15;

/// When the open epoch began.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Opened {
    /// The number of the open epoch.
    pub epoch: u64,
    /// The present when the one before closed, µs.
    pub now_us: i64,
}

/// What records say, apart from the requests.
#[derive(Default)]
pub(crate) struct Said {
    pub vitals: Vec<(String, Vital)>,
    pub news: Vec<News>,
    pub drafts: Vec<Draft>,
    pub rejections: Vec<Output>,
}

/// Decodes records, and notes requests under their keys.
pub(crate) struct Decoder {
    peers: u64,
    said: Said,
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
    called: Called,
}

/// The calls that were said, by caller, since a day began.
#[derive(Default)]
struct Called {
    until_us: i64,
    said: BTreeMap<String, BTreeSet<String>>,
    count: usize,
}

impl Called {
    /// Whether a call is to be said: it was not, in these days.
    fn is_news(&mut self, caller: &str, callee: &str, until_us: i64) -> bool {
        if self.said.get(caller).is_some_and(|callees| callees.contains(callee)) && self.until_us == until_us {
            return false;
        }
        if self.until_us != until_us || self.count >= CALLS_BOUND {
            *self = Self { until_us, ..Self::default() };
        }
        self.count += 1;
        self.said.entry(caller.to_owned()).or_default().insert(callee.to_owned())
    }
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
    /// For one of `peers` workers.
    pub fn new(start: &Start, peers: u64) -> Self {
        let mut decoder = Self {
            peers,
            said: Said::default(),
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
            called: Called::default(),
        };
        decoder.open(start.opened);
        decoder
    }

    /// The epoch closed, and was bound.
    pub fn close(&mut self, binding: &Binding) {
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

    /// Reads the records of a batch.
    pub fn read(&mut self, batch: &Batch) {
        batch.iter().for_each(|record| self.record(record));
        self.number();
    }

    /// The open epoch, and what was read in it, to be taken.
    pub fn said(&mut self) -> (u64, &mut Said) {
        (self.opened.epoch, &mut self.said)
    }

    /// The requests of the epoch, bound for those who keep their keys.
    pub fn bind(&mut self) -> Vec<Sheaf> {
        self.binder.bind(self.horizon_tick, self.peers)
    }

    fn record(&mut self, record: Record<'_>) {
        if record.at.topic == Topic::Requests {
            return decode_requests(record.at, record.payload, &mut |row, request| match request {
                Ok(request) => self.request(&request, (record, row)),
                Err(rejection) => self.reject(&rejection),
            });
        }
        match Event::decode(record.at, record.payload) {
            Event::Request(request) => self.request(&request, (record, None)),
            Event::Telemetry(telemetry) => match self.judge_time(telemetry.event_time_us) {
                None => {
                    let sample = Sample::from((record.at, telemetry));
                    self.said.vitals.push((sample.key(), Vital::Sample(sample)));
                }
                Some(reason) => self.disbelieve(reason, telemetry.event_time_us, record),
            },
            Event::Probe(probe) => match self.judge_time(probe.event_time_us) {
                None => {
                    let key = node_key(&probe.service, &probe.node);
                    self.said.vitals.push((key, Vital::Sign(Sign::Probe(probe))));
                }
                Some(reason) => self.disbelieve(reason, probe.event_time_us, record),
            },
            Event::Change(Some(change)) => self.change(record, change),
            Event::Change(None) => self.said.drafts.push(Draft::of_tombstone(record)),
            Event::Control(control) => self.order(Order { at: record.at, control }),
            Event::Outcome(outcome) => {
                self.said.drafts.push(Draft::from((record.at, outcome.clone())));
                self.said.news.push(News::Outcome(record.at, outcome));
            }
            Event::Audit(event) => self.audit(record, event),
            Event::Rejected(rejection) => self.reject(&rejection),
        }
    }

    /// A change is audited, but for one: an entry of the log that was copied to its mirror is in the log already, and
    /// its entry would be copied, and captured, and audited again, for ever.
    fn change(&mut self, record: Record<'_>, change: Change) {
        if change.table == self.tuning.mirror_table {
            match judge_mirror(change.operation, record.payload) {
                MirrorChange::Copied => return,
                MirrorChange::Edited { row, what } => self.found(Finding::of_mirror(record.at, &change, &row, &what)),
            }
        }
        self.said.drafts.push(Draft::of_change(record, change));
    }

    fn audit(&mut self, record: Record<'_>, event: AuditEvent) {
        if event.event_type == AuditEventType::Finding {
            self.found(Finding::from((record.at, &event)));
        }
        self.said.drafts.push(Draft::of_audit_event(record, event));
    }

    /// Hears of a finding; like an error it is not kept waiting.
    fn found(&mut self, finding: Finding) {
        self.urgent.store(true, Ordering::Relaxed);
        self.said.vitals.push((finding.bucket(), Vital::Finding(finding)));
    }

    fn order(&mut self, order: Order) {
        self.said.drafts.push(Draft::from(order.clone()));
        if let Control::RetireNode { service, node, .. } = &order.control {
            self.said.vitals.push((node_key(service, node), Vital::Sign(Sign::Retire)));
        }
        if order.control.interval_us().is_some() || order.is_policy() {
            self.binder.order(order.clone());
            let to_all = (0..self.peers).map(|worker| (String::new(), Vital::Order(worker, order.clone())));
            self.said.vitals.extend(to_all);
        }
        self.said.news.extend((0..self.peers).map(|worker| News::Order(worker, order.clone())));
    }

    fn reject(&mut self, rejection: &Rejection) {
        self.said.rejections.push(output(Dataset::Rejections, rejection.at.to_string(), rejection));
    }

    /// Rejects a record whose time is not believed.
    #[cold]
    fn disbelieve(&mut self, reason: Reason, event_time_us: i64, record: Record<'_>) {
        let detail = format!("event_time_us {event_time_us}");
        self.reject(&Rejection::new(reason, &detail, record.at, record.payload));
    }

    /// Rejects a request whose time is not believed; in a batch it has a row.
    #[cold]
    fn disbelieve_request(&mut self, reason: Reason, request: &Request<'_>, (record, row): (Record<'_>, Option<u32>)) {
        let Some(row) = row else { return self.disbelieve(reason, request.event_time_us, record) };
        let detail = format!("event_time_us {}", request.event_time_us);
        self.reject(&Rejection::of_row(reason, &detail, record.at, row, request));
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
    fn request(&mut self, request: &Request<'_>, place: (Record<'_>, Option<u32>)) {
        match self.judge_time(request.event_time_us) {
            None => {
                if !request.upstream.is_empty() && is_asked(place.0.at.offset, place.1.unwrap_or(0)) {
                    self.call(request);
                }
                self.count(request);
            }
            Some(reason) => self.disbelieve_request(reason, request, place),
        }
    }

    /// Tells every worker whom a service calls. A name that is too long for a service's is nobody's.
    #[cold]
    fn call(&mut self, request: &Request<'_>) {
        let (caller, callee, until_us) = (&*request.service, &*request.upstream, seen_until(self.opened.now_us));
        if caller == callee || callee.len() > MAX_NAME_BYTES || !self.called.is_news(caller, callee, until_us) {
            return;
        }
        let (caller, callee) = (caller.to_owned(), callee.to_owned());
        let to_all = (0..self.peers).map(|worker| {
            let (caller, callee) = (caller.clone(), callee.clone());
            News::Called { worker, caller, callee, until_us }
        });
        self.said.news.extend(to_all);
    }

    fn count(&mut self, request: &Request<'_>) {
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
            self.number();
        }
    }

    /// Notes what waits under its keys, and names those now and then. Each step is taken for all of them at once: the
    /// waits for memory overlap.
    fn number(&mut self) {
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
                self.meet(word);
            }
            let now_us = self.opened.now_us;
            let pile = self.binder.pile(number);
            if now_us.saturating_sub(pile.named_us) >= NAMED_EVERY_US {
                pile.named_us = now_us;
                let id = pile.id;
                self.binder.name(Name { id, key: Arc::clone(&self.keys[number as usize]) });
            }
            self.binder.note(number, tick, latency_us, is_error);
        }
        self.unnumbered = unnumbered;
        self.words.clear();
    }

    /// Names a key that was not counted before.
    #[cold]
    fn meet(&mut self, word: Range<usize>) {
        let (set, mut rest) = self.words[word].split_first().expect("a word begins with its key set");
        let values = self.key_sets[usize::from(*set)].iter().map(|dimension| {
            let (length, after) = rest.split_first_chunk::<2>().expect("each value has its length before it");
            let (value, after) = after.split_at(usize::from(u16::from_le_bytes(*length)));
            rest = after;
            (*dimension, std::str::from_utf8(value).expect("values come from strings"))
        });
        let key = Arc::new(Key::new(values));
        let id = key.id();
        self.binder.name(Name { id, key: Arc::clone(&key) });
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
        // The contract does not bound it, and key state is bounded: a longer one is counted as none.
        Dimension::Tenant if request.tenant.len() > MAX_NAME_BYTES => "",
        Dimension::Tenant => &request.tenant,
    }
}
