//! The rules: plain functions on numbers. Every answer, the negative ones too, comes with its reason.

mod causes;
mod latch;
mod limits;
mod relative;
mod saturation;

pub use causes::{
    Candidate, Evidence, Inference, MAX_CANDIDATES, MAX_HOPS, MIN_HISTORY, Measured, Metric, Period, QUIET_SURPRISE,
    Reason, rank_causes,
};
pub use latch::{Latch, Turn};
pub use limits::Detection;
pub use relative::{Judgement, is_quiet, judge_burst, judge_errors, judge_latency};
pub use saturation::{Trend, judge_saturation};
