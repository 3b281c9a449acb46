//! What is sent: the bodies that each kind of receiver expects, from their public documentation.

use super::alert::Alert;
use super::decision::{Action, Due};
use super::time::rfc3339;
use serde_json::{Value, json};

/// An Alertmanager takes an alert as ended when it was not told again for so many times the resending interval.
const ALIVE_INTERVALS: i64 = 4;

/// Longest summary that PagerDuty takes, bytes to be safe; its limit is 1,024 characters.
const MAX_SUMMARY_BYTES: usize = 1_000;

/// Longest header, section and field that Slack takes: 150, 3,000 and 2,000 characters, markup written out; in bytes, with room
/// for what stands before it.
const MAX_HEADER_BYTES: usize = 140;
const MAX_SECTION_BYTES: usize = 2_900;
const MAX_FIELD_BYTES: usize = 1_900;

/// The annotations that messages to people spell out.
pub const FACTS: [&str; 6] = ["root", "services", "victims", "changes", "incidents", "on_call"];

/// What happened, in a line of few words.
pub fn title(due: &Due) -> String {
    let word = match due.action {
        Action::Resolve if due.alert.ended_us.is_none() => "Not over, told here no more",
        Action::Resolve => "Resolved",
        Action::Acknowledge => "Acknowledged",
        Action::Trigger => "Open",
        Action::Update | Action::Resend => "Still open",
    };
    format!("{word}: {} {}", due.alert.label("alertname"), due.alert.label("service"))
}

/// `POST /api/v2/alerts` of Alertmanager: all that is due at once.
pub fn alertmanager(due: &[Due], resend_us: i64, external_url: &str, now_us: i64) -> Value {
    let alert = |due: &Due| {
        let Alert { labels, annotations, opened_us, ended_us, .. } = &due.alert;
        let starts_us = (*opened_us).min(now_us);
        // One whose beginning is told after it ended still begins, or nobody would hear of it.
        let ends_us = match due.action {
            Action::Resolve => ended_us.unwrap_or(now_us).min(now_us).max(starts_us + 1_000),
            _ => now_us + resend_us * ALIVE_INTERVALS,
        };
        json!({
            "labels": labels, "annotations": annotations, "startsAt": rfc3339(starts_us), "endsAt": rfc3339(ends_us),
            "generatorURL": link(&due.alert, external_url),
        })
    };
    Value::Array(due.iter().map(alert).collect())
}

/// `POST /v2/enqueue` of PagerDuty's Events API v2.
pub fn pagerduty(due: &Due, routing_key: &str, external_url: &str) -> Value {
    let alert = &due.alert;
    let action = match due.action {
        Action::Trigger | Action::Update | Action::Resend => "trigger",
        Action::Acknowledge => "acknowledge",
        Action::Resolve => "resolve",
    };
    let mut event = json!({"routing_key": routing_key, "event_action": action, "dedup_key": alert.id});
    if action == "trigger" {
        let source = if alert.label("service").is_empty() { "evenkeel" } else { alert.label("service") };
        event["payload"] = json!({
            "summary": cut(alert.summary(), MAX_SUMMARY_BYTES), "source": source, "severity": severity(alert),
            "timestamp": rfc3339(alert.opened_us), "component": source, "class": alert.label("alertname"),
            "custom_details": alert.annotations,
        });
        event["client"] = json!("evenkeel");
        event["client_url"] = json!(link(alert, external_url));
        event["links"] = json!([{"href": link(alert, external_url), "text": alert.id}]);
    }
    event
}

