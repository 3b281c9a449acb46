//! Personal data, kept out of the audit log and erasable: between Debezium's topic and `db.changes.v1`.
//!
//! | file | holds |
//! |---|---|
//! | [`rewrite`] | listed columns of a change replaced by commitments, everything else as received |
//! | [`store`] | the vault: a salt for each person, the values behind commitments, how far was read |
//!
//! ```text
//! Debezium ─► raw.db.changes.v1 ─► evenkeel-vault run ─► db.changes.v1 ─► evenkeel run ─► audit chain
//!                                          └► vault (values, salts) ◄─ open, erase
//! ```
//! A commitment is `SHA256("evenkeel/vault/v1\0" ‖ lp(table) ‖ lp(column) ‖ lp(salt) ‖ lp(value))` with `lp` a u32 length,
//! big-endian, and the bytes; the value is its JSON as received, the salt 32 random bytes. The chain is over commitments, so
//! it verifies after an erasure as before. With salt and value anybody can check that a value is the one that was committed;
//! without the salt nobody can find it, not even by trying every name there is.
//!
//! # Decision
//! A salt for each person, and not for each value: an erasure deletes it, and with it every commitment of the person means
//! nothing any more, whoever kept a copy of some values. Equal values of one person in one column have equal commitments,
//! so that the log shows whether a field changed; those of two persons differ.
//!
//! This is a process of its own, before the log: the core has no randomness, or a replay would not say the same, and what is
//! in the chain once cannot be taken out. Salt and values are safe before the change goes on, so a crash in between makes
//! the same commitments again: changes go on at least once, as Debezium's do.
//!
//! Closed by default: what cannot be read as a change goes on as its hash alone, and evenkeel rejects it. What this cannot
//! do: know of a personal column that is not listed, and forget the topic it reads. That one holds everything in the clear,
//! so its `retention.ms` must be shorter than an erasure may take; nor does an erasure reach backups of the vault.

pub mod rewrite;
pub mod store;
