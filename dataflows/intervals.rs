//! `intervals`: maintenance and excluded intervals; when a service is not judged, and what no baseline may hold.
//!
//! An interval is widened to whole minutes where baselines of minutes are concerned, and to whole slots of a season there:
//! what a slot holds is left out as one. Whatever was ordered when, a baseline is what it is without these slots (law L5).

use crate::detect::held_back;
use evenkeel_detectors::Judgement;
use evenkeel_schemas::Control;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::ops::Range;

/// So many intervals are kept; beyond it the one that ended first is forgotten.
const MAX_INTERVALS: usize = 1_000;

/// The service that stands for all of them.
const EVERY: &str = "*";

/// One interval, in the order of ends.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Interval {
    to_us: i64,
    from_us: i64,
    service: String,
    /// Whether nothing is said of the service meanwhile.
    mutes: bool,
}

/// The intervals that were ordered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Intervals(BTreeSet<Interval>);

impl Intervals {
    /// Takes in an order, if it is about an interval.
    pub fn hear(&mut self, control: &Control) {
        let Some((from_us, to_us)) = control.interval_us() else { return };
        let mutes = matches!(control, Control::Maintenance { .. });
        self.0.insert(Interval { to_us, from_us, service: control.scope().to_owned(), mutes });
        if self.0.len() > MAX_INTERVALS {
            self.0.pop_first();
        }
    }

    /// Whether nothing is said of `service` at `at_us`.
    pub fn mute(&self, service: &str, at_us: i64) -> bool {
        self.of(service, &(at_us..at_us + 1)).any(|interval| interval.mutes)
    }

    /// A judgement of `service` at `at_us`: during maintenance it is held back.
    pub fn held(&self, service: &str, at_us: i64, judgement: Judgement) -> Judgement {
        held_back(judgement, "maintenance", || self.mute(service, at_us))
    }

    /// The seconds within `seconds` that no baseline of `service` may hold, widened to whole slots of `slot_s`, as ranges
    /// that do not overlap, ascending.
    pub fn excluded(&self, service: &str, seconds: &Range<i64>, slot_s: i64) -> Vec<Range<i64>> {
        let slot_us = slot_s * 1_000_000;
        // Whole slots, so that a second is left out or not whichever range it is asked for in.
        let whole_us = |second: i64| second.div_euclid(slot_s).saturating_mul(slot_us);
        let wide_us = whole_us(seconds.start)..whole_us(seconds.end.saturating_add(slot_s - 1));
        let widened = self.of(service, &wide_us).map(|it| {
            let (from, to) = (it.from_us.div_euclid(slot_us), (it.to_us - 1).div_euclid(slot_us) + 1);
            (from * slot_s).max(seconds.start)..(to * slot_s).min(seconds.end)
        });
        let mut widened = widened.filter(|range| !range.is_empty()).collect::<Vec<_>>();
        widened.sort_by_key(|range| (range.start, range.end));
        widened.into_iter().fold(Vec::new(), |mut joined, range| {
            match joined.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => joined.push(range),
            }
            joined
        })
    }

    fn of<'a>(&'a self, service: &'a str, at_us: &Range<i64>) -> impl Iterator<Item = &'a Interval> + use<'a> {
        let (start_us, end_us) = (at_us.start, at_us.end);
        // Those that end too early come first.
        let ended = Interval { to_us: start_us, from_us: i64::MAX, service: String::new(), mutes: true };
        let rest = self.0.range(ended..).filter(move |it| it.to_us > start_us && it.from_us < end_us);
        rest.filter(move |it| it.service == service || it.service == EVERY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(service: &str, from_s: i64, to_s: i64) -> Control {
        let (from_us, to_us) = (from_s * 1_000_000 + 1, to_s * 1_000_000 - 1);
        Control::ExcludeFromBaseline {
            event_time_us: 0,
            by: "ann".to_owned(),
            service: service.to_owned(),
            from_us,
            to_us,
        }
    }

    fn gaps(intervals: &Intervals, service: &str, seconds: Range<i64>, slot_s: i64) -> Vec<(i64, i64)> {
        intervals.excluded(service, &seconds, slot_s).into_iter().map(|gap| (gap.start, gap.end)).collect()
    }

    #[test]
    fn intervals_are_widened_joined_and_cut() {
        let mut intervals = Intervals::default();
        for (service, from_s, to_s) in [("a", 130, 170), ("*", 175, 200), ("b", 0, 1_000), ("a", 600, 4_000)] {
            intervals.hear(&order(service, from_s, to_s));
        }
        assert_eq!(gaps(&intervals, "a", 0..660, 60), [(120, 240), (600, 660)]);
        assert_eq!(gaps(&intervals, "a", 130..140, 60), [(130, 140)]);
        assert_eq!(gaps(&intervals, "a", 0..125, 60), [(120, 125)]);
        assert_eq!(gaps(&intervals, "a", 235..300, 60), [(235, 240)]);
        assert_eq!(gaps(&intervals, "a", 250..590, 60), []);
        assert_eq!(gaps(&intervals, "c", 0..4_000, 1_800), [(0, 1_800)]);
        assert!(!intervals.mute("a", 140_000_000), "left out, but spoken of");
    }

    #[test]
    fn the_first_to_end_is_the_first_forgotten() {
        let mut intervals = Intervals::default();
        for number in 0..MAX_INTERVALS as i64 + 1 {
            intervals.hear(&order("a", number * 60, number * 60 + 60));
        }
        assert_eq!(gaps(&intervals, "a", 0..60, 60), []);
        assert_eq!(gaps(&intervals, "a", 60..120, 60), [(60, 120)]);
    }
}
