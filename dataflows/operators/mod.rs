//! The general operators, the only places with state.

pub(crate) mod epochwise;
pub(crate) mod fold;
pub(crate) mod shard;
pub(crate) mod slot;
pub(crate) mod window;
