//! The dataflow: how the pieces hang together. Read it from top to bottom: records to audit entries.

use crate::Output;
use crate::active::active;
use crate::calendar::Calendar;
use crate::chain::{Draft, chain};
use crate::commands::{Commands, Word};
use crate::detect::Detect;
use crate::gather::gather;
use crate::incidents::Incidents;
use crate::ingest::{Fact, Inbox, ingest};
use crate::operators::epochwise::{Said, epochwise};
use crate::operators::fold::{fold, hash_of};
use crate::operators::window::{Observation, Observed, Recovered, window};
use crate::policy::{KEY, Keeper, Order, Policy};
use crate::saturation::Saturation;
use crate::silence::{Sign, Silence, node_key};
use crate::state::{from_json, output};
use crate::worker::Start;
use evenkeel_schemas::{Control, Dataset, Dimension, Verdict};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::generic::operator::empty;
use timely::dataflow::operators::vec::{Broadcast, Map, ToStream};
use timely::dataflow::operators::{Concatenate, Inspect, Probe};
use timely::dataflow::{ProbeHandle, Scope, Stream};
use timely::scheduling::Activator;

/// Outputs by epoch, as they are said.
pub(crate) type Outbox = Rc<RefCell<BTreeMap<u64, Vec<Output>>>>;

/// What a worker has of its own, and what all of them start from.
pub(crate) struct Setting<'a> {
    pub inbox: &'a Inbox,
    pub outbox: &'a Outbox,
    pub calendar: &'a Calendar,
    pub start: &'a Start,
}

/// Builds the dataflow in `scope`; the probe tells which epochs are complete, the activator is pulled when the inbox
/// was filled.
pub(crate) fn build(scope: Scope<'_, u64>, setting: &Setting<'_>) -> (ProbeHandle<u64>, Activator) {
    let Setting { inbox, outbox, calendar, start } = *setting;
    let Start { tuning, recovered, .. } = start;
    let state = &recovered.state;
    let none = || empty::<u64, Vec<()>>(scope);

    let ingested = ingest(scope, inbox, calendar, start);
    let facts = ingested.facts;

    // Requests to windows to verdicts.
    let (observed, windows) = window(ingested.sheaves, ingested.names, tuning, calendar, recovered);
    let (relative, detect_state) = fold(Detect(tuning.detection.clone()), observed.clone(), none(), calendar, state);

    // Telemetry and heartbeats to verdicts.
    let samples = facts.clone().flat_map(|fact| match fact {
        Fact::Metric(sample) => Some((format!("{}\0{}\0{}", sample.service, sample.node, sample.name), sample)),
        _ => None,
    });
    let (saturated, saturation_state) = fold(Saturation(tuning.detection.clone()), samples, none(), calendar, state);
    let signs = facts.clone().flat_map(sign);
    let (silent, silence_state) = fold(Silence(tuning.detection.clone()), signs, none(), calendar, state);

    // Verdicts to incidents to commands.
    let verdicts = scope.concatenate([relative, saturated, silent]);
    let standing = standing(scope, recovered).to_stream(scope).container::<Vec<_>>();
    let situations = active(scope.concatenate([verdicts.clone(), standing]));
    let (incidents, incident_state) = fold(Incidents(tuning.recovery.clone()), situations, none(), calendar, state);
    let controls = facts.clone().flat_map(|fact| match fact {
        Fact::Control(control, at) => Some(Order { at, control }),
        _ => None,
    });
    let orders = controls.clone().map(|order| (KEY.to_owned(), order));
    let (_, policy_state) = fold(Keeper, orders, none(), calendar, state);
    let policy: Policy = state.under("fold/policy/").next().map(|(_, value)| from_json(value)).unwrap_or_default();
    let machine = Commands { rules: tuning.recovery.clone(), default_mode: tuning.mode, policy };
    let words = scope.concatenate([
        observed.flat_map(replica),
        facts.clone().flat_map(|fact| match fact {
            Fact::Outcome(outcome, at) => Some((outcome.service.clone(), Word::Outcome(at, outcome))),
            _ => None,
        }),
        incidents.clone().map(|incident| (incident.service.clone(), Word::Incident(incident))),
    ]);
    let (commands, command_state) = fold(machine, words, controls.clone().broadcast(), calendar, state);

    // Everything that was decided or changed, into the chain.
    let drafts = scope.concatenate([
        facts.clone().flat_map(draft),
        verdicts.clone().flat_map(|verdict| Draft::of_verdict(&verdict)),
        incidents.clone().map(|incident| Draft::of_incident(&incident)),
        commands.clone().map(|command| Draft::of_command(&command)),
    ]);
    let (_, audited) = chain(drafts, none(), tuning, calendar, state);

    let outputs = [
        windows,
        detect_state,
        saturation_state,
        silence_state,
        incident_state,
        policy_state,
        command_state,
        audited,
        facts.flat_map(|fact| match fact {
            Fact::Rejected(it) => Some(output(Dataset::Rejections, it.at.to_string(), &it)),
            _ => None,
        }),
        in_order(verdicts, none(), calendar),
        incidents.map(|it| output(Dataset::Incidents, it.incident_id.clone(), &it)),
        commands.map(|it| output(Dataset::Commands, it.command_id.clone(), &it)),
    ];
    (collect(scope.concatenate(outputs), outbox, start.spread), ingested.activator)
}

