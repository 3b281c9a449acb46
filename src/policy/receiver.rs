//! `Receiver` and `Silence`: who is told of incidents, and what nobody is told for a while.
//!
//! A document never holds a secret: it is kept in the log and in the audit log. It says in which file, or in which
//! variable of the environment of `evenkeel alert`, the secret is.

use super::document::interval_us;
use super::fault::{Faults, Place};
use super::fields::{Fields, address, choice, condition, label, number};
use super::shape::{Field, Shape, may, must};
use super::yaml::Value;
use crate::alerts::mail::{MAX_TO, Server};
use crate::alerts::{Kind, Mail, Matcher, Receiver, Silence, Source};
use std::collections::BTreeMap;

/// What the spec of a `Receiver` holds.
pub const FIELDS: [Field; 16] = [
    must("type", Shape::Choice("type of receiver", &TYPES), "pagerduty", "How it is spoken to."),
    may("url", Shape::Text("https://alerts.example.com"), "Where it is, if that is no secret."),
    may("url_file", Shape::Text("/etc/evenkeel/slack.url"), "The file that holds its URL."),
    may("url_env", Shape::Text("SLACK_URL"), "The variable of the environment that holds its URL."),
    may(
        "secret_file",
        Shape::Text(SECRET),
        "The file that holds PagerDuty's routing key, what a webhook is signed with, or the password of `user`.",
    ),
    may("secret_env", Shape::Text("PAGER_KEY"), "The variable of the environment that holds it."),
    may("from", Shape::Address(FROM), "The address from which mail comes."),
    may("to", Shape::List("[ops@example.com]", &Shape::Address("ops@example.com")), "Those who always get the mail."),
    may("user", Shape::Text("evenkeel"), "The name at the mail server, if it wants one."),
    may(
        "match",
        Shape::List("[severity=critical]", &Shape::Label),
        "All must hold of an alert for it to concern this one.",
    ),
    may("when", Shape::Condition, "A condition in CEL on `incident` that must hold, too."),
    may("after", Shape::Duration("15m", (0, 7 * DAY_US)), "It is told once nobody took an alert on for so long."),
    may("on_call", Shape::Text("shop"), "The team of which whoever is on call is named, and gets the mail."),
    may("tier", Shape::Number(1, 16), "Which tier of the team; the first by default."),
    may(
        "pages_an_hour",
        Shape::Number(1, 10_000),
        "Messages an hour that may wake somebody; the last is one for the rest.",
    ),
    may(
        "resend",
        Shape::Duration("1m", (0, DAY_US)),
        "It is told again after so long while an alert is open; `0s`: never.",
    ),
];

/// What the spec of a `Silence` holds.
pub const SILENCE: [Field; 5] = [
    must("match", Shape::List("[service=checkout]", &Shape::Label), "[service=checkout]", "All must hold of an alert."),
    must("from", Shape::Time, "2026-11-21T12:00:00Z", "From then on."),
    must("to", Shape::Time, "2026-11-21T14:00:00Z", "Until then, at most 366 days later."),
    must("by", Shape::Text("ann"), "ann", "Who asked for it."),
    must("why", Shape::Text("a drill"), "a drill", "Why."),
];

const TYPES: [&str; 5] = ["alertmanager", "pagerduty", "slack", "webhook", "email"];

const FROM: &str = "evenkeel@example.com";

const SECRET: &str = "/etc/evenkeel/pager.key";

const DAY_US: i64 = 86_400_000_000;

/// The longest silence, µs.
const MAX_SILENCE_US: i64 = 366 * DAY_US;

