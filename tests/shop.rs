//! The simulated shop: repeatable, true to its rates, and every fault shows and ends.

use evenkeel::shop::{Counts, DAY_S, Fault, FaultKind, Plan, Shop};
use evenkeel_schemas::{Command, CommandKind, CommandState, Coordinates, Event, Mode, Operation, OutcomeStatus, Topic};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::time::Instant;

const SECOND_US: i64 = 1_000_000;

/// A far-future time is refused by who knows the present, not by decoding.
const FAR_FUTURE_US: i64 = 10_000_000_000_000_000;

/// A request as it was seen.
struct Seen {
    arrived_s: i64,
    event_s: i64,
    service: String,
    node: String,
    error: bool,
    latency_us: u32,
}

/// Everything that was seen, times in s after the start.
#[derive(Default)]
struct Log {
    requests: Vec<Seen>,
    gauges: Vec<(i64, String, String, f64, Option<f64>)>,
    heartbeats: Vec<(i64, String)>,
    changes: Vec<(Option<Operation>, String)>,
    rejected: u64,
    far_future: u64,
}

impl Log {
    fn record(&mut self, start_us: i64, at: Coordinates, arrived_us: i64, key: &[u8], payload: &[u8]) {
        let second = |time_us: i64| (time_us - start_us).div_euclid(SECOND_US);
        let key = String::from_utf8(key.to_vec()).expect("keys are names or JSON");
        match Event::decode(at, payload) {
            Event::Request(request) if request.event_time_us > FAR_FUTURE_US => self.far_future += 1,
            Event::Request(request) => {
                assert_eq!(request.node, key);
                assert!(request.event_time_us + i64::from(request.latency_us) <= arrived_us);
                self.requests.push(Seen {
                    arrived_s: second(arrived_us),
                    event_s: second(request.event_time_us),
                    service: request.service.to_string(),
                    node: request.node.to_string(),
                    error: request.is_error(),
                    latency_us: request.latency_us,
                });
            }
            Event::Telemetry(gauge) => {
                self.gauges.push((second(gauge.event_time_us), gauge.node, gauge.name, gauge.value, gauge.limit));
            }
            Event::Probe(probe) => self.heartbeats.push((second(probe.event_time_us), probe.node)),
            Event::Change(change) => self.changes.push((change.map(|change| change.operation), key)),
            Event::Rejected(_) => {
                assert_eq!(at.topic, Topic::Requests, "only requests are hostile");
                self.rejected += 1;
            }
            other => panic!("the shop does not say {other:?}"),
        }
    }

    /// Requests that arrived at `service` (or one of its nodes) in these seconds.
    fn between(&self, whom: &str, from_s: i64, to_s: i64) -> Vec<&Seen> {
        let during = |seen: &&Seen| (from_s..to_s).contains(&seen.arrived_s);
        self.requests.iter().filter(during).filter(|seen| seen.service == whom || seen.node == whom).collect()
    }

    fn error_rate(&self, whom: &str, from_s: i64, to_s: i64) -> f64 {
        let seen = self.between(whom, from_s, to_s);
        seen.iter().filter(|seen| seen.error).count() as f64 / seen.len() as f64
    }

    fn median_us(&self, whom: &str, from_s: i64, to_s: i64) -> f64 {
        let mut latencies = self.between(whom, from_s, to_s).iter().map(|seen| seen.latency_us).collect::<Vec<_>>();
        latencies.sort_unstable();
        f64::from(latencies[latencies.len() / 2])
    }

    fn gauge(&self, node: &str, name: &str, second: i64) -> (f64, Option<f64>) {
        let found = self.gauges.iter().find(|row| row.0 == second && row.1 == node && row.2 == name);
        found.map(|row| (row.3, row.4)).expect("the node spoke in that second")
    }
}

