//! The table: made, written, read.

use crate::database_error;
use evenkeel::ports::PortError;
use evenkeel_schemas::audit::{Entry, Hash};
use evenkeel_schemas::mirror::{COLUMNS, Row, from_text, to_text};
use postgres::{Client, NoTls};

/// The longest name of the table, bytes.
const NAME_BYTES: usize = 126;

/// Most rows that are looked at that no partition has.
const STRANGERS: usize = 10;

/// The types of the columns, in order; the first two are the key.
const TYPES: [&str; COLUMNS.len()] =
    ["integer", "bigint", "bigint", "bigint", "text", "text", "text", "text", "text", "bytea", "bytea", "bytea"];

/// The table of a database.
pub struct Table {
    client: Client,
    name: String,
}

impl Table {
    /// Connects, and makes the table if it is not there. Its name may have a schema before it.
    ///
    /// # Errors
    /// `Retry` if the database cannot be reached now; `Fatal` if the name is none, or the table cannot be made.
    pub fn open(url: &str, name: &str) -> Result<Self, PortError> {
        let name = quoted(name)?;
        let client =
            Client::connect(url, NoTls).map_err(|error| database_error("connecting to the database", &error))?;
        let mut table = Self { client, name };
        table.lock()?;
        table.make()?;
        Ok(table)
    }

    /// Takes the table for as long as this session lasts: what a second copier is ahead with would look forged.
    fn lock(&mut self) -> Result<(), PortError> {
        let statement = "select pg_try_advisory_lock(hashtextextended('evenkeel-mirror ' || $1, 0))";
        let taken = self.client.query_one(statement, &[&self.name]);
        match taken.map_err(|error| database_error("taking the table", &error))?.get(0) {
            true => Ok(()),
            false => Err(PortError::Retry(format!("another evenkeel-mirror copies to {}; one is enough", self.name))),
        }
    }

    fn make(&mut self) -> Result<(), PortError> {
        let failed = |error: postgres::Error| database_error("making the table", &error);
        let there = self.client.query_one("select to_regclass($1) is not null", &[&self.name]).map_err(failed)?;
        if there.get(0) {
            return Ok(());
        }
        let columns = COLUMNS.iter().zip(TYPES).map(|(name, kind)| format!("{name} {kind} not null"));
        let (name, columns) = (&self.name, columns.collect::<Vec<_>>().join(", "));
        // With the whole old row in its changes, capture can say what was changed.
        let statement = format!(
            "create table if not exists {name} ({columns}, primary key (partition, seq)); \
             alter table {name} replica identity full"
        );
        self.client.batch_execute(&statement).map_err(failed)
    }

    /// The last row of a partition: its number and its hash.
    ///
    /// # Errors
    /// `Retry` if the database cannot be reached now.
    pub fn last(&mut self, partition: u32) -> Result<Option<(u64, Hash)>, PortError> {
        let statement =
            format!("select seq, current_hash from {} where partition = $1 order by seq desc limit 1", self.name);
        let found = self.client.query_opt(&statement, &[&partition.cast_signed()]);
        let found = found.map_err(|error| database_error("reading the last row", &error))?;
        Ok(found.map(|row| (row.get::<_, i64>(0).cast_unsigned(), hash_of(row.get(1)))))
    }

    /// At most `limit` rows of a partition from number `from` on, in order; a row that cannot be one is its number alone.
    ///
    /// # Errors
    /// `Retry` if the database cannot be reached now.
    pub fn rows(&mut self, partition: u32, from: u64, limit: i64) -> Result<Vec<Result<Row, u64>>, PortError> {
        let statement = format!(
            "select {} from {} where partition = $1 and seq >= $2 order by seq limit $3",
            COLUMNS.join(", "),
            self.name
        );
        let Ok(from) = i64::try_from(from) else { return Ok(Vec::new()) };
        let found = self.client.query(&statement, &[&partition.cast_signed(), &from, &limit]);
        let found = found.map_err(|error| database_error("reading rows", &error))?;
        Ok(found.iter().map(|row| read(row).ok_or_else(|| row.get::<_, i64>(1).cast_unsigned())).collect())
    }

