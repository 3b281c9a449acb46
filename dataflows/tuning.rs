//! Every number the core goes by, in one place; two runs with equal tuning and equal input say the same.

use crate::actions::{self, Action, Answers};
use crate::approvals::{self, Approvals};
use crate::roster::Roster;
use evenkeel_detectors::Detection;
use evenkeel_schemas::{Detector, Dimension, Mode};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Microseconds in a tick of event time: one second.
pub const TICK_US: i64 = 1_000_000;

/// How far ahead of the present an event may lie: clocks differ, µs.
pub const FUTURE_TOLERANCE_US: i64 = 5 * TICK_US;

/// Keys are spread over this many shards; worker `i` of `n` owns those with `shard mod n = i`.
pub const SHARDS: u64 = 64;

/// Shards close a tick so long after one another, µs: if all keys closed at once, every command would have to wait for
/// that once a second.
pub const SHARD_DELAY_US: i64 = 4_000;

/// A rolling window: the last `length_s` seconds, rounded up to whole slots of `slot_s` at its tail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowSpec {
    /// Its name in outputs.
    pub name: &'static str,
    /// Its length, s.
    pub length_s: i64,
    /// The width of the slots it is made of, s: one of [`SLOT_WIDTHS_S`].
    pub slot_s: i64,
}

/// Widths of closed slots, s; each is a multiple of the one before.
pub const SLOT_WIDTHS_S: [i64; 3] = [1, 10, 60];

/// The rolling windows, shortest first. Their head moves every second; their tail by whole slots, so that an hour is
/// held in 60 slots and not in 3,600.
pub const WINDOWS: [WindowSpec; 4] = [
    WindowSpec { name: "10s", length_s: 10, slot_s: 1 },
    WindowSpec { name: "1m", length_s: 60, slot_s: 1 },
    WindowSpec { name: "5m", length_s: 300, slot_s: 10 },
    WindowSpec { name: "1h", length_s: 3600, slot_s: 60 },
];

/// What can be set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tuning {
    /// By which dimensions requests are counted; each set costs one tally a request.
    pub key_sets: Vec<Vec<Dimension>>,
    /// Most keys held at once; beyond it new ones are counted together under the service `~other`.
    pub max_keys: usize,
    /// How long after its end a tick stays open for stragglers, ms; in shard `s`, `s` times [`SHARD_DELAY_US`] longer.
    pub grace_ms: i64,
    /// While the shortest of its windows holds something, a key's baseline is said every so often, s.
    pub baseline_every_s: i64,
    /// The windows of which a baseline speaks, by name, shortest first; fewer of them cost less, and with many keys that
    /// are spoken of often it is they that cost most.
    pub baseline_windows: Vec<String>,
    /// Number of audit partitions; fixed for the life of a log.
    pub audit_partitions: u32,
    /// The origin in the genesis of the audit chain.
    pub origin: String,
    /// The table that holds a copy of the audit log, as changes name it: `database.schema.table`; empty if there is none.
    /// Copies are not audited again; any other change of it is a finding.
    pub mirror_table: String,
    /// Objectives: the share of requests that should be good, parts per million, by service; `*` for those without one of
    /// their own. Without any, error budgets are not judged.
    pub objectives: BTreeMap<String, i64>,
    /// What is done with commands until an order says otherwise.
    pub mode: Mode,
    /// The same by service, for those that differ.
    pub modes: BTreeMap<String, Mode>,
    /// Whom commands need before they are issued, by service, then by kind; `*`: those without a rule of their own.
    pub approvals: Approvals,
    /// Who people are.
    pub roster: Roster,
    /// What is asked for when a detector finds something, by service (`*`: all without their own) and detector: the first
    /// of at most four actions that can be done.
    pub answers: Answers,
    /// The detectors' limits.
    pub detection: Detection,
    /// The recovery rules' times.
    pub recovery: Recovery,
}

/// The recovery rules' times.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recovery {
    /// An incident ends when nothing of it was seen for so long, s.
    pub linger_s: i64,
    /// An incident that opens so soon after another was paged is held so long before it is paged; a root that moved is
    /// paged once it has stayed so long, s.
    pub settle_s: i64,
    /// No second command of one kind for one target within, s.
    pub cooldown_s: i64,
    /// A circuit stays open so long before it is tried, s.
    pub open_s: i64,
    /// A trial lasts so long before the circuit closes, s.
    pub trial_s: i64,
    /// What was done and holds (traffic that is moved, flags that are set) is taken back once what it was for is over so
    /// long, s.
    pub hold_s: i64,
    /// No actuator starts a command after, s; nobody approves a proposal after.
    pub expires_s: i64,
    /// What a command was asked for has to be over so long after the actuator's answer, s: then it helped. A verdict ends
    /// some tens of quiet seconds after what it is about, and `linger_s` later the incident: what is shorter is called no
    /// help of what has healed.
    pub verify_s: i64,
    /// After so many commands for a target that did not help, one after the other, it is given up.
    pub futile: u32,
    /// At most so many of a hundred replicas are taken out at once.
    pub max_out_percent: u32,
}

