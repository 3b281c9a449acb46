//! The detectors over time series: each against its definition, the whole against itself, and against what hostile input there is.
#![expect(clippy::unwrap_used, reason = "tests")]

use evenkeel_detectors::series::{
    DayProfile, Level, Reason, Refractory, Series, Shape, Spread, Tail, Unusable, Visited,
};
use proptest::prelude::*;

/// A day's wave at one value in five minutes, with noise that looks random.
fn wave(row: i64) -> f64 {
    let noise =
        (row.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407) as u64 >> 40) as f64;
    100.0 + 40.0 * libm::sin(row as f64 * std::f64::consts::TAU / 288.0) + 10.0 * noise / f64::from(1 << 24)
}

/// The bits of all that is said of a series.
fn said(series: &mut Series, rows: &[(i64, f64)]) -> Vec<Option<[u64; 5]>> {
    let bits = |(at_s, value): &(i64, f64)| {
        let said = series.next(*at_s, *value).ok()?;
        Some([said.score, said.alert, said.expected, said.low, said.high].map(f64::to_bits))
    };
    rows.iter().map(bits).collect()
}

#[test]
fn level_is_the_distance_to_the_median_of_the_last_twenty() {
    let (mut level, mut spread) = (Level::default(), Spread::new(2_000));
    let values: Vec<f64> = (0..500).map(|row| if row % 97 == 0 { 400.0 } else { wave(row) }).collect();
    for (row, value) in values.iter().enumerate() {
        let mut window = values[row.saturating_sub(20)..row].to_vec();
        window.sort_by(f64::total_cmp);
        let median = window.get(window.len() / 2).copied();
        assert_eq!(level.median(), median, "row {row}");
        let expected = median.filter(|_| window.len() >= 8).map_or(0.0, |median| {
            let score = if spread.mean() > 0.0 { ((value - median).abs() / spread.mean()).min(1e6) } else { 1e6 };
            spread.push(value - median);
            if *value == median { 0.0 } else { score }
        });
        assert_eq!(level.next(*value), expected, "row {row}");
    }
}

#[test]
fn spread_is_deaf_to_an_outlier_and_does_not_stick_at_zero() {
    let mut spread = Spread::new(100);
    (0..100).for_each(|_| spread.push(1.0));
    spread.push(1e9);
    assert_eq!(spread.mean(), 1.04, "an outlier counts for five times the mean, one in a hundred");
    let mut flat = Spread::new(100);
    (0..100).for_each(|_| flat.push(0.0));
    flat.push(3.0);
    assert_eq!(flat.mean(), 0.03);
}

#[test]
fn shape_is_the_distance_to_the_two_nearest_windows() {
    let (mut shape, mut kept, mut mean) = (Shape::default(), Vec::new(), wave(0));
    let (mut farthest, mut distance) = (0.0, -1.0);
    for row in 0..3_000 {
        let value = if row == 2_500 { 400.0 } else { wave(row) };
        if (value - mean).abs() > distance {
            (farthest, distance) = (value, (value - mean).abs());
        }
        mean += 0.05 * (value - mean);
        let score = shape.next(value, 100.0);
        if row % 4 != 3 {
            assert_eq!(score, 0.0);
            continue;
        }
        kept.push((farthest - wave(0)) as f32);
        distance = -1.0;
        let history = &kept[kept.len().saturating_sub(500)..];
        let (earlier, window) = history.split_at(history.len().saturating_sub(6));
        let apart = |held: &[f32]| held.iter().zip(window).map(|(held, value)| (held - value).abs()).sum::<f32>();
        let mut distances: Vec<f32> = earlier.windows(6).map(apart).collect();
        distances.sort_by(f32::total_cmp);
        let nearest = if distances.len() < 8 { 0.0 } else { f64::from(distances[0] + distances[1]) / 12.0 };
        assert_eq!(score, (nearest / 100.0).min(1.0), "row {row}");
    }
}

