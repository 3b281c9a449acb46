//! A served request, version 1.

use crate::event::{Checked, Refusal, check_names, check_time};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// The longest latency that is believed: one hour, µs.
pub const MAX_LATENCY_US: u32 = 3_600_000_000;

/// A served request. Strings are borrowed from the payload unless they hold escapes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request<'a> {
    /// When the request began, µs since the Unix epoch, UTC.
    pub event_time_us: i64,
    /// The service that answered.
    #[serde(borrow)]
    pub service: Cow<'a, str>,
    /// The route's template, e.g. `/pay/{id}`.
    #[serde(borrow, default)]
    pub route: Cow<'a, str>,
    /// The HTTP method, or the RPC's name.
    #[serde(borrow, default)]
    pub method: Cow<'a, str>,
    /// The HTTP status; 500 to 599 count as errors.
    pub status: u16,
    /// Time to the last byte, µs, at most [`MAX_LATENCY_US`].
    pub latency_us: u32,
    /// The node that answered.
    #[serde(borrow, default)]
    pub node: Cow<'a, str>,
    /// Where the node stands.
    #[serde(borrow, default)]
    pub region: Cow<'a, str>,
    /// The service's version.
    #[serde(borrow, default)]
    pub version: Cow<'a, str>,
    /// For whom the request was served.
    #[serde(borrow, default)]
    pub tenant: Cow<'a, str>,
    /// The W3C trace id, 32 hex digits.
    #[serde(borrow, default)]
    pub trace_id: Cow<'a, str>,
    /// The service that was called to answer, if one was.
    #[serde(borrow, default)]
    pub upstream: Cow<'a, str>,
}

/// The strings of a request: service, route, method, node, region, version, tenant, trace id, upstream.
pub(crate) type Strings<'a> = [&'a str; 9];

impl<'a> Request<'a> {
    /// The request of these parts; nothing is checked, see [`Bounded::of`].
    #[inline(always)]
    pub(crate) fn borrowed(event_time_us: i64, status: u16, latency_us: u32, strings: Strings<'a>) -> Self {
        let [service, route, method, node, region, version, tenant, trace_id, upstream] = strings;
        // One by one: `map` over the array copies it, and decoding takes a sixth longer.
        Self {
            event_time_us,
            service: Cow::Borrowed(service),
            route: Cow::Borrowed(route),
            method: Cow::Borrowed(method),
            status,
            latency_us,
            node: Cow::Borrowed(node),
            region: Cow::Borrowed(region),
            version: Cow::Borrowed(version),
            tenant: Cow::Borrowed(tenant),
            trace_id: Cow::Borrowed(trace_id),
            upstream: Cow::Borrowed(upstream),
        }
    }
}

impl Request<'_> {
    /// Whether the status is a server error.
    pub fn is_error(&self) -> bool {
        (500..600).contains(&self.status)
    }
}

impl Checked for Request<'_> {
    fn check(&self) -> Result<(), Refusal> {
        let Self { event_time_us, status, latency_us, .. } = *self;
        let names = [&self.service, &self.route, &self.node, &self.region, &self.version].map(|name| &**name);
        Bounded { event_time_us, names, status, latency_us }.check()
    }
}

/// What of a request has bounds; its names are service, route, node, region and version.
pub(crate) struct Bounded<'a> {
    pub event_time_us: i64,
    pub names: [&'a str; 5],
    pub status: u16,
    pub latency_us: u32,
}

impl<'a> Bounded<'a> {
    /// What has bounds of these parts of a request.
    #[inline(always)]
    pub fn of(event_time_us: i64, status: u16, latency_us: u32, strings: Strings<'a>) -> Self {
        let [service, route, _, node, region, version, ..] = strings;
        Self { event_time_us, names: [service, route, node, region, version], status, latency_us }
    }
}

impl Checked for Bounded<'_> {
    #[inline(always)]
    fn check(&self) -> Result<(), Refusal> {
        check_time(self.event_time_us)?;
        let [service, route, node, region, version] = self.names;
        check_names([
            ("service", service),
            ("route", route),
            ("node", node),
            ("region", region),
            ("version", version),
        ])?;
        if service.is_empty() {
            return Err(Refusal::out_of_range("service is empty"));
        }
        if !(100..1000).contains(&self.status) {
            return Err(Refusal::out_of_range("status"));
        }
        if self.latency_us > MAX_LATENCY_US {
            return Err(Refusal::out_of_range("latency_us"));
        }
        Ok(())
    }
}
