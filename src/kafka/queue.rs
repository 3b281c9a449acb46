//! Many partitions in one queue, taken in bulk.
//!
//! # Decision
//! `rd_kafka_consume_batch_queue` is not in the safe API; it is worth two to three times the records a second. It waits
//! for a *full* array when given time to wait, so waiting is done for one message, and the rest is taken at once.
//!
//! # Safety
//! 1. A message pointer is valid from the call that filled it in until its `rd_kafka_message_destroy`; [`Message`]
//!    borrows it for the length of one callback, after which it is destroyed, once.
//! 2. The queue and the topic handles inside messages belong to the client; [`Queue`] owns the client, destroys its
//!    queue first (`Drop` runs before fields are dropped), and hands out neither.
//! 3. librdkafka's client and queues may be used from any thread; `&mut self` keeps the message array to one at a time.
//! 4. A [`Bell`] holds a queue's pointer behind a lock, and the queue takes it away before it is destroyed.
#![expect(unsafe_code, reason = "bulk consumption is measured to pay, and is not in the safe API; see the safety part")]

use super::client::Consumer;
use super::connection::CLIENT_EVENTS;
use rdkafka::bindings as native;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};
use std::ffi::{CStr, CString};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Messages taken from the queue in one call.
const CHUNK: usize = 4096;

/// The partitions assigned to one consumer, numbered as they were added.
pub(super) struct Queue {
    native: NonNull<native::rd_kafka_queue_t>,
    partitions: Vec<(CString, i32)>,
    /// Where a topic handle and partition number stand in `partitions`; handles live as long as the client.
    known: Vec<(*mut native::rd_kafka_topic_t, i32, usize)>,
    array: Vec<*mut native::rd_kafka_message_t>,
    bell: Arc<Bell>,
    consumer: Consumer,
}

// SAFETY: point 3 above; the pointers are all librdkafka's.
unsafe impl Send for Queue {}

/// Ends a wait for a queue's messages.
#[derive(Default)]
pub(super) struct Bell {
    /// Set until a wait was ended or left out for it: librdkafka forgets it in a call that does not wait.
    rung: AtomicBool,
    queue: Mutex<Option<Bound>>,
}

/// A queue's pointer.
struct Bound(NonNull<native::rd_kafka_queue_t>);

// SAFETY: point 3 above.
unsafe impl Send for Bound {}

impl Bell {
    /// Ends the wait for messages that is on, or else the next one.
    pub(super) fn ring(&self) {
        self.rung.store(true, Ordering::SeqCst);
        if let Some(Bound(queue)) = &*self.queue.lock().unwrap_or_else(PoisonError::into_inner) {
            // SAFETY: point 4.
            unsafe { native::rd_kafka_queue_yield(queue.as_ptr()) }
        }
    }

    fn bind(&self, queue: Option<Bound>) {
        *self.queue.lock().unwrap_or_else(PoisonError::into_inner) = queue;
    }
}

/// What a queue brings.
pub(super) enum Event<'a> {
    /// A record of the partition with this number.
    Record(usize, Message<'a>),
    /// Everything below this offset was read, and the partition ended here when the broker was asked.
    End(usize, u64),
    /// The partition cannot be read.
    Failed(usize, RDKafkaErrorCode, String),
}

/// A record inside librdkafka's memory.
#[derive(Clone, Copy)]
pub(super) struct Message<'a>(&'a native::rd_kafka_message_t);

impl<'a> Message<'a> {
    pub(super) fn offset(self) -> u64 {
        u64::try_from(self.0.offset).expect("records have offsets from 0 up")
    }

    /// The key; empty if there is none.
    pub(super) fn key(self) -> &'a [u8] {
        bytes(self.0.key, self.0.key_len)
    }

    /// The value; empty for a tombstone.
    pub(super) fn payload(self) -> &'a [u8] {
        bytes(self.0.payload, self.0.len)
    }

    /// The record's timestamp, µs since the Unix epoch; 0 if it has none.
    pub(super) fn timestamp_us(self) -> i64 {
        // SAFETY: point 1; a null type pointer is allowed.
        let timestamp_ms = unsafe { native::rd_kafka_message_timestamp(self.0, std::ptr::null_mut()) };
        timestamp_ms.max(0).saturating_mul(1000)
    }

    /// The last header with this name.
    pub(super) fn header(self, name: &CStr) -> Option<&'a [u8]> {
        let mut headers = std::ptr::null_mut();
        let (mut value, mut size) = (std::ptr::null(), 0);
        // SAFETY: point 1; headers and their values belong to the message.
        unsafe {
            if native::rd_kafka_message_headers(self.0, &mut headers) != NO_ERROR {
                return None;
            }
            let found = native::rd_kafka_header_get_last(headers, name.as_ptr(), &mut value, &mut size);
            (found == NO_ERROR).then(|| bytes(value, size))
        }
    }
}