/// Reads the spec of a `Receiver`.
pub fn receiver(fields: &Fields<'_>, name: &str, faults: &mut Faults) -> Option<Receiver> {
    let kind = fields.read("type", |node, faults| choice(node, "", &TYPES, faults))?;
    let kind = [Kind::Alertmanager, Kind::Pagerduty, Kind::Slack, Kind::Webhook, Kind::Email]
        .into_iter()
        .zip(TYPES)
        .find_map(|(of, name)| (name == kind).then_some(of))?;
    let url = url(fields, kind, faults)?;
    let secret = secret(fields, kind, faults)?;
    let mail = mail(fields, kind, faults)?;
    let resend_us = match fields.get("resend") {
        Some(_) => fields.duration_us("resend")?,
        None if kind == Kind::Alertmanager => 60_000_000,
        None => 0,
    };
    if kind == Kind::Alertmanager && resend_us == 0 {
        let what = "an Alertmanager forgets what it is not told again";
        faults.add(fields.place("resend"), what, "write `1m`, or leave it out, instead");
        return None;
    }
    let pages_an_hour = match fields.get("pages_an_hour") {
        Some(node) => Some(u32::try_from(number(node, 1..=10_000, &mut Faults::of(""))?).ok()?),
        None if kind == Kind::Alertmanager => None,
        None => Some(20),
    };
    let tier = fields.read("tier", |node, faults| number(node, 1..=16, faults));
    let on_call = fields.text("on_call").map(|team| (team, tier.map_or(1, |tier| tier as usize)));
    if tier.is_some() && on_call.is_none() {
        faults.add(
            fields.place("tier"),
            "a tier is one of a team",
            "write `on_call: shop`, too, or leave it out instead",
        );
        return None;
    }
    let after_us = if fields.get("after").is_some() { fields.duration_us("after")? } else { 0 };
    let matchers = matchers(fields)?;
    let when = match fields.get("when") {
        Some(node) => Some(condition(node, &mut Faults::of(""))?),
        None => None,
    };
    let name = name.to_owned();
    Some(Receiver { name, kind, url, secret, matchers, when, after_us, pages_an_hour, resend_us, on_call, mail })
}

/// Where it says that a text is: at most one of `NAME`, `NAME_file` and `NAME_env`.
fn source(fields: &Fields<'_>, name: &str, faults: &mut Faults) -> Result<Option<(Source, Place)>, ()> {
    type Make = fn(String) -> Source;
    let ways: [(&str, Make); 3] =
        [("", Source::Here), ("_file", |path| Source::File(path.into())), ("_env", Source::Environment)];
    let mut found = None;
    for (end, make) in ways {
        let field = format!("{name}{end}");
        // A secret itself is no field, and was said to be none.
        if fields.get(&field).is_none() || field == "secret" {
            continue;
        }
        if found.is_some() {
            faults.add(fields.place(&field), format!("`{name}` is given twice"), "keep one of them instead");
            return Err(());
        }
        found = Some((make(fields.text(&field).ok_or(())?), fields.place(&field)));
    }
    Ok(found)
}

fn url(fields: &Fields<'_>, kind: Kind, faults: &mut Faults) -> Option<Source> {
    let (source, at) = match (source(fields, "url", faults).ok()?, kind) {
        (Some(found), _) => found,
        (None, Kind::Pagerduty) => return Some(Source::Here("https://events.pagerduty.com".to_owned())),
        (None, Kind::Slack) => {
            faults.add(fields.at, "`url_file` is missing", "write `url_file: /etc/evenkeel/slack.url`, or `url_env`");
            return None;
        }
        (None, Kind::Email) => {
            faults.add(fields.at, "`url` is missing", "write `url: smtps://mail.example.com`, or `url_file`");
            return None;
        }
        (None, _) => {
            faults.add(fields.at, "`url` is missing", "write `url: https://alerts.example.com`, or `url_file`");
            return None;
        }
    };
    if let Source::Here(url) = &source {
        let (scheme, host) = url.split_once("://").unwrap_or_default();
        if kind == Kind::Email {
            if let Err(why) = Server::parse(url) {
                faults.add(at, why, "write `smtps://mail.example.com` or `smtp+starttls://mail.example.com` instead");
                return None;
            }
        } else if !["http", "https"].contains(&scheme) || host.is_empty() {
            faults.add(at, format!("`{url}` is no URL"), "begin it with https:// or http:// instead");
            return None;
        }
        if kind == Kind::Slack || host.split('/').next().is_some_and(|host| host.contains('@')) {
            let what = "this URL holds a secret, and documents are kept in the audit log";
            faults.add(at, what, "write it to a file and `url_file: /etc/evenkeel/slack.url`, or `url_env`, instead");
            return None;
        }
    }
    Some(source)
}

