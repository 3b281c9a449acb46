//! The general operators, the only places with state.

pub(crate) mod epochwise;
pub(crate) mod fold;
mod open;
mod open_ticks;
pub(crate) mod shard;
pub(crate) mod slot;
pub(crate) mod span;
pub(crate) mod teller;
pub(crate) mod window;
