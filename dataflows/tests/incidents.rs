//! Incidents of many services, from requests to records: one for what has one root, amended and not paged anew.
#![expect(clippy::unwrap_used, reason = "tests")]

mod common;
#[path = "common/system.rs"]
mod system;

use common::{EpochInput, START_US, assert_same, digest, run};
use evenkeel_dataflows::detectors::FlapLimits;
use evenkeel_dataflows::{Changes, Resume, TICK_US, Tuning};
use evenkeel_schemas::{Clue, Command, Dataset, Dimension, Incident, IncidentState, Notice};
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};
use system::{System, WARM_S, tuning};

fn outputs<T: DeserializeOwned>(changes: &[Changes], dataset: Dataset) -> Vec<T> {
    let all = changes.iter().flat_map(|changes| &changes.outputs).filter(|output| output.dataset == dataset);
    all.map(|output| serde_json::from_slice(&output.value).unwrap()).collect()
}

fn incidents(changes: &[Changes]) -> Vec<Incident> {
    outputs(changes, Dataset::Incidents)
}

/// The last word about each incident.
fn last(said: &[Incident]) -> BTreeMap<String, Incident> {
    said.iter().map(|incident| (incident.incident_id.clone(), incident.clone())).collect()
}

/// Incidents that stand by themselves in the end, or were resolved by themselves.
fn own(said: &[Incident]) -> Vec<Incident> {
    last(said).into_values().filter(|incident| incident.merged_into.is_empty()).collect()
}

fn pages(said: &[Incident]) -> Vec<(Notice, String)> {
    said.iter().filter(|it| it.notify).map(|it| (it.notice, it.service.clone())).collect()
}

/// A tree: each service but the last is called by, or calls, the one above it.
fn tree(services: usize) -> Vec<(usize, usize)> {
    // 0 is the root of the trouble: everybody's calls end there.
    (1..services).map(|service| (service, (service - 1) / 3)).collect()
}

/// A service fails from its second on, callers later than whom they call.
fn cascade(second: i64, service: usize, wait_s: i64) -> u64 {
    let depth = (service as f64 * 2.0 + 1.0).log(3.0).floor() as i64;
    if second >= WARM_S + depth * wait_s { 90 } else { 0 }
}

#[test]
fn a_cascade_over_forty_services_is_one_incident_with_the_right_root() {
    let said = incidents(&System::new(40, tree(40), &|second, service, _, _| cascade(second, service, 1)).run());
    let own = own(&said);
    assert_eq!(own.len(), 1, "{own:#?}");
    let incident = &own[0];
    assert_eq!((incident.service.as_str(), incident.affected, incident.services.len()), ("s000", 40, 40));
    let first = &incident.candidates[0];
    assert_eq!((first.service.as_str(), first.hops), ("s000", 0));
    assert_eq!(first.inference, [Clue::NoStandingCallee, Clue::EarliestStart]);
    assert!(first.evidence.contains("errors") && incident.candidates[1].inference.contains(&Clue::CallsStanding));
    assert_eq!(pages(&said), [(Notice::Opened, "s000".to_owned())]);
}

#[test]
fn a_root_that_is_found_last_amends_the_incident_and_is_paged_once() {
    // Callers fail first: the root moves deeper with every second.
    let failing = |second, service: usize, _: &str, _: &str| if second >= WARM_S + 3 - service as i64 { 90 } else { 0 };
    let said = incidents(&System { seconds: 26, ..System::new(4, tree_chain(4), &failing) }.run());
    let own = own(&said);
    assert_eq!(own.len(), 1, "{own:#?}");
    assert_eq!((own[0].service.as_str(), own[0].affected), ("s000", 4));
    assert!(said.iter().filter(|it| it.notice == Notice::RootChanged && !it.notify).count() >= 2, "{said:#?}");
    assert_eq!(pages(&said), [(Notice::Opened, "s003".to_owned()), (Notice::RootChanged, "s000".to_owned())]);
}

fn tree_chain(services: usize) -> Vec<(usize, usize)> {
    (1..services).map(|service| (service, service - 1)).collect()
}

