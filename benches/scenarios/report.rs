//! The table: Markdown, or JSON lines.

use crate::evidence::Evidence;
use crate::simulation::score::Score;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::fmt::Write;

/// What stands below this line was written by hand, and stays.
pub const BY_HAND: &str = "<!-- What follows is written by hand; the bench leaves it as it is. -->";

/// The systems that are compared.
pub const SYSTEMS: [&str; 3] = ["evenkeel", "thresholds", "burn rates"];

/// What came of a scenario.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    pub name: String,
    pub about: String,
    /// Of each of [`SYSTEMS`].
    pub scores: [Score; 3],
    pub evidence: Evidence,
}

/// The table as Markdown.
pub fn table(rows: &[Row]) -> String {
    let mut out = String::from(
        "| scenario | runs × h | faults | found | precision | to detection p50 / p90 | one incident | root named | \
         pages a run | false a week |\n|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let score = &row.scores[0];
        let hours = score.seconds as f64 / 3600.0 / score.runs as f64;
        let faults = if score.faults == 0 { "–".to_owned() } else { score.faults.to_string() };
        writeln!(
            out,
            "| [{}]({}.svg) | {} × {hours:.1} | {faults} | {} | {} | {} | {} | {} | {:.1} | {} |",
            row.name,
            row.name,
            score.runs,
            percent(score.recall()),
            percent(score.precision()),
            delays(score),
            percent(score.once()),
            percent(score.rooted()),
            score.pages as f64 / score.runs as f64,
            per_week(score),
        )
        .expect("memory takes every byte");
    }
    out
}

/// The same scores side by side.
pub fn comparison(rows: &[Row]) -> String {
    let mut out = String::from("| scenario |");
    let cells = ["found", "precision", "p50", "one", "false/wk"];
    for system in SYSTEMS {
        cells.iter().for_each(|cell| write!(out, " {system}: {cell} |").expect("memory takes every byte"));
    }
    writeln!(out, "\n|{}", "---|".repeat(1 + SYSTEMS.len() * cells.len())).expect("memory takes every byte");
    for row in rows {
        write!(out, "| {} |", row.name).expect("memory takes every byte");
        for score in &row.scores {
            let p50 = score.delay_s(50).map_or("–".to_owned(), duration);
            let (found, precision, once) = (percent(score.recall()), percent(score.precision()), percent(score.once()));
            let cells = format!(" {found} | {precision} | {p50} | {once} | {} |", per_week(score));
            out.push_str(&cells);
        }
        out.push('\n');
    }
    out
}

/// The whole page; `by_hand` is what stood below [`BY_HAND`].
pub fn page(rows: &[Row], by_hand: &str) -> String {
    let mut out = String::from(
        "# How far detection can be trusted\nMade by `cargo bench --bench scenarios -- [NAME…] --seeds N --out \
         benches/scenarios`: the same seeds give the same bytes, and a run of some scenarios leaves the rows of the others \
         (`results.json`) as they are. Seeds run from 1 to the first number of *runs*; pictures are of seed 1.\n\n\
         Terms: a *fault* is found if an incident began within it (or two minutes after) and is about a name that shows \
         it; an incident that is about none is *false*; *precision* is the share of the right ones. *One incident*: of \
         the found faults, those with exactly one. *Root named*: those whose first incident names where it began. \
         *Pages*: records with `notify`, or where incidents have no such field, openings. *False a week*: false incidents \
         in 168 h of all services together. Time is simulated, in epochs of 1 s, in scenarios of days of 5 s; evenkeel has \
         its defaults.\n\n",
    );
    out.push_str(&table(rows));
    out.push_str(
        "\n## Beside two peers\nBoth are judged on the generator's own counts per service and minute, an alert goes on \
         for five minutes after it was seen last. *Thresholds*: more than 5 % errors, p99 above twice that of the calm, \
         less than half the calm's volume, a gauge above 90 % of its limit, each for a minute. *Burn rates*: 14.4 over \
         1 h and 5 min or 6 over 6 h and 30 min, objective 99.9 %. They know nothing of incidents: an alert is one of a \
         service.\n\n",
    );
    out.push_str(&comparison(rows));
    out.push_str("\n## Scenarios, and what went wrong in them\n");
    for row in rows {
        writeln!(out, "**{}**: {}\n\n![{}]({}.svg)\n", row.name, row.about, row.name, row.name)
            .expect("memory takes every byte");
        for line in row.evidence.lines() {
            writeln!(out, "- {line}").expect("memory takes every byte");
        }
        out.push('\n');
    }
    format!("{}\n{BY_HAND}\n{by_hand}", out.trim_end())
}

/// One JSON object a scenario and system.
pub fn json_lines(row: &Row) -> Vec<Value> {
    let line = |(system, score): (&str, &Score)| {
        json!({
            "scenario": row.name, "system": system, "runs": score.runs, "simulated_s": score.seconds,
            "faults": score.faults, "found": score.found, "once": score.once, "rooted": score.rooted,
            "right": score.right, "excused": score.excused, "false": score.wrong, "pages": score.pages,
            "delay_p50_s": score.delay_s(50), "delay_p90_s": score.delay_s(90),
            "false_per_week": (score.false_per_week() * 100.0).round() / 100.0,
        })
    };
    SYSTEMS.into_iter().zip(&row.scores).map(line).collect()
}

fn percent(share: Option<f64>) -> String {
    share.map_or("–".to_owned(), |share| format!("{:.0} %", share * 100.0))
}

fn per_week(score: &Score) -> String {
    let rate = score.false_per_week();
    if score.wrong == 0 { "0".to_owned() } else { format!("{rate:.*}", usize::from(rate < 10.0)) }
}

fn delays(score: &Score) -> String {
    match (score.delay_s(50), score.delay_s(90)) {
        (Some(p50), Some(p90)) => format!("{} / {}", duration(p50), duration(p90)),
        _ => "–".to_owned(),
    }
}

fn duration(seconds: i64) -> String {
    match seconds {
        ..=119 => format!("{seconds} s"),
        120..=7199 => format!("{:.1} min", seconds as f64 / 60.0),
        _ => format!("{:.1} h", seconds as f64 / 3600.0),
    }
}
