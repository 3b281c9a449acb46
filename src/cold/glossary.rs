//! What every column of the cold datasets means; `evenkeel columns` prints it.
//!
//! Two times are on a row where both are known: `event_at`, when it happened or what time it is about, and `arrived_at`,
//! the present when the epoch that said it closed. Audit entries have `ts` and `epoch`: every column of theirs is hashed,
//! and the dataset of bindings says when an epoch closed. What late events amend is said again, as a row of its own: of
//! two rows about one thing that with the larger `offset` holds.

use super::audit_table::audit_table;
use super::dataset::ColdDataset;
use super::input_tables::{bindings, records, request_table};
use super::tables::{outcomes, table};
use arrow::array::RecordBatch;
use arrow::datatypes::DataType;

/// A column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// The type of its values, as Arrow calls it.
    pub kind: String,
    /// What it means, with the unit.
    pub meaning: &'static str,
}

/// The columns of a dataset, in their order.
pub fn columns(dataset: ColdDataset) -> Vec<Column> {
    let table = empty(dataset);
    let column = |field: &std::sync::Arc<arrow::datatypes::Field>| Column {
        name: field.name().clone(),
        kind: kind(field.data_type()),
        meaning: meaning(dataset.family(), field.name()).unwrap_or_default(),
    };
    table.schema().fields().iter().map(column).collect()
}

/// A table of a dataset without rows.
fn empty(dataset: ColdDataset) -> RecordBatch {
    let none = "no row, and so none that is wrong";
    match dataset {
        ColdDataset::Output(output) => table(output, &[]).expect(none).unwrap_or_else(|| audit_table(&[])),
        ColdDataset::Outcomes => outcomes(&[]).expect(none),
        ColdDataset::Requests => request_table(&[]),
        ColdDataset::Bindings => bindings(&[]),
        ColdDataset::Records(_) => records(&[]),
    }
}

fn kind(of: &DataType) -> String {
    match of {
        DataType::Timestamp(..) => "timestamp(µs, UTC)".to_owned(),
        DataType::List(element) => format!("list of {}", kind(element.data_type())),
        other => other.to_string().to_lowercase(),
    }
}

