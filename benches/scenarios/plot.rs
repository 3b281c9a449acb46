//! A picture of a run that a person can judge: what was seen, what was usual, what was true, and what was said.
//!
//! # Decision
//! Own lanes below the chart, one for each who speaks: an incident is an interval, and whether it began in time and how
//! often it began anew is seen at a glance. Lines are drawn as means of at most 420 slots with the range of what is finer.

use crate::simulation::drive::Run;
use crate::simulation::meter::Point;
use crate::simulation::score::{Alert, Worth, worth};
use crate::simulation::world::{HOUR_S, Kind, MINUTE_S, Signal, World};
use crate::svg::{BOTTOM, LANE, LEFT, Page, RIGHT, TOP, WIDTH};
use evenkeel_dataflows::Detection;
use evenkeel_schemas::Statistics;

/// Most points of a line: what is finer is drawn as its range.
const POINTS: i64 = 420;

/// More alerts of a peer than these are joined where they touch.
const CROWD: usize = 200;

/// Most rows of incidents.
const ROWS: usize = 6;

const RIGHT_COLOUR: &str = "#2e7d32";
const WRONG_COLOUR: &str = "#c62828";
const EXCUSED_COLOUR: &str = "#8d8d8d";

/// Mean, lowest and highest value of a slot that begins at a time: (s, mean, low, high).
type Sample = (f64, f64, f64, f64);

/// Draws a run: the shown service's signal; incidents of every service, and what the peers would have said.
pub fn draw(title: &str, about: &str, world: &World, run: &Run, peers: [&[Alert]; 2]) -> String {
    let span = view(world);
    let samples = samples(world, run, span);
    let usual = usual(world, run, span);
    let top = samples.iter().map(|it| it.1).chain(usual.iter().map(|it| it.3)).fold(0.0, f64::max);
    let high = if world.shown.1 == Signal::Gauge { 105.0 } else { (top * 1.12).max(0.1) };
    let rows = rows(&run.alerts, span);
    let shown_rows = rows.len().clamp(1, ROWS);
    let mut page = Page::new(span, high, shown_rows + 3);
    truths(&mut page, world, span);
    page.axes(unit(world.shown.1));
    let band = usual.iter().map(|(at, _, low, high)| (*at, *low, *high)).collect::<Vec<_>>();
    page.area(&band, "fill=\"#90caf9\" fill-opacity=\"0.45\"");
    let line = |samples: &[Sample]| samples.iter().map(|it| (it.0, it.1)).collect::<Vec<_>>();
    page.line(&line(&usual), "stroke=\"#1565c0\" stroke-dasharray=\"5 3\"");
    let range = samples.iter().map(|(at, _, low, high)| (*at, *low, *high)).collect::<Vec<_>>();
    page.area(&range, "fill=\"#616161\" fill-opacity=\"0.35\"");
    page.line(&line(&samples), "stroke=\"#212121\" stroke-width=\"1.2\"");
    heading(&mut page, title, about, world);
    verdicts(&mut page, run, span);
    for (number, row) in rows.iter().take(ROWS).enumerate() {
        for alert in row {
            let colour = match worth(alert, world) {
                Worth::Right(_) => RIGHT_COLOUR,
                Worth::Excused => EXCUSED_COLOUR,
                Worth::False => WRONG_COLOUR,
            };
            bar(&mut page, alert, 1 + number, (world, colour));
        }
    }
    if rows.len() > ROWS {
        let more = rows.iter().skip(ROWS).map(Vec::len).sum::<usize>();
        let y = Page::lane(ROWS) + LANE - 4.0;
        page.words((RIGHT, y), "end", "font-size=\"11\"", &format!("+ {more} more"));
    }
    for (number, (name, alerts)) in ["thresholds", "burn rates"].into_iter().zip(peers).enumerate() {
        let lane = 1 + shown_rows + number;
        label(&mut page, lane, name);
        peer(&mut page, alerts, lane, (world, span));
    }
    label(&mut page, 1, "incidents");
    page.finish()
}

/// The time shown: around what is true if something is, else everything.
fn view(world: &World) -> (i64, i64) {
    let from_s = world.truth.iter().map(|it| it.from_s).min();
    let to_s = world.truth.iter().map(|it| it.to_s).max();
    let (Some(from_s), Some(to_s)) = (from_s, to_s) else { return (0, world.seconds) };
    if world.seconds > 30 * HOUR_S {
        return (0, world.seconds);
    }
    let around_s = (to_s - from_s).max(25 * MINUTE_S);
    ((from_s - around_s).max(0), (to_s + around_s).min(world.seconds))
}

