//! `topology`: who calls whom, and what was changed of late. Every worker keeps all of it: it is small, and whoever asks
//! wants to know at once.
//!
//! Calls are told by orders, which a mesh, a tracing backend or a person gives, and hold [`LINK_US`] after they were said
//! last; or requests show them, by the service that was called to answer (`upstream`), and hold for a week after the day on
//! which one did. A call that an order ended is not believed from requests again until an order says that it is there.
//! A call told beyond the bounds of [`Calls`] is refused and counted, in the state `fold/refused/`; the order is an audit
//! entry all the same.
//!
//! Of a service the last [`MAX_CHANGES`] changes of an hour are kept, and the last one that brought a version longer: it is
//! what a rollback goes back to. At [`MAX_CHANGED`] services the one that was changed longest ago gives way.
//!
//! # Decision
//! One request in [`ASKED`] is asked whom its service called: a look-up for each would be a tenth of what a request costs.
//! Which one hangs on its place in the log alone, and what it shows is said once a day by each worker that sees it. To say
//! it again must therefore change nothing, whoever says it and when, or the number of workers would show: what requests
//! show has bounds of its own, room in which comes free only when a day ends, and a call that was cut keeps its place.

use crate::Output;
use crate::calls::{Calls, Heard};
use crate::epochs::Moment;
use crate::operators::fold::route_of;
use crate::state::{State, from_json, json, record};
use crate::tuning::TICK_US;
use evenkeel_schemas::{Changed, Control};
use std::collections::{BTreeMap, BTreeSet};

/// A call holds so long after it was said last, µs: a week.
const LINK_US: i64 = 7 * 24 * 3600 * TICK_US;

/// What a request shows holds so long after the day on which it did, µs.
const SEEN_US: i64 = 7 * DAY_US;

/// A day, µs.
const DAY_US: i64 = 24 * 3600 * TICK_US;

/// One request in so many is asked whom its service called; a power of two.
const ASKED: u64 = 64;

/// Whether the request at this place is asked: by a hash (Knuth, TAOCP 3, 6.4: Fibonacci hashing), for what producers do in
/// turns must not fall in step.
#[inline]
pub(crate) fn is_asked(offset: u64, row: u32) -> bool {
    offset.wrapping_add(u64::from(row)).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - ASKED.trailing_zeros()) == 0
}

/// Until when a call holds that a request showed at this time, µs: the same for a whole day.
pub(crate) fn seen_until(now_us: i64) -> i64 {
    (now_us.div_euclid(DAY_US) + 1) * DAY_US + SEEN_US
}

/// A call that a request showed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Seen {
    pub caller: String,
    pub callee: String,
    pub until_us: i64,
}

/// A change is forgotten after, µs: an hour.
const CHANGE_US: i64 = 3600 * TICK_US;

/// Most changes kept of a service; the oldest goes.
const MAX_CHANGES: usize = 8;

/// Most services of which changes are kept; if all of them were changed within the hour, changes of others are refused and
/// counted.
const MAX_CHANGED: usize = 10_000;

/// Who calls whom, and what was changed.
#[derive(Default)]
pub(crate) struct Topology {
    /// Worker and workers: who says the state of a key.
    place: (u64, u64),
    told: Calls,
    seen: Calls,
    changes: BTreeMap<String, Vec<Changed>>,
    /// When a change of a service is forgotten.
    ends: BTreeSet<(i64, String)>,
    refused: u64,
}

impl Topology {
    /// That of worker `index` of `peers`, as it is in the committed state.
    pub fn recovered(state: &State, place: (u64, u64)) -> Self {
        let (told, seen) = (Calls::recovered(state, "fold/topology/"), Calls::recovered(state, "fold/seen/"));
        let mut topology = Self { place, told, seen, ..Self::default() };
        for (service, value) in state.under("fold/changes/") {
            let changes = from_json::<Vec<Changed>>(value);
            topology.ends.extend(changes.iter().map(|change| (change.at_us + CHANGE_US, service.to_owned())));
            topology.changes.insert(service.to_owned(), changes);
        }
        topology.refused = state.under("fold/refused/").next().map_or(0, |(_, value)| from_json(value));
        topology
    }

