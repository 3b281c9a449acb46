//! What is served: Alertmanager's API v2 as `amtool` uses it, the status page's feed, acknowledgements.
//!
//! # Decision
//! There is no access control: it listens on loopback by default, and whoever opens it puts a proxy before it.

use super::alert::Alert;
use super::book::Book;
use super::feed;
use super::silence::{Matcher, Silence};
use super::state::Store;
use super::time::rfc3339;
use super::wording::link;
use crate::ports::{Clock, SystemClock};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use evenkeel_schemas::audit::hex;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A request's body with more bytes is refused.
const MAX_BODY_BYTES: usize = 256 << 10;

/// The book and where it is kept, shared by the loop that sends and the API.
pub struct Desk {
    book: Mutex<Book>,
    /// Where it is kept.
    pub store: Store,
    /// Where alerts link to.
    pub external_url: String,
    started_us: i64,
}

type Shared = State<Arc<Desk>>;

impl Desk {
    /// A desk with this book on it.
    pub fn new(book: Book, store: Store, external_url: String) -> Arc<Self> {
        Arc::new(Self { book: Mutex::new(book), store, external_url, started_us: SystemClock.now_us() })
    }

    /// The book, for one at a time.
    pub fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the book and stores it.
    fn change<T>(&self, change: impl FnOnce(&mut Book) -> T) -> Result<T, String> {
        let mut book = self.book();
        let changed = change(&mut book);
        let saved = self.store.save(&mut book);
        saved.map(|()| changed).map_err(|error| error.to_string())
    }
}

/// Serves until the process ends.
///
/// # Errors
/// If the socket cannot be used.
pub async fn serve(socket: std::net::TcpListener, desk: Arc<Desk>) -> std::io::Result<()> {
    let routes = Router::new()
        .route("/api/v2/status", get(status))
        .route("/api/v2/receivers", get(|| async { answer(&json!([])) }))
        .route("/api/v2/alerts", get(alerts))
        .route("/api/v2/silences", get(silences).post(add_silence))
        .route("/api/v2/silence/{id}", delete(expire_silence).get(silence))
        .route("/acknowledge/{id}", post(acknowledge))
        .route("/status.json", get(page))
        .route("/feed.rss", get(rss))
        .route("/-/ready", get(|| async { "ready\n" }))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(desk);
    socket.set_nonblocking(true)?;
    axum::serve(tokio::net::TcpListener::from_std(socket)?, routes).await
}

fn answer(value: &Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

fn refusal(status: StatusCode, why: &str) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], json!(why).to_string()).into_response()
}

async fn status(State(desk): Shared) -> Response {
    answer(&json!({
        "cluster": {"status": "disabled", "peers": []}, "config": {"original": ""}, "uptime": rfc3339(desk.started_us),
        "versionInfo": {
            "version": env!("CARGO_PKG_VERSION"), "revision": "", "branch": "", "buildUser": "", "buildDate": "", "goVersion": "",
        },
    }))
}

/// The values of a parameter of a query.
fn parameters(query: &str, name: &str) -> Vec<String> {
    let pairs = form_urlencoded::parse(query.as_bytes()).filter(|(key, _)| key == name);
    pairs.map(|(_, value)| value.into_owned()).collect()
}

fn filters(query: &str) -> Result<Vec<Matcher>, String> {
    parameters(query, "filter").iter().map(|text| Matcher::parse(text)).collect()
}

async fn alerts(State(desk): Shared, RawQuery(query): RawQuery) -> Response {
    let (query, now_us) = (query.unwrap_or_default(), SystemClock.now_us());
    let filters = match filters(&query) {
        Ok(filters) => filters,
        Err(why) => return refusal(StatusCode::BAD_REQUEST, &why),
    };
    let is_wanted = |name: &str| !parameters(&query, name).iter().any(|it| it == "false");
    let (active, silenced) = (is_wanted("active"), is_wanted("silenced"));
    let book = desk.book();
    let open = book.alerts.values().filter(|alert| alert.paged_us.is_some() && alert.ended_us.is_none());
    let found = open.filter(|alert| alert.only.is_none() && filters.iter().all(|filter| filter.holds(&alert.labels)));
    let listed = found.filter_map(|alert| {
        let silenced_by = book.all_silences().filter(|silence| silence.holds(&alert.labels, now_us));
        let silenced_by = silenced_by.map(|silence| silence.id.clone()).collect::<Vec<_>>();
        let is_listed = if silenced_by.is_empty() { active } else { silenced };
        is_listed.then(|| shown(alert, &silenced_by, &desk.external_url, now_us))
    });
    answer(&Value::Array(listed.collect()))
}