#[test]
fn four_hundred_services_that_fail_and_heal_are_one_incident_and_at_most_three_pages() {
    let failing = |second, service: usize, _: &str, _: &str| {
        // Nobody knows in which order it is seen.
        let begins = WARM_S + (service * 7 % 5) as i64;
        if second >= begins && second < WARM_S + 9 { 90 } else { 0 }
    };
    let changes = System { seconds: 45, ..System::new(400, tree(400), &failing) }.run();
    let said = incidents(&changes);
    let own = own(&said);
    assert_eq!(own.len(), 1, "{:#?}", own.iter().map(|it| (&it.incident_id, it.affected)).collect::<Vec<_>>());
    assert_eq!(own[0].state, IncidentState::Resolved);
    let most = said.iter().map(|it| it.affected).max().unwrap();
    let pages = pages(&said);
    assert!(most == 400 && pages.len() <= 3 && pages.len() >= 2, "{most} {pages:?}");
    assert!(said.iter().all(|it| it.services.len() <= 50 && it.victims.len() <= 20 && it.candidates.len() <= 5));
    // Every service was answered for itself, under an incident that was said.
    let commands = outputs::<Command>(&changes, Dataset::Commands);
    let known = said.iter().map(|it| it.incident_id.as_str()).collect::<BTreeSet<_>>();
    assert_eq!(commands.iter().map(|it| it.service.as_str()).collect::<BTreeSet<_>>().len(), 400);
    assert!(commands.iter().all(|it| known.contains(it.incident_id.as_str())));
}

#[test]
fn services_that_fail_in_one_region_alone_are_one_zone_outage() {
    let failing = |second, service, region: &str, _: &str| match service {
        0..6 if second >= WARM_S && region == "eu" => 95,
        _ => 0,
    };
    let said = incidents(&System::new(8, [], &failing).run());
    let own = own(&said);
    assert_eq!(own.len(), 1, "{own:#?}");
    let shared = &own[0].shared[0];
    assert_eq!(
        (own[0].affected, shared.dimension, shared.value.as_str(), shared.services),
        (6, Dimension::Region, "eu", 6)
    );
    assert!(own[0].candidates[0].inference.contains(&Clue::SharesValue));
}

#[test]
fn the_last_service_of_a_zone_is_no_page_of_its_own_and_what_is_not_of_it_is_paged_later() {
    let late = WARM_S + 7;
    let failing = |second, service, region: &str, _: &str| match service {
        0..5 if second >= WARM_S && region == "eu" => 95,
        5 if second >= late && region == "eu" => 95,
        6 if second >= late => 95,
        _ => 0,
    };
    let said = incidents(&System { seconds: 20, ..System::new(8, [], &failing) }.run());
    let own = own(&said);
    assert_eq!(own.iter().map(|it| it.affected).collect::<BTreeSet<_>>(), [1, 6].into(), "{own:#?}");
    let paged = pages(&said).into_iter().map(|(_, service)| service).collect::<Vec<_>>();
    assert_eq!((paged.len(), paged[1].as_str()), (2, "s006"), "{paged:?}");
}

#[test]
fn services_that_fail_everywhere_share_nothing_and_are_apart() {
    let said = incidents(&System::new(4, [], &|second, _, _, _| if second >= WARM_S { 95 } else { 0 }).run());
    let own = own(&said);
    assert_eq!((own.len(), own.iter().filter(|it| it.shared.is_empty()).count()), (4, 4), "{own:#?}");
    // The first is paged at once, the others once it is clear that they stand by themselves.
    let paged = said.iter().filter(|it| it.notify).map(|it| it.state).collect::<Vec<_>>();
    assert_eq!((paged.len(), paged[0]), (4, IncidentState::Open));
    assert!(paged[1..].iter().all(|state| *state == IncidentState::Update));
}

#[test]
fn services_that_fail_for_one_tenant_alone_are_one_incident_if_tenants_are_counted() {
    let failing = |second, _: usize, region: &str, _: &str| if second >= WARM_S && region == "eu" { 95 } else { 0 };
    let epochs = System::new(4, [], &failing).epochs();
    let key_sets = [Dimension::Node, Dimension::Tenant].map(|other| vec![Dimension::Service, other]);
    let tuning = Tuning { key_sets: [vec![vec![Dimension::Service]], key_sets.to_vec()].concat(), ..tuning() };
    let own = own(&incidents(&run(&tuning, 1, 10_000, Resume::default(), &epochs)));
    assert_eq!((own.len(), own[0].affected), (1, 4), "{own:#?}");
    assert_eq!((own[0].shared[0].dimension, own[0].shared[0].value.as_str()), (Dimension::Tenant, "of eu"));
}

