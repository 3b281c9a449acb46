//! People in documents: the kind `Roster`, and the `approval` of a `RecoveryPolicy`.

use super::fields::{Fields, boolean, number, time_us, turn_s};
use super::scenario::KINDS;
use super::shape::{Field, Shape, may, must};
use super::tuned::Setting;
use super::yaml::{Node, Value};
use serde_json::{Map, Value as Json, json};

const SECOND_US: i64 = 1_000_000;
const DAY_US: i64 = 86_400 * SECOND_US;

const NAMES: Shape = Shape::List("[sre]", &Shape::Text("sre"));
const PEOPLE: Shape = Shape::List("[alice, bob]", &Shape::Text("alice"));

/// What the spec of a `Roster` holds.
pub const ROSTER: [Field; 4] = [
    may("people", Shape::Each("{alice: {roles: [sre]}}", &Shape::Map("a person", &PERSON)), "Who there is, by name."),
    may(
        "on_call",
        Shape::Each("{shop: [{people: [alice], …}]}", &TIERS),
        "Of each team the tiers, those told first first.",
    ),
    may("gates", Shape::List("[example.com/gate+…]", &Shape::Text("example.com/gate+…")), "Public keys of gates."),
    may("break_glass", Shape::Map("break_glass", &GLASS), "Who may decide alone for a while."),
];

const PERSON: [Field; 3] = [
    may("roles", NAMES, "What the person may be asked for."),
    may("teams", NAMES, "The teams of which the person is."),
    may("contact", Shape::Text("alice@example.com"), "How the person is reached; kept in the audit log."),
];

const TIERS: Shape = Shape::List("[{people: [alice], turn: weekly, from: …}]", &Shape::Map("a tier", &TIER));

const TIER: [Field; 4] = [
    must("people", PEOPLE, "[alice, bob]", "Who takes turns, in this order."),
    must("turn", Shape::Turn, "weekly", "How long a turn lasts: `daily`, `weekly` or a duration."),
    must("from", Shape::Time, "2026-11-23T09:00:00+01:00", "When the first turn began; the others follow in UTC."),
    may("overrides", Shape::List("[{person: carol, …}]", &Shape::Map("an override", &OVERRIDE)), "Who stands in."),
];

const OVERRIDE: [Field; 3] = [
    must("person", Shape::Text("carol"), "carol", "Who stands in."),
    must("from", Shape::Time, "2026-12-24T08:00:00Z", "From then on."),
    must("to", Shape::Time, "2026-12-27T08:00:00Z", "Until then."),
];

const GLASS: [Field; 3] = [
    may("roles", NAMES, "Who may; anybody of the roster by default."),
    may("totp", Shape::Bool, "Whether a one-time password is needed."),
    may("longest", Shape::Duration("1h", (0, DAY_US)), "How long it may stay broken."),
];

/// What an `approval` holds.
pub const APPROVAL: [Field; 5] = [
    may("kinds", Shape::List("[restart_node]", &KIND), "Kinds of commands; all by default."),
    may("roles", NAMES, "One of these roles is needed; none by default."),
    may("persons", Shape::Number(1, 16), "So many different persons must approve."),
    may("totp", Shape::Bool, "Whether each must prove it by a one-time password."),
    may("wait", Shape::Duration("15m", (0, DAY_US)), "How long a command waits for them."),
];

const KIND: Shape = Shape::Choice("kind of command", &KINDS);

/// Reads the spec of a roster.
pub fn roster(fields: &Fields<'_>) -> Vec<Setting> {
    let person = |(name, node): (&str, &Node)| Some(Setting::new(&["roster", "people", name], node.at, person(node)?));
    let mut settings = fields.entries("people").filter_map(person).collect::<Vec<_>>();
    for (team, node) in fields.entries("on_call") {
        let Value::List(tiers) = &node.value else { continue };
        let tiers = tiers.iter().filter_map(rotation).collect::<Json>();
        settings.push(Setting::new(&["roster", "on_call", team], node.at, tiers));
    }
    let gates = fields.texts("gates").map(|keys| json!(keys));
    settings.extend(gates.map(|keys| Setting::new(&["roster", "gates"], fields.place("gates"), keys)));
    let glass = fields.get("break_glass").and_then(Fields::checked);
    let rule = glass.map(|glass| {
        let mut rule = roles_and_proof(&glass);
        put_seconds(&glass, ("longest", "longest_s"), &mut rule);
        Json::Object(rule)
    });
    settings.extend(rule.map(|rule| Setting::new(&["roster", "break_glass"], fields.place("break_glass"), rule)));
    settings
}

/// Reads the approval that commands of a service need, all of them or those of some kinds.
pub fn approval(service: &str, node: &Node) -> Option<Vec<Setting>> {
    let fields = Fields::checked(node)?;
    let mut rule = roles_and_proof(&fields);
    let persons = fields.read("persons", |node, faults| number(node, 1..=16, faults));
    rule.extend(persons.map(|persons| ("persons".to_owned(), json!(persons))));
    put_seconds(&fields, ("wait", "wait_s"), &mut rule);
    let setting = |kind: &str, at| Setting::new(&["approvals", service, kind], at, json!(rule));
    Some(match fields.texts("kinds") {
        Some(kinds) if !kinds.is_empty() => {
            let all = kinds.iter().zip(fields.list("kinds"));
            all.filter(|(kind, _)| KINDS.contains(&kind.as_str())).map(|(kind, node)| setting(kind, node.at)).collect()
        }
        _ => vec![setting("*", node.at)],
    })
}

/// The fields `roles` and `totp`, that approvals and the glass have alike.
fn roles_and_proof(fields: &Fields<'_>) -> Map<String, Json> {
    let roles = fields.texts("roles").map(|roles| ("roles".to_owned(), json!(roles)));
    let totp = fields.read("totp", boolean).map(|is| ("totp".to_owned(), json!(is)));
    roles.into_iter().chain(totp).collect()
}

fn put_seconds(fields: &Fields<'_>, (name, setting): (&str, &str), rule: &mut Map<String, Json>) {
    rule.extend(fields.duration_us(name).map(|us| (setting.to_owned(), json!(us / SECOND_US))));
}

fn person(node: &Node) -> Option<Json> {
    let fields = Fields::checked(node)?;
    let names = ["roles", "teams"].into_iter().filter_map(|name| Some((name.to_owned(), json!(fields.texts(name)?))));
    let contact = fields.text("contact").map(|contact| ("contact".to_owned(), json!(contact)));
    Some(Json::Object(names.chain(contact).collect()))
}

fn rotation(node: &Node) -> Option<Json> {
    let fields = Fields::checked(node)?;
    let overrides = fields.list("overrides").iter().filter_map(|node| {
        let fields = Fields::checked(node)?;
        let (from_us, to_us) = (fields.read("from", time_us)?, fields.read("to", time_us)?);
        Some(json!({"person": fields.text("person")?, "from_us": from_us, "to_us": to_us}))
    });
    let (people, from_us) = (fields.texts("people")?, fields.read("from", time_us)?);
    let turn_s = fields.read("turn", turn_s)?;
    Some(json!({"people": people, "turn_s": turn_s, "from_us": from_us, "overrides": overrides.collect::<Vec<_>>()}))
}
