//! `evenkeel detect` on small made-up series: what it writes, what it says, and what it does with bad rows.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A folder of its own, gone at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("evenkeel-detect-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn detect(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_evenkeel"));
        command.current_dir(&self.0).args(["detect", "--out", "found"]).args(arguments).output().unwrap()
    }

    fn text(&self, path: &str) -> String {
        fs::read_to_string(self.0.join(path)).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Ten days of a wave, a value in five minutes, with a spike on the ninth; times as `written`.
fn wave(head: &str, written: impl Fn(i64) -> String) -> String {
    let mut text = format!("{head}\n");
    for row in 0..288 * 10 {
        let noise = (row * 7_919 % 101) as f64 / 10.0;
        let spike = if row == 2_400 { 200.0 } else { 0.0 };
        let value = 100.0 + 40.0 * (row as f64 * std::f64::consts::TAU / 288.0).sin() + noise + spike;
        writeln!(text, "{},{value:.3}", written(1_780_272_000 + row * 300)).unwrap();
    }
    text
}

fn scores(text: &str) -> Vec<csv::StringRecord> {
    csv::Reader::from_reader(text.as_bytes()).records().map(Result::unwrap).collect()
}

fn alerts(path: &Path) -> Vec<(String, String)> {
    let rows = scores(&fs::read_to_string(path).unwrap());
    let alerts = rows.iter().filter(|row| row[6].parse::<f64>().unwrap() >= 0.5);
    alerts.map(|row| (row[0].to_owned(), row[7].to_owned())).collect()
}

#[test]
fn a_spike_is_found_and_drawn() {
    let folder = Folder::new("spike");
    fs::write(folder.0.join("cpu.csv"), wave("time,value", |at_s| at_s.to_string())).unwrap();
    let output = folder.detect(&["cpu.csv"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let at = (1_780_272_000 + 2_400 * 300).to_string();
    assert!(alerts(&folder.0.join("found/cpu.scores.csv")).contains(&(at.clone(), "new_level".to_owned())));
    let said = String::from_utf8(output.stdout).unwrap();
    let line = said.lines().find(|line| line.starts_with("cpu ")).unwrap();
    assert!(line.contains(" 2880 ") && line.ends_with(&at), "{line}");
    let rows = scores(&folder.text("found/cpu.scores.csv"));
    assert_eq!(rows.len(), 2_880);
    let number = |column: usize| rows[2_400][column].parse::<f64>().unwrap();
    assert!(
        number(3) <= number(2) && number(2) <= number(4) && number(4) < number(1) && number(5) > 0.5,
        "{:?}",
        rows[2_400]
    );
    let picture = folder.text("found/cpu.svg");
    assert!(picture.starts_with("<svg ") && picture.ends_with("</svg>\n"));
    assert!(picture.contains("new_level") && picture.contains("time, UTC") && !picture.contains("NaN"), "{picture}");
}

#[test]
fn the_same_times_in_every_form_give_the_same_scores() {
    let folder = Folder::new("forms");
    let iso = |at_s: i64| {
        format!("2026-06-{:02}T{:02}:{:02}:00Z", 1 + (at_s - 1_780_272_000) / 86_400, at_s / 3_600 % 24, at_s / 60 % 60)
    };
    let plain = |at_s: i64| iso(at_s).replace('T', " ").replace('Z', "");
    fs::write(folder.0.join("s.csv"), wave("ts,load", |at_s| at_s.to_string())).unwrap();
    fs::write(folder.0.join("ms.csv"), wave("Time,load", |at_s| format!("{at_s}000"))).unwrap();
    fs::write(folder.0.join("us.csv"), wave("when,p99", |at_s| format!("{at_s}000000"))).unwrap();
    fs::write(folder.0.join("iso.csv"), wave("timestamp,value", iso)).unwrap();
    fs::write(folder.0.join("plain.csv"), wave("date,value", plain)).unwrap();
    assert!(folder.detect(&["s.csv", "ms.csv", "iso.csv", "plain.csv"]).status.success());
    assert!(folder.detect(&["us.csv", "--timestamp", "when", "--value", "p99"]).status.success());
    let said = |name: &str| -> Vec<Vec<String>> {
        let rows = scores(&folder.text(&format!("found/{name}.scores.csv")));
        rows.iter().map(|row| row.iter().skip(1).map(str::to_owned).collect()).collect()
    };
    let expected = said("s");
    for name in ["ms", "us", "iso", "plain"] {
        assert!(said(name) == expected, "{name} differs");
    }
}

#[test]
fn bad_rows_are_counted_the_first_is_named_and_the_rest_goes_on() {
    let folder = Folder::new("bad");
    let mut text = wave("time,value", |at_s| at_s.to_string());
    text = text.replacen("1780272300,", "yesterday,", 1).replacen("1780272600,", "1780272600,many", 1);
    text.push_str("1700000000,5\n1999999999,NaN\n1999999999\n");
    fs::write(folder.0.join("cpu.csv"), text).unwrap();
    let output = folder.detect(&["cpu.csv", "-o", "json"]);
    assert_eq!(output.status.code(), Some(1), "not well: {output:?}");
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        error.contains("3 rows were left out") && error.contains("line 3: \"yesterday\" is no time; write it as"),
        "{error}"
    );
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let series = &said["series"][0];
    assert_eq!((&series["rows"], &series["bad_rows"], &series["skipped_rows"]), (&2_878.into(), &3.into(), &2.into()));
    assert!(series["alerts"].as_array().unwrap().iter().any(|alert| alert["reason"] == "new_level"), "{series}");
}

#[test]
fn what_cannot_be_guessed_is_asked_for() {
    let folder = Folder::new("guess");
    fs::write(folder.0.join("two.csv"), "time,p50,p99\n1,2,3\n").unwrap();
    let output = folder.detect(&["two.csv"]);
    assert_eq!(output.status.code(), Some(2));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("Name it with --value; there are time, p50, p99"), "{error}");
    assert_eq!(folder.detect(&["two.csv", "--value", "p99"]).status.code(), Some(0), "one row is a series, too");
    assert_eq!(folder.detect(&["none.csv"]).status.code(), Some(2));
}
