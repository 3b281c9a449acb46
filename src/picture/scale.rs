//! From numbers and times to pixels, and round numbers and times between.

use arrow::temporal_conversions::timestamp_s_to_datetime;

/// Marks on an axis, about.
const TICKS: f64 = 6.0;
/// Steps between marks of time, s: round for people.
const TIME_STEPS_S: [f64; 16] = [
    1.0,
    5.0,
    15.0,
    60.0,
    300.0,
    900.0,
    3_600.0,
    10_800.0,
    21_600.0,
    43_200.0,
    86_400.0,
    172_800.0,
    604_800.0,
    1_209_600.0,
    2_592_000.0,
    7_776_000.0,
];

/// An axis: numbers from `low` to `high` lie between two pixels.
pub struct Axis {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Axis {
    /// An axis over these numbers.
    pub fn new(numbers: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let range = (f64::INFINITY, f64::NEG_INFINITY);
        let (low, high) = numbers.fold(range, |(low, high), number| (low.min(number), high.max(number)));
        let (low, high) = if low <= high { (low, high) } else { (0.0, 1.0) };
        // One number only: it lies in the middle.
        let room = if high > low { 0.0 } else { low.abs().max(1.0) * 0.5 };
        Self { low: low - room, high: high + room, from, to }
    }

    /// With a little room on either side.
    pub fn with_room(self) -> Self {
        let room = 0.06 * (self.high - self.low);
        Self { low: self.low - room, high: self.high + room, ..self }
    }

    /// The pixel of a number.
    pub fn at(&self, number: f64) -> f64 {
        self.from + (number - self.low) / (self.high - self.low) * (self.to - self.from)
    }

    /// Round numbers on the axis, and how they are written.
    pub fn ticks(&self) -> Vec<(f64, String)> {
        let rough = (self.high - self.low) / TICKS;
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|by| by * power).find(|step| *step >= rough).unwrap_or(rough);
        self.multiples(step).map(|number| (number, short(number, step))).collect()
    }

    /// Round times on the axis, and how they are written.
    pub fn time_ticks(&self) -> Vec<(f64, String)> {
        let rough = (self.high - self.low) / (TICKS + 2.0);
        let step = TIME_STEPS_S.into_iter().find(|step| *step >= rough);
        let step = step.unwrap_or_else(|| (rough / 31_536_000.0).ceil() * 31_536_000.0);
        self.multiples(step).map(|at_s| (at_s, short_time(at_s, step))).collect()
    }

    fn multiples(&self, step: f64) -> impl Iterator<Item = f64> + use<> {
        let (first, last) = ((self.low / step).ceil() as i64, (self.high / step).floor() as i64);
        (first..=last.min(first.saturating_add(100))).map(move |multiple| multiple as f64 * step)
    }
}

/// A number as it is written on an axis with this step.
fn short(number: f64, step: f64) -> String {
    let size = number.abs().max(step);
    let (by, unit) = match size {
        _ if !(1e-4..1e15).contains(&size) => return format!("{number:.1e}"),
        _ if size >= 1e9 => (1e9, "G"),
        _ if size >= 1e6 => (1e6, "M"),
        _ if size >= 1e4 => (1e3, "k"),
        _ => (1.0, ""),
    };
    let digits = (-(step / by).log10().floor()).clamp(0.0, 6.0) as usize;
    format!("{:.digits$}{unit}", number / by)
}

fn short_time(at_s: f64, step: f64) -> String {
    let format = match step {
        _ if step < 60.0 => "%H:%M:%S",
        _ if step < 86_400.0 => "%d %b %H:%M",
        _ => "%d %b %Y",
    };
    written(at_s, format)
}

/// A time as people write it.
pub fn time_label(at_s: f64) -> String {
    written(at_s, "%Y-%m-%d %H:%M:%S")
}

fn written(at_s: f64, format: &str) -> String {
    timestamp_s_to_datetime(at_s as i64).map_or_else(|| format!("{at_s} s"), |time| time.format(format).to_string())
}
