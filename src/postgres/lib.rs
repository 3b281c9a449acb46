//! What evenkeel has to do with PostgreSQL, apart from the changes that come through Kafka: a crate of its own, so that the
//! main build needs no client of it.
//!
//! | module | program | holds |
//! |---|---|---|
//! | [`mirror`] | `evenkeel-mirror` | a copy of the audit log in a table, and a watch over it |
//! | [`vault`] | `evenkeel-vault` | personal data, kept out of the audit log and erasable |

pub mod mirror;
pub mod vault;

use evenkeel::ports::PortError;

/// What the database said, as an error of a port: without the connection, or while it starts or stops, another try helps.
pub(crate) fn database_error(doing: &str, error: &postgres::Error) -> PortError {
    let what = error.as_db_error().map_or_else(|| error.to_string(), |said| said.message().to_owned());
    let class = error.code().map_or("08", |code| &code.code()[..2]);
    let text = format!("{doing}: {what}");
    match class {
        // Connection, insufficient resources, operator intervention, system error; serialization; a row that is rested on
        // was deleted a moment ago.
        "08" | "53" | "57" | "58" | "40" | "23" => PortError::Retry(text),
        _ => PortError::Fatal(format!("{text}; the table must be as this program makes it, and this user its owner")),
    }
}