fn shown(alert: &Alert, silenced_by: &[String], external_url: &str, now_us: i64) -> Value {
    let fingerprint = hex(&Sha256::digest(json!(alert.labels).to_string()));
    let state = if silenced_by.is_empty() { "active" } else { "suppressed" };
    json!({
        "labels": alert.labels, "annotations": alert.annotations, "startsAt": rfc3339(alert.opened_us),
        "endsAt": rfc3339(now_us.max(alert.opened_us) + 300_000_000), "updatedAt": rfc3339(alert.at_us),
        "fingerprint": &fingerprint[..16], "receivers": [{"name": "evenkeel"}], "generatorURL": link(alert, external_url),
        "status": {"state": state, "silencedBy": silenced_by, "inhibitedBy": []},
    })
}

async fn silences(State(desk): Shared, RawQuery(query): RawQuery) -> Response {
    let filters = match filters(&query.unwrap_or_default()) {
        Ok(filters) => filters,
        Err(why) => return refusal(StatusCode::BAD_REQUEST, &why),
    };
    let (book, now_us) = (desk.book(), SystemClock.now_us());
    // A filter asks for silences that name the label so.
    let names = |silence: &&Silence| filters.iter().all(|filter| silence.matchers.contains(filter));
    answer(&book.all_silences().filter(names).map(|silence| silence.to_json(now_us)).collect())
}

async fn silence(State(desk): Shared, Path(id): Path<String>) -> Response {
    let (book, now_us) = (desk.book(), SystemClock.now_us());
    let found = book.all_silences().find(|silence| silence.id == id);
    found.map_or_else(|| StatusCode::NOT_FOUND.into_response(), |silence| answer(&silence.to_json(now_us)))
}

async fn add_silence(State(desk): Shared, body: Bytes) -> Response {
    let now_us = SystemClock.now_us();
    let mut silence = match Silence::posted(&body, now_us) {
        Ok(silence) => silence,
        Err(why) => return refusal(StatusCode::BAD_REQUEST, &why),
    };
    let added = desk.change(|book| {
        let is_known = book.silences.iter().any(|old| old.id == silence.id);
        if !silence.id.is_empty() && !is_known {
            return Err(format!("there is no silence {}", silence.id));
        }
        if silence.id.is_empty() {
            let mut bytes = [0; 16];
            getrandom::fill(&mut bytes).map_err(|error| error.to_string())?;
            silence.id = uuid(bytes);
        }
        book.silence(silence, now_us)
    });
    match added {
        Ok(Ok(id)) => answer(&json!({"silenceID": id})),
        Ok(Err(why)) => refusal(StatusCode::BAD_REQUEST, &why),
        Err(failed) => refusal(StatusCode::INTERNAL_SERVER_ERROR, &failed),
    }
}

/// A random UUID (version 4), as Alertmanager's silences have.
fn uuid(mut bytes: [u8; 16]) -> String {
    (bytes[6], bytes[8]) = (bytes[6] & 0x0f | 0x40, bytes[8] & 0x3f | 0x80);
    let digits = hex(&bytes);
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}

async fn expire_silence(State(desk): Shared, Path(id): Path<String>) -> Response {
    if desk.book().written.iter().any(|silence| silence.id == id) {
        return refusal(StatusCode::CONFLICT, "it is part of the policy: take its document out, and apply the rest");
    }
    changed(desk.change(|book| book.expire(&id, SystemClock.now_us())), "silence")
}

async fn acknowledge(State(desk): Shared, Path(id): Path<String>) -> Response {
    changed(desk.change(|book| book.acknowledge(&id, SystemClock.now_us())), "open alert")
}

fn changed(found: Result<bool, String>, what: &str) -> Response {
    match found {
        Ok(true) => answer(&json!({})),
        Ok(false) => refusal(StatusCode::NOT_FOUND, &format!("there is no such {what}")),
        Err(failed) => refusal(StatusCode::INTERNAL_SERVER_ERROR, &failed),
    }
}

async fn page(State(desk): Shared) -> Response {
    answer(&feed::status(&desk.book(), SystemClock.now_us()))
}

async fn rss(State(desk): Shared) -> Response {
    let text = feed::rss(&desk.book(), &desk.external_url);
    ([(header::CONTENT_TYPE, "application/rss+xml; charset=utf-8")], text).into_response()
}