#[test]
fn visited_levels_are_old_and_others_are_new_by_their_distance() {
    let mut visited = Visited::default();
    (0..1_000).for_each(|row| _ = visited.next(f64::from(row % 11)));
    assert_eq!(visited.range(), 10.0);
    assert_eq!(visited.next(5.0), 0.0);
    let beyond = visited.next(13.0);
    assert!((beyond - 3.0 / 13.0).abs() < 0.04, "three past a range that is thirteen with it: {beyond}");
    assert_eq!(visited.next(13.0), 0.0, "visited by now");
    let far = visited.next(1e6);
    assert!(far > 0.9, "the grid folds, and all before lies in one corner: {far}");
    assert_eq!(visited.next(5.0), 0.0, "folding forgets no visit");
    assert!(visited.next(-1e6) > 0.4, "below as well");
    assert_eq!(visited.next(1e6), 0.0);
}

#[test]
fn what_differs_from_a_flat_line_is_new_and_the_line_is_not() {
    let mut visited = Visited::default();
    (0..40).for_each(|_| assert_eq!(visited.next(7.0), 0.0));
    assert_eq!(visited.next(7.5), 1.0);
    assert_eq!(visited.next(7.0), 0.0);
}

#[test]
fn tail_tracks_its_quantile_and_says_how_improbable() {
    let mut tail = Tail::default();
    // Exponential scores: past the quantile, a decade is ln 10 on any scale.
    let uniform =
        |row: i64| ((row.wrapping_mul(0x5851_F42D_4C95_7F2D) as u64 >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    (1..200_000).for_each(|row| _ = tail.next(-3.0 * libm::log(uniform(row))));
    let truth = 3.0 * libm::log(50.0);
    assert!((tail.quantile() / truth - 1.0).abs() < 0.2, "{} is not near {truth}", tail.quantile());
    let decades = tail.clone().next(3.0 * libm::log(1e5));
    assert!((4.0..6.0).contains(&decades), "one in 100,000 is five decades, not {decades}");
    assert!(tail.clone().next(1e6) <= 12.0 && tail.next(0.0) == 0.0);
}

#[test]
fn day_profile_expects_what_was_at_this_time_on_earlier_days() {
    let mut day = DayProfile::default();
    let square = |row: i64| if row % 288 < 144 { 10.0 } else { 50.0 };
    (0..288 * 4).for_each(|row| _ = day.next(row * 300, square(row)));
    let at = |row: i64| day.expect((288 * 4 + row) * 300).unwrap().value;
    assert!((at(70) - 10.0).abs() < 1.0 && (at(220) - 50.0).abs() < 1.0, "{} and {}", at(70), at(220));
    assert!(DayProfile::default().expect(0).is_none());
}

#[test]
fn only_a_stronger_alert_is_heard_soon_after_one() {
    let mut refractory = Refractory::default();
    assert_eq!(refractory.next(0.6), 0.6);
    assert_eq!((refractory.next(0.6), refractory.next(0.7)), (0.0, 0.7));
    assert!((0..99).all(|_| refractory.next(0.7) == 0.0), "silent for 99 more");
    assert_eq!(refractory.next(0.5), 0.5);
}

#[test]
fn faults_of_each_kind_are_alerts_with_a_reason_and_calm_is_not() {
    let alerts = |fault: &dyn Fn(i64) -> f64| -> Vec<(i64, Reason)> {
        let mut series = Series::default();
        let rows = (0..288 * 45).map(|row| (row, series.next(row * 300, fault(row)).unwrap()));
        rows.filter(|(row, said)| *row >= 288 * 3 && said.alert >= 0.5).map(|(row, said)| (row, said.reason)).collect()
    };
    let from = 288 * 40;
    assert_eq!(alerts(&wave), []);
    assert_eq!(alerts(&|row| if row == from { 300.0 } else { wave(row) }), [(from, Reason::NewLevel)]);
    // Any level from 0 to 100, and then for long only high ones.
    let noise = |row: i64| 10.0 * (wave(288 * row) - 100.0);
    let high = alerts(&|row| if row < from { noise(row) } else { 80.0 + noise(row) / 5.0 });
    let is_new_mean = |(row, reason): &(i64, Reason)| (from..from + 32).contains(row) && *reason == Reason::NewMean;
    assert!(high.iter().any(is_new_mean), "{high:?}");
    let fast = alerts(&|row| if (from..from + 288).contains(&row) { wave(row * 12) } else { wave(row) });
    let is_shape = |(row, reason): &(i64, Reason)| (from..from + 300).contains(row) && *reason == Reason::Shape;
    assert!(fast.iter().any(is_shape), "{fast:?}");
}

#[test]
fn a_value_that_does_not_fit_its_time_of_day_scores_high_and_says_so() {
    let mut series = Series::default();
    (0..288 * 10).for_each(|row| _ = series.next(row * 300, wave(row)));
    let calm = series.clone().next(288 * 10 * 300, wave(0)).unwrap();
    let odd = series.next(288 * 10 * 300, wave(72)).unwrap();
    assert!(calm.score < 0.2 && odd.score > 0.5, "{calm:?} {odd:?}");
    assert!(odd.low <= odd.expected && odd.expected <= odd.high && odd.high < wave(72), "{odd:?}");
    assert!(calm.low < wave(0) && wave(0) < calm.high, "{calm:?}");
}

#[test]
fn what_is_unusable_is_counted_and_changes_nothing_else() {
    let mut series = Series::default();
    (0..500).for_each(|row| _ = series.next(row * 60, wave(row)));
    let before = series.clone();
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e200] {
        assert_eq!(series.next(500 * 60, value), Err(Unusable::NotANumber));
    }
    for at_s in [499 * 60, 0, i64::MIN] {
        assert_eq!(series.next(at_s, 1.0), Err(Unusable::OutOfOrder));
    }
    assert_eq!((series.seen(), series.skipped()), (500, 7));
    let rows: Vec<_> = (500..600).map(|row| (row * 60, wave(row))).collect();
    assert_eq!(said(&mut series, &rows), said(&mut before.clone(), &rows));
}

#[test]
fn state_is_bounded() {
    let mut series = Series::default();
    let size = |series: &Series| serde_json::to_string(series).unwrap().len();
    (0..20_000).for_each(|row| _ = series.next(row * 60, wave(row) * 1e9));
    let full = size(&series);
    (20_000..60_000).for_each(|row| _ = series.next(row * 60, wave(row) * 1e9));
    assert!(size(&series) < full + 500, "{full} and {}", size(&series));
    assert!(series.state_bytes() <= 8_192, "{} bytes", series.state_bytes());
}

/// Values of a kind: usual, extreme, small steps, the same for long, not numbers.
fn value() -> impl Strategy<Value = f64> {
    prop_oneof![8 => -1e3..1e3f64, 2 => any::<f64>(), 2 => Just(5.0), 1 => Just(f64::NAN), 1 => Just(1e150), 1 => Just(-1e-310)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_input_gives_numbers_in_their_bounds(rows in prop::collection::vec((any::<i64>(), value()), 1..400), rising: bool) {
        let mut series = Series::default();
        for (index, (at_s, value)) in (0i64..).zip(&rows) {
            let at_s = if rising { index * 600 } else { *at_s };
            if let Ok(said) = series.next(at_s, *value) {
                prop_assert!((0.0..=1.0).contains(&said.score), "{said:?}");
                prop_assert!(said.alert == 0.0 || (0.5..=1.0).contains(&said.alert), "{said:?}");
                prop_assert!(said.low <= said.expected && said.expected <= said.high, "{said:?}");
            }
        }
        prop_assert_eq!(series.seen() + series.skipped(), rows.len() as u64);
    }

    #[test]
    fn a_series_goes_on_from_its_state_to_the_bit(seed in 0i64..1_000_000, cuts in prop::collection::vec(1usize..3_000, 1..4)) {
        let odd = |row: i64| if (row + seed) % 701 == 0 { 500.0 } else { wave(row + seed) };
        let rows: Vec<_> = (0..3_000).map(|row| (row * 300, odd(row))).collect();
        let whole = said(&mut Series::default(), &rows);
        let (mut series, mut parts, mut from) = (Series::default(), Vec::new(), 0);
        let mut cuts = cuts;
        cuts.sort_unstable();
        for cut in cuts.into_iter().chain([3_000]) {
            parts.extend(said(&mut series, &rows[from..cut]));
            let text = serde_json::to_string(&series).unwrap();
            let read: Series = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(&read, &series);
            (series, from) = (read, cut);
        }
        prop_assert_eq!(parts, whole);
    }
}
