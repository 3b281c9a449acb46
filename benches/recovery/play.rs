//! An incident from its quiet beginning to its end: the shop, the engine, the actuator, and a person.
//!
//! Time is the shop's own, in steps of [`STEP_US`], and of a second where nobody waits for what is said: what arrived is an epoch, what is said of it is heard at its end, and
//! commands are carried out then. No clock, one worker: the same incident plays the same on every machine.
//!
//! The person is paged by the first record of an incident that is worth it (`notify`), or hears of it from users after
//! [`COMPLAINT_US`]. He mends the fault as long after that as was drawn, whatever the automation does meanwhile, and orders to
//! go on where it gave up.

use crate::incident::Incident;
use crate::users::Users;
use evenkeel::shop::{Fault, NODES, Shop};
use evenkeel_dataflows::{Batch, Changes, Engine, Resume, Tuning};
use evenkeel_schemas::{
    Binding, Command, CommandKind, CommandState, Cut, Dataset, Epoch, IncidentState, Mode, Partition, Topic,
};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

const SECOND_US: i64 = 1_000_000;

/// An epoch from shortly before the onset on; commands are heard so late at most, µs.
const STEP_US: i64 = 200_000;

/// Shortly before, µs.
const BEFORE_US: i64 = 5 * SECOND_US;

/// When users complain of what nobody was paged for, µs after its onset.
pub const COMPLAINT_US: i64 = 1_800 * SECOND_US;

/// What is watched after a fault is gone and users are well: what was said wrongly then counts, too.
const AFTER_US: i64 = 60 * SECOND_US;

/// A run ends so long after the onset, whatever is left.
const LONGEST_US: i64 = 86_400 * SECOND_US;

/// What came of an incident. Times are µs from the onset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Course {
    pub page_us: Option<i64>,
    /// The first command for it that was issued.
    pub command_us: Option<i64>,
    /// Users were well again; none if the run ended before.
    pub well_us: Option<i64>,
    /// The person came.
    pub person_us: Option<i64>,
    /// A target was given up and left to the person.
    pub escalated_us: Option<i64>,
    /// Commands that were issued, and those of them for another service, of a kind that mends no such fault, or for more than
    /// is at fault.
    pub commands: u64,
    pub wrong: u64,
    /// Pages about something else, or before it began.
    pub false_pages: u64,
    /// Requests that failed or were turned away, and that were slow, in seconds that were not normal.
    pub failed: u64,
    pub slow: u64,
}

impl Course {
    /// Whether users were well before any person came.
    pub fn is_automatic(&self) -> bool {
        self.well_us.is_some_and(|well_us| self.person_us.is_none_or(|person_us| well_us < person_us))
    }
}

/// Plays an incident.
pub fn play(incident: &Incident, mode: Mode) -> Course {
    let mut play = Play::new(incident, mode);
    while !play.is_over() {
        play.step();
    }
    Course { failed: play.users.failed, slow: play.users.slow, ..play.course }
}

struct Play<'i> {
    incident: &'i Incident,
    mode: Mode,
    shop: Shop,
    engine: Engine,
    inputs: Inputs,
    users: Users,
    epoch: u64,
    now_us: i64,
    course: Course,
}

impl<'i> Play<'i> {
    fn new(incident: &'i Incident, mode: Mode) -> Self {
        let tuning = Tuning { mode, baseline_every_s: 60, ..Tuning::default() };
        let (fault, now_us) = (incident.fault(), incident.plan.start_us);
        let mut play = Self {
            incident,
            mode,
            shop: Shop::new(incident.plan.clone()),
            engine: Engine::new(&tuning, 1, Resume::default()),
            inputs: Inputs::default(),
            users: Users::new(&fault.service, NODES, fault.start_us),
            epoch: 0,
            now_us,
            course: Course::default(),
        };
        play.close();
        play
    }