#[test]
fn a_canary_is_named_by_its_version_and_its_deploy() {
    let failing = |second, service, _: &str, version: &str| {
        if service == 1 && second >= WARM_S && version == "v2" { 95 } else { 0 }
    };
    let mut system = System::new(3, tree_chain(3), &failing);
    let deploy = |service: &str| {
        format!("\"order\":\"change\",\"by\":\"ci\",\"service\":\"{service}\",\"what\":\"deploy\",\"version\":\"v2\"")
    };
    system.orders = vec![(3, deploy("s001")), (4, deploy("s000")), (4, deploy("s002"))];
    let said = incidents(&system.run());
    let own = own(&said);
    assert_eq!((own.len(), own[0].service.as_str()), (1, "s001"), "{own:#?}");
    assert_eq!((own[0].shared[0].dimension, own[0].shared[0].value.as_str()), (Dimension::Version, "v2"));
    // Its own and that of whom it calls; that of its caller is no cause.
    let named = own[0]
        .changes
        .iter()
        .map(|it| (it.service.as_str(), it.what.as_str(), it.version.as_str()))
        .collect::<Vec<_>>();
    assert_eq!(named, [("s000", "deploy", "v2"), ("s001", "deploy", "v2")]);
    assert!(own[0].candidates[0].inference.contains(&Clue::ChangedBefore));
    assert_eq!(own[0].victims, ["s002"]);
}

#[test]
fn calls_that_only_requests_show_join_a_cascade_and_are_kept_over_a_restart() {
    let cascade = |second, service, _: &str, _: &str| cascade(second, service, 1);
    let system = System { shown: true, seconds: 24, ..System::new(40, tree(40), &cascade) };
    let epochs = system.epochs();
    let calm = run(&tuning(), 1, 10_000, Resume::default(), &epochs);
    let said = incidents(&calm);
    let own = own(&said);
    assert_eq!((own.len(), own[0].service.as_str(), own[0].affected), (1, "s000", 40), "{own:#?}");
    assert!(pages(&said).len() <= 3, "{:?}", pages(&said));
    for workers in [2, 4] {
        let other = run(&tuning(), workers, 7, Resume::default(), &epochs);
        assert_eq!(digest(&other), digest(&calm), "{workers} workers");
    }
    let cut = epochs.len() / 2;
    let resume = common::resume(&tuning(), &calm[..cut]);
    let again = resume.bindings[0].epoch.0 as usize + 1;
    let rest = run(&tuning(), 2, 500, resume, &epochs[again..]);
    rest.iter().zip(&calm[cut..]).for_each(|(after, before)| assert_same(after, before, cut));
}

#[test]
fn a_call_that_somebody_ended_is_not_believed_from_requests() {
    let failing = |second, service, _: &str, _: &str| if second >= WARM_S && service < 2 { 90 } else { 0 };
    let order = |order: &str| format!("\"order\":\"{order}\",\"by\":\"mesh\",\"caller\":\"s001\",\"callee\":\"s000\"");
    let shown = System { shown: true, seconds: 24, ..System::new(2, [(1, 0)], &failing) };
    assert_eq!(own(&incidents(&shown.run())).len(), 1);
    let ended = System { orders: vec![(4, order("unlink"))], ..shown };
    assert_eq!(own(&incidents(&ended.run())).len(), 2);
    let back = System { orders: vec![(4, order("unlink")), (6, order("link"))], ..ended };
    assert_eq!(own(&incidents(&back.run())).len(), 1);
}

#[test]
fn an_edge_that_heals_splits_the_group_and_pages_nobody() {
    let failing = |second, service, _: &str, _: &str| if second >= WARM_S && service != 2 { 90 } else { 0 };
    let mut system = System { seconds: 20, ..System::new(5, [(1, 0), (3, 1), (4, 1)], &failing) };
    system.orders =
        vec![(12, "\"order\":\"unlink\",\"by\":\"mesh\",\"caller\":\"s001\",\"callee\":\"s000\"".to_owned())];
    let said = incidents(&system.run());
    let shape = own(&said).iter().map(|it| (it.service.clone(), it.affected)).collect::<BTreeSet<_>>();
    assert_eq!(shape, BTreeSet::from([("s000".to_owned(), 1), ("s001".to_owned(), 3)]), "{said:#?}");
    assert_eq!(pages(&said).len(), 1, "{:?}", pages(&said));
    assert!(said.iter().any(|it| it.notice == Notice::Split && it.state == IncidentState::Open));
}

/// What is said of a service that fails for eight seconds of every thirty, for eight minutes, and then no more.
fn comes_and_goes() -> (Tuning, Vec<EpochInput>) {
    let failing =
        |second: i64, _, _: &str, _: &str| if (WARM_S..480).contains(&second) && second % 30 < 8 { 90 } else { 0 };
    let mut tuning = tuning();
    tuning.detection.flap = FlapLimits { max_fires: 3, within_s: 600, calm_s: 60 };
    tuning.recovery.linger_s = 5;
    (tuning, System { seconds: 570, ..System::new(1, [], &failing) }.epochs())
}

