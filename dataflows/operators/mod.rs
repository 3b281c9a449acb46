//! The general operators, the only places with state.

pub(crate) mod epochwise;
pub(crate) mod fold;
pub(crate) mod open;
pub(crate) mod shard;
pub(crate) mod slot;
pub(crate) mod span;
pub(crate) mod teller;
pub(crate) mod window;
