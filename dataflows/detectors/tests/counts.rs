//! Traffic and error budgets: what fires, what does not, and with which reason.

use evenkeel_detectors::{BURN_WINDOWS_S, BurnLimits, BurnPair, Judgement, Share, TrafficLimits, Volume};
use evenkeel_detectors::{burn_rate_milli, judge_burn, judge_traffic, silence_after};
use proptest::prelude::*;

fn volume(requests: i64, span_s: i64) -> Volume {
    Volume { requests, span_s }
}

fn parts(judgement: Judgement) -> (bool, bool, &'static str) {
    (judgement.fires, judgement.exceeds, judgement.reason)
}

#[test]
fn every_answer_about_traffic_has_its_reason() {
    let limits = TrafficLimits::default();
    let surging = TrafficLimits { surge_fires: true, ..limits.clone() };
    let hour = volume(54_000, 3_600);
    let table = [
        ("as usual", volume(900, 60), hour, None, (false, false, "within_usual")),
        ("just above a drop", volume(631, 60), hour, None, (false, false, "within_usual")),
        ("a drop", volume(630, 60), hour, None, (true, true, "drop")),
        ("none", volume(0, 60), hour, None, (true, true, "drop_to_zero")),
        ("the season says so too", volume(500, 60), hour, Some(volume(50_000, 3_600)), (true, true, "drop")),
        ("the season drops", volume(500, 60), hour, Some(volume(30_000, 3_600)), (false, true, "within_season")),
        ("a silent season", volume(0, 60), hour, Some(volume(0, 3_600)), (false, true, "within_season")),
        ("nearly silent", volume(0, 60), hour, Some(volume(600, 3_600)), (false, true, "low_volume")),
        ("too short to say", volume(0, 9), hour, None, (false, true, "short_span")),
        ("chance can do that", volume(90, 10), hour, None, (false, true, "low_volume")),
        ("none of next to none", volume(0, 60), volume(1_740, 3_600), None, (false, true, "low_volume")),
        ("none of enough", volume(0, 60), volume(1_800, 3_600), None, (true, true, "drop_to_zero")),
        ("nothing to compare with", volume(0, 60), volume(299, 3_600), None, (false, false, "cold_start")),
        ("no span", volume(0, 0), hour, None, (false, false, "cold_start")),
        ("below a surge", volume(2_699, 60), hour, None, (false, false, "within_usual")),
        ("a surge", volume(2_700, 60), hour, None, (false, true, "surge_is_no_fault")),
        ("a daily surge", volume(2_700, 60), hour, Some(volume(150_000, 3_600)), (false, true, "within_season")),
    ];
    for (what, seen, usual, season, answer) in table {
        assert_eq!(parts(judge_traffic(seen, usual, season, &limits)), answer, "{what}");
    }
    let surge = |season| parts(judge_traffic(volume(2_700, 60), hour, season, &surging));
    assert_eq!(surge(None), (true, true, "surge"));
    assert_eq!(surge(Some(volume(0, 3_600))), (true, true, "surge"), "where there never was any");
}

#[test]
fn silence_is_waited_for_as_long_as_the_rate_asks() {
    let limits = TrafficLimits::default();
    let after = |requests| silence_after(volume(requests, 3_600), &limits);
    assert_eq!(after(7_200_000), Some(10_000_000), "never shorter than the shortest span");
    assert_eq!(after(10_800), Some(10_000_000));
    assert_eq!(after(3_600), Some(30_000_000));
    assert_eq!(after(7_000), Some(15_428_572), "rounded up");
    assert_eq!(after(300), Some(360_000_000));
    assert_eq!(after(299), None, "no history");
    assert_eq!(silence_after(volume(300, 86_400), &limits), None, "longer than is waited for");
    assert_eq!(silence_after(volume(300, 0), &limits), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_096))]

    /// The rule in floating point, from its definition; near the edges neither is asked.
    #[test]
    fn a_drop_is_what_the_definition_says(per_mille in 10i64..3_100, span_s in 60i64..1_800, usual in 300i64..1_200) {
        let limits = TrafficLimits::default();
        let expected = usual as f64 * span_s as f64 / 3_600.0;
        let requests = (usual * span_s * per_mille / 3_600_000).max(1);
        let deviation = (2.0 * expected * (1.0 + span_s as f64 / 3_600.0)).sqrt();
        let (share, away) = (requests as f64 / expected, (expected - requests as f64) / deviation);
        prop_assume!((share - 0.7).abs() > 1e-9 && (share - 3.0).abs() > 1e-9 && (away - 5.0).abs() > 1e-9);
        let judgement = judge_traffic(volume(requests, span_s), volume(usual, 3_600), None, &limits);
        prop_assert_eq!(judgement.fires, share < 0.7 && away > 5.0);
        prop_assert_eq!(judgement.exceeds, !(0.7..=3.0).contains(&share));
    }

    /// No request in a span is a result from the time on that is said beforehand.
    #[test]
    fn silence_and_the_rule_agree(usual in 300i64..9_000_000, span_s in 1i64..3_600) {
        let limits = TrafficLimits::default();
        let silent = judge_traffic(volume(0, span_s), volume(usual, 3_600), None, &limits).fires;
        let after = silence_after(volume(usual, 3_600), &limits);
        prop_assert_eq!(silent, after.is_some_and(|after_us| span_s * 1_000_000 >= after_us));
    }

    /// Nothing overflows, whatever is counted.
    #[test]
    fn any_numbers_have_an_answer(numbers in prop::array::uniform6(any::<i64>()), objective in any::<i64>()) {
        let [a, b, c, d, e, f] = numbers;
        judge_traffic(volume(a, b), volume(c, d), Some(volume(e, f)), &TrafficLimits::default());
        silence_after(volume(a, b), &TrafficLimits::default());
        let pair = BurnPair { long: Share { errors: a, requests: b }, short: Share { errors: c, requests: d } };
        judge_burn(objective, &[pair; 3], &BurnLimits::default());
        burn_rate_milli(objective, pair.long);
    }
}