fn unit(signal: Signal) -> &'static str {
    match signal {
        Signal::Volume => "requests/s",
        Signal::ErrorShare => "% failed",
        Signal::Latency => "median, ms",
        Signal::Gauge => "% of limit",
    }
}

/// What was seen of the shown service, in at most [`POINTS`] slots.
fn samples(world: &World, run: &Run, (from_s, to_s): (i64, i64)) -> Vec<Sample> {
    let (service, signal) = world.shown;
    let (width_s, values) = match signal {
        Signal::Gauge => {
            let gauge = &world.gauges[0];
            (gauge.every_s, run.gauges[0].iter().map(|value| Some(100.0 * value / gauge.limit)).collect::<Vec<_>>())
        }
        _ => {
            let meter = &run.meters[service][usize::from(to_s - from_s > 6 * HOUR_S)];
            (meter.width_s, meter.points.iter().map(|point| value(point, signal, meter.width_s)).collect())
        }
    };
    let bundle = ((to_s - from_s) / width_s).div_euclid(POINTS).max(0) as usize + 1;
    let shown = (from_s / width_s) as usize..((to_s / width_s) as usize).min(values.len());
    let chunks = values[shown.clone()].chunks(bundle).enumerate();
    let sampled = chunks.filter_map(|(number, chunk)| {
        let known = chunk.iter().flatten().copied();
        let (count, sum) = known.clone().fold((0, 0.0), |(count, sum), value| (count + 1, sum + value));
        let at_s = (shown.start + number * bundle) as i64 * width_s;
        let (low, high) = known.fold((f64::INFINITY, 0.0), |(low, high), it| (it.min(low), it.max(high)));
        (count > 0).then(|| (at_s as f64, sum / f64::from(count), low, high))
    });
    sampled.collect()
}

fn value(point: &Point, signal: Signal, width_s: i64) -> Option<f64> {
    match signal {
        Signal::Volume => Some(f64::from(point.requests) / width_s as f64),
        _ if point.requests == 0 => None,
        Signal::ErrorShare => Some(100.0 * point.error_share()),
        Signal::Latency | Signal::Gauge => Some(f64::from(point.p50_us) / 1000.0),
    }
}

/// What the engine holds to be usual, the last hour, and how far from it is still so: (s, usual, low, high).
fn usual(world: &World, run: &Run, (from_s, to_s): (i64, i64)) -> Vec<Sample> {
    let said = run.usual.iter().filter(|(at_s, usual)| (from_s..to_s).contains(at_s) && usual.requests > 0);
    let said = said.collect::<Vec<_>>();
    let every = said.len() / 150 + 1;
    said.into_iter().step_by(every).filter_map(|(at_s, usual)| band(world.shown.1, *at_s, usual)).collect()
}

fn band(signal: Signal, at_s: i64, usual: &Statistics) -> Option<Sample> {
    let (at, limits) = (at_s as f64, Detection::default());
    match signal {
        Signal::Volume => {
            // The hour's window holds what has passed until an hour has passed.
            let mean = usual.requests as f64 / at.min(3600.0);
            let slack = 3.0 * (mean / 10.0).sqrt();
            Some((at, mean, (mean - slack).max(0.0), mean + slack))
        }
        Signal::ErrorShare => {
            let share = 100.0 * usual.errors as f64 / usual.requests as f64;
            let margin = share + limits.error_margin_per_mille as f64 / 10.0;
            let ratio = share * limits.error_ratio_percent as f64 / 100.0;
            Some((at, share, 0.0, margin.max(ratio)))
        }
        Signal::Latency => {
            let median = usual.p50_us as f64 / 1000.0;
            Some((at, median, 0.0, median * limits.latency_ratio_percent as f64 / 100.0))
        }
        Signal::Gauge => None,
    }
}

fn truths(page: &mut Page, world: &World, span: (i64, i64)) {
    for truth in world.truth.iter().filter(|it| it.from_s < span.1 && it.to_s > span.0) {
        let (x0, x1) = (page.x(truth.from_s as f64), page.x(truth.to_s as f64));
        let colour = match truth.kind {
            Kind::Fault => "#ffcdd2",
            Kind::Excused => "#eeeeee",
            Kind::Planned => "#fff3c4",
        };
        page.rect((x0, x1), (TOP, BOTTOM), &format!("fill=\"{colour}\""));
        let (x, anchor) = if x0 > 700.0 { (x1, "end") } else { (x0, "start") };
        page.words((x, TOP - 4.0), anchor, "fill=\"#ad1457\" font-size=\"11\"", &truth.label);
    }
}

