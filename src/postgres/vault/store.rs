//! The vault: a salt for each person, the values behind commitments, how far was read. Its tables are in a schema of their
//! own, `vault`, of a database that holds nothing else and that few may read.

use super::rewrite::{Field, Salt};
use crate::database_error;
use evenkeel::ports::PortError;
use evenkeel_schemas::{Cut, Partition, Topic};
use postgres::{Client, NoTls};

const TABLES: &str = "
create schema if not exists vault;
create table if not exists vault.subjects (subject text primary key, salt bytea not null);
create table if not exists vault.fields (
  commitment bytea primary key, subject text not null references vault.subjects on delete cascade,
  table_name text not null, column_name text not null, value text not null);
create index if not exists fields_subject on vault.fields (subject);
create table if not exists vault.positions (partition integer primary key, next_offset bigint not null);
";

/// The vault.
pub struct Store(Client);

/// What is behind a commitment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The value.
    pub field: Field,
    /// What it was committed with.
    pub salt: Vec<u8>,
}

impl Store {
    /// Connects, and makes the tables if they are not there.
    ///
    /// # Errors
    /// `Retry` if the database cannot be reached now.
    pub fn open(url: &str) -> Result<Self, PortError> {
        let mut client =
            Client::connect(url, NoTls).map_err(|error| database_error("connecting to the vault", &error))?;
        client.batch_execute(TABLES).map_err(|error| database_error("making the vault's tables", &error))?;
        Ok(Self(client))
    }

    /// The salt of a person, made if there is none.
    ///
    /// # Errors
    /// `Retry` if the database cannot be reached now; `Fatal` if this machine has no randomness.
    pub fn salt(&mut self, subject: &str) -> Result<Salt, PortError> {
        let mut salt = Salt::default();
        getrandom::fill(&mut salt).map_err(|error| PortError::Fatal(format!("making a salt: {error}")))?;
        // Two at once: the second gets the salt of the first.
        let statement = "with made as (insert into vault.subjects values ($1, $2) on conflict do nothing returning salt) \
                         select salt from made union all select salt from vault.subjects where subject = $1 limit 1";
        let found = self.0.query_one(statement, &[&subject, &salt.as_slice()]);
        let found = found.map_err(|error| database_error("reading a salt", &error))?;
        let bytes: &[u8] = found.get(0);
        bytes
            .try_into()
            .map_err(|_| PortError::Fatal(format!("the salt of {subject:?} has {} bytes, not 32", bytes.len())))
    }

    /// Keeps values.
    ///
    /// # Errors
    /// `Retry` if the database cannot be reached now.
    pub fn keep(&mut self, fields: &[Field]) -> Result<(), PortError> {
        let texts = |text: fn(&Field) -> &String| fields.iter().map(text).collect::<Vec<_>>();
        let commitments = fields.iter().map(|field| field.commitment.as_slice()).collect::<Vec<_>>();
        let statement = "insert into vault.fields select * from unnest($1::bytea[], $2::text[], $3::text[], $4::text[], \
                         $5::text[]) on conflict do nothing";
        let kept = self.0.execute(
            statement,
            &[
                &commitments,
                &texts(|it| &it.subject),
                &texts(|it| &it.table),
                &texts(|it| &it.column),
                &texts(|it| &it.value),
            ],
        );
        kept.map(|_| ()).map_err(|error| database_error("keeping values", &error))
    }

    /// How far the changes were read.
    ///
    /// # Errors
    /// `Retry` if the database cannot be reached now.
    pub fn positions(&mut self) -> Result<Cut, PortError> {
        let found = self.0.query("select partition, next_offset from vault.positions", &[]);
        let found = found.map_err(|error| database_error("reading positions", &error))?;
        let position = |row: &postgres::Row| {
            let partition = Partition { topic: Topic::Changes, partition: row.get::<_, i32>(0).cast_unsigned() };
            (partition, row.get::<_, i64>(1).cast_unsigned())
        };
        Ok(Cut(found.iter().map(position).collect()))
    }

    /// Remembers how far a partition was read.
    ///
    /// # Errors
    /// `Retry` if the database cannot be reached now.
    pub fn advance(&mut self, partition: u32, next_offset: u64) -> Result<(), PortError> {
        let statement =
            "insert into vault.positions values ($1, $2) on conflict (partition) do update set next_offset = $2";
        let moved = self.0.execute(statement, &[&partition.cast_signed(), &next_offset.cast_signed()]);
        moved.map(|_| ()).map_err(|error| database_error("remembering a position", &error))
    }

    /// What is behind a commitment; `None` if it was erased, or never made here.
    ///
    /// # Errors
    /// `Retry` if the database cannot be reached now.
    pub fn reveal(&mut self, commitment: [u8; 32]) -> Result<Option<Opened>, PortError> {
        let statement = "select subject, table_name, column_name, value, salt from vault.fields join vault.subjects \
                         using (subject) where commitment = $1";
        let found = self.0.query_opt(statement, &[&commitment.as_slice()]);
        let found = found.map_err(|error| database_error("opening a commitment", &error))?;
        Ok(found.map(|row| {
            let (subject, table, column, value) = (row.get(0), row.get(1), row.get(2), row.get(3));
            Opened { field: Field { commitment, subject, table, column, value }, salt: row.get(4) }
        }))
    }

    /// Deletes a person's salt and values; returns how many values there were, `None` if the person is not known.
    ///
    /// # Errors
    /// `Retry` if the database cannot be reached now.
    pub fn erase(&mut self, subject: &str) -> Result<Option<i64>, PortError> {
        let statement = "with erased as (select count(*) as fields from vault.fields where subject = $1), \
                         gone as (delete from vault.subjects where subject = $1 returning 1) \
                         select fields from erased, gone";
        let erased = self.0.query_opt(statement, &[&subject]);
        Ok(erased.map_err(|error| database_error("erasing", &error))?.map(|row| row.get(0)))
    }
}
