//! How many requests there are is judged, too: a drop, silence, a trickle.

mod common;
#[path = "common/world.rs"]
mod world;

use common::{Dice, START_US, assert_same, digest, resume, run};
use evenkeel_dataflows::{Changes, TICK_US, Tuning};
use evenkeel_schemas::{Decision, Detector};
use world::{World, calm, verdicts};

/// Fires and clears of a detector: second, decision, reason.
fn edges(changes: &[Changes], detector: Detector) -> Vec<(i64, Decision, String)> {
    let verdicts =
        verdicts(changes, 0).into_iter().filter(|it| it.detector == detector && it.decision != Decision::Hold);
    verdicts.map(|it| ((it.at_us - START_US) / TICK_US, it.decision, it.reason)).collect()
}

fn world(requests: impl Fn(i64, &mut Dice) -> Vec<(u64, bool)> + 'static) -> World {
    World { seconds: 1_500, requests: Box::new(requests), ..World::default() }
}

#[test]
fn silence_is_found_by_the_second_and_ends_with_the_first_request() {
    let changes = world(|second, dice| if (900..1_000).contains(&second) { Vec::new() } else { calm(dice) }).run(1);
    let edges = edges(&changes, Detector::Traffic);
    let [(fired, Decision::Fire, fire), (cleared, Decision::Clear, clear)] = edges.as_slice() else {
        panic!("{edges:?}");
    };
    assert_eq!((fire.as_str(), clear.as_str()), ("drop_to_zero", "traffic_returned"));
    assert!((910..914).contains(fired) && (1_000..1_004).contains(cleared), "{edges:?}");
}

#[test]
fn a_drop_is_found_by_the_minute_and_steady_traffic_is_none() {
    let less = |second: i64, dice: &mut Dice| {
        let mut requests = calm(dice);
        requests.retain(|_| !(900..1_200).contains(&second) || dice.below(10) < 6);
        requests
    };
    let edges = edges(&world(less).run(1), Detector::Traffic);
    let [(fired, Decision::Fire, fire), (cleared, Decision::Clear, _)] = edges.as_slice() else { panic!("{edges:?}") };
    assert_eq!(fire, "drop");
    assert!((960..=1_080).contains(fired) && (1_260..=1_440).contains(cleared), "{edges:?}");
}

#[test]
fn a_new_level_is_usual_after_an_hour_and_until_then_what_it_was_before_is() {
    let slower = |second: i64, dice: &mut Dice| {
        calm(dice).into_iter().map(|(us, fails)| (if second >= 1_200 { us * 3 } else { us }, fails)).collect()
    };
    let edges = edges(&World { seconds: 7_200, ..world(slower) }.run(1), Detector::Latency);
    let [(fired, Decision::Fire, _), (cleared, Decision::Clear, reason)] = edges.as_slice() else {
        panic!("{edges:?}")
    };
    assert_eq!(reason, "new_level");
    assert!((1_212..1_220).contains(fired) && *cleared - *fired >= 3_600 && *cleared < 4_830, "{edges:?}");
}

#[test]
fn a_trickle_is_judged_over_minutes() {
    let trickle = |second: i64, dice: &mut Dice| match second % 4 {
        0 => vec![(3_000 + dice.below(1_000), second >= 1_200); 2],
        _ => Vec::new(),
    };
    let edges = edges(&world(trickle).run(1), Detector::ErrorRate);
    let [(fired, Decision::Fire, reason)] = edges.as_slice() else { panic!("{edges:?}") };
    assert_eq!(reason, "above_baseline");
    assert!((1_204..1_260).contains(fired), "{edges:?}");
}

#[test]
fn a_restart_in_a_silence_changes_nothing() {
    let world = world(|second, dice| if (400..440).contains(&second) { Vec::new() } else { calm(dice) });
    let epochs = &world.epochs()[..500];
    let calm = run(&Tuning::default(), 1, 500, evenkeel_dataflows::Resume::default(), epochs);
    assert!(!edges(&calm, Detector::Traffic).is_empty());
    for cut in [405, 410, 411, 412, 425, 441, 443] {
        let resume = resume(&Tuning::default(), &calm[..cut]);
        let from = resume.bindings.first().map_or(0, |binding| binding.epoch.0 as usize);
        let after = run(&Tuning::default(), 2, 500, resume, &epochs[from..]);
        after.iter().zip(&calm[cut..]).for_each(|(after, before)| assert_same(after, before, cut));
        assert_eq!(after.len(), calm.len() - cut);
    }
    assert_eq!(digest(&calm), digest(&run(&Tuning::default(), 4, 7, evenkeel_dataflows::Resume::default(), epochs)));
}

#[test]
fn a_key_whose_requests_end_is_cleared_a_minute_after_the_last() {
    let world = World { seconds: 200, ..world(|second, _| if second == 35 { vec![(900, true); 200] } else { vec![] }) };
    let edges = edges(&world.run(1), Detector::ErrorBurst);
    let [(fired, Decision::Fire, _), (cleared, Decision::Clear, reason)] = &edges[..] else { panic!("{edges:?}") };
    assert!((35..=36).contains(fired) && reason == "no_traffic", "{edges:?}");
    // The ten seconds that the shortest window still shows them, the minute, and a tick.
    assert!((96..=108).contains(cleared), "{edges:?}");
}
