//! `chain`: everything that was decided or changed in; audit entries out, linked per audit partition (law L7).
//!
//! Within an epoch the entries of a partition are chained in the order of their kind, coordinates, time and content, so
//! the chain is the same for any number of workers. The head is state, and survives a restart.

use crate::approvals::Refusal;
use crate::commands::Refused;
use crate::epochs::{Epochs, Moment};
use crate::glass::Glass;
use crate::operators::epochwise::epochwise;
use crate::operators::fold::hash_of;
use crate::policy::Order;
use crate::state::{State, from_json, json, record};
use crate::worker::Start;
use crate::{Output, Record, Tuning, wire};
use evenkeel_schemas::audit::{Chain, Entry};
use evenkeel_schemas::{
    AuditEvent, AuditEventType, Change, Command, Control, Coordinates, Dataset, Decision, Incident, IncidentState,
    Outcome, POLICY, Verdict,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Exchange;

/// Who evenkeel is in its own log.
const ACTOR: &str = "evenkeel";

/// How evenkeel names its own configuration.
#[derive(Clone, Copy, Debug)]
pub struct Configured {
    /// The entity, and who says so.
    pub entity: &'static str,
    /// What it says of it when it starts.
    pub op: &'static str,
    /// Where the state keeps the last event that said so, as received.
    pub state_key: &'static str,
}

/// The event with which evenkeel says how it is configured, see [`Configured`].
pub const CONFIGURED: Configured = Configured { entity: ACTOR, op: "start", state_key: "configuration" };

/// An entry before it is chained; the derived order is the order in the chain.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Draft {
    rank: u8,
    at: Option<Coordinates>,
    ts_us: i64,
    entity: String,
    op: String,
    event_type: String,
    table: String,
    actor: String,
    #[serde(with = "wire::bytes")]
    payload: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
struct Head {
    next_seq: u64,
    head: [u8; 32],
}

impl From<Order> for Draft {
    fn from(Order { at, control }: Order) -> Self {
        let (entity, op, actor) = (control.scope().to_owned(), control.order().to_owned(), control.by().to_owned());
        let (ts_us, payload) = (control.event_time_us(), json(&control));
        let table = at.topic.name().to_owned();
        Self { rank: 1, at: Some(at), ts_us, entity, op, event_type: "control".into(), table, actor, payload }
    }
}

impl From<(Coordinates, Outcome)> for Draft {
    fn from((at, outcome): (Coordinates, Outcome)) -> Self {
        let (entity, op) = (outcome.command_id.clone(), format!("{:?}", outcome.status).to_lowercase());
        let (ts_us, payload, table) = (outcome.event_time_us, json(&outcome), at.topic.name().to_owned());
        let actor = "actuator".to_owned();
        Self { rank: 2, at: Some(at), ts_us, entity, op, event_type: "outcome".into(), table, actor, payload }
    }
}

impl Draft {
    /// The entry of a row that changed: its record's key and payload as received.
    pub fn of_change(record: Record<'_>, change: Change) -> Self {
        let Change { event_time_us, table, operation, actor, .. } = change;
        Self::received(record, event_time_us, operation.letter(), table, actor)
    }

    /// The entry of a tombstone: it lets Kafka's compaction forget a row, and is chained like the delete before it.
    pub fn of_tombstone(record: Record<'_>) -> Self {
        Self::received(record, record.timestamp_us, "tombstone", String::new(), String::new())
    }

    /// The entry of what somebody had to say to the audit log: its payload as received.
    pub fn of_audit_event(record: Record<'_>, event: AuditEvent) -> Self {
        let AuditEvent { event_time_us, event_type, op, actor, entity, .. } = event;
        let (event_type, table) = (event_type.name().to_owned(), record.at.topic.name().to_owned());
        let (at, ts_us, payload) = (Some(record.at), event_time_us, record.payload.to_vec());
        Self { rank: 3, at, ts_us, entity, op, event_type, table, actor, payload }
    }

    fn received(record: Record<'_>, ts_us: i64, op: &str, table: String, actor: String) -> Self {
        let (entity, op) = (format!("{table}{}", String::from_utf8_lossy(record.key)), op.to_owned());
        let (at, event_type, payload) = (Some(record.at), "change".to_owned(), record.payload.to_vec());
        Self { rank: 0, at, ts_us, entity, op, event_type, table, actor, payload }
    }

    fn decided(rank: u8, ts_us: i64, entity: String, op: &str, event_type: &str, what: (Dataset, Vec<u8>)) -> Self {
        let (op, event_type, table) = (op.to_owned(), event_type.to_owned(), what.0.topic().to_owned());
        Self { rank, at: None, ts_us, entity, op, event_type, table, actor: ACTOR.to_owned(), payload: what.1 }
    }

    /// The entry of a verdict, said as `output`; one that only says why nothing was said is no decision.
    pub fn of_verdict(verdict: &Verdict, output: &Output) -> Option<Self> {
        let op = match verdict.decision {
            Decision::Fire => "fire",
            Decision::Clear => "clear",
            Decision::Hold => return None,
        };
        Some(Self::decided(4, verdict.at_us, verdict.key.to_json(), op, "verdict", said(output)))
    }

    /// The entry of a policy that was heard: it holds from now on, or `refused` says why not.
    pub fn of_policy(order: &Order, now_us: i64, refused: Option<&String>) -> Self {
        let Control::ApplyPolicy { version, sha256, by, .. } = &order.control else {
            unreachable!("only policies are heard as such")
        };
        let op = if refused.is_some() { "refused" } else { "in_force" };
        let what = serde_json::json!({"version": version, "sha256": sha256, "by": by, "at_us": now_us,
            "heard_at": order.at.to_string(), "refused": refused});
        Self::decided(3, now_us, POLICY.to_owned(), op, "policy", (Dataset::State, json(&what)))
    }

    /// The entry of an order that was refused, for which no other record says so.
    pub fn of_refused(order: &Order, now_us: i64, why: Refusal) -> Self {
        let Order { at, control } = order;
        Self::refused((control.order(), control.scope(), control.by()), at, now_us, why)
    }

    /// The entry of a person's word that no command waited for.
    pub fn of_refused_word(Refused { word, why }: &Refused, now_us: i64) -> Self {
        let order = if word.approved { "approve" } else { "reject" };
        Self::refused((order, &word.command_id, &word.by), &word.at, now_us, *why)
    }

    fn refused((order, scope, by): (&str, &str, &str), at: &Coordinates, now_us: i64, why: Refusal) -> Self {
        let what = serde_json::json!({"order": order, "scope": scope, "by": by, "at_us": now_us,
            "heard_at": at.to_string(), "refused": why.words()});
        Self::decided(3, now_us, scope.to_owned(), "refused", order, (Dataset::State, json(&what)))
    }

    /// The entry of a glass that is broken, or whole again.
    pub fn of_glass(glass: &Glass, now_us: i64) -> Self {
        let op = if glass.to_us > now_us { "begun" } else { "ended" };
        let what = (Dataset::State, json(glass));
        Self::decided(3, now_us, glass.service.clone(), op, "break_glass", what)
    }

    /// The entry of an incident, said as `output`.
    pub fn of_incident(incident: &Incident, output: &Output) -> Self {
        let op = match incident.state {
            IncidentState::Open => "open",
            IncidentState::Update => "update",
            IncidentState::Resolved => "resolved",
        };
        Self::decided(5, incident.at_us, incident.incident_id.clone(), op, "incident", said(output))
    }

    /// The entry of a command, said as `output`.
    pub fn of_command(command: &Command, output: &Output) -> Self {
        let op = command.kind.name();
        Self::decided(6, command.at_us, command.command_id.clone(), op, "command", said(output))
    }

    /// What the state keeps of it: evenkeel's own configuration, for its next start.
    fn kept(&self) -> Option<Output> {
        let says = (self.event_type.as_str(), self.entity.as_str(), self.op.as_str());
        let is_configuration = says == (AuditEventType::Configuration.name(), CONFIGURED.entity, CONFIGURED.op);
        is_configuration.then(|| record(CONFIGURED.state_key.to_owned(), Some(self.payload.clone())))
    }

    fn entry(self, epoch: u64) -> Entry {
        let Self { ts_us, event_type, table, op, actor, entity, payload, .. } = self;
        Entry { partition: 0, epoch, seq: 0, ts_us, event_type, table, op, actor, entity, payload }
    }
}

/// What an output says, to be audited byte for byte.
fn said(output: &Output) -> (Dataset, Vec<u8>) {
    (output.dataset, output.value.clone())
}

/// Chains what came in and what was decided; says nothing else.
pub(crate) fn chain<'s>(
    received: Stream<'s, u64, Vec<Draft>>,
    decided: Stream<'s, u64, Vec<Draft>>,
    epochs: &Epochs,
    start: &Start,
) -> Stream<'s, u64, Vec<Output>> {
    let partitions = u64::from(start.tuning.audit_partitions);
    let partition_of = move |draft: &Draft| hash_of(&draft.entity) % partitions;
    let mut chains = recovered(&start.tuning, &start.recovered.state);
    let received = (received, Exchange::new(partition_of));
    let decided = (decided, Exchange::new(partition_of));
    epochwise("chain", received, Some(decided), epochs, move |now: Moment, received, decided, _, put| {
        let drafts = received.into_iter().chain(decided).flatten();
        let mut by_partition = BTreeMap::<u32, Vec<Draft>>::new();
        for draft in drafts.filter(|_| !now.warm) {
            by_partition.entry(partition_of(&draft) as u32).or_default().push(draft);
        }
        for (partition, mut drafts) in by_partition {
            drafts.sort();
            let chain = chains.get_mut(&partition).expect("every partition has its chain");
            for draft in drafts {
                put.extend(draft.kept());
                let key = draft.entity.clone().into_bytes();
                let value = chain.append(draft.entry(now.epoch.0));
                put.push(Output { dataset: Dataset::Audit, partition, key, value });
            }
            let head = Head { next_seq: chain.next_seq(), head: chain.head() };
            put.push(record(format!("audit/{partition}"), Some(json(&head))));
        }
    })
}

fn recovered(tuning: &Tuning, state: &State) -> BTreeMap<u32, Chain> {
    let fresh = (0..tuning.audit_partitions).map(|partition| (partition, Chain::new(&tuning.origin, partition)));
    let mut chains = fresh.collect::<BTreeMap<_, _>>();
    for (partition, value) in state.under("audit/") {
        let Head { next_seq, head } = from_json(value);
        let partition = partition.parse().expect("audit heads are keyed by their partition");
        chains.insert(partition, Chain::resume(partition, next_seq, head));
    }
    chains
}
