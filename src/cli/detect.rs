//! `detect`: time series in CSV files through the detectors, as if they came in live; scores, alerts and a picture for each.

use super::{Ending, fatal, io_error};
use crate::picture::{Mark, Picture};
use crate::ports::PortError;
use evenkeel_detectors::series::{Assessment, Series};
use serde_json::json;
use std::path::{Path, PathBuf};

mod table;

use table::{Row, Table};

#[derive(Debug, clap::Args)]
pub(super) struct DetectArgs {
    /// CSV files, a series each, with a column of times and one of values.
    #[arg(required = true, value_name = "FILE.csv")]
    files: Vec<PathBuf>,
    /// Where NAME.scores.csv and NAME.svg go.
    #[arg(long)]
    out: PathBuf,
    /// The column of times. Default: timestamp, time, date, datetime, ts or at. ISO 8601, YYYY-MM-DD HH:MM:SS (UTC if
    /// no zone is named), or s, ms, µs or ns since the Unix epoch.
    #[arg(long, value_name = "COLUMN")]
    timestamp: Option<String>,
    /// The column of values. Default: value, values, v or y, else the only other column.
    #[arg(long, value_name = "COLUMN")]
    value: Option<String>,
}

/// A row and what is said of it.
struct Judged {
    row: Row,
    said: Assessment,
}

/// A series and what became of its rows.
struct Judgement {
    name: String,
    judged: Vec<Judged>,
    /// Rows that hold no time or no value.
    bad: u64,
    /// Rows whose time does not rise, or whose value is no number.
    skipped: u64,
}

impl Judgement {
    fn of(name: String, table: &Table) -> Self {
        let mut series = Series::default();
        let next = |row: &Row| series.next(row.at_s, row.value).ok().map(|said| Judged { row: row.clone(), said });
        let judged = table.rows.iter().filter_map(next).collect();
        Self { name, judged, bad: table.bad, skipped: series.skipped() }
    }

    fn alerts(&self) -> impl Iterator<Item = &Judged> {
        self.judged.iter().filter(|judged| judged.said.alert > 0.0)
    }

    fn highest(&self) -> Option<&Judged> {
        self.judged.iter().reduce(|best, next| if next.said.score > best.said.score { next } else { best })
    }

    fn json(&self) -> serde_json::Value {
        let alerts: Vec<_> = self
            .alerts()
            .map(|judged| {
                json!({"timestamp": judged.row.time, "value": judged.row.value, "alert": judged.said.alert,
                "reason": judged.said.reason.name()})
            })
            .collect();
        let highest = self.highest().map(|best| json!({"timestamp": best.row.time, "score": best.said.score}));
        json!({"series": self.name, "rows": self.judged.len(), "bad_rows": self.bad, "skipped_rows": self.skipped,
            "alerts": alerts, "highest": highest})
    }

    fn line(&self) -> String {
        let highest =
            self.highest().map_or_else(|| "–".into(), |best| format!("{:.3} at {}", best.said.score, best.row.time));
        let (rows, unusable, alerts) = (self.judged.len(), self.bad + self.skipped, self.alerts().count());
        format!("{:<32} {rows:>9} {unusable:>9} {alerts:>7}  {highest}", self.name)
    }

    fn write_scores(&self, path: &Path) -> Result<(), PortError> {
        let write = || -> Result<(), csv::Error> {
            let mut file = csv::Writer::from_path(path)?;
            file.write_record(["timestamp", "value", "expected", "low", "high", "score", "alert", "reason"])?;
            for Judged { row, said } in &self.judged {
                let numbers =
                    [row.value, said.expected, said.low, said.high, said.score, said.alert].map(|n| n.to_string());
                let [value, expected, low, high, score, alert] = &numbers;
                file.write_record([&row.time, value, expected, low, high, score, alert, said.reason.name()])?;
            }
            Ok(file.flush()?)
        };
        write().map_err(|error| fatal(format!("writing {}: {error}", path.display())))
    }

    fn picture(&self, value_label: &str) -> Picture {
        let mark = |judged: &Judged| Mark {
            at_s: judged.row.at_s as f64,
            value: judged.row.value,
            label: format!("{} {} ({:.2})", judged.row.value, judged.said.reason.name(), judged.said.alert),
        };
        let at_s = |judged: &Judged| judged.row.at_s as f64;
        Picture {
            title: self.name.clone(),
            value_label: value_label.to_owned(),
            points: self.judged.iter().map(|judged| (at_s(judged), judged.row.value)).collect(),
            band: self.judged.iter().map(|judged| (at_s(judged), judged.said.low, judged.said.high)).collect(),
            marks: self.alerts().map(mark).collect(),
            intervals: Vec::new(),
        }
    }
}

/// Assesses every file; not well if one of them held bad rows.
pub(super) fn detect(args: &DetectArgs, json: bool) -> Result<Ending, PortError> {
    std::fs::create_dir_all(&args.out).map_err(io_error("making", &args.out))?;
    let names = names(&args.files)?;
    if !json {
        println!("{:<32} {:>9} {:>9} {:>7}  highest score", "series", "rows", "unusable", "alerts");
    }
    let (mut said, mut bad) = (Vec::new(), 0);
    for (path, name) in args.files.iter().zip(names) {
        let table = Table::read(path, args.timestamp.as_deref(), args.value.as_deref())?;
        if let Some(first) = &table.first_bad {
            eprintln!("evenkeel: {}: {} rows were left out; the first: {first}", path.display(), table.bad);
        }
        let judgement = Judgement::of(name, &table);
        judgement.write_scores(&args.out.join(format!("{}.scores.csv", judgement.name)))?;
        let picture = args.out.join(format!("{}.svg", judgement.name));
        std::fs::write(&picture, judgement.picture(&table.value_label).svg()).map_err(io_error("writing", &picture))?;
        bad += judgement.bad;
        if json { said.push(judgement.json()) } else { println!("{}", judgement.line()) }
    }
    if json {
        println!("{}", json!({ "series": said }));
    }
    Ok(if bad == 0 { Ending::Well } else { Ending::NotWell })
}

/// A name for each file, its own without the ending; two of one name would overwrite each other.
fn names(files: &[PathBuf]) -> Result<Vec<String>, PortError> {
    let mut names: Vec<String> = Vec::new();
    for path in files {
        let name = path.file_stem().map(|name| name.to_string_lossy().into_owned());
        let name = name.ok_or_else(|| fatal(format!("{} is no file", path.display())))?;
        if names.contains(&name) {
            return Err(fatal(format!("two files are named {name}: give them to two commands with an --out each")));
        }
        names.push(name);
    }
    Ok(names)
}
