//! A copy of evenkeel's audit log in a PostgreSQL table, exactly once and in order, and a watch over it.
//!
//! | file | holds |
//! |---|---|
//! | [`table`] | the table: made, written, read |
//! | [`copy`] | the committed log, partition by partition, into the table |
//! | [`check`] | the table against the chain and against what was copied: the same rule for a row, a page, the whole |
//! | [`report`] | what was found, as audit events |
//!
//! The copy is for people and their SQL; the truth stays in the log. Who may write the table can change it, so it is watched
//! in two ways. Change capture tells the core of every change at once (`tuning.mirror_table`; a copy of an entry is not
//! audited again, everything else is a finding). This process compares the table with the log: the row after the last one
//! that was copied once a second, all rows on a schedule. Each sees what the other cannot: capture can be turned off, and
//! a row that nobody copied may well be whole.
//!
//! # Decision
//! What the table holds is where copying goes on: nothing else is kept, so nothing else can disagree. An entry has at least
//! as high an offset as a number, so reading begins at the offset of the last number. `on conflict do nothing` makes two
//! copiers harmless; a row that is there before it is copied is read back and compared.
//!
//! A row that was changed is told, never repaired: a repair would hide what happened, and be told, too.
//!
//! Bounds: a change is captured with its row in base64, twice in an update; one of more than a mebibyte is rejected by
//! evenkeel instead of judged, and one of more than the broker's `message.max.bytes` stops the connector until that is
//! raised. The rows are hashed again all the same. A look at all rows says at most [`report::FINDINGS_BOUND`] of them one
//! by one. Connections to the database are not encrypted.

pub mod check;
pub mod copy;
pub mod report;
pub mod table;
