//! What was said, against the truth.
//!
//! Terms. An *alert* is an incident, or what a peer would have paged for, from its begin to its end. It is *right* if it
//! began within a fault, or its grace, and is about a name that shows that fault; *excused* if it began within an excused
//! interval of its name, and did not outlast it; else *false*. A fault is *found* if an alert is right about it.

use super::world::{Kind, Truth, World};
use serde::{Deserialize, Serialize};

/// Something that was said.
#[derive(Clone, Debug)]
pub struct Alert {
    /// Where it is said to have begun.
    pub root: String,
    /// Every name it speaks of.
    pub names: Vec<String>,
    pub at_s: i64,
    /// `None`: it still stands at the end of the run.
    pub end_s: Option<i64>,
    /// How often somebody is paged for it.
    pub pages: u32,
    /// It went on as part of another: it is none of its own.
    pub merged: bool,
    /// Which rule, and about which dimensions.
    pub rule: String,
    /// What it saw.
    pub evidence: String,
}

/// What an alert is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worth {
    /// Right about this fault, by index in the world's truth.
    Right(usize),
    Excused,
    False,
}

/// The scores of one scenario; those of several runs add up.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Score {
    pub runs: u64,
    pub seconds: i64,
    pub faults: u64,
    pub found: u64,
    /// Faults that exactly one alert is right about.
    pub once: u64,
    /// Faults whose first right alert names their root, as it was amended.
    pub rooted: u64,
    pub right: u64,
    pub excused: u64,
    pub wrong: u64,
    pub pages: u64,
    /// From the begin of each found fault to its first alert, s; ascending.
    pub delays_s: Vec<i64>,
}

/// What an alert is worth in a world.
pub fn worth(alert: &Alert, world: &World) -> Worth {
    let about = |truth: &Truth| {
        let named = alert.root == truth.root || truth.names.iter().any(|name| alert.names.contains(name));
        named && (truth.from_s..truth.to_s + truth.grace_s).contains(&alert.at_s)
    };
    let in_time = |truth: &Truth| {
        let ended_s = alert.end_s.unwrap_or(world.seconds);
        truth.over_by_s.is_none_or(|over_by_s| ended_s <= over_by_s)
    };
    let faults = world.truth.iter().enumerate().filter(|(_, truth)| truth.kind == Kind::Fault);
    match faults.into_iter().find(|(_, truth)| about(truth)) {
        Some((index, _)) => Worth::Right(index),
        None if world.truth.iter().any(|it| it.kind == Kind::Excused && about(it) && in_time(it)) => Worth::Excused,
        None => Worth::False,
    }
}

/// Scores the alerts of one run.
pub fn score(alerts: &[Alert], world: &World) -> Score {
    let worths = alerts.iter().map(|alert| worth(alert, world)).collect::<Vec<_>>();
    let whole = || alerts.iter().zip(&worths).filter(|(alert, _)| !alert.merged);
    let count = |worth: Worth| whole().filter(|(_, it)| **it == worth).count() as u64;
    let mut score = Score { runs: 1, seconds: world.seconds, ..Score::default() };
    for (index, truth) in world.truth.iter().enumerate().filter(|(_, truth)| truth.kind == Kind::Fault) {
        let of = alerts.iter().zip(&worths).filter(|(_, worth)| **worth == Worth::Right(index));
        let right = of.map(|(alert, _)| alert).collect::<Vec<_>>();
        score.faults += 1;
        score.right += count(Worth::Right(index));
        // One that paged nobody, and one that went on as part of another, is none of its own.
        let paging = right.iter().filter(|alert| alert.pages > 0 && !alert.merged).collect::<Vec<_>>();
        score.once += u64::from(paging.len() == 1);
        if let Some(first) = right.iter().min_by_key(|alert| alert.at_s) {
            score.found += 1;
            // What services share, a zone, is named among other names.
            let is_service = world.services.iter().any(|service| service.name == truth.root);
            let told = paging.first().map_or(*first, |alert| **alert);
            let named = told.root == truth.root || (!is_service && told.names.contains(&truth.root));
            score.rooted += u64::from(named);
            score.delays_s.push(first.at_s - truth.from_s);
        }
    }
    (score.excused, score.wrong) = (count(Worth::Excused), count(Worth::False));
    score.pages = alerts.iter().map(|alert| u64::from(alert.pages)).sum();
    score.delays_s.sort_unstable();
    score
}

impl Score {
    /// Adds another run's.
    pub fn add(&mut self, other: &Self) {
        self.runs += other.runs;
        self.seconds += other.seconds;
        self.faults += other.faults;
        self.found += other.found;
        self.once += other.once;
        self.rooted += other.rooted;
        self.right += other.right;
        self.excused += other.excused;
        self.wrong += other.wrong;
        self.pages += other.pages;
        self.delays_s.extend(&other.delays_s);
        self.delays_s.sort_unstable();
    }

    /// Share of the faults that were found; `None` without faults.
    pub fn recall(&self) -> Option<f64> {
        share(self.found, self.faults)
    }

    /// Share of the alerts that were right, of those that were not excused; `None` without any.
    pub fn precision(&self) -> Option<f64> {
        share(self.right, self.right + self.wrong)
    }

    /// Share of the found faults that exactly one alert is right about.
    pub fn once(&self) -> Option<f64> {
        share(self.once, self.found)
    }

    /// Share of the found faults whose root was named.
    pub fn rooted(&self) -> Option<f64> {
        share(self.rooted, self.found)
    }

    /// False alerts in a week of simulated time.
    pub fn false_per_week(&self) -> f64 {
        self.wrong as f64 * 7.0 * 86_400.0 / self.seconds.max(1) as f64
    }

    /// A quantile of the times to detection, s (nearest rank).
    pub fn delay_s(&self, percent: usize) -> Option<i64> {
        let rank = (self.delays_s.len() * percent).div_ceil(100).max(1) - 1;
        self.delays_s.get(rank).copied()
    }
}

fn share(part: u64, of: u64) -> Option<f64> {
    (of > 0).then(|| part as f64 / of as f64)
}
