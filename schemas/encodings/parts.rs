//! [`Parts`]: what was read of a request, before its bounds are checked.

use crate::event::{Checked, Refusal};
use crate::request::Bounded;
use crate::{Coordinates, Reason, Rejection, Request};

/// The strings of a request, in the order of [`Parts::strings`].
pub(super) const STRING_NAMES: [&str; 9] =
    ["service", "route", "method", "node", "region", "version", "tenant", "trace_id", "upstream"];

/// What was read of a request; a string that was not is empty.
#[derive(Clone, Copy, Default)]
pub(super) struct Parts<'a> {
    pub event_time_us: i64,
    pub status: i64,
    pub latency_us: i64,
    pub strings: [&'a str; 9],
    /// Which of the required fields were read, a bit each.
    pub seen: u8,
}

impl Parts<'_> {
    pub(super) const TIME: u8 = 1;
    pub(super) const STATUS: u8 = 2;
    pub(super) const LATENCY: u8 = 4;
    pub(super) const SERVICE: u8 = 8;
    pub(super) const ALL: u8 = 15;
}

impl<'a> Parts<'a> {
    /// The request, if nothing is missing and everything is within its bounds.
    #[inline(always)]
    pub(super) fn request(&self) -> Option<Request<'a>> {
        let (event_time_us, status, latency_us) = (self.event_time_us, self.status as u16, self.latency_us as u32);
        let fit = i64::from(status) == self.status && i64::from(latency_us) == self.latency_us;
        if self.seen != Self::ALL || !fit || self.bounded().check().is_err() {
            return None;
        }
        Some(Request::borrowed(event_time_us, status, latency_us, self.strings))
    }

    /// What of it has bounds; numbers that do not fit their types are cut.
    #[inline(always)]
    fn bounded(&self) -> Bounded<'a> {
        let (event_time_us, status, latency_us) = (self.event_time_us, self.status as u16, self.latency_us as u32);
        Bounded::of(event_time_us, status, latency_us, self.strings)
    }

    /// Why it is no request.
    #[cold]
    pub(super) fn refusal(&self) -> Refusal {
        let names = ["event_time_us", "status", "latency_us", "service"];
        if let Some((_, name)) = names.iter().enumerate().find(|(bit, _)| self.seen >> bit & 1 == 0) {
            return Refusal(Reason::WrongShape, format!("missing field `{name}`"));
        }
        match self.bounded().check() {
            Err(refusal) => refusal,
            Ok(()) if u16::try_from(self.status).is_err() => Refusal::out_of_range("status"),
            Ok(()) => Refusal::out_of_range("latency_us"),
        }
    }

    /// The fields that were read, as JSON: what a rejection shows of a row.
    #[cold]
    fn json(&self) -> Vec<u8> {
        let integers = [
            ("event_time_us", Self::TIME, self.event_time_us),
            ("status", Self::STATUS, self.status),
            ("latency_us", Self::LATENCY, self.latency_us),
        ];
        let integers = integers.into_iter().filter(|(_, bit, _)| self.seen & bit != 0);
        let strings = STRING_NAMES.into_iter().zip(self.strings).filter(|(_, text)| !text.is_empty());
        let fields = integers.map(|(name, _, value)| (name.to_owned(), value.into()));
        let fields = fields.chain(strings.map(|(name, text)| (name.to_owned(), text.into())));
        serde_json::Value::Object(fields.collect()).to_string().into_bytes()
    }
}

/// Why a row of a batch is no request, and what of it could be read.
pub(crate) struct RowFault<'a> {
    pub(super) refusal: Refusal,
    pub(super) parts: Box<Parts<'a>>,
}

impl RowFault<'_> {
    /// The rejection of this row of the record at `at`.
    #[cold]
    pub(crate) fn rejection(&self, at: Coordinates, row: u32) -> Rejection {
        let Refusal(reason, detail) = &self.refusal;
        Rejection::new(*reason, &format!("row {row}: {detail}"), at, &self.parts.json())
    }
}
