//! Seeded numbers: SplitMix64 (Steele, Lea & Flood 2014) and the distributions the simulations draw from.

pub struct Random(pub u64);

impl Random {
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// In (0, 1).
    pub fn unit(&mut self) -> f64 {
        ((self.bits() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// Standard normal, by Box and Muller.
    pub fn normal(&mut self) -> f64 {
        let (radius, angle) = ((-2.0 * self.unit().ln()).sqrt(), std::f64::consts::TAU * self.unit());
        radius * angle.cos()
    }

    /// Gamma with mean `shape` and scale 1, by Marsaglia and Tsang (2000), for shapes of at least 1.
    fn gamma(&mut self, shape: f64) -> f64 {
        let d = shape - 1.0 / 3.0;
        loop {
            let x = self.normal();
            let v = (1.0 + x / (9.0 * d).sqrt()).powi(3);
            if v > 0.0 && self.unit().ln() < 0.5 * x * x + d - d * v + d * v.ln() {
                return d * v;
            }
        }
    }

    /// Poisson: Knuth's products up to a mean of 64, above that a rounded normal.
    pub fn poisson(&mut self, mean: f64) -> i64 {
        if mean > 64.0 {
            return (mean + mean.sqrt() * self.normal()).round().max(0.0) as i64;
        }
        let (limit, mut product, mut count) = ((-mean).exp(), self.unit(), 0);
        while product > limit {
            product *= self.unit();
            count += 1;
        }
        count
    }

    /// A count of this mean whose variance is `dispersion` times it: Poisson of a gamma.
    pub fn count(&mut self, mean: f64, dispersion: f64) -> i64 {
        if dispersion <= 1.0 {
            return self.poisson(mean);
        }
        let shape = (mean / (dispersion - 1.0)).max(1.0);
        let rate = self.gamma(shape) * mean / shape;
        self.poisson(rate)
    }

    /// How many of `trials` succeed: gaps between successes are geometric.
    pub fn binomial(&mut self, trials: i64, chance: f64) -> i64 {
        let (step, mut at, mut hits) = ((-chance).ln_1p(), 0.0, 0);
        loop {
            at += (self.unit().ln() / step).floor() + 1.0;
            if at > trials as f64 {
                return hits;
            }
            hits += 1;
        }
    }
}