fn sign(fact: Fact) -> Option<(String, Sign)> {
    match fact {
        Fact::Probe(probe) => Some((node_key(&probe.service, &probe.node), Sign::Probe(probe))),
        Fact::Control(Control::RetireNode { service, node, .. }, _) => Some((node_key(&service, &node), Sign::Retire)),
        _ => None,
    }
}

fn draft(fact: Fact) -> Option<Draft> {
    match fact {
        Fact::Change(change) => Some(change.into()),
        Fact::Control(control, at) => Some(Order { at, control }.into()),
        Fact::Outcome(outcome, at) => Some(Draft::from((at, outcome))),
        _ => None,
    }
}

/// A key of exactly service and node, taken in or let go, is a replica that joined or left.
fn replica((_, (observation, key)): Observed) -> Option<(String, Word)> {
    let node = key.get(Dimension::Node).filter(|node| key.0.len() == 2 && !node.is_empty())?.to_owned();
    match observation {
        Observation::Admitted => Some((key.service().to_owned(), Word::Joined(node))),
        Observation::Evicted => Some((key.service().to_owned(), Word::Left(node))),
        _ => None,
    }
}

/// The verdicts that stood before a restart, told by the first worker.
fn standing(scope: Scope<'_, u64>, recovered: &Recovered) -> Vec<Verdict> {
    if scope.index() != 0 {
        return Vec::new();
    }
    let latches = recovered.state.under("fold/detect/").flat_map(|(_, value)| crate::detect::standing(value));
    let gauges = recovered.state.under("fold/saturation/").flat_map(|(_, value)| crate::saturation::standing(value));
    let pulses = recovered.state.under("fold/silence/").flat_map(|(_, value)| crate::silence::standing(value));
    latches.chain(gauges).chain(pulses).collect()
}

/// The outputs of verdicts. Several operators speak about one key, on workers of their own: here their words get an order
/// that does not depend on who was faster.
fn in_order<'s>(
    verdicts: Stream<'s, u64, Vec<Verdict>>,
    nothing: Stream<'s, u64, Vec<()>>,
    calendar: &Calendar,
) -> Stream<'s, u64, Vec<Output>> {
    let verdicts = (verdicts, Exchange::new(|verdict: &Verdict| hash_of(&verdict.key.to_json())));
    let (_, outputs): Said<'s, ()> =
        epochwise("verdicts", verdicts, (nothing, Pipeline), calendar, |now, verdicts, _, _, put| {
            let mut verdicts = verdicts.into_iter().flatten().filter(|_| !now.warm).collect::<Vec<_>>();
            verdicts.sort_by(|a, b| (a.at_us, a).cmp(&(b.at_us, b)));
            put.extend(verdicts.iter().map(|it| output(Dataset::Verdicts, it.key.to_json(), it)));
        });
    outputs
}

/// Gathers outputs per epoch; the probe follows behind.
///
/// If the workers are spread over processes, the first worker of all gathers what every worker said, in the order in
/// which each of them said it: whoever commits has them all. Within one process the engine fetches them without that
/// detour.
fn collect<'s>(outputs: Stream<'s, u64, Vec<Output>>, outbox: &Outbox, spread: bool) -> ProbeHandle<u64> {
    let outbox = Rc::clone(outbox);
    let outputs = if spread { gather(outputs) } else { outputs };
    let gathered = outputs.inspect_batch(move |epoch, outputs| {
        outbox.borrow_mut().entry(*epoch).or_default().extend_from_slice(outputs);
    });
    let (probe, _) = gathered.probe();
    probe
}
