//! How well the detectors do on public, labelled data, and how fast: `cargo bench --bench accuracy -- nab|kpi|petshop|speed`.
//!
//! `nab`, `kpi` and `petshop` take `--data DIR` (default: nothing; the data is not in this repository) and write one file of scores a series
//! below `--scores OUT`, in the format that the sets' scorers read. Files are found by walking the folder; no label is
//! read.

mod kpi;
mod nab;
mod petshop;
mod speed;

use evenkeel_detectors::series::{Assessment, Reason, Series};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What was asked for.
pub struct Arguments {
    /// Folder with the data set.
    pub data: Option<PathBuf>,
    /// Folder for files of scores.
    pub scores: Option<PathBuf>,
}

impl Arguments {
    fn read(words: impl Iterator<Item = String>) -> Result<(Option<String>, Self), String> {
        let (mut set, mut arguments) = (None, Self { data: None, scores: None });
        let mut words = words.filter(|word| word != "--bench" && word != "--");
        while let Some(word) = words.next() {
            let mut folder = || words.next().map(PathBuf::from).ok_or(format!("{word} needs a folder"));
            match word.as_str() {
                "--data" => arguments.data = Some(folder()?),
                "--scores" => arguments.scores = Some(folder()?),
                _ if set.is_none() => set = Some(word),
                _ => return Err(format!("what is {word}?")),
            }
        }
        Ok((set, arguments))
    }

    /// The folder with the data set, or where to get it.
    pub fn folder(&self, source: &str) -> Result<&Path, String> {
        let folder = self
            .data
            .as_deref()
            .ok_or(format!("the data is not in this repository; get it from {source}, then give --data DIR"))?;
        folder.is_dir().then_some(folder).ok_or(format!("{} is no folder", folder.display()))
    }
}

fn main() -> ExitCode {
    let ran = Arguments::read(std::env::args().skip(1)).and_then(|(set, arguments)| match set.as_deref() {
        Some("nab") => nab::run(&arguments),
        Some("kpi") => kpi::run(&arguments),
        Some("petshop") => petshop::run(&arguments),
        Some("speed") => speed::run(),
        None => {
            println!("accuracy: which one? nab, kpi, petshop or speed; e.g. cargo bench --bench accuracy -- nab --data DIR --scores OUT");
            Ok(())
        }
        Some(other) => Err(format!("there is no set {other}: nab, kpi, petshop or speed")),
    });
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("accuracy: {error}");
            ExitCode::from(2)
        }
    }
}

/// The files below `folder` with this ending, in order of their paths.
pub fn files(folder: &Path, ending: &str) -> Result<Vec<PathBuf>, String> {
    let (mut found, mut waiting) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = waiting.pop() {
        let read = |error| format!("reading {}: {error}", folder.display());
        for entry in std::fs::read_dir(&folder).map_err(read)? {
            let path = entry.map_err(read)?.path();
            if path.is_dir() {
                waiting.push(path);
            } else if path.to_string_lossy().ends_with(ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    if found.is_empty() { Err(format!("no {ending} below {}", folder.display())) } else { Ok(found) }
}

/// What was said of every row of a file; `None` where the row could not be used.
pub fn assess(rows: impl Iterator<Item = (i64, f64)>) -> Vec<Option<Assessment>> {
    let mut series = Series::default();
    rows.map(|(at_s, value)| series.next(at_s, value).ok()).collect()
}

/// Prints a line of the table: rows, rows that could not be used, alerts and their reasons, the highest score.
pub fn print_row(name: &str, said: &[Option<Assessment>]) {
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    let alerts = said.iter().flatten().filter(|said| said.alert > 0.0 && said.reason != Reason::Usual);
    alerts.for_each(|said| *reasons.entry(said.reason.name()).or_default() += 1);
    let reasons: Vec<String> = reasons.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
    let highest = said.iter().flatten().map(|said| said.score).fold(0.0, f64::max);
    let skipped = said.iter().filter(|said| said.is_none()).count();
    println!(
        "{name:<58} {:>7} rows {skipped:>4} unusable  highest {highest:.3}  alerts: {}",
        said.len(),
        reasons.join(", ")
    );
}

/// Writes a column of scores, one a row, under `head`.
pub fn write_scores(path: &Path, head: &str, scores: impl Iterator<Item = f64>) -> Result<(), String> {
    let write = || -> std::io::Result<()> {
        path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
        let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
        writeln!(file, "{head}")?;
        for score in scores {
            writeln!(file, "{score}")?;
        }
        file.flush()
    };
    write().map_err(|error| format!("writing {}: {error}", path.display()))
}
