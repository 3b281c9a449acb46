//! The copy of the audit log: what a row holds, which changes of the table say nothing, and that every other one is told.
#![expect(clippy::unwrap_used, reason = "tests")]

use evenkeel_schemas::Operation;
use evenkeel_schemas::audit::{Entry, genesis, link};
use evenkeel_schemas::mirror::{COLUMNS, MirrorChange, from_text, judge_mirror, to_text};
use proptest::prelude::*;
use serde_json::{Value, json};

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let four = |three: &[u8]| {
        let word = three.iter().fold(0, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        let letter = |at: usize| LETTERS[(word >> (18 - 6 * at)) as usize & 63] as char;
        (0..4).map(|at| if at <= three.len() { letter(at) } else { '=' }).collect::<String>()
    };
    bytes.chunks(3).map(four).collect()
}

/// A row as change capture writes it.
fn row(payload: &[u8]) -> Value {
    let text = |text: &str| text.to_owned();
    let entry = Entry {
        partition: 2,
        epoch: 7,
        seq: 17,
        ts_us: 1_795_246_474_000_000,
        event_type: text("change"),
        table: text("app.public.orders"),
        op: text("u"),
        actor: text("postgresql/cdc/731"),
        entity: text("a\\b\0{\"id\":2}"),
        payload: payload.to_vec(),
    };
    let previous = genesis("evenkeel", 2);
    let current = link(&entry.envelope(), &previous);
    json!({
        "partition": entry.partition, "seq": entry.seq, "epoch": entry.epoch, "ts_us": entry.ts_us,
        "event_type": entry.event_type, "table_name": entry.table, "op": entry.op, "actor": entry.actor,
        "entity": to_text(&entry.entity), "payload": base64(&entry.payload),
        "previous_hash": base64(&previous), "current_hash": base64(&current),
    })
}

fn judge(operation: Operation, before: Value, after: Value) -> MirrorChange {
    let plain = json!({"before": before, "after": after, "op": operation.letter(), "source": {}});
    let wrapped = json!({"schema": {"type": "struct"}, "payload": plain});
    let [plain, wrapped] = [plain, wrapped].map(|payload| judge_mirror(operation, payload.to_string().as_bytes()));
    assert_eq!(plain, wrapped);
    plain
}

fn edited(row: &str, what: &str) -> MirrorChange {
    MirrorChange::Edited { row: row.to_owned(), what: what.to_owned() }
}

#[test]
fn a_copy_says_nothing_whatever_its_payload() {
    for length in 0..9 {
        let row = row(&(0..length).map(|n| n * 31).collect::<Vec<u8>>());
        assert!(row.as_object().unwrap().keys().all(|name| COLUMNS.contains(&name.as_str())));
        for operation in [Operation::Create, Operation::Read] {
            assert_eq!(judge(operation, Value::Null, row.clone()), MirrorChange::Copied, "{length} bytes");
        }
    }
}

#[test]
fn an_insert_with_any_column_changed_is_told() {
    let whole = row(b"{\"id\":2}");
    for column in COLUMNS {
        let mut changed = whole.clone();
        changed[column] = match &whole[column] {
            Value::Number(number) => json!(number.as_u64().unwrap() + 1),
            Value::String(text) if column.ends_with("hash") || column == "payload" => {
                json!(text.replacen(&text[..1], if &text[..1] == "A" { "B" } else { "A" }, 1))
            }
            Value::String(text) => json!(format!("{text}x")),
            _ => unreachable!(),
        };
        let told = judge(Operation::Create, Value::Null, changed);
        assert!(matches!(&told, MirrorChange::Edited { what, .. } if what.contains("inserted")), "{column}: {told:?}");
        for odd in [Value::Null, json!(-1), json!("?"), json!("\\x"), json!([])] {
            let mut changed = whole.clone();
            changed[column] = odd;
            assert_ne!(judge(Operation::Create, Value::Null, changed), MirrorChange::Copied, "{column}");
        }
    }
}

#[test]
fn every_other_change_is_told_with_its_row() {
    let (whole, mut changed) = (row(b"{}"), row(b"{}"));
    changed["actor"] = json!("nobody");
    let table = [
        (Operation::Update, whole.clone(), changed.clone(), edited("2/17", "a row was changed: actor")),
        (
            Operation::Update,
            Value::Null,
            changed.clone(),
            edited("2/17", "a row was changed: the old row is not known"),
        ),
        // Even back to what it was: somebody wrote where nobody writes.
        (Operation::Update, changed, whole.clone(), edited("2/17", "a row was changed: actor")),
        (Operation::Update, whole.clone(), whole.clone(), edited("2/17", "a row was changed: ")),
        (Operation::Delete, whole, Value::Null, edited("2/17", "a row was deleted")),
        (Operation::Delete, json!({"id": 1}), Value::Null, edited("?", "a row was deleted")),
        (Operation::Truncate, Value::Null, Value::Null, edited("*", "all rows were deleted")),
        (Operation::Message, Value::Null, Value::Null, edited("?", "a message in place of a row")),
    ];
    for (operation, before, after, expected) in table {
        assert_eq!(judge(operation, before, after), expected, "{operation:?}");
    }
    assert!(matches!(judge_mirror(Operation::Create, b"\xff not json"), MirrorChange::Edited { .. }));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn texts_survive_and_hold_no_nul(text in "[a\\\\0\0é]{0,12}") {
        prop_assert!(!to_text(&text).contains('\0'));
        prop_assert_eq!(from_text(&to_text(&text)), Some(text));
    }
}