    /// Whom a service calls.
    pub fn callees<'a>(&'a self, service: &'a str) -> impl Iterator<Item = &'a String> {
        let seen = self.seen.callees(service).filter(|callee| !self.told.holds(service, callee));
        self.told.callees(service).chain(seen)
    }

    /// Who calls a service.
    pub fn callers<'a>(&'a self, service: &'a str) -> impl Iterator<Item = &'a String> {
        let seen = self.seen.callers(service).filter(|caller| !self.told.holds(caller, service));
        self.told.callers(service).chain(seen)
    }

    /// What was changed of a service within the hour, and the last change before that brought a version; oldest first.
    pub fn changes(&self, service: &str) -> &[Changed] {
        self.changes.get(service).map_or(&[], Vec::as_slice)
    }

    /// Hears what requests showed, then orders in their order, and ends what is due; the services about whom something is
    /// different now.
    pub fn step<'a>(
        &mut self,
        now: Moment,
        mut seen: Vec<Seen>,
        orders: impl Iterator<Item = &'a Control>,
        put: &mut Vec<Output>,
    ) -> BTreeSet<String> {
        let (mut touched, before) = (BTreeSet::new(), self.refused);
        seen.sort();
        for Seen { caller, callee, until_us } in seen {
            if self.seen.hear(&caller, &callee, until_us) == Heard::Noted {
                touched.extend([caller, callee]);
            }
        }
        for order in orders {
            match order {
                Control::Link { caller, callee, .. } => self.link(caller, callee, now.now_us, &mut touched),
                Control::Unlink { caller, callee, .. } => self.unlink(caller, callee, now.now_us, &mut touched),
                Control::Change { event_time_us, by, service, what, version } => {
                    let (service, what, version, by) = (service.clone(), what.clone(), version.clone(), by.clone());
                    self.change(
                        Changed { at_us: *event_time_us, service, what, version, by },
                        now.now_us,
                        &mut touched,
                    );
                }
                Control::SetMode { .. }
                | Control::KillSwitch { .. }
                | Control::Approve { .. }
                | Control::Reject { .. }
                | Control::Resume { .. }
                | Control::RetireNode { .. }
                | Control::Maintenance { .. }
                | Control::ExcludeFromBaseline { .. }
                | Control::BreakGlass { .. }
                | Control::ApplyPolicy { .. } => {}
            }
        }
        self.told.end(now.now_us, &mut touched);
        self.seen.end(now.now_us, &mut touched);
        self.forget(now.now_us, &mut touched);
        touched.iter().filter(|service| route_of(service) % self.place.1 == self.place.0).for_each(|service| {
            let said = |value: Option<Vec<u8>>, name: &str| record(format!("fold/{name}/{service}"), value);
            put.push(said(self.told.kept(service), "topology"));
            put.push(said(self.seen.kept(service), "seen"));
            put.push(said(self.changes.get(service).map(json), "changes"));
        });
        if self.refused != before && self.place.0 == 0 {
            put.push(record("fold/refused/links".to_owned(), Some(json(&self.refused))));
        }
        touched
    }

    fn link(&mut self, caller: &str, callee: &str, now_us: i64, touched: &mut BTreeSet<String>) {
        if caller == callee {
            return;
        }
        let back = self.seen.cut(caller, callee, false);
        let heard = self.told.hear(caller, callee, now_us + LINK_US);
        self.refused += u64::from(heard == Heard::Refused);
        if back || heard == Heard::Noted {
            touched.extend([caller, callee].map(str::to_owned));
        }
    }

    fn unlink(&mut self, caller: &str, callee: &str, now_us: i64, touched: &mut BTreeSet<String>) {
        // What no request showed yet may be shown by the next one.
        self.seen.hear(caller, callee, seen_until(now_us));
        let (told, seen) = (self.told.remove(caller, callee), self.seen.cut(caller, callee, true));
        if told || seen {
            touched.extend([caller, callee].map(str::to_owned));
        }
    }

    fn change(&mut self, change: Changed, now_us: i64, touched: &mut BTreeSet<String>) {
        if self.changes.len() >= MAX_CHANGED && !self.changes.contains_key(&change.service) {
            self.let_go(now_us, touched);
        }
        let full = self.changes.len() >= MAX_CHANGED && !self.changes.contains_key(&change.service);
        // What is told late is too late; what lies ahead counts from now.
        if full || change.at_us + CHANGE_US <= now_us {
            self.refused += u64::from(full);
            return;
        }
        let change = Changed { at_us: change.at_us.min(now_us), ..change };
        let service = change.service.clone();
        self.ends.insert((change.at_us + CHANGE_US, service.clone()));
        let changes = self.changes.entry(service.clone()).or_default();
        changes.push(change);
        changes.sort();
        changes.dedup();
        if changes.len() > MAX_CHANGES {
            changes.remove(usize::from(running(changes) == Some(0)));
        }
        touched.insert(service);
    }

    /// Forgets the service that was changed longest ago, if that is longer than changes are kept for themselves.
    fn let_go(&mut self, now_us: i64, touched: &mut BTreeSet<String>) {
        let last = self.changes.iter().filter_map(|(service, changes)| Some((changes.last()?.at_us, service)));
        let Some((at_us, service)) = last.min() else { return };
        if at_us + CHANGE_US <= now_us {
            let service = service.clone();
            self.changes.remove(&service);
            touched.insert(service);
        }
    }

    /// Forgets the changes that are too old.
    fn forget(&mut self, now_us: i64, touched: &mut BTreeSet<String>) {
        while self.ends.first().is_some_and(|(end_us, _)| *end_us <= now_us) {
            let (_, service) = self.ends.pop_first().expect("just seen");
            let Some(changes) = self.changes.get_mut(&service) else { continue };
            let before = changes.len();
            let running = running(changes).map(|at| changes[at].clone());
            changes.retain(|change| change.at_us + CHANGE_US > now_us || Some(change) == running.as_ref());
            let (kept, is_empty) = (changes.len(), changes.is_empty());
            if is_empty {
                self.changes.remove(&service);
            }
            if kept < before {
                touched.insert(service);
            }
        }
    }
}

