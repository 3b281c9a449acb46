//! HTTP: a log's files, read-only (C2SP tlog-tiles), and a witness's one question (C2SP tlog-witness).

use super::witness::{Answer, Witness};
use crate::cold::ColdStore;
use crate::ports::{Clock, SystemClock};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Request};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use evenkeel_schemas::audit::{HANDOVERS, tile::CHECKPOINT};
use std::sync::{Arc, Mutex, PoisonError};

/// A request's body with more bytes is refused.
const MAX_BODY_BYTES: usize = 1 << 20;

/// Serves the files of a log. `read` is told who asked for what.
///
/// # Errors
/// If the socket cannot be used.
pub async fn serve_log(
    socket: std::net::TcpListener,
    store: Arc<Mutex<Box<dyn ColdStore>>>,
    read: impl Fn(&str, &HeaderMap) + Clone + Send + Sync + 'static,
) -> std::io::Result<()> {
    let file = move |Path(name): Path<String>, headers: HeaderMap| {
        let (store, read) = (Arc::clone(&store), read.clone());
        async move {
            if !is_of_log(&name) {
                return StatusCode::NOT_FOUND.into_response();
            }
            read(&name, &headers);
            let wanted = name.clone();
            let found =
                tokio::task::spawn_blocking(move || store.lock().unwrap_or_else(PoisonError::into_inner).get(&wanted));
            match found.await {
                Ok(Ok(Some(bytes))) => served(&name, bytes),
                Ok(Ok(None)) => StatusCode::NOT_FOUND.into_response(),
                Ok(Err(error)) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")).into_response(),
                Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
            }
        }
    };
    serve(socket, Router::new().route("/{*name}", get(file))).await
}

/// Whether a name is one of a log's files; nothing else in the store is anybody's business.
fn is_of_log(name: &str) -> bool {
    let plain =
        |part: &str| part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'.');
    let below = name.strip_prefix("tile/").or_else(|| name.strip_prefix("handover/"));
    [CHECKPOINT, HANDOVERS].contains(&name)
        || below.is_some_and(|rest| rest.split('/').all(|part| !part.is_empty() && part != ".." && plain(part)))
}

/// Checkpoints change; everything else never does.
fn served(name: &str, bytes: Vec<u8>) -> Response {
    let text = [CHECKPOINT, HANDOVERS].contains(&name) || name.starts_with("handover/");
    let content_type = if text { "text/plain; charset=utf-8" } else { "application/octet-stream" };
    let changes = [CHECKPOINT, HANDOVERS].contains(&name);
    let caching = if changes { "no-cache" } else { "public, max-age=31536000, immutable" };
    ([(header::CONTENT_TYPE, content_type), (header::CACHE_CONTROL, caching)], bytes).into_response()
}

/// Serves a witness.
///
/// # Errors
/// If the socket cannot be used.
pub async fn serve_witness(socket: std::net::TcpListener, witness: Witness) -> std::io::Result<()> {
    let witness = Arc::new(Mutex::new(witness));
    let add = move |request: Request| {
        let witness = Arc::clone(&witness);
        async move {
            let body = axum::body::to_bytes(request.into_body(), MAX_BODY_BYTES).await.unwrap_or_default();
            let answered = tokio::task::spawn_blocking(move || answer(&witness, &body)).await;
            match answered {
                Ok(Answer { status, content_type, body }) => {
                    let status = StatusCode::from_u16(status).expect("the witness knows HTTP's codes");
                    (status, [(header::CONTENT_TYPE, content_type)], body).into_response()
                }
                Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
            }
        }
    };
    serve(socket, Router::new().route("/add-checkpoint", post(add))).await
}

fn answer(witness: &Mutex<Witness>, body: &Bytes) -> Answer {
    let now_s = u64::try_from(SystemClock.now_us() / 1_000_000).unwrap_or(0);
    // One at a time: comparing and remembering is one step.
    witness.lock().unwrap_or_else(PoisonError::into_inner).add_checkpoint(&String::from_utf8_lossy(body), now_s)
}

async fn serve(socket: std::net::TcpListener, routes: Router) -> std::io::Result<()> {
    socket.set_nonblocking(true)?;
    axum::serve(tokio::net::TcpListener::from_std(socket)?, routes).await
}
