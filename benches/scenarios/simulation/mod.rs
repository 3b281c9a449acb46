//! Worlds with known faults: traffic made from a seed, sent through the engine, and scored against what is known.
//!
//! The bench and `tests/scenarios.rs` share it.

pub mod catalogue;
pub mod drive;
pub mod faultless;
pub mod fleets;
pub mod gauges;
pub mod incidents;
pub mod meter;
pub mod random;
pub mod score;
pub mod traffic;
pub mod world;
pub mod writer;
