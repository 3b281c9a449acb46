//! Outputs as tables. Each has the row's `offset` in its log: of two rows about the same thing the later one holds.

use super::columns::Columns;
use crate::ports::{PortError, Row};
use arrow::array::RecordBatch;
use evenkeel_schemas::audit::Entry;
use evenkeel_schemas::{Baseline, Command, Dataset, Incident, Outcome, Rejection, Rollup, Statistics, Verdict};
use serde::de::DeserializeOwned;

/// The table of some rows of a dataset; `None` for a dataset that is not kept cold, or has a table of its own.
///
/// # Errors
/// `Fatal` if a row is no value of the dataset.
pub fn table(dataset: Dataset, rows: &[Row]) -> Result<Option<RecordBatch>, PortError> {
    Ok(Some(match dataset {
        Dataset::Verdicts => verdicts(arrivals(rows), &parse(dataset, rows)?),
        Dataset::Incidents => incidents(arrivals(rows), &parse(dataset, rows)?),
        Dataset::Commands => commands(arrivals(rows), &parse(dataset, rows)?),
        Dataset::Rollups => rollups(arrivals(rows), &parse(dataset, rows)?),
        Dataset::Baselines => baselines(arrivals(rows), &parse(dataset, rows)?),
        Dataset::Rejections => rejections(arrivals(rows), &parse(dataset, rows)?),
        Dataset::Audit | Dataset::State => return Ok(None),
    }))
}

/// The table of audit entries that are outcomes, each with the `now_us` of its epoch.
///
/// # Errors
/// `Fatal` if an entry's payload is none.
pub fn outcomes(heard: &[(&Entry, i64)]) -> Result<RecordBatch, PortError> {
    let parse = |(entry, _): &(&Entry, i64)| {
        serde_json::from_slice(&entry.payload).map_err(|error| {
            let (partition, seq) = (entry.partition, entry.seq);
            PortError::Fatal(format!("audit partition {partition} seq {seq}: not an outcome: {error}"))
        })
    };
    let values = heard.iter().map(parse).collect::<Result<Vec<Outcome>, _>>()?;
    let rows = || values.iter();
    Ok(Columns::default()
        .counts("seq", heard.iter().map(|(entry, _)| entry.seq))
        .times("event_at", rows().map(|outcome| outcome.event_time_us))
        .times("arrived_at", heard.iter().map(|(_, at_us)| *at_us))
        .texts("command_id", rows().map(|outcome| &outcome.command_id))
        .texts("service", rows().map(|outcome| &outcome.service))
        .names("status", rows().map(|outcome| outcome.status))
        .texts("detail", rows().map(|outcome| &outcome.detail))
        .finish())
}

fn arrivals(rows: &[Row]) -> Columns {
    let offsets = Columns::default().counts("offset", rows.iter().map(|row| row.offset));
    offsets.times("arrived_at", rows.iter().map(|row| row.at_us))
}

fn parse<T: DeserializeOwned>(dataset: Dataset, rows: &[Row]) -> Result<Vec<T>, PortError> {
    let parse = |row: &Row| {
        serde_json::from_slice(&row.value).map_err(|error| {
            let (topic, offset) = (dataset.topic(), row.offset);
            PortError::Fatal(format!("{topic} offset {offset}: not a value of this dataset: {error}"))
        })
    };
    rows.iter().map(parse).collect()
}

fn verdicts(columns: Columns, values: &[Verdict]) -> RecordBatch {
    let rows = || values.iter();
    columns
        .times("event_at", rows().map(|verdict| verdict.at_us))
        .keys("", rows().map(|verdict| &verdict.key))
        .names("detector", rows().map(|verdict| verdict.detector))
        .names("decision", rows().map(|verdict| verdict.decision))
        .texts("reason", rows().map(|verdict| &verdict.reason))
        .times("since", rows().map(|verdict| verdict.since_us))
        .texts("evidence", rows().map(|verdict| &verdict.evidence))
        .some_times("amended", rows().map(|verdict| verdict.amended_us))
        .counts("epoch", rows().map(|verdict| verdict.epoch))
        .counts("policy", rows().map(|verdict| verdict.policy))
        .finish()
}

