//! `epochwise`: inputs gathered per epoch, one step of logic when the epoch is complete; words go on, outputs are said.
//!
//! The step sees an epoch once, whole, and in epoch order: what it does cannot depend on how records were batched or
//! which worker was faster. Sorting what it was given, where order matters, is the logic's duty.

use crate::Output;
use crate::epochs::{Epochs, Moment};
use std::collections::BTreeMap;
use timely::ExchangeData;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::{ParallelizationContract, Pipeline};
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

/// No second input.
pub(crate) fn alone<'s>() -> Option<(Stream<'s, u64, Vec<()>>, Pipeline)> {
    None
}

/// Runs `step` once per complete epoch with everything its inputs brought.
pub(crate) fn epochwise<'s, A: ExchangeData, B: ExchangeData, W: ExchangeData>(
    name: &str,
    (left, left_pact): (Stream<'s, u64, Vec<A>>, impl ParallelizationContract<u64, Vec<A>>),
    right: Option<(Stream<'s, u64, Vec<B>>, impl ParallelizationContract<u64, Vec<B>>)>,
    epochs: &Epochs,
    mut step: impl FnMut(Moment, Vec<Vec<A>>, Vec<Vec<B>>, &mut Vec<W>, &mut Vec<Output>) + 'static,
) -> Stream<'s, u64, Vec<W>> {
    let epochs = epochs.clone();
    let mut builder = OperatorBuilder::new(name.to_owned(), left.scope());
    let mut left = builder.new_input(left, left_pact);
    let mut right = right.map(|(right, pact)| builder.new_input(right, pact));
    let (words, words_stream) = builder.new_output::<Vec<W>>();
    let mut words = OutputBuilder::from(words);
    builder.build(move |mut capabilities| {
        let mut held = capabilities.pop();
        let mut waiting = BTreeMap::<u64, (Vec<Vec<A>>, Vec<Vec<B>>)>::new();
        let (mut next, mut said, mut put) = (0, Vec::new(), Vec::new());
        move |frontiers| {
            left.for_each(|time, data| waiting.entry(*time.time()).or_default().0.push(std::mem::take(data)));
            if let Some(right) = &mut right {
                right.for_each(|time, data| waiting.entry(*time.time()).or_default().1.push(std::mem::take(data)));
            }
            let open = frontiers.iter().map(|input| input.frontier().first().copied().unwrap_or(u64::MAX));
            let frontier = open.min().unwrap_or(u64::MAX);
            let Some(capability) = &mut held else { return };
            for moment in epochs.closed(next, frontier) {
                let epoch = moment.epoch.0;
                // What was said at times that are no epoch, before the first one, is heard in it: differential may send
                // later changes of a collection with what stood at the start.
                let later = waiting.split_off(&(epoch + 1));
                let (mut lefts, mut rights) = (Vec::new(), Vec::new());
                for (mut left, mut right) in std::mem::replace(&mut waiting, later).into_values() {
                    lefts.append(&mut left);
                    rights.append(&mut right);
                }
                step(moment, lefts, rights, &mut said, &mut put);
                if !said.is_empty() {
                    words.activate().session(&capability.delayed(&epoch)).give_container(&mut said);
                    said.clear();
                }
                epochs.say(epoch, &mut put);
            }
            if frontier == next {
                return;
            }
            next = next.max(frontier);
            if frontier == u64::MAX {
                held = None;
            } else {
                capability.downgrade(&next);
            }
        }
    });
    words_stream
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_schemas::{Binding, Cut, Epoch};
    use std::cell::RefCell;
    use std::rc::Rc;
    use timely::dataflow::operators::{Input, Probe};

    #[test]
    fn what_was_said_before_the_first_epoch_is_heard_in_it() {
        timely::execute_directly(|worker| {
            let (epochs, heard) = (Epochs::default(), Rc::new(RefCell::new(Vec::new())));
            let (mut input, probe) = worker.dataflow::<u64, _, _>(|scope| {
                let (input, stream) = scope.new_input::<Vec<char>>();
                let hears = Rc::clone(&heard);
                let step =
                    move |now: Moment, lefts: Vec<Vec<char>>, _: Vec<Vec<()>>, _: &mut Vec<()>, _: &mut Vec<Output>| {
                        hears.borrow_mut().push((now.epoch.0, lefts.concat()));
                    };
                let words = epochwise("test", (stream, Pipeline), alone(), &epochs, step);
                (input, words.probe().0)
            });
            input.send('a');
            for (epoch, letter) in [(5, 'b'), (6, 'c')] {
                input.advance_to(epoch);
                input.send(letter);
                let epoch = Epoch(epoch);
                epochs.enter(&Binding { epoch, now_us: 0, resume: epoch, upper: Cut::default() }, false);
            }
            input.advance_to(7);
            worker.step_while(|| probe.less_than(&7));
            assert_eq!(*heard.borrow(), [(5, vec!['a', 'b']), (6, vec!['c'])]);
        });
    }
}