/// Runs a plan to its end; each command is given at its time, s after the start.
fn run(plan: Plan, commands: &[(i64, Command)]) -> (Log, Shop) {
    let (start_us, mut log) = (plan.start_us, Log::default());
    let mut shop = Shop::new(plan);
    let mut offset = 0;
    let mut commands = commands.to_vec();
    commands.sort_by_key(|(at_s, _)| *at_s);
    let stops = commands.into_iter().map(|(at_s, command)| (start_us + at_s * SECOND_US, Some(command)));
    for (until_us, command) in stops.chain([(shop.end_us(), None)]) {
        let mut last_us = start_us;
        shop.advance(until_us, &mut |partition, arrived_us, key: &[u8], payload: &[u8]| {
            assert!((last_us..until_us).contains(&arrived_us), "in order of arrival");
            (last_us, offset) = (arrived_us, offset + 1);
            let at = Coordinates { topic: partition.topic, partition: partition.partition, offset };
            log.record(start_us, at, arrived_us, key, payload);
        });
        if let Some(command) = command {
            let outcome = shop.apply(&command, until_us);
            assert_eq!(outcome.status, OutcomeStatus::Applied, "{outcome:?}");
        }
    }
    (log, shop)
}

fn command(kind: CommandKind, service: &str, target: &str) -> Command {
    Command {
        command_id: format!("CMD-{kind:?}-{target}"),
        kind,
        target: target.to_owned(),
        service: service.to_owned(),
        incident_id: "INC-1".to_owned(),
        mode: Mode::Auto,
        reason: String::new(),
        at_us: 0,
        expires_us: i64::MAX,
        state: CommandState::Issued,
        detail: String::new(),
        decided_us: 0,
        fence: 1,
        by: String::new(),
        params: Default::default(),
        undo: false,
    }
}

/// A minute of the shop in which one fault begins after ten seconds.
fn minute_with(kind: FaultKind, service: &str, node: Option<&str>) -> Plan {
    let plan = Plan { seconds: 60, requests_per_s: 4_000, ..Plan::default() };
    let fault = Fault::new(kind, service, node, plan.start_us + 10 * SECOND_US);
    Plan { faults: vec![fault], ..plan }
}

fn digest(plan: Plan, step_us: i64) -> String {
    let (mut hasher, mut shop) = (Sha256::new(), Shop::new(plan));
    while shop.now_us() < shop.end_us() {
        let to_us = (shop.now_us() + step_us).min(shop.end_us());
        shop.advance(to_us, &mut |partition, arrived_us: i64, key: &[u8], payload: &[u8]| {
            hasher.update([partition.topic as u8, partition.partition as u8]);
            hasher.update(arrived_us.to_le_bytes());
            hasher.update(key);
            hasher.update(payload);
        });
    }
    format!("{:x}", hasher.finalize())
}

#[test]
fn a_seed_gives_the_same_bytes_however_they_are_asked_for() {
    let plan = |seed| Plan { late_per_million: 5_000, ..Plan::demo(seed, 1_767_225_600 * SECOND_US, 60) };
    let once = digest(plan(7), 60 * SECOND_US);
    assert_eq!(once, digest(plan(7), 60 * SECOND_US));
    assert_eq!(once, digest(plan(7), 33_333), "in small steps");
    assert_eq!(once, digest(plan(7), 1_700_001), "in odd steps");
    assert_ne!(once, digest(plan(8), 60 * SECOND_US));
}

#[test]
fn a_day_has_its_rates_and_every_record_is_what_it_says() {
    let plan = Plan {
        seconds: DAY_S as u32,
        requests_per_s: 3_000,
        malformed_per_million: 1_000,
        late_per_million: 10_000,
        ..Plan::default()
    };
    let (log, shop) = run(plan, &[]);
    let counts = shop.counts();
    let near = |what: &str, seen: u64, wanted: f64, tolerance: f64| {
        let off = seen as f64 / wanted - 1.0;
        assert!(off.abs() < tolerance, "{what}: {seen}, wanted {wanted}");
    };
    let wanted = 3_000.0 * DAY_S as f64;
    near("requests", counts.requests, wanted, 0.02);
    near("errors", counts.errors, wanted * 0.002, 0.1);
    near("malformed", counts.malformed, wanted * 0.001, 0.15);
    // Those of the last seconds have not arrived yet.
    near("late", counts.late, wanted * 0.01 * (DAY_S as f64 - 25.5) / DAY_S as f64, 0.05);
    near("changes", counts.changes, 4.0 * 1.1 * DAY_S as f64, 0.15);
    assert_eq!((counts.heartbeats, counts.gauges), (36 * DAY_S as u64, 5 * 36 * DAY_S as u64));
    let lateness = |seen: &&Seen| seen.arrived_s > seen.event_s + 1;
    near("seen late", log.requests.iter().filter(lateness).count() as u64, counts.late as f64, 0.05);
    assert!(log.requests.iter().all(|seen| seen.arrived_s - seen.event_s <= 52));

    let seen = Counts {
        requests: log.requests.len() as u64,
        errors: log.requests.iter().filter(|seen| seen.error).count() as u64,
        malformed: log.rejected + log.far_future,
        gauges: log.gauges.len() as u64,
        heartbeats: log.heartbeats.len() as u64,
        changes: log.changes.len() as u64,
        ..counts
    };
    assert_eq!(seen, counts);
    let share = log.far_future as f64 / counts.malformed as f64;
    assert!((0.1..0.25).contains(&share), "one in six is from the far future");
    let services = log.requests.iter().fold(BTreeMap::new(), |mut services: BTreeMap<&str, u64>, seen| {
        *services.entry(&seen.service).or_default() += 1;
        services
    });
    assert_eq!(services.len(), 12);
    assert!(services.values().all(|requests| *requests as f64 > wanted * 0.025), "{services:?}");
}