/// What it is signed with, or identified by, if it is.
fn secret(fields: &Fields<'_>, kind: Kind, faults: &mut Faults) -> Option<Option<Source>> {
    let found = source(fields, "secret", faults).ok()?;
    let is_user = fields.get("user").is_some();
    let is_needed = matches!(kind, Kind::Pagerduty | Kind::Webhook) || kind == Kind::Email && is_user;
    match found {
        None if is_needed => {
            let what = "`secret_file` is missing: PagerDuty's routing key, what a webhook is signed with, or a user's password";
            faults.add(fields.at, what, format!("write `secret_file: {SECRET}`, or `secret_env`"));
            None
        }
        Some((_, at)) if kind == Kind::Email && !is_user => {
            faults.add(at, "a password is one of a user", "write `user: evenkeel`, too, or leave it out instead");
            None
        }
        Some((_, at)) if !is_needed => {
            faults.add(at, "a receiver of this type has no secret", "leave it out instead");
            None
        }
        found => Some(found.map(|(source, _)| source)),
    }
}

/// From whom and to whom mail goes; nothing if it is no receiver of mail.
fn mail(fields: &Fields<'_>, kind: Kind, faults: &mut Faults) -> Option<Option<Mail>> {
    if kind != Kind::Email {
        let Some(name) = ["from", "to", "user"].into_iter().find(|name| fields.get(name).is_some()) else {
            return Some(None);
        };
        let what = format!("a receiver of this type has no `{name}`");
        faults.add(fields.place(name), what, "write `type: email`, or leave it out instead");
        return None;
    }
    if fields.get("from").is_none() {
        faults.add(fields.at, "`from` is missing", format!("write `from: {FROM}`"));
        return None;
    }
    let from = fields.read("from", |node, faults| address(node, "", faults))?;
    let to = fields.list("to").iter().map(|node| address(node, "", &mut Faults::of(""))).collect::<Option<Vec<_>>>()?;
    if !(1..=MAX_TO).contains(&to.len()) {
        let what = format!("`to` has 1 to {MAX_TO} addresses, whoever is on call not counted");
        faults.add(fields.place("to"), what, "write `to: [ops@example.com]` instead");
        return None;
    }
    Some(Some(Mail { from, to, user: fields.text("user") }))
}

/// The labels of `match`; none if it is not said.
fn matchers(fields: &Fields<'_>) -> Option<Vec<Matcher>> {
    match fields.get("match").map(|node| &node.value) {
        None => Some(Vec::new()),
        Some(Value::List(nodes)) => nodes.iter().map(|node| label(node, &mut Faults::of(""))).collect(),
        Some(_) => None,
    }
}

/// Reads the spec of a `Silence`.
pub fn silence(fields: &Fields<'_>, name: &str, faults: &mut Faults) -> Option<Silence> {
    let (from_us, to_us) = interval_us(fields, (MAX_SILENCE_US, "366 days"), faults)?;
    let matchers = matchers(fields)?;
    let nothing = BTreeMap::new();
    if matchers.iter().all(|matcher| matcher.holds(&nothing)) {
        let what = "this would silence everything";
        faults.add(fields.place("match"), what, "write at least one label that must be there, as `service=checkout`");
        return None;
    }
    let (author, comment) = (fields.text("by")?, fields.text("why")?);
    Some(Silence { id: format!("policy:{name}"), matchers, from_us, to_us, updated_us: from_us, author, comment })
}
