//! `evenkeel root-cause`: who may have caused an alert, from tables of a call graph and its metrics.

use super::{Ending, fatal};
use crate::ports::PortError;
use crate::root_cause::{Answer, Question};
use clap::ValueEnum;
use evenkeel_dataflows::detectors::{Candidate, Metric, Reason};
use std::path::PathBuf;

/// Most candidates in the table; JSON has all.
const TABLE_ROWS: usize = 10;

#[derive(Debug, clap::Args)]
pub(super) struct RootCauseArgs {
    /// Who calls whom: two columns headed caller,callee, or a matrix with a caller a line and a callee a column.
    #[arg(long, value_name = "CSV")]
    graph: PathBuf,
    /// Metrics while all was well: four lines of heads (microservice, metric, statistic, unix_timestamp), then a line a time.
    #[arg(long, value_name = "CSV")]
    normal: PathBuf,
    /// Metrics around the alert, written alike; some lines from before it make the answer better.
    #[arg(long, value_name = "CSV")]
    incident: PathBuf,
    /// The node of the alert. Default: of those that nobody calls the most surprising one.
    #[arg(long, value_name = "NODE")]
    target: Option<String>,
    /// What the alert is about. Default: of latency and availability the more surprising one.
    #[arg(long, value_enum)]
    metric: Option<About>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum About {
    Latency,
    Availability,
    Requests,
}

pub(super) fn run(args: &RootCauseArgs, json: bool) -> Result<Ending, PortError> {
    let question = Question::read(&args.graph, &args.normal, &args.incident).map_err(fatal)?;
    let metric = args.metric.map(|about| match about {
        About::Latency => Metric::Latency,
        About::Availability => Metric::Availability,
        About::Requests => Metric::Requests,
    });
    let answer = question.answer(args.target.as_deref(), metric).map_err(fatal)?;
    if json {
        println!("{}", serde_json::to_string(&answer).expect("names and finite numbers are JSON"));
    } else {
        print(&answer);
    }
    Ok(Ending::Well)
}

fn print(answer: &Answer) {
    println!("{} of {}", name(&answer.metric), answer.target);
    println!("{:>4}  {:<40} {:>6}  {:<58} inference", "rank", "node", "score", "evidence");
    let shown = answer.candidates.iter().take(TABLE_ROWS).take_while(|candidate| candidate.score > 0.0);
    let mut rows = 0;
    for (rank, candidate) in shown.enumerate() {
        let Candidate { node, score, .. } = candidate;
        println!(
            "{:>4}  {node:<40} {score:>6.3}  {:<58} {}",
            rank + 1,
            seen(candidate, answer.metric),
            follows(candidate)
        );
        rows += 1;
    }
    if rows == 0 {
        println!("      nothing exceeds its normal together with {}", answer.target);
    }
}

fn seen(candidate: &Candidate, metric: Metric) -> String {
    let evidence = &candidate.evidence;
    let unit = match metric {
        Metric::Latency => " s",
        Metric::Availability => " %",
        Metric::Requests => "",
    };
    let number = |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.4}{unit}"));
    let odds = 10f64.powf(evidence.surprise);
    format!(
        "{} against {}, {:.0} requests, 1 in {odds:.0}",
        number(evidence.incident),
        number(evidence.normal),
        evidence.requests.unwrap_or(0.0)
    )
}

fn follows(candidate: &Candidate) -> String {
    let inference = &candidate.inference;
    let reasons = inference.reasons.iter().map(name::<Reason>).collect::<Vec<_>>().join(", ");
    let percent = |part: f64| part * 100.0;
    format!(
        "own {:.0} % of {:.0} % reached, {} calls away: {reasons}",
        percent(inference.own),
        percent(inference.reached),
        inference.hops
    )
}

/// The name of a variant, as JSON has it.
fn name<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).map(|text| text.trim_matches('"').to_owned()).unwrap_or_default()
}
