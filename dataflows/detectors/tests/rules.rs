//! The rules on numbers: what fires, what does not, and with which reason.

use evenkeel_detectors::{Detection, Latch, Trend, Turn, judge_burst, judge_errors, judge_latency, judge_saturation};
use evenkeel_schemas::{Statistics, Tally};

/// An hour of a key that serves 100 requests a second in about 2 ms, one in a thousand of them an error.
fn history() -> Statistics {
    let mut hour = Tally::default();
    (0..360_000u32).for_each(|at| hour.count(1_500 + at % 1_000, at % 1_000 == 0));
    Statistics::from(&hour)
}

/// A second with these requests and errors, `percent` of the usual latency.
fn second(requests: u32, errors: u32, percent: u32) -> Statistics {
    let mut tally = Tally::default();
    (0..requests).for_each(|at| tally.count((1_500 + at * 1_000 / requests.max(1)) * percent / 100, at < errors));
    Statistics::from(&tally)
}

/// The ticks, counted from one, at which a rule fires and clears, when judged over `ticks`.
fn edges(ticks: &[Statistics], fires: impl Fn(&Statistics) -> bool) -> Vec<(usize, &'static str)> {
    let limits = Detection { persist: 4, of: 5, ..Detection::default() };
    let (mut latch, mut edges) = (Latch::default(), Vec::new());
    for (tick, seen) in (1..).zip(ticks) {
        match latch.judge(fires(seen), limits.persist, limits.of) {
            Turn::Fire => {
                latch.fire(tick);
                edges.push((tick, "fire"));
            }
            Turn::Clear(began) => {
                assert_eq!(Some(began), edges.last().map(|(fired, _)| *fired), "it gives back what was said");
                edges.push((tick, "clear"));
            }
            Turn::Pending | Turn::Quiet => {}
        }
    }
    edges
}

/// A tick for each letter: `.` as usual, `s` three times as slow, `e` one in five fails.
fn ticks(pattern: &str) -> Vec<Statistics> {
    let tick = |letter| match letter {
        's' => second(100, 0, 300),
        'e' => second(100, 20, 100),
        _ => second(100, 0, 100),
    };
    pattern.chars().map(tick).collect()
}

fn latency_edges(pattern: &str) -> Vec<(usize, &'static str)> {
    let (history, limits) = (history(), Detection::default());
    edges(&ticks(pattern), |seen| judge_latency(seen, &history, &limits).fires)
}

fn error_edges(pattern: &str) -> Vec<(usize, &'static str)> {
    let (history, limits) = (history(), Detection::default());
    edges(&ticks(pattern), |seen| judge_errors(seen, &history, &limits).fires)
}

#[test]
fn a_step_fires_when_four_of_five_ticks_show_it() {
    assert_eq!(latency_edges("......"), []);
    assert_eq!(latency_edges("..ssss"), [(6, "fire")]);
    assert_eq!(latency_edges("..ss.ss"), [(7, "fire")]);
    assert_eq!(error_edges("..eeee"), [(6, "fire")]);
    assert_eq!(error_edges("..e.eee"), [(7, "fire")]);
}

#[test]
fn two_seconds_of_jitter_never_fire() {
    for pattern in ["ss...", "s.s..", "ss....", "s..s.", "ss.....ss..."] {
        assert_eq!(latency_edges(&pattern.repeat(50)), [], "{pattern}");
        assert_eq!(error_edges(&pattern.replace('s', "e").repeat(50)), [], "{pattern}");
    }
}

#[test]
fn five_quiet_ticks_clear_and_a_relapse_waits_for_them_again() {
    assert_eq!(latency_edges("ssss....."), [(4, "fire"), (9, "clear")]);
    assert_eq!(latency_edges("ssss...."), [(4, "fire")]);
    assert_eq!(latency_edges("ssss....s....."), [(4, "fire"), (14, "clear")]);
    assert_eq!(latency_edges("ssss.....ssss....."), [(4, "fire"), (9, "clear"), (13, "fire"), (18, "clear")]);
}

#[test]
fn every_answer_about_errors_has_its_reason() {
    let (history, none, limits) = (history(), Statistics::default(), Detection::default());
    let table = [
        // what, recent, history, fires, exceeds, reason
        ("silence", second(0, 0, 100), history, false, false, "no_traffic"),
        ("as usual", second(1_000, 1, 100), history, false, false, "within_baseline"),
        ("three times as many, below the margin", second(1_000, 4, 100), history, false, false, "within_baseline"),
        ("a step", second(1_000, 50, 100), history, true, true, "above_baseline"),
        ("a step in too few requests", second(19, 6, 100), history, false, true, "low_volume"),
        ("too few errors", second(30, 4, 100), history, false, true, "low_volume"),
        ("a step, nothing to compare with", second(1_000, 50, 100), none, false, true, "cold_start"),
        ("half of all, whatever the history", second(100, 50, 100), none, true, true, "above_guard"),
        ("half of all, of next to none", second(4, 4, 100), none, false, true, "low_volume"),
        (
            "as bad as ever",
            second(1_000, 300, 100),
            Statistics { errors: 108_000, ..history },
            false,
            false,
            "within_baseline",
        ),
    ];
    for (what, recent, history, fires, exceeds, reason) in table {
        let judgement = judge_errors(&recent, &history, &limits);
        assert_eq!((judgement.fires, judgement.exceeds, judgement.reason), (fires, exceeds, reason), "{what}");
    }
}

