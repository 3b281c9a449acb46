//! Acting: carries out committed commands at HAProxy, by its Runtime API, and says what came of them.
//!
//! A process of its own that follows the committed commands. A *target* is what a command is about, a node or a service; the
//! [`Map`] says which servers of HAProxy it is, and what is not in it is somebody else's to carry out. Four steps, again and
//! again:
//! 1. *Hear*: commands that are `issued`, and mapped, wait in the [`Book`].
//! 2. *Act*: each that waits is refused, or carried out by [`Hands`] and read back; one whose HAProxy cannot be reached
//!    waits on until it expires.
//! 3. *Store* what was read, the newest fence of each target and what came of each command.
//! 4. *Say* the outcomes, as events of `ops.acks.v1`.
//!
//! A crash between 2 and 3 acts again: [`Hands`] look first, and what is so already is not done again. A crash between 3
//! and 4, or within 4, says an outcome again: the core takes the first answer. A crash anywhere else shows nothing.
//!
//! # Decision
//! * Of HAProxy's ways to take a server out, `drain` is the default: no new requests, while those in flight end, connections
//!   that live long go on, and its health checks, too. Who has sessions that stick to servers takes `maint`, which draining
//!   would not move.
//! * A server is never taken out that is the last one serving its backend, whatever was asked: HAProxy itself is asked. A
//!   server on trial does not count as one that serves.
//! * Success is what HAProxy shows afterwards, not what it answers: its answers to the same command are empty, or not, on
//!   success, and empty on some failures.
//! * A HAProxy that is started anew, or reloaded, has forgotten. It is asked ten times a second who it is
//!   ([`RESTART_LOOK`]); if it is another, what was taken out is taken out again. What a person changed there by hand is
//!   left.

mod actuator;
mod book;
mod hands;
mod map;
mod runtime;
mod server;
#[cfg(test)]
mod tests;

pub use actuator::{Act, Actuator, RESTART_LOOK};
pub use book::{Book, Store};
pub use hands::{Hands, TakeOut};
pub use map::{Map, Place};
pub use runtime::{Address, Runtime};