impl Default for Tuning {
    fn default() -> Self {
        use Dimension::{Node, Region, Route, Service, Version};
        Self {
            key_sets: vec![
                vec![Service],
                vec![Service, Route],
                vec![Service, Node],
                vec![Service, Version],
                vec![Service, Region],
            ],
            max_keys: 200_000,
            grace_ms: 1_000,
            baseline_every_s: 10,
            baseline_windows: WINDOWS.iter().map(|spec| spec.name.to_owned()).collect(),
            audit_partitions: 4,
            origin: evenkeel_schemas::audit::ORIGIN.to_owned(),
            mirror_table: String::new(),
            objectives: BTreeMap::new(),
            mode: Mode::Observe,
            modes: BTreeMap::new(),
            approvals: BTreeMap::new(),
            roster: Roster::default(),
            answers: actions::default_answers(),
            detection: Detection::default(),
            recovery: Recovery::default(),
        }
    }
}

impl Default for Recovery {
    fn default() -> Self {
        Self {
            linger_s: 10,
            settle_s: 20,
            cooldown_s: 30,
            open_s: 10,
            trial_s: 10,
            hold_s: 120,
            expires_s: 60,
            verify_s: 60,
            futile: 3,
            max_out_percent: 50,
        }
    }
}

impl Tuning {
    /// Checks every bound once.
    ///
    /// # Errors
    /// Names the field, its value and its range.
    pub fn check(&self) -> Result<(), String> {
        match self.faults().first() {
            Some(rule) => Err(format!("out of range: {rule}")),
            None => Ok(()),
        }
    }

