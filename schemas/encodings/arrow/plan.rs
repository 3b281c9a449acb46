//! [`Plan`]: what the columns of a schema are, and which buffers each of them takes.

use super::table::Table;
use super::{malformed, unsupported};
use crate::Reason;
use crate::encodings::STRING_NAMES;
use crate::event::Refusal;

/// Most fields of a schema, those of nested columns included. Each batch goes through all of them, and an empty one is
/// short: without a bound, a record of 1 MiB could take a second.
const MOST_FIELDS: usize = 1024;

/// Columns nested in columns that are ignored.
const DEEPEST: usize = 32;

/// Members of `Type` in Schema.fbs, by their numbers there.
mod types {
    pub(super) const NULL: u8 = 1;
    pub(super) const INT: u8 = 2;
    pub(super) const UTF8: u8 = 5;
    pub(super) const TIMESTAMP: u8 = 10;
    pub(super) const LARGE_UTF8: u8 = 20;
    pub(super) const UTF8_VIEW: u8 = 24;
}

/// The unit of a timestamp that is read: `TimeUnit` in Schema.fbs.
const MICROSECOND: i16 = 2;

/// An integer's type.
#[derive(Clone, Copy)]
pub(super) struct Width {
    /// 1, 2, 4 or 8.
    pub bytes: usize,
    pub is_signed: bool,
}

/// How the strings of a column or dictionary lie in its buffers.
#[derive(Clone, Copy)]
pub(super) enum TextKind {
    /// Offsets of 32 bits.
    Utf8,
    /// Offsets of 64 bits.
    LargeUtf8,
    /// Views of 16 bytes.
    Utf8View,
}

/// What a column is to a request.
#[derive(Clone, Copy)]
pub(super) enum Role {
    /// The integer field of this number.
    Integer(usize, Width),
    /// The string field of this number.
    Text(usize, TextKind),
    /// The string field of this number, by the dictionary with this id.
    Dictionary { field: usize, id: i64, kind: TextKind, index: Width },
    /// No field, or nothing but nulls.
    Ignored,
}

/// One column, and what it takes of a record batch.
pub(super) struct Column {
    pub role: Role,
    pub taken: Taken,
}

/// Field nodes, buffers, and counts of variadic buffers.
#[derive(Clone, Copy, Default)]
pub(super) struct Taken {
    pub nodes: usize,
    pub buffers: usize,
    pub views: usize,
}

/// The columns of a schema in their order.
pub(super) struct Plan {
    pub columns: Vec<Column>,
}

impl Plan {
    /// The plan of a `Schema` table.
    pub(super) fn new(schema: Table<'_>) -> Result<Self, Refusal> {
        if schema.i16(0, 0) != 0 {
            return Err(unsupported("big-endian bodies: write little-endian ones".to_owned()));
        }
        let fields = schema.vector(1, 4).ok_or_else(|| malformed("a schema without fields"))?;
        let (mut plan, mut seen, mut budget) = (Self { columns: Vec::with_capacity(16) }, 0u32, MOST_FIELDS);
        for number in 0..fields.length {
            let field = fields.table(number).ok_or_else(|| malformed("a field beyond the schema's message"))?;
            let mut taken = Taken::default();
            take(field, &mut taken, &mut budget, 0)?;
            let role = role(field, &mut seen)?;
            plan.columns.push(Column { role, taken });
        }
        Ok(plan)
    }

    /// How the strings of the dictionary with this id lie, if any column is by it.
    pub(super) fn dictionary(&self, wanted: i64) -> Option<TextKind> {
        self.columns.iter().find_map(|column| match column.role {
            Role::Dictionary { id, kind, .. } if id == wanted => Some(kind),
            _ => None,
        })
    }
}

