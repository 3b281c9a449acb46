//! `epochwise`: two inputs gathered per epoch, one step of logic when the epoch is complete, words and outputs out.
//!
//! The step sees an epoch once, whole, and in epoch order: what it does cannot depend on how records were batched or
//! which worker was faster. Sorting what it was given, where order matters, is the logic's duty.

use crate::Output;
use crate::calendar::{Calendar, Moment};
use std::collections::BTreeMap;
use timely::ExchangeData;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::ParallelizationContract;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

/// What an operator says: its own words, and outputs.
pub(crate) type Said<'s, W> = (Stream<'s, u64, Vec<W>>, Stream<'s, u64, Vec<Output>>);

/// Runs `step` once per complete epoch with everything its inputs brought.
pub(crate) fn epochwise<'s, A: ExchangeData, B: ExchangeData, W: ExchangeData>(
    name: &str,
    (left, left_pact): (Stream<'s, u64, Vec<A>>, impl ParallelizationContract<u64, Vec<A>>),
    (right, right_pact): (Stream<'s, u64, Vec<B>>, impl ParallelizationContract<u64, Vec<B>>),
    calendar: &Calendar,
    mut step: impl FnMut(Moment, Vec<Vec<A>>, Vec<Vec<B>>, &mut Vec<W>, &mut Vec<Output>) + 'static,
) -> Said<'s, W> {
    let calendar = calendar.clone();
    let mut builder = OperatorBuilder::new(name.to_owned(), left.scope());
    let mut left = builder.new_input(left, left_pact);
    let mut right = builder.new_input(right, right_pact);
    let (words, words_stream) = builder.new_output::<Vec<W>>();
    let (outputs, outputs_stream) = builder.new_output::<Vec<Output>>();
    let (mut words, mut outputs) = (OutputBuilder::from(words), OutputBuilder::from(outputs));
    builder.build(move |mut capabilities| {
        let output_capability = capabilities.pop().expect("two outputs");
        let mut held = capabilities.pop().map(|word_capability| (word_capability, output_capability));
        let mut waiting = BTreeMap::<u64, (Vec<Vec<A>>, Vec<Vec<B>>)>::new();
        let mut next = 0;
        move |frontiers| {
            left.for_each(|time, data| waiting.entry(*time.time()).or_default().0.push(std::mem::take(data)));
            right.for_each(|time, data| waiting.entry(*time.time()).or_default().1.push(std::mem::take(data)));
            let open = |input: usize| frontiers[input].frontier().first().copied().unwrap_or(u64::MAX);
            let frontier = open(0).min(open(1));
            let Some((word_capability, output_capability)) = &mut held else { return };
            for moment in calendar.closed(next, frontier) {
                let epoch = moment.epoch.0;
                let (lefts, rights) = waiting.remove(&epoch).unwrap_or_default();
                let (mut said, mut put) = (Vec::new(), Vec::new());
                step(moment, lefts, rights, &mut said, &mut put);
                if !said.is_empty() {
                    words.activate().session(&word_capability.delayed(&epoch)).give_container(&mut said);
                }
                if !put.is_empty() {
                    outputs.activate().session(&output_capability.delayed(&epoch)).give_container(&mut put);
                }
            }
            next = next.max(frontier);
            // What was said at times that are no epoch (the start, at a restart) concerns nobody.
            waiting = waiting.split_off(&next);
            if frontier == u64::MAX {
                held = None;
            } else {
                word_capability.downgrade(&next);
                output_capability.downgrade(&next);
            }
        }
    });
    (words_stream, outputs_stream)
}
