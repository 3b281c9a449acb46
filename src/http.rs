//! `/metrics`, `/healthz`, `/readyz`.

use crate::metrics::{Metric, Metrics};
use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use std::sync::Arc;

/// Serves until `stop` is ready.
///
/// # Errors
/// If the socket cannot be used.
pub async fn serve(
    socket: std::net::TcpListener,
    metrics: Arc<Metrics>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    socket.set_nonblocking(true)?;
    let ready = Arc::clone(&metrics);
    let text = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
    let routes = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/metrics", get(move || async move { (text, metrics.render()) }))
        .route("/readyz", get(move || async move { readiness(&ready) }));
    axum::serve(tokio::net::TcpListener::from_std(socket)?, routes).with_graceful_shutdown(stop).await
}

/// Ready once everything that came in was read; until then says how far behind it is and how long that may last.
fn readiness(metrics: &Metrics) -> impl IntoResponse + use<> {
    if metrics.get(Metric::CaughtUp) == 1 && metrics.get(Metric::Epochs) > 0 {
        return (StatusCode::OK, "ready\n".to_owned());
    }
    let seconds = |metric| metrics.get(metric) as f64 / 1e6;
    let left = match metrics.get(Metric::CatchUpUs) {
        0 | -1 => "unknown".to_owned(),
        _ => format!("{:.1} s", seconds(Metric::CatchUpUs)),
    };
    let text = format!("catching up: {:.1} s behind, ready in about: {left}\n", seconds(Metric::BehindUs));
    (StatusCode::SERVICE_UNAVAILABLE, text)
}