const NO_ERROR: native::rd_kafka_resp_err_t = native::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR;

fn bytes<'a>(start: *const std::ffi::c_void, length: usize) -> &'a [u8] {
    if start.is_null() || length == 0 {
        return &[];
    }
    // SAFETY: librdkafka says that `length` bytes lie at `start`; point 1 for how long.
    unsafe { std::slice::from_raw_parts(start.cast(), length) }
}

impl Queue {
    /// An empty queue of `consumer`, which must have a group id.
    pub(super) fn new(consumer: Consumer, bell: &Arc<Bell>) -> Self {
        // SAFETY: the client is alive; it returns a queue of which we hold the one reference.
        let native = unsafe { native::rd_kafka_queue_new(consumer.client().native_ptr()) };
        let native = NonNull::new(native).expect("rd_kafka_queue_new never returns null");
        bell.bind(Some(Bound(native)));
        let (array, bell) = (Vec::with_capacity(CHUNK), Arc::clone(bell));
        Self { native, partitions: Vec::new(), known: Vec::new(), array, bell, consumer }
    }

    /// The client, for questions about topics and offsets.
    pub(super) fn consumer(&self) -> &Consumer {
        &self.consumer
    }

    /// The client's position per partition: like the offset after the last record taken, and past markers, too.
    pub(super) fn positions(&self) -> Vec<Option<u64>> {
        let mut list = TopicPartitionList::new();
        for (topic, partition) in &self.partitions {
            list.add_partition(topic.to_str().expect("it was a str"), *partition);
        }
        // SAFETY: the client and the list are alive; the list is filled in, in its order.
        unsafe { native::rd_kafka_position(self.consumer.client().native_ptr(), list.ptr()) };
        let offsets = list.elements().into_iter().map(|element| element.offset().to_raw());
        offsets.map(|offset| u64::try_from(offset?).ok()).collect()
    }

    /// Starts to read these partitions, too; they are numbered on from those already there.
    pub(super) fn assign(&mut self, partitions: &[(String, i32, Offset)]) -> KafkaResult<()> {
        let mut list = TopicPartitionList::new();
        for (topic, partition, offset) in partitions {
            list.add_partition_offset(topic, *partition, *offset)?;
            let topic = CString::new(topic.as_str())?;
            // Redirected before it is assigned: an assignment leaves a redirected partition where it is, so no record
            // can slip into the client's own queue.
            // SAFETY: the client and both queues are alive; the partition queue's reference is given back.
            unsafe {
                let client = self.consumer.client().native_ptr();
                let queue = native::rd_kafka_queue_get_partition(client, topic.as_ptr(), *partition);
                if queue.is_null() {
                    return Err(KafkaError::Subscription(format!("{topic:?} has no partition {partition}")));
                }
                native::rd_kafka_queue_forward(queue, self.native.as_ptr());
                native::rd_kafka_queue_destroy(queue);
            }
            self.partitions.push((topic, *partition));
        }
        self.consumer.incremental_assign(&list)
    }

    /// The partition's end as of the last answer from its broker (uncommitted records count); `None` before the first.
    pub(super) fn cached_end(&self, number: usize) -> Option<u64> {
        let (topic, partition) = &self.partitions[number];
        let (mut low, mut high) = (0, 0);
        let client = self.consumer.client().native_ptr();
        // SAFETY: the client is alive, the name ends in 0, both numbers are ours.
        let error =
            unsafe { native::rd_kafka_get_watermark_offsets(client, topic.as_ptr(), *partition, &mut low, &mut high) };
        if error == NO_ERROR { u64::try_from(high).ok() } else { None }
    }

