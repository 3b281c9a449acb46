//! One anomaly, one alert: what comes soon after an alert is heard only if it is stronger.

use super::bits;
use serde::{Deserialize, Serialize};

/// Values after an alert in which only a stronger one is heard.
const PERIOD: u32 = 100;

/// The last alert that was heard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Refractory {
    #[serde(with = "bits")]
    strongest: f64,
    /// Values since then, at most [`PERIOD`].
    since: u32,
}

impl Default for Refractory {
    fn default() -> Self {
        Self { strongest: 0.0, since: PERIOD }
    }
}

impl Refractory {
    /// `strength` if it is heard, else 0.
    pub fn next(&mut self, strength: f64) -> f64 {
        self.since = (self.since + 1).min(PERIOD);
        let heard = strength > 0.0 && (self.since >= PERIOD || strength > self.strongest);
        if !heard {
            return 0.0;
        }
        (self.strongest, self.since) = (strength, 0);
        strength
    }
}