#[test]
fn deleted_orders_leave_a_tombstone_with_their_key() {
    let (log, _) = run(Plan { requests_per_s: 0, ..Plan::default() }, &[]);
    let operations = |wanted| log.changes.iter().filter(move |(operation, _)| *operation == wanted).count();
    for wanted in [Operation::Create, Operation::Update, Operation::Delete] {
        assert!(operations(Some(wanted)) > 10, "{wanted:?}");
    }
    assert_eq!(operations(Some(Operation::Delete)), operations(None));
    for pair in log.changes.windows(2).filter(|pair| pair[1].0.is_none()) {
        assert_eq!((pair[0].0, &pair[0].1), (Some(Operation::Delete), &pair[1].1));
    }
    assert_eq!(log.requests.len(), 0);
}

#[test]
fn a_node_fails_until_it_is_tripped_and_comes_back_by_way_of_a_trial() {
    let commands = [
        (20, command(CommandKind::TripCircuit, "checkout", "checkout-2")),
        (30, command(CommandKind::HalfOpen, "checkout", "checkout-2")),
        (45, command(CommandKind::CloseCircuit, "checkout", "checkout-2")),
    ];
    let (log, shop) = run(minute_with(FaultKind::ErrorBurst, "checkout", Some("checkout-2")), &commands);
    assert!(log.error_rate("checkout-2", 0, 10) < 0.03);
    assert!((0.5..1.0).contains(&log.error_rate("checkout-2", 11, 21)));
    assert!(log.error_rate("checkout-1", 11, 21) < 0.03, "its siblings are well");
    assert_eq!(log.between("checkout-2", 21, 31).len(), 0, "no traffic while the circuit is open");
    let share = |from_s, to_s| {
        log.between("checkout-2", from_s, to_s).len() as f64 / log.between("checkout", from_s, to_s).len() as f64
    };
    assert!((0.005..0.06).contains(&share(31, 46)), "a little on trial: {}", share(31, 46));
    assert!((0.28..0.39).contains(&share(46, 60)), "its third again: {}", share(46, 60));
    assert!(log.error_rate("checkout-2", 46, 60) < 0.03);
    let status = &shop.faults()[0];
    let start_us = status.fault.start_us - 10 * SECOND_US;
    assert_eq!(status.started_us, Some(start_us + 10 * SECOND_US));
    assert_eq!(status.healed_us, Some(start_us + 25 * SECOND_US), "asked at 20 s, tripped at 21 s, well at 25 s");
    assert_eq!(status.healed_by.as_deref(), Some("CMD-TripCircuit-checkout-2"));
    assert_eq!(shop.counts().turned_away, 0, "siblings take over");
}