#[test]
fn every_answer_about_latency_has_its_reason() {
    let (history, none, limits) = (history(), Statistics::default(), Detection::default());
    let few_slow = {
        let mut tally = Tally::default();
        (0..100).for_each(|at| tally.count(if at < 30 { 20_000 } else { 2_000 }, false));
        Statistics::from(&tally)
    };
    let fast = Statistics { p50_us: 100, p90_us: 200, ..history };
    let four_times = Statistics { p50_us: 400, p90_us: 800, ..second(100, 0, 100) };
    let table = [
        ("silence", second(0, 0, 100), history, false, false, "no_traffic"),
        ("as usual", second(100, 0, 100), history, false, false, "within_baseline"),
        ("half as slow again", second(100, 0, 150), history, false, false, "within_baseline"),
        ("three times as slow", second(100, 0, 300), history, true, true, "above_baseline"),
        ("only the tail", few_slow, history, false, false, "within_baseline"),
        ("four times of next to nothing", four_times, fast, false, false, "within_baseline"),
        ("slow, of too few", second(19, 0, 300), history, false, true, "low_volume"),
        ("nothing to compare with", second(100, 0, 300), none, false, false, "cold_start"),
    ];
    for (what, recent, history, fires, exceeds, reason) in table {
        let judgement = judge_latency(&recent, &history, &limits);
        assert_eq!((judgement.fires, judgement.exceeds, judgement.reason), (fires, exceeds, reason), "{what}");
    }
}

#[test]
fn a_burst_needs_both_a_number_and_a_share() {
    let limits = Detection::default();
    let table = [
        ((10, 10), true, "error_burst"),
        ((20, 10), true, "error_burst"),
        ((21, 10), false, "within_baseline"),
        ((9, 9), false, "low_volume"),
        ((1_000_000, 400_000), false, "within_baseline"),
        ((1_000_000, 500_000), true, "error_burst"),
    ];
    for ((requests, errors), fires, reason) in table {
        let judgement = judge_burst(requests, errors, &limits);
        assert_eq!((judgement.fires, judgement.reason), (fires, reason), "{errors} of {requests}");
    }
}

/// Samples once a second from `start`, each `step` further, in thousandths.
fn trend(samples: i64, start: i64, step: i64) -> Trend {
    let mut trend = Trend::default();
    (0..samples).for_each(|at| trend.push(at * 1_000_000, (start + at * step) * 1_000));
    trend
}

#[test]
fn the_time_to_exhaustion_is_what_is_left_over_the_slope() {
    assert_eq!(trend(10, 0, 10).exhaustion_s(1_000_000), Some(91), "910 left at 10 a second");
    assert_eq!(trend(12, 700, 20).exhaustion_s(1_000_000), Some(4), "80 left at 20 a second");
    assert_eq!(trend(30, 700, 20).exhaustion_s(1_000_000), Some(0), "it is full");
    assert_eq!(trend(10, 500, 0).exhaustion_s(1_000_000), None, "level");
    assert_eq!(trend(10, 500, -10).exhaustion_s(1_000_000), None, "falling");
    assert_eq!(trend(3, 0, 300).exhaustion_s(1_000_000), None, "three samples are no trend");
    assert_eq!(Trend::default().exhaustion_s(1_000_000), None);
    let mut late = trend(10, 0, 10);
    late.push(0, 999_000);
    assert_eq!(late, trend(10, 0, 10), "a sample older than the newest changes nothing");
}

#[test]
fn a_gauge_saturates_at_its_limit_or_soon() {
    let limits = Detection::default();
    let table = [
        ("at its limit", 950, trend(1, 950, 0), true, true, "at_limit"),
        ("high and level", 940, trend(12, 940, 0), false, false, "within_limit"),
        ("high and rising", 920, trend(12, 700, 20), true, true, "exhaustion_near"),
        ("high and rising slowly", 711, trend(12, 700, 1), false, false, "within_limit"),
        ("low and rising fast", 550, trend(12, 0, 50), false, true, "far_from_limit"),
        ("low and level", 100, trend(12, 100, 0), false, false, "within_limit"),
    ];
    for (what, value, trend, fires, exceeds, reason) in table {
        let judgement = judge_saturation(value * 1_000, 1_000_000, &trend, &limits);
        assert_eq!((judgement.fires, judgement.exceeds, judgement.reason), (fires, exceeds, reason), "{what}");
    }
}

#[test]
fn a_latch_says_a_guard_once() {
    let mut latch = Latch::<()>::default();
    assert!(latch.hold(Some("low_volume")));
    assert!(!latch.hold(Some("low_volume")), "said already");
    assert!(latch.hold(Some("cold_start")), "another guard");
    assert!(!latch.hold(None), "nothing is held back: no news");
    assert!(latch.hold(Some("cold_start")), "and again after it was gone");
}
