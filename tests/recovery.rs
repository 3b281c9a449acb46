//! What `cargo bench --bench recovery` measures, in short: the loop is closed, and what is beyond commands goes to a person.

#[path = "../benches/recovery/incident.rs"]
mod incident;
#[path = "../benches/recovery/play.rs"]
mod play;
#[path = "../benches/scenarios/simulation/random.rs"]
#[allow(dead_code, reason = "the scenarios use more of it")]
mod random;
#[path = "../benches/recovery/users.rs"]
mod users;

use evenkeel::shop::{Fault, FaultKind};
use evenkeel_schemas::Mode;
use incident::Incident;
use play::{Course, play};

const MINUTE_US: i64 = 60_000_000;

/// A fault of `orders` at its usual strength, a person who takes six minutes, and what comes of it.
fn course(kind: FaultKind, node: Option<&str>, helps: bool, mode: Mode) -> Course {
    let mut incident = Incident::draw(7, 0, 30.0);
    incident.person_us = 6 * MINUTE_US;
    let fault = Fault::new(kind, "orders", node, incident.fault().start_us);
    let expects = fault.expects.filter(|_| helps);
    incident.plan.faults = vec![Fault { expects, ..fault }];
    play(&incident, mode)
}

#[test]
fn an_incident_lasts_until_a_person_comes_and_with_automation_for_seconds() {
    let off = course(FaultKind::ErrorBurst, Some("orders-2"), true, Mode::Observe);
    let on = course(FaultKind::ErrorBurst, Some("orders-2"), true, Mode::Auto);
    assert_eq!((off.page_us, off.commands, off.command_us), (on.page_us, 0, None), "{off:?} {on:?}");
    let (paged_us, well_us) = (off.page_us.expect("somebody is paged"), off.well_us.expect("it ends"));
    let person_us = off.person_us.expect("a person comes");
    assert!((0..5_000_000).contains(&paged_us), "{off:?}");
    assert!((0..1_000_000).contains(&(person_us - paged_us - 6 * MINUTE_US)), "{off:?}");
    assert!((person_us - 1_000_000..person_us + 3_000_000).contains(&well_us) && !off.is_automatic(), "{off:?}");
    assert!(on.is_automatic() && on.person_us.is_none() && on.well_us < Some(10_000_000), "{on:?}");
    assert!(on.commands == 3 && on.wrong == 0 && on.escalated_us.is_none(), "tripped, tried, closed: {on:?}");
    assert!(on.failed > 0 && off.failed > 20 * on.failed, "{off:?} {on:?}");
    assert_eq!(course(FaultKind::ErrorBurst, Some("orders-2"), true, Mode::Auto), on, "it plays the same again");
}

#[test]
fn what_no_command_helps_is_given_up_and_lasts_until_the_person_comes() {
    let on = course(FaultKind::LatencyStep, None, false, Mode::Auto);
    let escalated_us = on.escalated_us.expect("futile commands are given up");
    assert!(on.commands == 3 && escalated_us > 3 * MINUTE_US, "three times a minute to see whether it helped: {on:?}");
    assert!(!on.is_automatic() && on.well_us > on.person_us.map(|at_us| at_us - 1_000_000), "{on:?}");
}