#[test]
fn a_service_fails_until_it_is_tripped_and_turns_requests_away() {
    let commands = [
        (20, command(CommandKind::TripCircuit, "search", "search")),
        (30, command(CommandKind::HalfOpen, "search", "search")),
        (45, command(CommandKind::CloseCircuit, "search", "search")),
    ];
    let (log, shop) = run(minute_with(FaultKind::ErrorBurst, "search", None), &commands);
    assert!((0.55..0.95).contains(&log.error_rate("search", 11, 21)));
    assert_eq!(log.between("search", 21, 31).len(), 0);
    let a_second = |from_s, to_s| log.between("search", from_s, to_s).len() as f64 / (to_s - from_s) as f64;
    assert!((0.03..0.07).contains(&(a_second(31, 46) / a_second(0, 10))));
    assert!(a_second(46, 60) > 0.9 * a_second(0, 10));
    assert!(log.error_rate("search", 46, 60) < 0.01);
    assert!(shop.counts().turned_away > 10_000);
    assert_eq!(shop.faults()[0].healed_by.as_deref(), Some("CMD-TripCircuit-search"));
}

#[test]
fn tripping_every_node_heals_like_tripping_the_service() {
    let nodes = ["mail-1", "mail-2", "mail-3"];
    let commands = nodes.map(|node| (15, command(CommandKind::TripCircuit, "mail", node)));
    let (log, shop) = run(minute_with(FaultKind::ErrorBurst, "mail", None), &commands);
    assert_eq!(log.between("mail", 16, 60).len(), 0);
    assert!(shop.faults()[0].healed_us.is_some());
    let (_, shop) = run(minute_with(FaultKind::ErrorBurst, "mail", None), &commands[..2]);
    assert_eq!(shop.faults()[0].healed_us, None, "the third node still fails");
}

#[test]
fn a_slow_service_is_fast_again_after_scaling() {
    let commands = [(30, command(CommandKind::Scale, "orders", "orders"))];
    let (log, shop) = run(minute_with(FaultKind::LatencyStep, "orders", None), &commands);
    let before_us = log.median_us("orders", 0, 10);
    assert!((3.5..4.5).contains(&(log.median_us("orders", 11, 31) / before_us)));
    assert!((0.9..1.1).contains(&(log.median_us("orders", 33, 60) / before_us)));
    assert!(
        (0.9..1.1).contains(&(log.median_us("cart", 11, 31) / log.median_us("cart", 0, 10))),
        "others do not notice"
    );
    assert_eq!(shop.faults()[0].healed_by.as_deref(), Some("CMD-Scale-orders"));
}

#[test]
fn a_pool_runs_full_then_requests_wait_until_scaling() {
    let commands = [(30, command(CommandKind::Scale, "stock", "stock"))];
    let (log, shop) = run(minute_with(FaultKind::PoolExhaustion, "stock", None), &commands);
    let used = |second| log.gauge("stock-2", "pool.used", second).0;
    assert!((0..10).all(|second| used(second) <= 8.0));
    assert!((11.0..=16.0).contains(&used(15)), "half way: {}", used(15));
    assert_eq!(log.gauge("stock-2", "pool.used", 22), (20.0, Some(20.0)));
    let waiting = |second| log.gauge("stock-2", "pool.waiting", second).0;
    assert_eq!(waiting(12), 0.0);
    assert!(waiting(22) >= 3.0 && waiting(28) > waiting(22));
    let before_us = log.median_us("stock", 0, 10);
    assert!((0.9..1.1).contains(&(log.median_us("stock", 11, 20) / before_us)), "it is not slow while it fills");
    assert!(log.median_us("stock", 27, 31) > 3.0 * before_us);
    assert!((0.9..1.1).contains(&(log.median_us("stock", 33, 60) / before_us)));
    assert!(log.gauge("stock-2", "pool.used", 40).0 <= 8.0);
    assert_eq!(log.gauge("stock-2", "pool.used", 40).1, Some(30.0), "scaling raised the limit");
    assert_eq!(waiting(40), 0.0);
    assert_eq!(shop.faults()[0].healed_by.as_deref(), Some("CMD-Scale-stock"));
}

