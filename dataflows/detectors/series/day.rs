//! Is a value unlike those at this time of day?
//!
//! # Decision
//! A day has 144 bins of ten minutes, and what is expected between the middles of two is on the line between them. A
//! residual that lasts (a busier day) is followed within some twenty values, so that the profile asks for the shape of
//! the day and not for its height. There is no profile of the week: two months of data, the most that is common, show
//! nine weeks.

use super::bits;
use super::spread::{Spread, in_units};
use serde::{Deserialize, Serialize};

/// Seconds in a day.
const DAY_S: i64 = 86_400;
/// Bins in a day.
const BINS: usize = 144;
/// Seconds in a bin.
const BIN_S: i64 = DAY_S / BINS as i64;
/// Share by which a bin follows a new day, once it has seen five.
const DAILY_SHARE: f64 = 0.2;
/// Share by which the lasting residual follows.
const FAST_SHARE: f64 = 0.05;
/// Share by which the spread at a time of day follows.
const SPREAD_SHARE: f64 = 0.05;
/// Residuals of which the spread of the whole day speaks.
const MEMORY: u32 = 2_000;
/// Residuals before anything is said.
const WARM_UP: u32 = 50;
/// The lasting residual is moved by at most so many spreads.
const CUT: f64 = 6.0;

/// What is known of one time of day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Bin {
    /// Mean over days.
    #[serde(with = "bits")]
    mean: f64,
    /// Mean absolute residual; 0 before the first.
    #[serde(with = "bits")]
    spread: f64,
    /// Days seen.
    days: u16,
}

/// What is expected at a moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Expectation {
    /// The value.
    pub value: f64,
    /// How far values usually are from it.
    pub scale: f64,
}

/// The distance of a value to the profile of the day and the lasting residual, in units of what that distance usually
/// is then.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DayProfile {
    bins: Vec<Bin>,
    /// The bin that is being filled.
    open: Option<usize>,
    #[serde(with = "bits")]
    open_sum: f64,
    open_count: u32,
    /// The residual that lasts.
    #[serde(with = "bits")]
    lasting: f64,
    spread: Spread,
}

impl Default for DayProfile {
    fn default() -> Self {
        let bins = vec![Bin::default(); BINS];
        Self { bins, open: None, open_sum: 0.0, open_count: 0, lasting: 0.0, spread: Spread::new(MEMORY) }
    }
}

impl DayProfile {
    /// Bytes held on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        self.bins.capacity() * size_of::<Bin>()
    }

    /// What is expected at `at_s`, if this time of day was seen on an earlier day, or one beside it.
    pub fn expect(&self, at_s: i64) -> Option<Expectation> {
        let second = at_s.rem_euclid(DAY_S);
        let bin = (second / BIN_S) as usize;
        let value = self.profile(bin, (second % BIN_S) as f64 / BIN_S as f64)? + self.lasting;
        (self.spread.seen() > WARM_UP).then_some(Expectation { value, scale: self.scale(bin) })
    }

    /// The score of a finite value, which is taken in afterwards. Times must rise.
    pub fn next(&mut self, at_s: i64, value: f64) -> f64 {
        let second = at_s.rem_euclid(DAY_S);
        let bin = (second / BIN_S) as usize;
        if self.open != Some(bin) {
            self.close_bin();
            self.open = Some(bin);
        }
        self.open_sum += value;
        self.open_count = self.open_count.saturating_add(1);
        let Some(profile) = self.profile(bin, (second % BIN_S) as f64 / BIN_S as f64) else {
            self.lasting = 0.0;
            return 0.0;
        };
        let warm = self.spread.seen() > WARM_UP;
        let residual = value - profile - self.lasting;
        let scale = self.scale(bin);
        self.learn(bin, residual, warm);
        if warm { in_units(residual, scale) } else { 0.0 }
    }

    /// What a residual usually is: half of what it is all day, half of what it is in this bin.
    fn scale(&self, bin: usize) -> f64 {
        let (own, whole) = (self.bins[bin].spread, self.spread.mean());
        if own > 0.0 { 0.5 * (own + whole) } else { whole }
    }

    fn learn(&mut self, bin: usize, residual: f64, warm: bool) {
        let most = CUT * self.spread.mean();
        let cut = if warm { residual.clamp(-most, most) } else { residual };
        self.lasting += FAST_SHARE * cut;
        self.spread.push(residual);
        let bin = &mut self.bins[bin];
        if bin.spread == 0.0 {
            bin.spread = self.spread.mean().max(cut.abs());
        }
        bin.spread += SPREAD_SHARE * (cut.abs() - bin.spread);
    }

    /// The profile at `share` of a bin: on the line between the middles of the two nearest bins, or the one of them
    /// that is known.
    fn profile(&self, bin: usize, share: f64) -> Option<f64> {
        let (from, to, weight) = if share < 0.5 {
            ((bin + BINS - 1) % BINS, bin, share + 0.5)
        } else {
            (bin, (bin + 1) % BINS, share - 0.5)
        };
        let known = |bin: usize| Some(self.bins[bin]).filter(|bin| bin.days > 0).map(|bin| bin.mean);
        match (known(from), known(to)) {
            (Some(from), Some(to)) => Some(from * (1.0 - weight) + to * weight),
            (from, to) => from.or(to),
        }
    }

    fn close_bin(&mut self) {
        let Some(bin) = self.open.filter(|_| self.open_count > 0) else { return };
        let mean = self.open_sum / f64::from(self.open_count);
        let bin = &mut self.bins[bin];
        bin.days = bin.days.saturating_add(1);
        bin.mean += DAILY_SHARE.max(1.0 / f64::from(bin.days)) * (mean - bin.mean);
        (self.open_sum, self.open_count) = (0.0, 0);
    }
}
