//! Leaks under a day's tide, a collector's saw-tooth and noise; and weeks without one.

use crate::random::Random;
use evenkeel_detectors::{Leak, LeakLimits};

const LIMIT_MILLI: i64 = 1_000_000;
const HOUR_MINUTES: i64 = 60;
const DAY_MINUTES: i64 = 24 * HOUR_MINUTES;

/// A gauge once a minute: a floor of 300, a tide of 80, a saw-tooth of 200 in about 17 minutes, noise, and what `leaked`.
fn sample(random: &mut Random, at: i64, leaked: f64) -> (f64, i64) {
    let tide = 80.0 * (std::f64::consts::TAU * at as f64 / DAY_MINUTES as f64).sin();
    let live = 300.0 + tide + 6.0 * random.normal() + leaked;
    let saw_tooth = 200.0 * (at % 17) as f64 / 17.0;
    (live, ((live + saw_tooth).min(1_000.0) * 1_000.0) as i64)
}

/// How many hours before what lives reaches the limit a leak of so much an hour, begun after `start` hours, is first
/// said, and what its time to the limit was said to be; `None` if never, or before it began.
fn warned(seed: u64, start_h: i64, an_hour: f64) -> Option<(f64, i64)> {
    let (mut random, mut leak, limits) = (Random(seed), Leak::default(), LeakLimits::default());
    let mut said = None;
    for at in 0..21 * DAY_MINUTES {
        let leaked = an_hour * (at - start_h * HOUR_MINUTES).max(0) as f64 / HOUR_MINUTES as f64;
        let (live, value) = sample(&mut random, at, leaked);
        if live >= 1_000.0 {
            return said.map(|(since, hours)| ((at - since) as f64 / HOUR_MINUTES as f64, hours));
        }
        if leak.take(at * 60_000_000, value) {
            let found = leak.judge(LIMIT_MILLI, &limits);
            if found.judgement.fires && said.is_none() {
                if at < start_h * HOUR_MINUTES {
                    return None;
                }
                said = found.hours_to_limit.map(|hours| (at, hours));
            }
        }
    }
    None
}

#[test]
fn leaks_are_said_hours_before_the_limit() {
    println!("leak/h  from hour  warned  lead h: least, p10, p50   said h to limit: p50");
    // A leak an hour, its start, and the hours of warning nine of ten must have.
    for (an_hour, start_h, lead_h) in
        [(8.0, 72, 12.0), (20.0, 72, 10.0), (40.0, 72, 6.0), (100.0, 72, 1.5), (60.0, 0, 1.5)]
    {
        let mut found: Vec<(f64, i64)> =
            (0..100).filter_map(|seed| warned(seed, start_h + seed as i64 % 24, an_hour)).collect();
        found.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut hours: Vec<i64> = found.iter().map(|(_, hours)| *hours).collect();
        hours.sort_unstable();
        let count = found.len();
        println!(
            "{an_hour:>6}  {start_h:>9}  {count:>3}/100  {:>8.1} {:>7.1} {:>5.1}   {:>10}",
            found[0].0,
            found[count / 10].0,
            found[count / 2].0,
            hours[count / 2]
        );
        assert!(count >= 98, "{count} of 100 leaks of {an_hour} an hour");
        assert!(found[count / 10].0 >= lead_h, "{an_hour} an hour: {:.1} h", found[count / 10].0);
    }
}

#[test]
fn weeks_without_a_leak() {
    let (mut said, mut reasons) = (0, std::collections::BTreeMap::new());
    for seed in 0..100 {
        let (mut random, mut leak, limits) = (Random(5_000 + seed), Leak::default(), LeakLimits::default());
        for at in 0..7 * DAY_MINUTES {
            // Another level each day, as traffic has it.
            let level = if seed % 2 == 0 { 0.0 } else { 40.0 * Random(seed * 31 + (at / DAY_MINUTES) as u64).normal() };
            let (_, value) = sample(&mut random, at + seed as i64 * 14, level);
            if leak.take(at * 60_000_000, value) {
                let found = leak.judge(LIMIT_MILLI, &limits).judgement;
                said += u32::from(found.fires);
                *reasons.entry(found.reason).or_insert(0u32) += 1;
            }
        }
    }
    println!("{said} false alarms in 100 gauge-weeks; {reasons:?}");
    assert_eq!(said, 0);
    assert!(reasons["saw_tooth"] > reasons["too_short"], "{reasons:?}");
}
