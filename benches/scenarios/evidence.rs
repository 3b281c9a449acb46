//! Why something was missed, said falsely or said again: which rule, with its numbers.

use crate::simulation::drive::Run;
use crate::simulation::score::{Alert, Worth, worth};
use crate::simulation::world::{Kind, World};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Most rules of a kind that are listed.
const LISTED: usize = 4;

/// How often a rule spoke so, and the first time.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Example {
    pub count: u64,
    pub first: String,
}

/// What went wrong in the runs of a scenario.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// False incidents by rule.
    pub wrong: BTreeMap<String, Example>,
    /// Incidents about a fault that had one already, by rule.
    pub again: BTreeMap<String, Example>,
    /// Missed faults by what they were, with the guards that held rules back.
    pub missed: BTreeMap<String, Example>,
}

impl Evidence {
    /// What went wrong in a run.
    pub fn of(run: &Run, world: &World) -> Self {
        let mut evidence = Self::default();
        evidence.incidents(run, world);
        evidence
    }

    /// Adds that of a later run.
    pub fn merge(&mut self, later: &Self) {
        let pairs =
            [(&mut self.wrong, &later.wrong), (&mut self.again, &later.again), (&mut self.missed, &later.missed)];
        for (examples, more) in pairs {
            for (rule, it) in more {
                let example = examples.entry(rule.clone()).or_insert_with(|| Example { count: 0, ..it.clone() });
                example.count += it.count;
            }
        }
    }

    fn incidents(&mut self, run: &Run, world: &World) {
        let mut told = vec![false; world.truth.len()];
        for alert in &run.alerts {
            match worth(alert, world) {
                Worth::False => note(&mut self.wrong, &alert.rule, || example(alert, world)),
                Worth::Right(index) if told[index] => note(&mut self.again, &alert.rule, || example(alert, world)),
                Worth::Right(index) => told[index] = true,
                Worth::Excused => {}
            }
        }
        let missed = world.truth.iter().zip(told).filter(|(truth, told)| truth.kind == Kind::Fault && !told);
        for (truth, _) in missed {
            note(&mut self.missed, &truth.label, || {
                let mut guards = BTreeMap::<String, u64>::new();
                for verdict in run.held(&truth.names, (truth.from_s, truth.to_s)) {
                    let rule = serde_json::to_value(verdict.detector).unwrap_or_default();
                    let words = format!("{} held by {}", rule.as_str().unwrap_or_default(), verdict.reason);
                    *guards.entry(words).or_default() += 1;
                }
                let words = guards.iter().map(|(guard, count)| format!("{guard} × {count}")).collect::<Vec<_>>();
                let words = if words.is_empty() { "no rule passed its limit".to_owned() } else { words.join(", ") };
                format!("seed {}: {words}", world.seed)
            });
        }
    }

    /// Lines of Markdown; none if nothing went wrong.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (kind, examples) in [("false", &self.wrong), ("again", &self.again), ("missed", &self.missed)] {
            let mut most = examples.iter().collect::<Vec<_>>();
            most.sort_by_key(|(_, example)| std::cmp::Reverse(example.count));
            for (rule, example) in most.iter().take(LISTED) {
                lines.push(format!("{kind}: {} × {rule}; {}", example.count, example.first));
            }
            if most.len() > LISTED {
                let rest = most[LISTED..].iter().map(|(_, example)| example.count).sum::<u64>();
                lines.push(format!("{kind}: {rest} × other rules"));
            }
        }
        lines
    }
}

fn note(examples: &mut BTreeMap<String, Example>, rule: &str, first: impl FnOnce() -> String) {
    let example = examples.entry(rule.to_owned()).or_default();
    example.count += 1;
    if example.count == 1 {
        example.first = first();
    }
}

fn example(alert: &Alert, world: &World) -> String {
    let (days, rest) = (alert.at_s / 86_400, alert.at_s % 86_400);
    let clock = format!("{:02}:{:02}:{:02}", rest / 3600, rest % 3600 / 60, rest % 60);
    let day = if days > 0 { format!("day {} ", days + 1) } else { String::new() };
    format!("seed {}, {day}{clock}, {}: {}", world.seed, alert.root, alert.evidence)
}