#[test]
fn a_service_that_flaps_is_one_incident_until_it_is_calm() {
    let (tuning, epochs) = comes_and_goes();
    let said = incidents(&run(&tuning, 1, 10_000, Resume::default(), &epochs));
    let notices = said.iter().filter(|it| it.notify).map(|it| it.notice).collect::<Vec<_>>();
    let once = [Notice::Opened, Notice::Resolved];
    assert_eq!(notices, [&once[..], &once, &once, &[Notice::Flapping, Notice::Resolved]].concat(), "{notices:?}");
    let last = said.last().unwrap();
    let ended_s = (last.at_us - START_US) / TICK_US;
    // The last failure ends in the 458th second; what stands lingers, and is calm for a minute.
    assert!((520..560).contains(&ended_s), "it ended after {ended_s} s");
}

#[test]
fn what_flaps_is_kept_over_a_restart() {
    let (tuning, epochs) = comes_and_goes();
    let calm = run(&tuning, 1, 10_000, Resume::default(), &epochs);
    assert_eq!(digest(&run(&tuning, 2, 70, Resume::default(), &epochs)), digest(&calm));
    for cut in (900..epochs.len()).step_by(701) {
        let resume = common::resume(&tuning, &calm[..cut]);
        let again = resume.bindings[0].epoch.0 as usize + 1;
        let rest = run(&tuning, 1, 500, resume, &epochs[again..]);
        rest.iter().zip(&calm[cut..]).for_each(|(after, before)| assert_same(after, before, cut));
    }
}

#[test]
fn a_hub_that_is_well_joins_nobody() {
    let failing = |second, service, _: &str, _: &str| if second >= WARM_S && service > 0 { 90 } else { 0 };
    let calls = (1..6).flat_map(|service| [(service, 0), (0, service)]);
    let own = own(&incidents(&System::new(6, calls, &failing).run()));
    assert_eq!(own.len(), 5);
    assert!(own.iter().all(|it| it.victims == ["s000"]));
}

#[test]
fn late_requests_page_nobody_anew() {
    // In the ninth second those of three seconds before come in, of a service that stands and of one that does not.
    let late_s = |second, service| if second == 9 && service < 2 { 3 } else { 0 };
    let failing = |second, service, _: &str, _: &str| if second >= WARM_S && service < 2 { 90 } else { 0 };
    let calm = pages(&incidents(&System::new(3, tree_chain(3), &failing).run()));
    let late = System { late_s: &late_s, ..System::new(3, tree_chain(3), &failing) };
    let said = incidents(&late.run());
    assert_eq!((pages(&said), own(&said).len()), (calm, 1));
}

#[test]
fn groups_come_back_after_a_restart_and_are_the_same_for_any_number_of_workers() {
    let failing = |second, service, region: &str, _: &str| match service {
        9..15 if second > WARM_S && second < WARM_S + 8 && region == "eu" => 95,
        9.. => 0,
        _ if second < WARM_S + 8 => cascade(second, service, 1),
        _ => 0,
    };
    let mut system = System { seconds: 45, ..System::new(16, tree(9), &failing) };
    let deploy = "\"order\":\"change\",\"by\":\"ci\",\"service\":\"s000\",\"what\":\"deploy\"".to_owned();
    let unlink = "\"order\":\"unlink\",\"by\":\"mesh\",\"caller\":\"s001\",\"callee\":\"s000\"".to_owned();
    system.orders = vec![(4, deploy), (9, unlink)];
    let epochs = system.epochs();
    let tuning = tuning();
    let calm = run(&tuning, 1, 10_000, Resume::default(), &epochs);
    let notices = incidents(&calm).iter().map(|it| it.notice).collect::<BTreeSet<_>>();
    for notice in [Notice::Opened, Notice::Joined, Notice::Split, Notice::Left, Notice::Resolved] {
        assert!(notices.contains(&notice), "{notice:?} is not in {notices:?}");
    }
    for workers in [2, 4] {
        assert_eq!(digest(&run(&tuning, workers, 7, Resume::default(), &epochs)), digest(&calm), "{workers} workers");
    }
    for cut in (30..epochs.len()).step_by(23) {
        let resume = common::resume(&tuning, &calm[..cut]);
        let again = resume.bindings[0].epoch.0 as usize + 1;
        let rest = run(&tuning, 1 + cut % 3, 500, resume, &epochs[again..]);
        rest.iter().zip(&calm[cut..]).for_each(|(after, before)| assert_same(after, before, cut));
    }
}
