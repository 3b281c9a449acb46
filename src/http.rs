//! `/metrics`, `/healthz`, `/readyz`, and `/api/v1/canary`: whether a version that is rolled out may go on.
//!
//! `GET /api/v1/canary?service=S&version=V` answers `{"phase": …, "why": …}` with a phase of `Successful`, `Failed` or
//! `Inconclusive`, always with status 200. As a metric of Argo Rollouts:
//! ```yaml
//! metrics:
//!   - name: evenkeel
//!     interval: 60s
//!     inconclusiveLimit: 10
//!     successCondition: result == "Successful"
//!     failureCondition: result == "Failed"        # neither of both: inconclusive
//!     provider:
//!       web:
//!         url: "http://evenkeel:9464/api/v1/canary?service={{args.service}}&version={{args.version}}"
//!         jsonPath: "{$.phase}"
//! ```
//! `POST` there answers with the same, and status 200 if it may go on, 409 if it failed and 503 while nobody knows. Service and
//! version may come in `metadata`, too, as Flagger sends it; it waits until the answer is 200:
//! ```yaml
//! webhooks:
//!   - name: evenkeel
//!     type: confirm-traffic-increase
//!     url: http://evenkeel:9464/api/v1/canary
//!     metadata: {service: checkout, version: "2.4.1"}
//! ```
//! Of several processes the first, process 0, knows.

use crate::canary::Canaries;
use crate::metrics::{Metric, Metrics};
use crate::ports::{Clock, SystemClock};
use axum::Router;
use axum::body::Bytes;
use axum::extract::RawQuery;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use evenkeel_dataflows::Phase;
use serde_json::Value;
use std::sync::Arc;

/// Serves until `stop` is ready.
///
/// # Errors
/// If the socket cannot be used.
pub async fn serve(
    socket: std::net::TcpListener,
    metrics: Arc<Metrics>,
    canaries: Arc<Canaries>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    socket.set_nonblocking(true)?;
    let ready = Arc::clone(&metrics);
    let text = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
    let asked = Arc::clone(&canaries);
    let canary = get(move |RawQuery(query)| async move { canary(&asked, query.as_deref(), None) });
    let canary =
        canary.post(move |RawQuery(query), body| async move { self::canary(&canaries, query.as_deref(), Some(body)) });
    let routes = Router::new()
        .route("/api/v1/canary", canary)
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

/// Whether a version may go on; with a body as Flagger's webhooks ask, by status.
fn canary(canaries: &Canaries, query: Option<&str>, body: Option<Bytes>) -> Response {
    let told = body.as_ref().map_or(Value::Null, |body| serde_json::from_slice(body).unwrap_or_default());
    let asked = form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect::<Vec<_>>();
    let find = |name: &str| {
        let in_query = asked.iter().find(|(field, _)| field == name).map(|(_, value)| value.clone());
        in_query.or_else(|| told["metadata"][name].as_str().map(str::to_owned)).filter(|value| !value.is_empty())
    };
    let json = [(header::CONTENT_TYPE, "application/json")];
    let (Some(service), Some(version)) = (find("service"), find("version")) else {
        let why = "{\"error\":\"say which service and version: ?service=S&version=V\"}\n";
        return (StatusCode::BAD_REQUEST, json, why).into_response();
    };
    let assessment = canaries.assess(&service, &version, SystemClock.now_us());
    let status = match (&body, assessment.phase) {
        (None, _) | (_, Phase::Successful) => StatusCode::OK,
        (_, Phase::Failed) => StatusCode::CONFLICT,
        (_, Phase::Inconclusive) => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, json, format!("{}\n", serde_json::json!(assessment))).into_response()
}
