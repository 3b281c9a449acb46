//! Listed columns of a change replaced by commitments, everything else as received, byte by byte.

use evenkeel_schemas::audit::hex;
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

/// What stands before a commitment in a payload.
pub const MARK: &str = "commitment/v1:";

/// A salt.
pub type Salt = [u8; 32];

/// What is personal in a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Personal {
    /// `schema.table`.
    pub table: String,
    /// The column that says whose row it is; it stays as it is, so it must be a number or a pseudonym. Rows without it are
    /// those of a person without a name.
    pub subject: String,
    /// The columns that are replaced.
    pub columns: Vec<String>,
}

impl std::str::FromStr for Personal {
    type Err = String;

    /// `schema.table:subject:column,column`
    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split(':').collect::<Vec<_>>();
        let &[table, subject, columns] = parts.as_slice() else {
            return Err("write it as TABLE:SUBJECT:COLUMN,COLUMN".to_owned());
        };
        let columns = columns.split(',').map(str::to_owned).collect::<Vec<_>>();
        if table.is_empty() || subject.is_empty() || columns.iter().any(|column| column.is_empty() || column == subject)
        {
            return Err("every part has a name, and the subject is none of the columns".to_owned());
        }
        Ok(Self { table: table.to_owned(), subject: subject.to_owned(), columns })
    }
}

/// A value that was replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its commitment.
    pub commitment: [u8; 32],
    /// Whose it is.
    pub subject: String,
    /// `schema.table`.
    pub table: String,
    /// The column.
    pub column: String,
    /// Its JSON, as received.
    pub value: String,
}

/// A record to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewritten {
    /// Its key.
    pub key: Vec<u8>,
    /// Its payload.
    pub payload: Vec<u8>,
    /// What was replaced in it.
    pub fields: Vec<Field>,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    source: Source<'a>,
    #[serde(borrow, default)]
    before: Option<&'a RawValue>,
    #[serde(borrow, default)]
    after: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Source<'a> {
    #[serde(borrow, default)]
    schema: Option<Cow<'a, str>>,
    #[serde(borrow)]
    table: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Wrapped<'a> {
    #[serde(borrow)]
    payload: Envelope<'a>,
}

type Columns<'a> = BTreeMap<Cow<'a, str>, &'a RawValue>;