#[test]
fn a_dead_node_is_silent_until_it_is_restarted() {
    let commands = [(30, command(CommandKind::RestartNode, "cart", "cart-3"))];
    let (log, shop) = run(minute_with(FaultKind::DeadNode, "cart", Some("cart-3")), &commands);
    let spoke = |from_s: i64, to_s: i64| {
        let during = |second: i64| (from_s..to_s).contains(&second);
        let gauges = log.gauges.iter().filter(|row| during(row.0) && row.1 == "cart-3").count();
        let heartbeats = log.heartbeats.iter().filter(|row| during(row.0) && row.1 == "cart-3").count();
        (log.between("cart-3", from_s, to_s).len() > 100, gauges, heartbeats)
    };
    assert_eq!(spoke(0, 10), (true, 50, 10));
    assert_eq!(spoke(10, 33), (false, 0, 0));
    assert_eq!(log.between("cart-3", 10, 33).len(), 0);
    assert_eq!(spoke(33, 60), (true, 135, 27));
    let a_second = |from_s, to_s| log.between("cart", from_s, to_s).len() as f64 / (to_s - from_s) as f64;
    assert!(a_second(10, 33) > 0.95 * a_second(0, 10), "its traffic goes to the siblings");
    let status = &shop.faults()[0];
    assert_eq!(status.healed_by.as_deref(), Some("CMD-RestartNode-cart-3"));
    assert_eq!(status.healed_us, Some(status.fault.start_us + 23 * SECOND_US), "asked at 30 s, back at 33 s");
}

#[test]
fn jitter_passes_by_itself() {
    let (log, shop) = run(minute_with(FaultKind::Jitter, "catalog", None), &[]);
    let before_us = log.median_us("catalog", 0, 10);
    assert!((2.7..3.3).contains(&(log.median_us("catalog", 10, 12) / before_us)));
    assert!((0.9..1.1).contains(&(log.median_us("catalog", 12, 60) / before_us)));
    let status = &shop.faults()[0];
    assert_eq!((status.healed_us, &status.healed_by), (Some(status.fault.start_us + 2 * SECOND_US), &None));
}

#[test]
fn faults_last_without_their_command() {
    for kind in FaultKind::ALL.into_iter().filter(|kind| kind.remedy().is_some()) {
        let wrong = CommandKind::CloseCircuit;
        let (_, shop) = run(minute_with(kind, "images", None), &[(20, command(wrong, "images", "images"))]);
        assert_eq!(shop.faults()[0].healed_us, None, "{kind:?}");
    }
}

#[test]
fn a_demo_with_an_able_operator_is_well_at_its_end() {
    for seed in 0..5 {
        let plan = Plan { requests_per_s: 200, ..Plan::demo(seed, 1_767_225_600 * SECOND_US, 240) };
        let remedies = plan.faults.iter().filter_map(|fault| {
            let target = fault.node.as_deref().unwrap_or(&fault.service);
            let at_s = (fault.start_us - plan.start_us) / SECOND_US + 8;
            Some((at_s, command(fault.expects?, &fault.service, target)))
        });
        let remedies = remedies.collect::<Vec<_>>();
        let (_, shop) = run(plan, &remedies);
        for status in shop.faults() {
            assert!(status.healed_us.is_some(), "seed {seed}: {status:?}");
            assert_eq!(status.healed_by.is_some(), status.fault.must_page);
        }
    }
}

#[test]
fn more_routes_on_demand_do_not_change_the_load() {
    let plan = Plan { keys: 10_000, seconds: 20, requests_per_s: 20_000, ..Plan::default() };
    let start_us = plan.start_us;
    let (mut shop, mut routes) = (Shop::new(plan), std::collections::BTreeSet::new());
    shop.advance(start_us + 20 * SECOND_US, &mut |partition, _, _: &[u8], payload: &[u8]| {
        let at = Coordinates { topic: partition.topic, partition: partition.partition, offset: 0 };
        if let Event::Request(request) = Event::decode(at, payload) {
            routes.insert((request.service.into_owned(), request.route.into_owned()));
        }
    });
    assert!((9_000..10_100).contains(&routes.len()), "{} of 10,000 were seen", routes.len());
}

#[test]
fn how_fast_it_is() {
    let plan = Plan { seconds: 2, requests_per_s: 1_000_000, late_per_million: 200, ..Plan::default() };
    let end_us = plan.start_us + 2 * SECOND_US;
    let (mut shop, mut bytes) = (Shop::new(plan), 0);
    let begun = Instant::now();
    shop.advance(end_us, &mut |_, _, key: &[u8], payload: &[u8]| bytes += key.len() + payload.len());
    let took = begun.elapsed().as_secs_f64();
    let requests = shop.counts().requests as f64;
    println!("{:.2} M requests/s, {:.0} bytes each", requests / took / 1e6, bytes as f64 / requests);
}