fn heading(page: &mut Page, title: &str, about: &str, world: &World) {
    page.words((10.0, 18.0), "start", "font-size=\"13\" font-weight=\"bold\"", title);
    let after = 18.0 + 8.2 * title.len() as f64;
    page.words((after, 18.0), "start", "", &format!("{about} (seed {})", world.seed));
    let shown = &world.services[world.shown.0];
    let band = match world.shown.1 {
        Signal::Volume => "; dashed and blue: the last hour ± 3 √n of 10 s",
        Signal::ErrorShare | Signal::Latency => "; dashed: the last hour, blue: up to the limit",
        Signal::Gauge => "",
    };
    let words = format!(
        "black: {}, grey around it: its range{band}; shaded: the truth; bars: green right, red and orange false, grey excused",
        shown.name
    );
    page.words((10.0, 36.0), "start", "fill=\"#555\" font-size=\"11\"", &words);
}

fn verdicts(page: &mut Page, run: &Run, (from_s, to_s): (i64, i64)) {
    label(page, 0, "verdicts");
    let y = Page::lane(0) + 2.0;
    let mut last = f64::NEG_INFINITY;
    for (at_s, _) in run.fired().filter(|(at_s, _)| (from_s..to_s).contains(at_s)) {
        let x = page.x(at_s as f64);
        // What falls on the same pixel is seen already.
        if x - last >= 1.0 {
            page.rect((x, x + 1.0), (y, y + LANE - 6.0), "fill=\"#6a1b9a\"");
            last = x;
        }
    }
}

fn label(page: &mut Page, lane: usize, name: &str) {
    page.words((LEFT - 6.0, Page::lane(lane) + LANE - 4.0), "end", "fill=\"#555\"", name);
}

fn bar(page: &mut Page, alert: &Alert, lane: usize, (world, colour): (&World, &str)) {
    let (x0, x1) = (page.x(alert.at_s as f64), page.x(alert.end_s.unwrap_or(world.seconds) as f64));
    let y = Page::lane(lane);
    page.rect((x0, (x1).max(x0 + 2.0)), (y + 3.0, y + LANE - 3.0), &format!("fill=\"{colour}\""));
    let rule = alert.rule.split(' ').next().unwrap_or_default();
    let words = format!("{} {rule}", alert.root);
    if x1 - x0 > words.len() as f64 * 6.0 && x1 < WIDTH {
        let style = "fill=\"#fff\" font-size=\"10\"";
        page.words((x0 + 3.0, y + LANE - 4.5), "start", style, &words);
    }
}

/// What a peer would have said; where that is very much, as what of it can be told apart.
fn peer(page: &mut Page, alerts: &[Alert], lane: usize, (world, span): (&World, (i64, i64))) {
    let mut shown = alerts.iter().filter(|alert| overlaps(alert, span)).cloned().collect::<Vec<_>>();
    if shown.len() > CROWD {
        let near_s = (span.1 - span.0) / POINTS;
        let end_s = |alert: &Alert| alert.end_s.unwrap_or(world.seconds);
        shown.sort_by_key(|alert| alert.at_s);
        shown.dedup_by(|next, last| {
            let same = (worth(next, world) == Worth::False) == (worth(last, world) == Worth::False);
            let joins = same && next.at_s <= end_s(last) + near_s;
            if joins {
                last.end_s = Some(end_s(last).max(end_s(next)));
            }
            joins
        });
    }
    for alert in &shown {
        let right = worth(alert, world) != Worth::False;
        bar(page, alert, lane, (world, if right { "#7cb342" } else { "#ef6c00" }));
    }
}

fn overlaps(alert: &Alert, (from_s, to_s): (i64, i64)) -> bool {
    alert.at_s < to_s && alert.end_s.is_none_or(|end_s| end_s > from_s)
}

/// Alerts in rows in which none overlaps another.
fn rows(alerts: &[Alert], span: (i64, i64)) -> Vec<Vec<&Alert>> {
    let mut rows = Vec::<Vec<&Alert>>::new();
    for alert in alerts.iter().filter(|alert| overlaps(alert, span)) {
        let free =
            |row: &&mut Vec<&Alert>| row.last().is_none_or(|last| last.end_s.is_some_and(|end_s| end_s <= alert.at_s));
        match rows.iter_mut().find(free) {
            Some(row) => row.push(alert),
            None => rows.push(vec![alert]),
        }
    }
    rows
}