    /// Some rows that are in none of these partitions, or have a number that is none.
    ///
    /// # Errors
    /// `Retry` if the database cannot be reached now.
    pub fn strangers(&mut self, partitions: &[u32]) -> Result<Vec<(u32, u64)>, PortError> {
        let statement = format!(
            "select partition, seq from {} where partition <> all($1) or seq < 0 order by 1, 2 limit {STRANGERS}",
            self.name
        );
        let partitions = partitions.iter().map(|partition| partition.cast_signed()).collect::<Vec<_>>();
        let found = self.client.query(&statement, &[&partitions]);
        let found = found.map_err(|error| database_error("looking for rows of no partition", &error))?;
        let identity =
            |row: &postgres::Row| (row.get::<_, i32>(0).cast_unsigned(), row.get::<_, i64>(1).cast_unsigned());
        Ok(found.iter().map(identity).collect())
    }

    /// Inserts rows, all or none; returns how many were not there before.
    ///
    /// # Errors
    /// `Retry` if the database cannot be reached now.
    pub fn insert(&mut self, rows: &[Row]) -> Result<u64, PortError> {
        let texts = |text: fn(&Entry) -> &String| {
            rows.iter().map(|row| to_text(text(&row.entry)).into_owned()).collect::<Vec<_>>()
        };
        let numbers = |number: fn(&Entry) -> i64| rows.iter().map(|row| number(&row.entry)).collect::<Vec<_>>();
        let partitions = rows.iter().map(|row| row.entry.partition.cast_signed()).collect::<Vec<_>>();
        let payloads = rows.iter().map(|row| row.entry.payload.as_slice()).collect::<Vec<_>>();
        let previous = rows.iter().map(|row| row.previous_hash.as_slice()).collect::<Vec<_>>();
        let current = rows.iter().map(|row| row.current_hash.as_slice()).collect::<Vec<_>>();
        let parameters = TYPES.iter().enumerate().map(|(at, kind)| format!("${}::{kind}[]", at + 1));
        let statement = format!(
            "insert into {} ({}) select * from unnest({}) on conflict do nothing",
            self.name,
            COLUMNS.join(", "),
            parameters.collect::<Vec<_>>().join(", ")
        );
        let inserted = self.client.execute(
            &statement,
            &[
                &partitions,
                &numbers(|entry| entry.seq.cast_signed()),
                &numbers(|entry| entry.epoch.cast_signed()),
                &numbers(|entry| entry.ts_us),
                &texts(|entry| &entry.event_type),
                &texts(|entry| &entry.table),
                &texts(|entry| &entry.op),
                &texts(|entry| &entry.actor),
                &texts(|entry| &entry.entity),
                &payloads,
                &previous,
                &current,
            ],
        );
        inserted.map_err(|error| database_error("inserting rows", &error))
    }
}

fn read(row: &postgres::Row) -> Option<Row> {
    let text = |at: usize| from_text(row.get(at));
    let entry = Entry {
        partition: row.get::<_, i32>(0).cast_unsigned(),
        seq: row.get::<_, i64>(1).cast_unsigned(),
        epoch: row.get::<_, i64>(2).cast_unsigned(),
        ts_us: row.get(3),
        event_type: text(4)?,
        table: text(5)?,
        op: text(6)?,
        actor: text(7)?,
        entity: text(8)?,
        payload: row.get(9),
    };
    let hash = |at: usize| row.get::<_, &[u8]>(at).try_into().ok();
    Some(Row { entry, previous_hash: hash(10)?, current_hash: hash(11)? })
}

/// A hash that may have been changed to one of another length, which then is equal to none.
fn hash_of(bytes: &[u8]) -> Hash {
    bytes.try_into().unwrap_or_default()
}

/// A table's name between quotes, so that it is one.
fn quoted(name: &str) -> Result<String, PortError> {
    let parts = name.split('.').collect::<Vec<_>>();
    let plain = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if name.len() > NAME_BYTES || parts.len() > 2 || !parts.iter().all(plain) {
        return Err(PortError::Fatal(format!(
            "table {name:?}: letters, digits and _, with a schema and a dot before it or not"
        )));
    }
    Ok(parts.iter().map(|part| format!("\"{part}\"")).collect::<Vec<_>>().join("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_or_refused() {
        assert_eq!(quoted("audit_log").ok().as_deref(), Some("\"audit_log\""));
        assert_eq!(quoted("Own.audit_log").ok().as_deref(), Some("\"Own\".\"audit_log\""));
        for name in ["", ".", "a.b.c", "a;b", "a\"b", "a b", "é"] {
            assert!(quoted(name).is_err(), "{name}");
        }
    }
}
