//! Root causes of the PetShop issues (Hardt et al., 2024: "The PetShop Dataset"): top-1 and top-3 by scenario and metric.
//!
//! Reads any folder of its layout, `SCENARIO/graph.csv`, `SCENARIO/noissue/metrics.csv` and
//! `SCENARIO/{train,test}/ISSUE/{metrics.csv,target.json}`; the data is CC-BY-4.0 and not kept here. A scenario without a
//! normal period is left out. The ranking sees the alerted node and metric, and not the time of the alert.

use crate::Arguments;
use evenkeel::root_cause::Question;
use evenkeel_dataflows::detectors::Metric;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Ranks the nodes for every issue below the folder; writes the rankings as JSON to `--scores`, a file.
pub fn run(arguments: &Arguments) -> Result<(), String> {
    let data = arguments.folder("github.com/amazon-science/petshop-root-cause-analysis")?;
    let mut ranked = Map::new();
    // By scenario and metric: how often the cause was first, among the first three, and how many issues there are.
    let mut hits = BTreeMap::<String, [u32; 3]>::new();
    for scenario in folders(data) {
        let normal = scenario.join("noissue/metrics.csv");
        for issue in ["train", "test"].iter().flat_map(|part| folders(&scenario.join(part))).filter(|_| normal.exists())
        {
            let truth = json(&issue.join("target.json"));
            let (target, cause) = (&truth["target"], truth["root_cause"]["node"].as_str().unwrap_or_default());
            let metric = match target["metric"].as_str() {
                Some("latency") => Metric::Latency,
                Some("availability") => Metric::Availability,
                _ => Metric::Requests,
            };
            let question = Question::read(&scenario.join("graph.csv"), &normal, &issue.join("metrics.csv"));
            let answer = question.and_then(|question| question.answer(target["node"].as_str(), Some(metric)));
            let answer = answer.expect("the data set is in its layout");
            let nodes = answer.candidates.into_iter().map(|candidate| candidate.node).collect::<Vec<_>>();
            let place = nodes.iter().position(|node| node == cause).unwrap_or(usize::MAX);
            let group = format!("{} {}", name(&scenario), target["metric"].as_str().unwrap_or_default());
            for group in ["all".to_owned(), group] {
                let [first, three, all] = hits.entry(group).or_default();
                (*first, *three, *all) = (*first + u32::from(place < 1), *three + u32::from(place < 3), *all + 1);
            }
            let case = issue.strip_prefix(data).expect("it was found there").display().to_string();
            ranked.insert(case, Value::from(nodes));
        }
    }
    for (group, [first, three, all]) in hits {
        let part = |hits: u32| f64::from(hits) / f64::from(all);
        println!("{group}: top1 {:.3} top3 {:.3} of {all}", part(first), part(three));
    }
    let Some(scores) = &arguments.scores else { return Ok(()) };
    std::fs::write(scores, Value::from(ranked).to_string())
        .map_err(|error| format!("writing {}: {error}", scores.display()))
}

fn folders(path: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    let mut folders = entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect::<Vec<_>>();
    folders.sort();
    folders
}

fn json(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).expect("every issue has its target");
    serde_json::from_str(&text).expect("targets are JSON")
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
