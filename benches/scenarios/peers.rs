//! Two peers on the same runs: static thresholds, and burn rates as the SRE Workbook has them.
//!
//! Both go by the generator's own counts per service and minute, and are judged as each minute ends. As with a
//! `keep_firing_for` of five minutes, what was seen is over once it was not seen for so long.

use crate::simulation::drive::Run;
use crate::simulation::meter::Point;
use crate::simulation::score::Alert;
use crate::simulation::world::{MINUTE_S, World};

/// An alert goes on for so many minutes after it was seen last.
const KEEP_MINUTES: usize = 5;

/// More than this share of a minute's requests fail.
const ERROR_SHARE: f64 = 0.05;

/// A gauge is above this share of its limit for a minute.
const GAUGE_SHARE: f64 = 0.9;

/// The share of requests that may fail: an objective of 99.9 %.
const BUDGET: f64 = 0.001;

/// Burn rates: how many times the budget, over these windows, min (Google: The Site Reliability Workbook, 2018, ch. 5).
const BURNS: [(f64, usize, usize); 2] = [(14.4, 60, 5), (6.0, 360, 30)];

/// Static thresholds: more than 5 % errors, p99 above twice that of the calm, less than half the calm's volume, a gauge
/// above 90 % of its limit; each over a minute. The calm's numbers are set once, per service.
pub fn static_thresholds(world: &World, run: &Run) -> Vec<Alert> {
    let per_service = world.services.iter().zip(&run.meters).enumerate().flat_map(|(index, (service, meters))| {
        let minutes = &meters[1].points;
        let calm = &minutes[..minutes.len().min((world.calm_s / MINUTE_S) as usize)];
        let calm_requests = calm.iter().map(|it| f64::from(it.requests)).sum::<f64>() / calm.len().max(1) as f64;
        let calm_p99_us = median(calm.iter().map(|it| it.p99_us));
        let gauges = gauge_minutes(world, run, index);
        let judged = minutes.iter().enumerate().map(|(minute, point)| {
            let gauge = gauges.iter().any(|minutes| minutes.get(minute).is_some_and(|low| *low > GAUGE_SHARE));
            by_threshold(point, calm_requests, calm_p99_us, gauge)
        });
        episodes(&service.name, judged)
    });
    per_service.collect()
}

fn by_threshold(point: &Point, calm_requests: f64, calm_p99_us: u32, gauge: bool) -> Option<&'static str> {
    if point.error_share() > ERROR_SHARE {
        Some("errors > 5 %")
    } else if point.p99_us > 2 * calm_p99_us {
        Some("p99 > 2 × calm")
    } else if f64::from(point.requests) < 0.5 * calm_requests {
        Some("volume < 50 %")
    } else {
        gauge.then_some("gauge > 90 %")
    }
}

/// Per gauge of a service and minute, the lowest share of its limit.
fn gauge_minutes(world: &World, run: &Run, service: usize) -> Vec<Vec<f64>> {
    let of = world.gauges.iter().zip(&run.gauges).filter(|(gauge, _)| gauge.service == service);
    of.map(|(gauge, values)| {
        let shares = values.chunks((MINUTE_S / gauge.every_s).max(1) as usize);
        shares.map(|minute| minute.iter().fold(f64::INFINITY, |low, value| low.min(value / gauge.limit))).collect()
    })
    .collect()
}

fn median(values: impl Iterator<Item = u32>) -> u32 {
    let mut values = values.collect::<Vec<_>>();
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or(0)
}

/// Multi-window, multi-burn-rate: 14.4 over an hour and over five minutes, or 6 over six hours and over thirty minutes.
/// Where less than a window has passed, what has passed is the window.
pub fn burn_rates(world: &World, run: &Run) -> Vec<Alert> {
    let per_service = world.services.iter().zip(&run.meters).flat_map(|(service, meters)| {
        let minutes = &meters[1].points;
        let judged = (0..minutes.len()).map(|last| {
            let rate = |length: usize| burn(&minutes[(last + 1).saturating_sub(length)..=last]);
            let burns = |(limit, long, short): &(f64, usize, usize)| rate(*long) > *limit && rate(*short) > *limit;
            BURNS.iter().find(|it| burns(it)).map(|it| if it.1 == 60 { "burn 14.4 of 1 h" } else { "burn 6 of 6 h" })
        });
        episodes(&service.name, judged)
    });
    per_service.collect()
}

fn burn(minutes: &[Point]) -> f64 {
    let errors = minutes.iter().map(|it| u64::from(it.errors)).sum::<u64>();
    let requests = minutes.iter().map(|it| u64::from(it.requests)).sum::<u64>();
    errors as f64 / requests.max(1) as f64 / BUDGET
}

/// Alerts about a service from what each minute showed.
fn episodes(name: &str, judged: impl Iterator<Item = Option<&'static str>>) -> Vec<Alert> {
    let (mut alerts, mut seen_in) = (Vec::<Alert>::new(), None);
    for (minute, rule) in judged.enumerate() {
        let stands = seen_in.is_some_and(|seen| minute - seen <= KEEP_MINUTES);
        if let (Some(rule), false) = (rule, stands) {
            let (root, names, rule) = (name.to_owned(), vec![name.to_owned()], rule.to_owned());
            let (at_s, evidence) = ((minute as i64 + 1) * MINUTE_S, String::new());
            alerts.push(Alert { root, names, at_s, end_s: None, pages: 1, merged: false, rule, evidence });
        }
        seen_in = if rule.is_some() { Some(minute) } else { seen_in.filter(|_| stands) };
        if let Some(alert) = alerts.last_mut() {
            let over = seen_in.is_none_or(|seen| minute - seen >= KEEP_MINUTES);
            alert.end_s = if over { alert.end_s.or(Some((minute as i64 + 1) * MINUTE_S)) } else { None };
        }
    }
    alerts
}
