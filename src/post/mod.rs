//! [`Client`]: tells others something over HTTP, as JSON or as a signed CloudEvent, or asks them, and knows what their
//! answers mean.

mod signature;

pub use signature::hmac_sha256;

use crate::ports::PortError;
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Longest answer that is read, bytes.
const MAX_ANSWER_BYTES: u64 = 4_096;

/// Where trusted certificates are, unless it is said otherwise.
pub const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Why somebody was not told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Undelivered {
    /// It may be told later.
    Retry(String),
    /// It would refuse the same again.
    Refused(String),
}

/// Tells somebody.
#[derive(Clone, Debug)]
pub struct Client(ureq::Agent);

impl Client {
    /// One that waits `timeout` for an answer; `trusted` are certificates (PEM), needed for `https`.
    ///
    /// # Errors
    /// `Fatal` if the certificates cannot be read.
    pub fn new(timeout: Duration, trusted: Option<&Path>) -> Result<Self, PortError> {
        let mut config = ureq::Agent::config_builder().timeout_global(Some(timeout)).http_status_as_error(false);
        if let Some(path) = trusted {
            config = config.tls_config(tls(path)?);
        }
        Ok(Self(ureq::Agent::from(config.build())))
    }

    /// Gets what is at a URL, cut to `max_bytes`.
    ///
    /// # Errors
    /// Says whether it is worth another try.
    pub fn get(&self, url: &str, max_bytes: u64) -> Result<String, Undelivered> {
        answer(self.0.get(url).call(), max_bytes)
    }

    /// Sends a request with a bearer token (RFC 6750), and a body with its content type if it has one; returns the answer, cut
    /// to `max_bytes`.
    ///
    /// # Errors
    /// Says whether it is worth another try.
    pub fn authorized(
        &self,
        (method, url, token): (&str, &str, &str),
        body: Option<(&str, String)>,
        max_bytes: u64,
    ) -> Result<String, Undelivered> {
        let (content_type, body) = body.unwrap_or_default();
        let request = ureq::http::Request::builder().method(method).uri(url).header("accept", "application/json");
        let request = request.header("authorization", format!("Bearer {token}")).header("content-type", content_type);
        let request = request.body(body).map_err(|error| Undelivered::Refused(error.to_string()))?;
        answer(self.0.run(request), max_bytes)
    }

    /// Posts JSON; returns the answer, cut to 4 KiB.
    ///
    /// # Errors
    /// Says whether it is worth another try.
    pub fn json(&self, url: &str, body: &Value) -> Result<String, Undelivered> {
        send(self.0.post(url).header("content-type", "application/json"), body.to_string())
    }

    /// Posts a CloudEvent 1.0 in structured mode, with the HMAC-SHA256 of its body, and `key` as its idempotency key;
    /// returns the answer, cut to 4 KiB.
    ///
    /// # Errors
    /// Says whether it is worth another try.
    pub fn cloud_event(&self, url: &str, (secret, key): (&str, &str), body: &Value) -> Result<String, Undelivered> {
        let body = body.to_string();
        let signature = format!("sha256={}", hmac_sha256(secret.as_bytes(), body.as_bytes()));
        let request = self.0.post(url).header("content-type", "application/cloudevents+json; charset=utf-8");
        send(request.header("x-evenkeel-signature", signature).header("idempotency-key", key), body)
    }
}

fn send(request: ureq::RequestBuilder<ureq::typestate::WithBody>, body: String) -> Result<String, Undelivered> {
    answer(request.send(body), MAX_ANSWER_BYTES)
}

fn answer(
    answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    max_bytes: u64,
) -> Result<String, Undelivered> {
    // A URL may hold a secret, as Slack's do: it is not said.
    let mut answer = answer.map_err(|error| Undelivered::Retry(error.to_string()))?;
    let status = answer.status().as_u16();
    let mut bytes = Vec::new();
    let reader = answer.body_mut().as_reader();
    // An answer that breaks off is one all the same: its status was read.
    let _ = std::io::Read::read_to_end(&mut std::io::Read::take(reader, max_bytes), &mut bytes);
    let said = String::from_utf8_lossy(&bytes).trim().to_owned();
    if (200..300).contains(&status) {
        return Ok(said);
    }
    let why = format!("HTTP {status}: {said}");
    Err(if status == 408 || status == 429 || status >= 500 {
        Undelivered::Retry(why)
    } else {
        Undelivered::Refused(why)
    })
}

fn tls(path: &Path) -> Result<ureq::tls::TlsConfig, PortError> {
    let failed = |why: String| PortError::Fatal(format!("ca_file {}: {why}", path.display()));
    let text = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
    let mut trusted = Vec::new();
    for item in ureq::tls::parse_pem(&text) {
        if let ureq::tls::PemItem::Certificate(certificate) = item.map_err(|error| failed(error.to_string()))? {
            trusted.push(certificate);
        }
    }
    if trusted.is_empty() {
        return Err(failed("no certificate is in it".to_owned()));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let roots = ureq::tls::RootCerts::Specific(Arc::new(trusted));
    Ok(ureq::tls::TlsConfig::builder().unversioned_rustls_crypto_provider(provider).root_certs(roots).build())
}
