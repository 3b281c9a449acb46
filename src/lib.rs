//! The shell of evenkeel: moves epochs between the world and the core.

pub mod ports;
pub mod shop;
pub mod cold;
pub mod embedded;
pub mod kafka;
pub mod ship;
