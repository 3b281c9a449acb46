//! `gather`: outputs of all workers to the first one, for the process that commits.
//!
//! # Decision
//! timely's own exchange fills messages by the number of records, a hundred and more. The record of a slot may have a
//! megabyte with many keys, and a connection's buffers grow to the longest message they ever held, on both sides. Here a
//! message is full at [`MESSAGE_BYTES`], so what a connection holds stays bounded by that and the longest output.

use crate::Output;
use crate::epochs::Epochs;
use crate::operators::epochwise::{alone, epochwise};
use timely::communication::Push;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::Message;
use timely::dataflow::channels::pact::{DistributorPact, Pipeline};
use timely::dataflow::channels::pushers::exchange::Distributor;
use timely::dataflow::operators::Operator;

/// A message holds no more outputs once it has so many bytes.
const MESSAGE_BYTES: usize = 1 << 18;

/// Sends everything to the first worker, in order.
struct ToFirst;

impl Distributor<Vec<Output>> for ToFirst {
    fn partition<T: Clone, P: Push<Message<T, Vec<Output>>>>(
        &mut self,
        outputs: &mut Vec<Output>,
        time: &T,
        workers: &mut [P],
    ) {
        let (mut piece, mut bytes) = (Vec::new(), 0);
        for output in outputs.drain(..) {
            bytes += output.key.len() + output.value.len() + size_of::<Output>();
            piece.push(output);
            if bytes >= MESSAGE_BYTES {
                Message::push_at(&mut piece, time.clone(), &mut workers[0]);
                (piece, bytes) = (Vec::new(), 0);
            }
        }
        if !piece.is_empty() {
            Message::push_at(&mut piece, time.clone(), &mut workers[0]);
        }
    }

    fn flush<T: Clone, P: Push<Message<T, Vec<Output>>>>(&mut self, _time: &T, _workers: &mut [P]) {}
}

/// Gathers what every worker said, on the first of them, as `complete`; `said` is what this worker said by the time the
/// last operator, whose stream this is, was through with an epoch.
///
/// What one of them said stays in the order in which it was said. Within one process the engine fetches outputs without
/// that detour.
pub(crate) fn gather<'s>(
    last: Stream<'s, u64, Vec<Output>>,
    said: &Epochs,
    complete: &Epochs,
) -> Stream<'s, u64, Vec<Output>> {
    let (mine, complete) = (said.clone(), complete.clone());
    let sent = epochwise("said", (last, Pipeline), alone(), said, move |now, _, _, words, _| {
        *words = mine.take(now.epoch.0);
    });
    sent.unary::<CapacityContainerBuilder<_>, _, _, _>(DistributorPact(|_| ToFirst), "gather", move |_, _| {
        move |input, _| input.for_each(|time, outputs| complete.say(*time.time(), outputs))
    })
}
