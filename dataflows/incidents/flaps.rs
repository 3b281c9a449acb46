//! Services whose incidents are paged again and again: the page that is one too many says so, and its incident stays open
//! until it was calm for a while. What comes back meanwhile is no news.

use crate::Output;
use crate::state::{State, from_json, json, record};
use evenkeel_detectors::{Flap, FlapLimits};
use std::collections::{BTreeMap, BTreeSet};

/// The pages of late, by the service that was the root. As many as were paged within the time, and those before the last
/// page.
pub(super) struct Flaps {
    limits: FlapLimits,
    pages: BTreeMap<String, Flap>,
    changed: BTreeSet<String>,
}

impl Flaps {
    pub fn recovered(limits: FlapLimits, state: &State) -> Self {
        let pages = state.under("fold/flaps/").map(|(service, value)| (service.to_owned(), from_json(value))).collect();
        Self { limits, pages, changed: BTreeSet::new() }
    }

    pub fn follow(&mut self, limits: &FlapLimits) {
        self.limits = limits.clone();
    }

    /// How long an incident of which it was said that it flaps stays open after it healed, µs.
    pub fn calm_us(&self) -> i64 {
        self.limits.calm_s * crate::tuning::TICK_US
    }

    /// Somebody is paged for a service; whether it flaps.
    pub fn page(&mut self, service: &str, now_us: i64) -> bool {
        let over = self.pages.extract_if(.., |_, pages| pages.is_over(now_us, &self.limits));
        self.changed.extend(over.map(|(service, _)| service));
        self.changed.insert(service.to_owned());
        self.pages.entry(service.to_owned()).or_default().fire(now_us, &self.limits).is_some()
    }

    /// Says what has to survive a restart of those that `owns` picks.
    pub fn keep(&mut self, owns: impl Fn(&str) -> bool, put: &mut Vec<Output>) {
        for service in std::mem::take(&mut self.changed).iter().filter(|service| owns(service)) {
            put.push(record(format!("fold/flaps/{service}"), self.pages.get(service).map(json)));
        }
    }
}
