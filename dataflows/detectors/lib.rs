//! The rules: plain functions on numbers. Every answer, the negative ones too, comes with its reason.

mod latch;
mod limits;
mod relative;
mod saturation;
pub mod series;

pub use latch::{Latch, Turn};
pub use limits::Detection;
pub use relative::{Judgement, is_quiet, judge_burst, judge_errors, judge_latency};
pub use saturation::{Trend, judge_saturation};
