//! [`Gate`]: orders with a one-time password in, sealed orders to the control topic out.

use super::book::{Book, Denied};
use super::secrets::Secrets;
use crate::embedded::Kept;
use crate::ports::{Clock, PortError, SystemClock};
use crate::report::Inbox;
use crate::seal::{FileKey, sign_note};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use evenkeel_schemas::audit::Note;
use evenkeel_schemas::{AuditEvent, AuditEventType, Control, Coordinates, Detail, Event, Proof, Topic};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// The partition of a data directory's inputs that is the gate's alone.
pub const PARTITION: u32 = 4;

/// A request's body with more bytes is refused.
const MAX_BODY_BYTES: usize = 8 << 10;

/// Checks who speaks, and seals what they order.
pub struct Gate {
    /// The file of secrets; it is read for every order, so who is enrolled can order at once.
    pub secrets: PathBuf,
    /// Signs.
    pub key: FileKey,
    /// What was used.
    pub book: Book,
    /// Where that is kept.
    pub store: Kept<Book>,
    /// Where orders go.
    pub inbox: Inbox,
}

/// Why an order was not written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// It is none that a gate seals.
    Malformed(String),
    /// The password does not count.
    Denied(Denied),
    /// Something else is in the way; it may be asked again with the next password.
    Away(String),
}

impl From<PortError> for Asked {
    fn from(error: PortError) -> Self {
        Self::Away(error.to_string())
    }
}

impl Gate {
    /// Checks, seals and writes an order: its JSON without a time, and the password as `totp`.
    ///
    /// # Errors
    /// Says why it was not written.
    pub fn order(&mut self, body: &[u8], now_us: i64) -> Result<Control, Asked> {
        let (order, password) = read(body, now_us).map_err(Asked::Malformed)?;
        let secrets = Secrets::read(&self.secrets)?;
        let used = self.book.use_up(&secrets, order.by(), &password, now_us);
        self.store.save(&self.book)?;
        if let Err(denied) = used {
            tracing::warn!(by = order.by(), order = order.order(), why = denied.words(), "an order was denied");
            if denied == Denied::Wrong && self.book.is_locked_out(order.by(), now_us) {
                self.report(order.by(), now_us)?;
            }
            return Err(Asked::Denied(denied));
        }
        let order = order.sealed(vec![Proof::Totp], String::new());
        let mut note = Note { text: order.sealed_text(), signatures: Vec::new() };
        sign_note(&mut note, &mut self.key)?;
        let seal = note.signatures[0].to_string();
        let order = order.sealed(vec![Proof::Totp], seal.trim_end().to_owned());
        let payload = serde_json::to_vec(&order).expect("an order is JSON");
        self.inbox.send(Topic::Control, now_us, &payload)?;
        self.inbox.flush()?;
        tracing::info!(by = order.by(), order = order.order(), scope = order.scope(), "an order was sealed");
        Ok(order)
    }

    /// Says to the audit log that somebody is locked out.
    fn report(&mut self, name: &str, event_time_us: i64) -> Result<(), PortError> {
        let (op, actor, entity) = ("locked_out".to_owned(), "evenkeel gate".to_owned(), name.to_owned());
        let (event_type, detail) = (AuditEventType::Access, Detail::text("too many wrong one-time passwords"));
        let event = AuditEvent { event_time_us, event_type, op, actor, entity, detail };
        let payload = serde_json::to_vec(&event).expect("an event of ours is JSON");
        self.inbox.send(Topic::AuditEvents, event_time_us, &payload)?;
        self.inbox.flush()
    }
}

/// The order and the password of a request's body.
fn read(body: &[u8], now_us: i64) -> Result<(Control, String), String> {
    let mut asked = serde_json::from_slice::<Value>(body).map_err(|error| error.to_string())?;
    let fields = asked.as_object_mut().ok_or("an order is a JSON object")?;
    let Some(Value::String(password)) = fields.remove("totp") else { return Err("`totp` is missing".to_owned()) };
    fields.insert("event_time_us".to_owned(), json!(now_us));
    fields.retain(|name, _| name != "proofs" && name != "seal");
    let at = Coordinates { topic: Topic::Control, partition: 0, offset: 0 };
    match Event::decode(at, asked.to_string().as_bytes()) {
        Event::Control(order) if order.proof().is_some() && !order.by().is_empty() => Ok((order, password)),
        Event::Rejected(rejection) => Err(rejection.detail),
        _ => Err("a gate seals approve, reject and break_glass, with `by`".to_owned()),
    }
}

/// Serves `POST /orders` until the process ends.
///
/// # Errors
/// If the socket cannot be used.
pub async fn serve(socket: std::net::TcpListener, gate: Gate) -> std::io::Result<()> {
    let routes = Router::new()
        .route("/orders", post(order))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(Arc::new(Mutex::new(gate)));
    socket.set_nonblocking(true)?;
    axum::serve(tokio::net::TcpListener::from_std(socket)?, routes).await
}

async fn order(State(gate): State<Arc<Mutex<Gate>>>, body: Bytes) -> Response {
    let ordered = tokio::task::spawn_blocking(move || {
        let mut gate = gate.lock().unwrap_or_else(PoisonError::into_inner);
        gate.order(&body, SystemClock.now_us())
    });
    let (status, said) = match ordered.await {
        Ok(Ok(order)) => (StatusCode::OK, json!(order)),
        Ok(Err(Asked::Malformed(why))) => (StatusCode::BAD_REQUEST, json!({"error": why})),
        Ok(Err(Asked::Denied(denied))) => (StatusCode::FORBIDDEN, json!({"error": denied.words()})),
        Ok(Err(Asked::Away(why))) => (StatusCode::SERVICE_UNAVAILABLE, json!({"error": why})),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, json!({"error": error.to_string()})),
    };
    (status, [(header::CONTENT_TYPE, "application/json")], said.to_string()).into_response()
}

#[cfg(test)]
#[path = "gate_tests.rs"]
mod tests;
