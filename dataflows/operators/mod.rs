//! The general operators, the only places with state.

pub(crate) mod epochwise;
pub(crate) mod fold;
pub(crate) mod key_state;
pub(crate) mod mend;
pub(crate) mod minutes;
mod open;
mod open_ticks;
pub(crate) mod season;
pub(crate) mod shard;
pub(crate) mod slot;
pub(crate) mod span;
pub(crate) mod teller;
mod usual;
pub(crate) mod window;
