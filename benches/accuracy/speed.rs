//! Values a second through the whole set of detectors on one core, and the state it keeps. Counted are the seconds that
//! the thread ran, where Linux says so: a loaded machine only makes it wait.

use evenkeel_detectors::series::Series;
use std::hint::black_box;
use std::time::Instant;

/// Values of a run: two months of minutes, ten times.
const VALUES: i64 = 900_000;
const RUNS: usize = 7;

/// Runs it on a day's wave with noise and a spike now and then.
pub fn run() -> Result<(), String> {
    let values: Vec<f64> = (0..VALUES).map(value).collect();
    let mut seconds: Vec<f64> = (0..RUNS).map(|_| pass(&values)).collect();
    seconds.sort_by(f64::total_cmp);
    let rate = |seconds: f64| VALUES as f64 / seconds / 1e6;
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!(
        "{:.2} M values/s, median of {RUNS} ({:.2} to {:.2}), load {}",
        rate(seconds[RUNS / 2]),
        rate(seconds[RUNS - 1]),
        rate(seconds[0]),
        load.split(' ').next().unwrap_or("unknown"),
    );
    let mut series = Series::default();
    (0..).zip(&values).for_each(|(at, value)| _ = black_box(series.next(at * 60, *value)));
    println!("{} bytes of state after {VALUES} values", series.state_bytes());
    Ok(())
}

fn pass(values: &[f64]) -> f64 {
    let (mut series, begun, ran_s) = (Series::default(), Instant::now(), ran_s());
    for (at, value) in (0..).zip(values) {
        let said = series.next(at * 60, *value);
        black_box(said.map_or(0.0, |said| said.score));
    }
    match (ran_s, self::ran_s()) {
        (Some(before), Some(after)) => after - before,
        _ => begun.elapsed().as_secs_f64(),
    }
}

/// How long this thread has run so far, s.
fn ran_s() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(text.split(' ').next()?.parse::<u64>().ok()? as f64 / 1e9)
}

fn value(at: i64) -> f64 {
    let noise = (at.wrapping_mul(0x9E37_79B9_7F4A_7C15_u64 as i64) as u64 >> 40) as f64 / (1 << 24) as f64;
    let spike = if at % 9_973 == 0 { 60.0 } else { 0.0 };
    100.0 + 40.0 * (at as f64 * std::f64::consts::TAU / 1_440.0).sin() + 10.0 * noise + spike
}
