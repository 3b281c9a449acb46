//! The gate: makes sure that somebody is who they say, and puts its seal on what they order.
//!
//! A process of its own, the only one with the secrets. It is told an order and a one-time password (TOTP, RFC 6238) over
//! HTTP, checks the password, remembers that it was used, signs the order, and writes it to the control topic. The core
//! verifies the seal against the public keys of the roster in force: who else may write there can order, and prove nothing.
//!
//! 1. [`secrets`]: the file of secrets, readable by its owner alone.
//! 2. [`book`]: which passwords were used and who failed how often, kept over restarts.
//! 3. [`server`]: orders in, sealed orders out.
//!
//! # Decision
//! * A password counts once for each person, and so does every older one (RFC 6238, section 5.2); the one before and the one
//!   after the present are taken, for clocks differ. After five wrong ones in five minutes a person is locked out until the
//!   first of them is five minutes old, and the audit log says so. So whoever knows a name can lock it out; who guesses six
//!   digits at that pace, day and night, has a chance of one in two after five months.
//! * That a password was used is on disk before the order is written: a crash in between costs a password, never a second use.
//! * It speaks HTTP without TLS and listens on loopback by default; whoever opens it puts a proxy with TLS before it.
//! * What a gate proves is who speaks. Who may write to the control topic can still apply another policy: that topic's access
//!   control is the wall around all of this.

pub mod book;
pub mod secrets;
pub mod server;

pub use book::{Book, Denied};
pub use secrets::Secrets;
pub use server::{Asked, Gate};
