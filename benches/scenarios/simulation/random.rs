//! Seeded numbers, the same bits on every machine: `libm`, not the platform's logarithm.

/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Generator number `stream` of a seed; streams do not influence each other.
    pub fn new(seed: u64, stream: u64) -> Self {
        let start = Self(seed).bits() ^ Self(stream.wrapping_mul(2).wrapping_add(1)).bits();
        Self(start)
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Uniform in (0, 1), never one of its ends.
    pub fn unit(&mut self) -> f64 {
        ((self.bits() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// From 0 to `bound` − 1; `bound` must not be 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(bound)) >> 64) as u64
    }

    /// Seconds from `from` to `to` − 1.
    pub fn between(&mut self, from: i64, to: i64) -> i64 {
        from + self.below((to - from).max(1) as u64) as i64
    }

    /// Whether something of this probability happens.
    pub fn chance(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.unit() < probability
    }

    /// Exponential with mean 1: the gap to the next arrival of a Poisson process of rate 1.
    pub fn exponential(&mut self) -> f64 {
        -libm::log(self.unit())
    }

    /// Log-logistic with median 1: at a spread of 0.22 its 99th percentile is 2.7 times the median.
    pub fn log_logistic(&mut self, spread: f64) -> f64 {
        let unit = self.unit();
        libm::exp(spread * libm::log(unit / (1.0 - unit)))
    }

    /// Nearly normal with mean 0 and deviation 1: the sum of twelve uniform ones (Irwin–Hall).
    pub fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }
}