/// The first second and the last at which a pair fires, when of ten requests a second `share` fail for `lasting_s` after
/// four calm days; each window is summed from scratch, by the definition.
fn alert(share: f64, lasting_s: i64, reason: &str) -> Option<(i64, i64)> {
    let start_s = 4 * 86_400;
    // Errors up to a second, as the integral of their rate.
    let errors_until = |at_s: i64| ((at_s - start_s).clamp(0, lasting_s) as f64 * 10.0 * share) as i64;
    let share_of = |at_s: i64, length_s: i64| Share {
        errors: errors_until(at_s) - errors_until(at_s - length_s),
        requests: 10 * length_s,
    };
    let pairs = |at_s: i64| {
        BURN_WINDOWS_S.map(|(long, short)| BurnPair { long: share_of(at_s, long), short: share_of(at_s, short) })
    };
    let limits = BurnLimits::default();
    let fires = |at_s: &i64| judge_burn(999_000, &pairs(*at_s), &limits).reason == reason;
    let first = (start_s..start_s + 4 * 86_400).find(fires)?;
    let last = (first..start_s + 8 * 86_400).take_while(fires).last()?;
    Some((first - start_s, last - start_s))
}

#[test]
fn burn_alerts_come_when_the_workbook_says() {
    // Time to detection = (1 - objective) / error share × long window × burn rate.
    let day_s = 86_400;
    let near = |found: Option<(i64, i64)>, formula_s: f64| {
        let (first, _) = found.expect("it fires");
        assert!((first as f64 - formula_s).abs() <= formula_s * 0.01 + 1.0, "{first} s, by the formula {formula_s} s");
    };
    near(alert(1.0, day_s, "burn_fast"), 51.84);
    near(alert(0.1, day_s, "burn_fast"), 518.4);
    near(alert(0.0144, day_s, "burn_fast"), 3_600.0);
    assert_eq!(alert(0.01, day_s, "burn_fast"), None, "ten times too fast is not the fastest kind");
    near(alert(0.01, day_s, "burn_medium"), 0.6 * 21_600.0);
    near(alert(0.002, 4 * day_s, "burn_slow"), 0.5 * 259_200.0);
    assert_eq!(alert(0.000_9, 4 * day_s, "burn_slow"), None, "within the budget");
    let (_, last) = alert(1.0, 600, "burn_fast").expect("it fires");
    assert!((890..=900).contains(&last), "ten minutes of outage, then the short window's five: until {last} s");
}

#[test]
fn every_answer_about_a_budget_has_its_reason() {
    let limits = BurnLimits::default();
    let of = |errors, requests| Share { errors, requests };
    let pair = |long, short| BurnPair { long, short };
    let (good, none) = (pair(of(10, 100_000), of(1, 10_000)), BurnPair::default());
    let bad = pair(of(2_000, 100_000), of(200, 10_000));
    let table = [
        ("no objective", 0, [bad; 3], (false, false, "no_objective")),
        ("all must be good", 1_000_000, [bad; 3], (false, false, "no_objective")),
        ("silence", 999_000, [none; 3], (false, false, "no_traffic")),
        ("as it should be", 999_000, [good; 3], (false, false, "within_budget")),
        ("fast", 999_000, [bad, good, good], (true, true, "burn_fast")),
        ("medium", 999_000, [good, bad, good], (true, true, "burn_medium")),
        ("slow", 999_000, [good, good, bad], (true, true, "burn_slow")),
        ("the fastest is said", 999_000, [bad, bad, bad], (true, true, "burn_fast")),
        ("it is over", 999_000, [pair(of(2_000, 100_000), of(1, 10_000)); 3], (false, false, "burn_ended")),
        ("it is new", 999_000, [pair(of(10, 100_000), of(200, 10_000)); 3], (false, false, "burn_is_brief")),
        ("few errors", 999_000, [pair(of(9, 100), of(9, 100)), good, good], (false, true, "low_volume")),
        ("ten of them", 999_000, [pair(of(10, 100), of(9, 100)), good, good], (true, true, "burn_fast")),
        ("few requests", 999_000, [pair(of(10, 100), of(9, 19)), good, good], (false, true, "low_volume")),
        ("an ambitious objective", 999_990, [good; 3], (true, true, "burn_medium")),
        ("a lenient one", 900_000, [bad; 3], (false, false, "within_budget")),
    ];
    for (what, objective, pairs, answer) in table {
        assert_eq!(parts(judge_burn(objective, &pairs, &limits)), answer, "{what}");
    }
    assert_eq!(burn_rate_milli(999_000, of(0, 0)), None);
    assert_eq!(burn_rate_milli(1_000_000, of(1, 10)), None);
    assert_eq!(burn_rate_milli(999_000, of(1, 1_000)), Some(1_000), "exactly as fast as it may");
}