/// Dataset (by its family, empty: whichever is not named for another meaning), name, meaning.
type Meaning = (&'static str, &'static str, &'static str);

const fn column(family: &'static str, name: &'static str, meaning: &'static str) -> Meaning {
    (family, name, meaning)
}

/// What is said of a dataset by name precedes what is said of all.
const MEANINGS: &[Meaning] = &[
    column("audit", "partition", "audit partition; the other datasets have theirs from the folder's name"),
    column("audit", "epoch", "epoch in which the entry was chained"),
    column("audit", "seq", "number in the partition, from 0, without gaps"),
    column("audit", "ts", "when it happened, UTC, µs"),
    column(
        "audit",
        "event_type",
        "change, verdict, incident, command, control, policy, outcome, break_glass, or the name of an order that was refused",
    ),
    column("audit", "table", "table or topic it is about"),
    column("audit", "op", "what was done, e.g. c, u, d, fire, open, trip_circuit"),
    column("audit", "actor", "who did it"),
    column("audit", "entity", "what it was done to"),
    column("audit", "payload", "the bytes themselves, as received or said"),
    column("outcomes", "seq", "number of the audit entry that says so, in the partition of this number"),
    column("outcomes", "event_at", "when the actuator answered, UTC, µs"),
    column("outcomes", "status", "applied, failed or refused"),
    column("outcomes", "detail", "the actuator's own words"),
    column("bindings", "epoch", "the epoch"),
    column("bindings", "arrived_at", "the present when it closed, UTC, µs"),
    column("bindings", "resume", "epoch from which records are read again to recover the state after this one"),
    column("bindings", "topics", "with partitions and next_offsets: the cut at which the epoch ends; input topics"),
    column("bindings", "partitions", "their partitions"),
    column("bindings", "next_offsets", "the next offset to read of each"),
    column("records", "offset", "offset in the partition of the input topic"),
    column("records", "arrived_at", "the present when the epoch that holds the record closed, UTC, µs"),
    column("records", "timestamp", "when the record came into its log, UTC, µs"),
    column("records", "key", "the record's key"),
    column("records", "payload", "the record's value, as received"),
    column("requests", "offset", "offset of its record in the partition of the input topic"),
    column("requests", "row", "number in the record, 0 unless that is a batch"),
    column("requests", "arrived_at", "the present when the epoch that holds the record closed, UTC, µs"),
    column("requests", "event_at", "when the request began, UTC, µs"),
    column("requests", "method", "the HTTP method, or the RPC's name"),
    column("requests", "status", "the HTTP status; 500 to 599 count as errors"),
    column("requests", "latency_us", "time to the last byte, µs"),
    column("requests", "tenant", "for whom the request was served"),
    column("requests", "trace_id", "the W3C trace id, 32 hex digits"),
    column("requests", "upstream", "the service that was called to answer"),
    column("rollups", "event_at", "start of the minute, UTC, µs"),
    column("rollups", "requests", "requests in the minute"),
    column("rollups", "errors", "server errors among them"),
    column("rollups", "latency_sum_us", "sum of their latencies, µs"),
    column("rollups", "buckets", "with counts: the histogram of latencies; numbers of buckets, ascending"),
    column("rollups", "counts", "requests in each of these buckets"),
    column("baselines", "event_at", "end of the last tick that the windows hold, UTC, µs"),
    column("baselines", "windows", "with the other lists: names of the rolling windows, e.g. 1m, shortest first"),
    column("baselines", "requests", "requests in each window"),
    column("baselines", "errors", "server errors among them"),
    column("verdicts", "event_at", "the time the verdict is about, UTC, µs"),
    column("verdicts", "detector", "which rule spoke"),
    column("verdicts", "decision", "fire, clear or hold"),
    column("verdicts", "reason", "why, a code, e.g. above_baseline"),
    column("verdicts", "since", "since when the anomaly holds, UTC, µs"),
    column("verdicts", "evidence", "what was seen, in words with numbers and units"),
    column("verdicts", "amended", "when late records brought this word, UTC, µs; null if it was said in time"),
    column(
        "verdicts",
        "epoch",
        "the epoch in which it was said: its inputs are the records up to that epoch's binding",
    ),
    column("verdicts", "policy", "the version of the policy that it was judged by; 0 if none was applied"),
    column("incidents", "event_at", "the time of this word about it, UTC, µs"),
    column("incidents", "state", "open, update or resolved"),
    column("incidents", "opened", "when it opened, UTC, µs"),
    column("incidents", "cause_detector", "the strongest rule that fires"),
    column("incidents", "cause_service", "what it fires about: service"),
    column("incidents", "cause_route", "route, null if none"),
    column("incidents", "cause_node", "node, null if none"),
    column("incidents", "cause_version", "version, null if none"),
    column("incidents", "cause_region", "region, null if none"),
    column("incidents", "cause_tenant", "tenant, null if none"),
    column("incidents", "cause_nodes", "nodes about which it fires"),
    column("incidents", "cause_since", "since when, UTC, µs"),
    column("incidents", "cause_evidence", "what was seen, in words with numbers and units"),
    column("incidents", "cause_verdicts", "verdicts that stand for the service"),
    column("incidents", "notify", "whether this word was worth a page"),
    column("incidents", "notice", "why it was said, e.g. opened, joined, root_changed, merged"),
    column("incidents", "affected", "services that stand in it"),
    column("incidents", "services", "the first of them, nearest to the root first"),
    column("incidents", "victims", "services that call one of them and do not stand"),
    column(
        "incidents",
        "candidates",
        "who may be the root, most likely first, with what was seen and what follows; JSON",
    ),
    column("incidents", "changes", "what was changed shortly before, newest first; JSON"),
    column("incidents", "shared", "what its services share, the widest first; JSON"),
    column("incidents", "merged_into", "the incident it belongs to; empty if it stands by itself"),
    column("commands", "event_at", "the time of this word about it, UTC, µs"),
    column("commands", "kind", "trip_circuit, half_open, restart_node and so on; `evenkeel schema command` has all"),
    column("commands", "target", "the node or service it is about"),
    column("commands", "mode", "observe, suggest, approve or auto"),
    column("commands", "reason", "why, in one line"),
    column("commands", "expires", "no actuator starts it after this, UTC, µs"),
    column("commands", "state", "proposed, issued, acknowledged, done, failed, escalated, expired or rejected"),
    column("commands", "detail", "why it is so far, in a few words"),
    column("commands", "decided", "when it was decided, UTC, µs"),
    column("commands", "fence", "grows with every command issued for a target; 0 until it is issued"),
    column("commands", "by", "who approved or rejected it; empty if nobody was asked"),
    column("commands", "params", "what its kind needs to know, a JSON object"),
    column("commands", "undo", "whether it takes back what an earlier command of its kind did"),
    column("rejections", "reason", "why the record is no event, a code"),
    column("rejections", "detail", "the offending field, or what the parser said"),
    column("rejections", "input_topic", "topic of the record"),
    column("rejections", "input_partition", "its partition"),
    column("rejections", "input_offset", "its offset"),
    column("rejections", "payload", "its first 1,024 bytes; for a row of a batch, the row as JSON"),
    column("", "offset", "place in the output's log; of two rows about one thing the larger one holds"),
    column("", "arrived_at", "the present when the epoch that said it closed, UTC, µs"),
    column("", "service", "the service"),
    column("", "route", "the route's template; null in keys without"),
    column("", "node", "the node; null in keys without"),
    column("", "version", "the service's version; null in keys without"),
    column("", "region", "where the node stands; null in keys without"),
    column("", "tenant", "for whom requests were served; null in keys without"),
    column("", "mean_us", "mean latency, µs"),
    column("", "p50_us", "median latency, µs: the middle of its bucket"),
    column("", "p90_us", "90th percentile, µs"),
    column("", "p99_us", "99th percentile, µs"),
    column("", "p999_us", "99.9th percentile, µs"),
    column("", "incident_id", "the incident, stable from open to resolved"),
    column("", "command_id", "the command; joins commands and outcomes"),
];

/// What a column means; `None` if there is no such column.
fn meaning(family: &str, name: &str) -> Option<&'static str> {
    let fits = |(of, known, _): &&Meaning| *known == name && (*of == family || of.is_empty());
    MEANINGS.iter().find(fits).map(|(.., meaning)| *meaning)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_has_a_meaning_and_every_meaning_a_column() {
        for dataset in ColdDataset::all() {
            for column in columns(dataset) {
                assert!(!column.meaning.is_empty(), "{dataset} {}", column.name);
                assert!(!column.name.ends_with("_us") || column.meaning.contains("µs"), "{dataset} {}", column.name);
            }
        }
        for (family, name, _) in MEANINGS {
            let has = |dataset: ColdDataset| columns(dataset).iter().any(|column| column.name == *name);
            let mut datasets = ColdDataset::all().filter(|dataset| family.is_empty() || dataset.family() == *family);
            assert!(datasets.any(has), "{family} {name}");
        }
    }
}
