//! A CSV file as a series: which columns, what the times mean, which rows are bad.

use super::super::fatal;
use crate::ports::PortError;
use arrow::compute::kernels::cast_utils::string_to_timestamp_nanos;
use csv::StringRecord;
use std::path::Path;

/// Names a column of times goes by.
const TIME_NAMES: [&str; 7] = ["timestamp", "time", "datetime", "date", "ts", "at", "_time"];
/// Names a column of values goes by.
const VALUE_NAMES: [&str; 5] = ["value", "values", "v", "y", "_value"];
/// Numbers of seconds, milliseconds and microseconds since the Unix epoch are smaller than these; larger ones are
/// nanoseconds.
const EPOCH_UNITS: [(f64, f64); 3] = [(1e11, 1.0), (1e14, 1e3), (1e17, 1e6)];

/// A row that is good.
#[derive(Clone, Debug)]
pub struct Row {
    /// When, in whole seconds since the Unix epoch.
    pub at_s: i64,
    /// When, as the file says it.
    pub time: String,
    /// The value.
    pub value: f64,
}

/// A file that was read.
pub struct Table {
    /// Its good rows, in order.
    pub rows: Vec<Row>,
    /// How many were not.
    pub bad: u64,
    /// Which was the first, and what to do about it.
    pub first_bad: Option<String>,
    /// The name of the column of values.
    pub value_label: String,
}

impl Table {
    /// Reads a file; a column that is not named is guessed from the first line.
    pub fn read(path: &Path, time: Option<&str>, value: Option<&str>) -> Result<Self, PortError> {
        let unreadable = |error: csv::Error| fatal(format!("reading {}: {error}", path.display()));
        let mut reader =
            csv::ReaderBuilder::new().flexible(true).trim(csv::Trim::All).from_path(path).map_err(unreadable)?;
        let head = reader.headers().map_err(unreadable)?.clone();
        let wrong = |what: String| fatal(format!("{}: {what}", path.display()));
        let time_column =
            column(&head, time, &TIME_NAMES, None).ok_or_else(|| wrong(unknown("times", "--timestamp", &head)))?;
        let value_column = column(&head, value, &VALUE_NAMES, Some(time_column));
        let value_column = value_column.ok_or_else(|| wrong(unknown("values", "--value", &head)))?;
        let mut table = Self { rows: Vec::new(), bad: 0, first_bad: None, value_label: head[value_column].to_owned() };
        for record in reader.records() {
            let line = record.as_ref().ok().and_then(|record| record.position()).map_or(0, |position| position.line());
            let row =
                record.map_err(|error| error.to_string()).and_then(|record| row(&record, time_column, value_column));
            match row {
                Ok(row) => table.rows.push(row),
                Err(what) => table.reject(line, &what),
            }
        }
        Ok(table)
    }

    fn reject(&mut self, line: u64, what: &str) {
        self.bad += 1;
        self.first_bad.get_or_insert_with(|| format!("line {line}: {what}"));
    }
}

/// Which column: the one with this name, else one of the usual names, else the only one that is not `other`.
fn column(head: &StringRecord, name: Option<&str>, usual: &[&str], other: Option<usize>) -> Option<usize> {
    let named =
        |wanted: &str| head.iter().position(|name| name.trim_start_matches('\u{feff}').eq_ignore_ascii_case(wanted));
    match (name, other) {
        (Some(name), _) => named(name),
        (None, other) => usual.iter().find_map(|name| named(name)).or_else(|| {
            let other = other.filter(|_| head.len() == 2)?;
            Some(1 - other)
        }),
    }
}

fn unknown(what: &str, flag: &str, head: &StringRecord) -> String {
    let columns: Vec<&str> = head.iter().collect();
    format!("which column holds the {what}? Name it with {flag}; there are {}", columns.join(", "))
}

fn row(record: &StringRecord, time: usize, value: usize) -> Result<Row, String> {
    let field =
        |column: usize| record.get(column).ok_or("it has too few columns; add them or take the line out".to_owned());
    let (time, value) = (field(time)?, field(value)?);
    let at_s = seconds(time).ok_or_else(|| {
        format!("{time:?} is no time; write it as 2026-11-21T12:00:00Z, 2026-11-21 12:00:00, or in s, ms or µs since the Unix epoch")
    })?;
    let number =
        value.parse().map_err(|_| format!("{value:?} is no number; write it as 1234.5, or take the line out"))?;
    Ok(Row { at_s, time: time.to_owned(), value: number })
}

/// Seconds since the Unix epoch, rounded down.
fn seconds(text: &str) -> Option<i64> {
    if let Ok(number) = text.parse::<f64>() {
        let unit = EPOCH_UNITS.iter().find(|(below, _)| number.abs() < *below).map_or(1e9, |(_, unit)| *unit);
        return number.is_finite().then_some((number / unit).floor() as i64);
    }
    string_to_timestamp_nanos(text).ok().map(|ns| ns.div_euclid(1_000_000_000))
}