    /// Every bound that does not hold: the field's path, a colon, and its range.
    pub fn faults(&self) -> Vec<&'static str> {
        let service_first = |set: &Vec<Dimension>| set.first() == Some(&Dimension::Service);
        let detection = &self.detection;
        let rules = [
            ("key_sets: 1 to 16 sets", (1..=16).contains(&self.key_sets.len())),
            ("key_sets: each must begin with \"service\"", self.key_sets.iter().all(service_first)),
            ("key_sets: dimensions must ascend", self.key_sets.iter().all(|set| set.is_sorted_by(|a, b| a < b))),
            ("max_keys: 64 to 100000000", (SHARDS as usize..=100_000_000).contains(&self.max_keys)),
            ("grace_ms: 0 to 60000", (0..=60_000).contains(&self.grace_ms)),
            ("baseline_every_s: 1 to 60", (1..=60).contains(&self.baseline_every_s)),
            ("baseline_windows: some of 10s, 1m, 5m and 1h, in this order", self.said_windows().is_some()),
            ("audit_partitions: 1 to 256", (1..=256).contains(&self.audit_partitions)),
            ("mirror_table: at most 256 bytes", self.mirror_table.len() <= 256),
            ("objectives: 1 to 999999", self.objectives.values().all(|share| (1..1_000_000).contains(share))),
            ("detection.of: 1 to 32", (1..=32).contains(&detection.of)),
            ("detection.persist: 1 to detection.of", (1..=detection.of).contains(&detection.persist)),
            ("detection.quiet_of: 1 to 32", (1..=32).contains(&detection.quiet_of)),
            (
                "detection.quiet_persist: 1 to detection.quiet_of",
                (1..=detection.quiet_of).contains(&detection.quiet_persist),
            ),
            ("detection.missed_heartbeats: 1 to 1000", (1..=1000).contains(&detection.missed_heartbeats)),
            ("detection.finding_s: 1 to 31536000", (1..=31_536_000).contains(&detection.finding_s)),
            (
                "detection.traffic: min_history from 1, min_span_s 1 to 86400, drop_per_mille 1 to 1000, surge_percent 101 to \
                 100000, deviations 1 to 100, dispersion_percent 100 to 10000, zero_expected 1 to 1000000, max_silence_s 1 to \
                 1048576",
                detection.traffic.is_sound(),
            ),
            (
                "detection.burn: fast_tenths, medium_tenths and slow_tenths 1 to 10000000, floors from 0",
                detection.burn.is_sound(),
            ),
            (
                "detection.canary: alpha_per_million 1 to 1000000, margin_per_mille 0 to 1000, dispersion_percent 100 to 10000",
                detection.canary.is_sound(),
            ),
            (
                "detection.leak: min_points 4 to 24, horizon_h 1 to 24, urgent_h 1 to 24, deviations_tenths 1 to 100, saw_tooth_per_mille 1 to 1000",
                detection.leak.is_sound(),
            ),
            (
                "detection.forecast: lead_slots 1 to 6, band_percent 1 to 100, min_trials 1 to 72",
                detection.forecast.is_sound(),
            ),
            ("detection.flap: max_fires 1 to 63, within_s 1 to 86400, calm_s 1 to 86400", detection.flap.is_sound()),
            ("detection.accept_min: 1 to 10080", (1..=10_080).contains(&detection.accept_min)),
            (
                "detection.missing: hold_ticks 1 to 86400, alarm_ticks 1 to 86400, feeds at most 1000",
                detection.missing.is_sound(),
            ),
            ("recovery.settle_s: 0 to 3600", (0..=3600).contains(&self.recovery.settle_s)),
            ("recovery.cooldown_s: 1 to 86400", (1..=86_400).contains(&self.recovery.cooldown_s)),
            (
                "answers: at most 4 actions a detector, of 1000 services, each within its bounds",
                actions::is_sound(&self.answers),
            ),
            ("recovery.hold_s: 1 to 3600", (1..=3600).contains(&self.recovery.hold_s)),
            ("recovery.verify_s: 1 to 86400", (1..=86_400).contains(&self.recovery.verify_s)),
            ("recovery.futile: 1 to 100", (1..=100).contains(&self.recovery.futile)),
            ("recovery.max_out_percent: 0 to 99", self.recovery.max_out_percent < 100),
            (
                "approvals: kinds of commands or *, persons 1 to 16 of whom the roster has as many, wait 0 to 24h, totp with a gate",
                approvals::are_sound(&self.approvals, &self.roster),
            ),
            ("roster.people: at most 1000, each name and contact at most 256 bytes", self.roster.is_bounded()),
            (
                "roster.on_call: 1 to 64 people of the team, turns of 1h to 366d, overrides that end after they begin",
                self.roster.is_on_call_sound(),
            ),
            ("roster.gates: at most 4 keys as `evenkeel audit keygen` prints them", self.roster.are_gates_sound()),
            ("roster.break_glass: longest 60s to 4h, totp with a gate", self.roster.is_glass_sound()),
        ];
        rules.into_iter().filter(|(_, holds)| !holds).map(|(rule, _)| rule).collect()
    }

    /// What is asked for when `detector` finds something at `service`, what is to be tried first in front.
    pub fn actions(&self, service: &str, detector: Detector) -> &[Action] {
        let of = |name: &str| self.answers.get(name)?.get(&detector);
        of(service).or_else(|| of("*")).map_or(&[], Vec::as_slice)
    }

    /// The windows of which a baseline speaks, by index in [`WINDOWS`]; `None` if they are not some of them in order.
    pub fn said_windows(&self) -> Option<Vec<usize>> {
        let index = |name: &String| WINDOWS.iter().position(|spec| spec.name == name);
        let said = self.baseline_windows.iter().map(index).collect::<Option<Vec<_>>>()?;
        (!said.is_empty() && said.is_sorted_by(|a, b| a < b)).then_some(said)
    }

    /// The shortest window of which a baseline speaks, by index in [`WINDOWS`].
    pub fn shortest_said(&self) -> usize {
        self.said_windows().and_then(|said| said.first().copied()).unwrap_or(0)
    }

    /// Most keys one shard holds.
    pub fn max_keys_per_shard(&self) -> usize {
        (self.max_keys / SHARDS as usize).max(1)
    }

    /// The first tick that is still open in a shard at `now_us`.
    pub fn open_tick(&self, shard: u64, now_us: i64) -> i64 {
        let grace_us = self.grace_ms * 1000 + shard as i64 * SHARD_DELAY_US;
        now_us.saturating_sub(grace_us).div_euclid(TICK_US)
    }

    /// The first tick that is still open in any shard at `now_us`.
    pub fn oldest_open_tick(&self, now_us: i64) -> i64 {
        self.open_tick(SHARDS - 1, now_us)
    }

    /// The first tick that some window of every shard holds at `now_us`; less a minute of slack, so that what is
    /// accepted now is still held when its tick is patched.
    pub fn horizon_tick(&self, now_us: i64) -> i64 {
        let longest = WINDOWS[WINDOWS.len() - 1];
        (self.open_tick(0, now_us) - longest.length_s).div_euclid(longest.slot_s) * longest.slot_s + 60
    }
}
