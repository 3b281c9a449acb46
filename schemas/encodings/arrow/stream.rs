//! The messages of a stream: the schema, then dictionaries and record batches.

use super::columns::{Buffers, Integers, Texts, Words};
use super::plan::{Plan, Role, TextKind};
use super::table::Table;
use super::{Batch, MARK, MAX_BATCH_ROWS, RecordBatch, malformed, unsupported};
use crate::Reason;
use crate::event::Refusal;
use std::ops::Range;

/// `MetadataVersion` V5, which every writer since 2020 writes.
const VERSION: i16 = 4;

/// Members of `MessageHeader` in Message.fbs, by their numbers there.
const SCHEMA: u8 = 1;
const DICTIONARY: u8 = 2;
const RECORD_BATCH: u8 = 3;

/// A message: what its header is, and the bytes behind it.
struct Message<'a> {
    kind: u8,
    header: Table<'a>,
    body: &'a [u8],
}

/// Takes the next message off a stream; `None` at its end.
fn next<'a>(rest: &mut &'a [u8]) -> Result<Option<Message<'a>>, Refusal> {
    if rest.is_empty() {
        return Ok(None);
    }
    let framed = rest.strip_prefix(&MARK).and_then(|framed| framed.split_first_chunk::<4>());
    let (length, framed) = framed.ok_or_else(|| malformed("no message begins where one ends"))?;
    let length = usize::try_from(i32::from_le_bytes(*length)).map_err(|_| malformed("a message of negative length"))?;
    if length == 0 {
        *rest = framed;
        return if rest.is_empty() { Ok(None) } else { Err(malformed("bytes after the end of the stream")) };
    }
    let (metadata, framed) = framed.split_at_checked(length).ok_or_else(|| malformed("cut off in a message"))?;
    let message = Table::root(metadata).ok_or_else(|| malformed("a message that is no flatbuffer"))?;
    if message.i16(0, 0) != VERSION {
        return Err(unsupported(format!("metadata version {}: write version 5", i32::from(message.i16(0, 0)) + 1)));
    }
    let header = message.table(2).ok_or_else(|| malformed("a message without header"))?;
    let body = usize::try_from(message.i64(3)).ok().and_then(|length| framed.split_at_checked(length));
    let (body, framed) = body.ok_or_else(|| malformed("cut off in a body"))?;
    *rest = framed;
    Ok(Some(Message { kind: message.u8(1), header, body }))
}

/// Reads a whole stream.
pub(super) fn read(payload: &[u8]) -> Result<Batch<'_>, Refusal> {
    let mut rest = payload;
    let first = next(&mut rest)?.ok_or_else(|| malformed("no message"))?;
    if first.kind != SCHEMA {
        return Err(malformed("the first message is no schema"));
    }
    let plan = Plan::new(first.header)?;
    let mut reader = Reader {
        plan,
        dictionaries: Vec::new(),
        words: Words::new(payload.len()),
        parts: Vec::new(),
        left: MAX_BATCH_ROWS,
    };
    while let Some(message) = next(&mut rest)? {
        match message.kind {
            DICTIONARY => reader.dictionary(&message)?,
            RECORD_BATCH => reader.record_batch(&message)?,
            _ => return Err(malformed("neither dictionary nor record batch after the schema")),
        }
    }
    Ok(Batch { words: reader.words.all, parts: reader.parts })
}

struct Reader<'a> {
    plan: Plan,
    /// Ids of dictionaries, and where their words are.
    dictionaries: Vec<(i64, Range<usize>)>,
    words: Words<'a>,
    parts: Vec<RecordBatch<'a>>,
    /// So many more rows may come.
    left: u32,
}

impl<'a> Reader<'a> {
    fn dictionary(&mut self, message: &Message<'a>) -> Result<(), Refusal> {
        let id = message.header.i64(0);
        // A dictionary of a column that is ignored.
        let Some(kind) = self.plan.dictionary(id) else { return Ok(()) };
        if message.header.u8(2) != 0 {
            return Err(unsupported("a dictionary delta: write whole dictionaries".to_owned()));
        }
        let data = message.header.table(1).ok_or_else(|| malformed("a dictionary without data"))?;
        let mut buffers = Buffers::new(data, message.body)?;
        let (length, validity) = buffers.node()?;
        let list = self.list(kind, &mut buffers, length, validity)?;
        match self.dictionaries.iter_mut().find(|(known, _)| *known == id) {
            Some((_, known)) => *known = list,
            None => self.dictionaries.push((id, list)),
        }
        Ok(())
    }

    fn list(
        &mut self,
        kind: TextKind,
        buffers: &mut Buffers<'a>,
        length: usize,
        validity: Option<&'a [u8]>,
    ) -> Result<Range<usize>, Refusal> {
        match kind {
            TextKind::Utf8 => {
                let lie = (buffers.next()?, buffers.next()?);
                self.words.by_offsets(lie, length, |end| u32::from_le_bytes(end) as usize)
            }
            TextKind::LargeUtf8 => {
                let lie = (buffers.next()?, buffers.next()?);
                self.words.by_offsets(lie, length, |end| usize::try_from(u64::from_le_bytes(end)).unwrap_or(usize::MAX))
            }
            TextKind::Utf8View => {
                let views = buffers.next()?;
                let data = buffers.variadic()?;
                self.words.by_views(views, &data, length, validity)
            }
        }
    }

    fn record_batch(&mut self, message: &Message<'a>) -> Result<(), Refusal> {
        let data = message.header;
        let rows = u32::try_from(data.i64(0)).ok().filter(|rows| *rows <= self.left);
        let rows = rows.ok_or_else(|| {
            Refusal(Reason::TooLarge, format!("more than {MAX_BATCH_ROWS} rows in a record: {} more", data.i64(0)))
        })?;
        self.left -= rows;
        let mut buffers = Buffers::new(data, message.body)?;
        let (mut integers, mut texts) = ([const { None }; 3], Vec::with_capacity(9));
        for number in 0..self.plan.columns.len() {
            let (role, taken) = (self.plan.columns[number].role, self.plan.columns[number].taken);
            if let Role::Ignored = role {
                buffers.pass(taken)?;
                continue;
            }
            let (length, validity) = buffers.node()?;
            if length != rows as usize {
                return Err(malformed("a column with more or fewer values than the batch has rows"));
            }
            match role {
                Role::Integer(field, width) => {
                    integers[field] = Some(Integers::new(buffers.next()?, width, validity, length)?);
                }
                Role::Text(field, kind) => {
                    let words = self.list(kind, &mut buffers, length, validity)?;
                    texts.push((field, Texts { words, indices: None, validity }));
                }
                Role::Dictionary { field, id, index, .. } => {
                    let indices = Integers::new(buffers.next()?, index, None, length)?;
                    let known = self.dictionaries.iter().find(|(known, _)| *known == id);
                    let (_, words) = known.ok_or_else(|| malformed("a dictionary that did not come before its use"))?;
                    texts.push((field, Texts { words: words.clone(), indices: Some(indices), validity }));
                }
                Role::Ignored => {}
            }
        }
        self.parts.push(RecordBatch { rows, integers, texts });
        Ok(())
    }
}
