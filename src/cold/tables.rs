//! Outputs as tables. Each has the row's `offset` in its log: of two rows about the same thing the later one holds.

use super::columns::Columns;
use crate::ports::{PortError, Row};
use arrow::array::RecordBatch;
use evenkeel_schemas::{Command, Dataset, Incident, Rollup, Verdict};
use serde::de::DeserializeOwned;

/// The table of some rows of a dataset; `None` for a dataset that is not kept cold, or has a table of its own.
///
/// # Errors
/// `Fatal` if a row is no value of the dataset.
pub fn table(dataset: Dataset, rows: &[Row]) -> Result<Option<RecordBatch>, PortError> {
    Ok(Some(match dataset {
        Dataset::Verdicts => verdicts(offsets(rows), &parse(dataset, rows)?),
        Dataset::Incidents => incidents(offsets(rows), &parse(dataset, rows)?),
        Dataset::Commands => commands(offsets(rows), &parse(dataset, rows)?),
        Dataset::Rollups => rollups(offsets(rows), &parse(dataset, rows)?),
        Dataset::Baselines | Dataset::Rejections | Dataset::Audit | Dataset::State => return Ok(None),
    }))
}

fn offsets(rows: &[Row]) -> Columns {
    Columns::default().counts("offset", rows.iter().map(|row| row.offset))
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
        .keys("", rows().map(|verdict| &verdict.key))
        .names("detector", rows().map(|verdict| verdict.detector))
        .names("decision", rows().map(|verdict| verdict.decision))
        .texts("reason", rows().map(|verdict| &verdict.reason))
        .times("at", rows().map(|verdict| verdict.at_us))
        .times("since", rows().map(|verdict| verdict.since_us))
        .texts("evidence", rows().map(|verdict| &verdict.evidence))
        .finish()
}

fn incidents(columns: Columns, values: &[Incident]) -> RecordBatch {
    let rows = || values.iter();
    let causes = || values.iter().map(|incident| &incident.cause);
    columns
        .texts("incident_id", rows().map(|incident| &incident.incident_id))
        .texts("service", rows().map(|incident| &incident.service))
        .names("state", rows().map(|incident| incident.state))
        .times("opened", rows().map(|incident| incident.opened_us))
        .times("at", rows().map(|incident| incident.at_us))
        .names("cause_detector", causes().map(|cause| cause.detector))
        .keys("cause_", causes().map(|cause| &cause.key))
        .text_lists("cause_nodes", causes().map(|cause| &cause.nodes))
        .times("cause_since", causes().map(|cause| cause.since_us))
        .texts("cause_evidence", causes().map(|cause| &cause.evidence))
        .small_counts("cause_verdicts", causes().map(|cause| cause.verdicts))
        .finish()
}

fn commands(columns: Columns, values: &[Command]) -> RecordBatch {
    let rows = || values.iter();
    columns
        .texts("command_id", rows().map(|command| &command.command_id))
        .names("kind", rows().map(|command| command.kind))
        .texts("target", rows().map(|command| &command.target))
        .texts("service", rows().map(|command| &command.service))
        .texts("incident_id", rows().map(|command| &command.incident_id))
        .names("mode", rows().map(|command| command.mode))
        .texts("reason", rows().map(|command| &command.reason))
        .times("at", rows().map(|command| command.at_us))
        .times("expires", rows().map(|command| command.expires_us))
        .finish()
}

fn rollups(columns: Columns, values: &[Rollup]) -> RecordBatch {
    let rows = || values.iter();
    let numbers = || values.iter().map(|rollup| &rollup.statistics);
    columns
        .keys("", rows().map(|rollup| &rollup.key))
        .times("start", rows().map(|rollup| rollup.start_us))
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
