//! Acting: carries out committed commands, and says what came of them.
//!
//! A process of its own that follows the committed commands, with one [`Executor`]: [`haproxy`], [`envoy`], a [`webhook`],
//! allow-listed [`scripts`], or [`kubernetes`]. Executors in other languages follow the topic themselves
//! (`tests/executor.py`). Four steps, again and again:
//! 1. *Hear*: commands that are `issued`, and the executor's to carry out, wait in the [`Book`].
//! 2. *Act*: each that waits is refused, or carried out; while the executor cannot be reached it waits on until it expires.
//! 3. *Store* what was read, the newest fence of everything that commands change and what came of each command.
//! 4. *Say* the outcomes, as events of `ops.acks.v1`.
//!
//! A crash between 2 and 3 acts again: executors look first, or are known to whoever acts by the command's id, and what is so
//! already is not done again. One that can do neither, a script, is stored as begun before: it is not run again, and its
//! command has failed. A crash between 3 and 4, or within 4, says an outcome again: the core takes the first answer. A crash
//! anywhere else shows nothing.

mod actuator;
mod book;
pub mod envoy;
mod executor;
pub mod haproxy;
pub mod kubernetes;
pub mod scripts;
#[cfg(test)]
mod tests;
pub mod webhook;

pub use actuator::{Act, Actuator};
pub use book::Book;
pub use executor::{Executor, Undone};
