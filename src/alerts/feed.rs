//! What a status page shows: JSON and RSS.

use super::alert::Alert;
use super::book::Book;
use super::time::{rfc822, rfc3339};
use super::wording::link;
use serde_json::{Value, json};
use std::fmt::Write;

/// Entries of the feed at most.
const MAX_ENTRIES: usize = 100;

/// Alerts for everybody, the newest first.
fn newest(book: &Book) -> Vec<&Alert> {
    let mut alerts = book.alerts.values().filter(|it| it.paged_us.is_some() && it.only.is_none()).collect::<Vec<_>>();
    alerts.sort_by_key(|alert| std::cmp::Reverse((alert.ended_us.is_none(), alert.opened_us)));
    alerts.truncate(MAX_ENTRIES);
    alerts
}

/// `/status.json`.
pub fn status(book: &Book, now_us: i64) -> Value {
    let alerts = newest(book);
    let open = alerts.iter().filter(|alert| alert.ended_us.is_none()).count();
    let incident = |alert: &&Alert| {
        json!({
            "id": alert.id, "service": alert.label("service"), "severity": alert.label("severity"),
            "summary": alert.summary(), "status": if alert.ended_us.is_some() { "resolved" } else { "open" },
            "starts_at": rfc3339(alert.opened_us), "ends_at": alert.ended_us.map(rfc3339),
            "acknowledged": alert.acknowledged_us.is_some(), "merged_into": alert.merged_into,
        })
    };
    let indicator = if open > 0 { "incident" } else { "operational" };
    let incidents = alerts.iter().map(incident).collect::<Vec<_>>();
    json!({"status": indicator, "open": open, "updated_at": rfc3339(now_us), "incidents": incidents, "counts": book.counts})
}

/// `/feed.rss`, RSS 2.0.
pub fn rss(book: &Book, external_url: &str) -> String {
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<rss version=\"2.0\"><channel><title>Incidents</title><link>{}</link>\
         <description>Incidents, the open ones first</description>\n",
        escaped(external_url)
    );
    for alert in newest(book) {
        let state = if alert.ended_us.is_some() { "Resolved" } else { "Open" };
        let title = format!("{state}: {}", alert.summary());
        let at_us = alert.ended_us.unwrap_or(alert.opened_us);
        writeln!(
            text,
            "<item><title>{}</title><link>{}</link><guid isPermaLink=\"false\">{}/{state}</guid><pubDate>{}</pubDate></item>",
            escaped(&title),
            escaped(&link(alert, external_url)),
            escaped(&alert.id),
            rfc822(at_us)
        )
        .expect("memory takes it");
    }
    text + "</channel></rss>\n"
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
