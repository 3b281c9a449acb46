//! `MaskRule`: personal data that `evenkeel ship` replaces before a line is kept.

use super::fault::Faults;
use super::fields::{Fields, choice, of_pattern, text};
use super::shape::{Field, Shape, may};
use super::yaml::Value;
use crate::mask::{Find, MaskRule, Replace};

/// What its spec holds.
pub const FIELDS: [Field; 4] = [
    may("find", Shape::Choice("thing to find", &FINDS), "What is replaced wherever it stands in a line."),
    may("pattern", Shape::Text("PN-[0-9]{8}"), "Or what matches this regular expression."),
    may("fields", Shape::List("[user]", &Shape::Text("user")), "Or the values of JSON fields of these names."),
    may(
        "replace",
        Shape::Choice("replacement", &REPLACES),
        "By what: a pseudonym, the default, that whoever has the key can find again; of addresses their network; or nothing.",
    ),
];

const FINDS: [&str; 4] = ["email", "card", "ip", "wallet"];

const REPLACES: [&str; 3] = ["pseudonym", "network", "removed"];

/// JSON fields of a rule at most.
const MAX_FIELDS: usize = 64;

/// Reads the spec.
pub fn rule(fields: &Fields<'_>, name: &str, faults: &mut Faults) -> Option<MaskRule> {
    let said = ["find", "pattern", "fields"].into_iter().filter(|field| fields.get(field).is_some());
    let said = said.collect::<Vec<_>>();
    let [said] = said.as_slice() else {
        let what = if said.is_empty() {
            "it does not say what to find".to_owned()
        } else {
            format!("it says {}", said.join(" and "))
        };
        faults.add(fields.at, what, "write one of `find: email`, `pattern` and `fields` instead");
        return None;
    };
    let find = match *said {
        "find" => match fields.read("find", |node, faults| choice(node, "", &FINDS, faults))? {
            "email" => Find::Email,
            "card" => Find::Card,
            "ip" => Find::Ip,
            _ => Find::Wallet,
        },
        "pattern" => match Find::pattern(&fields.text("pattern")?) {
            Ok(find) => find,
            Err(why) => {
                let what = format!("the pattern is none: {}", of_pattern(&why));
                faults.add(fields.place("pattern"), what, "write a regular expression, as `PN-[0-9]{8}`, instead");
                return None;
            }
        },
        _ => Find::Fields(names(fields, faults)?),
    };
    let replace = match fields.get("replace") {
        Some(_) => fields.read("replace", |node, faults| choice(node, "", &REPLACES, faults))?,
        None => REPLACES[0],
    };
    if replace == "network" && find != Find::Ip {
        let what = format!(
            "only addresses have a network, and this finds {}",
            if *said == "find" { find.name() } else { said }
        );
        faults.add(fields.place("replace"), what, "write `pseudonym` or `removed` instead");
        return None;
    }
    let replace = match replace {
        "network" => Replace::Network,
        "removed" => Replace::Removed,
        _ => Replace::Pseudonym,
    };
    Some(MaskRule { name: name.to_owned(), find, replace })
}

fn names(fields: &Fields<'_>, faults: &mut Faults) -> Option<Vec<String>> {
    let Value::List(nodes) = &fields.get("fields")?.value else { return None };
    if nodes.is_empty() || nodes.len() > MAX_FIELDS {
        faults.add(
            fields.place("fields"),
            format!("there are {} fields", nodes.len()),
            format!("write 1 to {MAX_FIELDS} names, as `[user]`, instead"),
        );
        return None;
    }
    nodes.iter().map(|node| text(node, "user", &mut Faults::of(""))).collect()
}