    fn fault(&self) -> &'i Fault {
        self.incident.fault()
    }

    fn since_us(&self) -> i64 {
        self.now_us - self.fault().start_us
    }

    fn is_over(&self) -> bool {
        let healed_us = self.shop.faults()[0].healed_us;
        let well_us = self.course.well_us.map(|well_us| self.fault().start_us + well_us);
        let ended_us = healed_us.zip(well_us).map(|(healed_us, well_us)| healed_us.max(well_us));
        ended_us.is_some_and(|ended_us| self.now_us > ended_us + AFTER_US) || self.since_us() > LONGEST_US
    }

    fn step(&mut self) {
        // Once a person was paged and nothing is carried out, the engine has nothing to say that matters here.
        let waits = self.mode == Mode::Observe && self.course.page_us.is_some();
        let step_us = if waits || self.since_us() < -BEFORE_US { SECOND_US } else { STEP_US };
        self.now_us = (self.now_us.div_euclid(step_us) + 1) * step_us;
        let Self { shop, inputs, users, now_us, .. } = self;
        let before = shop.counts().turned_away;
        shop.advance(*now_us, &mut |partition: Partition, at_us: i64, key: &[u8], payload: &[u8]| {
            users.see(partition, at_us, key, payload);
            if !waits {
                inputs.put(partition, at_us, key, payload);
            }
        });
        users.turned_away(shop.counts().turned_away - before);
        if *now_us % SECOND_US == 0 {
            self.second();
        }
        if !waits {
            self.close();
        }
        self.person();
    }

    fn second(&mut self) {
        self.users.end_second(self.now_us);
        let healed_us = self.shop.faults()[0].healed_us;
        // What was mended before users noticed lasted until then.
        let unseen_us = healed_us.filter(|_| !self.users.were_hurt() && self.since_us() > 2 * SECOND_US);
        let onset_us = self.fault().start_us;
        let well_us = self.users.well_us.or(unseen_us).map(|at_us| (at_us - onset_us).max(0));
        self.course.well_us = self.course.well_us.or(well_us);
    }

    /// Closes the epoch, and hears what is said of it.
    fn close(&mut self) {
        for batch in self.inputs.take() {
            self.engine.push(batch).expect("the engine runs");
        }
        let (epoch, now_us, upper) = (Epoch(self.epoch), self.now_us, self.inputs.upper.clone());
        // Nobody recovers from here, so that it does not matter from where.
        self.engine.close(Binding { epoch, now_us, resume: epoch, upper }).expect("the engine runs");
        self.epoch += 1;
        while self.engine.in_flight() > 0 {
            if let Some(changes) = self.engine.wait(Duration::from_millis(100)).expect("the engine runs") {
                self.hear(&changes);
            }
        }
    }

    fn hear(&mut self, changes: &Changes) {
        for output in &changes.outputs {
            match output.dataset {
                Dataset::Incidents => self.page(&serde_json::from_slice(&output.value).expect("the engine says JSON")),
                Dataset::Commands => {
                    self.command(&serde_json::from_slice(&output.value).expect("the engine says JSON"))
                }
                _ => {}
            }
        }
    }

    fn page(&mut self, incident: &evenkeel_schemas::Incident) {
        if !incident.notify || incident.state == IncidentState::Resolved || !incident.merged_into.is_empty() {
            return;
        }
        let (service, since_us) = (&self.fault().service, self.since_us());
        if since_us >= 0 && (incident.service == *service || incident.services.contains(service)) {
            self.course.page_us.get_or_insert(since_us);
        } else {
            self.course.false_pages += 1;
        }
    }

    fn command(&mut self, command: &Command) {
        let since_us = self.since_us();
        match command.state {
            CommandState::Issued => {
                self.course.commands += 1;
                self.course.wrong += u64::from(!is_right(command, self.fault()));
                self.course.command_us.get_or_insert(since_us);
                let outcome = self.shop.apply(command, self.now_us);
                let payload = serde_json::to_vec(&outcome).expect("an outcome is JSON");
                self.inputs.say(Topic::Outcomes, self.now_us, &payload);
            }
            CommandState::Escalated => drop(self.course.escalated_us.get_or_insert(since_us)),
            _ => {}
        }
    }

    /// Whether the person is there by now; once he is, the fault is gone, and what was given up goes on.
    fn person(&mut self) {
        let told_us = self.course.page_us.unwrap_or(COMPLAINT_US).min(COMPLAINT_US);
        let since_us = self.since_us();
        if self.course.person_us.is_some() || since_us < told_us + self.incident.person_us {
            return;
        }
        self.course.person_us = Some(since_us);
        self.shop.mend(0);
        let service = &self.fault().service;
        let order = json!({"order": "resume", "event_time_us": self.now_us, "by": "person", "service": service});
        self.inputs.say(Topic::Control, self.now_us, order.to_string().as_bytes());
    }
}

/// Whether a command is of the kind for such a fault, and for no more than what is at fault; bringing back is always right.
fn is_right(command: &Command, fault: &Fault) -> bool {
    let returns = matches!(command.kind, CommandKind::HalfOpen | CommandKind::CloseCircuit);
    let within = fault.node.as_ref().is_none_or(|node| *node == command.target);
    returns || command.service == fault.service && Some(command.kind) == fault.kind.remedy() && within
}

/// Records of the open epoch by partition.
#[derive(Default)]
struct Inputs {
    batches: BTreeMap<Partition, Batch>,
    upper: Cut,
}

impl Inputs {
    fn put(&mut self, partition: Partition, at_us: i64, key: &[u8], payload: &[u8]) {
        let batch = self.batches.entry(partition).or_insert_with(|| Batch::new(partition));
        let offset = batch.next_offset().unwrap_or_else(|| self.upper.next_offset(partition));
        batch.push(offset, at_us, key, payload);
    }

    fn say(&mut self, topic: Topic, at_us: i64, payload: &[u8]) {
        self.put(Partition { topic, partition: 0 }, at_us, &[], payload);
    }

    fn take(&mut self) -> Vec<Batch> {
        let batches = std::mem::take(&mut self.batches).into_values().collect::<Vec<_>>();
        self.upper.0.extend(batches.iter().filter_map(|it| Some((it.partition, it.next_offset()?))));
        batches
    }
}