/// A message for an incoming webhook of Slack: blocks, and the text for notifications.
pub fn slack(due: &Due, external_url: &str) -> Value {
    let alert = &due.alert;
    let sign = match due.action {
        Action::Resolve => ":large_green_circle:",
        Action::Acknowledge => ":eyes:",
        Action::Trigger | Action::Update | Action::Resend => ":red_circle:",
    };
    let title = title(due);
    let fields = FACTS.iter().filter_map(|name| Some((name, alert.annotations.get(*name)?)));
    let field = |(name, value): (&&str, &String)| json!({"type": "mrkdwn", "text": format!("*{name}*\n{}", escaped(value, MAX_FIELD_BYTES))});
    let fields = fields.map(field).collect::<Vec<_>>();
    let summary = escaped(alert.summary(), MAX_SECTION_BYTES);
    let mut blocks = vec![
        json!({"type": "header", "text": {"type": "plain_text", "text": cut(&title, MAX_HEADER_BYTES)}}),
        json!({"type": "section", "text": {"type": "mrkdwn", "text": format!("{sign} {summary}")}}),
    ];
    if !fields.is_empty() {
        blocks.push(json!({"type": "section", "fields": fields}));
    }
    let foot = format!("<{}|{}> since {}", link(alert, external_url), alert.id, rfc3339(alert.opened_us));
    blocks.push(json!({"type": "context", "elements": [{"type": "mrkdwn", "text": foot}]}));
    json!({"text": format!("{title}: {summary}"), "blocks": blocks})
}

/// A CloudEvent 1.0 in structured mode; the same message has the same `id`.
pub fn cloud_event(due: &Due, external_url: &str) -> Value {
    let alert = &due.alert;
    let at_us = if due.action == Action::Resolve { alert.ended_us.unwrap_or(alert.at_us) } else { alert.at_us };
    json!({
        "specversion": "1.0", "id": message_id(due), "source": external_url, "subject": alert.id,
        "type": format!("evenkeel.incident.{}", due.action.as_str()), "time": rfc3339(at_us),
        "datacontenttype": "application/json",
        "data": {
            "incident_id": alert.id, "labels": alert.labels, "annotations": alert.annotations,
            "starts_at": rfc3339(alert.opened_us), "ends_at": alert.ended_us.map(rfc3339),
            "merged_into": alert.merged_into, "members": alert.members, "url": link(alert, external_url),
        },
    })
}

/// The identity of a message: sent again, it is the same.
pub fn message_id(due: &Due) -> String {
    let own = format!("{}/{}/{}", due.alert.id, due.action.as_str(), due.alert.pages);
    // What is said once more is news by itself.
    if due.action == Action::Resend { format!("{own}/{}", due.before) } else { own }
}

/// Where an alert is looked at.
pub fn link(alert: &Alert, external_url: &str) -> String {
    format!("{external_url}/status.json#{}", alert.id)
}

fn severity(alert: &Alert) -> &'static str {
    if alert.label("severity") == "critical" { "critical" } else { "warning" }
}

/// What Slack, or HTML between its tags, takes for markup is written out; what is too long then is cut off.
pub fn escaped(text: &str, bytes: usize) -> String {
    let mut out = String::new();
    for letter in text.chars() {
        let start = out.len();
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            other => out.push(other),
        }
        if out.len() > bytes {
            out.truncate(start);
            break;
        }
    }
    out
}

/// A text without what is too long.
pub fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes.min(text.len()))]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_stays_within_what_slack_takes() {
        assert_eq!(escaped("a<b & c>d", 100), "a&lt;b &amp; c&gt;d");
        assert_eq!(escaped("ä&&", 7), "ä&amp;");
        let annotations = [("summary", "&".repeat(1_024)), ("services", "<".repeat(1_024))];
        let annotations = annotations.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let due = Due { action: Action::Trigger, alert: Alert { annotations, ..Alert::default() }, before: 0 };
        let message = slack(&due, "http://127.0.0.1");
        let blocks = message["blocks"].as_array().expect("blocks");
        let lengths =
            [&blocks[1]["text"]["text"], &blocks[2]["fields"][0]["text"]].map(|text| text.as_str().map(str::len));
        assert!(lengths[0].is_some_and(|length| (2_900..=3_000).contains(&length)), "{lengths:?}");
        assert!(lengths[1].is_some_and(|length| (1_900..=2_000).contains(&length)), "{lengths:?}");
    }
}