fn incidents(columns: Columns, values: &[Incident]) -> RecordBatch {
    let rows = || values.iter();
    let causes = || values.iter().map(|incident| &incident.cause);
    columns
        .times("event_at", rows().map(|incident| incident.at_us))
        .texts("incident_id", rows().map(|incident| &incident.incident_id))
        .texts("service", rows().map(|incident| &incident.service))
        .names("state", rows().map(|incident| incident.state))
        .times("opened", rows().map(|incident| incident.opened_us))
        .names("cause_detector", causes().map(|cause| cause.detector))
        .keys("cause_", causes().map(|cause| &cause.key))
        .text_lists("cause_nodes", causes().map(|cause| &cause.nodes))
        .times("cause_since", causes().map(|cause| cause.since_us))
        .texts("cause_evidence", causes().map(|cause| &cause.evidence))
        .counts("cause_verdicts", causes().map(|cause| u64::from(cause.verdicts)))
        .flags("notify", rows().map(|incident| incident.notify))
        .names("notice", rows().map(|incident| incident.notice))
        .counts("affected", rows().map(|incident| u64::from(incident.affected)))
        .text_lists("services", rows().map(|incident| &incident.services))
        .text_lists("victims", rows().map(|incident| &incident.victims))
        .documents("candidates", rows().map(|incident| &incident.candidates))
        .documents("changes", rows().map(|incident| &incident.changes))
        .documents("shared", rows().map(|incident| &incident.shared))
        .texts("merged_into", rows().map(|incident| &incident.merged_into))
        .finish()
}

fn commands(columns: Columns, values: &[Command]) -> RecordBatch {
    let rows = || values.iter();
    columns
        .times("event_at", rows().map(|command| command.at_us))
        .texts("command_id", rows().map(|command| &command.command_id))
        .names("kind", rows().map(|command| command.kind))
        .texts("target", rows().map(|command| &command.target))
        .texts("service", rows().map(|command| &command.service))
        .texts("incident_id", rows().map(|command| &command.incident_id))
        .names("mode", rows().map(|command| command.mode))
        .texts("reason", rows().map(|command| &command.reason))
        .times("expires", rows().map(|command| command.expires_us))
        .names("state", rows().map(|command| command.state))
        .texts("detail", rows().map(|command| &command.detail))
        .times("decided", rows().map(|command| command.decided_us))
        .counts("fence", rows().map(|command| command.fence))
        .texts("by", rows().map(|command| &command.by))
        .documents("params", rows().map(|command| &command.params))
        .flags("undo", rows().map(|command| command.undo))
        .finish()
}

fn rollups(columns: Columns, values: &[Rollup]) -> RecordBatch {
    let rows = || values.iter();
    let numbers = || values.iter().map(|rollup| &rollup.statistics);
    columns
        .times("event_at", rows().map(|rollup| rollup.start_us))
        .keys("", rows().map(|rollup| &rollup.key))
        .integers("requests", numbers().map(|numbers| numbers.requests))
        .integers("errors", numbers().map(|numbers| numbers.errors))
        .integers("latency_sum_us", rows().map(|rollup| rollup.latency_sum_us))
        .integers("mean_us", numbers().map(|numbers| numbers.mean_us))
        .counts("p50_us", numbers().map(|numbers| numbers.p50_us))
        .counts("p90_us", numbers().map(|numbers| numbers.p90_us))
        .counts("p99_us", numbers().map(|numbers| numbers.p99_us))
        .counts("p999_us", numbers().map(|numbers| numbers.p999_us))
        .histograms(rows().map(|rollup| &rollup.histogram))
        .finish()
}

/// One row a baseline; its windows are lists of one length, as there are as many as are configured.
fn baselines(columns: Columns, values: &[Baseline]) -> RecordBatch {
    let names = values.iter().map(|baseline| baseline.windows.iter().map(|(name, _)| name.clone()).collect());
    let names = names.collect::<Vec<Vec<String>>>();
    let rows = || values.iter().map(|baseline| baseline.windows.as_slice());
    columns
        .times("event_at", values.iter().map(|baseline| baseline.at_us))
        .keys("", values.iter().map(|baseline| &baseline.key))
        .text_lists("windows", names.iter())
        .integer_lists("requests", statistics(rows(), |of| of.requests))
        .integer_lists("errors", statistics(rows(), |of| of.errors))
        .integer_lists("mean_us", statistics(rows(), |of| of.mean_us))
        .count_lists("p50_us", statistics(rows(), |of| of.p50_us))
        .count_lists("p90_us", statistics(rows(), |of| of.p90_us))
        .count_lists("p99_us", statistics(rows(), |of| of.p99_us))
        .count_lists("p999_us", statistics(rows(), |of| of.p999_us))
        .finish()
}

/// One number of each window of each baseline.
fn statistics<'a, T>(
    rows: impl Iterator<Item = &'a [(String, Statistics)]>,
    number: fn(&Statistics) -> T,
) -> Vec<Vec<T>> {
    rows.map(|windows| windows.iter().map(|(_, of)| number(of)).collect()).collect()
}

fn rejections(columns: Columns, values: &[Rejection]) -> RecordBatch {
    let rows = || values.iter();
    columns
        .names("reason", rows().map(|rejection| rejection.reason))
        .texts("detail", rows().map(|rejection| &rejection.detail))
        .texts("input_topic", rows().map(|rejection| rejection.at.topic.name()))
        .counts("input_partition", rows().map(|rejection| u64::from(rejection.at.partition)))
        .counts("input_offset", rows().map(|rejection| rejection.at.offset))
        .texts("payload", rows().map(|rejection| &rejection.payload))
        .finish()
}