/// The commitment of a value.
pub fn commit(table: &str, column: &str, salt: &Salt, value: &str) -> [u8; 32] {
    let mut hash = Sha256::new_with_prefix(b"evenkeel/vault/v1\0");
    for part in [table.as_bytes(), column.as_bytes(), salt, value.as_bytes()] {
        let length = u32::try_from(part.len()).expect("records are bounded far below 4 GiB");
        hash.update(length.to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// Replaces what is personal in a record; `salt` gives a person's. What is no change becomes its hash alone.
///
/// # Errors
/// What `salt` says.
pub fn rewrite<E>(
    (key, payload): (&[u8], &[u8]),
    personal: &[Personal],
    mut salt: impl FnMut(&str) -> Result<Salt, E>,
) -> Result<Rewritten, E> {
    let passed = || Rewritten { key: key.to_vec(), payload: payload.to_vec(), fields: Vec::new() };
    if payload.is_empty() {
        // A tombstone: which table it is of, nobody can say, so nobody may see its key.
        return Ok(Rewritten { key: digest_of(key), ..passed() });
    }
    let text = std::str::from_utf8(payload).ok();
    let Some((text, envelope)) = text.and_then(|text| Some((text, parse(text)?))) else {
        return Ok(unreadable(key, payload));
    };
    let table =
        envelope.source.schema.iter().map(|schema| format!("{schema}.")).collect::<String>() + &envelope.source.table;
    let Some(personal) = personal.iter().find(|personal| personal.table == table) else { return Ok(passed()) };
    let (mut fields, mut places, mut of_key) = (Vec::new(), Vec::new(), Vec::new());
    for row in [envelope.before, envelope.after].into_iter().flatten() {
        let Ok(columns) = serde_json::from_str::<Columns<'_>>(row.get()) else { return Ok(unreadable(key, payload)) };
        let subject =
            columns.get(personal.subject.as_str()).map_or("", |value| value.get()).trim_matches('"').to_owned();
        let salt = salt(&subject)?;
        for column in &personal.columns {
            let Some(value) = columns.get(column.as_str()).map(|value| value.get()).filter(|value| *value != "null")
            else {
                continue;
            };
            let commitment = commit(&table, column, &salt, value);
            places.push((place(text, value), commitment));
            of_key.push((value.to_owned(), column.clone(), commitment));
            let (subject, table, column, value) = (subject.clone(), table.clone(), column.clone(), value.to_owned());
            fields.push(Field { commitment, subject, table, column, value });
        }
    }
    let key = rewrite_key(key, &of_key);
    Ok(Rewritten { key, payload: splice(text, places), fields })
}

/// What cannot be read, as its hash alone.
fn unreadable(key: &[u8], payload: &[u8]) -> Rewritten {
    let payload = [br#"{"unreadable":""#, digest_of(payload).as_slice(), br#""}"#].concat();
    Rewritten { key: digest_of(key), payload, fields: Vec::new() }
}

fn parse(text: &str) -> Option<Envelope<'_>> {
    let plain = serde_json::from_str::<Envelope<'_>>(text).ok();
    plain.or_else(|| serde_json::from_str::<Wrapped<'_>>(text).ok().map(|wrapped| wrapped.payload))
}

/// A key has columns of the row: those that are personal have the same commitments.
fn rewrite_key(key: &[u8], replaced: &[(String, String, [u8; 32])]) -> Vec<u8> {
    let Ok(text) = std::str::from_utf8(key) else { return digest_of(key) };
    let columns = serde_json::from_str::<Columns<'_>>(text).unwrap_or_default();
    let places = columns.iter().filter_map(|(column, value)| {
        let same = |(old, name, _): &&(String, String, [u8; 32])| name == column && old == value.get();
        replaced.iter().find(same).map(|(_, _, commitment)| (place(text, value.get()), *commitment))
    });
    splice(text, places.collect())
}

/// Where a part of a text lies in it.
fn place(text: &str, part: &str) -> Range<usize> {
    let start = part.as_ptr() as usize - text.as_ptr() as usize;
    start..start + part.len()
}

fn splice(text: &str, mut places: Vec<(Range<usize>, [u8; 32])>) -> Vec<u8> {
    places.sort_by_key(|(place, _)| place.start);
    let (mut out, mut from) = (Vec::with_capacity(text.len()), 0);
    for (place, commitment) in places {
        out.extend_from_slice(&text.as_bytes()[from..place.start]);
        out.extend_from_slice(format!("\"{MARK}{}\"", hex(&commitment)).as_bytes());
        from = place.end;
    }
    out.extend_from_slice(&text.as_bytes()[from..]);
    out
}

/// The hash of bytes in hexadecimal digits; nothing of nothing.
fn digest_of(bytes: &[u8]) -> Vec<u8> {
    if bytes.is_empty() { Vec::new() } else { hex(&Sha256::digest(bytes)).into_bytes() }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn personal() -> [Personal; 1] {
        ["public.orders:owner:customer,mail".parse().unwrap()]
    }

    fn rewritten(key: &str, payload: &str) -> Rewritten {
        let salt = |subject: &str| Ok::<_, ()>([subject.len() as u8; 32]);
        rewrite((key.as_bytes(), payload.as_bytes()), &personal(), salt).unwrap()
    }

    const CHANGE: &str = r#"{ "before":null,"after":{"id":1,"owner":"p7","customer":"Ada \"A\"","mail":null,"n":9007199254740993},"source":{"schema":"public","table":"orders"},"op":"c"}"#;

    #[test]
    fn listed_columns_are_replaced_and_nothing_else_is_touched() {
        let Rewritten { payload, fields, key } = rewritten("{\"id\":1}", CHANGE);
        let value = r#""Ada \"A\"""#;
        let commitment = commit("public.orders", "customer", &[2; 32], value);
        let expected = CHANGE.replace(value, &format!("\"{MARK}{}\"", hex(&commitment)));
        assert_eq!(String::from_utf8(payload).unwrap(), expected);
        assert_eq!(key, b"{\"id\":1}");
        let [field] = fields.as_slice() else { panic!("one value was replaced: {fields:?}") };
        assert_eq!((field.subject.as_str(), field.column.as_str(), field.value.as_str()), ("p7", "customer", value));
        let wrapped = format!("{{\"schema\":{{}},\"payload\":{CHANGE}}}");
        assert_eq!(rewritten("", &wrapped).fields, fields, "with its schema around it");
    }

    #[test]
    fn other_tables_pass_and_keys_are_no_way_around() {
        let other = CHANGE.replace("\"orders\"", "\"items\"");
        assert_eq!(
            rewritten("k", &other),
            Rewritten { key: b"k".to_vec(), payload: other.into_bytes(), fields: vec![] }
        );
        let key = String::from_utf8(rewritten(r#"{"id":1,"customer":"Ada \"A\""}"#, CHANGE).key).unwrap();
        assert!(key.starts_with(r#"{"id":1,"customer":"commitment/v1:"#) && !key.contains("Ada"), "{key}");
    }

    #[test]
    fn what_cannot_be_read_goes_on_as_its_hash_alone() {
        let no_row = CHANGE.replace("{\"id\":1", "[{\"id\":1").replace("},\"source", "}],\"source");
        for payload in ["Ada", "{}", "[1]", "{\"after\":{\"customer\":\"Ada\"}}", &no_row] {
            let Rewritten { key, payload, .. } = rewritten("Ada", payload);
            for bytes in [key, payload] {
                assert!(!String::from_utf8(bytes).unwrap().contains("Ada"));
            }
        }
        assert!(rewritten("Ada", "").payload.is_empty(), "a tombstone stays one");
    }

    #[test]
    fn commitments_tell_persons_columns_and_values_apart() {
        let commitments = [
            commit("t", "c", &[1; 32], "\"x\""),
            commit("t", "c", &[2; 32], "\"x\""),
            commit("t", "cc", &[1; 32], "\"x\""),
            commit("tc", "c", &[1; 32], "\"x\""),
            commit("t", "c", &[1; 32], "\"y\""),
        ];
        assert_eq!(commitments.iter().collect::<std::collections::BTreeSet<_>>().len(), commitments.len());
    }
}
