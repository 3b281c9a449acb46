//! What the generator counted itself, per service and slot: what pictures show and static thresholds go by.

/// A slot of a service.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Point {
    pub requests: u32,
    pub errors: u32,
    /// Latency quantiles of the slot, µs; 0 without requests.
    pub p50_us: u32,
    pub p99_us: u32,
}

impl Point {
    /// The share of requests that failed; 0 without requests.
    pub fn error_share(&self) -> f64 {
        f64::from(self.errors) / f64::from(self.requests.max(1))
    }
}

/// Counts one service in slots of one width.
#[derive(Clone, Debug)]
pub struct Meter {
    pub width_s: i64,
    /// Closed slots from the start on.
    pub points: Vec<Point>,
    errors: u32,
    latencies_us: Vec<u32>,
}

impl Meter {
    pub fn new(width_s: i64) -> Self {
        Self { width_s, points: Vec::new(), errors: 0, latencies_us: Vec::new() }
    }

    /// Counts a request of the open slot.
    pub fn count(&mut self, failed: bool, latency_us: u32) {
        self.errors += u32::from(failed);
        self.latencies_us.push(latency_us);
    }

    /// A second is over.
    pub fn second(&mut self, at_s: i64) {
        if (at_s + 1) % self.width_s != 0 {
            return;
        }
        let requests = self.latencies_us.len() as u32;
        let (p50_us, p99_us) = (self.quantile_us(500), self.quantile_us(990));
        self.points.push(Point { requests, errors: self.errors, p50_us, p99_us });
        self.errors = 0;
        self.latencies_us.clear();
    }

    fn quantile_us(&mut self, per_mille: usize) -> u32 {
        let at = self.latencies_us.len() * per_mille / 1000;
        if self.latencies_us.is_empty() { 0 } else { *self.latencies_us.select_nth_unstable(at).1 }
    }
}
