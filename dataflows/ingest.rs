//! `ingest`: records in; sheaves, vital signs, news and drafts of audit entries out, rejections said. Runs on
//! each worker over the batches it gets.

use crate::batch::Batch;
use crate::chain::Draft;
use crate::decoder::Decoder;
use crate::epochs::Epochs;
use crate::recovery::News;
use crate::sheaf::Sheaf;
use crate::state::State;
use crate::vitals::Vital;
use crate::worker::Start;
use evenkeel_schemas::Binding;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::{Scope, Stream};
use timely::scheduling::Activator;

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
    pub vitals: Stream<'s, u64, Vec<(String, Vital)>>,
    pub news: Stream<'s, u64, Vec<News>>,
    pub drafts: Stream<'s, u64, Vec<Draft>>,
    /// To be pulled after the inbox was filled: an operator without inputs is run only when asked.
    pub activator: Activator,
}

/// Reads the inbox until it is dropped by everybody else.
pub(crate) fn ingest<'s>(scope: Scope<'s, u64>, inbox: &Inbox, epochs: &Epochs, start: &Start) -> Ingested<'s> {
    let (inbox, epochs, opened, spent) = (Rc::downgrade(inbox), epochs.clone(), start.opened, start.spent.clone());
    let peers = scope.peers() as u64;
    let mut decoder = Decoder::new(start, peers);
    let mut standing = if scope.index() == 0 { standing(&start.recovered.state) } else { Vec::new() };
    let mut builder = OperatorBuilder::new("ingest".to_owned(), scope);
    let (sheaves, sheaf_stream) = builder.new_output::<Vec<Sheaf>>();
    let (vitals, vital_stream) = builder.new_output::<Vec<(String, Vital)>>();
    let (news, news_stream) = builder.new_output::<Vec<News>>();
    let (drafts, draft_stream) = builder.new_output::<Vec<Draft>>();
    let (mut sheaves, mut vitals) = (OutputBuilder::from(sheaves), OutputBuilder::from(vitals));
    let (mut news, mut drafts) = (OutputBuilder::from(news), OutputBuilder::from(drafts));
    let activator = scope.activator_for(builder.operator_info().address);
    builder.build(move |mut capabilities| {
        let mut before = Some(capabilities[2].clone());
        capabilities.iter_mut().for_each(|capability| capability.downgrade(&opened.epoch));
        let mut held = Some(capabilities);
        move |_| {
            if let Some(before) = before.take().filter(|_| !standing.is_empty()) {
                news.activate().session(&before).give_container(&mut standing);
            }
            let Some(inbox) = inbox.upgrade() else {
                held = None;
                return;
            };
            let Some(capabilities) = &mut held else { return };
            while let Some(feed) = { inbox.borrow_mut().pop_front() } {
                match feed {
                    Feed::Batch(batch) => {
                        decoder.read(&batch);
                        let (epoch, said) = decoder.said();
                        give(&mut vitals, &capabilities[1], &mut said.vitals);
                        give(&mut news, &capabilities[2], &mut said.news);
                        give(&mut drafts, &capabilities[3], &mut said.drafts);
                        epochs.say(epoch, &mut said.rejections);
                        // If too many wait to be used again, this one is dropped.
                        let _ = spent.try_send(batch);
                    }
                    Feed::Close { binding, warm } => {
                        epochs.enter(&binding, warm);
                        give(&mut sheaves, &capabilities[0], &mut decoder.bind());
                        decoder.close(&binding);
                        capabilities.iter_mut().for_each(|capability| capability.downgrade(&(binding.epoch.0 + 1)));
                    }
                }
            }
        }
    });
    Ingested { sheaves: sheaf_stream, vitals: vital_stream, news: news_stream, drafts: draft_stream, activator }
}

/// An output of this operator.
type Output<T> = OutputBuilder<u64, CapacityContainerBuilder<Vec<T>>>;

/// Gives all of `said`, if there is any, and leaves nothing of it.
fn give<T: Clone + 'static>(output: &mut Output<T>, capability: &Capability<u64>, said: &mut Vec<T>) {
    if !said.is_empty() {
        output.activate().session(capability).give_container(said);
        said.clear();
    }
}

/// The verdicts that stood before a restart.
fn standing(state: &State) -> Vec<News> {
    let latches = state.under("fold/detect/").flat_map(|(_, value)| crate::detect::standing(value));
    let gauges = state.under("fold/saturation/").flat_map(|(_, value)| crate::saturation::standing(value));
    let pulses = state.under("fold/silence/").flat_map(|(_, value)| crate::silence::standing(value));
    let findings = state.under("fold/findings/").flat_map(|(_, value)| crate::findings::standing(value));
    let signals = state.under("fold/signals/").flat_map(|(_, value)| crate::signals::standing(value));
    let budgets = state.under("fold/budgets/").flat_map(|(_, value)| crate::budgets::standing(value));
    let versions = state.under("fold/versions/").flat_map(|(_, value)| crate::versions::standing(value));
    let latches = latches.chain(signals).chain(budgets).chain(versions);
    latches.chain(gauges).chain(pulses).chain(findings).map(News::Standing).collect()
}