/// What a column is to a request; `seen` has a bit for each field that was there.
fn role(field: Table<'_>, seen: &mut u32) -> Result<Role, Refusal> {
    let (known, is_integer, number) = match field.string(0).unwrap_or_default() {
        b"event_time_us" => ("event_time_us", true, 0),
        b"status" => ("status", true, 1),
        b"latency_us" => ("latency_us", true, 2),
        b"service" => ("service", false, 0),
        b"route" => ("route", false, 1),
        b"method" => ("method", false, 2),
        b"node" => ("node", false, 3),
        b"region" => ("region", false, 4),
        b"version" => ("version", false, 5),
        b"tenant" => ("tenant", false, 6),
        b"trace_id" => ("trace_id", false, 7),
        b"upstream" => ("upstream", false, 8),
        _ => return Ok(Role::Ignored),
    };
    let bit = 1 << (number + if is_integer { STRING_NAMES.len() } else { 0 });
    if *seen & bit != 0 {
        return Err(Refusal(Reason::WrongShape, format!("column {known} is there twice")));
    }
    *seen |= bit;
    let other = |what: &str| unsupported(format!("column {known}: write it as {what}"));
    let (kind, of_type) = (field.u8(2), field.table(3));
    if kind == types::NULL {
        return Ok(Role::Ignored);
    }
    if is_integer {
        let role = match (kind, of_type, field.table(4)) {
            (types::INT, Some(int), None) => width(int).map(|width| Role::Integer(number, width)),
            (types::TIMESTAMP, Some(timestamp), None) if number == 0 && timestamp.i16(0, 0) == MICROSECOND => {
                Some(Role::Integer(number, Width { bytes: 8, is_signed: true }))
            }
            _ => None,
        };
        return role.ok_or_else(|| other(if number == 0 { "int64 or timestamp in µs" } else { "an integer" }));
    }
    let kind = match kind {
        types::UTF8 => TextKind::Utf8,
        types::LARGE_UTF8 => TextKind::LargeUtf8,
        types::UTF8_VIEW => TextKind::Utf8View,
        _ => return Err(other("utf8 or a dictionary of utf8")),
    };
    let Some(dictionary) = field.table(4) else { return Ok(Role::Text(number, kind)) };
    let index = match dictionary.table(1) {
        Some(int) => width(int).ok_or_else(|| other("a dictionary with an integer index"))?,
        None => Width { bytes: 4, is_signed: true },
    };
    Ok(Role::Dictionary { field: number, id: dictionary.i64(0), kind, index })
}

/// The width of an `Int` table.
fn width(int: Table<'_>) -> Option<Width> {
    let bytes = match int.i32(0) {
        8 => 1,
        16 => 2,
        32 => 4,
        64 => 8,
        _ => return None,
    };
    Some(Width { bytes, is_signed: int.u8(1) != 0 })
}

/// Adds what a field takes of a record batch: "Buffer Listing for Each Layout" of the columnar format.
fn take(field: Table<'_>, taken: &mut Taken, budget: &mut usize, depth: usize) -> Result<(), Refusal> {
    *budget = budget.checked_sub(1).ok_or_else(|| unsupported(format!("more than {MOST_FIELDS} fields")))?;
    if depth > DEEPEST {
        return Err(unsupported(format!("columns nested deeper than {DEEPEST}")));
    }
    taken.nodes += 1;
    if field.table(4).is_some() {
        // Of a dictionary the batch holds the indices.
        taken.buffers += 2;
        return Ok(());
    }
    let dense = || field.table(3).is_some_and(|union| union.i16(0, 0) == 1);
    taken.buffers += match field.u8(2) {
        // Null and RunEndEncoded.
        1 | 22 => 0,
        // Struct and FixedSizeList.
        13 | 16 => 1,
        // Union.
        14 => 1 + usize::from(dense()),
        // Int, FloatingPoint, Bool, Decimal, Date, Time, Timestamp, Interval, List, FixedSizeBinary, Map, Duration,
        // LargeList.
        2 | 3 | 6 | 7 | 8 | 9 | 10 | 11 | 12 | 15 | 17 | 18 | 21 => 2,
        // Binary, Utf8, LargeBinary, LargeUtf8, ListView, LargeListView.
        4 | 5 | 19 | 20 | 25 | 26 => 3,
        // BinaryView, Utf8View: and as many more as the batch says.
        23 | 24 => {
            taken.views += 1;
            2
        }
        unknown => return Err(unsupported(format!("a column of the type with number {unknown}"))),
    };
    let Some(children) = field.vector(5, 4) else { return Ok(()) };
    for number in 0..children.length {
        let child = children.table(number).ok_or_else(|| malformed("a field beyond the schema's message"))?;
        take(child, taken, budget, depth + 1)?;
    }
    Ok(())
}
