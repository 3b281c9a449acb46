//! Alerts: what the log says of incidents, told to people, once each, and why somebody was not told.
//!
//! A process of its own that reads the committed incidents. An *alert* is an incident that was worth a page; a *receiver* is
//! somebody who is told, each by its own rules. Three steps, again and again:
//! 1. *Fold*: new records of incidents change the alerts; what was read and what it came to is stored as one file.
//! 2. *Decide*: by receiver and alert, what was told against what there is to tell: trigger, update, resolve, again, or
//!    nothing for a [`Reason`]. Every change of that answer is a line in the decisions file.
//! 3. *Send*, and store that it was sent.
//!
//! A crash between sending and storing sends once more, under the same key: receivers that know keys (Alertmanager,
//! PagerDuty, webhooks that heed `idempotency-key`, mail programs) show it once. A crash anywhere else shows nothing.
//!
//! # Decision
//! * What is told follows from states, not from a queue of messages: a receiver that was away learns what there is to know
//!   when it comes back, and nothing grows meanwhile but the alerts. One that opened and ended meanwhile is told as both.
//! * `startsAt`, and the times from which tiers count, are the log's own. What is due now goes by the machine's clock, for
//!   so do the receivers' own timeouts. [`Book`] is handed the time, and so is tested without a clock.
//! * Who is told, and what is silenced, is policy ([`crate::policy`]): it is versioned, audited and gone back from with the
//!   rest. What somebody silences by the API is remembered here alone.
//! * A receiver that a policy takes out is told the end of what it was told of, and why, within [`send::FAREWELL_US`]. If
//!   that fails, or the process ended in between, nobody knows any more where it is: `removed` is said of each.
//! * Labels stay those of the first page, as they are the identity at an Alertmanager; what changes goes to annotations.

pub mod alert;
pub mod api;
pub mod book;
pub mod condition;
pub mod decision;
pub mod feed;
pub mod mail;
pub mod receiver;
pub mod send;
pub mod silence;
pub mod state;
pub mod time;
mod told;
pub mod wording;

pub use alert::Alert;
pub use book::Book;
pub use condition::Condition;
pub use decision::{Action, Decision, Due, Reason};
pub use mail::Mail;
pub use receiver::{Kind, Receiver, Source};
pub use send::Sender;
pub use silence::{Matcher, Silence};
pub use state::Store;
