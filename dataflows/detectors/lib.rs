//! The rules: plain functions on numbers. Every answer, the negative ones too, comes with its reason.

mod burn;
mod canary;
mod causes;
mod counts;
mod days;
mod flap;
mod forecast;
mod latch;
mod leak;
mod limits;
mod missing;
mod relative;
mod saturation;
pub mod series;
mod traffic;

pub use burn::{BURN_WINDOWS_S, BurnPair, burn_rate_milli, judge_burn};
pub use canary::{Canary, EXTRA_PER_MILLE};
pub use causes::{
    Candidate, Evidence, Inference, MAX_CANDIDATES, MAX_HOPS, MIN_HISTORY, Measured, Metric, Period, QUIET_SURPRISE,
    Reason, rank_causes,
};
pub use counts::{Share, Volume};
pub use flap::{Flap, MOST_FIRES};
pub use forecast::{Band, Forecast, judge_forecast};
pub use latch::{Latch, Turn};
pub use leak::{Leak, LeakJudgement};
pub use limits::TrafficLimits;
pub use limits::{BurnLimits, CanaryLimits, Detection, FlapLimits, ForecastLimits, LeakLimits, MissingLimits};
pub use missing::{MissingJudgement, MissingPolicy, judge_missing};
pub use relative::{Judgement, is_quiet, judge_burst, judge_errors, judge_latency};
pub use saturation::{Trend, judge_saturation};
pub use traffic::{judge_traffic, silence_after};