    /// Hands at most `limit` events to `each`, waiting at most `wait` for the first. Returns whether the queue was
    /// empty afterwards.
    ///
    /// # Errors
    /// What befell the client as a whole and does not heal by itself.
    pub(super) fn take(&mut self, limit: usize, wait: Duration, mut each: impl FnMut(Event<'_>)) -> KafkaResult<bool> {
        self.serve_client()?;
        let mut left = limit;
        let mut took = self.take_chunk(left.min(CHUNK), Duration::ZERO, &mut each);
        if took == 0 && left > 0 && !wait.is_zero() && !self.bell.rung.swap(false, Ordering::SeqCst) {
            took = self.take_chunk(1, wait, &mut each);
            left -= took;
            if took == 0 {
                return Ok(true);
            }
            took = self.take_chunk(left.min(CHUNK), Duration::ZERO, &mut each);
        }
        loop {
            let asked = left.min(CHUNK);
            left -= took;
            if took < asked || left == 0 {
                return Ok(took < asked);
            }
            took = self.take_chunk(left.min(CHUNK), Duration::ZERO, &mut each);
        }
    }

    /// One call into librdkafka; returns how many events there were.
    fn take_chunk(&mut self, size: usize, wait: Duration, each: &mut impl FnMut(Event<'_>)) -> usize {
        // Whole milliseconds, upwards: rounding down would turn a short wait into a busy loop.
        let wait_ms = i32::try_from(wait.as_micros().div_ceil(1000)).unwrap_or(i32::MAX);
        self.array.clear();
        self.array.reserve(size);
        // SAFETY: the array has room for `size` pointers, and as many as are returned are filled in.
        unsafe {
            let got =
                native::rd_kafka_consume_batch_queue(self.native.as_ptr(), wait_ms, self.array.as_mut_ptr(), size);
            self.array.set_len(usize::try_from(got).unwrap_or(0));
        }
        for index in 0..self.array.len() {
            let pointer = self.array[index];
            // SAFETY: points 1 and 2: the pointer was just filled in, and nothing holds on to the borrow.
            unsafe {
                if let Some(event) = self.event(&*pointer) {
                    each(event);
                }
                native::rd_kafka_message_destroy(pointer);
            }
        }
        self.array.len()
    }

    /// What a message says; `None` if it is about no partition of ours.
    fn event<'a>(&mut self, message: &'a native::rd_kafka_message_t) -> Option<Event<'a>> {
        let number = self.number(message.rkt, message.partition)?;
        if message.err == NO_ERROR {
            return Some(Event::Record(number, Message(message)));
        }
        match RDKafkaErrorCode::from(message.err) {
            RDKafkaErrorCode::PartitionEOF => Some(Event::End(number, u64::try_from(message.offset).ok()?)),
            code => {
                let why = String::from_utf8_lossy(Message(message).payload()).into_owned();
                Some(Event::Failed(number, code, why))
            }
        }
    }

    fn number(&mut self, topic: *mut native::rd_kafka_topic_t, partition: i32) -> Option<usize> {
        if let Some(at) = self.known.iter().position(|(t, p, _)| *t == topic && *p == partition) {
            // Messages come in runs of one partition: it is looked for at the front first.
            self.known.swap(0, at);
            return Some(self.known[0].2);
        }
        if topic.is_null() {
            return None;
        }
        // SAFETY: point 2: the handle is alive while its message is, and its name ends in 0.
        let name = unsafe { CStr::from_ptr(native::rd_kafka_topic_name(topic)) };
        let number = self.partitions.iter().position(|(t, p)| t.as_c_str() == name && *p == partition)?;
        self.known.push((topic, partition, number));
        Some(number)
    }

    /// Lets the client say its log lines and errors; connections that come and go heal by themselves.
    fn serve_client(&self) -> KafkaResult<()> {
        for _ in 0..CLIENT_EVENTS {
            match self.consumer.poll(Duration::ZERO) {
                None => return Ok(()),
                Some(Err(error @ KafkaError::MessageConsumptionFatal(_))) => return Err(error),
                Some(Err(_)) => {}
                Some(Ok(_)) => unreachable!("every partition is redirected before it is assigned"),
            }
        }
        Ok(())
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.bell.bind(None);
        // SAFETY: point 2: our one reference, and the client is dropped after this.
        unsafe { native::rd_kafka_queue_destroy(self.native.as_ptr()) }
    }
}
