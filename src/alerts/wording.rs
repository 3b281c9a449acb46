//! What is sent: the bodies that each kind of receiver expects, from their public documentation.

use super::alert::Alert;
use super::decision::{Action, Due};
use super::time::rfc3339;
use serde_json::{Value, json};

/// An Alertmanager takes an alert as ended when it was not told again for so many times the resending interval.
const ALIVE_INTERVALS: i64 = 4;

/// Longest summary that PagerDuty takes, bytes to be safe; its limit is 1,024 characters.
const MAX_SUMMARY_BYTES: usize = 1_000;

/// Longest text of a block of Slack's is 3,000 characters; a header's is 150.
const MAX_HEADER_BYTES: usize = 140;

/// `POST /api/v2/alerts` of Alertmanager: all that is due at once.
pub fn alertmanager(due: &[Due], resend_us: i64, external_url: &str, now_us: i64) -> Value {
    let alert = |due: &Due| {
        let Alert { labels, annotations, opened_us, ended_us, .. } = &due.alert;
        // One whose beginning is told after it ended still begins, or nobody would hear of it.
        let ended_us = ended_us.filter(|_| due.action == Action::Resolve);
        let starts_us = (*opened_us).min(now_us);
        let alive_us = now_us + resend_us * ALIVE_INTERVALS;
        let ends_us = ended_us.map_or(alive_us, |ended_us| ended_us.min(now_us).max(starts_us + 1_000));
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
    let (sign, word) = match due.action {
        Action::Resolve => (":large_green_circle:", "Resolved"),
        Action::Acknowledge => (":eyes:", "Acknowledged"),
        Action::Trigger => (":red_circle:", "Open"),
        Action::Update | Action::Resend => (":red_circle:", "Still open"),
    };
    let title = format!("{word}: {} {}", alert.label("alertname"), alert.label("service"));
    let fields = ["root", "services", "victims", "changes", "incidents"];
    let fields = fields.iter().filter_map(|name| Some((name, alert.annotations.get(*name)?)));
    let fields = fields.map(|(name, value)| json!({"type": "mrkdwn", "text": format!("*{name}*\n{}", escaped(value))}));
    let fields = fields.collect::<Vec<_>>();
    let mut blocks = vec![
        json!({"type": "header", "text": {"type": "plain_text", "text": cut(&title, MAX_HEADER_BYTES)}}),
        json!({"type": "section", "text": {"type": "mrkdwn", "text": format!("{sign} {}", escaped(alert.summary()))}}),
    ];
    if !fields.is_empty() {
        blocks.push(json!({"type": "section", "fields": fields}));
    }
    let foot = format!("<{}|{}> since {}", link(alert, external_url), alert.id, rfc3339(alert.opened_us));
    blocks.push(json!({"type": "context", "elements": [{"type": "mrkdwn", "text": foot}]}));
    json!({"text": format!("{title}: {}", escaped(alert.summary())), "blocks": blocks})
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
    format!("{}/{}/{}", due.alert.id, due.action.as_str(), due.alert.pages)
}

/// Where an alert is looked at.
pub fn link(alert: &Alert, external_url: &str) -> String {
    format!("{external_url}/status.json#{}", alert.id)
}

fn severity(alert: &Alert) -> &'static str {
    if alert.label("severity") == "critical" { "critical" } else { "warning" }
}

/// What Slack takes for markup is written out.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes.min(text.len()))]
}