/// Of a service's changes the one that brought the version that runs now.
fn running(changes: &[Changed]) -> Option<usize> {
    changes.iter().rposition(|change| !change.version.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calls::{MAX_CALLEES, MAX_CALLS};
    use evenkeel_schemas::Epoch;

    fn at(now_us: i64) -> Moment {
        Moment { epoch: Epoch(0), now_us, warm: false }
    }

    fn seen(day: i64, caller: u64, callee: u64) -> Seen {
        let until_us = seen_until(day * DAY_US);
        Seen { caller: format!("c{caller}"), callee: format!("s{callee}"), until_us }
    }

    fn order(link: bool, caller: u64, callee: u64) -> Control {
        let (event_time_us, by) = (0, String::new());
        let (caller, callee) = (format!("c{caller}"), format!("s{callee}"));
        match link {
            true => Control::Link { event_time_us, by, caller, callee },
            false => Control::Unlink { event_time_us, by, caller, callee },
        }
    }

    /// Xorshift (Marsaglia 2003).
    fn next(seed: &mut u64, below: u64) -> u64 {
        *seed ^= *seed << 13;
        *seed ^= *seed >> 7;
        *seed ^= *seed << 17;
        *seed % below
    }

    /// Workers say what they saw once a day each: however many they are, and whatever they forget, all is the same.
    #[test]
    fn to_say_again_what_requests_show_changes_nothing() {
        for seed in 1..=30_u64 {
            let (mut random, mut said) = (seed, BTreeSet::new());
            let (mut once, mut again) = (Topology::default(), Topology::default());
            (once.place, again.place) = ((0, 1), (0, 1));
            for step in 0..20 * 40_i64 {
                // An epoch is read in the present of the one before.
                let (now_us, day) = (step * DAY_US / 40, (step - 1).div_euclid(40));
                // More callees than one caller may have.
                let callees = MAX_CALLEES as u64 * 2;
                let calls =
                    (0..next(&mut random, 20)).map(|_| seen(day, next(&mut random, 3), next(&mut random, callees)));
                let calls = calls.collect::<Vec<_>>();
                let news = calls.iter().filter(|call| said.insert((*call).clone())).cloned().collect::<Vec<_>>();
                let orders = match next(&mut random, 4) {
                    0 => vec![order(next(&mut random, 3) == 0, next(&mut random, 3), next(&mut random, callees))],
                    _ => Vec::new(),
                };
                let (mut kept, mut kept_again) = (Vec::new(), Vec::new());
                let touched = once.step(at(now_us), news, orders.iter(), &mut kept);
                let touched_again = again.step(at(now_us), calls, orders.iter(), &mut kept_again);
                assert_eq!(touched, touched_again, "seed {seed}, step {step}");
                assert!(kept == kept_again, "seed {seed}, step {step}");
            }
        }
    }

    #[test]
    fn calls_have_bounds_and_an_end() {
        let mut topology = Topology { place: (0, 1), ..Topology::default() };
        let all = (0..MAX_CALLS as u64 + 50).map(|number| seen(0, number / 100, number % 100));
        topology.step(at(0), all.collect(), std::iter::empty(), &mut Vec::new());
        let callers = (0..201).map(|caller| format!("c{caller}")).collect::<Vec<_>>();
        let calls = |topology: &Topology| callers.iter().map(|caller| topology.callees(caller).count()).sum::<usize>();
        assert_eq!(calls(&topology), MAX_CALLS);
        topology.step(at(8 * DAY_US), Vec::new(), std::iter::empty(), &mut Vec::new());
        assert_eq!((calls(&topology), topology.callers("s0").count()), (0, 0));
    }

    #[test]
    fn one_request_in_sixty_four_is_asked_whatever_the_stride() {
        for stride in 1..=200_u64 {
            let asked = (0..100_000).filter(|number| is_asked(number * stride, 0)).count();
            assert!((1_200..2_000).contains(&asked), "{asked} of 100,000 at a stride of {stride}");
        }
    }

    fn step(topology: &mut Topology, now_s: i64, changes: &[(&str, &str, &str)]) {
        let now = at(now_s * TICK_US);
        let order = |(service, what, version): &(&str, &str, &str)| Control::Change {
            event_time_us: now.now_us,
            by: "ci".to_owned(),
            service: (*service).to_owned(),
            what: (*what).to_owned(),
            version: (*version).to_owned(),
        };
        topology.step(now, Vec::new(), changes.iter().map(order).collect::<Vec<_>>().iter(), &mut Vec::new());
    }

    fn whats(topology: &Topology, service: &str) -> Vec<String> {
        topology.changes(service).iter().map(|change| format!("{}{}", change.what, change.version)).collect()
    }

    #[test]
    fn the_version_that_runs_is_known_however_long_ago_it_came() {
        let mut topology = Topology { place: (0, 1), ..Topology::default() };
        step(&mut topology, 0, &[("shop", "deploy", "1"), ("shop", "flag", ""), ("cart", "flag", "")]);
        step(&mut topology, 1, &[("shop", "deploy", "2")]);
        step(&mut topology, 3_700, &[]);
        assert_eq!((whats(&topology, "shop"), whats(&topology, "cart")), (vec!["deploy2".to_owned()], vec![]));
        let flags = (0..MAX_CHANGES + 3).map(|number| format!("flag{number:02}")).collect::<Vec<_>>();
        for (at, flag) in flags.iter().enumerate() {
            step(&mut topology, 3_700 + at as i64, &[("shop", flag, "")]);
        }
        let kept = whats(&topology, "shop");
        assert_eq!((kept.len(), kept[0].as_str(), kept[1].as_str()), (MAX_CHANGES, "deploy2", "flag04"));
        // A newer one takes its place.
        step(&mut topology, 3_720, &[("shop", "deploy", "3")]);
        step(&mut topology, 9_000, &[]);
        assert_eq!(whats(&topology, "shop"), ["deploy3"]);
    }
}
