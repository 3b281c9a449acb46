//! Seeded numbers: a generator, and the two distributions as tables of their quantiles.
//!
//! # Decision
//! `ln` and `exp` are written out in additions, multiplications and divisions, which IEEE 754 fixes to the last bit:
//! the platform's own differ between libraries, and a seed must give the same bytes on every machine. They run once,
//! when the tables are built; drawing is integer arithmetic.

/// Number of quantiles in a table; an index is 12 random bits.
const STEPS: usize = 4096;

/// The fixed point of the tables: this many is one.
const ONE: f64 = 65_536.0;

/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    /// Generator number `stream` of a seed; streams do not influence each other.
    pub fn new(seed: u64, stream: u64) -> Self {
        let mut base = Self(seed);
        let start = base.next() ^ Self(stream).next();
        Self(start)
    }

    /// 64 random bits.
    #[inline]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to `bound` − 1; `bound` must not be 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// Brings `items` into a random order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u64 + 1) as usize);
        }
    }
}

/// Quantiles of a distribution, as multiples of its unit in 1/65536.
#[derive(Clone, Debug)]
pub(super) struct Quantiles(Vec<u32>);

impl Quantiles {
    /// The exponential distribution with mean 1: gaps between Poisson arrivals.
    pub fn exponential() -> Self {
        let raw = (0..STEPS).map(|step| -ln(1.0 - middle(step))).collect::<Vec<_>>();
        // The midpoints of 4,096 slices miss a little of the tail; the mean decides the rate, so it is set right.
        let mean = raw.iter().sum::<f64>() / STEPS as f64;
        Self(raw.iter().map(|value| (value / mean * ONE) as u32).collect())
    }

    /// The log-logistic distribution with median 1: like the log-normal one, its quantiles have a closed form.
    pub fn log_logistic(spread: f64) -> Self {
        let odds = |step| middle(step) / (1.0 - middle(step));
        Self((0..STEPS).map(|step| (exp(spread * ln(odds(step))) * ONE) as u32).collect())
    }

    /// The quantile that 12 random bits pick, times `unit`, rounded.
    #[inline]
    pub fn draw(&self, bits: u64, unit: u64) -> u64 {
        (unit * u64::from(self.0[bits as usize % STEPS]) + (1 << 15)) >> 16
    }
}

fn middle(step: usize) -> f64 {
    (step as f64 + 0.5) / STEPS as f64
}

/// The natural logarithm of a positive number: halved or doubled to near 1, then `2 artanh((x − 1) / (x + 1))`.
fn ln(mut value: f64) -> f64 {
    let mut halvings = 0.0;
    while value > 1.5 {
        (value, halvings) = (value / 2.0, halvings + 1.0);
    }
    while value < 0.75 {
        (value, halvings) = (value * 2.0, halvings - 1.0);
    }
    let ratio = (value - 1.0) / (value + 1.0);
    let (mut power, mut sum) = (ratio, 0.0);
    for odd in (1..30).step_by(2) {
        sum += power / f64::from(odd);
        power *= ratio * ratio;
    }
    2.0 * sum + halvings * std::f64::consts::LN_2
}

/// e to the power of a number between −20 and 20: the series at 1/1024 of it, squared ten times.
fn exp(value: f64) -> f64 {
    let small = value / 1024.0;
    let (mut term, mut sum) = (1.0, 1.0);
    for count in 1..10 {
        term *= small / f64::from(count);
        sum += term;
    }
    (0..10).fold(sum, |power, _| power * power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ln_and_exp_agree_with_the_platform() {
        for value in [1e-4, 0.3, 0.75, 1.0, 1.5, 2.0, 8191.0] {
            assert!((ln(value) - f64::ln(value)).abs() < 1e-12, "ln {value}");
        }
        for value in [-5.0, -0.1, 0.0, 0.5, 2.2] {
            assert!((exp(value) / f64::exp(value) - 1.0).abs() < 1e-12, "exp {value}");
        }
    }

    #[test]
    fn the_tables_have_their_mean_and_median() {
        let gaps = Quantiles::exponential();
        let mean = (0..STEPS as u64).map(|bits| gaps.draw(bits, 1_000_000)).sum::<u64>() / STEPS as u64;
        assert!((999_900..1_000_100).contains(&mean), "mean {mean}");
        let latencies = Quantiles::log_logistic(0.22);
        assert!((9_990..10_010).contains(&latencies.draw(STEPS as u64 / 2, 10_000)));
        assert!((26_000..29_000).contains(&latencies.draw(STEPS as u64 * 99 / 100, 10_000)), "p99 is 99^0.22 = 2.75");
    }

    #[test]
    fn streams_differ_and_repeat() {
        let draw = |seed, stream| Random::new(seed, stream).next();
        assert_eq!(draw(1, 1), draw(1, 1));
        assert_ne!(draw(1, 1), draw(1, 2));
        assert_ne!(draw(1, 1), draw(2, 1));
    }
}
