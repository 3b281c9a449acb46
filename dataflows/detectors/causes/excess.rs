//! What a node did beyond its normal, row by row, and how that goes with the target.

use super::{Evidence, MIN_HISTORY, Measured, Metric, QUIET_SURPRISE};

/// A node against its normal period.
pub(super) struct Deviation {
    /// Excess by row of the incident, in amounts that add up along calls; 0 where there is none, or no data.
    pub excess: Vec<f64>,
    /// −log10 of the tail probability by row.
    surprise: Vec<f64>,
    /// Whether there is data, by row.
    data: Vec<bool>,
    normal: Option<f64>,
    history: usize,
    /// Whether nine of ten rows of the normal period have data.
    usually_has_data: bool,
}

/// How much each row of the incident counts.
#[derive(Clone, Debug)]
pub(super) struct Weights {
    /// Rows of the alert; they sum to 1.
    pub alert: Vec<f64>,
    /// Rows to compare them with; they sum to 1, or are all 0 if no row is quiet.
    pub quiet: Vec<f64>,
}

impl Weights {
    /// The same without the comparison.
    pub fn without_quiet(&self) -> Self {
        Self { alert: self.alert.clone(), quiet: vec![0.0; self.quiet.len()] }
    }
}

fn known(values: &[Option<f64>]) -> Vec<f64> {
    values.iter().flatten().copied().filter(|value| value.is_finite()).collect()
}

/// The median; of an even number the mean of the two in the middle.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = values[(values.len() - 1) / 2];
    Some(lower + (upper - lower) / 2.0)
}

impl Deviation {
    pub fn of(node: &Measured, metric: Metric) -> Self {
        // More is worse; for shares and counts less is.
        let (sign, unit) = match metric {
            Metric::Latency => (1.0, 1.0),
            Metric::Availability => (-1.0, 0.01),
            Metric::Requests => (-1.0, 1.0),
        };
        let history = known(&node.normal.values);
        let normal = median(history.clone());
        let usual_requests = median(known(&node.normal.requests)).unwrap_or(0.0);
        let rows = node.incident.values.len();
        let (mut excess, mut surprise, mut data) = (vec![0.0; rows], vec![0.0; rows], vec![false; rows]);
        for (row, value) in node.incident.values.iter().enumerate() {
            let Some(value) = value.filter(|value| value.is_finite()) else { continue };
            data[row] = true;
            let Some(normal) = normal.filter(|_| history.len() >= MIN_HISTORY) else { continue };
            let beyond = (value - normal) * sign;
            if beyond <= 0.0 {
                continue;
            }
            let requests = node.incident.requests.get(row).copied().flatten().filter(|it| it.is_finite());
            let count = if metric == Metric::Requests { 1.0 } else { requests.unwrap_or(usual_requests).max(0.0) };
            excess[row] = beyond * unit * count;
            let as_bad = history.iter().filter(|usual| **usual * sign >= value * sign).count();
            surprise[row] = libm::log10((history.len() + 1) as f64 / (as_bad + 1) as f64);
        }
        let usually_has_data = !history.is_empty() && history.len() * 10 >= node.normal.values.len() * 9;
        Self { excess, surprise, data, normal, history: history.len(), usually_has_data }
    }

    /// Whether it has a normal to be compared with.
    pub fn has_history(&self) -> bool {
        self.history >= MIN_HISTORY
    }

    /// Whether there is data in some row of the alert.
    pub fn has_data(&self, weights: &Weights) -> bool {
        weights.alert.iter().zip(&self.data).any(|(weight, data)| *weight > 0.0 && *data)
    }

    /// Whether data is missing that should be there.
    pub fn is_silent(&self, weights: &Weights) -> bool {
        self.usually_has_data && !self.has_data(weights)
    }

    /// How seldom the like of the rows of the alert is.
    pub fn surprise(&self, weights: &Weights) -> f64 {
        sum(&weights.alert, &self.surprise)
    }

    pub fn evidence(&self, node: &Measured, weights: &Weights, (excess, surprise): (f64, f64)) -> Evidence {
        let (normal, history) = (self.normal, self.history);
        let incident = mean(&node.incident.values, &weights.alert);
        let requests = mean(&node.incident.requests, &weights.alert);
        Evidence { normal, incident, requests, excess, surprise, history }
    }
}

fn sum(weights: &[f64], values: &[f64]) -> f64 {
    weights.iter().zip(values).map(|(weight, value)| weight * value).sum()
}

/// The weighted mean of what is known.
fn mean(values: &[Option<f64>], weights: &[f64]) -> Option<f64> {
    let known =
        || values.iter().zip(weights).filter_map(|(value, weight)| Some((value.filter(|it| it.is_finite())?, weight)));
    let all = known().map(|(_, weight)| weight).sum::<f64>();
    (all > 0.0).then(|| known().map(|(value, weight)| value * weight).sum::<f64>() / all)
}

/// How much each row counts, by what the target shows in it.
///
/// If some row is quiet, rows above the target's mean excess count as alert, by how much they are above it, and those below
/// it as quiet, by how much they are below: what goes with the target, and nothing else, has a contrast. If none is, every
/// row is of the alert.
pub(super) fn weights(target: &Deviation) -> Weights {
    let rows = target.excess.len();
    let some_quiet = target.surprise.iter().any(|surprise| *surprise < QUIET_SURPRISE);
    let mean = if some_quiet { target.excess.iter().sum::<f64>() / rows as f64 } else { 0.0 };
    let share = |parts: Vec<f64>, otherwise: f64| {
        let all = parts.iter().sum::<f64>();
        if all > 0.0 { parts.iter().map(|part| part / all).collect() } else { vec![otherwise; rows] }
    };
    let above = target.excess.iter().map(|excess| (excess - mean).max(0.0)).collect();
    let below = target.excess.iter().map(|excess| (mean - excess).max(0.0)).collect();
    Weights { alert: share(above, 1.0 / rows.max(1) as f64), quiet: share(below, 0.0) }
}

/// Excess in the rows of the alert beyond that in the quiet ones; never negative.
pub(super) fn contrast(excess: &[f64], weights: &Weights) -> f64 {
    (sum(&weights.alert, excess) - sum(&weights.quiet, excess)).max(0.0)
}
